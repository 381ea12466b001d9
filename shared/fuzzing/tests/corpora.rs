//! Every reader on every input of its corpus: none panics, none takes more memory than its input is worth.

use std::alloc::System;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzzing::{TARGETS, Target};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most bytes of one corpus.
const MOST_CORPUS: usize = 1 << 20;

fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Returns why the reader does not bear the input, if it does not.
///
/// The memory is all that was asked for, freed or not: never less than what was held at once.
fn fault(target: &Target, input: &[u8]) -> Option<String> {
    let region = Region::new(ALLOCATOR);
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        return Some("it panics".into());
    }
    let found = region.change().bytes_allocated;
    let most = (target.memory << 20) + target.memory_per_byte * input.len();
    (found > most).then(|| format!("it asks for {found} bytes of memory, expected at most {most}"))
}

/// One test alone: the counter counts for the whole process.
#[test]
fn every_reader_bears_its_corpus() {
    let mut faults = Vec::new();
    for target in &TARGETS {
        let inputs = inputs(target);
        let bytes: usize = inputs.iter().map(|(_, bytes)| bytes.len()).sum();
        if inputs.len() < 2 || bytes > MOST_CORPUS {
            faults.push(format!(
                "the corpus of {} has {} inputs with {bytes} bytes",
                target.name,
                inputs.len()
            ));
        }
        for (path, bytes) in &inputs {
            faults.extend(fault(target, bytes).map(|fault| format!("{}: {fault}", path.display())));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
