//! Data sets whose pictures somebody else has: the samples are those of who has the files.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataset::{
    Dataset, Encoded, LentSet, Loader, LoaderConfig, LoaderRange, Minibatch, PictureSource, Rules,
    SourceAway, Split,
};
use image::ImageFormat;
use tempfile::TempDir;

use crate::support::{loader, picture, put};

/// The holder of a folder, without a network between.
#[derive(Debug)]
struct Holder {
    own: Dataset,
    /// Most bytes of a piece.
    most: usize,
    away: AtomicBool,
    announced: Mutex<Vec<(Split, u32)>>,
}

impl Holder {
    fn of(folder: &Path, most: usize) -> Arc<Holder> {
        let own = Dataset::open(folder, Rules::NEWEST).unwrap();
        Arc::new(Holder { own, most, away: AtomicBool::new(false), announced: Mutex::default() })
    }

    fn set(&self) -> LentSet {
        let labels = |split| (0..self.own.len(split)).map(|index| self.own.label(split, index)).collect();
        LentSet {
            classes: self.own.classes().to_vec(),
            hash: self.own.fingerprint().hash.clone(),
            train: labels(Split::Train),
            validation: labels(Split::Validation),
            shards: self.own.training_shards(),
        }
    }

    fn lend(self: &Arc<Holder>) -> Dataset {
        Dataset::lent(self.set(), self.clone()).unwrap()
    }
}

impl PictureSource for Holder {
    fn read(&self, split: Split, index: u32) -> Result<Encoded, SourceAway> {
        if self.away.load(Ordering::Relaxed) {
            return Err(SourceAway("the holder is away".into()));
        }
        let (name, mut bytes) = (self.own.name(split, index as usize), Vec::new());
        loop {
            match self.own.piece(split, index as usize, bytes.len() as u64, self.most).unwrap() {
                Ok(piece) => {
                    assert!(piece.bytes.len() <= self.most);
                    bytes.extend(piece.bytes);
                    if piece.is_last {
                        return Ok(Encoded { name, bytes: Ok(bytes.into()) });
                    }
                }
                Err(error) => return Ok(Encoded { name, bytes: Err(error.reason.to_string()) }),
            }
        }
    }

    fn announce(&self, split: Split, indices: Vec<u32>) {
        self.announced.lock().unwrap().extend(indices.into_iter().map(|index| (split, index)));
    }
}

/// Pictures of two classes, one of them no picture.
fn folder() -> TempDir {
    let home = TempDir::new().unwrap();
    for number in 0..6u8 {
        for (class, name) in ["rose", "tulip"].into_iter().enumerate() {
            let colour = [40 * number, 90 * class as u8, 7];
            put(home.path(), &format!("train/{name}/{number}.png"), picture(colour, ImageFormat::Png));
            put(home.path(), &format!("val/{name}/{number}.jpg"), picture(colour, ImageFormat::Jpeg));
        }
    }
    put(home.path(), "train/rose/6.png", "never a picture");
    home
}

/// Makes tar shards of the pictures of [`folder`], the second shard larger than the first.
fn shards() -> TempDir {
    let (files, home) = (folder(), TempDir::new().unwrap());
    let own = Dataset::open(files.path(), Rules::NEWEST).unwrap();
    for (split, name) in [(Split::Train, "train"), (Split::Validation, "val")] {
        let cut = own.len(split) / 3;
        for (shard, samples) in [(0, 0..cut), (1, cut..own.len(split))] {
            let mut archive = tar::Builder::new(Vec::new());
            for index in samples {
                let bytes = std::fs::read(files.path().join(own.name(split, index))).unwrap();
                let class = own.label(split, index).to_string();
                for (end, content) in [("png", &bytes[..]), ("cls", class.as_bytes())] {
                    let mut header = tar::Header::new_gnu();
                    header.set_size(content.len() as u64);
                    header.set_cksum();
                    archive.append_data(&mut header, format!("{index:03}.{end}"), content).unwrap();
                }
            }
            put(home.path(), &format!("{name}/{shard}.tar"), archive.into_inner().unwrap());
        }
    }
    home
}

