//! The threads that a command computes with.

use std::sync::Arc;

use anyhow::Context;
use kernels::Pool;

/// How many, and where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads {
    /// `None`: as many as the machine runs at once.
    pub count: Option<usize>,
    /// The first of the CPUs that they keep to, one each; `None`: wherever the system has them run.
    pub pin: Option<usize>,
}

impl Threads {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.count.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Starts them.
    ///
    /// # Errors
    /// A CPU that this process may not run on.
    pub(crate) fn pool(&self) -> anyhow::Result<Arc<Pool>> {
        let pool = match self.pin {
            None => Pool::new(self.count()),
            Some(first) => Pool::pinned(self.count(), first),
        };
        Ok(Arc::new(pool.context("start the compute threads")?))
    }
}

/// So many, wherever the system has them run.
impl From<usize> for Threads {
    fn from(count: usize) -> Threads {
        Threads { count: Some(count), pin: None }
    }
}
