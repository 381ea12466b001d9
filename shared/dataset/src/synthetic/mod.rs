//! The synthetic set, whose images the program generates itself, so that it can be tried without any
//! download.
//!
//! It has ten classes: five outlines, each filled with one of two textures. Only outline and texture together
//! tell the class: position, size, rotation, proportions, colours, light, clutter and noise are drawn at
//! random from the same distribution for every class, and all outlines have the same area.

mod canvas;
mod colour;
mod object;

use image::RgbImage;
use rand::RngExt;

use crate::evaluation_crops::first_scale;
use crate::split::Split;
use canvas::Canvas;
use object::{Object, Outline, Texture};
use settings::random::{Random, stream};

/// Version of the images, which changes when they do, so that the fingerprint changes too.
pub(crate) const EDITION: &str = "drawn-1";

/// The images of both splits, generated on demand.
#[derive(Debug)]
pub(crate) struct Synthetic {
    side: usize,
}

impl Synthetic {
    /// Creates the set for crops of `size` pixels; its images also have the margin that the validation crop
    /// cuts off.
    pub(crate) fn new(size: usize) -> Synthetic {
        Synthetic { side: first_scale(size) }
    }

    /// Returns the width of an image in pixels, which is also its height.
    pub(crate) fn side(&self) -> usize {
        self.side
    }

    /// Returns the names of the classes.
    pub(crate) fn classes() -> Vec<String> {
        let names =
            |texture: Texture| Outline::ALL.map(|outline| format!("{} {}", texture.name(), outline.name()));
        Texture::ALL.into_iter().flat_map(names).collect()
    }

    /// Returns the label of image `index`. Classes take turns, so that any ten consecutive images have each
    /// class once.
    pub(crate) fn label(index: usize) -> u32 {
        (index % (Texture::ALL.len() * Outline::ALL.len())) as u32
    }

    /// Generates image `index` of a split, which is always the same.
    pub(crate) fn picture(&self, split: Split, index: usize) -> RgbImage {
        let purpose = match split {
            Split::Train => "drawn training picture",
            Split::Validation => "drawn validation picture",
        };
        let mut random = stream(0, purpose, &[index as u64]);
        self.draw(&mut random, Self::label(index) as usize)
    }

    fn draw(&self, random: &mut Random, label: usize) -> RgbImage {
        let side = self.side as f32;
        let palette = colour::palette(random);
        let mut canvas = Canvas::new(self.side, palette.background);
        canvas.wave(random, 10.0);
        for _ in 0..random.random_range(2..6) {
            canvas.blot(random);
        }
        for _ in 0..random.random_range(0..3) {
            canvas.stroke(random);
        }
        let outline = Outline::ALL[label % Outline::ALL.len()];
        let texture = Texture::ALL[label / Outline::ALL.len()];
        let object = Object::random(random, outline, texture, side);
        canvas.paint(object.bounds(), |x, y| object.at(x, y, palette.object));
        if random.random_bool(0.2) {
            canvas.stroke(random); // in front
        }
        canvas.finish(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ten_classes_with_names_of_their_own() {
        let names = Synthetic::classes();
        assert_eq!(names.len(), 10);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 10);
        assert_eq!(names[0], "striped disc");
        assert_eq!((0..10).map(Synthetic::label).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_picture_belongs_to_its_split_and_index() {
        let drawn = Synthetic::new(32);
        let picture = drawn.picture(Split::Train, 3);
        assert_eq!(picture.dimensions(), (37, 37));
        assert_eq!(picture, drawn.picture(Split::Train, 3));
        assert_ne!(picture, drawn.picture(Split::Train, 13));
        assert_ne!(picture, drawn.picture(Split::Validation, 3));
    }
}
