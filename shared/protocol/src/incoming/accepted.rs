//! An accepted connection as the stream of bytes that tonic takes.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    time::Instant,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{seats::Seat, watch::Watch};
use crate::{Connection, server::activity::Activity};

/// What the services are told about the other side of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Address that it came from.
    pub(crate) address: SocketAddr,
    encrypted: bool,
    /// The calls of the connection.
    pub(crate) activity: Arc<Activity>,
}

impl Peer {
    /// Returns whether nobody in between can read the connection: it is encrypted, or stays on this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.encrypted || self.address.ip().to_canonical().is_loopback()
    }
}

/// A connection that was admitted, and the place that it has.
pub(crate) struct Admitted<C> {
    pub(crate) connection: C,
    pub(crate) peer: SocketAddr,
    pub(crate) seat: Seat,
    pub(crate) since: Instant,
}

/// An accepted connection.
pub(crate) struct Accepted<C> {
    bytes: Bytes<C>,
    peer: SocketAddr,
    watch: Watch,
    _seat: Seat,
}

/// The bytes of a connection, of which one can be looked at before it is read.
pub(crate) enum Bytes<C> {
    Plain(BufReader<C>),
    Encrypted(Box<TlsStream<BufReader<C>>>),
}

impl<C> Accepted<C> {
    pub(crate) fn new(bytes: Bytes<C>, peer: SocketAddr, seat: Seat, since: Instant) -> Accepted<C> {
        Accepted { bytes, peer, watch: Watch::new(since), _seat: seat }
    }
}

impl<C> Connected for Accepted<C> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer {
            address: self.peer,
            encrypted: matches!(self.bytes, Bytes::Encrypted(_)),
            activity: self.watch.activity.clone(),
        }
    }
}

impl<C: Connection> AsyncRead for Accepted<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_read(context, buffer),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_read(context, buffer),
        };
        self.watch.read(context, buffer.filled().len() - before, read)
    }
}

impl<C: Connection> AsyncWrite for Accepted<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_write(context, written),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_write(context, written),
        };
        self.watch.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_flush(context),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_flush(context),
        };
        self.watch.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_shutdown(context),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_shutdown(context),
        };
        self.watch.written(context, shut_down)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_write_vectored(context, slices),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_write_vectored(context, slices),
        };
        self.watch.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(bytes) => bytes.is_write_vectored(),
            Bytes::Encrypted(bytes) => bytes.is_write_vectored(),
        }
    }
}
