//! A listener's connections as the stream that tonic takes.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::Listener;

/// A pending `accept`, which returns the listener with its result.
type Accepting<L, C> = Pin<Box<dyn Future<Output = (L, io::Result<C>)> + Send>>;

/// The stream of a listener's connections.
pub(crate) struct Incoming<L: Listener> {
    next: Accepting<L, <L as Listener>::Connection>,
}

impl<L: Listener> Incoming<L> {
    pub(crate) fn new(mut listener: L) -> Incoming<L> {
        let next = Box::pin(async move {
            let accepted = listener.accept().await;
            (listener, accepted)
        });
        Incoming { next }
    }
}

impl<L: Listener> Stream for Incoming<L> {
    type Item = io::Result<Accepted<L::Connection>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (listener, accepted) = ready!(self.next.as_mut().poll(context));
        *self = Incoming::new(listener);
        Poll::Ready(Some(accepted.map(Accepted)))
    }
}

/// An accepted connection; tonic is told nothing more about it.
pub(crate) struct Accepted<C>(C);

impl<C> Connected for Accepted<C> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<C: AsyncRead + Unpin> AsyncRead for Accepted<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Accepted<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
