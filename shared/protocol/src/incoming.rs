//! A listener's connections as the stream that tonic takes.
//!
//! A server that asks for tokens looks at the first byte of each connection: TLS is what it begins, or else
//! plain HTTP/2. Connections that are slow about it hold up nobody, since each has a task of its own.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, ReadBuf},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use crate::{Connection, Listener, server::guard::Door, tls};

/// Time within which a connection must have begun, and agreed on its encryption.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Most connections that are about to begin; further ones wait in the system's queue.
const MOST_HANDSHAKES: usize = 256;

/// A pending `accept`, which returns the listener with its result.
type Accepting<L, C> = Pin<Box<dyn Future<Output = (L, io::Result<(C, SocketAddr)>)> + Send>>;

/// The entrance to a server that asks for tokens: the encryption, and the count of those who were not let in.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) door: Arc<Door>,
}

/// The stream of a listener's connections.
pub(crate) struct Incoming<L: Listener> {
    next: Accepting<L, <L as Listener>::Connection>,
    /// None where everybody is let in and nothing is encrypted.
    entrance: Option<Entrance>,
    beginning: JoinSet<Option<Accepted<L::Connection>>>,
}

impl<L: Listener> Incoming<L> {
    pub(crate) fn new(listener: L, entrance: Option<Entrance>) -> Incoming<L> {
        Incoming { next: accept(listener), entrance, beginning: JoinSet::new() }
    }
}

fn accept<L: Listener>(mut listener: L) -> Accepting<L, L::Connection> {
    Box::pin(async move {
        let accepted = listener.accept().await;
        (listener, accepted)
    })
}

impl<L: Listener> Stream for Incoming<L> {
    type Item = io::Result<Accepted<L::Connection>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.beginning.len() < MOST_HANDSHAKES
                && let Poll::Ready((listener, accepted)) = self.next.as_mut().poll(context)
            {
                self.next = accept(listener);
                let (connection, peer) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                let Some(entrance) = self.entrance.clone() else {
                    return Poll::Ready(Some(Ok(Accepted::plain(peeking(connection), peer))));
                };
                self.beginning.spawn(entrance.begin(connection, peer));
                continue;
            }
            match ready!(self.beginning.poll_join_next(context)) {
                Some(Ok(Some(accepted))) => return Poll::Ready(Some(Ok(accepted))),
                // This one came to nothing; another may be ready.
                Some(_) => {}
                None => return Poll::Pending,
            }
        }
    }
}

/// Makes a connection of which one byte can be looked at before it is read.
fn peeking<C: Connection>(connection: C) -> BufReader<C> {
    BufReader::with_capacity(1, connection)
}

impl Entrance {
    /// Begins a connection; returns none if it ends before, takes too long, or its encryption fails.
    async fn begin<C: Connection>(self, connection: C, peer: SocketAddr) -> Option<Accepted<C>> {
        let trouble = match timeout(HANDSHAKE, self.try_begin(connection, peer)).await {
            Ok(Ok(begun)) => return begun,
            // Whoever only looks whether the port is open leaves in this way.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no call within {} s", HANDSHAKE.as_secs()),
        };
        self.door.refusals.note(peer.ip(), &format!("a connection that did not begin: {trouble}"));
        None
    }

    async fn try_begin<C: Connection>(
        &self,
        connection: C,
        peer: SocketAddr,
    ) -> io::Result<Option<Accepted<C>>> {
        let mut connection = peeking(connection);
        Ok(match connection.fill_buf().await?.first() {
            None => None,
            Some(&tls::FIRST_BYTE) => {
                Some(Accepted::encrypted(self.acceptor.accept(connection).await?, peer))
            }
            Some(_) => Some(Accepted::plain(connection, peer)),
        })
    }
}

/// What the services are told about the other side of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Address that it came from.
    pub(crate) address: SocketAddr,
    encrypted: bool,
}

impl Peer {
    /// Returns whether nobody in between can read the connection: it is encrypted, or stays on this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.encrypted || self.address.ip().to_canonical().is_loopback()
    }
}

/// An accepted connection.
pub(crate) struct Accepted<C> {
    bytes: Bytes<C>,
    peer: Peer,
}

enum Bytes<C> {
    Plain(BufReader<C>),
    Encrypted(Box<TlsStream<BufReader<C>>>),
}

impl<C> Accepted<C> {
    fn plain(connection: BufReader<C>, address: SocketAddr) -> Accepted<C> {
        Accepted { bytes: Bytes::Plain(connection), peer: Peer { address, encrypted: false } }
    }

    fn encrypted(connection: TlsStream<BufReader<C>>, address: SocketAddr) -> Accepted<C> {
        Accepted { bytes: Bytes::Encrypted(Box::new(connection)), peer: Peer { address, encrypted: true } }
    }
}

impl<C> Connected for Accepted<C> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl<C: Connection> AsyncRead for Accepted<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_read(context, buffer),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_read(context, buffer),
        }
    }
}

impl<C: Connection> AsyncWrite for Accepted<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_write(context, written),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_write(context, written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_flush(context),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_shutdown(context),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Bytes::Plain(bytes) => Pin::new(bytes).poll_write_vectored(context, slices),
            Bytes::Encrypted(bytes) => Pin::new(bytes).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(bytes) => bytes.is_write_vectored(),
            Bytes::Encrypted(bytes) => bytes.is_write_vectored(),
        }
    }
}
