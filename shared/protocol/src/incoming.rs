//! A listener's connections as the stream that tonic takes.
//!
//! A connection is admitted if the server has a place for it. A server that asks for tokens then looks at its
//! first byte: TLS is what it begins, or else plain HTTP/2. Connections that are slow about it hold up nobody,
//! since each has a task of its own, and a failure to accept one is waited out.

mod accepted;
mod seats;
mod told;
mod watch;

use std::{
    future::Future,
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;

pub(crate) use accepted::Peer;
use accepted::{Accepted, Admitted, Bytes};
use seats::Seats;
use told::Told;

use crate::{
    Connection, Listener,
    bounds::{BEGINNING, PAUSES},
    server::guard::Door,
    tls,
};

/// A pending `accept`, which returns its listener with its result.
type Accepting<L, C> = Pin<Box<dyn Future<Output = (Source<L>, Admitted<C>)> + Send>>;

/// The entrance to a server that asks for tokens: the encryption, and the count of those who were not let in.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) door: Arc<Door>,
}

/// The stream of a listener's connections, which never ends.
pub(crate) struct Incoming<L: Listener> {
    next: Accepting<L, L::Connection>,
    /// None where everybody is let in and nothing is encrypted.
    entrance: Option<Entrance>,
    /// The connections whose first byte or encryption is waited for; there are no more than places.
    beginning: JoinSet<Option<Accepted<L::Connection>>>,
}

impl<L: Listener> Incoming<L> {
    pub(crate) fn new(listener: L, entrance: Option<Entrance>) -> Incoming<L> {
        let source = Source { listener, seats: Arc::default(), failures: Told::default() };
        Incoming { next: Box::pin(source.next()), entrance, beginning: JoinSet::new() }
    }
}

impl<L: Listener> Stream for Incoming<L> {
    type Item = io::Result<Accepted<L::Connection>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Poll::Ready((source, admitted)) = self.next.as_mut().poll(context) {
                self.next = Box::pin(source.next());
                let Some(entrance) = self.entrance.clone() else {
                    let Admitted { connection, peer, seat, since } = admitted;
                    let bytes = Bytes::Plain(peeking(connection));
                    return Poll::Ready(Some(Ok(Accepted::new(bytes, peer, seat, since))));
                };
                self.beginning.spawn(entrance.begin(admitted));
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

/// Where connections come from, and the places for them.
struct Source<L> {
    listener: L,
    seats: Arc<Seats>,
    failures: Told,
}

impl<L: Listener> Source<L> {
    /// Waits for the next connection that there is a place for; others are closed at once.
    async fn next(mut self) -> (Source<L>, Admitted<L::Connection>) {
        let [mut pause, longest] = PAUSES;
        loop {
            match self.listener.accept().await {
                Ok((connection, peer)) => {
                    if let Some(seat) = self.seats.take(peer.ip()) {
                        return (self, Admitted { connection, peer, seat, since: Instant::now() });
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if let Some(count) = self.failures.note() {
                        tracing::warn!(
                            "{count} times no connection could be accepted: {error}; they wait, and those that are \
                             open go on; if file descriptors are spent, raise their limit (ulimit -n)"
                        );
                    }
                    sleep(pause).await;
                    pause = longest.min(2 * pause);
                }
            }
        }
    }
}

/// Returns whether an error is that of the connection which was to be accepted, and the next one may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | Interrupted
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
    )
}

/// Makes a connection of which one byte can be looked at before it is read.
fn peeking<C: Connection>(connection: C) -> BufReader<C> {
    BufReader::with_capacity(1, connection)
}

impl Entrance {
    /// Begins a connection; returns none if it ends before, takes too long, or its encryption fails.
    async fn begin<C: Connection>(self, admitted: Admitted<C>) -> Option<Accepted<C>> {
        let Admitted { connection, peer, seat, since } = admitted;
        let trouble = match timeout_at(since + BEGINNING, self.try_begin(connection)).await {
            Ok(Ok(begun)) => return begun.map(|bytes| Accepted::new(bytes, peer, seat, since)),
            // Whoever only looks whether the port is open leaves in this way.
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no call within {} s", BEGINNING.as_secs()),
        };
        self.door.refusals.note(peer.ip(), &format!("a connection that did not begin: {trouble}"));
        None
    }

    async fn try_begin<C: Connection>(&self, connection: C) -> io::Result<Option<Bytes<C>>> {
        let mut connection = peeking(connection);
        Ok(match connection.fill_buf().await?.first() {
            None => None,
            Some(&tls::FIRST_BYTE) => {
                Some(Bytes::Encrypted(Box::new(self.acceptor.accept(connection).await?)))
            }
            Some(_) => Some(Bytes::Plain(connection)),
        })
    }
}
