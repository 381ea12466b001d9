//! Writes the seeds of all corpora: `cargo run --package fuzzing --example seeds`.
//!
//! For each reader there are small inputs as users have them, made by the writers of this program where it
//! has one, and small inputs as an attacker would make them. What a fuzzer found lies beside them under the
//! hash of its content and is left alone.

mod data;
mod models;
mod protobuf;
mod runs;
mod tiff;
mod wire;

use std::fs;
use std::path::Path;

/// A file of a corpus: its name and its bytes.
type Seed = (String, Vec<u8>);

fn main() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
    let all = [
        ("caffe", models::caffe()),
        ("checkpoint", models::checkpoint()),
        ("model", models::model()),
        ("image", data::image()),
        ("tar", data::tar()),
        ("synsets", data::synsets()),
        ("lists", data::lists()),
        ("labels", models::labels()),
        ("configuration", runs::configuration()),
        ("manifest", runs::manifest()),
        ("shard", runs::shard()),
        ("frames", wire::frames()),
        ("messages", wire::messages()),
    ];
    for (target, seeds) in all {
        let folder = corpora.join(target);
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

fn seed(name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    (name.to_owned(), bytes.into())
}
