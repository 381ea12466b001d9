//! Contact sheets, which show the training samples that are made from a few images.

use std::io::Cursor;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use settings::{MEAN, Sampling};

use crate::dataset::Dataset;
use crate::decode_error::SampleError;
use crate::split::Split;

/// Width of the white gap between samples, in pixels.
const GAP: u32 = 4;

/// A contact sheet, which is an image that shows training samples in a grid, and the time that making these
/// samples took.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The contact sheet, a grid of training samples, as the bytes of a PNG file.
    pub png: Vec<u8>,
    /// Width and height of the sheet in pixels.
    pub size: [u32; 2],
    /// Names of the images whose samples the rows show, from the top.
    pub images: Vec<String>,
    /// Time that it took on one thread to read the images and make their samples; drawing the sheet is not
    /// included.
    pub elapsed: Duration,
}

impl Dataset {
    /// Draws a contact sheet, which is an image that shows training samples in a grid. It has a row for each
    /// of `images` images, spread evenly over the training split, and a column for each of the first `epochs`
    /// epochs.
    ///
    /// The samples are those on which a run with this seed trains at inputs of `size` x `size` pixels, with
    /// [`MEAN`](crate::MEAN) added back and values clipped to 0..255.
    ///
    /// # Errors
    /// If an image cannot be read; the error is about the first such image.
    pub fn contact_sheet(
        &self,
        images: usize,
        epochs: u64,
        seed: u64,
        sampling: &Sampling,
        size: usize,
    ) -> Result<Sheet, SampleError> {
        let images = images.min(self.len(Split::Train));
        let step = size as u32 + GAP;
        let mut sheet =
            RgbImage::from_pixel(GAP + epochs as u32 * step, GAP + images as u32 * step, Rgb([255; 3]));
        let mut sample = vec![0.0; 3 * size * size];
        let (mut names, mut elapsed) = (Vec::new(), Duration::ZERO);
        for row in 0..images {
            let index = row * self.len(Split::Train) / images;
            for epoch in 0..epochs {
                let start = Instant::now();
                self.training_sample(index, epoch, seed, sampling, size, &mut sample)?;
                elapsed += start.elapsed();
                let (left, top) = (GAP + epoch as u32 * step, GAP + row as u32 * step);
                for pixel in 0..size * size {
                    let value = |channel: usize| sample[channel * size * size + pixel] + MEAN[channel];
                    let colour = Rgb([0, 1, 2].map(|channel| value(channel).round().clamp(0.0, 255.0) as u8));
                    sheet.put_pixel(left + (pixel % size) as u32, top + (pixel / size) as u32, colour);
                }
            }
            names.push(self.name(Split::Train, index));
        }
        let mut png = Cursor::new(Vec::new());
        sheet.write_to(&mut png, ImageFormat::Png).expect("memory takes what is written");
        let size = sheet.dimensions().into();
        Ok(Sheet { png: png.into_inner(), size, images: names, elapsed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_shows_the_samples_of_a_run() {
        let (size, set) = (32, Dataset::synthetic(30, 10, 32));
        let sheet = set.contact_sheet(3, 2, 5, &Sampling::default(), size).unwrap();
        assert_eq!(sheet.images, ["drawn/0", "drawn/10", "drawn/20"]);
        let picture = image::load_from_memory(&sheet.png).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (4 + 2 * 36, 4 + 3 * 36));
        // The second row's second sample, at its lower right corner.
        let mut sample = vec![0.0; 3 * size * size];
        set.training_sample(10, 1, 5, &Sampling::default(), size, &mut sample).unwrap();
        let corner = [0, 1, 2].map(|channel| (sample[(channel + 1) * size * size - 1] + MEAN[channel]) as u8);
        assert_eq!(picture.get_pixel(4 + 36 + 31, 4 + 36 + 31).0, corner);
        assert_eq!(picture.get_pixel(3, 3).0, [255; 3]);
    }
}
