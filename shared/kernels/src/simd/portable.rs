//! Arrays of 16 floats and plain loops: runs everywhere, and lets the compiler vectorise for the baseline.

use super::{Simd, wide};

/// `WIDE` chooses the tiles of AVX-512, so that tests can prove their logic on machines that lack it.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const WIDE: bool>;

type Vector = [f32; 16];

// Not inlined in tests, where the tiles of all widths in arrays would take minutes to compile.
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

    // For the same reason.
    #[inline(always)]
    fn unrolled(self, count: usize) -> usize {
        if cfg!(test) { std::hint::black_box(count) } else { count }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        [value; 16]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Vector {
        // SAFETY: 16 floats may be read (caller).
        unsafe { from.cast::<Vector>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Vector) {
        // SAFETY: 16 floats may be written (caller).
        unsafe { to.cast::<Vector>().write_unaligned(value) }
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
    // Rounded twice: `f32::mul_add` is a slow function call where the baseline has no such instruction.
    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        each(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    fn select_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        each(|lane| if a[lane] > b[lane] { yes[lane] } else { no[lane] })
    }
    #[inline(always)]
    unsafe fn keep(self, bytes: *const u8, byte: u8, a: Vector) -> Vector {
        // SAFETY: 16 bytes may be read (caller).
        let bytes = unsafe { bytes.cast::<[u8; 16]>().read() };
        each(|lane| if bytes[lane] == byte { a[lane] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: Vector) {
        // SAFETY: 16 bytes may be written (caller).
        unsafe { to.cast::<[u8; 16]>().write(value.map(|value| value as u8)) }
    }
    #[inline(always)]
    fn prefetch(self, _from: *const f32) {}
}
