//! The command `downpour runs`: lists the runs whose folders lie in a folder, with their results.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use clap::Args;
use process::{Exit, print_line};
use serde::Serialize;

use crate::folder::{LOCK, Record};
use crate::result::duration;

/// Most folders that are looked at.
const MOST_FOLDERS: usize = 100_000;

/// Flags of `downpour runs`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Folder in which the folders of runs lie, or the folder of one run
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Print one JSON object for each run, a line each
    #[arg(long)]
    pub json: bool,
}

/// A run, as its folder tells of it.
#[derive(Debug, PartialEq, Serialize)]
struct Run {
    /// Path of the run's folder.
    folder: PathBuf,
    /// State of the run: "running" while its launcher is there, "stopped", or "finished".
    state: &'static str,
    /// Path of the data folder; `None` for the synthetic set.
    data: Option<String>,
    recipe: String,
    /// Top-1 and top-5 accuracy of the result, 0 to 1; `None` before.
    top1: Option<f64>,
    top5: Option<f64>,
    /// Samples that the result was trained on.
    samples: Option<u64>,
    /// Time of the run in seconds, over all calls of the program.
    seconds: f64,
    /// Commit of the program that began it, the hash alone.
    commit: Option<String>,
}

/// Prints the runs in a folder.
///
/// # Errors
/// If the folder cannot be listed, or has more folders than anybody has runs.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let runs = found(&flags.folder)?;
    if flags.json {
        for run in &runs {
            print_line(serde_json::to_string(run)?)?;
        }
        return Ok(Exit::Done);
    }
    match runs.as_slice() {
        [] => print_line(format_args!("no run of downpour in {}", flags.folder.display()))?,
        runs => print_line(table(runs))?,
    }
    Ok(Exit::Done)
}

/// Returns the runs in a folder, by name; or the run whose folder it is.
fn found(folder: &Path) -> anyhow::Result<Vec<Run>> {
    if let Some(record) = Record::of(folder) {
        return Ok(vec![of(folder, record)]);
    }
    let cannot = |error| anyhow::anyhow!("cannot list {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        anyhow::ensure!(
            paths.len() < MOST_FOLDERS,
            "{} has more than {MOST_FOLDERS} entries: name one in which only runs lie",
            folder.display()
        );
        paths.push(entry.map_err(cannot)?.path());
    }
    paths.sort();
    Ok(paths.iter().filter_map(|path| Some(of(path, Record::of(path)?))).collect())
}

/// Returns whether the launcher of the run in a folder is there: it holds a lock, which the system takes from one that
/// is killed.
pub fn is_running(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(LOCK)) else { return false };
    // A holder writes its number into the file. Without one it may be about to take the lock, and is left to it.
    let is_named = lock.metadata().is_ok_and(|found| found.len() > 0);
    is_named && matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn of(folder: &Path, record: Record) -> Run {
    let commit = record.commit();
    let Record { asked, seconds, result, .. } = record;
    let state = match &result {
        Some(_) => "finished",
        None if is_running(folder) => "running",
        None => "stopped",
    };
    let text = |key: &str| asked[key].as_str().map(String::from);
    let result = result.as_ref();
    Run {
        folder: folder.into(),
        state,
        data: text("data"),
        recipe: text("recipe").unwrap_or_default(),
        top1: result.map(|result| result.top1),
        top5: result.map(|result| result.top5),
        samples: result.map(|result| result.samples),
        seconds,
        commit,
    }
}

fn table(runs: &[Run]) -> String {
    let heads = ["run", "state", "data", "recipe", "top-1", "top-5", "samples", "time", "commit"];
    let row = |run: &Run| {
        let share = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.2} %", share * 100.0));
        [
            run.folder.file_name().unwrap_or(run.folder.as_os_str()).to_string_lossy().into_owned(),
            run.state.into(),
            run.data.clone().unwrap_or_else(|| "synthetic".into()),
            run.recipe.clone(),
            share(run.top1),
            share(run.top5),
            run.samples.map_or("-".into(), |samples| samples.to_string()),
            duration(run.seconds),
            run.commit.clone().unwrap_or_else(|| "-".into()),
        ]
    };
    let all: Vec<[String; 9]> =
        std::iter::once(heads.map(String::from)).chain(runs.iter().map(row)).collect();
    let widths: [usize; 9] =
        std::array::from_fn(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{ADDRESS, Folder};
    use crate::result::RunResult;
    use process::Origin;
    use serde_json::json;
    use setup::ClassifierScores;

    #[test]
    fn runs_are_listed_by_name_and_other_folders_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let keep = |name: &str, record: &Record| {
            let folder = home.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("run.json"), serde_json::to_string(record).unwrap()).unwrap();
            folder
        };
        let result = RunResult {
            top1: 0.925,
            top5: 0.99,
            loss: 0.25,
            validation_images: 600,
            skipped: 0,
            best: None,
            patience_epochs: None,
            validation_skipped: 0,
            last_iterate: ClassifierScores { top1: 0.9, top5: 0.98, loss: 0.3 },
            samples: 900,
            account: None,
            seconds: 75.0,
            model: "m".into(),
            curve: "c".into(),
            metrics: "j".into(),
        };
        let asked = json!({"recipe": "paper", "data": "/photos"});
        let done = Record { seconds: 75.0, result: Some(result), ..Record::new(asked) };
        let call = Origin { commit: "commit 12ab".into(), ..Origin::default() };
        let done = Record { calls: vec![call], ..done };
        let finished = keep("b-flowers", &done);
        keep("a-first", &Record::new(json!({"recipe": "quick", "data": null})));
        let going = keep("c-now", &Record::new(json!({"recipe": "quick"})));
        let _launcher = Folder::open(&going).unwrap();
        let killed = keep("d-killed", &Record::new(json!({"recipe": "quick"})));
        std::fs::write(killed.join(LOCK), "999999999").unwrap();
        std::fs::write(killed.join(ADDRESS), "127.0.0.1:1\n").unwrap();
        std::fs::create_dir(home.path().join("photos")).unwrap();
        std::fs::write(home.path().join("notes.txt"), "mine").unwrap();

        let runs = found(home.path()).unwrap();
        let states: Vec<&str> = runs.iter().map(|run| run.state).collect();
        assert_eq!(states, ["stopped", "finished", "running", "stopped"]);
        let text = table(&runs[..2]);
        let expected = "\
run        state     data       recipe  top-1    top-5    samples  time        commit
a-first    stopped   synthetic  quick   -        -        -        0 s         -
b-flowers  finished  /photos    paper   92.50 %  99.00 %  900      1 min 15 s  12ab";
        assert_eq!(text, expected);
        assert_eq!(found(&finished).unwrap().len(), 1);
        assert!(found(&home.path().join("nowhere")).unwrap_err().to_string().starts_with("cannot list "));
    }
}
