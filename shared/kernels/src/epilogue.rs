//! The work done on an input gradient as it is written.

use crate::map::{Map, Shape};

/// Mode in which a layer writes its contribution to an input gradient. By default it overwrites the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T = f32> {
    /// Adds the contribution to the gradient instead of overwriting it.
    pub accumulate: bool,
    /// Zeroes the result wherever these values of the input are not positive. This is the backward pass of
    /// the ReLU that made the input, without a pass of its own over memory.
    pub relu: Option<Map<'a, T>>,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Epilogue { accumulate: false, relu: None }
    }
}

impl<T> Epilogue<'_, T> {
    /// Checks that the values have the size of the gradient; panics if not.
    #[track_caller]
    pub(crate) fn check(&self, shape: Shape, count: usize) {
        let size = |shape: Shape, count| (shape.batch, count, shape.height, shape.width);
        if let Some(values) = &self.relu {
            let (expected, found) = (size(shape, count), size(values.shape, values.count));
            assert!(
                expected == found,
                "backward through a ReLU: expected values of (batch, blocks, height, width) {expected:?}, found {found:?}"
            );
        }
    }
}
