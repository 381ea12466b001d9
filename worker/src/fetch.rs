//! The command `downpour fetch`: writes the current parameters of a run to a model file, without taking part
//! in the run. The file is like the one that the run's last evaluation writes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use formats::model_file::{self, About};
use protocol::{Connector, CoordinatorCalls as _, CoordinatorClient, Kind};

use crate::stop::Stop;
use crate::store::Store;

/// Options of [`fetch`], which writes the current parameters of a run to a model file.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Address of the run's coordinator, the server process that knows the state of the run: "host:port".
    pub coordinator: String,
    /// Path of the model file to write.
    pub output: PathBuf,
    /// Whether to fetch the last iterate (the parameters as the newest update left them) instead of the
    /// averaged parameters.
    pub last_iterate: bool,
    /// Connector to the server: the token by which it lets a reader in, the deadlines of calls, the pauses
    /// between attempts, and the time after which to give up on a server that cannot be reached.
    pub connector: Connector,
}

/// Fetches a run's parameters and writes them to a model file, either the whole file or none.
///
/// # Errors
/// If the server cannot be reached, if no worker has joined the run yet, if the parameters do not fit in
/// memory, or if the file cannot be written.
pub async fn fetch(options: FetchOptions) -> anyhow::Result<()> {
    let coordinator = CoordinatorClient::connect(&options.coordinator, options.connector.clone()).await?;
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
    let mut store = Store::connect(&status.shards, status.life, Arc::new(layout), wire, &options.connector)
        .await
        .map_err(reason)?;
    let parameters = store.fetch(kind).await.map_err(reason)?;
    let newest = status.evaluations.last().map(serde_json::to_value);
    let about = About {
        configuration: &status.configuration,
        classes: &status.classes,
        data: (!status.data_hash.is_empty()).then_some(&*status.data_hash),
        values,
        samples: status.samples,
        evaluation: newest.transpose().context("write the scores")?,
    };
    model_file::write(&options.output, store.layout(), &parameters, &about)
}

/// Turns a stop into an error, where there is no membership that could end.
fn reason(stop: Stop) -> anyhow::Error {
    match stop {
        Stop::Failed(error) => error,
        Stop::Rejoin(text) => anyhow::anyhow!("the shards are not ready: {text}; try again later"),
        Stop::Ended(_) | Stop::Leave | Stop::Drained(_) | Stop::Away(_) => {
            unreachable!("only a membership ends so")
        }
    }
}
