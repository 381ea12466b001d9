//! Every reader of bytes from outside behind one table: files that users download, folders that somebody else
//! filled, messages from the network.
//!
//! Whatever the bytes are, a reader comes back in time, panics nowhere, and takes memory in proportion to
//! what it was given. The test of this crate holds each reader to that on the files in `corpora/NAME/`; the
//! driver in `fuzz/` (libFuzzer) looks for inputs on which it does not hold. An input that once broke a
//! reader stays in its corpus.
//!
//! ```
//! let image = fuzzing::Target::find("image").expect("there is a reader of images");
//! // Nothing is wrong with an input that is refused.
//! (image.run)(b"no image");
//! ```
//!
//! Absent by intent: readers. Each entry hands its bytes to the function that the programs call, as a file
//! where that takes a file.

mod data;
mod models;
mod runs;
mod wire;

use std::fs;

use tempfile::TempDir;

/// A reader, and what it may cost.
pub struct Target {
    /// Name, which is also that of the folder of its corpus.
    pub name: &'static str,
    /// Reads the bytes and lets go of what came of them.
    pub run: fn(&[u8]),
    /// MiB that one call may ask of the allocator in all, however small its input is.
    pub memory: usize,
    /// Bytes that it may ask for beyond that, for each byte of its input.
    pub memory_per_byte: usize,
}

/// All readers.
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
    /// Returns the target of that name.
    pub fn find(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// Makes a folder with these files, which is gone with the value.
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
