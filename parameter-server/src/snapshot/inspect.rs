//! The command `parameter-server inspect`: shows the snapshots in a folder and whether a run can resume from
//! one of them.

use std::{
    fmt::{self, Write},
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use process::{Exit, print_line};
use protocol::{Evaluation, Life};
use serde::Serialize;
use settings::RunConfiguration;

use super::Manifest;
use crate::{
    coordinator::leases::EpochLedger,
    shard::file::{self as shard_file, ShardFileError},
    snapshot,
};

/// Flags of `parameter-server inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectFlags {
    /// Folder of the snapshots
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// The contents of a folder of snapshots, as the command `parameter-server inspect` found them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contents {
    /// Snapshots in the folder, complete or not, oldest first.
    pub snapshots: Vec<Inspected>,
}

/// A snapshot as the command `parameter-server inspect` found it in its folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspected {
    /// Number of the snapshot.
    pub id: u64,
    /// Whether a run can resume from the snapshot: its manifest and files are present and match.
    pub complete: bool,
    /// The reasons why no run can resume from the snapshot; empty if one can.
    pub problems: Vec<String>,
    /// State of the run when the snapshot was taken; `None` if the snapshot's manifest, which holds it,
    /// cannot be read.
    pub run: Option<InspectedRun>,
    /// Files of the shards in the snapshot, in the order of the shards' numbers.
    pub shards: Vec<InspectedShard>,
}

/// State of a run when a snapshot was taken, as its manifest (the file beside those of the shards'
/// parameters) holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedRun {
    /// Life of the server that took the snapshot, with the id of the run.
    pub life: Life,
    /// Whether the run was complete, its last evaluation included, when the snapshot was taken.
    pub finished: bool,
    /// Number of training samples that the run had used when the snapshot was taken.
    pub samples: u64,
    /// Number of minibatches that the run had trained on when the snapshot was taken.
    pub steps: u64,
    /// Ledgers (numbers of images used, repeated, skipped and lost) of the epochs that had begun, oldest
    /// first.
    pub epochs: Vec<EpochLedger>,
    /// Results of the evaluations that were finished when the snapshot was taken, oldest first.
    pub evaluations: Vec<Evaluation>,
    /// Configuration of the run, completed by the data's number of classes.
    pub configuration: RunConfiguration,
}

/// File of one shard in a snapshot, as the command `parameter-server inspect` found it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedShard {
    /// Number of the shard.
    pub shard: u32,
    /// Path of the shard's file in the snapshot, whether the file exists or not.
    pub file: PathBuf,
    /// Size of the shard's file in bytes; `None` if the file does not exist.
    pub bytes: Option<u64>,
    /// State of the shard's file: `whole` (its hash is the one that the snapshot's manifest lists),
    /// `damaged`, `not finite` (whole, but with values that are not finite), `missing`, `elsewhere` (on the
    /// machine of the shard's process), or `unknown` (no manifest can be read, so the hash is unknown).
    pub state: &'static str,
    /// Fewest and most samples behind the updates of a block in the shard's file; `None` if the file does not
    /// exist or cannot be read. In a snapshot that was taken when all workers had left, they are what the
    /// account in the server's log says that blocks hold.
    pub samples: Option<RangeInclusive<u64>>,
}

/// Runs the command `parameter-server inspect`: prints the snapshots in the folder and returns the exit code,
/// which is 3 if no run can resume from them.
pub fn run(flags: &InspectFlags) -> ExitCode {
    match print(flags) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("failed to inspect: {error:#}");
            Exit::BadInput.into()
        }
    }
}

fn print(flags: &InspectFlags) -> anyhow::Result<()> {
    let contents = inspect(&flags.folder)?;
    match flags.json {
        true => print_line(serde_json::to_string_pretty(&contents)?)?,
        false => print_line(contents.to_string().trim_end())?,
    }
    if contents.newest().is_none() {
        bail!("no run can go on from {}: no snapshot there is complete", flags.folder.display());
    }
    Ok(())
}

