//! The times at which a connection is to be closed: before its first call, without one, and when the other
//! side takes nothing.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    bounds::{BEGINNING, STALL},
    server::activity::Activity,
};

/// Bytes that every HTTP/2 connection begins with.
const PREFACE: usize = 24;

/// What watches over one connection, whenever it waits to read or to write.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) activity: Arc<Activity>,
    /// Time by which the preface must be there.
    beginning: Instant,
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// Time since which the other side takes no byte, if it does not.
    blocked: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Nobody calls: the other side is told in order.
    Idle,
    /// The other side does not do what it must.
    Late(&'static str),
}

impl Watch {
    /// Watches over a connection that was accepted at `accepted`.
    pub(crate) fn new(accepted: Instant) -> Watch {
        let beginning = accepted + BEGINNING;
        Watch {
            activity: Activity::new(),
            beginning,
            preface: PREFACE,
            blocked: None,
            alarm: Box::pin(sleep_until(beginning)),
        }
    }

    /// Looks at a read of so many bytes; one that waits for too long ends as at the end of the connection, or
    /// with an error.
    pub(crate) fn read(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        read: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        self.preface = self.preface.saturating_sub(bytes);
        if read.is_ready() {
            return read;
        }
        Poll::Ready(match ready!(self.poll_end(context)) {
            End::Idle => Ok(()),
            End::Late(what) => Err(timed_out(what)),
        })
    }

    /// Looks at a write, a flush or a shutdown; one that waits for too long fails.
    pub(crate) fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        self.blocked.get_or_insert_with(Instant::now);
        Poll::Ready(Err(match ready!(self.poll_end(context)) {
            End::Idle => timed_out("nobody called"),
            End::Late(what) => timed_out(what),
        }))
    }

    /// Waits for the first time at which the connection is to be closed.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let Some((due, end)) = self.due() else {
                // Something is being answered, and what ends it will be seen here.
                return Poll::Pending;
            };
            if due <= Instant::now() {
                return Poll::Ready(end);
            }
            if self.alarm.deadline() != due {
                self.alarm.as_mut().reset(due);
            }
            ready!(self.alarm.as_mut().poll(context));
        }
    }

    /// Returns when and why the connection is to be closed, if nothing happens until then.
    fn due(&self) -> Option<(Instant, End)> {
        let beginning = (self.preface > 0).then_some((self.beginning, End::Late("it did not begin")));
        let blocked = self.blocked.map(|since| (since + STALL, End::Late("the other side reads nothing")));
        let stalled = self.activity.stalled().map(|due| (due, End::Late("an answer was not taken")));
        let idle = self.activity.idle().map(|due| (due, End::Idle));
        [beginning, blocked, stalled, idle].into_iter().flatten().min()
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("closed a connection: {what}"))
}
