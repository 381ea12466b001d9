//! The check that all values of a tensor are finite, which is made wherever a model or a snapshot is read or
//! written.
//!
//! A NaN in one bias spreads through everything that is computed from it, and much of that still looks like a
//! valid result.

use std::fmt::Display;

/// An error: a tensor holds values that are NaN or infinite.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "tensor {tensor} holds {count} value{} not finite (NaN or infinite), the first at {first}: {value}",
    if *count == 1 { " that is" } else { "s that are" }
)]
pub struct NotFinite {
    /// Name of the tensor.
    pub tensor: String,
    /// Number of the tensor's values that are not finite.
    pub count: usize,
    /// Position in the tensor of its first value that is not finite, row-major, from 0.
    pub first: usize,
    /// The first value that is not finite: NaN or an infinity.
    pub value: f32,
}

/// Checks that all values of a tensor are finite. `tensor` is its name for the error; `values` are in
/// row-major order.
///
/// # Errors
/// [`NotFinite`] if one of the values is NaN or infinite.
pub fn check<'a>(tensor: impl Display, values: impl IntoIterator<Item = &'a f32>) -> Result<(), NotFinite> {
    let mut found = values.into_iter().enumerate().filter(|(_, value)| !value.is_finite());
    let Some((first, &value)) = found.next() else { return Ok(()) };
    Err(NotFinite { tensor: tensor.to_string(), count: 1 + found.count(), first, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_finite_are_counted_and_the_first_is_shown() {
        let text = |values: &[f32]| check("conv1/7x7_s2/bias", values).unwrap_err().to_string();
        let mut values = vec![f32::MAX, f32::MIN, -0.0, 1e-40, 1.0];
        assert_eq!(check("conv1/7x7_s2/bias", &values), Ok(()));
        assert_eq!(check("none", &[]), Ok(()));
        values.push(f32::NEG_INFINITY);
        assert_eq!(
            text(&values),
            "tensor conv1/7x7_s2/bias holds 1 value that is not finite (NaN or infinite), the first at 5: -inf"
        );
        values.extend([0.5, f32::NAN, f32::INFINITY]);
        assert_eq!(
            text(&values),
            "tensor conv1/7x7_s2/bias holds 3 values that are not finite (NaN or infinite), the first at 5: -inf"
        );
    }
}
