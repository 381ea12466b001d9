//! The colours of a synthetic image: arbitrary, but far enough apart to be distinguished.

use rand::RngExt;

use settings::random::Random;

/// A colour: R, G, B in 0..255.
pub(super) type Colour = [f32; 3];

/// Least distance between the texture's two colours; opposite corners of the colour cube are 442 apart.
const LEAST_CONTRAST: f32 = 180.0;
/// Least distance of either of these colours from the background.
const LEAST_DISTANCE: f32 = 110.0;

/// The colours of the background and the object of an image, from the same distribution for every class.
pub(super) struct Palette {
    /// The colours of the background on one side of the image and on the other.
    pub(super) background: [Colour; 2],
    /// The two colours of the object's texture.
    pub(super) object: [Colour; 2],
}

pub(super) fn palette(random: &mut Random) -> Palette {
    loop {
        let [base, first, second] = [any(random), any(random), any(random)];
        let other = base.map(|value| (value + random.random_range(-40.0..40.0f32)).clamp(0.0, 255.0));
        let apart = |a: Colour| [base, other].iter().all(|&b| distance(a, b) >= LEAST_DISTANCE);
        if distance(first, second) >= LEAST_CONTRAST && apart(first) && apart(second) {
            return Palette { background: [base, other], object: [first, second] };
        }
    }
}

pub(super) fn any(random: &mut Random) -> Colour {
    [0; 3].map(|_| random.random_range(0.0..255.0f32))
}

pub(super) fn mix(a: Colour, b: Colour, share_of_b: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * share_of_b)
}

fn distance(a: Colour, b: Colour) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}
