//! HTTP/2 settings of clients and servers, in one place since they must match.

use std::{
    error::Error as StdError,
    future::Future,
    io,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use access::Token;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tonic::{
    codegen::{
        BoxFuture, Service,
        http::{Uri, uri::Authority},
    },
    transport::{Channel, Endpoint, Error, Server},
};

use crate::{
    ClientError, bounds,
    network::{Connection, Open},
    tls,
};

type BoxError = Box<dyn StdError + Send + Sync>;

/// Number of bytes of one stream to a client that may be in flight unread: the default of 64 KiB would throttle
/// a block to many round trips. A client has a connection or two, so that it need not save as a server does.
const STREAM_WINDOW: u32 = 16 << 20;

/// Number of bytes of all streams of a connection to a client that may be in flight unread: four streams, so
/// that a stream with a slow reader leaves room for the others.
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Largest HTTP/2 frame that a client takes: a message with a block in one instead of the default's 65, since
/// the client leaves it where it lies.
const FRAME: u32 = 2 << 20;

/// Interval at which a connection checks that the other side is alive, and the time that it waits for the
/// answer.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Makes the settings of a server.
pub(crate) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(bounds::STREAMS)
        .initial_stream_window_size(bounds::STREAM_WINDOW)
        .initial_connection_window_size(bounds::CONNECTION_WINDOW)
        .max_frame_size(bounds::FRAME)
        .http2_max_header_list_size(bounds::HEADERS)
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

/// Connects, once: over TCP or as the network does, encrypted if the connector has a token and the server is
/// on another machine.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    address: &str,
    connector: &crate::Connector,
) -> Result<Channel, Error> {
    let authority = connector.token.as_ref().map(Token::authority).filter(|_| !is_here(address));
    let address = address.to_string();
    let open = match connector.network.open() {
        Some(open) => open,
        None if authority.is_none() => return endpoint.connect().await,
        None => over_tcp(endpoint, connector.patience.connecting),
    };
    let open = move || {
        let opening = open(address.clone());
        async move {
            let connection = opening.await?;
            match authority {
                Some(authority) => tls::encrypted(connection, authority).await,
                None => Ok(connection),
            }
        }
    };
    endpoint.connect_with_connector(Connector(open)).await
}

/// Returns whether an address ("host:port") is of this machine and of no other.
pub fn is_here(address: &str) -> bool {
    let Ok(authority) = address.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Returns the function that opens a connection to the endpoint over TCP, and tries all addresses of a name.
fn over_tcp(endpoint: &Endpoint, connecting: Duration) -> Arc<Open> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connecting));
    let server = endpoint.uri().clone();
    Arc::new(move |_| {
        let opening = tcp.clone().call(server.clone());
        Box::pin(async move {
            let connection = opening.await.map_err(io::Error::other)?;
            Ok(Box::new(connection.into_inner()) as Box<dyn Connection>)
        })
    })
}

/// Opens a connection whenever the channel needs one. It ignores the address in the request, which is that of
/// the endpoint.
struct Connector<F>(F);

impl<F, Opening> Service<Uri> for Connector<F>
where
    F: Fn() -> Opening,
    Opening: Future<Output = Result<Box<dyn Connection>, BoxError>> + Send + 'static,
{
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let opening = (self.0)();
        Box::pin(async move { opening.await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_leave_this_machine_goes_unencrypted() {
        for address in ["127.0.0.1:7070", "127.1.2.3:1", "[::1]:7070", "localhost:7070", "LOCALHOST:1"] {
            assert!(is_here(address), "{address}");
        }
        for address in [
            "10.0.0.1:7070",
            "[fe80::1]:1",
            "server:7070",
            "localhost.example:1",
            "0.0.0.0:7070",
            "127.0.0.1.x:1",
        ] {
            assert!(!is_here(address), "{address}");
        }
    }
}
