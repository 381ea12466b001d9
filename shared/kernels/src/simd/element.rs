//! Conversion between vectors and values in memory: f32 as it is, bf16 widened and rounded, or multiplied in
//! pairs.

use super::Simd;
use half::bf16;
use std::fmt::Debug;

/// A number of 32 or 16 bits that vectors of floats are loaded from and stored to.
///
/// A multiply takes a group of [`Element::GROUP`] values of each operand in every lane: one f32, or two bf16,
/// whose two products are added. The values of a group are adjacent in memory.
///
/// # Safety
/// Every bit pattern must be a value, and the alignment no stricter than that of `f32`.
pub unsafe trait Element: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// Values that a lane of a multiply takes at a time, 1 or 2.
    const GROUP: usize;

    /// The value as f32, exactly.
    fn wide(self) -> f32;

    /// The nearest value to an f32, ties to even.
    fn narrow(value: f32) -> Self;

    /// Loads 16 values, widened to f32.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 values.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector;

    /// Stores 16 values, rounded from f32.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 values.
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: S::Vector);

    /// Interleaves [`Element::GROUP`] vectors of 16 values, so that the values of a lane become a group;
    /// `from` and `to` may be equal.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 groups, `to` for writing 16 groups.
    unsafe fn group<S: Simd>(simd: S, from: *const Self, to: *mut Self);

    /// Loads one group into all lanes of an operand.
    ///
    /// # Safety
    /// `from` must be valid for reading a group.
    unsafe fn splat_group<S: Simd>(simd: S, from: *const Self) -> S::Vector;

    /// Loads 16 groups as an operand.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 groups.
    unsafe fn load_groups<S: Simd>(simd: S, from: *const Self) -> S::Vector;

    /// Computes `c` plus the products of the groups of `a` and `b`.
    fn multiply<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector;
}

// SAFETY: it is `f32`.
unsafe impl Element for f32 {
    const GROUP: usize = 1;

    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
    #[inline(always)]
    fn narrow(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { simd.load_floats(from) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: S::Vector) {
        // SAFETY: the caller's promise.
        unsafe { simd.store_floats(to, value) }
    }
    #[inline(always)]
    unsafe fn group<S: Simd>(simd: S, from: *const f32, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { simd.store_floats(to, simd.load_floats(from)) }
    }
    #[inline(always)]
    unsafe fn splat_group<S: Simd>(simd: S, from: *const f32) -> S::Vector {
        // SAFETY: the caller's promise.
        simd.splat(unsafe { *from })
    }
    #[inline(always)]
    unsafe fn load_groups<S: Simd>(simd: S, from: *const f32) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { simd.load_floats(from) }
    }
    #[inline(always)]
    fn multiply<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        simd.mul_add(a, b, c)
    }
}

// SAFETY: 16 bits without a pattern that is no number, aligned to 2 bytes.
unsafe impl Element for bf16 {
    const GROUP: usize = 2;

    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn narrow(value: f32) -> bf16 {
        bf16::from_f32(value)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const bf16) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { simd.load_bf16(from) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut bf16, value: S::Vector) {
        // SAFETY: the caller's promise.
        unsafe { simd.store_bf16(to, value) }
    }
    #[inline(always)]
    unsafe fn group<S: Simd>(simd: S, from: *const bf16, to: *mut bf16) {
        // SAFETY: the caller's promise; 32 bf16 are as long as 16 floats.
        unsafe { simd.store_floats(to.cast(), simd.interleave(simd.load_floats(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn splat_group<S: Simd>(simd: S, from: *const bf16) -> S::Vector {
        // SAFETY: the caller's promise; a pair is as long as a float, if not aligned as one.
        simd.splat(unsafe { from.cast::<f32>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_groups<S: Simd>(simd: S, from: *const bf16) -> S::Vector {
        // SAFETY: the caller's promise; 16 pairs are as long as 16 floats.
        unsafe { simd.load_floats(from.cast()) }
    }
    #[inline(always)]
    fn multiply<S: Simd>(simd: S, a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        simd.dot(a, b, c)
    }
}
