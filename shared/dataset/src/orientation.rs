//! The rotation and mirroring of images by their orientation: a camera that is held upright stores its images
//! lying on their side.

use image::RgbImage;
use image::metadata::Orientation;

/// Side in pixels of the tiles by which an image is turned: their rows stay in the cache, in whichever
/// direction they are written.
const TILE: usize = 32;

/// Returns the image upright, rotated and mirrored as `orientation` says.
pub(crate) fn turned(image: RgbImage, orientation: Orientation) -> RgbImage {
    let [width, height] = [image.width() as usize, image.height() as usize];
    let (last_x, last_y) = (width.saturating_sub(1), height.saturating_sub(1));
    // Column and row that a pixel goes to.
    let place = |x: usize, y: usize| match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (last_x - x, y),
        Orientation::Rotate180 => (last_x - x, last_y - y),
        Orientation::FlipVertical => (x, last_y - y),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate90 => (last_y - y, x),
        Orientation::Rotate270FlipH => (last_y - y, last_x - x),
        Orientation::Rotate270 => (y, last_x - x),
    };
    let lies = match orientation {
        Orientation::NoTransforms => return image,
        Orientation::FlipHorizontal | Orientation::Rotate180 | Orientation::FlipVertical => false,
        Orientation::Rotate90FlipH
        | Orientation::Rotate90
        | Orientation::Rotate270FlipH
        | Orientation::Rotate270 => true,
    };
    let [columns, rows] = if lies { [height, width] } else { [width, height] };
    let mut turned = RgbImage::new(columns as u32, rows as u32);
    let (from, to) = (image.as_raw().as_chunks::<3>().0, turned.as_chunks_mut::<3>().0);
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for y in top..height.min(top + TILE) {
                for x in left..width.min(left + TILE) {
                    let (column, row) = place(x, y);
                    to[row * columns + column] = from[y * width + x];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, Rgb};

    /// Each way, beside what the library's own slower code makes, at sizes below, at and above those of the
    /// squares.
    #[test]
    fn each_orientation_puts_every_pixel_in_its_place() {
        for (width, height) in [(1, 1), (3, 2), (32, 64), (33, 70), (97, 5)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
            for value in 1..=8 {
                let orientation = Orientation::from_exif(value).unwrap();
                let mut expected = DynamicImage::from(image.clone());
                expected.apply_orientation(orientation);
                assert_eq!(turned(image.clone(), orientation), expected.into_rgb8(), "orientation {value}");
            }
        }
    }
}
