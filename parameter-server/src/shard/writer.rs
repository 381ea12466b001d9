//! The thread on which the shards of a process are written into snapshots.
//!
//! A snapshot copies all values of the shards. A thread's freed memory stays with the thread's part of the
//! heap: on one thread the next copy takes it again, while each thread of a pool would come to keep as much.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that makes the copies and files of snapshots, one after the other. It ends with this.
pub(super) struct Writer(Mutex<mpsc::Sender<Job>>);

impl Writer {
    /// Starts the thread.
    ///
    /// # Panics
    /// If the system has no more threads.
    pub(super) fn start() -> Writer {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = thread::Builder::new().name("snapshots".into());
        thread.spawn(move || queue.into_iter().for_each(|job| job())).expect("a thread can be started");
        Writer(Mutex::new(jobs))
    }

    /// Does work on the thread and waits for what comes of it; returns `None` if the work, or some before it,
    /// panicked.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = mpsc::sync_channel(1);
        let job: Job = Box::new(move || {
            // Whoever asked waits for it.
            let _ = done.send(work());
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).send(job).ok()?;
        result.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_is_done_on_one_thread_and_a_panic_is_told() {
        let writer = Writer::start();
        let name = || thread::current().name().map(String::from);
        let threads = [(); 3].map(|()| writer.run(move || (thread::current().id(), name())).unwrap());
        assert!(threads.iter().all(|(id, name)| *id == threads[0].0 && name.as_deref() == Some("snapshots")));
        assert_eq!(writer.run(|| panic!("a broken shard")), None::<()>);
        assert_eq!(writer.run(|| 1), None);
    }
}
