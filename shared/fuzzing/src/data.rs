//! The readers of data folders: of images, tar shards, and the lists beside them.

use std::path::Path;

use dataset::{Dataset, Preprocessing, Rules, Split};

use crate::folder;

/// Side of the crops that are taken of images, in pixels.
const SIDE: usize = 32;
/// Largest number of images that are read of one folder.
const MOST_IMAGES: usize = 8;

/// A tar shard with two samples, of the classes 0 and 1.
const SHARD: &[u8] = include_bytes!("../corpora/tar/two-samples");
/// A list of two synsets, n02119789 and n02100735.
const SYNSETS: &[u8] = include_bytes!("../corpora/synsets/two-synsets");

/// Reads an image file.
pub(crate) fn image(bytes: &[u8]) {
    measure(folder(&[("class/image.jpg", bytes)]).path());
}

/// Reads a tar shard and the images in it.
pub(crate) fn tar(bytes: &[u8]) {
    measure(folder(&[("shard.tar", bytes)]).path());
}

/// Reads the list of synsets of the ILSVRC development kit.
pub(crate) fn synsets(bytes: &[u8]) {
    let home = folder(&[
        ("val/1.jpg", b""),
        ("val/2.jpg", b""),
        ("meta.mat", bytes),
        ("ILSVRC2012_validation_ground_truth.txt", b"1\n2\n"),
    ]);
    measure(home.path());
}

/// Reads the lists that a data folder may contain: names of classes, words of synsets, classes of validation
/// images.
pub(crate) fn lists(bytes: &[u8]) {
    measure(folder(&[("shard.tar", SHARD), ("classes.txt", bytes)]).path());
    measure(folder(&[("n02119789/1.jpg", b""), ("synset_words.txt", bytes)]).path());
    let home = folder(&[
        ("val/1.jpg", b""),
        ("val/2.jpg", b""),
        ("meta.mat", SYNSETS),
        ("ILSVRC2012_validation_ground_truth.txt", bytes),
    ]);
    measure(home.path());
}

/// Opens a folder as validation data and reads its first images.
fn measure(folder: &Path) {
    let Ok(set) = Dataset::open_validation(folder, Rules::NEWEST) else { return };
    let mut out = vec![0.0; 3 * SIDE * SIDE];
    for index in 0..set.len(Split::Validation).min(MOST_IMAGES) {
        let _ = set.validation_sample(index, &Preprocessing::default(), SIDE, &mut out);
    }
}
