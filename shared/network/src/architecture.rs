//! Architecture of the network: the choices of the user, and the channel counts that follow from them.

use parameters::LayoutError;
use serde::{Deserialize, Serialize};
use settings::{CLASSES, INPUT_SIZES, Initialisation, Network, Variant, WIDTHS};

/// The network that a run trains: GoogLeNet of the paper's Table 1, whole or reduced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Number of classes that the main and both auxiliary classifiers tell apart.
    pub classes: usize,
    /// Side of the square input images in pixels.
    pub input_size: usize,
    /// Width multiplier. Every channel count of Table 1, and the auxiliary heads' 128 and 1024, is multiplied
    /// by it and rounded to the nearest multiple of 8 (ties up), at least 8. The number of classes is not
    /// scaled.
    pub width: f32,
    /// Whether the two auxiliary classifiers (on modules 4a and 4d) are part of the network.
    pub auxiliary_heads: bool,
    /// Scheme by which the initial values of the weights and biases are drawn.
    pub initialisation: Initialisation,
    /// Variant of GoogLeNet, among those that the paper describes.
    #[serde(default)]
    pub variant: Variant,
}

/// Reasons why an [`Architecture`] cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ArchitectureError {
    /// Fewer than two classes, or so many that it can only be a mistake.
    #[error("expected {least} to {most} classes, found {found}: check the data folder or --classes")]
    Classes {
        /// Number of classes that was asked for.
        found: usize,
        /// Smallest number of classes allowed.
        least: usize,
        /// Largest number of classes allowed.
        most: usize,
    },
    /// The network would have more than [`parameters::MOST_VALUES`] weights and biases; the inner error names
    /// the first tensor beyond that limit.
    #[error("the network is too large: {0}; choose a smaller --width, --input-size or --classes")]
    Parameters(LayoutError),
    /// Images whose side is too small to be halved five times, as the network does, or so large that it can
    /// only be a mistake.
    #[error("expected an input side of {least} to {most} pixels, found {found}: choose another --input-size")]
    InputSize {
        /// Input side that was asked for, in pixels.
        found: usize,
        /// Smallest input side allowed, in pixels.
        least: usize,
        /// Largest input side allowed, in pixels.
        most: usize,
    },
    /// A width multiplier that is so small or so large that it can only be a mistake.
    #[error("expected a width multiplier of {least} to {most}, found {found}: choose another --width")]
    Width {
        /// Width multiplier that was asked for.
        found: f32,
        /// Smallest width multiplier allowed.
        least: f64,
        /// Largest width multiplier allowed.
        most: f64,
    },
    /// An input so small that the map under the auxiliary heads is smaller than their 5x5 windows.
    #[error(
        "the auxiliary heads pool 5x5 windows, but at an input of {input_size} pixels their map is \
         {map}x{map}: choose an --input-size of at least {least}, or leave the heads out with --no-aux"
    )]
    AuxiliaryMap {
        /// Input side that was asked for, in pixels.
        input_size: usize,
        /// Side of the map under the auxiliary heads in pixels.
        map: usize,
        /// Smallest input side whose map is large enough, in pixels.
        least: usize,
    },
}

/// Side of the auxiliary heads' pooling window.
pub(crate) const AUXILIARY_WINDOW: usize = 5;

impl Architecture {
    /// Returns the architecture that the network part of a configuration describes, but with `classes`
    /// classes: the number of classes in `network` is ignored.
    pub fn of(network: &Network, classes: usize) -> Architecture {
        let &Network { input_size, width, auxiliary_heads, initialisation, variant, .. } = network;
        Architecture { classes, input_size, width, auxiliary_heads, initialisation, variant }
    }

    /// Returns the paper's GoogLeNet: 1000 classes, images of 224 x 224 pixels, full width, both auxiliary
    /// heads, and the initial values of BVLC's public Caffe model.
    pub fn paper() -> Architecture {
        Architecture {
            classes: 1000,
            input_size: 224,
            width: 1.0,
            auxiliary_heads: true,
            initialisation: Initialisation::Bvlc,
            variant: Variant::Table,
        }
    }

