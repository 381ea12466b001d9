//! AVX-512: one register of 16 floats.

use super::Simd;
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, DQ and VL, and with `BF16` also BF16.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>(());

impl<const BF16: bool> Avx512<BF16> {
    /// # Safety
    /// The machine must have AVX-512 F, BW, DQ and VL, and with `BF16` also BF16.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Avx512(())
    }

    /// Rounds to the nearest bf16, ties to even, in the upper half of each lane; NaN stays NaN. The lower
    /// half is unspecified.
    #[inline(always)]
    fn round(self, a: __m512) -> __m512i {
        // SAFETY: the token proves that the machine has the instructions.
        unsafe {
            let bits = _mm512_castps_si512(a);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x0040_0000))
        }
    }
}

// SAFETY of every intrinsic below: the token proves that the machine has the instruction.
#[expect(clippy::undocumented_unsafe_blocks, reason = "stated once above for all")]
impl<const BF16: bool> Simd for Avx512<BF16> {
    type Vector = __m512;

    const PANEL: usize = super::wide::PANEL;
    const PIXELS: [usize; 4] = super::wide::PIXELS;
    const SCATTERED: bool = false;
    const ROWS: usize = super::wide::ROWS;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const bf16) -> __m512 {
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16, value: __m512) {
        unsafe {
            let values = if BF16 {
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(value))
            } else {
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(self.round(value)))
            };
            _mm256_storeu_si256(to.cast(), values);
        }
    }
    #[inline(always)]
    fn interleave(self, values: __m512) -> __m512 {
        /// Source of each of the 32 values.
        const FROM: [u16; 32] = {
            let mut from = [0; 32];
            let mut to = 0;
            while to < 32 {
                from[to] = (to / 2 + to % 2 * 16) as u16;
                to += 1;
            }
            from
        };
        unsafe {
            let from = _mm512_loadu_si512(FROM.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(from, _mm512_castps_si512(values)))
        }
    }
    #[inline(always)]
    fn pair(self, lower: __m512, upper: __m512) -> __m512 {
        unsafe {
            if BF16 {
                let values = std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(upper, lower));
                return self.interleave(values);
            }
            let lower = _mm512_srli_epi32::<16>(self.round(lower));
            let upper = _mm512_and_si512(self.round(upper), _mm512_set1_epi32(0xffff_0000_u32 as i32));
            _mm512_castsi512_ps(_mm512_or_si512(lower, upper))
        }
    }
    #[inline(always)]
    fn transpose(self, rows: [__m512; 16]) -> [__m512; 16] {
        // Pairs of rows, then of pairs, within each quarter of a vector; then the quarters, twice.
        let mut a = rows;
        unsafe {
            let mut b = a;
            for i in (0..16).step_by(2) {
                b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
                b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
            }
            for i in (0..16).step_by(4) {
                for (low, high) in [(0, 0), (2, 1)] {
                    let pair = |row: usize| _mm512_castps_pd(b[i + row]);
                    let (x, y) = (pair(high), pair(high + 2));
                    a[i + low] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    a[i + low + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
            }
            for i in [0, 1, 2, 3] {
                b[i] = _mm512_shuffle_f32x4::<0x88>(a[i], a[i + 4]);
                b[i + 4] = _mm512_shuffle_f32x4::<0xdd>(a[i], a[i + 4]);
                b[i + 8] = _mm512_shuffle_f32x4::<0x88>(a[i + 8], a[i + 12]);
                b[i + 12] = _mm512_shuffle_f32x4::<0xdd>(a[i + 8], a[i + 12]);
            }
            for i in [0, 1, 2, 3] {
                a[i] = _mm512_shuffle_f32x4::<0x88>(b[i], b[i + 8]);
                a[i + 8] = _mm512_shuffle_f32x4::<0xdd>(b[i], b[i + 8]);
                a[i + 4] = _mm512_shuffle_f32x4::<0x88>(b[i + 4], b[i + 12]);
                a[i + 12] = _mm512_shuffle_f32x4::<0xdd>(b[i + 4], b[i + 12]);
            }
        }
        a
    }
    #[inline(always)]
    fn low(self, pairs: __m512) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pairs))) }
    }
    #[inline(always)]
    fn high(self, pairs: __m512) -> __m512 {
        unsafe { _mm512_and_ps(pairs, _mm512_castsi512_ps(_mm512_set1_epi32(0xffff_0000_u32 as i32))) }
    }
    #[inline(always)]
    fn dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if !BF16 {
            return self.mul_add(self.high(a), self.high(b), self.mul_add(self.low(a), self.low(b), c));
        }
        unsafe {
            let [a, b] = [a, b].map(|pairs| std::mem::transmute::<__m512, __m512bh>(pairs));
            _mm512_dpbf16_ps(c, a, b)
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn inverse_root(self, a: __m512) -> __m512 {
        // The estimate has 14 bits; a step of Newton's method doubles them: y (1.5 - a y y / 2).
        unsafe {
            let y = _mm512_rsqrt14_ps(a);
            let half = _mm512_mul_ps(_mm512_mul_ps(a, _mm512_set1_ps(-0.5)), y);
            let step = _mm512_fmadd_ps(half, y, _mm512_set1_ps(0.5));
            _mm512_fmadd_ps(y, step, y)
        }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn select_greater(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), no, yes) }
    }
    #[inline(always)]
    fn add_equal(self, bytes: &[u8; 16], others: &[u8; 16], sum: __m512, a: __m512) -> __m512 {
        unsafe {
            let [bytes, others] = [bytes, others].map(|bytes| _mm_loadu_si128(bytes.as_ptr().cast()));
            let equal = _mm_cmpeq_epi8_mask(bytes, others);
            _mm512_mask_add_ps(sum, equal, sum, a)
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: __m512) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(value))) }
    }
    #[inline(always)]
    unsafe fn stream_floats(self, to: *mut f32, value: __m512) {
        unsafe { _mm512_stream_ps(to, value) }
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
