//! The two parts of a data set.

/// Which part of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What is learnt from: visited in [`Dataset::epoch_order`](crate::Dataset::epoch_order), cropped at random.
    Train,
    /// What is measured on: visited in index order, each image in one or more views.
    Validation,
}
