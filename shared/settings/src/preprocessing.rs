//! The preprocessing of an image for a trained network, which no key of a configuration changes.

/// Mean of R, G and B, in 0..255, that is subtracted from every pixel of an input of the networks that this
/// program trains; values are not scaled.
pub const MEAN: [f32; 3] = [123.0, 117.0, 104.0];

/// The way in which an image is resized before evaluation crops are taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side of the image is resized to the scale, a number of pixels (such as 256 for inputs of
    /// 224); the aspect ratio is kept.
    ShorterSide,
    /// Both sides of the image are resized to the scale, a number of pixels (such as 256 for inputs of 224),
    /// as for the public BVLC models.
    Square,
}

/// The preprocessing of an image for a trained network: how it is resized, and what mean is subtracted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// Mean of R, G and B, in 0..255, that is subtracted from every pixel; values are not scaled.
    pub mean: [f32; 3],
    /// The way in which an image is resized before it is cropped.
    pub resize: Resize,
}

impl Default for Preprocessing {
    /// Returns the preprocessing for networks that were trained by this program.
    fn default() -> Self {
        Preprocessing { mean: MEAN, resize: Resize::ShorterSide }
    }
}
