//! Layouts: the order of a network's tensors in the flat vector of parameters, and everything that follows
//! from it.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{Block, Fingerprint, Tensor, block, pattern};

/// Largest number of values that the tensors of a layout may have together (16 GiB of f32). It is limited
/// because a process receives layouts from other processes and lists their blocks in memory.
pub const MOST_VALUES: usize = 1 << 32;

/// A layout: the tensors of a network in the order in which they lie in the flat vector of parameters.
///
/// A layout is serialised as the list of its tensors, which is checked when it is read, as in
/// [`Layout::new`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Tensor>", into = "Vec<Tensor>")]
pub struct Layout {
    tensors: Vec<Tensor>,
    /// First position of each tensor, and at the end the length of the vector.
    starts: Vec<usize>,
    blocks: Vec<Block>,
    names: BTreeMap<String, usize>,
}

impl Layout {
    /// Creates a layout in which the tensors follow one another without gaps.
    ///
    /// # Errors
    /// If two tensors have the same name, if a tensor's name or shape is empty, if a dimension is 0, if the
    /// initialiser's number is not finite, if a multiplier is negative or not finite, or if there are more
    /// than [`MOST_VALUES`] values.
    pub fn new(tensors: Vec<Tensor>) -> Result<Layout, LayoutError> {
        let mut names = BTreeMap::new();
        let mut starts = vec![0];
        let mut length = 0usize;
        for (index, tensor) in tensors.iter().enumerate() {
            check(index, tensor)?;
            if let Some(first) = names.insert(tensor.name.clone(), index) {
                return Err(LayoutError::Twice { name: tensor.name.clone(), first, second: index });
            }
            let values = tensor.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
            length = values
                .and_then(|values| values.checked_add(length))
                .filter(|&length| length <= MOST_VALUES)
                .ok_or_else(|| LayoutError::TooLarge { tensor: tensor.to_string() })?;
            starts.push(length);
        }
        let blocks = block::cut(&starts);
        Ok(Layout { tensors, starts, blocks, names })
    }

    /// Returns the number of values of all tensors together, which is the length of the flat vector.
    pub fn len(&self) -> usize {
        self.starts[self.tensors.len()]
    }

    /// Returns whether the layout has no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Returns the tensors in the order of the flat vector.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the positions of the tensor with index `tensor` in the flat vector, in which the values of all
    /// tensors follow one another.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn range(&self, tensor: usize) -> Range<usize> {
        self.starts[tensor]..self.starts[tensor + 1]
    }

    /// Returns the index of the tensor called `name`, or `None` if there is none.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Returns the blocks into which the tensors are cut, in the order of the flat vector; each has at most
    /// [`BLOCK_VALUES`](crate::BLOCK_VALUES) values of one tensor.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Returns the indices of the blocks that make up the tensor with index `tensor`.
    pub fn blocks_of(&self, tensor: usize) -> Range<usize> {
        let first = self.blocks.partition_point(|block| block.tensor < tensor);
        let past = self.blocks.partition_point(|block| block.tensor <= tensor);
        first..past
    }

    /// Returns a copy of the layout with other learning-rate multipliers: each of `factors` is a
    /// [pattern](crate::pattern) of tensor names with a factor, by which the multipliers of all tensors that
    /// match it are multiplied.
    ///
    /// # Errors
    /// If a pattern matches no tensor, or if a multiplier becomes negative, infinite or NaN.
    pub fn scale_rates<'a>(
        &self,
        factors: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<Layout, LayoutError> {
        let mut tensors = self.tensors.clone();
        for (pattern, factor) in factors {
            let mut fits = false;
            for tensor in tensors.iter_mut().filter(|tensor| pattern::matches(pattern, &tensor.name)) {
                tensor.rate_multiplier *= factor;
                fits = true;
            }
            if !fits {
                return Err(LayoutError::NoTensor { pattern: pattern.into() });
            }
        }
        Layout::new(tensors)
    }

    /// Returns the fingerprint of the layout, computed over the names, shapes, initialisers and multipliers
    /// of all tensors.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.tensors)
    }

    /// Returns the first tensor in which the layout `found` differs from this one, which is the expected
    /// layout, or `None` if they are equal.
    pub fn first_difference(&self, found: &Layout) -> Option<Difference> {
        let most = self.tensors.len().max(found.tensors.len());
        (0..most).find_map(|tensor| {
            let (expected, found) = (self.tensors.get(tensor), found.tensors.get(tensor));
            (expected != found).then(|| Difference {
                tensor,
                expected: expected.cloned(),
                found: found.cloned(),
            })
        })
    }
}

