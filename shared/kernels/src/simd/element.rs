//! How vectors meet what lies in memory: f32 as it is, bf16 widened and rounded, or multiplied in pairs.

use super::Simd;
use half::bf16;
use std::fmt::Debug;

/// A number of 32 or 16 bits that vectors of floats are read from and written to.
///
/// A product takes a group of [`Element::GROUP`] values of each operand in every lane: one f32, or two bf16, which it
/// multiplies with the other operand's two and adds both. Groups lie side by side in memory.
///
/// # Safety
/// Every pattern of bits must be a value, and the alignment no stricter than that of `f32`.
pub unsafe trait Element: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// Values that a lane of a product takes at a time, 1 or 2.
    const GROUP: usize;

    /// As f32, exactly.
    fn wide(self) -> f32;

    /// The nearest value, ties to even.
    fn narrow(value: f32) -> Self;

    /// 16 values, widened.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 values.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::Vector;

    /// 16 values, rounded.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 values.
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: S::Vector);

    /// Copies as many vectors of 16 values as a group has values, so that those of a lane become a group; in place as well.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 groups, `to` for writing them.
    unsafe fn group<S: Simd>(simd: S, from: *const Self, to: *mut Self);

    /// One group for all lanes of a product.
    ///
    /// # Safety
    /// `from` must be valid for reading a group.
    unsafe fn splat_group<S: Simd>(simd: S, from: *const Self) -> S::Vector;

    /// 16 groups for a product.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 groups.
    unsafe fn load_groups<S: Simd>(simd: S, from: *const Self) -> S::Vector;

    /// `c` plus the products of the groups of `a` and `b`.
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
        unsafe { simd.load_halves(from) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut bf16, value: S::Vector) {
        // SAFETY: the caller's promise.
        unsafe { simd.store_halves(to, value) }
    }
    #[inline(always)]
    unsafe fn group<S: Simd>(simd: S, from: *const bf16, to: *mut bf16) {
        // SAFETY: the caller's promise; 32 halves are as long as 16 floats.
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
