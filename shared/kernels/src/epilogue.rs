//! What is done to a gradient by an input as it is written.

use crate::map::{Map, Shape};

/// How a layer's share of the gradient by its input is written. By default it overwrites.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T = f32> {
    /// Adds to what is there.
    pub accumulate: bool,
    /// Zeroes the result wherever these values, the input's own, are not positive: the way back through the ReLU that made
    /// them, without a pass of its own over memory.
    pub relu: Option<Map<'a, T>>,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Epilogue { accumulate: false, relu: None }
    }
}

impl<T> Epilogue<'_, T> {
    /// Panics unless the values have the size of the gradient.
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
