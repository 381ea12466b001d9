//! Threads and instruction set that a program computes with.

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
    /// Returns the threads that these flags ask for.
    pub fn threads(&self) -> Threads {
        Threads { count: self.threads.map(usize::from), pin: self.pin.map(usize::from) }
    }

    /// Returns the name of the instruction set that the flag, or else the environment, asks for; `None`: the
    /// best of the machine.
    pub fn isa(&self) -> Option<String> {
        isa_name(self.isa.clone())
    }
}

/// Returns the instruction set of that name; `None`: the best of the machine.
///
/// # Errors
/// A name that is not known, or an instruction set that the machine lacks.
pub fn isa(name: Option<&str>) -> anyhow::Result<Isa> {
    Ok(name.map_or_else(|| Ok(Isa::detect()), Isa::by_name)?)
}

/// Number and place of the threads that compute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads {
    /// Number of the threads; `None`: as many as the machine runs at once.
    pub count: Option<usize>,
    /// The first of the CPUs that they keep to, one each; `None`: wherever the system has them run.
    pub pin: Option<usize>,
}

impl Threads {
    /// Returns the number of threads.
    pub fn count(&self) -> usize {
        self.count.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// A CPU that this process may not run on.
    pub fn pool(&self) -> anyhow::Result<Arc<Pool>> {
        let pool = match self.pin {
            None => Pool::new(self.count()),
            Some(first) => Pool::pinned(self.count(), first),
        };
        Ok(Arc::new(pool.context("start the compute threads")?))
    }
}

/// Threads of this number, on whichever CPUs the system has them run.
impl From<usize> for Threads {
    fn from(count: usize) -> Threads {
        Threads { count: Some(count), pin: None }
    }
}
