//! The requests to stop that a program receives: signals, and the end of standard input.

use std::future::pending;
use std::io;

use tokio::sync::{mpsc, oneshot};

/// The stop signals that a process receives, which are Ctrl-C and SIGTERM, in the order of their arrival.
pub struct Signals(mpsc::Receiver<&'static str>);

/// Largest number of signals that wait to be handled; further ones are dropped.
const MOST_WAITING: usize = 8;

impl Signals {
    /// Starts to receive Ctrl-C and SIGTERM; from now on they do not end the process. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// If the system does not allow signals to be handled.
    pub fn listen() -> io::Result<Signals> {
        let (send, receive) = mpsc::channel(MOST_WAITING);
        listen(&send)?;
        Ok(Signals(receive))
    }

    /// Waits for the next signal and returns its name, such as "SIGTERM".
    pub async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(name) => name,
            None => pending().await,
        }
    }
}

#[cfg(unix)]
fn listen(send: &mpsc::Sender<&'static str>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    for (kind, name) in [(SignalKind::interrupt(), "SIGINT"), (SignalKind::terminate(), "SIGTERM")] {
        let (mut signals, send) = (signal(kind)?, send.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && send.send(name).await.is_ok() {} });
    }
    Ok(())
}

#[cfg(not(unix))]
fn listen(send: &mpsc::Sender<&'static str>) -> io::Result<()> {
    let send = send.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && send.send("Ctrl-C").await.is_ok() {}
    });
    Ok(())
}

/// Waits until standard input ends, as it does for a child process whose parent is gone. Unless `asked` is
/// true, the wait never ends.
pub async fn stdin_end(asked: bool) {
    if !asked {
        return pending().await;
    }
    let (ended, end) = oneshot::channel();
    // A plain thread reads, since nothing could cancel a read by the runtime.
    std::thread::spawn(move || {
        // An input that cannot be read counts as ended.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
