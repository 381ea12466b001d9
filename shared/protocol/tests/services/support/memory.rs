//! A network in memory: connections without sockets, so that a test can run on tokio's paused clock.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use protocol::{Connector, Listener, Network, Patience};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

/// The address of the one server; any other leads to it as well.
pub const ADDRESS: &str = "memory:1";

/// Bytes that a connection holds in each direction.
const BUFFER: usize = 1 << 20;

type Connections = mpsc::UnboundedSender<DuplexStream>;

/// A network with at most one listener. While there is none, connections are refused.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Option<Connections>>>);

impl Memory {
    /// Starts to listen, in the place of an earlier listener.
    pub fn listen(&self) -> MemoryListener {
        let (connect, connections) = mpsc::unbounded_channel();
        *self.0.lock().unwrap() = Some(connect);
        MemoryListener(connections)
    }

    /// Opens a connection, or returns none if nobody listens.
    pub fn dial(&self) -> Option<DuplexStream> {
        let (near, far) = duplex(BUFFER);
        let listener = self.0.lock().unwrap();
        listener.as_ref().is_some_and(|connect| connect.send(far).is_ok()).then_some(near)
    }

    /// Returns how clients reach the listener.
    pub fn connector(&self, patience: Patience) -> Connector {
        let network = self.clone();
        let open = move |_| {
            let connection = network.dial();
            async move { connection.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) }
        };
        Connector { network: Network::new(open), patience, token: None }
    }
}

/// A listener of a [`Memory`].
pub struct MemoryListener(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for MemoryListener {
    type Connection = DuplexStream;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(connection) => Ok((connection, (Ipv4Addr::LOCALHOST, 2).into())),
            // Another listener took the place, so nobody will connect here any more.
            None => std::future::pending().await,
        }
    }
}
