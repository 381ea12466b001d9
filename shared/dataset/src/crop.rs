//! Crops: rectangles of an image that become inputs of the network, cut and resized in one step and possibly
//! mirrored.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rand::RngExt;
use settings::random::Random;
use settings::{Interpolation, Sampling};

use crate::evaluation_crops::EvaluationCrop;

/// Returns the resizer's algorithm for an interpolation.
fn algorithm(by: Interpolation) -> ResizeAlg {
    match by {
        Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Interpolation::Area => ResizeAlg::Convolution(FilterType::Box),
        Interpolation::Nearest => ResizeAlg::Nearest,
        Interpolation::Cubic => ResizeAlg::Convolution(FilterType::CatmullRom),
    }
}

/// A crop: a rectangle of an image, in the image's pixels, and whether it is mirrored left to right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Crop {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    mirror: bool,
}

impl Crop {
    /// Draws a random crop of an image.
    ///
    /// The area is drawn first, uniformly; then the aspect ratio, log-uniformly among those that fit with
    /// that area, so that the area stays uniform. An image that is itself longer than the widest aspect ratio
    /// allows has no crop of its whole area: the area is then bounded by the largest crop that it has.
    pub(crate) fn random(random: &mut Random, sampling: &Sampling, width: u32, height: u32) -> Crop {
        let (w, h) = (f64::from(width), f64::from(height));
        let [narrow, wide] = sampling.aspect.map(f64::from);
        let fitting = (w * w / narrow).min(h * h * wide).min(w * h);
        let [least, largest] = sampling.area.map(|share| (f64::from(share) * w * h).min(fitting));
        let area = uniform(random, least, largest);
        let (low, high) = (narrow.max(area / (h * h)), wide.min(w * w / area));
        let ratio = uniform(random, low.ln(), high.ln()).exp();
        let whole = |side: f64, most: u32| (side.round() as u32).clamp(1, most);
        let (w, h) = (whole((area * ratio).sqrt(), width), whole((area / ratio).sqrt(), height));
        let (left, top) = (random.random_range(0..=width - w), random.random_range(0..=height - h));
        let mirror = random.random_bool(0.5) && sampling.mirror;
        Crop { left: left.into(), top: top.into(), width: w.into(), height: h.into(), mirror }
    }

    /// Returns the crop that corresponds to an evaluation crop of an image of `width` x `height` pixels: the
    /// rectangle of the original image from which the square of the resized image is made.
    pub(crate) fn of_evaluation(crop: &EvaluationCrop, width: u32, height: u32) -> Crop {
        let along = |first: u32, resized: u32, length: u32| {
            let (pixel, length) = (f64::from(length) / f64::from(resized), f64::from(length));
            let first = (f64::from(first) * pixel).min(length);
            (first, (f64::from(crop.side) * pixel).min(length - first))
        };
        let (left, width) = along(crop.left, crop.resized[0], width);
        let (top, height) = along(crop.top, crop.resized[1], height);
        Crop { left, top, width, height, mirror: crop.mirror }
    }

