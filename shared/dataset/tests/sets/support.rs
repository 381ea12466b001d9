//! Folders of files, and a loader's settings.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use dataset::{Dataset, LoaderConfig, Preprocessing, Rules, Sampling, Split};
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

/// A folder with files of these paths, each holding its own path.
pub fn folder(files: &[&str]) -> TempDir {
    let root = TempDir::new().unwrap();
    files.iter().for_each(|file| put(root.path(), file, file));
    root
}

/// Writes a file, and the folders that it lies in.
pub fn put(root: &Path, file: &str, content: impl AsRef<[u8]>) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A picture of one colour.
pub fn picture(colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(40, 30, Rgb(colour)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Why a folder is no data set, with `DATA` for its path.
pub fn refused(root: &Path) -> String {
    let text = Dataset::open(root, Rules::NEWEST).unwrap_err().to_string();
    text.replace(&root.display().to_string(), "DATA")
}

/// Training and validation images.
pub fn counts(set: &Dataset) -> (usize, usize) {
    (set.len(Split::Train), set.len(Split::Validation))
}

/// Two threads that make minibatches of four and wait for no folder.
pub fn loader(size: usize) -> LoaderConfig {
    LoaderConfig {
        threads: 2,
        size,
        sampling: Sampling::default(),
        preprocessing: Preprocessing::default(),
        crops: None,
        seed: 7,
        batch: 4,
        depth: 2,
        patience: Duration::ZERO,
    }
}
