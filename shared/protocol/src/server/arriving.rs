//! The body of a request on its way in: its messages are counted in a budget from the moment at which their
//! lengths are known, and each must be there in time.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, body::Body};

use super::budget::{Budget, Held};
use crate::bounds::{MESSAGE, SILENCE, STALL};

/// A request's body within its bounds.
pub(crate) struct Arriving {
    body: Body,
    budget: Arc<Budget>,
    messages: Messages,
    kind: Kind,
    gathered: Gathered,
    /// A frame in which messages begin that there is no room for yet.
    waiting: Option<(Frame<Bytes>, Taking)>,
    alarm: Pin<Box<Sleep>>,
}

/// What the messages of a body hold of the budget.
pub(crate) type Gathered = Arc<Mutex<Held>>;

/// How many messages a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One, which its call may be at for as long as it is open.
    One,
    /// Any number, each of which is dealt with before the next one is asked for.
    Stream,
}

impl Kind {
    /// Returns the longest time before a message.
    fn silence(self) -> Duration {
        match self {
            Kind::One => STALL,
            Kind::Stream => SILENCE,
        }
    }
}

type Taking = Pin<Box<dyn Future<Output = Result<Held, Status>> + Send>>;

impl Arriving {
    pub(crate) fn new(body: Body, kind: Kind, budget: Arc<Budget>, gathered: Gathered) -> Arriving {
        let (messages, alarm) = (Messages::default(), Box::pin(sleep(kind.silence())));
        Arriving { body, budget, messages, kind, gathered, waiting: None, alarm }
    }

    fn gathered(&self) -> MutexGuard<'_, Held> {
        // It is a number, which no panic leaves in between.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the status of a call whose message, or whose next one, is not there in time.
    fn too_late(&self) -> Status {
        Status::deadline_exceeded(match self.messages.is_between() {
            true => format!("no message within {} s", self.kind.silence().as_secs()),
            false => format!("a message that began was not there within {} s", STALL.as_secs()),
        })
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.kind == Kind::Stream {
            this.gathered().shrink(this.messages.unfinished());
        }
        loop {
            if let Some((_, taking)) = &mut this.waiting {
                let taken = ready!(taking.as_mut().poll(context));
                let (frame, _) = this.waiting.take().expect("it was just there");
                return Poll::Ready(Some(taken.map(|held| {
                    this.gathered().merge(held);
                    frame
                })));
            }
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => {
                    ready!(this.alarm.as_mut().poll(context));
                    return Poll::Ready(Some(Err(this.too_late())));
                }
            };
            let begun = frame.data_ref().map_or(Begun::default(), |bytes| this.messages.pass(bytes));
            if this.messages.is_between() {
                this.alarm.as_mut().reset(Instant::now() + this.kind.silence());
            } else if begun.any {
                this.alarm.as_mut().reset(Instant::now() + STALL);
            }
            if begun.bytes == 0 {
                return Poll::Ready(Some(Ok(frame)));
            }
            match this.budget.try_take(begun.bytes) {
                Some(held) => {
                    this.gathered().merge(held);
                    return Poll::Ready(Some(Ok(frame)));
                }
                None => this.waiting = Some((frame, Box::pin(this.budget.clone().take(begun.bytes)))),
            }
        }
    }
}

/// Number of bytes before each message: a flag for compression, and the length.
const PREFIX: usize = 5;

/// Where the messages of a body begin and end.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come.
    prefixed: usize,
    /// Length of the message that is coming.
    length: usize,
    /// Bytes of it that are still to come.
    left: usize,
}

/// What begins in a part of a body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Begun {
    /// Whether a message or its prefix does.
    any: bool,
    /// Bytes of the messages whose lengths are known now and were not before.
    bytes: usize,
}

impl Messages {
    /// Goes over the next bytes of the body.
    fn pass(&mut self, mut bytes: &[u8]) -> Begun {
        let mut begun = Begun::default();
        while !bytes.is_empty() {
            let of_message = self.left.min(bytes.len());
            self.left -= of_message;
            bytes = &bytes[of_message..];
            if self.left > 0 || bytes.is_empty() {
                break;
            }
            begun.any |= self.prefixed == 0;
            let of_prefix = (PREFIX - self.prefixed).min(bytes.len());
            self.prefix[self.prefixed..self.prefixed + of_prefix].copy_from_slice(&bytes[..of_prefix]);
            self.prefixed += of_prefix;
            bytes = &bytes[of_prefix..];
            if self.prefixed == PREFIX {
                let [_, length @ ..] = mem::take(&mut self.prefix);
                self.length = u32::from_be_bytes(length) as usize;
                (self.left, self.prefixed) = (self.length, 0);
                begun.bytes += self.counted();
            }
        }
        begun
    }

    /// Returns whether nothing of the next message has come yet.
    fn is_between(&self) -> bool {
        self.left == 0 && self.prefixed == 0
    }

    /// Returns the bytes to hold for the message that is not complete.
    fn unfinished(&self) -> usize {
        if self.left > 0 { self.counted() } else { 0 }
    }

    /// Returns the bytes to hold for the newest message: none if it is too long, since it is refused.
    fn counted(&self) -> usize {
        if self.length <= MESSAGE { self.length } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(length: usize) -> Vec<u8> {
        [&[0][..], &(length as u32).to_be_bytes(), &vec![7; length]].concat()
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let lengths = [3, 0, 1000, 1];
        let bytes: Vec<u8> = lengths.into_iter().flat_map(framed).collect();
        for cut in [1, 2, 3, 4, 5, 6, 7, 500, 1013, bytes.len()] {
            let mut messages = Messages::default();
            let total: usize = bytes.chunks(cut).map(|part| messages.pass(part).bytes).sum();
            assert_eq!(total, 1004, "parts of {cut} bytes");
            assert!(messages.is_between() && messages.unfinished() == 0);
        }
    }

    #[test]
    fn a_message_counts_whole_from_its_prefix_to_its_last_byte() {
        let mut messages = Messages::default();
        let bytes = framed(1000);
        assert_eq!(messages.pass(&bytes[..2]), Begun { any: true, bytes: 0 });
        assert!(!messages.is_between() && messages.unfinished() == 0);
        assert_eq!(messages.pass(&bytes[2..6]), Begun { any: false, bytes: 1000 });
        assert_eq!(messages.pass(&bytes[6..1004]), Begun::default());
        assert_eq!(messages.unfinished(), 1000);
        let next = [&bytes[1004..], &framed(MESSAGE + 1)].concat();
        assert_eq!(messages.pass(&next[..7]), Begun { any: true, bytes: 0 }, "it will be refused");
        assert_eq!(messages.unfinished(), 0);
    }
}
