//! The simulated network as the protocol's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use protocol::{Listener, Network};
use turmoil::net::{TcpListener, TcpStream};

/// Opens connections between simulated hosts.
pub fn network() -> Network {
    Network::new(TcpStream::connect::<String>)
}

/// The listener of a simulated host.
pub struct Simulated(TcpListener);

impl Simulated {
    pub async fn bind(port: u16) -> io::Result<Simulated> {
        Ok(Simulated(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?))
    }
}

impl Listener for Simulated {
    type Connection = TcpStream;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }
}
