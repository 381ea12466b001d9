//! Tests of a folder of snapshots: which one is used, which are kept, and what is said of the others.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Life;

use super::*;
use crate::{
    coordinator::leases::{EpochLedger, Progress},
    testing::data,
};

/// A snapshot of one shard whose file holds `text`.
pub(crate) fn snapshot(folder: &Path, id: u64, text: &str) -> Manifest {
    let path = shard_file::path(folder, id, 0);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let hash = files::Digest::of_file(&path).unwrap().to_string();
    let ledger = EpochLedger { images: 100, distinct: id, ..EpochLedger::default() };
    let progress = Progress { leased: id, to_do: Vec::new(), ledgers: vec![ledger], used: id, skipped: 0 };
    let run = SavedRun {
        momentum_moved: true,
        configuration: settings::recipe("quick").unwrap(),
        data: data(100),
        progress,
        steps: id,
        unreadable: BTreeSet::new(),
        evaluations: Vec::new(),
        finished: false,
        ramp_samples: None,
        stair_samples: None,
        addresses: vec!["a:1".into()],
        life: Life { run: RunId(7), count: 2, nonce: 5 },
        surplus: BTreeMap::new(),
        rate_factor: 0.5,
    };
    let status = ShardStatus { snapshot_hash: Some(hash), ..ShardStatus::default() };
    let layout = crate::testing::layout().fingerprint();
    let manifest = Manifest::new(folder, id, layout, vec![status], run).unwrap();
    manifest.write(folder).unwrap();
    manifest
}

fn newest_id(folder: &Path) -> Option<u64> {
    newest(folder).unwrap().map(|manifest| manifest.id)
}

#[test]
fn the_newest_whole_one_is_used() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    assert_eq!(newest_id(&folder.join("none")), None);
    let first = snapshot(folder, 1, "one");
    assert_eq!(newest(folder).unwrap(), Some(first));
    for id in 2..=5 {
        snapshot(folder, id, "more");
    }
    fs::write(shard_file::path(folder, 5, 0), "mo").unwrap();
    assert_eq!(newest_id(folder), Some(4), "a truncated file");
    fs::remove_file(folder.join("4").join(MANIFEST)).unwrap();
    assert_eq!(newest_id(folder), Some(3), "no manifest");
    fs::write(folder.join("3").join(MANIFEST), "{").unwrap();
    assert_eq!(newest_id(folder), Some(2), "a truncated manifest");
    fs::remove_file(shard_file::path(folder, 2, 0)).unwrap();
    assert_eq!(newest_id(folder), Some(1), "a missing file");
    let path = folder.join("1").join(MANIFEST);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"used\": 1", "\"used\": 2")).unwrap();
    let text = newest(folder).unwrap_err().to_string();
    let expected = format!(
        "no snapshot in {} can be used, the newest that was finished is 5: {} is damaged: expected sha-256",
        folder.display(),
        shard_file::path(folder, 5, 0).display()
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.ends_with("or --fresh to start anew (it removes the snapshots)"), "{text}");
}

/// Without the check, a run would count on such a number or take memory for it.
#[test]
fn a_manifest_of_numbers_that_no_run_has_is_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    snapshot(folder, 1, "one");
    snapshot(folder, 2, "two");
    let path = folder.join("2").join(MANIFEST);
    let whole = fs::read_to_string(&path).unwrap();
    for (from, to, reason) in [
        ("\"used\": 2", "\"used\": 18446744073709551615", "its numbers contradict each other"),
        ("\"leased\": 2", "\"leased\": 18446744073709551615", "its numbers contradict each other"),
        ("\"images\": 100,\n", "\"images\": 0,\n", "its numbers contradict each other"),
        ("\"batch\": 16", "\"batch\": 1000000000", "configuration key run.batch: found 1000000000, expected"),
    ] {
        assert!(whole.contains(from), "{from} in {whole}");
        fs::write(&path, whole.replace(from, to)).unwrap();
        let text = Manifest::read(folder, 2).unwrap_err().to_string();
        assert!(text.contains(reason), "{text}");
        assert_eq!(newest_id(folder), Some(1), "{to}");
    }
    if fs::File::create(&path).unwrap().set_len(3 << 40).is_ok() {
        let text = Manifest::read(folder, 2).unwrap_err().to_string();
        assert!(text.ends_with("expected at most 256 MiB, it has 3,072 GiB"), "{text}");
    }
    fs::create_dir(folder.join(u64::MAX.to_string())).unwrap();
    assert_eq!(next_id(folder).unwrap(), 3, "the largest number is ignored");
}

#[test]
fn snapshots_that_were_never_finished_do_not_keep_a_server_from_starting() {
    let home = tempfile::tempdir().unwrap();
    snapshot(home.path(), 1, "one");
    fs::remove_file(home.path().join("1").join(MANIFEST)).unwrap();
    assert_eq!(newest_id(home.path()), None);
}

#[test]
fn wherever_a_file_is_cut_the_snapshot_before_is_used() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    snapshot(folder, 1, "one");
    snapshot(folder, 2, "a shard's values");
    for path in [shard_file::path(folder, 2, 0), folder.join("2").join(MANIFEST)] {
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(newest_id(folder), Some(1), "{} cut to {length} bytes", path.display());
            let text = Manifest::read_whole(folder, 2).unwrap_err().to_string();
            assert!(text.starts_with(path.to_str().unwrap()), "{length} bytes: {text}");
        }
        fs::write(&path, whole).unwrap();
        assert_eq!(newest_id(folder), Some(2));
    }
}

