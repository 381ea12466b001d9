//! The two splits of a data set.

/// A split of a data set: the samples for training, or those for validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The samples on which a network is trained, in the order of
    /// [`Dataset::epoch_order`](crate::Dataset::epoch_order) and cropped at random.
    Train,
    /// The samples on which a network is evaluated, in the order of their indices and each as one or more
    /// crops.
    Validation,
}