    /// Resizes the crop to `size` x `size` pixels and writes it to `out`: planar R, G, B in 0..255,
    /// row-major, as bytes or as numbers.
    pub(crate) fn write<T: From<u8>>(&self, image: &RgbImage, by: Interpolation, size: usize, out: &mut [T]) {
        assert_eq!(out.len(), 3 * size * size, "a sample has 3 x size x size values");
        // Of this one kind of pixel alone: for all kinds that there are, the compiler would take minutes.
        let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
            .expect("an RGB image has three bytes a pixel");
        let mut resized = TypedImage::<U8x3>::new(size as u32, size as u32);
        let options =
            ResizeOptions::new().resize_alg(algorithm(by)).crop(self.left, self.top, self.width, self.height);
        Resizer::new().resize_typed(&source, &mut resized, &options).expect("a crop lies inside its image");
        for (channel, plane) in out.chunks_exact_mut(size * size).enumerate() {
            let rows = plane.chunks_exact_mut(size).zip(resized.pixels().chunks_exact(size));
            for (row, pixels) in rows {
                let values = pixels.iter().map(|pixel| T::from(pixel.0[channel]));
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
    use settings::Resize;

    use crate::evaluation_crops::{Crops, evaluation_crops};
    use image::Rgb;
    use settings::random::stream;

    fn crops(sampling: &Sampling, width: u32, height: u32, count: u64) -> Vec<Crop> {
        (0..count).map(|i| Crop::random(&mut stream(5, "crop", &[i]), sampling, width, height)).collect()
    }

    /// Kolmogorov-Smirnov distance of sorted values in 0..1 from the uniform distribution.
    fn distance_from_uniform(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        values.iter().enumerate().map(|(i, v)| (v - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max)
    }

    /// The distance that 5000 uniform values pass by chance once in a thousand seeds.
    const BY_CHANCE: f64 = 0.0276;

    /// Whole images included, on which few aspect ratios fit: the area is uniform up to its last per cent.
    #[test]
    fn area_is_uniform_from_8_to_100_per_cent() {
        for (width, height) in [(4000, 3000), (3000, 4000), (4000, 4000), (4000, 3500)] {
            let whole = f64::from(width) * f64::from(height);
            let crops = crops(&Sampling::default(), width, height, 5000);
            let share = |crop: &Crop| crop.width * crop.height / whole;
            let distance = distance_from_uniform(crops.iter().map(|c| (share(c) - 0.08) / 0.92).collect());
            assert!(distance < BY_CHANCE, "{width}x{height}: {distance}");
            let mirrored = crops.iter().filter(|crop| crop.mirror).count();
            assert!((2400..2600).contains(&mirrored), "{mirrored}");
        }
    }

    #[test]
    fn aspect_is_log_uniform_where_everything_fits() {
        let sampling = Sampling { area: [0.1, 0.6], ..Sampling::default() };
        let logarithm = |crop: &Crop| ((crop.width / crop.height).ln() / (4.0f64 / 3.0).ln() + 1.0) / 2.0;
        let distance =
            distance_from_uniform(crops(&sampling, 4000, 4000, 5000).iter().map(logarithm).collect());
        assert!(distance < BY_CHANCE, "{distance}");
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
                // Sides are rounded to pixels: half a pixel of each is the slack.
                let (slack_w, slack_h) = (0.5 / crop.width, 0.5 / crop.height);
                let slack = 1.0 + slack_w + slack_h + slack_w * slack_h;
                let (area, aspect) = (crop.width * crop.height / whole, crop.width / crop.height);
                let least = f64::min(0.08, 30.0 * 40.0 / whole);
                assert!(area * slack >= least && area <= slack, "{crop:?}: area {area}");
                let (narrow, wide) = (0.75 / slack, 4.0 / 3.0 * slack);
                assert!((narrow..=wide).contains(&aspect), "{crop:?}: aspect {aspect}");
            }
        }
    }

    #[test]
    fn a_strip_gives_the_largest_crop_that_it_has() {
        let sampling = Sampling { area: [0.9, 1.0], mirror: false, ..Sampling::default() };
        for crop in crops(&sampling, 100, 12, 20) {
            assert_eq!((crop.top, crop.width, crop.height), (0.0, 16.0, 12.0));
        }
        for crop in crops(&sampling, 1, 1, 20) {
            assert_eq!(crop, Crop { left: 0.0, top: 0.0, width: 1.0, height: 1.0, mirror: false });
        }
    }

    #[test]
    fn an_evaluation_crop_is_a_rectangle_of_the_image_itself() {
        let centre = |width, height, size| {
            Crop::of_evaluation(
                &evaluation_crops(Crops::One, Resize::ShorterSide, width, height, size)[0],
                width,
                height,
            )
        };
        // 256 of 512 x 256 at 224: scale 1, the crop 16 and 144 pixels in.
        let crop = centre(512, 256, 224);
        assert_eq!(crop, Crop { left: 144.0, top: 16.0, width: 224.0, height: 224.0, mirror: false });
        // At 64 the shorter side goes to 73: half of the scale of 146.
        let crop = centre(146, 292, 64);
        assert_eq!(crop, Crop { left: 8.0, top: 80.0, width: 128.0, height: 128.0, mirror: false });
    }

    #[test]
    fn every_view_of_an_odd_image_can_be_made() {
        let mut out = vec![7.0f32; 3 * 32 * 32];
        for (width, height) in [(60_000, 1), (1, 1), (3, 7), (33, 32)] {
            let image = RgbImage::from_pixel(width, height, Rgb([123, 117, 105]));
            for crop in evaluation_crops(Crops::All, Resize::ShorterSide, width, height, 32) {
                Crop::of_evaluation(&crop, width, height).write(
                    &image,
                    Interpolation::Bilinear,
                    32,
                    &mut out,
                );
                let planes: Vec<_> = out.chunks_exact(32 * 32).collect();
                let right = planes.iter().zip([123.0, 117.0, 105.0]).all(|(p, v)| p.iter().all(|&x| x == v));
                assert!(right, "{width}x{height}: {crop:?}");
            }
        }
    }

    #[test]
    fn a_crop_is_planar_and_mirrors() {
        let image = RgbImage::from_fn(4, 4, |x, y| Rgb([10 * x as u8, 20 * y as u8, 200]));
        let crop = Crop { left: 1.0, top: 2.0, width: 2.0, height: 2.0, mirror: false };
        let mut out = [0.0f32; 12];
        for by in [Interpolation::Bilinear, Interpolation::Area, Interpolation::Nearest, Interpolation::Cubic]
        {
            crop.write(&image, by, 2, &mut out);
            assert_eq!(out, [10.0, 20.0, 10.0, 20.0, 40.0, 40.0, 60.0, 60.0, 200.0, 200.0, 200.0, 200.0]);
            Crop { mirror: true, ..crop }.write(&image, by, 2, &mut out);
            assert_eq!(out[..4], [20.0, 10.0, 20.0, 10.0]);
        }
    }

    /// Shrinking averages over the whole crop: a checkerboard of single pixels becomes grey, but for the
    /// nearest pixel.
    #[test]
    fn shrinking_passes_over_no_pixel_but_for_nearest() {
        let image = RgbImage::from_fn(64, 64, |x, y| Rgb([if (x + y) % 2 == 0 { 0 } else { 255 }; 3]));
        let whole = Crop { left: 0.0, top: 0.0, width: 64.0, height: 64.0, mirror: false };
        let mut out = vec![0.0f32; 3 * 8 * 8];
        for by in [Interpolation::Bilinear, Interpolation::Area, Interpolation::Cubic] {
            whole.write(&image, by, 8, &mut out);
            assert!(out.iter().all(|v| (v - 127.5).abs() <= 3.0), "{by:?}: {out:?}");
        }
        whole.write(&image, Interpolation::Nearest, 8, &mut out);
        assert!(out.iter().all(|&v| v == 0.0 || v == 255.0), "{out:?}");
    }

    /// Enlarged, the four differ: nearest and area make steps, bilinear a ramp, cubic a ramp that overshoots.
    #[test]
    fn enlarging_tells_the_interpolations_apart() {
        let image = RgbImage::from_fn(4, 4, |x, _| Rgb([if x < 2 { 50 } else { 200 }; 3]));
        let whole = Crop { left: 0.0, top: 0.0, width: 4.0, height: 4.0, mirror: false };
        let row = |by| {
            let mut out = vec![0.0f32; 3 * 16 * 16];
            whole.write(&image, by, 16, &mut out);
            out[..16].to_vec()
        };
        let steps = |row: &[f32]| row.iter().all(|&v| v == 50.0 || v == 200.0);
        assert!(steps(&row(Interpolation::Nearest)) && steps(&row(Interpolation::Area)));
        let [ramp, cubic] = [Interpolation::Bilinear, Interpolation::Cubic].map(row);
        assert!(!steps(&ramp) && ramp.iter().all(|v| (50.0..=200.0).contains(v)), "{ramp:?}");
        assert!(cubic.iter().any(|&v| v < 50.0) && cubic.iter().any(|&v| v > 200.0), "{cubic:?}");
    }
}
