//! The stored predictions: one file for each model, number of crops and rule of combining, with a row for each
//! image that was predicted.
//!
//! The first line is JSON that describes the rows. A row is the stamp of an image, which no other content of its
//! file would have, and its probabilities as little-endian f32; rows are in the order in which they were
//! computed. An interruption leaves whole rows and perhaps part of one, which is cut off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use files::{Digest, Lock, LockError};
use serde::Serialize;

use super::combine::Combine;

/// Number of bytes of a stamp.
const STAMP: usize = size_of::<Digest>();

/// The key of a file of predictions: everything that its rows depend on besides the images.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Key {
    /// SHA-256 of the model file, in hexadecimal.
    pub model: String,
    pub classes: usize,
    pub crops: usize,
    /// The rule by which the class probabilities of an image's crops become one row of the file.
    pub combine: Combine,
}

/// An open file of predictions, locked by this process until it is dropped.
#[derive(Debug)]
pub(super) struct Predictions {
    path: PathBuf,
    file: File,
    _lock: Lock,
    /// Number of bytes of the first line.
    header: u64,
    classes: usize,
    /// Number of whole rows in the file.
    rows: u64,
    /// Row of each image by its stamp, from 0.
    row_of: HashMap<Digest, u64>,
}

impl Predictions {
    /// Opens and locks the file in `folder` that holds the predictions of `key`, or creates it. A row that an
    /// interruption cut short is removed.
    pub fn open(folder: &Path, key: &Key) -> anyhow::Result<Predictions> {
        let header = serde_json::to_string(key).context("write what the predictions are of")? + "\n";
        let path = folder.join(Digest::of(&header).start(8) + ".rows");
        let lock = match Lock::take(&path.with_extension("lock")) {
            Ok(lock) => lock,
            Err(LockError::Held { .. }) => bail!(
                "{} is being written by another evaluation: wait for it, or name another --output",
                path.display()
            ),
            Err(LockError::Io(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.with_context(|| format!("open {}", path.display()))?;
        let mut found = String::new();
        BufReader::new(&file).take(header.len() as u64).read_line(&mut found).unwrap_or_default();
        if !header.starts_with(&found) {
            bail!("{} is no file of predictions: remove it, or name another --output", path.display());
        }
        let (start, row) = (header.len() as u64, (STAMP + 4 * key.classes) as u64);
        let length = file.metadata().with_context(|| format!("look at {}", path.display()))?.len();
        let rows = length.saturating_sub(start) / row;
        let prepare = |file: &mut File| {
            if found != header {
                file.rewind()?;
                file.write_all(header.as_bytes())?;
            }
            file.set_len(start + rows * row)
        };
        prepare(&mut file).with_context(|| format!("write {}", path.display()))?;
        let row_of =
            stamps(&mut file, start, rows, row).with_context(|| format!("read {}", path.display()))?;
        Ok(Predictions { path, file, _lock: lock, header: start, classes: key.classes, rows, row_of })
    }

    /// Returns whether the file has a row for the image of this stamp.
    pub fn has(&self, stamp: &Digest) -> bool {
        self.row_of.contains_key(stamp)
    }

    /// Appends the class probabilities of the image of this stamp to the file.
    ///
    /// # Panics
    /// If `row` has not a value for each class.
    pub fn append(&mut self, stamp: Digest, row: &[f32]) -> anyhow::Result<()> {
        assert_eq!(row.len(), self.classes, "a probability for each class");
        let mut bytes = stamp.as_bytes().to_vec();
        bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        let end = self.header + self.rows * bytes.len() as u64;
        let written = self.file.seek(SeekFrom::Start(end)).and_then(|_| self.file.write_all(&bytes));
        written.with_context(|| format!("write {}", self.path.display()))?;
        self.row_of.insert(stamp, self.rows);
        self.rows += 1;
        Ok(())
    }

    /// Reads the class probabilities of the image of this stamp into `row`; returns whether the file has them.
    pub fn read(&mut self, stamp: &Digest, row: &mut [f32]) -> anyhow::Result<bool> {
        let Some(number) = self.row_of.get(stamp) else { return Ok(false) };
        let mut bytes = vec![0; 4 * self.classes];
        let at = self.header + number * (STAMP + bytes.len()) as u64 + STAMP as u64;
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut bytes));
        read.with_context(|| format!("read {}", self.path.display()))?;
        for (value, bytes) in row.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        Ok(true)
    }
}

/// Reads the stamps of a file's `rows` rows, of `row` bytes each, which begin at the byte `start`.
fn stamps(file: &mut File, start: u64, rows: u64, row: u64) -> std::io::Result<HashMap<Digest, u64>> {
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut found, mut stamp) = (HashMap::new(), [0; STAMP]);
    for number in 0..rows {
        reader.read_exact(&mut stamp)?;
        reader.seek_relative((row - STAMP as u64) as i64)?;
        found.insert(Digest::from(stamp), number);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { model: "ab".into(), classes: 2, crops: 10, combine: Combine::Mean }
    }

    fn of(predictions: &mut Predictions, image: &str) -> Option<[f32; 2]> {
        let mut row = [0.0; 2];
        predictions.read(&Digest::of(image), &mut row).unwrap().then_some(row)
    }

    #[test]
    fn an_interrupted_file_goes_on_after_its_last_whole_row() {
        let home = tempfile::tempdir().unwrap();
        let mut first = Predictions::open(home.path(), &key()).unwrap();
        first.append(Digest::of("one"), &[0.25, 0.75]).unwrap();
        first.append(Digest::of("two"), &[0.5, 0.5]).unwrap();
        let path = first.path.clone();
        drop(first);
        // Killed in the middle of a row.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&[1; STAMP + 5]).unwrap();
        let mut again = Predictions::open(home.path(), &key()).unwrap();
        assert!(again.has(&Digest::of("two")) && again.rows == 2);
        assert_eq!((of(&mut again, "one"), of(&mut again, "three")), (Some([0.25, 0.75]), None));
        again.append(Digest::of("three"), &[1.0, 0.0]).unwrap();
        let found = ["three", "two", "one"].map(|image| of(&mut again, image));
        assert_eq!(found, [Some([1.0, 0.0]), Some([0.5, 0.5]), Some([0.25, 0.75])]);
        drop(again);
        let mut whole = Predictions::open(home.path(), &key()).unwrap();
        assert_eq!(of(&mut whole, "three"), Some([1.0, 0.0]));
        drop(whole);
        // Killed in the middle of the first line.
        OpenOptions::new().write(true).open(&path).unwrap().set_len(7).unwrap();
        let mut anew = Predictions::open(home.path(), &key()).unwrap();
        assert_eq!(of(&mut anew, "one"), None);
        anew.append(Digest::of("one"), &[0.5, 0.5]).unwrap();
        assert_eq!(of(&mut anew, "one"), Some([0.5, 0.5]));
    }

    #[test]
    fn one_evaluation_at_a_time_and_no_foreign_file() {
        let home = tempfile::tempdir().unwrap();
        let first = Predictions::open(home.path(), &key()).unwrap();
        let text = Predictions::open(home.path(), &key()).unwrap_err().to_string();
        assert!(text.ends_with("by another evaluation: wait for it, or name another --output"), "{text}");
        Predictions::open(home.path(), &Key { crops: 1, ..key() }).unwrap();
        std::fs::write(&first.path, "my notes\n").unwrap();
        drop(first);
        let text = Predictions::open(home.path(), &key()).unwrap_err().to_string();
        assert!(text.ends_with("is no file of predictions: remove it, or name another --output"), "{text}");
    }
}
