//! A relay that delays: it takes connections and passes what comes on to another address, either way, each piece
//! by a fixed time after it came. `deploy/links` puts it between worker and server, as a network that is far
//! away, where the kernel has no queue that delays.
//!
//! `relay LISTEN TO MILLISECONDS`, for instance `relay 127.0.0.1:7071 127.0.0.1:7070 10`: 20 ms there and back.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Bytes of the largest piece.
const PIECE: usize = 64 << 10;
/// Pieces that are on their way at most, in one direction of a connection: 64 MiB.
const UNDERWAY: usize = 1 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    ensure!(words.len() == 3, "expected LISTEN TO MILLISECONDS, found {} words", words.len());
    let milliseconds = words[2].parse().with_context(|| format!("read the milliseconds '{}'", words[2]))?;
    let delay = Duration::from_millis(milliseconds);
    let listener = TcpListener::bind(&words[0]).await.with_context(|| format!("listen on {}", words[0]))?;
    loop {
        let (near, _) = listener.accept().await.context("take a connection")?;
        let to = words[1].clone();
        tokio::spawn(async move {
            // A server that cannot be reached looks like one that closes at once.
            let Ok(far) = TcpStream::connect(to).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::join!(pass_on(near_in, far_out, delay), pass_on(far_in, near_out, delay));
        });
    }
}

/// Passes on what comes, until either end closes; the other end is then closed for writing.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (arrived, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(UNDERWAY);
    let reading = async move {
        let mut piece = vec![0; PIECE];
        while let Ok(bytes @ 1..) = from.read(&mut piece).await {
            if arrived.send((Instant::now() + delay, piece[..bytes].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((moment, piece)) = due.recv().await {
            sleep_until(moment).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // It may be closed already.
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
