//! The model files of a run, which the leader writes into the run's folder, so that no worker's end loses them: the
//! average that each evaluation scored, and that of the moment at which the run is stopped.
//!
//! The shards keep the scored average frozen until its model is written, which happens beside the training:
//! pushes wait for no file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use formats::model_file::{self, About, BEST_FILE, MODEL_FILE};
use parameters::Layout;
use protocol::{BlockValues, FetchRequest, Kind, RunStatus, Shards as _, Wire, run_blocking};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::remotes::Remotes;
use crate::{Coordinator, ShardHost, coordinator::ScoredModel};

/// Time between two looks for a model to write.
const LOOK: Duration = Duration::from_millis(100);
/// Number of attempts at a model.
const ATTEMPTS: usize = 6;
/// Pause before another attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time that the values of a model may take to come from all shards.
const GATHERED_WITHIN: Duration = Duration::from_secs(60);
/// The same when the run is stopped: somebody waits for that.
const GATHERED_AT_STOP: Duration = Duration::from_secs(5);

/// The writer of a run's model files.
#[derive(Clone)]
pub(super) struct Models {
    /// The run's folder.
    folder: PathBuf,
    coordinator: Arc<Coordinator>,
    /// The shards of this process, which are the first.
    host: Arc<ShardHost>,
    remotes: Arc<Remotes>,
}

/// The moment of a run whose average a model holds.
struct Moment {
    /// Number of the evaluation for which the shards keep the average; 0 means the present.
    evaluation: u64,
    /// Number of samples that the run had trained on.
    samples: u64,
    /// The newest evaluation as JSON, if there is one.
    scores: Option<serde_json::Value>,
    /// Names of the files to write.
    names: Vec<&'static str>,
}

impl Models {
    /// Makes the writer of the models of the run of `coordinator` into the folder `folder`. From now on the shards
    /// keep the average of each evaluation until its model is written.
    pub(super) fn new(
        folder: PathBuf,
        coordinator: Arc<Coordinator>,
        host: Arc<ShardHost>,
        remotes: Arc<Remotes>,
    ) -> Models {
        coordinator.write_models();
        Models { folder, coordinator, host, remotes }
    }

    /// Writes the models of evaluations that are not written yet.
    pub(super) async fn write_left(&self) {
        while let Some(model) = self.coordinator.unwritten() {
            self.write_model(&model).await;
            self.coordinator.model_written(model.evaluation.id);
        }
    }

    /// Writes the model of each evaluation until `stopped`, and then those that are left.
    pub(super) async fn write_scored(self, mut stopped: watch::Receiver<bool>) {
        loop {
            self.write_left().await;
            if *stopped.borrow() {
                return;
            }
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Writes the average that an evaluation scored; a failure is logged.
    async fn write_model(&self, model: &ScoredModel) {
        let names = [(model.newest, MODEL_FILE), (model.best, BEST_FILE)];
        let names: Vec<_> = names.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        if names.is_empty() {
            return;
        }
        let evaluation = &model.evaluation;
        for attempt in 1.. {
            let scores = serde_json::to_value(evaluation).expect("an evaluation is plain data");
            let moment = Moment {
                evaluation: evaluation.id,
                samples: evaluation.samples,
                scores: Some(scores),
                names: names.clone(),
            };
            let Err(error) = self.write(moment, GATHERED_WITHIN).await else { return };
            tracing::warn!(
                "the model of the evaluation after {} samples could not be written, the one before stays: {error:#}",
                evaluation.samples
            );
            if attempt == ATTEMPTS {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Writes the average as it is now, in a run that is stopped; a failure is logged. Nothing is written before
    /// the run was trained.
    pub(super) async fn write_present(&self) {
        let RunStatus { samples, evaluations, .. } = protocol::Coordinator::status(&*self.coordinator);
        if samples == 0 {
            return;
        }
        let newest = evaluations.last().map(serde_json::to_value);
        let scores = newest.transpose().expect("an evaluation is plain data");
        let moment = Moment { evaluation: 0, samples, scores, names: vec![MODEL_FILE] };
        if let Err(error) = self.write(moment, GATHERED_AT_STOP).await {
            tracing::warn!("the model as it is could not be written, the one before stays: {error:#}");
        }
    }

    /// Gathers the average of a moment from all shards within the time `gathered_within`, and writes it.
    async fn write(&self, moment: Moment, gathered_within: Duration) -> anyhow::Result<()> {
        let status = protocol::Coordinator::status(&*self.coordinator);
        let layout = status.layout.clone().context("no worker has brought the network")?;
        // The values as they come, as tensors, and as the bytes of the file.
        limits::memory::check(3 * (layout.len() * size_of::<f32>()) as u64)
            .with_context(|| format!("gather {} parameters", layout.len()))?;
        let gathering = self.average(moment.evaluation, &layout, &status);
        let values = timeout(gathered_within, gathering)
            .await
            .map_err(|_| anyhow!("not all shards have sent it within {gathered_within:?}"))??;
        let folder = self.folder.clone();
        let written = run_blocking(move || {
            let about = About {
                configuration: &status.configuration,
                classes: &status.classes,
                data: (!status.data_hash.is_empty()).then_some(&*status.data_hash),
                values: "average",
                samples: moment.samples,
                evaluation: moment.scores,
            };
            let mut names = moment.names.iter();
            names.try_for_each(|name| model_file::write(&folder.join(name), &layout, &values, &about))
        });
        written.await.context("write the model")?
    }

    /// Returns the average for an evaluation, or with number 0 the present one, as a flat vector in the order of
    /// `layout`.
    async fn average(
        &self,
        evaluation: u64,
        layout: &Layout,
        status: &RunStatus,
    ) -> anyhow::Result<Vec<f32>> {
        let kind = Kind::Average { evaluation };
        let owners = parameters::assign(layout, status.shards.len());
        let mut of_shard = vec![Vec::new(); status.shards.len()];
        layout
            .blocks()
            .iter()
            .for_each(|block| of_shard[owners[block.index as usize] as usize].push(block.index));
        let own = self.host.status().len();
        let mut flat = vec![0.0; layout.len()];
        let mut missing = layout.blocks().len();
        let mut place = |block: BlockValues| {
            let to = layout.blocks().get(block.block as usize).map(|known| known.range.clone());
            if let Some(to) = to.filter(|to| to.len() == block.values.len()) {
                block.values.copy_to(&mut flat[to]);
                missing -= 1;
            }
        };
        for ((shard, address), blocks) in (0..).zip(&status.shards).zip(of_shard) {
            if (shard as usize) < own {
                let (host, life) = (self.host.clone(), status.life);
                let fetch = move |block| host.fetch(life, shard, block, kind);
                let fetched =
                    run_blocking(move || blocks.into_iter().map(fetch).collect::<Result<Vec<_>, _>>());
                fetched.await.context("read the shards")??.into_iter().for_each(&mut place);
            } else {
                let request = FetchRequest { shard, blocks, kind, wire: Wire::F32, life: status.life };
                self.remotes.fetch(address, request, &mut place).await?;
            }
        }
        ensure!(
            missing == 0,
            "{missing} of {} blocks have another length than in the layout",
            layout.blocks().len()
        );
        Ok(flat)
    }
}
