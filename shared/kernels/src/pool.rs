//! Thread pool of the kernels.

use crate::affinity;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// A thread pool for the kernels, with a fixed number of threads of its own; rayon's global pool stays
/// unused.
///
/// A pool of one thread that [`Pool::new`] makes starts none: everything runs inline on the caller's thread.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
    workers: Option<ThreadPool>,
}

/// Reasons why a [`Pool`] of threads cannot be made.
#[derive(Debug, Error)]
pub enum PoolError {
    /// Zero threads were asked for.
    #[error("expected at least 1 thread, found 0")]
    NoThreads,
    /// A refusal of the operating system to start threads.
    #[error("cannot start {threads} threads: {reason}")]
    Start {
        /// The number of threads asked for.
        threads: usize,
        /// The system's reason.
        reason: rayon::ThreadPoolBuildError,
    },
    /// A refusal of the operating system to bind a thread to its CPU.
    #[error("cannot keep a thread on CPU {cpu}, expected one that this process may run on: {reason}")]
    Pin {
        /// Number of the CPU.
        cpu: usize,
        /// The system's reason.
        reason: io::Error,
    },
}

impl Pool {
    /// A pool of `threads` threads, which may run on any CPU.
    ///
    /// # Errors
    /// If `threads` is 0 or the system refuses to start the threads.
    pub fn new(threads: usize) -> Result<Pool, PoolError> {
        let workers = match threads {
            0 => return Err(PoolError::NoThreads),
            1 => None,
            _ => Some(start(threads, |_| ())?),
        };
        Ok(Pool { threads, workers })
    }

    /// A pool of `threads` threads, of which thread `i` is bound to CPU number `first + i`. The system then
    /// neither moves them away from their caches nor onto each other's CPUs where several pools share a
    /// machine. Unlike with [`Pool::new`], a pool of one thread starts a thread as well.
    ///
    /// # Errors
    /// If `threads` is 0, the system refuses to start the threads, or this process may not run on one of the
    /// CPUs. On systems other than Linux, always.
    pub fn pinned(threads: usize, first: usize) -> Result<Pool, PoolError> {
        if threads == 0 {
            return Err(PoolError::NoThreads);
        }
        let refused = Arc::new(Mutex::new(None));
        let told = Arc::clone(&refused);
        let workers = start(threads, move |thread| {
            let cpu = first + thread;
            if let Err(reason) = affinity::pin(cpu) {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(PoolError::Pin { cpu, reason });
            }
        })?;
        // Every thread has run its start handler once every thread has answered a broadcast.
        workers.broadcast(|_| ());
        match refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(Pool { threads, workers: Some(workers) }),
        }
    }

    /// The number of threads that run tasks.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on one of the pool's threads (on the caller's, if the pool has started none) and returns
    /// its result. Calls of [`Pool::run`] in `work` get their tasks to the other threads sooner than calls
    /// from outside the pool.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.workers {
            Some(workers) => workers.install(work),
            None => work(),
        }
    }

    /// Runs `task(0)` .. `task(tasks - 1)`, each once, and returns when all are done.
    ///
    /// Each thread has an equal share of consecutive tasks, and takes from the other shares when its own is
    /// done. Where the tasks of all layers go through the images in order, a thread thus finds in its caches
    /// what it wrote itself. Tasks must not call `run`.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.run_on_threads(tasks, |_, index| task(index));
    }

    /// Runs tasks like [`Pool::run`], and tells each task the index, below [`Pool::threads`], of the thread
    /// that runs it: no other task uses that thread's part of a scratch buffer at the same time.
    pub(crate) fn run_on_threads(&self, tasks: usize, task: impl Fn(usize, usize) + Sync) {
        match &self.workers {
            Some(workers) if tasks > 1 => {
                let threads = self.threads.min(tasks);
                let shares = Shares::new(threads.min(Shares::MOST), tasks);
                let take = || {
                    let thread = workers.current_thread_index().expect("one of the pool's threads");
                    shares.each(thread, |index| task(thread, index));
                };
                workers.install(|| fork(threads, &take));
            }
            _ => (0..tasks).for_each(|index| task(0, index)),
        }
    }
}

/// Starts the threads; each calls `begin` with its index first.
fn start(threads: usize, begin: impl Fn(usize) + Send + Sync + 'static) -> Result<ThreadPool, PoolError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("kernels-{index}"))
        .start_handler(begin)
        .build()
        .map_err(|reason| PoolError::Start { threads, reason })
}

/// The remaining tasks, divided into equal shares.
struct Shares {
    count: usize,
    tasks: usize,
    /// The next task of each share.
    next: [Line; Shares::MOST],
}

/// A counter in a cache line of its own.
#[repr(align(64))]
struct Line(AtomicUsize);

impl Shares {
    /// The largest number of shares; more threads than this use shares in common.
    const MOST: usize = 64;

    fn new(count: usize, tasks: usize) -> Shares {
        let first = |share| if share < count { part(share, count, tasks).start } else { tasks };
        let next = std::array::from_fn(|share| Line(AtomicUsize::new(first(share))));
        Shares { count, tasks, next }
    }

    /// Runs all tasks of a thread's own share, and then what is left of the others.
    fn each(&self, thread: usize, mut task: impl FnMut(usize)) {
        for share in (0..self.count).map(|other| (thread + other) % self.count) {
            let end = part(share, self.count, self.tasks).end;
            loop {
                // Relaxed: the counter hands out numbers; joining orders the memory.
                let index = self.next[share].0.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    break;
                }
                task(index);
            }
        }
    }
}

/// Part `index` of `parts` nearly equal parts of `0 .. len`.
#[inline(always)]
pub(crate) fn part(index: usize, parts: usize, len: usize) -> Range<usize> {
    let (small, larger) = (len / parts, len % parts);
    let start = index * small + index.min(larger);
    start..start + small + usize::from(index < larger)
}

/// Calls `take` on as many threads as are free, up to `threads`, including the current one.
fn fork(threads: usize, take: &(impl Fn() + Sync)) {
    match threads {
        1 => take(),
        _ => {
            rayon::join(|| fork(threads - threads / 2, take), || fork(threads / 2, take));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 2, 3, 100] {
                let runs: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run_on_threads(tasks, |thread, task| {
                    assert!(thread < threads);
                    runs[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn no_threads_is_refused() {
        for pool in [Pool::new(0), Pool::pinned(0, 0)] {
            assert_eq!(pool.unwrap_err().to_string(), "expected at least 1 thread, found 0");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pinned_threads_keep_to_their_cpus() {
        let allowed = || -> String {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            line.expect("the CPUs of a thread").trim().to_owned()
        };
        let here = allowed();
        let first: usize = here.split(['-', ',']).next().unwrap().parse().unwrap();
        let pool = Pool::pinned(1, first).unwrap();
        assert_eq!(pool.enter(allowed), first.to_string());
        assert_eq!(allowed(), here, "the caller stays free");
        let runs = AtomicUsize::new(0);
        pool.run(5, |_| {
            runs.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(runs.into_inner(), 5);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let text = Pool::pinned(1, 1_000_000).unwrap_err().to_string();
        assert!(text.starts_with("cannot keep a thread on CPU 1000000, expected one that"), "{text}");
    }
}