/// Checks the properties of one tensor.
fn check(index: usize, tensor: &Tensor) -> Result<(), LayoutError> {
    let wrong = |what: &'static str, found: String, expected: &'static str| {
        Err(LayoutError::Tensor { index, name: tensor.name.clone(), what, found, expected })
    };
    if tensor.name.is_empty() {
        return wrong("name", "an empty one".into(), "at least one character");
    }
    if tensor.shape.is_empty() || tensor.shape.contains(&0) {
        return wrong("shape", format!("{:?}", tensor.shape), "at least one dimension, each at least 1");
    }
    if !tensor.initialiser.parameter().is_finite() {
        return wrong("initialiser", tensor.initialiser.to_string(), "a finite number");
    }
    for (what, value) in
        [("rate multiplier", tensor.rate_multiplier), ("decay multiplier", tensor.decay_multiplier)]
    {
        if !(value.is_finite() && value >= 0.0) {
            return wrong(what, value.to_string(), "a finite number of at least 0");
        }
    }
    Ok(())
}

impl TryFrom<Vec<Tensor>> for Layout {
    type Error = LayoutError;

    fn try_from(tensors: Vec<Tensor>) -> Result<Layout, LayoutError> {
        Layout::new(tensors)
    }
}

impl From<Layout> for Vec<Tensor> {
    fn from(layout: Layout) -> Vec<Tensor> {
        layout.tensors
    }
}

/// The first tensor in which two layouts differ; displayed, it shows both versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Index at which the two layouts have different tensors, or at which one of them has none.
    pub tensor: usize,
    /// Tensor at this index of the expected layout; `None` if the expected layout has fewer tensors.
    pub expected: Option<Tensor>,
    /// Tensor at this index of the other layout; `None` if the other layout has fewer tensors.
    pub found: Option<Tensor>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Name and shape nearly always tell; where they agree, the rest must be shown.
        let details = match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => expected.name == found.name && expected.shape == found.shape,
            _ => false,
        };
        let text = |tensor: &Option<Tensor>| match tensor {
            None => "none".to_string(),
            Some(t) if details => format!(
                "{t} ({}, rate multiplier {}, decay multiplier {})",
                t.initialiser, t.rate_multiplier, t.decay_multiplier
            ),
            Some(t) => t.to_string(),
        };
        let (expected, found) = (text(&self.expected), text(&self.found));
        write!(f, "tensor {}: expected {expected}, found {found}", self.tensor)
    }
}

/// The reasons why a list of tensors cannot be a layout.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LayoutError {
    /// Two tensors have the same name.
    #[error("tensors {first} and {second} are both named {name}; expected unique names")]
    Twice {
        /// Name of both tensors.
        name: String,
        /// Index of the first of the two tensors.
        first: usize,
        /// Index of the second of the two tensors.
        second: usize,
    },
    /// A tensor has a name, shape, initialiser or multiplier that cannot be used.
    #[error("tensor {index} ({name}): {what} is {found}; expected {expected}")]
    Tensor {
        /// Index of the tensor.
        index: usize,
        /// Name of the tensor.
        name: String,
        /// Name of the property.
        what: &'static str,
        /// Value of the property.
        found: String,
        /// Description of the values that the property may have.
        expected: &'static str,
    },
    /// A pattern matches no tensor.
    #[error(
        "no tensor is named as the pattern {pattern:?} says; expected one that fits, as \"loss3/classifier/*\""
    )]
    NoTensor {
        /// The pattern.
        pattern: String,
    },
    /// The layout would have more than [`MOST_VALUES`] values.
    #[error("with tensor {tensor} the layout has over {MOST_VALUES} values; expected at most that many")]
    TooLarge {
        /// Name and shape of the first tensor that goes beyond the limit.
        tensor: String,
    },
}
