//! HTTP/2 settings of clients and servers, in one place since they must match.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tonic::{
    codegen::{
        BoxFuture, Service,
        http::{Uri, uri::Authority},
    },
    transport::{Channel, Endpoint, Error, Server},
};

use crate::{
    ClientError, Network,
    network::{Connection, Opening},
};

/// Number of bytes of one stream that may be in flight unread: the default of 64 KiB would throttle a block
/// to many round trips.
const STREAM_WINDOW: u32 = 16 << 20;

/// Number of bytes of all streams of a connection that may be in flight unread: four streams, so that a
/// stream with a slow reader leaves room for the others.
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Largest HTTP/2 frame: a message with a block in one instead of the default's 65.
const FRAME: u32 = 2 << 20;

/// Bytes of the largest message; a block has 1 MiB, a group of blocks little more, layouts and reports far
/// less.
pub(crate) const MESSAGE: usize = 4 << 20;

/// Interval at which a connection checks that the other side is alive, and the time that it waits for the
/// answer.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Makes the settings of a server.
pub(crate) fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

/// Makes the settings of a connection to `address` ("host:port"); each attempt to connect has `connecting` as
/// deadline.
pub(crate) fn endpoint(address: &str, connecting: Duration) -> Result<Endpoint, ClientError> {
    let unusable = |reason: String| ClientError::Address { address: address.into(), reason };
    let authority: Authority = address.parse().map_err(|_| unusable("it is not a host and a port".into()))?;
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err(unusable("it has no port".into()));
    }
    let endpoint =
        Endpoint::from_shared(format!("http://{authority}")).map_err(|e| unusable(e.to_string()))?;
    Ok(endpoint
        .connect_timeout(connecting)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true))
}

/// Connects, once: over TCP with tonic's own connector, which tries all addresses of a name, else as the
/// network does.
pub(crate) async fn connect(endpoint: &Endpoint, address: &str, network: &Network) -> Result<Channel, Error> {
    match network.open() {
        None => endpoint.connect().await,
        Some(open) => {
            let address = address.to_string();
            endpoint.connect_with_connector(Connector(move || open(address.clone()))).await
        }
    }
}

/// Opens a connection whenever the channel needs one. It ignores the address in the request, which is that of
/// the endpoint.
struct Connector<F>(F);

impl<F: Fn() -> Opening> Service<Uri> for Connector<F> {
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let opening = (self.0)();
        Box::pin(async move { opening.await.map(TokioIo::new) })
    }
}
