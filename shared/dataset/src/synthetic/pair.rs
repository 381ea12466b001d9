//! Pairs: two objects in one image, one above the other. Their order does not change when an image is
//! mirrored.

use image::{GenericImage as _, RgbImage, imageops};

use super::OBJECTS;

/// Returns the names of the pairs of `objects`: those with the first object above come first.
pub(super) fn classes(objects: &[String]) -> Vec<String> {
    let above = |upper| objects.iter().map(move |lower| format!("{upper} above {lower}"));
    objects.iter().flat_map(above).collect()
}

/// Returns the numbers of the two images of one object that pair `index` is made of, the upper one first. No
/// two pairs have one in common.
pub(super) fn objects(index: usize) -> [usize; 2] {
    let label = index % (OBJECTS * OBJECTS);
    [2 * index * OBJECTS + label / OBJECTS, (2 * index + 1) * OBJECTS + label % OBJECTS]
}

/// Puts two images of one size, in half of their height, one above the other.
pub(super) fn stack(upper: &RgbImage, lower: &RgbImage) -> RgbImage {
    let (width, height) = upper.dimensions();
    let mut stacked = RgbImage::new(width, height);
    for (image, from, to) in [(upper, 0, height / 2), (lower, height / 2, height)] {
        let half = imageops::resize(image, width, to - from, imageops::FilterType::Triangle);
        stacked.copy_from(&half, 0, from).expect("both halves fit the image");
    }
    stacked
}
