//! From a decoded image to network input: random crop and mirror for training, centre crop for validation.
//!
//! Crop and resize are one step: bilinear, with a support that grows when it shrinks the image, so that no pixel of
//! the crop is passed over.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rand::RngExt;

use crate::random::Random;

/// Mean of R, G and B that is subtracted from every pixel (0..255, not scaled).
pub const MEAN: [f32; 3] = [123.0, 117.0, 104.0];

/// How training crops are drawn (paper, section 6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Least and largest share of the image's area, drawn uniformly.
    pub area: [f32; 2],
    /// Least and largest aspect ratio (width / height), drawn log-uniformly.
    pub aspect: [f32; 2],
    /// Whether half of the crops are mirrored left to right.
    pub mirror: bool,
}

impl Default for Sampling {
    /// Area 8 to 100 %, aspect 3/4 to 4/3, mirrored: the paper's prescription.
    fn default() -> Self {
        Sampling { area: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0], mirror: true }
    }
}

/// A crop that does not fit the image is drawn again, this often.
const ATTEMPTS: usize = 10;

/// The shorter side of a validation image is to its crop as 256 is to 224.
pub(crate) fn validation_side(size: usize) -> usize {
    (size as f64 * 256.0 / 224.0).round() as usize
}

/// A rectangle of an image, in its pixels, and whether it is mirrored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Crop {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    mirror: bool,
}

impl Crop {
    /// A random crop of an image; the centre square where no attempt fits.
    pub(crate) fn random(random: &mut Random, sampling: &Sampling, width: u32, height: u32) -> Crop {
        let [least, largest] = sampling.area.map(f64::from);
        let [narrow, wide] = sampling.aspect.map(|ratio| f64::from(ratio).ln());
        let fitting = (0..ATTEMPTS).find_map(|_| {
            let area = f64::from(width) * f64::from(height) * uniform(random, least, largest);
            let ratio = uniform(random, narrow, wide).exp();
            let (w, h) = ((area * ratio).sqrt().round() as u32, (area / ratio).sqrt().round() as u32);
            let fits = (1..=width).contains(&w) && (1..=height).contains(&h);
            fits.then(|| (random.random_range(0..=width - w), random.random_range(0..=height - h), w, h))
        });
        let (left, top, w, h) = fitting.unwrap_or_else(|| {
            let side = width.min(height);
            ((width - side) / 2, (height - side) / 2, side, side)
        });
        let mirror = random.random_bool(0.5) && sampling.mirror;
        Crop { left: left.into(), top: top.into(), width: w.into(), height: h.into(), mirror }
    }

    /// The centre crop of an image whose shorter side would be resized to [`validation_side`]: the same rectangle
    /// in the pixels of the image itself.
    pub(crate) fn centre(width: u32, height: u32, size: usize) -> Crop {
        let scale = validation_side(size) as f64 / f64::from(width.min(height));
        let along = |length: u32| {
            let resized = (f64::from(length) * scale).round().max(size as f64);
            let pixel = f64::from(length) / resized;
            (((resized - size as f64) / 2.0).floor() * pixel, size as f64 * pixel)
        };
        let ((left, width), (top, height)) = (along(width), along(height));
        Crop { left, top, width, height, mirror: false }
    }

    /// Resizes the crop to `size` x `size` and writes it to `out`: planar R, G, B minus [`MEAN`].
    pub(crate) fn write(&self, image: &RgbImage, size: usize, out: &mut [f32]) {
        assert_eq!(out.len(), 3 * size * size, "a sample has 3 x size x size values");
        let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
            .expect("an RGB image has three bytes a pixel");
        let mut resized = Image::new(size as u32, size as u32, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            self.left,
            self.top,
            self.width,
            self.height,
        );
        Resizer::new().resize(&source, &mut resized, &options).expect("a crop lies inside its image");
        for (channel, (plane, mean)) in out.chunks_exact_mut(size * size).zip(MEAN).enumerate() {
            let rows = plane.chunks_exact_mut(size).zip(resized.buffer().chunks_exact(3 * size));
            for (row, pixels) in rows {
                let values = pixels.chunks_exact(3).map(|pixel| f32::from(pixel[channel]) - mean);
                if self.mirror {
                    row.iter_mut().rev().zip(values).for_each(|(out, value)| *out = value);
                } else {
                    row.iter_mut().zip(values).for_each(|(out, value)| *out = value);
                }
            }
        }
    }
}

