//! The output folder of a run: its files, the record that marks it, and the lock that lets only one launcher
//! work in it at a time.
//!
//! `run.json` marks a folder as one of this program and records what was asked for, how long it took and how
//! it ended. Only names listed in [`OURS`] are ever deleted, and only in a folder with that mark.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use files::{Lock, LockError};
use formats::model_file::{BEST_FILE, MODEL_FILE};
use process::Origin;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::RunConfiguration;

use crate::failure::Failure;
use crate::result::RunResult;

/// Name of the file that holds the record of a run.
pub const RECORD: &str = "run.json";
/// Name of the data folder beside the configuration of a run, in the record.
pub const DATA: &str = "data";
/// Name of the file that the launcher of a run holds locked.
pub const LOCK: &str = "run.lock";
const SNAPSHOTS: &str = "snapshots";
const ACCESS: &str = "access";
const TENSORBOARD: &str = "tensorboard";
/// Name of the file that holds the address of the run's server, "host:port", while that is there.
pub const ADDRESS: &str = "address";
/// Largest size of that file in bytes.
const MOST_ADDRESS: u64 = 512;

/// Largest size of a record in bytes; it is a configuration and a result.
const MOST_RECORD: u64 = 1 << 20;
/// Most calls of the program that a record lists.
const MOST_CALLS: usize = 100;
/// Names of everything that a run leaves. The mark is last, so that a folder remains recognisable if a
/// `--fresh` is cut short.
const OURS: [&str; 10] = [
    SNAPSHOTS,
    ACCESS,
    ADDRESS,
    TENSORBOARD,
    "logs",
    "metrics.jsonl",
    "curve.svg",
    MODEL_FILE,
    BEST_FILE,
    RECORD,
];

/// The record of a run, kept as `run.json` in the run's output folder: what was asked for, how long it took,
/// and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the program, which marks the folder as one of its runs: always [`Record::PROGRAM`].
    pub program: String,
    /// The run that was asked for, as JSON: its configuration and the data folder.
    pub asked: Value,
    /// The calls of the program that trained the run, the oldest first; of many the newest only.
    #[serde(default)]
    pub calls: Vec<Origin>,
    /// Findings in the data folder before the run began, as lines of text; none for the synthetic set.
    #[serde(default)]
    pub data_look: Vec<String>,
    /// Time that the run has taken so far, in seconds, over all calls of the program.
    pub seconds: f64,
    /// The result; `None` until the run is finished.
    pub result: Option<RunResult>,
}

impl Record {
    const PROGRAM: &str = "downpour";

    /// Creates the record of a run that is about to begin; `asked` is its configuration and data folder as
    /// JSON.
    pub fn new(asked: Value) -> Record {
        let (calls, data_look) = (Vec::new(), Vec::new());
        Record { program: Record::PROGRAM.into(), asked, calls, data_look, seconds: 0.0, result: None }
    }

    /// Reads the record of the run in the folder at `path`, which need not be locked; returns `None` if there is
    /// none, or none that this version of the program can read.
    pub fn of(path: &Path) -> Option<Record> {
        let text = files::read_text(&path.join(RECORD), MOST_RECORD).ok()?;
        serde_json::from_str(&text).ok().filter(|record: &Record| record.program == Record::PROGRAM)
    }

    /// Adds this call of the program.
    pub fn add_call(&mut self) {
        if self.calls.len() == MOST_CALLS {
            self.calls.remove(0);
        }
        self.calls.push(Origin { commit: hash(&Origin::here().commit), ..Origin::here() });
    }

    /// Returns the commit of the program that began the run, the hash alone, or why it is not known; `None` if no call
    /// is recorded.
    pub fn commit(&self) -> Option<String> {
        self.calls.first().map(|call| hash(&call.commit))
    }

