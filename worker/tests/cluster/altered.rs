//! Workloads with another model than theirs.

use protocol::{DataDescription, RunStatus};
use settings::RunConfiguration;
use worker::workload::{Model, Samples, Workload};

/// The work of `inner` in all but its model, which `model` makes.
pub struct Altered<W, F> {
    pub inner: W,
    pub model: F,
}

impl<W, M, F> Workload for Altered<W, F>
where
    W: Workload,
    M: Model,
    W::Samples: Samples<Batch = M::Batch>,
    F: Fn(&W, &RunConfiguration) -> anyhow::Result<M> + Sync,
{
    type Model = M;
    type Samples = W::Samples;

    fn data(&self, status: &RunStatus) -> anyhow::Result<DataDescription> {
        self.inner.data(status)
    }

    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<M> {
        (self.model)(&self.inner, configuration)
    }

    fn samples(&self, configuration: &RunConfiguration) -> W::Samples {
        self.inner.samples(configuration)
    }
}
