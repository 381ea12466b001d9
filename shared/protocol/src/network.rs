//! What carries connections: TCP, or whatever stands in for it, as the simulated network of a test.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::Patience;

/// The way to other processes: the network between, and the patience on it.
#[derive(Clone, Debug)]
pub struct Way {
    /// What carries the connections.
    pub network: Network,
    /// How long to wait for what.
    pub patience: Patience,
}

/// Over TCP.
impl From<Patience> for Way {
    fn from(patience: Patience) -> Way {
        Way { network: Network::default(), patience }
    }
}

/// Opens connections; by default over TCP.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<Open>>);

type Open = dyn Fn(String) -> Opening + Send + Sync;
/// A connection that is being opened.
pub(crate) type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

impl Network {
    /// A network on which `open` connects to an address ("host:port").
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

    /// How connections are opened; none: over TCP.
    pub(crate) fn open(&self) -> Option<Arc<Open>> {
        self.0.clone()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_none() { "Network(TCP)" } else { "Network(other)" })
    }
}

/// Bytes both ways.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for C {}

/// Where connections come in.
pub trait Listener: Send + 'static {
    /// What comes in.
    type Connection: Connection;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Connection>> + Send;
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Messages are whole when they are written; nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