#[test]
fn the_newest_is_told_by_its_number_whatever_the_clock_said() {
    let home = tempfile::tempdir().unwrap();
    for id in 1..=3 {
        let manifest = snapshot(home.path(), id, "x");
        let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 / manifest.id);
        for file in ["", MANIFEST, "shard-0.safetensors"] {
            let file = fs::File::open(home.path().join(id.to_string()).join(file)).unwrap();
            file.set_modified(written).unwrap();
        }
    }
    assert_eq!(newest_id(home.path()), Some(3));
}

/// A folder with the name of a file cannot be read as a file by anybody, root included.
#[test]
fn what_cannot_be_read_is_named_and_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for id in 1..=3 {
        snapshot(folder, id, "x");
    }
    let unreadable = [shard_file::path(folder, 3, 0), folder.join("2").join(MANIFEST)];
    for path in &unreadable {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }
    assert_eq!(newest_id(folder), Some(1));
    for (id, path) in [(3, &unreadable[0]), (2, &unreadable[1])] {
        let text = Manifest::read_whole(folder, id).unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot read {}: ", path.display())), "{text}");
    }
    let file = folder.join("a file");
    fs::write(&file, "").unwrap();
    let text = newest(&file).unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot list the snapshots in {}: ", file.display())), "{text}");
}

#[test]
fn what_is_wrong_is_said() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let reason = |id| Manifest::read_whole(folder, id).unwrap_err().to_string();
    fs::create_dir(folder.join("9")).unwrap();
    assert_eq!(reason(9), "it has no manifest, so it was not finished");
    let good = snapshot(folder, 1, "one");
    let path = shard_file::path(folder, 1, 0);
    fs::write(&path, "two").unwrap();
    let found = files::Digest::of_file(&path).unwrap().to_string();
    let expected = &good.shards[0].hash;
    assert_eq!(
        reason(1),
        format!("{} is damaged: expected sha-256 {expected}, found {found}", path.display())
    );
}

#[test]
fn the_last_three_complete_ones_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for id in [1, 2, 4, 5] {
        snapshot(folder, id, "x");
    }
    for unfinished in [3, 6] {
        fs::create_dir(folder.join(unfinished.to_string())).unwrap();
    }
    prune(folder, 6);
    assert_eq!((ids(folder).unwrap(), next_id(folder).unwrap()), (vec![2, 3, 4, 5, 6], 7));
    snapshot(folder, 6, "x");
    prune(folder, 6);
    assert_eq!(ids(folder).unwrap(), [4, 5, 6]);
    clear(folder).unwrap();
    assert_eq!((ids(folder).unwrap(), next_id(folder).unwrap()), (vec![], 1));
}

/// Once, an order to write snapshot 0 removed all others.
#[test]
fn a_complete_snapshot_is_not_removed_for_an_older_one() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for id in [5, 6, 7] {
        snapshot(folder, id, "x");
    }
    for unfinished in [0, 8] {
        fs::create_dir(folder.join(unfinished.to_string())).unwrap();
    }
    prune(folder, 0);
    assert_eq!(ids(folder).unwrap(), [5, 6, 7]);
}

#[test]
fn a_folder_without_manifests_keeps_one_more_and_nothing_of_another_run() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for id in [1, 2, 3, 4, 5, 40, 41] {
        fs::create_dir(folder.join(id.to_string())).unwrap();
    }
    prune(folder, 5);
    assert_eq!(ids(folder).unwrap(), [2, 3, 4, 5]);
    prune(folder, 5);
    assert_eq!(ids(folder).unwrap(), [2, 3, 4, 5]);
}

#[test]
fn counters_never_repeat_a_value() {
    let home = tempfile::tempdir().unwrap();
    let counted = |least| next_count(home.path(), "generation-0", least).unwrap();
    assert_eq!([counted(1), counted(1), counted(9), counted(3)], [1, 2, 9, 10]);
    let path = home.path().join("generation-0");
    fs::write(&path, "").unwrap();
    let text = next_count(home.path(), "generation-0", 1).unwrap_err().to_string();
    let expected = "holds \"\", expected a number; write one that is higher than any it had, as 1000000";
    assert_eq!(text, format!("{} {expected}", path.display()));
}

#[test]
fn snapshots_of_another_run_are_set_aside_whole() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let [one, other] = [7, 8].map(RunId);
    claim(folder, one).unwrap();
    let first = snapshot(folder, 1, "one");
    claim(folder, one).unwrap();
    assert_eq!(newest(folder).unwrap().as_ref(), Some(&first), "its own stay");
    claim(folder, other).unwrap();
    assert_eq!(newest_id(folder), None);
    assert_eq!(newest(&folder.join(format!("run-{one}"))).unwrap(), Some(first));
    // A folder of an earlier release does not say whose it is, and keeps what it has.
    let old = tempfile::tempdir().unwrap();
    snapshot(old.path(), 1, "one");
    claim(old.path(), other).unwrap();
    assert_eq!(newest_id(old.path()), Some(1));
}