/// Inspects every snapshot in `folder`: reads its manifest (the file with the state of the run and the hashes
/// of the shards' files) and checks the shards' files against it.
///
/// # Errors
/// If the folder cannot be read or holds no snapshot.
pub fn inspect(folder: &Path) -> anyhow::Result<Contents> {
    fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let ids = snapshot::ids(folder)?;
    if ids.is_empty() {
        bail!(
            "{} holds no snapshots; expected folders named by numbers, as the server's --snapshots has them",
            folder.display()
        );
    }
    Ok(Contents { snapshots: ids.into_iter().map(|id| one(folder, id)).collect() })
}

fn one(folder: &Path, id: u64) -> Inspected {
    match Manifest::read(folder, id) {
        Ok(manifest) => with_manifest(folder, manifest),
        Err(error) => {
            let numbers = shard_file::numbers(folder, id);
            let shards = numbers.into_iter().map(|shard| file(folder, id, shard, "unknown")).collect();
            Inspected { id, complete: false, problems: vec![error.to_string()], run: None, shards }
        }
    }
}

fn with_manifest(folder: &Path, manifest: Manifest) -> Inspected {
    let id = manifest.id;
    let total = manifest.shards.len() as u32;
    let mut problems = Vec::new();
    let check = |entry: &snapshot::ShardEntry| {
        let state = match entry.check(folder, id) {
            Ok(true) => match shard_file::read(folder, id, None, entry.shard, total) {
                Err(error @ ShardFileError::NotFinite { .. }) => {
                    problems.push(error.to_string());
                    "not finite"
                }
                _ => "whole",
            },
            Ok(false) => "elsewhere",
            Err(error) => {
                let missing = matches!(&error, snapshot::SnapshotError::Read { error, .. }
                    if error.kind() == io::ErrorKind::NotFound);
                problems.push(error.to_string());
                if missing { "missing" } else { "damaged" }
            }
        };
        file(folder, id, entry.shard, state)
    };
    let shards = manifest.shards.iter().map(check).collect();
    let run = manifest.run;
    let run = InspectedRun {
        life: run.life,
        finished: run.finished,
        samples: run.progress.used,
        steps: run.steps,
        epochs: run.progress.ledgers,
        evaluations: run.evaluations,
        configuration: run.configuration,
    };
    Inspected { id, complete: problems.is_empty(), problems, run: Some(run), shards }
}

fn file(folder: &Path, id: u64, shard: u32, state: &'static str) -> InspectedShard {
    let file = shard_file::path(folder, id, shard);
    let bytes = fs::metadata(&file).ok().map(|metadata| metadata.len());
    InspectedShard { shard, file, bytes, state, samples: shard_file::samples(folder, id, shard) }
}

impl Contents {
    /// Returns the snapshot from which a run would resume: the newest complete one, or `None` if there is
    /// none.
    pub fn newest(&self) -> Option<&Inspected> {
        self.snapshots.iter().rev().find(|snapshot| snapshot.complete)
    }
}

