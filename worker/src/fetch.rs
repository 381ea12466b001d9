//! `downpour fetch`: a run's averaged parameters, from anywhere, as the model file that the last evaluation
//! writes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use protocol::{CoordinatorCalls as _, CoordinatorClient, Kind, Patience};
use setup::model_file::{self, About};

use crate::stop::Stop;
use crate::store::Store;

/// Options of [`fetch`].
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Address of the coordinator, "host:port".
    pub coordinator: String,
    /// The file to write.
    pub output: PathBuf,
    /// The last iterate in place of the average.
    pub last_iterate: bool,
    /// Deadlines and pauses of calls to an unreachable server.
    pub patience: Patience,
}

/// Gets the parameters and writes the file, whole or not at all.
///
/// # Errors
/// A server that stays away, a run that no worker joined yet, a file that cannot be written.
pub async fn fetch(options: FetchOptions) -> anyhow::Result<()> {
    let coordinator = CoordinatorClient::connect(&options.coordinator, options.patience).await?;
    let status = coordinator.status().await?;
    let layout = status.layout.with_context(|| {
        format!(
            "the run at {} has no parameters yet: no worker has joined; try again later",
            options.coordinator
        )
    })?;
    // The parameters as they come, as tensors, and as the bytes of the file.
    limits::memory::check(3 * (layout.len() * size_of::<f32>()) as u64)
        .with_context(|| format!("fetch {} parameters", layout.len()))?;
    let (kind, values) = if options.last_iterate {
        (Kind::Parameters, "last iterate")
    } else {
        (Kind::Average { evaluation: 0 }, "average")
    };
    let wire = settings::Wire::F32; // a file is worth all bits
    let mut store = Store::connect(&status.shards, Arc::new(layout), wire, &options.patience.into())
        .await
        .map_err(reason)?;
    let parameters = store.fetch(kind).await.map_err(reason)?;
    let about = About {
        configuration: &status.configuration,
        classes: &status.classes,
        data: (!status.data_hash.is_empty()).then_some(&*status.data_hash),
        values,
        samples: status.samples,
        evaluation: status.evaluations.last(),
    };
    model_file::write(&options.output, store.layout(), &parameters, &about)
}

/// Makes an error of a stop, where there is no membership to stop.
fn reason(stop: Stop) -> anyhow::Error {
    match stop {
        Stop::Failed(error) => error,
        Stop::Rejoin(text) => anyhow::anyhow!("the shards are not ready: {text}; try again later"),
        Stop::Ended(_) | Stop::Leave | Stop::Away(_) => unreachable!("only a membership ends so"),
    }
}
