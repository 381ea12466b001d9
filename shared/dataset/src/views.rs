//! The views of an image, which are its evaluation crops as inputs of a network: each once, however many crops
//! are equal to it, and as bytes, since as numbers they would take four times the memory.

use image::RgbImage;
use settings::{Interpolation, Preprocessing};

use crate::crop::Crop;
use crate::evaluation_crops::{Crops, distinct, evaluation_crops};
use crate::sampling::subtract;

/// The distinct views of one image, in the order of its evaluation crops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Views {
    /// The pixels of each view: planar R, G, B, row-major.
    pixels: Vec<u8>,
    counts: Vec<u32>,
    /// Side of a view in pixels.
    size: usize,
}

impl Views {
    /// Makes the views of an image for inputs of `size` x `size` pixels, resized bilinearly.
    pub(crate) fn of(image: &RgbImage, crops: Crops, preprocessing: &Preprocessing, size: usize) -> Views {
        let (width, height) = image.dimensions();
        let crops = distinct(&evaluation_crops(crops, preprocessing.resize, width, height, size as u32));
        let mut pixels = vec![0; crops.len() * 3 * size * size];
        for ((crop, _), out) in crops.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
            Crop::of_evaluation(crop, width, height).write(image, Interpolation::Bilinear, size, out);
        }
        Views { pixels, counts: crops.into_iter().map(|(_, count)| count).collect(), size }
    }

    /// Returns for each view the number of crops that are equal to it; at least one. Together they are 1, 10 or
    /// 144.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Writes a view to `out`: planar R, G, B in 0..255 minus `mean`, row-major.
    ///
    /// # Panics
    /// If there are not so many views, or if `out` is not 3 x size x size long.
    pub fn write(&self, view: usize, mean: [f32; 3], out: &mut [f32]) {
        let values = 3 * self.size * self.size;
        assert_eq!(out.len(), values, "a view has 3 x size x size values");
        let pixels = &self.pixels[view * values..][..values];
        out.iter_mut().zip(pixels).for_each(|(out, &value)| *out = f32::from(value));
        subtract(mean, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use settings::Resize;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(3 * x) as u8, (5 * y) as u8, (x * y) as u8]))
    }

    #[test]
    fn views_are_the_crops_that_differ_in_their_order() {
        for (resize, width, height) in [(Resize::ShorterSide, 50, 33), (Resize::Square, 50, 33)] {
            let (image, preprocessing) =
                (picture(width, height), Preprocessing { resize, ..Default::default() });
            let views = Views::of(&image, Crops::All, &preprocessing, 32);
            let crops = evaluation_crops(Crops::All, resize, width, height, 32);
            let mut made: Vec<Vec<f32>> = Vec::new();
            for crop in crops {
                let mut out = vec![0.0; 3 * 32 * 32];
                Crop::of_evaluation(&crop, width, height).write(
                    &image,
                    Interpolation::Bilinear,
                    32,
                    &mut out,
                );
                subtract(preprocessing.mean, &mut out);
                made.push(out);
            }
            // Every crop is a view, and a view of several crops is as many of them, to the last bit.
            let mut covered = 0;
            for (view, &count) in views.counts().iter().enumerate() {
                let mut found = vec![0.0; 3 * 32 * 32];
                views.write(view, preprocessing.mean, &mut found);
                let equal = made.iter().filter(|crop| **crop == found).count();
                assert!(
                    equal >= count as usize,
                    "{resize:?}: view {view} of {count} crops is {equal} of them"
                );
                covered += count;
            }
            assert_eq!(covered, 144);
        }
    }

    #[test]
    fn every_view_has_its_networks_mean_subtracted() {
        let image = RgbImage::from_pixel(40, 30, Rgb([100, 110, 120]));
        let preprocessing = Preprocessing { mean: [1.0, 2.0, 3.0], resize: Resize::Square };
        let views = Views::of(&image, Crops::Ten, &preprocessing, 32);
        for view in 0..10 {
            let mut out = vec![0.0; 3 * 32 * 32];
            views.write(view, preprocessing.mean, &mut out);
            let planes = out.chunks_exact(32 * 32);
            assert!(planes.zip([99.0, 108.0, 117.0]).all(|(plane, v)| plane.iter().all(|&x| x == v)));
        }
    }
}