    /// Returns the configuration of the run.
    ///
    /// # Errors
    /// If the record is not as this version of the program writes it.
    pub fn configuration(&self) -> Result<RunConfiguration, Failure> {
        let mut asked = self.asked.clone();
        asked.as_object_mut().and_then(|asked| asked.remove(DATA));
        serde_json::from_value(asked).map_err(|error| {
            Failure::bad_input(format!(
                "{RECORD} has no configuration as this version of downpour writes it ({error}); --fresh begins anew"
            ))
        })
    }
}

/// Returns the hash of a commit that is named as "commit 0123456789ab", as records of earlier releases have it; another
/// text as it is.
fn hash(commit: &str) -> String {
    commit.strip_prefix("commit ").unwrap_or(commit).into()
}

/// The output folder of a run, locked by this process until the value is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Presence of a run in the folder before, of which something may be left.
    had_run: Cell<bool>,
    /// Paths of the lock and the folders that were made to open this one, in the order in which they can be removed.
    made: Vec<PathBuf>,
    _lock: Lock,
}

impl Folder {
    /// Opens and locks an output folder; creates it if it does not exist.
    ///
    /// # Errors
    /// If the folder holds files but no run of this program, if another process has locked it, or if it
    /// cannot be read or written.
    pub fn open(path: &Path) -> Result<Folder, Failure> {
        let shown = path.display();
        let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let mut made = vec![path.join(LOCK)];
        made.retain(|lock| !lock.exists());
        made.extend(path.ancestors().take_while(is_new).map(PathBuf::from));
        create(path)?;
        let had_run = is_marked(&path.join(RECORD));
        let mut names = fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
            })
            .map_err(|error| cannot("list the output folder", path, error))?;
        names.sort();
        let ours_to_be = |name: &OsString| name == LOCK || is_unfinished_record(name);
        if let Some(foreign) = names.iter().find(|name| !ours_to_be(name))
            && !had_run
        {
            return Err(Failure::bad_input(format!(
                "output folder {shown} holds {foreign:?} and no run of downpour (no {RECORD}); nothing was touched: \
                 name an empty or new folder with --output"
            )));
        }
        let lock = lock(path)?;
        Ok(Folder { path: path.to_path_buf(), had_run: Cell::new(had_run), made, _lock: lock })
    }

    /// Removes what an earlier run left in the folder.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear(&self) -> Result<(), Failure> {
        for name in OURS {
            let path = self.path.join(name);
            remove(&path).map_err(|error| cannot("remove", &path, error))?;
        }
        self.had_run.set(false);
        Ok(())
    }

    /// Removes a run that this process began in the folder, and the folder if this process made it. A run that was
    /// there before stays.
    pub fn remove_new_run(self) {
        if self.had_run.get() || self.clear().is_err() {
            return;
        }
        for path in &self.made {
            // A folder in which something else is by now stays.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }

    /// Returns whether a run in the folder at `path` has got as far as starting its servers, so that it can
    /// be resumed.
    pub fn is_begun(path: &Path) -> bool {
        path.join(SNAPSHOTS).exists()
    }

    /// Reads the record of the run, which is `run.json`; returns `None` in a new folder.
    ///
    /// # Errors
    /// If `run.json` cannot be read or is not as this version of the program writes it.
    pub fn record(&self) -> Result<Option<Record>, Failure> {
        let path = self.path.join(RECORD);
        let text = match files::read_text(&path, MOST_RECORD) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::bad_input(format!("cannot read {}: {error}", path.display()))),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::bad_input(format!(
                "{} is not as this version of downpour writes it ({error}); --fresh begins anew",
                path.display()
            ))
        })
    }

    /// Writes the record of the run, which is `run.json`; either the whole file is written or none.
    ///
    /// # Errors
    /// If `run.json` cannot be written.
    pub fn write_record(&self, record: &Record) -> Result<(), Failure> {
        let path = self.path.join(RECORD);
        let text = serde_json::to_string_pretty(record).expect("a record is plain data");
        files::write(&path, text.as_bytes())
            .map_err(|error| Failure::bad_input(format!("cannot write {}: {error}", path.display())))
    }

    /// Writes the address of the run's server, "host:port", for those who look for the run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_address(&self, address: &str) -> Result<(), Failure> {
        let path = self.path.join(ADDRESS);
        files::write(&path, format!("{address}\n").as_bytes())
            .map_err(|error| Failure::bad_input(format!("cannot write {}: {error}", path.display())))
    }

    /// Removes the address of the run's server, which is there no more. One that stays leads nowhere, which does no
    /// harm.
    pub fn remove_address(&self) {
        let _ = fs::remove_file(self.path.join(ADDRESS));
    }

    /// Returns the path of the output folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the folder of the servers' and workers' logs, one file for each process. It is
    /// created when the first process is started.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Returns the path of the folder of the server's snapshots, from which an interrupted run is resumed.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    /// Returns the path of the folder of the run's certificates and tokens.
    pub fn access(&self) -> PathBuf {
        access(&self.path)
    }

    /// Returns the path of the metrics file, to which the server appends a line of JSON for each interval of
    /// training and for each evaluation.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Returns the path of the plot of the run's losses and accuracies, an SVG file.
    pub fn curve(&self) -> PathBuf {
        self.path.join("curve.svg")
    }

    /// Returns the path of the folder of TensorBoard's event files, one folder in it for the run's numbers and one
    /// for its training samples.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join(TENSORBOARD)
    }

    /// Returns the path of the model file, which holds the averaged parameters of the newest evaluation, or of the
    /// moment at which the run was stopped. The server writes it.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL_FILE)
    }

    /// Returns the path of the file of the best model, which holds the averaged parameters of the best evaluation.
    pub fn best(&self) -> PathBuf {
        self.path.join(BEST_FILE)
    }
}

