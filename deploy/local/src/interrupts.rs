//! Ctrl-C and SIGTERM, one after another: the first asks for a stop, the second for an end at once.

use std::io;

use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;

/// Signals in the order of their coming.
pub struct Interrupts(mpsc::Receiver<()>);

impl Interrupts {
    /// From now on these signals do not end the process.
    ///
    /// # Errors
    /// A system that hands out no signals.
    pub fn listen() -> Result<Interrupts, Failure> {
        let (send, receive) = mpsc::channel(8);
        listen(send).map_err(|error| Failure::broken(format!("cannot listen for signals: {error}")))?;
        Ok(Interrupts(receive))
    }

    /// Runs `work` on a thread of its own and returns what came of it; nothing if a signal came first. Nobody waits for the
    /// thread then.
    pub async fn unless<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (send, done) = oneshot::channel();
        std::thread::spawn(move || drop(send.send(work())));
        tokio::select! {
            // A thread that panicked has ended this process.
            done = done => done.ok(),
            () = self.next() => None,
        }
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
