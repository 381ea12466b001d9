//! The body of an answer on its way out: what the connection has of it counts in a budget until it is written,
//! and a reader that takes nothing ends it.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body, codegen::http::HeaderMap};

use super::{
    activity::OpenCall,
    arriving::Gathered,
    budget::{Budget, Held},
};
use crate::bounds::STALL;

/// An answer's body within its bounds.
pub(crate) struct Leaving {
    pub(crate) body: Body,
    pub(crate) budget: Arc<Budget>,
    /// The call that is answered, which is open as long as its body is there.
    pub(crate) call: OpenCall,
    /// What the call counts besides its body.
    pub(crate) _held: Held,
    /// What its request counts, which the service may still be at.
    pub(crate) _gathered: Gathered,
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.call.is_stalled() {
            this.call.awaited();
            // What was queued is gone with its body.
            drop(mem::take(&mut this.body));
            let text = format!("nothing of the answer was taken within {} s", STALL.as_secs());
            let mut trailers = HeaderMap::new();
            let ended = Status::deadline_exceeded(text).add_header(&mut trailers);
            return Poll::Ready(Some(ended.map(|()| Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Pending => this.call.awaited(),
            Poll::Ready(_) => this.call.given(),
        }
        polled.map_ok(|frame| frame.map_data(|part| counted(part, &this.budget)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes, and what they hold of a budget.
struct Counted {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Makes the same bytes, which count in the budget as long as any of them are there.
fn counted(bytes: Bytes, budget: &Arc<Budget>) -> Bytes {
    let _held = budget.hold(bytes.len());
    Bytes::from_owner(Counted { bytes, _held })
}
