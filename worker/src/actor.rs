//! An actor: a value with a thread of its own, on which it runs jobs, so that computing and waiting for
//! images stay off the threads that exchange blocks with the server.
//!
//! In a simulation the jobs run on the caller's thread instead, so that the run is deterministic.

use std::sync::{Mutex, mpsc};

use tokio::sync::oneshot;

/// The thread on which an [`Actor`]'s jobs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Jobs run on a thread of the actor's own.
    Thread,
    /// Jobs run on the thread of the caller, as in simulations.
    Inline,
}

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// An actor: it owns a `T` and runs jobs on it one at a time, in the order of the calls.
pub struct Actor<T> {
    name: &'static str,
    home: Home<T>,
}

enum Home<T> {
    Thread(mpsc::Sender<Job<T>>),
    Inline(Mutex<T>),
}

/// An error: the actor's thread has ended because one of its jobs panicked.
#[derive(Debug, thiserror::Error)]
#[error("the thread {0:?} has ended by a panic")]
pub struct Gone(&'static str);

impl<T: Send + 'static> Actor<T> {
    /// Starts an actor that owns `value`. With [`Place::Thread`] it starts a thread called `name`; with
    /// [`Place::Inline`] the jobs run on the thread that calls.
    pub fn start(name: &'static str, place: Place, mut value: T) -> Actor<T> {
        if place == Place::Inline {
            return Actor { name, home: Home::Inline(Mutex::new(value)) };
        }
        let (sender, jobs) = mpsc::channel::<Job<T>>();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                while let Ok(job) = jobs.recv() {
                    job(&mut value);
                }
            })
            .expect("a thread can be started");
        Actor { name, home: Home::Thread(sender) }
    }

    /// Queues `job` at once, even before the returned future is polled; the future resolves to the job's
    /// result. The job runs even if the future is dropped.
    ///
    /// # Errors
    /// [`Gone`] if the actor's thread has ended.
    pub fn call<R, F>(&self, job: F) -> impl Future<Output = Result<R, Gone>> + Send + use<T, R, F>
    where
        R: Send + 'static,
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        match &self.home {
            Home::Thread(jobs) => {
                // A thread that is gone drops the job, and `result` tells.
                let _ = jobs.send(Box::new(move |value| drop(done.send(job(value)))));
            }
            Home::Inline(value) => {
                let mut value = value.lock().expect("no job has panicked in place");
                let _ = done.send(job(&mut value));
            }
        }
        let name = self.name;
        async move { result.await.map_err(|_| Gone(name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_in_the_order_of_the_calls_awaited_or_not() {
        for place in [Place::Thread, Place::Inline] {
            let actor = Actor::start("test", place, Vec::new());
            for number in 0..5 {
                drop(actor.call(move |list: &mut Vec<i32>| list.push(number)));
            }
            assert_eq!(actor.call(|list| list.clone()).await.unwrap(), [0, 1, 2, 3, 4]);
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_to_this_and_later_callers() {
        let actor = Actor::start("test", Place::Thread, 0);
        assert!(actor.call(|_| -> u8 { panic!("on purpose") }).await.is_err());
        assert!(actor.call(|value| *value).await.is_err());
    }
}
