//! Loader threads: the same minibatches whatever their number, bounded work ahead, a prompt end.

use std::sync::Arc;
use std::time::Duration;

use dataset::{
    Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, Rules, Sampling, Scene, Split, epoch_order,
};

use crate::support;

const SIZE: usize = 32;

fn loader(threads: usize) -> Loader {
    loader_of(threads, Sampling::default())
}

fn loader_of(threads: usize, sampling: Sampling) -> Loader {
    let set = Arc::new(Dataset::synthetic(500, 100, SIZE));
    Loader::new(set, LoaderConfig { threads, sampling, batch: 16, depth: 3, ..support::loader(SIZE) })
}

fn train(epoch: u64, start: u64, end: u64) -> LoaderRange {
    LoaderRange { split: Split::Train, epoch, start, end }
}

fn drain(loader: &mut Loader) -> Vec<Minibatch> {
    std::iter::from_fn(|| loader.next().unwrap()).collect()
}

#[test]
fn one_thread_and_eight_make_the_same_minibatches() {
    let everything = settings::recipe("paper").unwrap().sampling;
    assert!(everything.interpolation.len() == 4 && everything.lighting > 0.0);
    let made = [1, 8].map(|threads| {
        let mut loader = loader_of(threads, everything.clone());
        loader.request(train(0, 100, 200));
        loader.request(LoaderRange { split: Split::Validation, epoch: 0, start: 0, end: 40 });
        loader.request(train(1, 0, 50));
        drain(&mut loader)
    });
    assert!(made[0] == made[1]);
}

#[test]
fn minibatches_follow_the_order_of_requests_and_positions() {
    let mut loader = loader(4);
    loader.request(train(2, 480, 500));
    loader.request(train(0, 0, 0));
    loader.request(LoaderRange { split: Split::Validation, epoch: 9, start: 90, end: 100 });
    loader.request(train(3, 0, 16));
    let made = drain(&mut loader);
    assert_eq!(made.iter().map(|m| m.positions).collect::<Vec<_>>(), [16, 4, 10, 16]);
    let samples: Vec<_> = made.iter().flat_map(|m| m.samples.iter().copied()).collect();
    let expected =
        [&epoch_order(500, 7, 2)[480..], &(90..100).collect::<Vec<_>>(), &epoch_order(500, 7, 3)[..16]];
    assert_eq!(samples, expected.concat());
    let set = Dataset::synthetic(500, 100, SIZE);
    for minibatch in &made {
        assert_eq!(minibatch.images.shape(), [minibatch.samples.len(), 3, SIZE, SIZE]);
        assert!(minibatch.skipped.is_empty());
    }
    // A row of a minibatch is the sample that the data set itself gives.
    let mut out = vec![0.0; 3 * SIZE * SIZE];
    let index = made[3].samples[5] as usize;
    let label = set.training_sample(index, 3, 7, &Sampling::default(), SIZE, &mut out).unwrap();
    assert_eq!(label, made[3].labels[5]);
    assert_eq!(made[3].images.index_axis(ndarray::Axis(0), 5).as_slice().unwrap(), out);
}

#[test]
fn an_epoch_is_cropped_anew() {
    let set = Dataset::synthetic(10, 10, SIZE);
    let crop = |epoch, seed| {
        let mut out = vec![0.0; 3 * SIZE * SIZE];
        set.training_sample(3, epoch, seed, &Sampling::default(), SIZE, &mut out).unwrap();
        out
    };
    assert_eq!(crop(0, 1), crop(0, 1));
    assert_ne!(crop(0, 1), crop(1, 1));
    assert_ne!(crop(0, 1), crop(0, 2));
}

#[test]
fn cleared_it_forgets_and_goes_on() {
    let mut loader = loader(3);
    loader.request(train(0, 0, 500));
    assert_eq!(loader.next().unwrap().unwrap().samples, epoch_order(500, 7, 0)[..16]);
    loader.clear();
    assert_eq!(loader.next(), Ok(None));
    loader.request(train(1, 32, 48));
    assert_eq!(loader.next().unwrap().unwrap().samples, epoch_order(500, 7, 1)[32..48]);
    assert_eq!(loader.next(), Ok(None));
}

#[test]
fn requests_do_not_wait_and_a_drop_ends_the_threads() {
    let loader = loader(2);
    // Days of work, if any of it had to be done.
    for epoch in 0..100_000 {
        loader.request(train(epoch, 0, 500));
    }
    drop(loader);
}

#[test]
#[should_panic(expected = "of 500 samples")]
fn a_range_past_the_end_is_the_callers_mistake() {
    loader(1).request(train(0, 490, 501));
}

/// Pictures in a folder, and a loader of all of them that waits for so long.
fn files(patience: Duration) -> (tempfile::TempDir, Loader) {
    let home = tempfile::TempDir::new().unwrap();
    Dataset::write_synthetic(40, 10, SIZE, Scene::Object, &home.path().join("data")).unwrap();
    let set = Arc::new(Dataset::open(&home.path().join("data"), Rules::NEWEST).unwrap());
    let config = LoaderConfig { patience, ..support::loader(SIZE) };
    (home, Loader::new(set, config))
}

#[test]
fn a_folder_that_is_away_for_a_moment_costs_no_sample() {
    let (home, mut loader) = files(Duration::from_secs(60));
    let (here, away) = (home.path().join("data"), home.path().join("away"));
    loader.request(train(0, 0, 40));
    let first = loader.next().unwrap().unwrap();
    std::fs::rename(&here, &away).unwrap();
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        std::fs::rename(&away, &here).unwrap();
    });
    let made: Vec<Minibatch> = std::iter::once(first).chain(drain(&mut loader)).collect();
    back.join().unwrap();
    let samples: Vec<u32> = made.iter().flat_map(|minibatch| minibatch.samples.clone()).collect();
    assert_eq!(samples, epoch_order(40, 7, 0));
    assert!(made.iter().all(|minibatch| minibatch.skipped.is_empty()));
}

#[test]
fn a_folder_that_stays_away_ends_the_loader_and_says_how_to_go_on() {
    let (home, mut loader) = files(Duration::from_millis(200));
    std::fs::remove_dir_all(home.path().join("data")).unwrap();
    loader.request(train(0, 0, 40));
    let away = loader.next().unwrap_err();
    assert_eq!(loader.next(), Err(away.clone()), "it does not come back by itself");
    assert!(away.to_string().contains("give the same command again"), "{away}");
}

/// One file that is gone is a picture that cannot be read; the others go on.
#[test]
fn a_file_that_is_gone_is_skipped_at_once() {
    let (home, mut loader) = files(Duration::from_secs(600));
    let class = home.path().join("data/train").read_dir().unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(class).unwrap();
    loader.request(train(0, 0, 40));
    let skipped: usize = drain(&mut loader).iter().map(|minibatch| minibatch.skipped.len()).sum();
    assert_eq!(skipped, 4);
}

#[test]
fn a_loader_that_waits_for_its_folder_ends_promptly() {
    let (home, mut loader) = files(Duration::MAX);
    std::fs::remove_dir_all(home.path().join("data")).unwrap();
    loader.request(train(0, 0, 40));
    std::thread::sleep(Duration::from_millis(300));
    loader.clear();
    drop(loader);
}
