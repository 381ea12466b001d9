//! The section `[sampling]` of a configuration.

use serde::{Deserialize, Serialize};

use crate::choice::choice;

/// The random crops and distortions of training samples (paper, section 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Smallest and largest share of the image's area, drawn uniformly. Some of the paper's models saw mainly
    /// smaller relative crops (such as [0.08, 0.5]), others mainly larger ones ([0.5, 1.0]).
    pub area: [f32; 2],
    /// Smallest and largest aspect ratio (width / height), drawn log-uniformly among those that fit.
    pub aspect: [f32; 2],
    /// Whether half of the crops are mirrored left to right.
    pub mirror: bool,
    /// Interpolations of the resize, equally probable.
    pub interpolation: Vec<Interpolation>,
    /// Brightness changes by a factor in 1 +- this: the image is mixed with black (Howard 2013: 0.5).
    /// Brightness, contrast and saturation come in random order.
    pub brightness: f32,
    /// Contrast changes by a factor in 1 +- this: the image is mixed with its mean grey (0.5).
    pub contrast: f32,
    /// Saturation changes by a factor in 1 +- this: each pixel is mixed with its own grey (0.5).
    pub saturation: f32,
    /// Standard deviation of the random lighting along the principal components of colour (AlexNet: 0.1).
    pub lighting: f32,
}

impl Default for Sampling {
    /// Returns the paper's crops: area 8 to 100 %, aspect ratio 3/4 to 4/3, mirrored, resized bilinearly,
    /// without distortions of colour.
    fn default() -> Sampling {
        Sampling {
            area: [0.08, 1.0],
            aspect: [3.0 / 4.0, 4.0 / 3.0],
            mirror: true,
            interpolation: vec![Interpolation::Bilinear],
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            lighting: 0.0,
        }
    }
}

choice! {
    /// The interpolation by which a crop is resized.
    ///
    /// When a crop shrinks, bilinear, cubic and area take every pixel of it into account; nearest takes one
    /// for each new pixel.
    pub enum Interpolation {
        /// Linear interpolation between pixels.
        Bilinear = "bilinear",
        /// The mean over the area that a new pixel covers.
        Area = "area",
        /// The value of the nearest pixel.
        Nearest = "nearest",
        /// Cubic interpolation by Catmull and Rom.
        Cubic = "cubic",
    }
}
