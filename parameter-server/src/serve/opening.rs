//! The opening of a leader's run: its starting state is the newest snapshot, or else the configuration that
//! the flags give and, if it names one, a model file.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use settings::{NEWEST_DATA_RULES, RunConfiguration};

use super::{Options, resume};
use crate::{
    shard::WarmStart,
    snapshot::{self, Manifest},
};

/// The state that a leader's run starts from.
pub(crate) struct Opening {
    /// The run's configuration; in a new run, the first worker's data completes it.
    pub(crate) configuration: RunConfiguration,
    /// The snapshot that the run resumes from; a new run has none.
    pub(crate) snapshot: Option<Manifest>,
    /// The model file that a new run starts from, if its configuration names one.
    pub(crate) warm: Option<Arc<WarmStart>>,
}

impl Opening {
    /// Finds the state that the run starts from; returns `None` if the run is over and all workers were told.
    /// With the option `fresh`, the snapshots of an earlier run are removed first.
    ///
    /// # Errors
    /// If the snapshots cannot be read or removed, or none of them can be used; if the configuration is
    /// invalid, or the resumed run cannot go on with it; if the model file cannot be used; if the number of
    /// shards is not the snapshot's.
    pub(crate) fn find(options: &Options) -> anyhow::Result<Option<Opening>> {
        let folder = &options.snapshots;
        if options.fresh {
            snapshot::clear(folder).context("remove the snapshots of an earlier run")?;
        }
        let found = snapshot::newest(folder)?.map(|manifest| going_on(options, manifest)).transpose()?;
        let mut configuration = match &found {
            Some(manifest) => manifest.run.configuration.clone(),
            None => new_configuration(options)?,
        };
        if let Some(manifest) = found.as_ref().filter(|manifest| manifest.finished()) {
            log_result(manifest, folder);
            if snapshot::is_run_over(folder, manifest.id) {
                return Ok(None);
            }
            tracing::info!("it was stopped before everybody was told");
        }
        // The snapshot of a resumed run holds what the run started from.
        let warm = if found.is_none() { WarmStart::named_by(&mut configuration)? } else { None };
        if let Some(manifest) = &found {
            check_shards(manifest, options)?;
            let samples = manifest.run.progress.used;
            tracing::info!(
                "resuming from snapshot {} in {} after {samples} samples",
                manifest.id,
                folder.display()
            );
        }
        Ok(Some(Opening { configuration, snapshot: found, warm }))
    }
}

/// Makes the configuration of a new run.
fn new_configuration(options: &Options) -> anyhow::Result<RunConfiguration> {
    let mut configuration = options.flags.resolve(&options.default_recipe)?;
    configuration.run.data_rules.get_or_insert(NEWEST_DATA_RULES);
    Ok(configuration)
}

/// Returns the snapshot `found` as the run goes on from it with what the flags name.
fn going_on(options: &Options, mut found: Manifest) -> anyhow::Result<Manifest> {
    let (id, folder) = (found.id, options.snapshots.display());
    found.run = resume::going_on(&options.flags, found.run)
        .with_context(|| format!("resume from snapshot {id} in {folder}"))?;
    Ok(found)
}

/// Checks that the server has as many shards as the one that wrote the snapshot.
fn check_shards(manifest: &Manifest, options: &Options) -> anyhow::Result<()> {
    let (written, total) = (manifest.shards.len(), options.shards * options.processes);
    ensure!(
        written == total as usize,
        "snapshot {} in {} was written by {written} shards, this server has {total}: \
         give --shards and --servers that make {written}, or --fresh to start anew",
        manifest.id,
        options.snapshots.display()
    );
    Ok(())
}

/// Logs the result of a finished run.
fn log_result(manifest: &Manifest, folder: &Path) {
    let samples = manifest.run.progress.used;
    let result =
        manifest.evaluation().map_or_else(String::new, |evaluation| format!(": {}", evaluation.average));
    tracing::info!(
        "the run in {} is finished after {samples} samples{result}; --fresh starts anew",
        folder.display()
    );
}
