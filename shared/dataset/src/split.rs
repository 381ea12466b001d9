//! The two parts of a data set.

/// A split of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The samples that a network learns from, in the order of
    /// [`Dataset::epoch_order`](crate::Dataset::epoch_order) and cropped at random.
    Train,
    /// The samples that a network is evaluated on, in the order of their indexes and each in one or more
    /// views.
    Validation,
}
