//! The object of a synthetic image: an outline filled with a texture, both as signed distances, so that edges
//! are smooth.

use std::f32::consts::TAU;

use rand::RngExt;

use super::canvas::{Bounds, Paint, coverage};
use super::colour::{Colour, mix};
use settings::random::Random;

/// The outline that encloses the object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outline {
    Disc,
    Ring,
    Bar,
    Triangle,
    Cross,
}

/// The texture that fills the object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Texture {
    Striped,
    Checked,
}

impl Outline {
    pub(super) const ALL: [Outline; 5] =
        [Outline::Disc, Outline::Ring, Outline::Bar, Outline::Triangle, Outline::Cross];

    pub(super) fn name(self) -> &'static str {
        match self {
            Outline::Disc => "disc",
            Outline::Ring => "ring",
            Outline::Bar => "bar",
            Outline::Triangle => "triangle",
            Outline::Cross => "cross",
        }
    }

    /// Returns the distance of the point (u, v) to the edge of the outline, negative inside. The outline has
    /// the area of the unit disc.
    fn distance(self, u: f32, v: f32) -> f32 {
        match self {
            Outline::Disc => u.hypot(v) - 1.0,
            Outline::Ring => {
                // Inner radius half of the outer one: area pi (1 - 1/4) R^2.
                const OUTER: f32 = 1.154_700_5;
                (u.hypot(v) - 0.75 * OUTER).abs() - 0.25 * OUTER
            }
            Outline::Bar => {
                // Three times as long as wide.
                const HALF_WIDTH: f32 = 0.511_663_4;
                (u.abs() - 3.0 * HALF_WIDTH).max(v.abs() - HALF_WIDTH)
            }
            Outline::Triangle => {
                // Equilateral: area 3 sqrt(3) times the square of the inner radius.
                const INNER: f32 = 0.777_561_9;
                const HALF_SQRT_3: f32 = 0.866_025_4;
                v.max(HALF_SQRT_3 * u.abs() - 0.5 * v) - INNER
            }
            Outline::Cross => {
                // Arms a third as wide as long: area 5/9 of the square around it.
                const HALF: f32 = 1.189_021_3;
                let (u, v) = (u.abs(), v.abs());
                let bar = |along: f32, across: f32| (along - HALF).max(across - HALF / 3.0);
                bar(u, v).min(bar(v, u))
            }
        }
    }

    /// Returns the distance of the outline's farthest point from its centre.
    fn reach(self) -> f32 {
        match self {
            Outline::Disc => 1.0,
            Outline::Ring => 1.16,
            Outline::Bar => 1.62,
            Outline::Cross => 1.26,
            Outline::Triangle => 1.56,
        }
    }
}

impl Texture {
    pub(super) const ALL: [Texture; 2] = [Texture::Striped, Texture::Checked];

    pub(super) fn name(self) -> &'static str {
        match self {
            Texture::Striped => "striped",
            Texture::Checked => "checked",
        }
    }

    /// Returns the fraction of the second colour at the point (s, t), which is given in periods; `pixels` is
    /// the length of a period in pixels.
    fn second(self, s: f32, t: f32, pixels: f32) -> f32 {
        // Distance in pixels to the nearest edge of a band that fills half of each period, negative inside.
        let band = |s: f32| coverage(((s - s.floor() - 0.5).abs() - 0.25) * pixels);
        match self {
            Texture::Striped => band(s),
            Texture::Checked => {
                let (a, b) = (band(s), band(t));
                a + b - 2.0 * a * b
            }
        }
    }
}

/// An outline with a texture, placed in an image.
pub(super) struct Object {
    outline: Outline,
    texture: Texture,
    centre: [f32; 2],
    /// Number of pixels of one unit along the two axes of the outline, which give its proportions.
    scale: [f32; 2],
    /// Sine and cosine of the outline's rotation; those of the texture's are in `grain`.
    turn: (f32, f32),
    grain: (f32, f32),
    /// Number of pixels of one period of the texture; it starts at `phase`.
    period: f32,
    phase: [f32; 2],
}

impl Object {
    pub(super) fn random(random: &mut Random, outline: Outline, texture: Texture, side: f32) -> Object {
        let scale = side * random.random_range(0.26..0.32f32);
        let stretch = random.random_range(0.9..1.1f32);
        Object {
            outline,
            texture,
            centre: [0; 2].map(|_| side * random.random_range(0.44..0.56f32)),
            scale: [scale * stretch, scale / stretch],
            turn: random.random_range(0.0..TAU).sin_cos(),
            grain: random.random_range(0.0..TAU).sin_cos(),
            period: side * random.random_range(0.13..0.17f32),
            phase: [0; 2].map(|_| random.random_range(0.0..1.0f32)),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let reach = self.outline.reach() * self.scale[0].max(self.scale[1]) + 1.0;
        Bounds::around(self.centre, reach)
    }

    /// Returns the paint of the object at pixel (x, y).
    pub(super) fn at(&self, x: f32, y: f32, colours: [Colour; 2]) -> Paint {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        let (u, v) = rotate(x, y, self.turn);
        let unit = self.scale[0].min(self.scale[1]);
        let cover = coverage(self.outline.distance(u / self.scale[0], v / self.scale[1]) * unit);
        if cover == 0.0 {
            return Paint { colour: colours[0], cover };
        }
        let (s, t) = rotate(x, y, self.grain);
        let second = self.texture.second(
            s / self.period + self.phase[0],
            t / self.period + self.phase[1],
            self.period,
        );
        Paint { colour: mix(colours[0], colours[1], second), cover }
    }
}

fn rotate(x: f32, y: f32, (sin, cos): (f32, f32)) -> (f32, f32) {
    (cos * x + sin * y, cos * y - sin * x)
}

#[cfg(test)]
mod tests {
    use std::f32::consts::PI;

    use super::*;

    /// Area in which a condition holds, by a grid over the square of side 4 whose lines meet no edge.
    fn area(inside: impl Fn(f32, f32) -> bool) -> f32 {
        const LINES: usize = 613;
        let step = 4.0 / LINES as f32;
        let points = (0..LINES).map(|i| (i as f32 + 0.37) * step - 2.0);
        let hits =
            points.clone().flat_map(|u| points.clone().map(move |v| (u, v))).filter(|&(u, v)| inside(u, v));
        hits.count() as f32 * step * step
    }

    #[test]
    fn outlines_have_the_area_of_the_disc_and_stay_in_reach() {
        for outline in Outline::ALL {
            let area_found = area(|u, v| outline.distance(u, v) < 0.0);
            assert!((area_found - PI).abs() < 0.02, "{}: {area_found}", outline.name());
            let beyond = area(|u, v| outline.distance(u, v) < 0.0 && u.hypot(v) > outline.reach());
            assert_eq!(beyond, 0.0, "{}", outline.name());
        }
    }

    #[test]
    fn textures_give_both_colours_the_same_share() {
        for texture in Texture::ALL {
            let steps = (0..100).map(|i| (i as f32 + 0.5) / 100.0);
            let sum: f32 =
                steps.clone().flat_map(|s| steps.clone().map(move |t| texture.second(s, t, 8.0))).sum();
            assert!((sum / 1e4 - 0.5).abs() < 0.01, "{}: {sum}", texture.name());
        }
    }
}
