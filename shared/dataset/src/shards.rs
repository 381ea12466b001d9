//! The reading of a data folder of tar shards: `*.tar` files in `train/` and `val/`, or in the folder itself.
//!
//! A network disk reads a few large files well, but not a million small ones. The shards' headers are read
//! once, when the folder is opened; images are read when they are needed ([`streams`](crate::streams)).
//!
//! In a shard, classes are numbers. Their names are in `classes.txt` in the data folder, one per line in the
//! order of the numbers (Caffe's `synset_words.txt` can be used under that name); without it the numbers are
//! the names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::entry::{Entry, Index, Part};
use crate::error::DatasetError;
use crate::held_out;
use crate::list::{ListError, read_list};
use crate::members::{self, Contents};
use crate::passed::{Passed, Reason};
use crate::rules::Rules;
use crate::splits::VAL;
use crate::walk::{Listing, at};

/// Name of the file with the list of class names.
pub(crate) const CLASSES: &str = "classes.txt";
/// Largest number of classes without that list; more than any network can have are taken for a mistake.
const MOST_CLASSES: usize = 100_000;
/// Number of shards listed at once: headers lie far from each other, and threads mostly wait for the disk.
const THREADS: usize = 16;

/// A folder that may hold shards.
pub(crate) struct Place {
    /// Path of the folder relative to the data folder.
    pub(crate) under: PathBuf,
    pub(crate) listing: Listing,
}

/// Returns whether these folders of a data folder hold shards: either all of them must, or none.
pub(crate) fn are_in(folder: &Path, places: &[Place]) -> Result<bool, DatasetError> {
    let mixed = |shards: &Path, others: &Path| DatasetError::MixedKinds {
        folder: folder.to_owned(),
        shards: at(folder, shards),
        others: at(folder, others),
    };
    let (mut with, mut without) = (None, None);
    for Place { under, listing } in places {
        if !listing.files.iter().any(|path| is_shard(path)) {
            without = Some(under);
        } else if let Some(other) = listing.folders.first() {
            return Err(mixed(under, other));
        } else {
            with = Some(under);
        }
    }
    match (with, without) {
        (Some(shards), Some(others)) => Err(mixed(shards, others)),
        (with, _) => Ok(with.is_some()),
    }
}

fn is_shard(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// Returns whether a file's name tells that it is a compressed shard.
pub(crate) fn is_packed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"].iter().any(|end| name.ends_with(end))
}

/// Opens the data set of a folder of shards: those of both splits or, if there are no splits, those of the
/// folder itself, of whose images some are held out.
pub(crate) fn open(folder: &Path, places: Vec<Place>, rules: Rules) -> Result<Index, DatasetError> {
    let mut found = Found::default();
    let given = places.len() > 1;
    let validation_folder = places.last().map_or(PathBuf::from(VAL), |place| place.under.clone());
    let mut entries = places.into_iter().map(|place| entries(folder, place, &mut found));
    let first = entries.next().expect("there is a place")?;
    let second = entries.next().transpose()?;
    drop(entries);
    let (train, validation) = match second {
        Some(validation) => (first, validation),
        None => held_out::split(first, rules),
    };
    let classes = names(folder, train.iter().chain(&validation))?;
    let learnt: BTreeSet<u32> = train.iter().map(|entry| entry.label).collect();
    if let Some(entry) = validation.iter().find(|entry| !learnt.contains(&entry.label)) {
        let class = classes[entry.label as usize].clone();
        return Err(DatasetError::ValidationOnly { folder: folder.join(validation_folder), class });
    }
    let missing = (0..).zip(&classes).filter(|(label, _)| !learnt.contains(label));
    if let Some((_, first)) = missing.clone().next() {
        tracing::warn!(classes = missing.count(), first, "classes without training samples are not learnt");
    }
    Ok(found.index(folder, rules, classes, [train, validation], given, !given))
}

/// Opens all samples of the shards in a place as validation samples.
pub(crate) fn open_validation(folder: &Path, place: Place, rules: Rules) -> Result<Index, DatasetError> {
    let mut found = Found::default();
    let given = !place.under.as_os_str().is_empty();
    let validation = entries(folder, place, &mut found)?;
    let classes = names(folder, validation.iter())?;
    Ok(found.index(folder, rules, classes, [Vec::new(), validation], given, false))
}

