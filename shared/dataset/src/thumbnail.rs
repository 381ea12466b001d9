//! Thumbnails of images, as JPEG files in memory.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};

use crate::dataset::Dataset;
use crate::decode_error::SampleError;
use crate::split::Split;

/// Quality of the JPEG files, of 1 to 100.
const QUALITY: u8 = 80;

/// A small picture of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The picture as the bytes of a JPEG file.
    pub jpeg: Vec<u8>,
}

impl Dataset {
    /// Makes a small picture of sample `index` of a split, neither side longer than `side` pixels, of which there
    /// must be at least one. The aspect ratio is kept as far as a side of one pixel allows, and an image that is
    /// small already keeps its size.
    ///
    /// # Errors
    /// If the image cannot be read.
    ///
    /// # Panics
    /// If `index` is not in the split.
    pub fn thumbnail(&self, split: Split, index: usize, side: u32) -> Result<Thumbnail, SampleError> {
        Ok(thumbnail(&self.image(split, index)?, side))
    }
}

/// Makes a small picture of `image`, neither side longer than `side` pixels.
pub(crate) fn thumbnail(image: &RgbImage, side: u32) -> Thumbnail {
    let scale = (f64::from(side) / f64::from(image.width().max(image.height()))).min(1.0);
    let [width, height] =
        [image.width(), image.height()].map(|length| ((f64::from(length) * scale).round() as u32).max(1));
    // Of this one kind of pixel alone: for all kinds that there are, the compiler would take minutes.
    let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
        .expect("an RGB image has three bytes a pixel");
    let mut small = TypedImage::<U8x3>::new(width, height);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize_typed(&source, &mut small, &options).expect("both pictures have pixels");
    let pixels: Vec<u8> = small.pixels().iter().flat_map(|pixel| pixel.0).collect();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&pixels, width, height, ExtendedColorType::Rgb8)
        .expect("memory takes what is written");
    Thumbnail { width, height, jpeg }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_thumbnail_fits_its_side_and_shows_the_image() {
        for ((width, height), expected) in [
            ((400, 300), (160, 120)),
            ((300, 400), (120, 160)),
            ((32, 20), (32, 20)),
            ((160, 160), (160, 160)),
            ((60_000, 1), (160, 1)),
            ((1, 1), (1, 1)),
        ] {
            let image = RgbImage::from_fn(width, height, |x, _| {
                if x < width.div_ceil(2) { Rgb([200, 40, 40]) } else { Rgb([40, 40, 200]) }
            });
            let found = thumbnail(&image, 160);
            assert_eq!((found.width, found.height), expected, "{width}x{height}");
            let shown = image::load_from_memory(&found.jpeg).unwrap().into_rgb8();
            assert_eq!(shown.dimensions(), expected);
            let near = |a: u8, b: u8| a.abs_diff(b) < 30;
            assert!(near(shown.get_pixel(0, 0)[0], 200), "{width}x{height}");
            if width > 1 {
                assert!(near(shown.get_pixel(expected.0 - 1, 0)[2], 200), "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_file_that_is_gone_is_an_error_and_a_drawn_picture_is_not() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("a")).unwrap();
        std::fs::write(home.path().join("a/1.jpg"), "nothing").unwrap();
        let set = Dataset::open_validation(home.path(), crate::Rules::NEWEST).unwrap();
        let error = set.thumbnail(Split::Validation, 0, 160).unwrap_err();
        assert!(error.to_string().contains("1.jpg"), "{error}");
        let drawn = Dataset::synthetic(10, 10, 48).thumbnail(Split::Validation, 3, 40).unwrap();
        assert!(drawn.width == 40 || drawn.height == 40);
    }
}
