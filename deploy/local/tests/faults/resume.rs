//! One worker, everything killed at ten points: the end is that of a run that nobody disturbed, bit by bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use parameter_server::{shard::file as shard_file, snapshot::Manifest};
use parameters::checkpoint::Checkpoint;
use rand::Rng;
use settings::random;

use crate::ALONE;
use crate::cluster::{Cluster, Shape, newest_complete};
use crate::pictures;

const POINTS: u64 = 10;
const SERVERS: usize = 2;
/// So long that ten snapshots fit in on an ordinary machine; a faster one doubles it.
const IMAGES: u64 = 32_000;

#[test]
fn killed_at_ten_points_one_worker_ends_bit_identical() {
    // Another test's failure is no reason to fail.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let data = tempfile::tempdir().unwrap();
    pictures::write(data.path());
    let mut images = IMAGES;
    let (killed, shape) = loop {
        let shape = Shape { servers: SERVERS, workers: 1, images, seed: 3 };
        match killed_at_every_point(&shape, data.path()) {
            Some(end) => break (end, shape),
            None => images *= 2,
        }
    };
    let mut undisturbed = Cluster::start(shape, data.path());
    let manifest = undisturbed.wait().unwrap();
    assert!(killed == state(&undisturbed, &manifest), "the killed run of {images} images ended otherwise");
}

/// The end of a run that was killed ten times, each time once it had a new snapshot; none if it was over
/// before.
fn killed_at_every_point(shape: &Shape, data: &Path) -> Option<State> {
    let mut cluster = Cluster::start(shape.clone(), data);
    let mut delays = random::stream(shape.seed, "points", &[]);
    for point in 0..POINTS {
        let before = newest_complete(&cluster.snapshots());
        let begun = Instant::now();
        while newest_complete(&cluster.snapshots()) == before {
            if cluster.ended(0).is_some() {
                return None;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no snapshot\n{}", cluster.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
        // Anywhere between this snapshot and the next one, or while that is taken.
        std::thread::sleep(Duration::from_millis(u64::from(delays.next_u32() % 1200)));
        if cluster.ended(0).is_some() {
            return None;
        }
        println!("point {point}: killed behind snapshot {before:?}");
        for process in 0..=SERVERS {
            cluster.kill(process);
        }
        (0..=SERVERS).for_each(|process| cluster.spawn(process));
    }
    let manifest = cluster.wait().unwrap();
    let repeated: u64 =
        manifest.run.progress.ledgers.iter().map(|ledger| ledger.repeated + ledger.lost).sum();
    assert_eq!(repeated, 0, "a snapshot of one worker's run lies between two of its steps");
    Some(state(&cluster, &manifest))
}

/// Bits of every tensor of every shard: parameters, velocity, average.
type State = Vec<BTreeMap<String, Vec<u32>>>;

fn state(cluster: &Cluster, manifest: &Manifest) -> State {
    let of = |shard: u32| {
        let file = shard_file::path(&cluster.snapshots(), manifest.id, shard);
        let tensors = Checkpoint::read(&file).unwrap().tensors;
        let bits = |values: ndarray::ArrayD<f32>| values.iter().map(|value| value.to_bits()).collect();
        tensors.into_iter().map(|(name, values)| (name, bits(values))).collect()
    };
    (0..SERVERS as u32).map(of).collect()
}
