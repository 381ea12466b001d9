//! Arrays of 16 floats and plain loops, which run everywhere and let the compiler vectorise for the baseline.

use super::{Simd, wide};
use half::bf16;

/// Vectors as arrays. `WIDE` chooses the register tiles of AVX-512, so that tests can check their logic on
/// machines without it.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const WIDE: bool>;

type Vector = [f32; 16];

// In tests the function is not inlined: unrolled tiles of all widths on arrays would take minutes to compile.
#[cfg_attr(test, inline(never))]
#[cfg_attr(not(test), inline(always))]
fn each(f: impl Fn(usize) -> f32) -> Vector {
    let mut result = [0.0; 16];
    for (lane, value) in result.iter_mut().enumerate() {
        *value = f(lane);
    }
    result
}

impl<const WIDE: bool> Simd for Portable<WIDE> {
    type Vector = Vector;

    const PANEL: usize = if WIDE { wide::PANEL } else { 1 };
    const PIXELS: [usize; 4] = if WIDE { wide::PIXELS } else { [0, 6, 0, 0] };
    const SCATTERED: bool = !WIDE;
    const ROWS: usize = if WIDE { wide::ROWS } else { 6 };

    // In tests loops are not unrolled, again for the compile time.
    #[inline(always)]
    fn unrolled(self, count: usize) -> usize {
        if cfg!(test) { std::hint::black_box(count) } else { count }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        [value; 16]
    }
    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> Vector {
        // SAFETY: 16 floats may be read (caller).
        unsafe { from.cast::<Vector>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: Vector) {
        // SAFETY: 16 floats may be written (caller).
        unsafe { to.cast::<Vector>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const bf16) -> Vector {
        // SAFETY: 16 values may be read (caller).
        let values = unsafe { from.cast::<[bf16; 16]>().read_unaligned() };
        each(|lane| values[lane].to_f32())
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16, value: Vector) {
        // SAFETY: 16 values may be written (caller).
        unsafe { to.cast::<[bf16; 16]>().write_unaligned(value.map(bf16::from_f32)) }
    }
    #[inline(always)]
    fn interleave(self, values: Vector) -> Vector {
        let half = |index: usize| values[index / 2].to_bits() >> (index % 2 * 16) & 0xffff;
        each(|lane| f32::from_bits(half(lane) | half(lane + 16) << 16))
    }
    #[inline(always)]
    fn low(self, pairs: Vector) -> Vector {
        each(|lane| f32::from_bits(pairs[lane].to_bits() << 16))
    }
    #[inline(always)]
    fn high(self, pairs: Vector) -> Vector {
        each(|lane| f32::from_bits(pairs[lane].to_bits() & 0xffff_0000))
    }
    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        each(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        each(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        each(|lane| a[lane] / b[lane])
    }
    #[inline(always)]
    fn sqrt(self, a: Vector) -> Vector {
        each(|lane| a[lane].sqrt())
    }
    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        each(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }
    // The result is rounded twice: `f32::mul_add` is a slow function call where the baseline has no such
    // instruction.
    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        each(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    fn select_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        each(|lane| if a[lane] > b[lane] { yes[lane] } else { no[lane] })
    }
    #[inline(always)]
    fn add_equal(self, bytes: &[u8; 16], others: &[u8; 16], sum: Vector, a: Vector) -> Vector {
        each(|lane| if bytes[lane] == others[lane] { sum[lane] + a[lane] } else { sum[lane] })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: Vector) {
        // SAFETY: 16 bytes may be written (caller).
        unsafe { to.cast::<[u8; 16]>().write(value.map(|value| value as u8)) }
    }
    #[inline(always)]
    fn prefetch<T>(self, _from: *const T) {}
}
