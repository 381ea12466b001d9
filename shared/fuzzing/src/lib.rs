//! A table of all readers of bytes from outside: of files that users download, of data folders, and of
//! messages from the network.
//!
//! Whatever the bytes are, a reader must return in time, must not panic, and may allocate memory only in
//! proportion to its input. The test of this crate checks this for each reader on the files in
//! `corpora/NAME/`; the driver in `fuzz/` (libFuzzer) searches for inputs that violate it. An input that once
//! broke a reader stays in its corpus.
//!
//! ```
//! let image = fuzzing::Target::find("image").expect("there is a reader of images");
//! // Nothing is wrong with an input that is refused.
//! (image.run)(b"no image");
//! ```
//!
//! Absent by intent: the readers themselves. Each entry passes its bytes to the function that the programs
//! call, in a file if that function reads a file.

mod data;
mod models;
mod runs;
mod wire;

use std::fs;

use tempfile::TempDir;

/// A fuzz target: a function that reads bytes from outside, and how much memory it may allocate.
pub struct Target {
    /// Name of the target, and of the folder in `corpora/` that holds its corpus of stored inputs.
    pub name: &'static str,
    /// Function that gives its argument to the reader under test as input and drops the result.
    pub run: fn(&[u8]),
    /// Number of MiB that one call may allocate in total, however small its input is.
    pub memory: usize,
    /// Number of bytes that one call may allocate beyond `memory` for each byte of its input.
    pub memory_per_byte: usize,
}

/// The fuzz targets: one for each kind of bytes from outside that the program reads.
pub const TARGETS: [Target; 13] = [
    target("caffe", models::caffe, 1, 64),
    target("checkpoint", models::checkpoint, 1, 64),
    target("model", models::model, 4, 64),
    target("image", data::image, 4, 64),
    target("tar", data::tar, 16, 64),
    target("synsets", data::synsets, 4, 256),
    target("lists", data::lists, 4, 256),
    target("labels", models::labels, 1, 256),
    target("configuration", runs::configuration, 1, 256),
    target("manifest", runs::manifest, 4, 256),
    target("shard", runs::shard, 4, 64),
    target("frames", wire::frames, 1, 256),
    target("messages", wire::messages, 1, 256),
];

const fn target(name: &'static str, run: fn(&[u8]), memory: usize, memory_per_byte: usize) -> Target {
    Target { name, run, memory, memory_per_byte }
}

impl Target {
    /// Returns the target called `name`, if there is one.
    pub fn find(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// Creates a temporary folder with these files, given by path and content; it is deleted when the value is
/// dropped.
///
/// # Panics
/// If the temporary folder cannot be written.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let home = TempDir::new().expect("a temporary folder can be made");
    for (name, bytes) in files {
        let path = home.path().join(name);
        let parent = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(parent).expect("the temporary folder takes folders");
        fs::write(path, bytes).expect("the temporary folder takes files");
    }
    home
}
