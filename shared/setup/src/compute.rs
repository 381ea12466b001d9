//! The threads and the instruction set with which a program computes.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use kernels::{Isa, Pool};
use process::isa_name;

/// Flags that say what a command computes with.
#[derive(Clone, Debug, Args)]
pub struct ComputeFlags {
    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Keep each of these threads on a CPU of its own, from this one on (Linux) [default: the system places
    /// them]
    #[arg(long, value_name = "CPU")]
    pub pin: Option<u16>,
    /// Instruction set: scalar, avx2, avx512 or neon [default: DOWNPOUR_ISA, else the machine's best]
    #[arg(long, value_name = "I")]
    pub isa: Option<String>,
}

impl ComputeFlags {
    /// Returns the threads that the flags `--threads` and `--pin` ask for.
    pub fn threads(&self) -> Threads {
        Threads { count: self.threads.map(usize::from), pin: self.pin.map(usize::from) }
    }

    /// Returns the name of the instruction set that the flag `--isa` or, without it, the environment variable
    /// `DOWNPOUR_ISA` asks for; `None` means the best of the machine.
    pub fn isa(&self) -> Option<String> {
        isa_name(self.isa.clone())
    }
}

/// Returns the instruction set called `name`, or the best of the machine if `name` is `None`.
///
/// # Errors
/// If the name is unknown, or if the machine lacks that instruction set.
pub fn isa(name: Option<&str>) -> anyhow::Result<Isa> {
    Ok(name.map_or_else(|| Ok(Isa::detect()), Isa::by_name)?)
}

/// The number of compute threads, and the CPUs on which they run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads {
    /// Number of threads; `None` means as many as the machine runs at once.
    pub count: Option<usize>,
    /// Number of the first CPU: each thread is pinned to a CPU of its own, from this one on. `None` means
    /// that the system chooses where they run.
    pub pin: Option<usize>,
}

impl Threads {
    /// Returns the number of threads: `count` or, without it, as many as the machine runs at once.
    pub fn count(&self) -> usize {
        self.count.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Starts a pool of as many compute threads as `count` says, each pinned to a CPU if `pin` is given.
    ///
    /// # Errors
    /// If a thread cannot be started, or if this process may not run on a CPU to which a thread is pinned.
    pub fn pool(&self) -> anyhow::Result<Arc<Pool>> {
        let pool = match self.pin {
            None => Pool::new(self.count()),
            Some(first) => Pool::pinned(self.count(), first),
        };
        Ok(Arc::new(pool.context("start the compute threads")?))
    }
}

/// Converts a number of threads; the system chooses the CPUs on which they run.
impl From<usize> for Threads {
    fn from(count: usize) -> Threads {
        Threads { count: Some(count), pin: None }
    }
}
