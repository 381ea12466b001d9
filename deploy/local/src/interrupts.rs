//! Ctrl-C and SIGTERM, one after another: the first asks for a stop, the second for an end at once.

use process::Signals;
use tokio::sync::oneshot;

use crate::failure::Failure;

/// Signals in the order of their coming.
pub struct Interrupts(Signals);

impl Interrupts {
    /// Takes the signals over: from now on they do not end the process.
    ///
    /// # Errors
    /// A system that hands out no signals.
    pub fn listen() -> Result<Interrupts, Failure> {
        let signals = Signals::listen();
        let told = signals.map_err(|error| Failure::broken(format!("cannot listen for signals: {error}")))?;
        Ok(Interrupts(told))
    }

    /// Runs `work` on a thread of its own and returns what came of it; nothing if a signal came first. Nobody
    /// waits for the thread then.
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

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        self.0.next().await;
    }
}
