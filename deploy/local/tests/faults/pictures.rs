//! A set that a small network learns within seconds: each class has its colour, under noise.

use std::path::Path;

use image::{Rgb, RgbImage};
use parameters::random;
use rand::Rng;

const SIDE: u32 = 40;
const COLOURS: [(&str, [i32; 3]); 4] =
    [("blue", [60, 60, 190]), ("green", [60, 190, 60]), ("grey", [120, 120, 120]), ("red", [190, 60, 60])];

/// Training images of the set.
pub const IMAGES: u64 = 400;
const VALIDATION: u64 = 80;

/// Writes the set into `folder`.
pub fn write(folder: &Path) {
    for (split, images) in [("train", IMAGES), ("val", VALIDATION)] {
        for index in 0..images {
            let (class, colour) = COLOURS[index as usize % COLOURS.len()];
            let mut noise = random::stream(1, split, &[index]);
            let picture = RgbImage::from_fn(SIDE, SIDE, |_, _| {
                let word = noise.next_u32();
                let channel =
                    |at: usize| (colour[at] + (word >> (8 * at) & 127) as i32 - 64).clamp(0, 255) as u8;
                Rgb([channel(0), channel(1), channel(2)])
            });
            let class = folder.join(split).join(class);
            std::fs::create_dir_all(&class).unwrap();
            picture.save(class.join(format!("{index}.png"))).unwrap();
        }
    }
}