/// Writes the contents as text: each snapshot with its shards, and the configuration of the newest complete
/// one.
impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshots.iter().try_for_each(|snapshot| snapshot.fmt(f))?;
        if let Some(Inspected { id, run: Some(run), .. }) = self.newest() {
            let text = serde_json::to_string_pretty(&run.configuration).map_err(|_| fmt::Error)?;
            writeln!(f, "a run goes on from snapshot {id}, with this configuration:\n{text}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.complete { "complete" } else { "not usable" };
        write!(f, "snapshot {}: {state}", self.id)?;
        if let Some(run) = &self.run {
            let end = if run.finished { ", the run's end" } else { "" };
            write!(f, ", {} samples, {} minibatches{end}", run.samples, run.steps)?;
        }
        f.write_char('\n')?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))?;
        for InspectedShard { shard, file, bytes, state, samples } in &self.shards {
            let bytes = bytes.map_or("-".into(), |bytes| bytes.to_string());
            write!(f, "  shard {shard:<4} {state:<10} {bytes:>12} bytes  {}", file.display())?;
            if let Some(samples) = samples {
                write!(f, "  blocks of {} to {} samples", samples.start(), samples.end())?;
            }
            f.write_char('\n')?;
        }
        let Some(run) = &self.run else { return Ok(()) };
        for EpochLedger { epoch, images, distinct, repeated, skipped, lost } in &run.epochs {
            writeln!(
                f,
                "  epoch {epoch:<4} {distinct} of {images} images used, {skipped} skipped, {repeated} repeated, \
                 {lost} lost"
            )?;
        }
        for Evaluation { samples, average, last_iterate, .. } in &run.evaluations {
            write!(f, "  evaluation after {samples} samples: average {average}")?;
            last_iterate.iter().try_for_each(|scores| write!(f, "; last iterate {scores}"))?;
            f.write_char('\n')?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kernels::Isa;
    use parameters::checkpoint::Checkpoint;
    use protocol::RunId;

    use super::*;
    use crate::{
        Shard,
        snapshot::tests::snapshot,
        testing::{layout, rule},
    };

    #[test]
    fn whole_and_broken_ones_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        for id in 1..=5 {
            snapshot(folder, id, "text");
        }
        fs::write(shard_file::path(folder, 2, 0), "tex").unwrap();
        fs::remove_file(shard_file::path(folder, 3, 0)).unwrap();
        fs::write(folder.join("4/manifest.json"), "{").unwrap();
        fs::remove_file(folder.join("5/manifest.json")).unwrap();
        let contents = inspect(folder).unwrap();
        let states: Vec<_> = contents
            .snapshots
            .iter()
            .map(|snapshot| {
                (snapshot.id, snapshot.complete, snapshot.shards[0].state, snapshot.shards[0].bytes)
            })
            .collect();
        let expected = [
            (1, true, "whole", Some(4)),
            (2, false, "damaged", Some(3)),
            (3, false, "missing", None),
            (4, false, "unknown", Some(4)),
            (5, false, "unknown", Some(4)),
        ];
        assert_eq!(states, expected);
        assert_eq!(contents.newest().map(|snapshot| snapshot.id), Some(1));
        let text = contents.to_string();
        for part in [
            "snapshot 1: complete, 1 samples, 1 minibatches\n  shard 0    whole                 4 bytes",
            "  epoch 0    1 of 100 images used, 0 skipped, 0 repeated, 0 lost\n",
            "snapshot 2: not usable, 2 samples",
            "2/shard-0.safetensors is damaged: expected sha-256",
            "cannot read",
            "4/manifest.json is not a manifest: EOF while parsing",
            "snapshot 5: not usable\n  it has no manifest, so it was not finished",
            "a run goes on from snapshot 1, with this configuration:",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    #[test]
    fn a_whole_one_with_values_that_are_not_finite_is_not_usable() {
        let home = tempfile::tempdir().unwrap();
        let mut manifest = snapshot(home.path(), 1, "text");
        let mut shard = Shard::empty(0, 1, 1, Isa::scalar());
        shard.begin(&rule()).unwrap();
        shard.adopt(layout()).unwrap();
        shard_file::write(home.path(), 1, RunId(7), shard.saved().unwrap()).unwrap();
        let file = shard_file::path(home.path(), 1, 0);
        for (value, complete, state) in [(0.5, true, "whole"), (f32::NAN, false, "not finite")] {
            let mut checkpoint = Checkpoint::read(&file).unwrap();
            checkpoint.tensors.get_mut("average/2").unwrap()[[12]] = value;
            checkpoint.write(&file).unwrap();
            manifest.shards[0].hash = files::Digest::of_file(&file).unwrap().to_string();
            manifest.write(home.path()).unwrap();
            let found = inspect(home.path()).unwrap().snapshots.remove(0);
            assert_eq!((found.complete, found.shards[0].state), (complete, state));
            assert_eq!(found.shards[0].samples, Some(0..=0));
            let told = found.problems.iter().any(|problem| {
                problem.contains("tensor fc/bias (average of block 2) holds 1 value that is not finite")
            });
            assert_eq!(told, !complete, "{:?}", found.problems);
        }
    }

    #[test]
    fn a_folder_without_snapshots_is_named() {
        let home = tempfile::tempdir().unwrap();
        let text = format!("{:#}", inspect(home.path()).unwrap_err());
        assert!(text.contains("holds no snapshots; expected folders named by numbers"), "{text}");
        let text = format!("{:#}", inspect(&home.path().join("none")).unwrap_err());
        assert!(text.contains("none: No such file"), "{text}");
    }
}
