//! The stored predictions: one file for each model, data set, number of crops and rule of combining, with a
//! row for each image.
//!
//! The first line is JSON that describes the rows; then follow the probabilities of each image as
//! little-endian f32, in the order of the images. An interruption leaves whole rows and perhaps part of one,
//! which is cut off.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use files::{Lock, LockError};
use serde::Serialize;

use super::combine::Combine;

/// The key of a file of predictions: everything that its rows depend on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Key {
    /// SHA-256 of the model file, in hexadecimal.
    pub model: String,
    /// Fingerprint of the data set as text: its numbers of images, and a hash that identifies them.
    pub data: String,
    pub images: usize,
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
    images: usize,
    classes: usize,
    /// Number of whole rows in the file; a row holds the class probabilities of one image.
    pub rows: usize,
}

impl Predictions {
    /// Opens and locks the file in `folder` that holds the predictions of `key`, or creates it. A row that an
    /// interruption cut short is removed.
    pub fn open(folder: &Path, key: &Key) -> anyhow::Result<Predictions> {
        let header = serde_json::to_string(key).context("write what the predictions are of")? + "\n";
        let path = folder.join(files::Digest::of(&header).start(8) + ".rows");
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
        let row = 4 * key.classes as u64;
        let length = file.metadata().with_context(|| format!("look at {}", path.display()))?.len();
        let rows = length.saturating_sub(header.len() as u64) / row;
        let prepare = |file: &mut File| {
            if found != header {
                file.rewind()?;
                file.write_all(header.as_bytes())?;
            }
            let end = header.len() as u64 + rows * row;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))
        };
        prepare(&mut file).with_context(|| format!("write {}", path.display()))?;
        let (images, classes, rows) = (key.images, key.classes, rows as usize);
        ensure!(rows <= images, "{} has {rows} rows for {images} images: remove it", path.display());
        Ok(Predictions { path, file, _lock: lock, images, classes, rows })
    }

    /// Returns whether the file has a row for every image.
    pub fn complete(&self) -> bool {
        self.rows == self.images
    }

    /// Appends whole rows to the file; `rows` holds the class probabilities of one image after the other.
    ///
    /// # Panics
    /// If `rows` ends in the middle of an image's probabilities.
    pub fn append(&mut self, rows: &[f32]) -> anyhow::Result<()> {
        assert!(rows.len().is_multiple_of(self.classes), "whole rows");
        let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file.write_all(&bytes).with_context(|| format!("write {}", self.path.display()))?;
        self.rows += rows.len() / self.classes;
        Ok(())
    }

    /// Returns a reader of the file's rows, which starts at the first one.
    pub fn read(&mut self) -> anyhow::Result<Rows<'_>> {
        let Predictions { path, file, classes, .. } = self;
        file.rewind().with_context(|| format!("read {}", path.display()))?;
        let mut file = BufReader::with_capacity(1 << 16, &*file);
        file.skip_until(b'\n').with_context(|| format!("read {}", path.display()))?;
        Ok(Rows { path, file, bytes: vec![0; 4 * *classes] })
    }
}

/// A reader of the rows of a file, one after the other.
pub(super) struct Rows<'a> {
    path: &'a Path,
    file: BufReader<&'a File>,
    bytes: Vec<u8>,
}

impl Rows<'_> {
    /// Reads the next row of the file, the class probabilities of one image, into `row`.
    pub fn next(&mut self, row: &mut [f32]) -> anyhow::Result<()> {
        self.file.read_exact(&mut self.bytes).with_context(|| format!("read {}", self.path.display()))?;
        for (value, bytes) in row.iter_mut().zip(self.bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        let (model, data) = ("ab".into(), "cd".into());
        Key { model, data, images: 3, classes: 2, crops: 10, combine: Combine::Mean }
    }

    fn all(predictions: &mut Predictions) -> Vec<[f32; 2]> {
        let count = predictions.rows;
        let mut rows = predictions.read().unwrap();
        let read = |_| {
            let mut row = [0.0; 2];
            rows.next(&mut row).unwrap();
            row
        };
        (0..count).map(read).collect()
    }

    #[test]
    fn an_interrupted_file_goes_on_after_its_last_whole_row() {
        let home = tempfile::tempdir().unwrap();
        let mut first = Predictions::open(home.path(), &key()).unwrap();
        first.append(&[0.25, 0.75, 0.5, 0.5]).unwrap();
        let path = first.path.clone();
        drop(first);
        // Killed in the middle of a row.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&[1, 2, 3, 4, 5]).unwrap();
        let mut again = Predictions::open(home.path(), &key()).unwrap();
        assert_eq!((again.rows, again.complete()), (2, false));
        again.append(&[1.0, 0.0]).unwrap();
        assert!(again.complete());
        assert_eq!(all(&mut again), [[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]);
        drop(again);
        // Killed in the middle of the first line.
        OpenOptions::new().write(true).open(&path).unwrap().set_len(7).unwrap();
        let mut anew = Predictions::open(home.path(), &key()).unwrap();
        assert_eq!(anew.rows, 0);
        anew.append(&[0.5, 0.5]).unwrap();
        assert_eq!(all(&mut anew), [[0.5, 0.5]]);
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