/// The findings about shards besides their samples.
#[derive(Default)]
struct Found {
    shards: Vec<PathBuf>,
    incomplete: u64,
    passed: Passed,
}

impl Found {
    fn index(
        self,
        folder: &Path,
        rules: Rules,
        classes: Vec<String>,
        [train, validation]: [Vec<Entry>; 2],
        given: bool,
        held_out: bool,
    ) -> Index {
        let Found { shards, incomplete, passed } = self;
        let folder = folder.to_owned();
        Index { folder, rules, classes, train, validation, given, held_out, shards, incomplete, passed }
    }
}

/// Returns the samples of the shards in a place, in the order of the shards' names and of the samples in
/// each; the shards are added after those that were found before.
fn entries(
    folder: &Path,
    Place { under, listing }: Place,
    found: &mut Found,
) -> Result<Vec<Entry>, DatasetError> {
    let (mut shards, beside): (Vec<_>, Vec<_>) = listing.files.into_iter().partition(|path| is_shard(path));
    beside.into_iter().for_each(|path| found.passed.file(Reason::Beside, path));
    found.passed.add(listing.passed);
    shards.sort();
    let contents = contents(folder, &shards)?;
    let (count, mut fault) = (shards.len(), None);
    let mut entries = Vec::new();
    for (path, contents) in shards.into_iter().zip(contents) {
        for text in contents.faults {
            let text = format!("shard {}: {text}", folder.join(&path).display());
            tracing::warn!("{text}");
            fault.get_or_insert(text);
        }
        found.incomplete += contents.left_out;
        let shard = found.shards.len() as u32;
        entries.extend(contents.samples.into_iter().map(|sample| Entry {
            path: path.join(sample.name),
            label: sample.label,
            part: Some(Part { shard, offset: sample.offset, length: sample.length }),
        }));
        found.shards.push(path);
    }
    let folder = at(folder, &under);
    if entries.is_empty() {
        let fault = fault.expect("a shard without samples says why");
        return Err(DatasetError::NoSamples { folder, shards: count, fault });
    }
    tracing::info!(folder = %folder.display(), shards = count, samples = entries.len(), "listed tar shards");
    Ok(entries)
}

/// Returns the contents of each of the shards.
fn contents(folder: &Path, shards: &[PathBuf]) -> Result<Vec<Contents>, DatasetError> {
    let list = |path: &PathBuf| {
        let path = folder.join(path);
        members::list(&path).map_err(|error| DatasetError::Shard { path, refusal: error.into() })
    };
    let threads = THREADS.min(shards.len());
    let mut listed: Vec<_> = thread::scope(|scope| {
        let start = |first| {
            let share = (first..shards.len()).step_by(threads);
            scope.spawn(move || share.map(|at| (at, list(&shards[at]))).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("listing does not panic")).collect()
    });
    listed.sort_by_key(|(at, _)| *at);
    listed.into_iter().map(|(_, contents)| contents).collect()
}

/// Returns the names of the samples' classes.
fn names<'a>(
    folder: &Path,
    samples: impl Iterator<Item = &'a Entry> + Clone,
) -> Result<Vec<String>, DatasetError> {
    let list = folder.join(CLASSES);
    let listed = listed(&list)?;
    let (classes, expected) = match &listed {
        Some(names) => (names.len(), format!("less than {}, the lines of {}", names.len(), list.display())),
        None => (MOST_CLASSES, format!("less than {MOST_CLASSES}")),
    };
    if let Some(wrong) = samples.clone().find(|sample| sample.label as usize >= classes) {
        return Err(DatasetError::ClassRange {
            sample: folder.join(&wrong.path),
            class: wrong.label,
            expected,
        });
    }
    let last = samples.map(|sample| sample.label).max().expect("there is a sample");
    Ok(listed.unwrap_or_else(|| (0..=last).map(|class| class.to_string()).collect()))
}

