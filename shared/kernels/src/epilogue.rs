//! Epilogue of an input gradient: accumulation and the ReLU mask, applied as the gradient is written.

use crate::map::{Map, Shape};

/// Way in which the backward pass of a layer writes the gradient of the layer's input: over the gradient that
/// is there or added to it, and with or without the backward pass of a ReLU. By default it overwrites,
/// without a ReLU.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T = f32> {
    /// Whether the layer's gradient is added to the one that is there, from another layer with the same
    /// input, instead of overwriting it.
    pub accumulate: bool,
    /// Values of the layer's input, if a ReLU made it: the input gradient, after the addition if there is
    /// one, is set to zero wherever they are not positive. This is the backward pass of that ReLU, without a
    /// further pass over memory.
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
