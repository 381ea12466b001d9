//! Connections between processes: TCP, or the simulated network of a test in its place.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use access::Token;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::Patience;

/// Settings of connections to other processes: the network, the deadlines and pauses of calls, and the token
/// that every call carries.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Network that carries the connections.
    pub network: Network,
    /// The deadlines and pauses of every call.
    pub patience: Patience,
    /// The token by which this process is let in and knows the server. With one, connections are encrypted
    /// unless the server's address is 127.0.0.1, ::1, localhost or another of this machine alone. Without
    /// one, only servers whose access is open let the process in, and nothing is encrypted.
    pub token: Option<Token>,
}

/// Makes a connector over TCP with the given patience and without a token.
impl From<Patience> for Connector {
    fn from(patience: Patience) -> Connector {
        Connector { network: Network::default(), patience, token: None }
    }
}

/// The way in which a client opens its connections: over TCP by default, or by a function given to
/// [`new`](Self::new), such as that of a simulated network.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<Open>>);

/// A function that opens a connection to an address.
pub(crate) type Open = dyn Fn(String) -> Opening + Send + Sync;
/// A connection that is being opened.
pub(crate) type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

impl Network {
    /// Makes a network on which the function `open` opens the connection to an address ("host:port"), or
    /// fails with the reason why it cannot.
    pub fn new<Opening, C>(open: impl Fn(String) -> Opening + Send + Sync + 'static) -> Network
    where
        Opening: Future<Output = io::Result<C>> + Send + 'static,
        C: Connection,
    {
        Network(Some(Arc::new(move |address| {
            let opening = open(address);
            Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Connection>) })
        })))
    }

    /// Returns the function that opens connections, or none for TCP.
    pub(crate) fn open(&self) -> Option<Arc<Open>> {
        self.0.clone()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_none() { "Network(TCP)" } else { "Network(other)" })
    }
}

/// An open connection: a stream of bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for C {}

/// A source of incoming connections for a server, such as a TCP port.
pub trait Listener: Send + 'static {
    /// Type of the incoming connections.
    type Connection: Connection;

    /// Returns the address that the listener is bound to.
    ///
    /// # Errors
    /// If the operating system reports an error.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Waits for the next connection; returns it with the address that it comes from.
    ///
    /// # Errors
    /// If the operating system reports an error, after which the call may be repeated; a server does so after
    /// a pause.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Connection, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Messages are whole when they are written; nothing is gained by waiting for more. A connection that is
        // gone already says so when it is read.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}
