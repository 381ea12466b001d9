//! A set that a small network learns within seconds, as far as it can be learnt: each class has its colour,
//! but a picture's differs from it so much that some could be of another class. So the loss at the end has a
//! floor, and is worth comparing.

use std::path::Path;

use image::{Rgb, RgbImage};
use rand::RngExt;
use settings::random::{self, Random};

const SIDE: u32 = 40;
const COLOURS: [(&str, [f32; 3]); 4] = [
    ("blue", [70.0, 70.0, 180.0]),
    ("green", [70.0, 180.0, 70.0]),
    ("grey", [120.0, 120.0, 120.0]),
    ("red", [180.0, 70.0, 70.0]),
];
/// Standard deviation of a picture's colour in each channel; two classes are 93 or 156 apart.
const SPREAD: f32 = 45.0;
/// Largest difference of a pixel's channel from the picture's.
const GRAIN: f32 = 48.0;

/// Training images of the set.
pub const IMAGES: u64 = 2000;
const VALIDATION: u64 = 500;

/// Writes the set into `folder`.
pub fn write(folder: &Path) {
    for (split, images) in [("train", IMAGES), ("val", VALIDATION)] {
        for index in 0..images {
            let (class, colour) = COLOURS[index as usize % COLOURS.len()];
            let mut random = random::stream(1, split, &[index]);
            let colour = colour.map(|channel| channel + SPREAD * normal(&mut random));
            let picture = RgbImage::from_fn(SIDE, SIDE, |_, _| {
                Rgb(colour
                    .map(|channel| (channel + random.random_range(-GRAIN..GRAIN)).clamp(0.0, 255.0) as u8))
            });
            let class = folder.join(split).join(class);
            std::fs::create_dir_all(&class).unwrap();
            picture.save(class.join(format!("{index}.png"))).unwrap();
        }
    }
}

/// Close to a standard normal number: the sum of twelve uniform ones.
fn normal(random: &mut Random) -> f32 {
    (0..12).map(|_| random.random_range(-0.5..0.5f32)).sum()
}
