//! The canvas of a synthetic image: background, clutter, light and noise.

use std::f32::consts::TAU;

use image::RgbImage;
use rand::{Rng, RngExt};

use super::colour::{self, Colour, mix};
use settings::random::Random;

/// A colour, and the fraction of a pixel that it covers, 0 to 1.
pub(super) struct Paint {
    pub(super) colour: Colour,
    pub(super) cover: f32,
}

/// The square around a circle.
pub(super) struct Bounds {
    low: [f32; 2],
    high: [f32; 2],
}

impl Bounds {
    pub(super) fn around(centre: [f32; 2], reach: f32) -> Bounds {
        Bounds { low: centre.map(|c| c - reach), high: centre.map(|c| c + reach) }
    }
}

/// Returns the fraction of a pixel that lies inside an edge which is `distance` pixels away, negative inside.
pub(super) fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

/// A square canvas of pixels, row-major.
pub(super) struct Canvas {
    side: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// Creates a canvas of `side` x `side` pixels whose colour changes from that of the top to that of the
    /// bottom.
    pub(super) fn new(side: usize, [top, bottom]: [Colour; 2]) -> Canvas {
        let rows = (0..side).map(|y| mix(top, bottom, y as f32 / side as f32));
        Canvas { side, pixels: rows.flat_map(|colour| std::iter::repeat_n(colour, side)).collect() }
    }

    /// Paints a shape over the canvas; `at` gives its paint at a pixel.
    pub(super) fn paint(&mut self, bounds: Bounds, at: impl Fn(f32, f32) -> Paint) {
        let [left, top] = bounds.low.map(|low| low.max(0.0) as usize);
        let [right, bottom] = bounds.high.map(|high| (high.max(0.0) as usize + 1).min(self.side));
        for y in top..bottom {
            let row = &mut self.pixels[y * self.side..][..self.side];
            for (x, pixel) in row.iter_mut().enumerate().take(right).skip(left) {
                let paint = at(x as f32, y as f32);
                *pixel = mix(*pixel, paint.colour, paint.cover);
            }
        }
    }

    /// Draws faint parallel waves over everything, a texture without meaning.
    pub(super) fn wave(&mut self, random: &mut Random, most: f32) {
        let depth = random.random_range(0.0..most);
        let period = self.side as f32 * random.random_range(0.08..0.4f32);
        let slope = self.direction(random).map(|d| d / period);
        self.shade(slope, |pixel, phase| {
            let wave = depth * (4.0 * (phase - phase.floor() - 0.5).abs() - 1.0);
            pixel.map(|value| value + wave)
        });
    }

    /// Draws a small disc or box of any colour.
    pub(super) fn blot(&mut self, random: &mut Random) {
        let colour = colour::any(random);
        let centre = self.anywhere(random);
        let radius = self.side as f32 * random.random_range(0.02..0.055f32);
        let round = random.random_bool(0.5);
        self.paint(Bounds::around(centre, radius + 1.0), |x, y| {
            let (x, y) = ((x - centre[0]).abs(), (y - centre[1]).abs());
            let distance = if round { x.hypot(y) } else { x.max(y) };
            Paint { colour, cover: coverage(distance - radius) }
        });
    }

    /// Draws a straight stroke of any colour.
    pub(super) fn stroke(&mut self, random: &mut Random) {
        let side = self.side as f32;
        let colour = colour::any(random);
        let centre = self.anywhere(random);
        let [dx, dy] = self.direction(random);
        let (half, width) =
            (side * random.random_range(0.1..0.3f32), side * random.random_range(0.006..0.016f32));
        self.paint(Bounds::around(centre, half + width + 1.0), |x, y| {
            let (x, y) = (x - centre[0], y - centre[1]);
            let (along, across) = (x * dx + y * dy, x * dy - y * dx);
            Paint { colour, cover: coverage((along.abs() - half).max(across.abs() - width)) }
        });
    }

    /// Adds light that falls from one side, then noise; returns the image.
    pub(super) fn finish(mut self, random: &mut Random) -> RgbImage {
        let light = random.random_range(0.75..1.15f32);
        let slope = self.direction(random).map(|d| d * random.random_range(0.0..0.7f32) / self.side as f32);
        let middle = self.side as f32 / 2.0 * (slope[0] + slope[1]);
        self.shade(slope, |pixel, share| pixel.map(|value| value * (light + share - middle)));

        let mut noise = vec![0; 3 * self.pixels.len()];
        random.fill_bytes(&mut noise);
        let depth = random.random_range(2.0..10.0f32) / 127.5;
        let values = self.pixels.as_flattened().iter().zip(&mut noise);
        values.for_each(|(value, byte)| *byte = (value + (f32::from(*byte) - 127.5) * depth) as u8);
        let side = self.side as u32;
        RgbImage::from_raw(side, side, noise).expect("a picture has three bytes a pixel")
    }

    /// Changes every pixel by the value of a linear function at its position.
    fn shade(&mut self, slope: [f32; 2], change: impl Fn(Colour, f32) -> Colour) {
        for (y, row) in self.pixels.chunks_exact_mut(self.side).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = change(*pixel, slope[0] * x as f32 + slope[1] * y as f32);
            }
        }
    }

    fn anywhere(&self, random: &mut Random) -> [f32; 2] {
        [0; 2].map(|_| random.random_range(0.0..self.side as f32))
    }

    fn direction(&self, random: &mut Random) -> [f32; 2] {
        random.random_range(0.0..TAU).sin_cos().into()
    }
}