/// Reads the names in the list of classes, if there is one.
fn listed(path: &Path) -> Result<Option<Vec<String>>, DatasetError> {
    let wrong = |reason| DatasetError::ClassList { path: path.to_owned(), reason };
    let names = match read_list(path) {
        Ok(names) => names,
        Err(ListError::Unreadable(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let mut known = BTreeMap::new();
    for (name, line) in names.iter().zip(1..) {
        if let Some(before) = known.insert(name, line) {
            return Err(wrong(format!(
                "lines {before} and {line} are both \"{name}\": expected a name for each class; put what tells them apart \
                 before it"
            )));
        }
    }
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::decode_error::SampleError;
    use crate::loader::{Loader, LoaderConfig, LoaderRange};
    use crate::members::tests::tar;
    use crate::split::Split;
    use crate::{Preprocessing, Sampling, epoch_order};
    use image::{ImageFormat, Rgb, RgbImage};
    use std::fs;
    use std::io::Cursor;
    use std::sync::Arc;
    use std::time::Duration;
    use tempfile::TempDir;

    /// Makes a folder with these files.
    fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (file, bytes) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        root
    }

    /// Makes an image of one colour.
    fn png(grey: u8) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::from_pixel(8, 8, Rgb([grey; 3])).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// Makes a shard of samples: key, grey of the image, class.
    fn shard(samples: &[(&str, u8, u32)]) -> Vec<u8> {
        let files = samples.iter().flat_map(|(key, grey, class)| {
            [(format!("{key}.png"), png(*grey)), (format!("{key}.cls"), class.to_string().into_bytes())]
        });
        let files: Vec<(String, Vec<u8>)> = files.collect();
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        tar(&files)
    }

    fn names(set: &Dataset, split: Split) -> Vec<(String, u32)> {
        (0..set.len(split)).map(|index| (set.name(split, index), set.label(split, index))).collect()
    }

    /// Returns the grey of a validation image.
    fn grey(set: &Dataset, index: usize) -> Result<f32, SampleError> {
        let (mut out, preprocessing) = (vec![0.0; 3 * 4 * 4], Preprocessing::default());
        set.validation_sample(index, &preprocessing, 4, &mut out)?;
        Ok(out[0] + crate::MEAN[0])
    }

    fn three_shards() -> TempDir {
        folder(&[
            ("train/b.tar", shard(&[("x/9", 1, 1), ("x/1", 2, 0)])),
            ("train/a.tar", shard(&[("2", 3, 1)])),
            ("val/c.TAR", shard(&[("4", 40, 1), ("3", 30, 0), ("5", 50, 1)])),
            ("classes.txt", b"n01440764 tench, Tinca tinca\r\ndaisy\n\n".to_vec()),
        ])
    }

    #[test]
    fn train_and_val_may_hold_shards() {
        let root = three_shards();
        let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
        assert_eq!(set.classes(), ["n01440764 tench, Tinca tinca", "daisy"]);
        assert_eq!(set.passed().unwrap().lines(), [""; 0], "the list is used");
        let train = [("train/a.tar/2.png", 1), ("train/b.tar/x/9.png", 1), ("train/b.tar/x/1.png", 0)];
        assert_eq!(names(&set, Split::Train), train.map(|(name, label)| (name.to_owned(), label)));
        let greys: Vec<f32> = [2, 0, 1].map(|index| grey(&set, index).unwrap()).to_vec();
        assert_eq!(greys, [50.0, 40.0, 30.0]);
        // To measure on them needs no training images.
        let alone = Dataset::open_validation(root.path(), Rules::NEWEST).unwrap();
        assert_eq!((alone.len(Split::Train), alone.classes()), (0, set.classes()));
        assert_eq!(alone.passed(), set.passed());
        assert_eq!(names(&alone, Split::Validation), names(&set, Split::Validation));
        fs::remove_file(root.path().join("classes.txt")).unwrap();
        assert_eq!(Dataset::open(root.path(), Rules::NEWEST).unwrap().classes(), ["0", "1"]);
    }

    #[test]
    fn a_list_of_classes_of_any_size_takes_no_memory() {
        let root = three_shards();
        let list = root.path().join(CLASSES);
        if fs::File::create(&list).unwrap().set_len(3 << 40).is_err() {
            return; // this file system has no holes
        }
        let text = Dataset::open(root.path(), Rules::NEWEST).unwrap_err().to_string();
        let expected = format!("class list {}: expected at most 16 MiB, it has 3,072 GiB", list.display());
        assert_eq!(text, expected);
    }

    #[test]
    fn an_unreadable_image_is_named_by_shard_and_name() {
        let root = folder(&[(
            "a.tar",
            tar(&[
                ("bad.jpg", b"<!DOCTYPE html>"),
                ("bad.cls", b"0"),
                ("good.png", &png(9)),
                ("good.cls", b"1"),
            ]),
        )]);
        let set = Dataset::open_validation(root.path(), Rules::NEWEST).unwrap();
        let text = grey(&set, 0).unwrap_err().to_string().replace(&root.path().display().to_string(), "DATA");
        assert_eq!(
            text,
            "DATA/a.tar/bad.jpg: expected a JPEG, PNG, WebP, GIF, BMP or TIFF image, found an HTML page: download the \
             picture again or remove the file"
        );
        assert_eq!(grey(&set, 1).unwrap(), 9.0);
    }

    /// An image falls on the same side in a shard and in a class folder.
    #[test]
    fn shards_alone_are_split_by_the_hash_of_the_name() {
        let keys: Vec<String> = (0..100).map(|key| key.to_string()).collect();
        let samples: Vec<_> =
            keys.iter().enumerate().map(|(i, key)| (key.as_str(), 0, i as u32 % 2)).collect();
        let shards = folder(&[("1.tar", shard(&samples[..50])), ("2.tar", shard(&samples[50..]))]);
        let files: Vec<String> = samples.iter().map(|(key, _, class)| format!("{class}/{key}.png")).collect();
        let files = folder(&files.iter().map(|file| (file.as_str(), Vec::new())).collect::<Vec<_>>());
        let sides = |root: &TempDir, split| {
            let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
            assert_eq!(set.classes(), ["0", "1"]);
            let file = |(name, label): &(String, u32)| (name.split_once('/').unwrap().1.to_owned(), *label);
            names(&set, split).iter().map(file).collect::<BTreeSet<_>>()
        };
        assert_eq!(sides(&shards, Split::Train), sides(&files, Split::Train));
        let aside = sides(&shards, Split::Validation);
        assert_eq!(aside, sides(&files, Split::Validation));
        assert!((10..30).contains(&aside.len()), "{}", aside.len());
    }

    #[test]
    fn the_fingerprint_follows_shards_names_and_classes() {
        let print = |name: &str, samples: &[(&str, u8, u32)]| {
            let files =
                [(&*format!("train/{name}.tar"), shard(samples)), ("val/v.tar", shard(&[("1", 0, 1)]))];
            Dataset::open(folder(&files).path(), Rules::NEWEST).unwrap().fingerprint().clone()
        };
        let base = print("a", &[("1", 0, 0), ("2", 0, 1)]);
        assert_eq!(base, print("a", &[("1", 0, 0), ("2", 0, 1)]));
        assert_eq!((base.images, base.validation), (2, 1));
        for other in [
            print("b", &[("1", 0, 0), ("2", 0, 1)]),
            print("a", &[("1", 0, 0), ("3", 0, 1)]),
            print("a", &[("1", 0, 1), ("2", 0, 1)]),
        ] {
            assert_ne!(base.hash, other.hash);
        }
    }

    /// A lease means the same images to every worker, however many threads it has.
    #[test]
    fn an_epoch_over_shards_is_merged_and_one_over_files_is_not() {
        let keys: Vec<String> = (0..60).map(|key| format!("{key:02}")).collect();
        let samples: Vec<_> =
            keys.iter().zip(0..).map(|(key, i)| (key.as_str(), i, u32::from(i) % 2)).collect();
        let root = folder(&[
            ("train/1.tar", shard(&samples[..7])),
            ("train/2.tar", shard(&samples[7..])),
            ("val/1.tar", shard(&samples[..2])),
        ]);
        let set = Arc::new(Dataset::open(root.path(), Rules::NEWEST).unwrap());
        assert_eq!(set.epoch_order(1, 2), crate::order::merged_order(&[7, 53], 1, 2));
        let files =
            folder(&[("a/0.png", vec![]), ("b/0.png", vec![]), ("b/1.png", vec![]), ("b/4.png", vec![])]);
        let files = Dataset::open(files.path(), Rules::NEWEST).unwrap();
        assert_eq!(files.epoch_order(1, 2), epoch_order(3, 1, 2));

        let minibatches = |threads| {
            let config = LoaderConfig {
                threads,
                size: 4,
                sampling: Sampling::default(),
                preprocessing: Preprocessing::default(),
                crops: None,
                seed: 1,
                batch: 16,
                depth: 2,
                patience: Duration::ZERO,
            };
            let mut loader = Loader::new(Arc::clone(&set), config);
            loader.request(LoaderRange { split: Split::Train, epoch: 2, start: 5, end: 60 });
            std::iter::from_fn(|| loader.next().unwrap()).collect::<Vec<_>>()
        };
        let made = minibatches(1);
        assert_eq!(made, minibatches(8));
        let order: Vec<u32> = made.iter().flat_map(|minibatch| minibatch.samples.clone()).collect();
        assert_eq!(order, set.epoch_order(1, 2)[5..]);
        for (sample, image) in
            order.iter().zip(made.iter().flat_map(|minibatch| minibatch.images.outer_iter()))
        {
            assert_eq!(image[[0, 0, 0]] + crate::MEAN[0], *sample as f32);
        }
    }

    #[test]
    fn every_wrong_folder_of_shards_says_what_was_expected_and_found() {
        let two = || shard(&[("k1", 0, 0), ("k2", 0, 1)]);
        let list = |text: &str| text.as_bytes().to_vec();
        type Files = Vec<(&'static str, Vec<u8>)>;
        let cases: Vec<(Files, &str)> = vec![
            (
                vec![("a.tar", two()), ("roses/1.png", png(0))],
                "data folder DATA has tar shards in DATA and other data in DATA/roses: expected one kind in all of it; \
                 move one of them elsewhere",
            ),
            (
                vec![("train/a.tar", two()), ("train/roses/1.png", png(0)), ("val/a.tar", two())],
                "data folder DATA has tar shards in DATA/train and other data in DATA/train/roses: expected one kind in all \
                 of it; move one of them elsewhere",
            ),
            (
                vec![("train/a.tar", two()), ("val/roses/1.png", png(0))],
                "data folder DATA has tar shards in DATA/train and other data in DATA/val: expected one kind in all of it; \
                 move one of them elsewhere",
            ),
            (
                vec![("train/a.tar", two()), ("train/b.tar", tar(&[])), ("val/a.tar", tar(&[]))],
                "none of the 1 tar shards in DATA/val has a sample: expected members key.jpg (or .jpeg, .png) and key.cls, \
                 the number of its class, one behind the other; found: shard DATA/val/a.tar: no samples in it",
            ),
            (
                vec![(
                    "n01440764.tar",
                    tar(&[("n01440764_18.JPEG", &png(0)), ("n01440764_36.JPEG", &png(0))]),
                )],
                "none of the 1 tar shards in DATA has a sample: expected members key.jpg (or .jpeg, .png) and key.cls, the \
                 number of its class, one behind the other; found: shard DATA/n01440764.tar: 2 of 2 samples left out: \
                 \"n01440764_18\" has no .cls beside its image",
            ),
            (
                vec![("a.tar", shard(&[("k1", 0, 0), ("k2", 0, 2)])), ("classes.txt", list("daisy\nrose"))],
                "DATA/a.tar/k2.png is of class 2: expected less than 2, the lines of DATA/classes.txt; correct its .cls or \
                 the list",
            ),
            (
                vec![("a.tar", shard(&[("k1", 0, 0), ("k2", 0, 100_000)]))],
                "DATA/a.tar/k2.png is of class 100000: expected less than 100000; correct its .cls or the list",
            ),
            (
                vec![("a.tar", two()), ("classes.txt", list("crane\ndaisy\ncrane\n"))],
                "class list DATA/classes.txt: lines 1 and 3 are both \"crane\": expected a name for each class; put what \
                 tells them apart before it",
            ),
            (
                vec![("train/a.tar", two()), ("val/a.tar", shard(&[("k1", 0, 2)]))],
                "class \"2\" is in DATA/val but not in train/: expected every validation class in train/; add training \
                 images or remove it",
            ),
            (
                vec![("a.tar", shard(&[("k1", 0, 0), ("k2", 0, 0)]))],
                "data folder DATA has the one class \"0\": expected at least two",
            ),
        ];
        for (files, message) in cases {
            let root = folder(&files);
            let text = Dataset::open(root.path(), Rules::NEWEST).unwrap_err().to_string();
            assert_eq!(text.replace(&root.path().display().to_string(), "DATA"), message);
        }
    }
}
