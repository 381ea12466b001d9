//! Workloads with another model than theirs.

use protocol::{CoordinatorClient, DataDescription, RunStatus};
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

    async fn data(&self, client: &CoordinatorClient, status: &RunStatus) -> anyhow::Result<DataDescription> {
        self.inner.data(client, status).await
    }

    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<M> {
        (self.model)(&self.inner, configuration)
    }

    fn samples(&self, configuration: &RunConfiguration) -> W::Samples {
        self.inner.samples(configuration)
    }
}