fn uniform(random: &mut Random, low: f64, high: f64) -> f64 {
    low + (high - low) * random.random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use image::Rgb;

    fn crops(sampling: &Sampling, width: u32, height: u32, count: u64) -> Vec<Crop> {
        (0..count).map(|i| Crop::random(&mut stream(5, "crop", &[i]), sampling, width, height)).collect()
    }

    /// Kolmogorov-Smirnov distance of sorted values in 0..1 from the uniform distribution.
    fn distance_from_uniform(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        values.iter().enumerate().map(|(i, v)| (v - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn area_is_uniform_and_aspect_log_uniform() {
        // Up to 60 % of the area every aspect ratio fits a square image, so nothing is drawn again.
        let sampling = Sampling { area: [0.1, 0.6], ..Sampling::default() };
        let crops = crops(&sampling, 4000, 4000, 5000);
        let areas = crops.iter().map(|c| (c.width * c.height / 16e6 - 0.1) / 0.5).collect();
        let aspects = crops
            .iter()
            .map(|c| ((c.width / c.height).ln() - 0.75f64.ln()) / ((4.0f64 / 3.0).ln() - 0.75f64.ln()))
            .collect();
        // 1.95 / sqrt(5000) = 0.0276 is passed by chance once in a thousand seeds.
        for (name, distance) in
            [("area", areas), ("aspect", aspects)].map(|(n, v)| (n, distance_from_uniform(v)))
        {
            assert!(distance < 0.0276, "{name}: {distance}");
        }
        let mirrored = crops.iter().filter(|c| c.mirror).count();
        assert!((2400..2600).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn every_crop_lies_inside_and_keeps_its_bounds() {
        let sampling = Sampling::default();
        for (width, height) in [(500, 375), (320, 240), (37, 64), (1000, 30)] {
            let whole = f64::from(width) * f64::from(height);
            for crop in crops(&sampling, width, height, 1000) {
                let inside =
                    crop.left + crop.width <= width.into() && crop.top + crop.height <= height.into();
                assert!(inside, "{crop:?} of {width}x{height}");
                let fallback = crop.width == crop.height && crop.width == f64::from(width.min(height));
                // Sides are rounded to pixels: half a pixel of each is the slack.
                let (slack_w, slack_h) = (0.5 / crop.width, 0.5 / crop.height);
                let slack = 1.0 + slack_w + slack_h + slack_w * slack_h;
                let (area, aspect) = (crop.width * crop.height / whole, crop.width / crop.height);
                assert!(fallback || (area * slack >= 0.08 && area <= slack), "{crop:?}: area {area}");
                let (narrow, wide) = (0.75 / slack, 4.0 / 3.0 * slack);
                assert!((narrow..=wide).contains(&aspect), "{crop:?}: aspect {aspect}");
            }
        }
    }

    #[test]
    fn a_strip_falls_back_to_its_centre_square() {
        let sampling = Sampling { area: [0.9, 1.0], mirror: false, ..Sampling::default() };
        for crop in crops(&sampling, 100, 11, 20) {
            assert_eq!(crop, Crop { left: 44.0, top: 0.0, width: 11.0, height: 11.0, mirror: false });
        }
    }

    #[test]
    fn validation_takes_the_centre_of_the_shorter_side() {
        // 256 of 512 x 256 at 224: scale 1, the crop 16 and 144 pixels in.
        let crop = Crop::centre(512, 256, 224);
        assert_eq!(crop, Crop { left: 144.0, top: 16.0, width: 224.0, height: 224.0, mirror: false });
        // At 64 the shorter side goes to 73: half of the scale of 146.
        let crop = Crop::centre(146, 292, 64);
        assert_eq!(crop, Crop { left: 8.0, top: 82.0, width: 128.0, height: 128.0, mirror: false });
    }

    #[test]
    fn even_a_line_of_pixels_has_a_centre() {
        let image = RgbImage::from_pixel(60_000, 1, Rgb([123, 117, 105]));
        let mut out = vec![7.0; 3 * 32 * 32];
        Crop::centre(60_000, 1, 32).write(&image, 32, &mut out);
        assert!(out[..2 * 32 * 32].iter().all(|&v| v == 0.0) && out[2 * 32 * 32..].iter().all(|&v| v == 1.0));
    }

    #[test]
    fn a_crop_is_planar_minus_mean_and_mirrors() {
        let image = RgbImage::from_fn(4, 4, |x, y| Rgb([10 * x as u8, 20 * y as u8, 200]));
        let crop = Crop { left: 1.0, top: 2.0, width: 2.0, height: 2.0, mirror: false };
        let mut out = [0.0; 12];
        crop.write(&image, 2, &mut out);
        assert_eq!(out[..4], [10.0 - 123.0, 20.0 - 123.0, 10.0 - 123.0, 20.0 - 123.0]);
        assert_eq!(out[4..8], [40.0 - 117.0, 40.0 - 117.0, 60.0 - 117.0, 60.0 - 117.0]);
        assert_eq!(out[8..], [200.0 - 104.0; 4]);
        Crop { mirror: true, ..crop }.write(&image, 2, &mut out);
        assert_eq!(out[..4], [20.0 - 123.0, 10.0 - 123.0, 20.0 - 123.0, 10.0 - 123.0]);
    }

    /// Shrinking averages over the whole crop: a checkerboard of single pixels becomes grey, not black or white.
    #[test]
    fn shrinking_passes_over_no_pixel() {
        let image = RgbImage::from_fn(64, 64, |x, y| Rgb([if (x + y) % 2 == 0 { 0 } else { 255 }; 3]));
        let mut out = vec![0.0; 3 * 8 * 8];
        Crop { left: 0.0, top: 0.0, width: 64.0, height: 64.0, mirror: false }.write(&image, 8, &mut out);
        assert!(out[..64].iter().all(|v| (v + 123.0 - 127.5).abs() <= 3.0), "{out:?}");
    }
}
