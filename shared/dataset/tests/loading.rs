//! Loader threads: the same minibatches whatever their number, bounded work ahead, a prompt end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataset::{
    Crops, Dataset, Interpolation, Loader, LoaderConfig, LoaderRange, Minibatch, Photometric, Preprocessing,
    Sampling, Split, epoch_order,
};

const SIZE: usize = 32;

fn loader(threads: usize) -> Loader {
    loader_of(threads, Sampling::default())
}

fn loader_of(threads: usize, sampling: Sampling) -> Loader {
    let set = Arc::new(Dataset::drawn(500, 100, SIZE));
    Loader::new(
        set,
        LoaderConfig {
            threads,
            size: SIZE,
            sampling,
            preprocessing: Preprocessing::default(),
            crops: Crops::One,
            seed: 7,
            batch: 16,
            depth: 3,
        },
    )
}

fn train(epoch: u64, start: u64, end: u64) -> LoaderRange {
    LoaderRange { split: Split::Train, epoch, start, end }
}

fn drain(loader: &mut Loader) -> Vec<Minibatch> {
    std::iter::from_fn(|| loader.next()).collect()
}

#[test]
fn one_thread_and_eight_make_the_same_minibatches() {
    let everything = Sampling {
        interpolations: vec![
            Interpolation::Bilinear,
            Interpolation::Area,
            Interpolation::Nearest,
            Interpolation::Cubic,
        ],
        photometric: Photometric { brightness: 0.5, contrast: 0.5, saturation: 0.5, lighting: 0.1 },
        ..Sampling::default()
    };
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
    let set = Dataset::drawn(500, 100, SIZE);
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
    let set = Dataset::drawn(10, 10, SIZE);
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
    assert_eq!(loader.next().unwrap().samples, epoch_order(500, 7, 0)[..16]);
    loader.clear();
    assert_eq!(loader.next(), None);
    loader.request(train(1, 32, 48));
    assert_eq!(loader.next().unwrap().samples, epoch_order(500, 7, 1)[32..48]);
    assert_eq!(loader.next(), None);
}

#[test]
fn requests_do_not_wait_and_a_drop_ends_the_threads() {
    let start = Instant::now();
    let loader = loader(2);
    // Minutes of work, if any of it had to be done.
    for epoch in 0..1000 {
        loader.request(train(epoch, 0, 500));
    }
    drop(loader);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
#[should_panic(expected = "of 500 samples")]
fn a_range_past_the_end_is_the_callers_mistake() {
    loader(1).request(train(0, 490, 501));
}
