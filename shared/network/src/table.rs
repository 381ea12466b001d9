//! Table 1 of "Going deeper with convolutions" as data, with Caffe's layer names.

/// Filters of the 7x7/2 stem.
pub(crate) const STEM: usize = 64;
/// Filters of the separable stem's depthwise part for each colour.
pub(crate) const STEM_MULTIPLIER: usize = 8;
/// Filters of the second convolution: 1x1 reduction, then 3x3.
pub(crate) const SECOND: [usize; 2] = [64, 192];
/// Filters of an auxiliary head's 1x1 convolution, and units of its hidden layer.
pub(crate) const AUXILIARY: [usize; 2] = [128, 1024];
/// Dropout rate in front of the main classifier, and in front of the auxiliary ones.
pub(crate) const DROPOUT: [f32; 2] = [0.4, 0.7];
/// Weight of an auxiliary loss in the total.
pub(crate) const AUXILIARY_WEIGHT: f32 = 0.3;

/// A row of the table: one Inception module and what follows it.
pub(crate) struct Module {
    pub name: &'static str,
    /// Numbers of filters in the columns of Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
    pub filters: [usize; 6],
    pub then: Then,
}

/// Reader of a module's output besides the next module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// A 3x3/2 max pool of this name.
    Pool(&'static str),
    /// An auxiliary head of this name.
    Head(&'static str),
}

/// The nine modules.
pub(crate) const MODULES: [Module; 9] = [
    Module { name: "inception_3a", filters: [64, 96, 128, 16, 32, 32], then: Then::Nothing },
    Module { name: "inception_3b", filters: [128, 128, 192, 32, 96, 64], then: Then::Pool("pool3/3x3_s2") },
    Module { name: "inception_4a", filters: [192, 96, 208, 16, 48, 64], then: Then::Head("loss1") },
    Module { name: "inception_4b", filters: [160, 112, 224, 24, 64, 64], then: Then::Nothing },
    Module { name: "inception_4c", filters: [128, 128, 256, 24, 64, 64], then: Then::Nothing },
    Module { name: "inception_4d", filters: [112, 144, 288, 32, 64, 64], then: Then::Head("loss2") },
    Module { name: "inception_4e", filters: [256, 160, 320, 32, 128, 128], then: Then::Pool("pool4/3x3_s2") },
    Module { name: "inception_5a", filters: [256, 160, 320, 32, 128, 128], then: Then::Nothing },
    Module { name: "inception_5b", filters: [384, 192, 384, 48, 128, 128], then: Then::Nothing },
];

impl Module {
    /// Returns the filter counts that explain the operation counts printed in Table 1. They differ from the
    /// filter counts printed there in modules 4a (204 filters of 3x3) and 5a (48 filters of the 5x5
    /// reduction).
    pub fn counted(&self) -> [usize; 6] {
        let mut filters = self.filters;
        match self.name {
            "inception_4a" => filters[2] = 204,
            "inception_5a" => filters[3] = 48,
            _ => {}
        }
        filters
    }
}
