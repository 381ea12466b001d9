//! Epilogue of an input gradient: accumulation and the ReLU mask, applied as the gradient is written.

use crate::map::{Map, Shape};

/// Mode in which a layer writes its contribution to an input gradient. By default it overwrites the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T = f32> {
    /// Whether the contribution is added to the gradient instead of overwriting it.
    pub accumulate: bool,
    /// Values of the layer's input, if a ReLU made it: the result is zero wherever they are not positive.
    /// This fuses the backward pass of that ReLU and saves a pass over memory.
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
