//! From a decoded image to network input: random crop and mirror for training, centre crop for validation.

/// Mean of R, G and B that is subtracted from every pixel (0..255, not scaled).
pub const MEAN: [f32; 3] = [123.0, 117.0, 104.0];

/// How training crops are drawn (paper, section 6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Least and largest share of the image's area, drawn uniformly.
    pub area: [f32; 2],
    /// Least and largest aspect ratio (width / height), drawn log-uniformly.
    pub aspect: [f32; 2],
    /// Whether half of the crops are mirrored left to right.
    pub mirror: bool,
}

impl Default for Sampling {
    /// Area 8 to 100 %, aspect 3/4 to 4/3, mirrored: the paper's prescription.
    fn default() -> Self {
        Sampling { area: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0], mirror: true }
    }
}
