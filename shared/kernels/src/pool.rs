//! The threads that kernels run on.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use thiserror::Error;

/// A fixed number of threads, of its own (the global pool of rayon stays untouched).
///
/// A pool of one thread starts none: everything runs inline on the caller.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
    workers: Option<ThreadPool>,
}

/// Why a pool cannot be made.
#[derive(Debug, Error)]
pub enum PoolError {
    /// Zero threads were asked for.
    #[error("expected at least 1 thread, found 0")]
    NoThreads,
    /// The operating system refused.
    #[error("cannot start {threads} threads: {reason}")]
    Start {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: rayon::ThreadPoolBuildError,
    },
}

impl Pool {
    /// A pool of `threads` threads.
    pub fn new(threads: usize) -> Result<Pool, PoolError> {
        let workers = match threads {
            0 => return Err(PoolError::NoThreads),
            1 => None,
            _ => Some(
                ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|index| format!("kernels-{index}"))
                    .build()
                    .map_err(|reason| PoolError::Start { threads, reason })?,
            ),
        };
        Ok(Pool { threads, workers })
    }

    /// How many threads run tasks.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on one of the pool's threads: from there, tasks reach the others sooner.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.workers {
            Some(workers) => workers.install(work),
            None => work(),
        }
    }

    /// Runs `task(0)` .. `task(tasks - 1)`, each once, and returns when all are done.
    ///
    /// Each thread has an equal share of them, of those that follow each other, and takes what is left of another's when it is done
    /// with its own. So a thread finds in its caches what it wrote itself, where tasks of all layers go through the images in
    /// order. Tasks must not call `run`.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.run_on_threads(tasks, |_, index| task(index));
    }

    /// As [`Pool::run`], and tells each task the thread (below [`Pool::threads`]) that it has to itself: the index of
    /// its part of a scratch buffer.
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

/// The tasks that are left, in equal shares.
struct Shares {
    count: usize,
    tasks: usize,
    /// The next task of each share.
    next: [Line; Shares::MOST],
}

/// A number in a cache line of its own.
#[repr(align(64))]
struct Line(AtomicUsize);

impl Shares {
    /// More threads than this have shares in common.
    const MOST: usize = 64;

    fn new(count: usize, tasks: usize) -> Shares {
        let first = |share| if share < count { part(share, count, tasks).start } else { tasks };
        let next = std::array::from_fn(|share| Line(AtomicUsize::new(first(share))));
        Shares { count, tasks, next }
    }

    /// Gives a thread its share and then what is left of the others.
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

/// Calls `take` on as many threads as are free, up to `threads`, this one among them.
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
        assert_eq!(Pool::new(0).unwrap_err().to_string(), "expected at least 1 thread, found 0");
    }
}
