//! Context of an operation: instruction set, threads and scratch memory.

use crate::disjoint::Disjoint;
use crate::{Isa, Pool};

/// The instruction set, the threads and the scratch memory of an operation.
#[derive(Debug)]
pub struct Context<'a> {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Threads that share the work.
    pub pool: &'a Pool,
    /// Scratch memory of at least the operation's `scratch_len` floats; its initial contents do not matter.
    pub scratch: &'a mut [f32],
}

impl Context<'_> {
    /// A reborrow of this context for a shorter time.
    pub fn reborrow(&mut self) -> Context<'_> {
        Context { isa: self.isa, pool: self.pool, scratch: self.scratch }
    }

    /// Runs `task(0)` .. `task(tasks - 1)` like [`Pool::run`]; each gets `len` floats of scratch that no
    /// other task uses at the same time.
    ///
    /// # Panics
    /// If there is less scratch than `len` floats for each thread that runs a task.
    pub(crate) fn run(self, tasks: usize, len: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
        let scratch = Disjoint::new(self.scratch);
        self.pool.run_on_threads(tasks, |thread, index| {
            // SAFETY: the pool runs one task at a time on each thread.
            task(index, unsafe { scratch.part(thread * len, len) });
        });
    }
}

/// Splits the beginning of `memory` into consecutive parts of the given lengths.
///
/// # Panics
/// If the memory is shorter.
pub(crate) fn split<const N: usize>(mut memory: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|len| {
        let (part, rest) = std::mem::take(&mut memory).split_at_mut(len);
        memory = rest;
        part
    })
}