/// All minibatches of an epoch and of the validation images.
fn minibatches(dataset: Dataset, config: LoaderConfig) -> Vec<Minibatch> {
    let (train, validation) = (dataset.len(Split::Train) as u64, dataset.len(Split::Validation) as u64);
    let mut loader = Loader::new(Arc::new(dataset), config);
    loader.request(LoaderRange { split: Split::Train, epoch: 3, start: 0, end: train });
    loader.request(LoaderRange { split: Split::Validation, epoch: 0, start: 0, end: validation });
    std::iter::from_fn(|| loader.next().unwrap()).collect()
}

#[test]
fn every_sample_is_that_of_who_has_the_files() {
    for home in [folder(), shards()] {
        for most in [50, 1 << 20] {
            let holder = Holder::of(home.path(), most);
            let lent = holder.lend();
            assert_eq!(
                (lent.fingerprint(), lent.classes()),
                (holder.own.fingerprint(), holder.own.classes())
            );
            for epoch in 0..3 {
                assert_eq!(lent.epoch_order(7, epoch), holder.own.epoch_order(7, epoch));
            }
            let order = lent.epoch_order(7, 3);
            let own = minibatches(Dataset::open(home.path(), Rules::NEWEST).unwrap(), loader(32));
            let borrowed = minibatches(lent, loader(32));
            let strip = |batch: &Minibatch| Minibatch { skipped: Vec::new(), ..batch.clone() };
            assert_eq!(
                borrowed.iter().map(strip).collect::<Vec<_>>(),
                own.iter().map(strip).collect::<Vec<_>>()
            );
            // The reason is the same too, but for the place of the folder.
            let skipped = |batches: &[Minibatch]| {
                batches.iter().flat_map(|batch| batch.skipped.clone()).collect::<Vec<_>>()
            };
            let (own, borrowed) = (skipped(&own), skipped(&borrowed));
            assert_eq!(borrowed.len(), 1);
            assert_eq!(own, [format!("{}/{}", home.path().display(), borrowed[0])]);
            let announced = holder.announced.lock().unwrap();
            let train = announced.iter().filter(|(split, _)| *split == Split::Train).map(|(_, index)| *index);
            assert_eq!(train.collect::<Vec<_>>(), order, "in the order in which they are read");
        }
    }
}

#[test]
fn a_file_that_its_holder_cannot_read_is_skipped_and_a_holder_who_is_away_is_waited_for() {
    let home = folder();
    let holder = Holder::of(home.path(), 1 << 20);
    std::fs::remove_file(home.path().join("train/tulip/2.png")).unwrap();
    let batches = minibatches(holder.lend(), loader(32));
    let skipped: Vec<&String> = batches.iter().flat_map(|batch| &batch.skipped).collect();
    assert_eq!(skipped.len(), 2);
    assert!(
        skipped.iter().any(|text| text.starts_with("train/tulip/2.png: cannot be read: ")),
        "{skipped:?}"
    );

    holder.away.store(true, Ordering::Relaxed);
    let config = LoaderConfig { patience: Duration::from_secs(60), ..loader(32) };
    let mut waiting = Loader::new(Arc::new(holder.lend()), config);
    waiting.request(LoaderRange { split: Split::Train, epoch: 0, start: 0, end: 4 });
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        holder.away.store(false, Ordering::Relaxed);
        holder
    });
    assert_eq!(waiting.next().unwrap().unwrap().positions, 4);
    let holder = back.join().unwrap();
    holder.away.store(true, Ordering::Relaxed);
    let mut impatient = Loader::new(Arc::new(holder.lend()), loader(32));
    impatient.request(LoaderRange { split: Split::Train, epoch: 0, start: 0, end: 4 });
    let away = impatient.next().unwrap_err();
    assert!(away.example.ends_with("did not come: the holder is away"), "{away}");
}

#[test]
fn contents_that_contradict_each_other_are_refused() {
    let home = shards();
    let holder = Holder::of(home.path(), 1 << 20);
    let refused = |set: LentSet| Dataset::lent(set, holder.clone()).unwrap_err().to_string();
    let text = refused(LentSet { train: vec![0, 2], ..holder.set() });
    assert!(text.contains("label 2, expected one of 2 classes"), "{text}");
    let text = refused(LentSet { shards: vec![1, u32::MAX], ..holder.set() });
    assert!(text.contains("4294967296 training images in its shards, expected 13"), "{text}");
}
