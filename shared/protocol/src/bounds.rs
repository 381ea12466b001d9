//! What limits whoever speaks to a server: every count, size and time of the transport, each with its reason.
//! What limits the values inside of messages stands beside the messages.
//!
//! A connection without a token costs a server at most a frame that is half there (128 KiB), the headers of
//! 64 calls (16 KiB each), and the buffers of its encryption (some 64 KiB): 2.4 GiB for 2,048 connections, and
//! 0.6 GiB for the 512 of one address. One whose calls are let in can leave a window (4 MiB) unread besides:
//! 8 GiB for 2,048 connections. What is gathered into messages and what waits to be sent lies in the two
//! budgets of [`Room`], 1 GiB each, for all connections together.

use std::time::Duration;

/// Most calls at a time on one connection. A worker has one push of a step, [`FETCHES`] fetches, and a call or
/// two besides; a coordinator has an order.
pub(crate) const STREAMS: u32 = 64;

/// Most fetches at a time that a client has on one connection; further ones wait for these. A server process
/// may hold 256 shards, of each of which a worker fetches its part.
pub(crate) const FETCHES: usize = 8;

/// Most open connections of a server. A worker has two with the server's first process, one for each of its
/// services, so this is room for 1,000 workers and for who watches them.
pub(crate) const CONNECTIONS: usize = 2048;

/// Most open connections from one address, so that one machine cannot take the places of all others.
pub(crate) const CONNECTIONS_OF_AN_ADDRESS: usize = 512;

/// Time within which a new connection must have agreed on its encryption and sent what every HTTP/2 connection
/// begins with.
pub(crate) const BEGINNING: Duration = Duration::from_secs(10);

/// Time after which a connection without a call is closed. Clients open another when they need one; answers to
/// pings are no calls, since whoever only holds a place answers them too.
pub(crate) const IDLE: Duration = Duration::from_secs(300);

/// Time within which a message that has begun must be there, and within which a part of an answer must be
/// taken. It is twice the time after which a client of this program gives a stream up by itself.
pub(crate) const STALL: Duration = Duration::from_secs(120);

/// Time from the end of a stream whose reader takes nothing to the end of its connection, which alone frees
/// what the stream still holds.
pub(crate) const FAREWELL: Duration = Duration::from_secs(10);

/// Time for which a stream of pushes may be silent between two messages: a worker opens it at the beginning of
/// a step, and may compute for long before the first gradient is there. A stream that was ended too early costs
/// its worker no more than a line of the log, since it opens another.
pub(crate) const SILENCE: Duration = Duration::from_secs(1800);

/// Longest time for which a message waits for room in a budget before it is refused; half the time after which
/// a client of this program gives a stream up.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// Pauses after a failure to accept a connection, as when the process has no file descriptors left: the first,
/// which each further one doubles, and the longest.
pub(crate) const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// Shortest time between two warnings about the same trouble.
pub(crate) const WARNING: Duration = Duration::from_secs(60);

/// Number of bytes that an open call counts in the budget of what is sent: its state, and its answer unless
/// that is a stream.
pub(crate) const CALL: usize = 64 << 10;

/// Number of bytes of the largest message; a block has 1 MiB, a group of blocks little more, layouts and
/// reports far less.
pub(crate) const MESSAGE: usize = 4 << 20;

/// Number of bytes of the largest request to the health service, which is there for everybody.
pub(crate) const HEALTH_MESSAGE: usize = 4 << 10;

/// Most blocks or replies of one stream that wait for the connection to take them. A slow reader holds up its
/// own stream only.
pub(crate) const QUEUE: usize = 8;

/// Number of bytes of a call's headers.
pub(crate) const HEADERS: u32 = 16 << 10;

/// Number of bytes of the largest HTTP/2 frame that a server takes: about one group of blocks. A frame is
/// kept until it is whole, whoever sends it.
pub(crate) const FRAME: u32 = 128 << 10;

/// Number of bytes of one stream to a server that may be in flight unread: at 20 ms there and back 100 MB/s, at
/// 1 ms 2 GB/s. A quarter of it makes an exchange over loopback a tenth slower, eight times as much hardly
/// faster (`cargo bench --package worker --bench exchange`).
pub(crate) const STREAM_WINDOW: u32 = 2 << 20;

/// Number of bytes of all streams of a connection to a server that may be in flight unread: two streams, so
/// that one that the server does not read leaves room for the others.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;

/// Number of bytes that a server holds for the messages of all its connections together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Number of bytes of the messages that are being received, from the moment at which their length is
    /// known until they are dealt with; 1 GiB by default.
    pub received: usize,
    /// Number of bytes of the answers that wait to be sent, until the connection has written them; 1 GiB by
    /// default.
    pub sent: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { received: 1 << 30, sent: 1 << 30 }
    }
}
