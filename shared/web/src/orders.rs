//! Orders: what a page of a site may ask its process to do.

use std::{error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

/// Most bytes of an order.
const MOST_ORDER: usize = 4 << 10;
/// Time within which the whole of an order must be there.
const WITHIN: Duration = Duration::from_secs(10);

/// Whoever makes a request, as far as the connection and the request's head tell.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Address that the connection came from.
    pub address: SocketAddr,
    /// What the request's header `authorization` has behind "Bearer "; `None` without such a header.
    pub bearer: Option<String>,
}

/// Reason why an order is not carried out; the text says what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The visitor may give no such order.
    Forbidden(String),
    /// The request does not say what to do.
    Malformed(String),
    /// The order cannot be carried out as things are.
    Impossible(String),
}

/// Whoever carries out the orders that visitors give by a page of the site.
pub trait Orders: Send + Sync {
    /// Returns, in the page's type of content, whether the visitor may give orders.
    fn look(&self, visitor: &Visitor) -> String;

    /// Carries out the order `text`, and returns what comes of it, a text for people.
    ///
    /// # Errors
    /// If the visitor may not give the order, if it is none, or if it cannot be carried out now.
    fn take(&self, visitor: &Visitor, text: &[u8]) -> Result<String, Refused>;
}

/// Reason why the text of an order was not received.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It has more bytes than any order.
    TooLong,
    /// It did not come in time, or the connection broke.
    Late,
}

impl Lost {
    /// Returns the reason for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Lost::TooLong => format!("expected an order of at most {MOST_ORDER} bytes, found more"),
            Lost::Late => format!("expected the whole order within {} s, found less of it", WITHIN.as_secs()),
        }
    }
}

/// Receives the text of an order, which is bounded in bytes and in time.
pub(crate) async fn receive<B>(body: B) -> Result<Bytes, Lost>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match timeout(WITHIN, Limited::new(body, MOST_ORDER).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Lost::TooLong),
        Ok(Err(_)) | Err(_) => Err(Lost::Late),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::Frame;
    use http_body_util::Full;
    use tokio::time::Instant;

    use super::*;

    /// A body of which nothing comes.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_bounded_in_bytes_and_in_time() {
        for (bytes, fits) in [(0, true), (MOST_ORDER, true), (MOST_ORDER + 1, false)] {
            let received = receive(Full::new(Bytes::from(vec![b'x'; bytes]))).await;
            match fits {
                true => assert_eq!(received.unwrap().len(), bytes),
                false => assert!(matches!(received, Err(Lost::TooLong)), "{received:?}"),
            }
        }
        let begun = Instant::now();
        let lost = receive(Silent).await.unwrap_err();
        assert!(lost.text().starts_with("expected the whole order within 10 s"), "{lost:?}");
        assert_eq!(begun.elapsed(), WITHIN);
    }
}
