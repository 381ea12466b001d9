//! Ctrl-C and SIGTERM, one after another: the first asks for a stop, the second for an end at once.

use std::io;

use tokio::sync::mpsc;

/// Signals in the order of their coming.
pub struct Interrupts(mpsc::Receiver<()>);

impl Interrupts {
    /// From now on these signals do not end the process.
    pub fn listen() -> io::Result<Interrupts> {
        let (send, receive) = mpsc::channel(8);
        listen(send)?;
        Ok(Interrupts(receive))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
fn listen(send: mpsc::Sender<()>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, send) = (signal(kind)?, send.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && send.send(()).await.is_ok() {} });
    }
    Ok(())
}

#[cfg(not(unix))]
fn listen(send: mpsc::Sender<()>) -> io::Result<()> {
    tokio::spawn(
        async move { while tokio::signal::ctrl_c().await.is_ok() && send.send(()).await.is_ok() {} },
    );
    Ok(())
}
