//! The synthetic set, whose images the program generates itself, so that it can be tried without any
//! download.
//!
//! It has ten classes: five outlines, each filled with one of two textures. Only outline and texture together
//! tell the class: position, size, rotation, proportions, colours, light, clutter and noise are drawn at
//! random from the same distribution for every class, and all outlines have the same area.

mod canvas;
mod colour;
mod object;
mod pair;

use image::RgbImage;
use rand::RngExt;

use crate::evaluation_crops::first_scale;
use crate::split::Split;
use canvas::Canvas;
use object::{Object, Outline, Texture};
use settings::random::{Random, stream};

/// Number of different objects.
const OBJECTS: usize = Texture::ALL.len() * Outline::ALL.len();

/// Version of the images, which changes when they do, so that the fingerprint changes too.
const EDITION: &str = "drawn-1";

/// What each image of the synthetic set shows: one object, or a pair of them. The objects decide its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One object, a shape with a texture. There are ten classes, one for each object.
    Object,
    /// Two objects, one above the other, each squeezed to half of its height. There are a hundred classes,
    /// one for each pair of an upper and a lower object.
    Pair,
}

/// The images of both splits, generated on demand.
#[derive(Debug)]
pub(crate) struct Synthetic {
    side: usize,
    scene: Scene,
}

impl Synthetic {
    /// Creates the set for crops of `size` pixels; its images also have the margin that the validation crop
    /// cuts off.
    pub(crate) fn new(size: usize, scene: Scene) -> Synthetic {
        Synthetic { side: first_scale(size), scene }
    }

    /// Returns a text that differs where the images do.
    pub(crate) fn edition(&self) -> String {
        match self.scene {
            Scene::Object => format!("{EDITION} {}", self.side),
            Scene::Pair => format!("{EDITION} pairs {}", self.side),
        }
    }

    /// Returns the names of the classes.
    pub(crate) fn classes(&self) -> Vec<String> {
        let names =
            |texture: Texture| Outline::ALL.map(|outline| format!("{} {}", texture.name(), outline.name()));
        let objects: Vec<String> = Texture::ALL.into_iter().flat_map(names).collect();
        match self.scene {
            Scene::Object => objects,
            Scene::Pair => pair::classes(&objects),
        }
    }

    /// Returns the label of image `index`. Classes take turns, so that as many consecutive images as there
    /// are classes have each class once.
    pub(crate) fn label(&self, index: usize) -> u32 {
        match self.scene {
            Scene::Object => (index % OBJECTS) as u32,
            Scene::Pair => (index % (OBJECTS * OBJECTS)) as u32,
        }
    }

    /// Generates image `index` of a split, which is always the same.
    pub(crate) fn picture(&self, split: Split, index: usize) -> RgbImage {
        match self.scene {
            Scene::Object => self.object(split, index),
            Scene::Pair => {
                let [upper, lower] = pair::objects(index);
                pair::stack(&self.object(split, upper), &self.object(split, lower))
            }
        }
    }

    /// Generates image `index` of one object.
    fn object(&self, split: Split, index: usize) -> RgbImage {
        let purpose = match split {
            Split::Train => "drawn training picture",
            Split::Validation => "drawn validation picture",
        };
        let mut random = stream(0, purpose, &[index as u64]);
        self.draw(&mut random, index % OBJECTS)
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
        let drawn = Synthetic::new(32, Scene::Object);
        let names = drawn.classes();
        assert_eq!(names.len(), 10);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 10);
        assert_eq!(names[0], "striped disc");
        let labels = (0..10).map(|index| drawn.label(index));
        assert_eq!(labels.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_pair_shows_the_two_objects_of_its_class() {
        let (objects, pairs) = (Synthetic::new(32, Scene::Object), Synthetic::new(32, Scene::Pair));
        let names = pairs.classes();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 100);
        for index in [0, 7, 99, 100, 1234] {
            let shown = pair::objects(index).map(|object| objects.label(object) as usize);
            let expected = shown.map(|label| objects.classes()[label].clone()).join(" above ");
            assert_eq!(names[pairs.label(index) as usize], expected);
        }
        let [upper, lower] = pair::objects(7).map(|object| objects.picture(Split::Train, object));
        let picture = pairs.picture(Split::Train, 7);
        assert_eq!(picture.dimensions(), (37, 37));
        assert_ne!(picture, pairs.picture(Split::Train, 107));
        // Each half has the mean colour of its object's own image.
        let mean = |image: &RgbImage, rows: std::ops::Range<u32>| {
            let count = (rows.len() * image.width() as usize) as f64;
            let red = |(_, y, pixel): (u32, u32, &image::Rgb<u8>)| {
                if rows.contains(&y) { f64::from(pixel[0]) } else { 0.0 }
            };
            image.enumerate_pixels().map(red).sum::<f64>() / count
        };
        for (rows, whole) in [(0..18, &upper), (18..37, &lower)] {
            let (found, expected) = (mean(&picture, rows), mean(whole, 0..37));
            assert!((found - expected).abs() < 4.0, "{found}, {expected}");
        }
    }

    #[test]
    fn a_picture_belongs_to_its_split_and_index() {
        let drawn = Synthetic::new(32, Scene::Object);
        let picture = drawn.picture(Split::Train, 3);
        assert_eq!(picture.dimensions(), (37, 37));
        assert_eq!(picture, drawn.picture(Split::Train, 3));
        assert_ne!(picture, drawn.picture(Split::Train, 13));
        assert_ne!(picture, drawn.picture(Split::Validation, 3));
    }
}
