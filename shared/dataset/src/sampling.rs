//! The sampling of training samples from images (paper, section 6), and the preprocessing of images for a
//! trained network.

use std::path::Path;

use image::RgbImage;
use rand::RngExt;
use settings::random::{Random, stream};
use settings::{Interpolation, MEAN, Preprocessing, Sampling};

use crate::crop::Crop;
use crate::decode;
use crate::decode_error::SampleError;
use crate::evaluation_crops::{Crops, evaluation_crops};
use crate::photometric;

/// Writes the sample of `image` that belongs to (`seed`, `epoch`, `index`) to `out`: planar R, G, B in 0..255
/// minus [`MEAN`]. Each kind of random choice has a stream of its own, so that switching one on or off does
/// not change the others.
pub(crate) fn write_sample(
    sampling: &Sampling,
    image: &RgbImage,
    (seed, epoch, index): (u64, u64, u64),
    size: usize,
    out: &mut [f32],
) {
    let stream = |purpose| stream(seed, purpose, &[epoch, index]);
    let crop = Crop::random(&mut stream("crop"), sampling, image.width(), image.height());
    crop.write(image, interpolation(sampling, &mut stream("interpolation")), size, out);
    photometric::distort(sampling, &mut stream("photometric"), &mut stream("lighting"), out);
    subtract(MEAN, out);
}

/// Draws one of the interpolations of `sampling`, all equally probable.
fn interpolation(sampling: &Sampling, random: &mut Random) -> Interpolation {
    sampling.interpolation[random.random_range(0..sampling.interpolation.len())]
}

/// Reads the image file at `path` and writes its centre crop of `size` x `size` pixels to `out`: planar R, G, B
/// in 0..255 minus the mean of `preprocessing`, row-major.
///
/// # Errors
/// If the file cannot be read or cannot be decoded as an image.
///
/// # Panics
/// If `out` is not 3 x `size` x `size` long.
pub fn centre_of_file(
    path: &Path,
    preprocessing: &Preprocessing,
    size: usize,
    out: &mut [f32],
) -> Result<(), SampleError> {
    write_centre(&decode::read(path)?, preprocessing, size, out);
    Ok(())
}

/// Writes the centre crop of an image to `out`: planar R, G, B in 0..255 minus the mean, resized bilinearly.
pub(crate) fn write_centre(image: &RgbImage, preprocessing: &Preprocessing, size: usize, out: &mut [f32]) {
    let (width, height) = image.dimensions();
    let centre = evaluation_crops(Crops::One, preprocessing.resize, width, height, size as u32)[0];
    Crop::of_evaluation(&centre, width, height).write(image, Interpolation::Bilinear, size, out);
    subtract(preprocessing.mean, out);
}

/// Subtracts the mean of each colour from the planes of an input.
pub(crate) fn subtract(mean: [f32; 3], planes: &mut [f32]) {
    let pixels = planes.len() / 3;
    for (plane, mean) in planes.chunks_exact_mut(pixels).zip(mean) {
        plane.iter_mut().for_each(|value| *value -= mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn each_of_four_interpolations_comes_a_quarter_of_the_time() {
        let all =
            [Interpolation::Bilinear, Interpolation::Area, Interpolation::Nearest, Interpolation::Cubic];
        let sampling = Sampling { interpolation: all.to_vec(), ..Sampling::default() };
        for (seed, epoch) in [(1, 0), (2, 7)] {
            let drawn: Vec<_> = (0..4000)
                .map(|index| interpolation(&sampling, &mut stream(seed, "interpolation", &[epoch, index])))
                .collect();
            for by in all {
                // Expected 1000, standard deviation 27.
                let times = drawn.iter().filter(|&&found| found == by).count();
                assert!((880..1120).contains(&times), "{by:?}: {times} of 4000");
            }
        }
        let one = Sampling::default();
        let drawn = |index| interpolation(&one, &mut stream(1, "interpolation", &[0, index]));
        assert!((0..100).all(|index| drawn(index) == Interpolation::Bilinear));
    }

    #[test]
    fn switching_one_choice_leaves_the_others() {
        let image = RgbImage::from_fn(90, 70, |x, y| Rgb([(2 * x) as u8, (3 * y) as u8, (x + y) as u8]));
        let made = |sampling: &Sampling| {
            let mut out = vec![0.0; 3 * 16 * 16];
            write_sample(sampling, &image, (3, 4, 5), 16, &mut out);
            out
        };
        let plain = Sampling::default();
        let lit = Sampling { lighting: 0.1, ..Sampling::default() };
        // Lighting adds the same colour to every pixel: the crop beneath it is the same.
        let (plain, lit) = (made(&plain), made(&lit));
        for (plain, lit) in plain.chunks_exact(256).zip(lit.chunks_exact(256)) {
            let added = lit[0] - plain[0];
            assert!(added != 0.0 && plain.iter().zip(lit).all(|(a, b)| (b - a - added).abs() < 1e-3));
        }
    }
}
