//! `worker bench`: whole training steps on this machine, without a server.

use crate::describe::NetworkFlags;

/// Options of a measurement.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Images of one step.
    pub batch: usize,
    /// Threads that compute.
    pub threads: usize,
    /// The forward pass alone, auxiliary heads off.
    pub forward_only: bool,
    /// Instruction set; `None`: the best of the machine.
    pub isa: Option<String>,
    /// Steps to measure; `None`: as many as fit into `seconds`.
    pub steps: Option<u32>,
    /// Seconds to measure for.
    pub seconds: f64,
}

/// Measures and prints, as a table for people or as one JSON object.
///
/// # Errors
/// Flags that no network can be built from, an instruction set that the machine lacks.
pub fn run(flags: &NetworkFlags, options: &BenchOptions, json: bool) -> anyhow::Result<()> {
    let _ = (flags, options, json);
    anyhow::bail!("not written")
}
