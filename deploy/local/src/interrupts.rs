//! The interrupts of a command, which are Ctrl-C, SIGTERM and SIGHUP: the first asks for a stop, one that comes
//! two seconds later or more for an immediate end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use process::Signals;
use tokio::sync::oneshot;

use crate::failure::Failure;

/// A receiver of the signals that interrupt a command, in the order of their arrival; signals within two
/// seconds are one.
pub struct Interrupts(Signals);

impl Interrupts {
    /// Starts to receive the signals; from now on they do not end the process.
    ///
    /// # Errors
    /// If the system does not allow signals to be handled.
    pub fn listen() -> Result<Interrupts, Failure> {
        let signals = Signals::listen();
        let told = signals.map_err(|error| Failure::broken(format!("cannot listen for signals: {error}")))?;
        Ok(Interrupts(told))
    }

    /// Runs `work` on a thread of its own and returns its result, or `None` if a signal came first; the
    /// thread is then left to itself.
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

    /// Runs `work` on a thread of its own, with a flag that becomes true at the first signal and asks it to
    /// stop, and returns its result. Returns `None` if a second signal came first; the thread is then left to
    /// itself.
    pub async fn stopping<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Option<T> {
        let (stop, (send, mut done)) = (Arc::new(AtomicBool::new(false)), oneshot::channel());
        let asked = Arc::clone(&stop);
        std::thread::spawn(move || drop(send.send(work(&asked))));
        tokio::select! {
            // A thread that panicked has ended this process.
            done = &mut done => return done.ok(),
            () = self.next() => stop.store(true, Ordering::Relaxed),
        }
        tokio::select! {
            done = done => done.ok(),
            () = self.next() => None,
        }
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        self.0.next().await;
    }
}