    /// Checks that the number of classes, the input size and the width are within their limits, and that the
    /// input is large enough for auxiliary heads.
    ///
    /// # Errors
    /// If one of these values cannot be used; the error's text names the first such value and the
    /// command-line flag that changes it.
    pub fn validate(&self) -> Result<(), ArchitectureError> {
        let (least, most) = (*INPUT_SIZES.start(), *INPUT_SIZES.end());
        if !CLASSES.contains(&self.classes) {
            let (least, most) = (*CLASSES.start(), *CLASSES.end());
            return Err(ArchitectureError::Classes { found: self.classes, least, most });
        }
        if !INPUT_SIZES.contains(&self.input_size) {
            return Err(ArchitectureError::InputSize { found: self.input_size, least, most });
        }
        if !WIDTHS.contains(&f64::from(self.width)) {
            let (least, most) = (*WIDTHS.start(), *WIDTHS.end());
            return Err(ArchitectureError::Width { found: self.width, least, most });
        }
        let map = auxiliary_map(self.input_size);
        if self.auxiliary_heads && map < AUXILIARY_WINDOW {
            let least = INPUT_SIZES
                .into_iter()
                .find(|&size| auxiliary_map(size) >= AUXILIARY_WINDOW)
                .expect("the largest input has a large enough map");
            return Err(ArchitectureError::AuxiliaryMap { input_size: self.input_size, map, least });
        }
        Ok(())
    }

    /// A channel count under the width multiplier. At full width the count stays as it is, so that 204 does
    /// not become 208.
    pub(crate) fn scaled(&self, count: usize) -> usize {
        if self.width == 1.0 {
            return count;
        }
        let eighths = (count as f64 * f64::from(self.width) / 8.0).round() as usize;
        eighths.max(1) * 8
    }
}

/// Side of the maps of modules 4a to 4e, which the auxiliary heads pool. The stem (7x7/2, padding 3) halves
/// and rounds up. Each of the three 3x3/2 pools below, under Caffe's ceiling rule ceil((n - 3) / 2) + 1,
/// halves and rounds down.
fn auxiliary_map(input_size: usize) -> usize {
    input_size.div_ceil(2) / 2 / 2 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_goes_to_the_nearest_multiple_of_eight() {
        let at = |width| Architecture { width, ..Architecture::paper() };
        assert_eq!(at(1.0).scaled(208), 208);
        assert_eq!(at(0.5).scaled(24), 16, "12 lies between 8 and 16: up");
        assert_eq!(at(0.25).scaled(16), 8);
        assert_eq!(at(0.01).scaled(1024), 8);
        assert_eq!(at(0.75).scaled(208), 160);
    }

    #[test]
    fn what_cannot_be_built_is_named() {
        let paper = Architecture::paper();
        let text = |architecture: Architecture| architecture.validate().unwrap_err().to_string();
        assert_eq!(paper.validate(), Ok(()));
        for classes in [0, 1, 100_001, 1_000_000_000, usize::MAX] {
            let expected = format!("expected 2 to 100000 classes, found {classes}: ");
            assert!(text(Architecture { classes, ..paper.clone() }).starts_with(&expected), "{classes}");
        }
        assert!(
            text(Architecture { input_size: 16, ..paper.clone() }).contains("32 to 2048 pixels, found 16")
        );
        for width in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(text(Architecture { width, ..paper.clone() }).contains("width multiplier of 0.05 to 4"));
        }
        let small = Architecture { input_size: 64, ..paper };
        assert_eq!(
            text(small.clone()),
            "the auxiliary heads pool 5x5 windows, but at an input of 64 pixels their map is 4x4: choose an \
             --input-size of at least 79, or leave the heads out with --no-aux"
        );
        assert_eq!(Architecture { auxiliary_heads: false, ..small }.validate(), Ok(()));
    }
}
