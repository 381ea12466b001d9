//! The run that a call of the program finds in its output folder: how the call goes on with it, and what stays of
//! it where the call is refused.

use std::path::PathBuf;

use anyhow::Context;
use parameter_server::{going_on, snapshot, snapshot::Manifest};
use protocol::RunStatus;
use serde_json::Value;
use settings::{Difference, RunConfiguration, first_difference};
use setup::Data;

use crate::failure::Failure;
use crate::folder::{DATA, Folder, Record};
use crate::options::Options;
use crate::result::RunResult;

/// The run in an output folder as a call of the program finds it.
#[derive(Default)]
pub struct Found {
    record: Option<Record>,
    /// The snapshot from which the run goes on.
    snapshot: Option<Manifest>,
    /// The result of a run that is finished, if the call asks for no more of it.
    result: Option<RunResult>,
}

/// Returns the data folder of the run in the output folder that the options name, if they name no data themselves:
/// the run goes on with it.
pub fn kept_data(options: &Options) -> Option<PathBuf> {
    if options.fresh || options.data.is_some() {
        return None;
    }
    Some(Record::of(&options.output)?.asked[DATA].as_str()?.into())
}

/// Returns a run as its record has it, in JSON: the whole configuration, and the data folder of this call.
fn asked(options: &Options, configuration: &RunConfiguration) -> Value {
    let mut asked = serde_json::to_value(configuration).expect("a configuration is plain data");
    // Another spelling of the same folder is the same data.
    asked[DATA] = options
        .data
        .as_ref()
        .map(|data| data.canonicalize().unwrap_or_else(|_| data.clone()).display().to_string())
        .into();
    asked
}

impl Found {
    /// Looks at the run in `folder`, unless the options ask for a fresh one.
    ///
    /// # Errors
    /// If the run is finished and was another one than the options ask for, or cannot go on; if its record or its
    /// snapshots cannot be used.
    pub fn look(options: &Options, folder: &Folder) -> Result<Found, Failure> {
        if options.fresh {
            return Ok(Found::default());
        }
        let record = folder.record()?;
        let finished = record.as_ref().filter(|record| record.result.is_some());
        if let Some(record) = finished
            && !asks_for_more(record, options, folder)?
        {
            return Ok(Found { result: record.result.clone(), record: Some(record.clone()), snapshot: None });
        }
        let newest = snapshot::newest(&folder.snapshots());
        let snapshot = newest.map_err(|error| Failure::bad_input(error.to_string()))?;
        if finished.is_some() && snapshot.is_none() {
            return Err(Failure::bad_input(format!(
                "the run in {} is finished and cannot go on: no complete snapshot is left of it; --fresh begins anew",
                folder.path().display()
            )));
        }
        Ok(Found { record, snapshot, result: None })
    }

    /// Returns the result of a run that is finished, if the call asks for no more of it.
    pub fn result(&self) -> Option<&RunResult> {
        self.result.as_ref()
    }

    /// Returns the record of a run that is finished with this call, which asks for no more of it.
    pub fn called_again(&self) -> Record {
        let mut record = self.record.clone().expect("a finished run has one");
        record.add_call();
        record
    }

    /// Returns whether nothing of the run that has now used `samples` samples is newer than what was found.
    pub fn is_newest(&self, folder: &Folder, samples: u64) -> bool {
        let had = self.snapshot.as_ref().map_or(0, |manifest| manifest.run.progress.used);
        samples == had && newest(folder).map(|manifest| manifest.id) == self.id()
    }

    /// Returns the number of the snapshot from which the run goes on.
    fn id(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|manifest| manifest.id)
    }

    /// Returns the configuration with which the run goes on; `new` is that of one that begins.
    ///
    /// # Errors
    /// If the run cannot go on as the options ask for, or if its data is not there.
    pub fn configuration(
        &self,
        options: &Options,
        new: RunConfiguration,
    ) -> Result<RunConfiguration, Failure> {
        let Some(Manifest { id, run, .. }) = &self.snapshot else { return Ok(new) };
        let run = going_on(&options.run, run.clone())
            .with_context(|| format!("resume from snapshot {id} in {}", options.output.display()))?;
        if let Some(data) = options.data.clone() {
            Data::Folder(data).check_is_there()?;
        }
        Ok(run.configuration)
    }

    /// Returns in what a run differs from the one found that begins again, as nothing of that is kept; `None` if they
    /// are the same.
    pub fn begun_otherwise(&self, configuration: &RunConfiguration) -> Option<String> {
        let before = self.record.as_ref().filter(|_| self.snapshot.is_none())?.configuration().ok()?;
        let now = configuration.clone().completed_like(&before);
        let Difference { key, one, other } = first_difference(&before, &now)?;
        Some(format!(
            "nothing of the run is kept, and it begins again otherwise than before: {key} is {other}, and was {one}"
        ))
    }

    /// Returns the record of the run as this call goes on with it.
    pub fn record(&self, options: &Options, configuration: &RunConfiguration) -> Record {
        let asked = asked(options, configuration);
        let mut record = match self.record.clone() {
            Some(record) => Record { asked, result: None, ..record },
            None => Record::new(asked),
        };
        record.add_call();
        record
    }

    /// Records what the run is after this call: as its newest snapshot has it, and as it was if that is the one found.
    /// The `status` is the last one, for a run without a snapshot.
    pub fn note_end(
        &self,
        record: &mut Record,
        options: &Options,
        folder: &Folder,
        status: Option<&RunStatus>,
    ) {
        match (newest(folder), &self.record) {
            (Some(newest), Some(before)) if Some(newest.id) == self.id() => {
                record.asked.clone_from(&before.asked);
                record.result.clone_from(&before.result);
            }
            (Some(newest), _) => record.asked = asked(options, &newest.run.configuration),
            (None, _) => {
                if let Some(status) = status {
                    record.asked = asked(options, &status.configuration);
                }
            }
        }
    }

    /// Leaves the folder as this call found it, which was refused before it trained anything.
    pub fn put_back(&self, folder: Folder) {
        match &self.record {
            // What made the call fail is worth more than a failure of this.
            Some(record) => drop(folder.write_record(record)),
            None => folder.remove_new_run(),
        }
    }
}

/// Returns the newest snapshot of a run. What is wrong with snapshots is told when the run goes on.
fn newest(folder: &Folder) -> Option<Manifest> {
    snapshot::newest(&folder.snapshots()).ok().flatten()
}

/// Returns whether this call asks for more of the finished run that has this record, not for the run as it is.
///
/// # Errors
/// If it asks for another run.
fn asks_for_more(record: &Record, options: &Options, folder: &Folder) -> Result<bool, Failure> {
    let begun = record.configuration()?;
    let wanted = options.run.resolve_for(&begun).map_err(anyhow::Error::from)?;
    let changes = begun.changes_to(&wanted).and_then(|changes| {
        // The rest of the record is the data.
        first_difference(&record.asked, &asked(options, &begun)).map_or(Ok(changes), Err)
    });
    let changes = changes.map_err(|Difference { key, one, other }| {
        Failure::bad_input(format!(
            "the run in {} is finished and was another one ({key}: the run has {one}, asked for {other}); --fresh \
             begins anew there, --output names another folder",
            folder.path().display()
        ))
    })?;
    Ok(!changes.is_empty())
}
