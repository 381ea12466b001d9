//! The messages of a stream that wait for the connection to take them, each counted in the budget.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use super::budget::Held;
use crate::bounds::QUEUE;

/// A message and what it holds, or the status that ends the stream.
pub(crate) type Queued<T> = Result<(T, Held), Status>;

/// The end of a queue that the connection takes from.
pub(crate) struct Queue<T>(mpsc::Receiver<Queued<T>>);

impl<T> Queue<T> {
    /// Makes a queue; returns the end that messages are put in at, too.
    pub(crate) fn new() -> (mpsc::Sender<Queued<T>>, Queue<T>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (sender, Queue(receiver))
    }
}

impl<T> Stream for Queue<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        // The message is encoded at once, and counts in that form from there on.
        self.0.poll_recv(context).map(|queued| queued.map(|queued| queued.map(|(message, _held)| message)))
    }
}
