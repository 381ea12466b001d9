//! The photographs that the leader lends: what they are and how they are read is the business of whoever starts
//! the process.

use std::{fmt, sync::Arc};

use protocol::Pictures;
use settings::RunConfiguration;

type Open = dyn Fn(&RunConfiguration) -> anyhow::Result<Arc<dyn Pictures>> + Send + Sync;

/// A way to open the photographs of a run once its configuration, which says how they are read, is known.
#[derive(Clone)]
pub struct Lend(Arc<Open>);

impl Lend {
    /// Makes one of the function that opens the photographs of a run with a given configuration.
    pub fn new(
        open: impl Fn(&RunConfiguration) -> anyhow::Result<Arc<dyn Pictures>> + Send + Sync + 'static,
    ) -> Lend {
        Lend(Arc::new(open))
    }

    /// Opens the photographs.
    pub(super) fn open(&self, configuration: &RunConfiguration) -> anyhow::Result<Arc<dyn Pictures>> {
        (self.0)(configuration)
    }
}

impl fmt::Debug for Lend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lend")
    }
}
