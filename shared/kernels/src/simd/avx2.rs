//! AVX2 and FMA: two registers of 8 floats.

use super::Simd;
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine must have AVX2 and FMA.
    #[inline(always)]
    pub(super) unsafe fn new() -> Avx2 {
        Avx2(())
    }
}

/// Sixteen floats in two registers.
#[derive(Clone, Copy)]
pub(crate) struct Vector(__m256, __m256);

/// Widens eight bf16 to f32.
///
/// # Safety
/// The machine must have AVX2; `from` must be valid for reading 8 values.
#[inline(always)]
unsafe fn widen(from: *const bf16) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
    }
}

/// Rounds to the nearest bf16, ties to even, in the upper half of each lane; NaN stays NaN. The lower half is
/// unspecified.
///
/// # Safety
/// The machine must have AVX2.
#[inline(always)]
unsafe fn round(a: __m256) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm256_castps_si256(a);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)))
    }
}

// SAFETY of every intrinsic below: the token proves that the machine has the instruction.
#[expect(clippy::undocumented_unsafe_blocks, reason = "stated once above for all")]
impl Simd for Avx2 {
    type Vector = Vector;

    // 16 registers: 6 pixels x 2 halves of one block are 12 accumulators, plus 2 weights and 1 broadcast
    // value. Two FMAs a cycle with a latency of 4 need at least 8 accumulators, so the pixels are spread
    // evenly over tiles, wherever they lie.
    const PANEL: usize = 1;
    const PIXELS: [usize; 4] = [0, 6, 0, 0];
    const SCATTERED: bool = true;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        unsafe {
            let half = _mm256_set1_ps(value);
            Vector(half, half)
        }
    }
    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> Vector {
        unsafe { Vector(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: Vector) {
        unsafe {
            _mm256_storeu_ps(to, value.0);
            _mm256_storeu_ps(to.add(8), value.1);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const bf16) -> Vector {
        unsafe { Vector(widen(from), widen(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16, value: Vector) {
        unsafe {
            let low = _mm256_srli_epi32::<16>(round(value.0));
            let high = _mm256_srli_epi32::<16>(round(value.1));
            // Packing works within 128-bit halves: see `store_bytes`.
            let values = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
            _mm256_storeu_si256(to.cast(), values);
        }
    }
    #[inline(always)]
    fn interleave(self, values: Vector) -> Vector {
        unsafe {
            let (first, second) = (_mm256_castps_si256(values.0), _mm256_castps_si256(values.1));
            // Unpacking works within 128-bit halves: lanes 0 to 3 and 8 to 11, then the others.
            let low = _mm256_unpacklo_epi16(first, second);
            let high = _mm256_unpackhi_epi16(first, second);
            Vector(
                _mm256_castsi256_ps(_mm256_permute2x128_si256::<0x20>(low, high)),
                _mm256_castsi256_ps(_mm256_permute2x128_si256::<0x31>(low, high)),
            )
        }
    }
    #[inline(always)]
    fn low(self, pairs: Vector) -> Vector {
        unsafe {
            let low = _mm256_slli_epi32::<16>(_mm256_castps_si256(pairs.0));
            let high = _mm256_slli_epi32::<16>(_mm256_castps_si256(pairs.1));
            Vector(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
        }
    }
    #[inline(always)]
    fn high(self, pairs: Vector) -> Vector {
        unsafe {
            let mask = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
            Vector(_mm256_and_ps(pairs.0, mask), _mm256_and_ps(pairs.1, mask))
        }
    }
    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        unsafe { Vector(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        unsafe { Vector(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        unsafe { Vector(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn sqrt(self, a: Vector) -> Vector {
        unsafe { Vector(_mm256_sqrt_ps(a.0), _mm256_sqrt_ps(a.1)) }
    }
    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        unsafe { Vector(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        unsafe { Vector(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }
    #[inline(always)]
    fn select_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_GT_OQ>(a.0, b.0);
            let high = _mm256_cmp_ps::<_CMP_GT_OQ>(a.1, b.1);
            Vector(_mm256_blendv_ps(no.0, yes.0, low), _mm256_blendv_ps(no.1, yes.1, high))
        }
    }
    #[inline(always)]
    fn add_equal(self, bytes: &[u8; 16], others: &[u8; 16], sum: Vector, a: Vector) -> Vector {
        unsafe {
            let [bytes, others] = [bytes, others].map(|bytes| _mm_loadu_si128(bytes.as_ptr().cast()));
            let equal = _mm_cmpeq_epi8(bytes, others);
            let low = _mm256_castsi256_ps(_mm256_cvtepi8_epi32(equal));
            let high = _mm256_castsi256_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(equal)));
            self.add(sum, Vector(_mm256_and_ps(a.0, low), _mm256_and_ps(a.1, high)))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: Vector) {
        unsafe {
            // Packing works within 128-bit halves, so it leaves the quarters in the order 0, 2, 1, 3.
            let words = _mm256_packs_epi32(_mm256_cvttps_epi32(value.0), _mm256_cvttps_epi32(value.1));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let (low, high) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.cast(), _mm_packus_epi16(low, high));
        }
    }
    #[inline(always)]
    unsafe fn stream_floats(self, to: *mut f32, value: Vector) {
        unsafe {
            _mm256_stream_ps(to, value.0);
            _mm256_stream_ps(to.add(8), value.1);
        }
    }
    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn prefetch<T>(self, from: *const T) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
}