/// Returns the path of the folder of certificates and tokens of the run in the folder at `run`.
pub fn access(run: &Path) -> PathBuf {
    run.join(ACCESS)
}

/// Reads the address, "host:port", of the server of the run in the folder at `run`.
///
/// # Errors
/// If there is none, as no server of the run is there, or if it cannot be read.
pub fn read_address(run: &Path) -> std::io::Result<String> {
    Ok(files::read_text(&run.join(ADDRESS), MOST_ADDRESS)?.trim().to_string())
}

/// Returns whether a file of this name was left behind by a launcher that was killed while it wrote the
/// record.
fn is_unfinished_record(name: &OsString) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(RECORD)).is_some_and(|rest| rest.starts_with('.'))
}

fn cannot(what: &str, at: &Path, error: std::io::Error) -> Failure {
    Failure::bad_input(format!("cannot {what} {}: {error}", at.display()))
}

/// Creates an output folder, if it is not there.
fn create(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| {
        let file = path.ancestors().find(|path| path.is_file());
        let reason = match file {
            Some(file) => format!("expected a folder, found the file {}", file.display()),
            None => error.to_string(),
        };
        let shown = path.display();
        Failure::bad_input(format!(
            "cannot create the output folder {shown}: {reason}; name a folder that can be made with --output"
        ))
    })
}

fn is_marked(record: &Path) -> bool {
    #[derive(Deserialize)]
    struct Mark {
        program: String,
    }
    files::read_text(record, MOST_RECORD).is_ok_and(|text| {
        serde_json::from_str::<Mark>(&text).is_ok_and(|mark| mark.program == Record::PROGRAM)
    })
}

fn lock(folder: &Path) -> Result<Lock, Failure> {
    let path = folder.join(LOCK);
    Lock::take(&path).map_err(|error| {
        Failure::bad_input(match error {
            LockError::Io(error) => format!("cannot lock {}: {error}", path.display()),
            LockError::Held { holder } => format!(
                "output folder {} is in use by another downpour (process {holder}); wait for it, stop it, or name another \
                 folder with --output",
                folder.display()
            ),
        })
    })
}

fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_folder_is_made_and_its_record_survives() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/run");
        let mut record = Record { seconds: 1.5, ..Record::new(json!({"a": 1})) };
        (0..2 * MOST_CALLS).for_each(|_| record.add_call());
        assert_eq!(record.calls.len(), MOST_CALLS);
        {
            let folder = Folder::open(&path).unwrap();
            assert_eq!(folder.record().unwrap(), None);
            folder.write_record(&record).unwrap();
        }
        assert_eq!(Folder::open(&path).unwrap().record().unwrap(), Some(record));
    }

    #[test]
    fn a_commit_is_its_hash_also_in_records_of_earlier_releases() {
        let mut record = Record::new(json!({}));
        assert_eq!(record.commit(), None);
        record.calls.push(Origin { commit: "commit 12ab".into(), ..Origin::default() });
        assert_eq!(record.commit().as_deref(), Some("12ab"));
        assert_eq!(["12ab", "a build for development"].map(hash), ["12ab", "a build for development"]);
    }

    #[test]
    fn a_new_run_leaves_nothing_where_it_was_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/run");
        let begun = |path: &Path| {
            let folder = Folder::open(path).unwrap();
            folder.write_record(&Record::new(json!({}))).unwrap();
            folder
        };
        begun(&path).remove_new_run();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        // What was there before stays, and so does what somebody else put there.
        fs::create_dir_all(&path).unwrap();
        begun(&path).remove_new_run();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(begun(&path));
        begun(&path).remove_new_run();
        assert!(path.join(RECORD).exists());
        let other = home.path().join("other/run");
        let folder = begun(&other);
        fs::write(home.path().join("other/notes.txt"), "mine").unwrap();
        folder.remove_new_run();
        assert!(!other.exists() && home.path().join("other/notes.txt").exists());
    }

    #[test]
    fn clearing_removes_what_is_ours_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        folder.write_record(&Record::new(json!({}))).unwrap();
        fs::create_dir_all(folder.snapshots().join("3")).unwrap();
        fs::write(folder.model(), "m").unwrap();
        fs::write(folder.best(), "m").unwrap();
        fs::write(home.path().join("notes.txt"), "mine").unwrap();
        drop(folder);
        let folder = Folder::open(home.path()).unwrap();
        folder.clear().unwrap();
        assert_eq!(folder.record().unwrap(), None);
        assert!(!folder.snapshots().exists() && !folder.model().exists() && !folder.best().exists());
        assert_eq!(fs::read_to_string(home.path().join("notes.txt")).unwrap(), "mine");
    }

    #[test]
    fn a_foreign_folder_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in [("thesis.tex", "x"), (RECORD, "{\"program\": \"other\"}")] {
            fs::write(home.path().join(name), text).unwrap();
            let refused = Folder::open(home.path()).unwrap_err().text;
            assert!(refused.contains("nothing was touched"), "{refused}");
            assert_eq!(fs::read_to_string(home.path().join(name)).unwrap(), text);
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no lock, no logs");
    }

    #[test]
    fn a_second_launcher_is_told_who_holds_the_folder_and_a_stale_lock_is_not_one() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(LOCK), "999999999").unwrap();
        let first = Folder::open(home.path()).unwrap();
        let refused = Folder::open(home.path()).unwrap_err();
        assert!(refused.text.contains(&format!("process {}", std::process::id())), "{}", refused.text);
        drop(first);
        Folder::open(home.path()).unwrap();
    }

    #[test]
    fn a_record_has_the_configuration_and_the_data() {
        let configuration = settings::recipe("quick").unwrap();
        let mut asked = serde_json::to_value(&configuration).unwrap();
        asked[DATA] = json!("photos");
        assert_eq!(Record::new(asked).configuration().unwrap(), configuration);
        let text = Record::new(json!({"run": {"batch": 32}})).configuration().unwrap_err().text;
        assert!(
            text.starts_with("run.json has no configuration") && text.ends_with("--fresh begins anew"),
            "{text}"
        );
    }
}
