//! Number types of maps and packed weights: f32 and bf16.

use crate::entries::Entries;
use crate::simd::Element;
use half::bf16;

/// A number type of feature maps and packed weights: `f32`, or [`bf16`], which takes half the memory and of
/// which a vector instruction, where the machine has it, multiplies two in each lane.
///
/// Arithmetic is in f32: a bf16 is widened when it is read, and results are rounded to the nearest bf16 when
/// they are written. Only convolutions multiply bf16 directly, and add up the products in f32.
pub trait Value: Element {
    /// Number of f32 whose memory holds `values` values of this type, rounded up.
    fn floats(values: usize) -> usize {
        (values * size_of::<Self>()).div_ceil(size_of::<f32>())
    }

    /// Returns the memory of `floats` as a slice of this type, bit by bit: of equal length for f32, of twice
    /// the length for bf16.
    fn of(floats: &[f32]) -> &[Self] {
        let len = size_of_val(floats) / size_of::<Self>();
        // SAFETY: the same bytes; an element takes any bits and is aligned where a float is.
        unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), len) }
    }

    /// Returns the memory of `floats` as a mutable slice of this type, as [`Value::of`] does.
    fn of_mut(floats: &mut [f32]) -> &mut [Self] {
        let len = size_of_val(floats) / size_of::<Self>();
        // SAFETY: as in `of`, borrowed exclusively; a float takes any bits as well.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), len) }
    }

    /// Returns `values` unchanged if this type is f32; `None` if it is bf16.
    fn as_floats(values: &[Self]) -> Option<&[f32]>;

    /// Returns `values` unchanged, and mutable, if this type is f32; `None` if it is bf16.
    fn as_floats_mut(values: &mut [Self]) -> Option<&mut [f32]>;

    /// Returns pointers to the functions that compute on maps of this type, such as convolutions. Callers of
    /// the generic functions go through this table, so that the code is compiled in this crate and not again
    /// in theirs.
    #[doc(hidden)]
    fn entries() -> &'static Entries<Self>;
}

impl Value for f32 {
    fn entries() -> &'static Entries<f32> {
        static ENTRIES: Entries<f32> = Entries::new();
        &ENTRIES
    }
    fn as_floats(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }
    fn as_floats_mut(values: &mut [f32]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Value for bf16 {
    fn entries() -> &'static Entries<bf16> {
        static ENTRIES: Entries<bf16> = Entries::new();
        &ENTRIES
    }
    fn as_floats(_: &[bf16]) -> Option<&[f32]> {
        None
    }
    fn as_floats_mut(_: &mut [bf16]) -> Option<&mut [f32]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_floats_holds_twice_as_many_bf16() {
        let mut floats = [0.0; 3];
        bf16::of_mut(&mut floats)[..5].copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0].map(bf16::narrow));
        assert_eq!(bf16::of(&floats).iter().map(|value| value.wide()).sum::<f32>(), 15.0);
        assert_eq!(f32::of(&floats).len(), 3);
        assert_eq!([bf16::floats(5), bf16::floats(6), f32::floats(5)], [3, 3, 5]);
    }
}
