//! NEON: four registers of 4 floats.

use super::Simd;
use half::bf16;
use std::arch::aarch64::*;

/// Proof that the machine has NEON, which every aarch64 processor has.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// Sixteen floats in four registers.
#[derive(Clone, Copy)]
pub(crate) struct Vector([float32x4_t; 4]);

impl Vector {
    #[inline(always)]
    fn map(self, each: impl Fn(float32x4_t) -> float32x4_t) -> Vector {
        let [a, b, c, d] = self.0;
        Vector([each(a), each(b), each(c), each(d)])
    }

    #[inline(always)]
    fn zip(self, other: Vector, each: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Vector {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        Vector([each(a, e), each(b, f), each(c, g), each(d, h)])
    }
}

/// Rounds to the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
fn round(a: float32x4_t) -> uint16x4_t {
    // SAFETY: every aarch64 processor has NEON.
    unsafe {
        let bits = vreinterpretq_u32_f32(a);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(a, a), rounded, quiet))
    }
}

// SAFETY of every intrinsic below: every aarch64 processor has NEON.
#[expect(clippy::undocumented_unsafe_blocks, reason = "stated once above for all")]
impl Simd for Neon {
    type Vector = Vector;

    // 32 registers: 6 pixels x 4 quarters of one block are 24 accumulators, plus 4 weights and 1 broadcast
    // value.
    const PANEL: usize = 1;
    const PIXELS: [usize; 4] = [0, 6, 0, 0];
    const SCATTERED: bool = true;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        unsafe { Vector([vdupq_n_f32(value); 4]) }
    }
    #[inline(always)]
    unsafe fn load_floats(self, from: *const f32) -> Vector {
        unsafe {
            Vector([vld1q_f32(from), vld1q_f32(from.add(4)), vld1q_f32(from.add(8)), vld1q_f32(from.add(12))])
        }
    }
    #[inline(always)]
    unsafe fn store_floats(self, to: *mut f32, value: Vector) {
        let [a, b, c, d] = value.0;
        unsafe {
            vst1q_f32(to, a);
            vst1q_f32(to.add(4), b);
            vst1q_f32(to.add(8), c);
            vst1q_f32(to.add(12), d);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const bf16) -> Vector {
        unsafe {
            let [a, b] = [vld1q_u16(from.cast()), vld1q_u16(from.cast::<u16>().add(8))];
            Vector([
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(a))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(a)),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(b))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(b)),
            ])
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16, value: Vector) {
        let [a, b, c, d] = value.0;
        unsafe {
            vst1q_u16(to.cast(), vcombine_u16(round(a), round(b)));
            vst1q_u16(to.cast::<u16>().add(8), vcombine_u16(round(c), round(d)));
        }
    }
    #[inline(always)]
    fn interleave(self, values: Vector) -> Vector {
        unsafe {
            let [a, b, c, d] = values.0.map(|quarter| vreinterpretq_u16_f32(quarter));
            let pairs = [vzip1q_u16(a, c), vzip2q_u16(a, c), vzip1q_u16(b, d), vzip2q_u16(b, d)];
            Vector(pairs.map(|pairs| vreinterpretq_f32_u16(pairs)))
        }
    }
    #[inline(always)]
    fn low(self, pairs: Vector) -> Vector {
        pairs.map(|a| unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(a))) })
    }
    #[inline(always)]
    fn high(self, pairs: Vector) -> Vector {
        pairs.map(|a| unsafe {
            let upper = vdupq_n_u32(0xffff_0000);
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), upper))
        })
    }
    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        a.zip(b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        a.zip(b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        a.zip(b, |a, b| unsafe { vdivq_f32(a, b) })
    }
    #[inline(always)]
    fn sqrt(self, a: Vector) -> Vector {
        a.map(|a| unsafe { vsqrtq_f32(a) })
    }
    // The instruction named max would return NaN where either operand is NaN.
    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        a.zip(b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3]) = (a.0, b.0, c.0);
        unsafe {
            Vector([
                vfmaq_f32(c0, a0, b0),
                vfmaq_f32(c1, a1, b1),
                vfmaq_f32(c2, a2, b2),
                vfmaq_f32(c3, a3, b3),
            ])
        }
    }
    #[inline(always)]
    fn select_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        let mut result = no;
        for i in 0..4 {
            result.0[i] = unsafe { vbslq_f32(vcgtq_f32(a.0[i], b.0[i]), yes.0[i], no.0[i]) };
        }
        result
    }
    #[inline(always)]
    fn add_equal(self, bytes: &[u8; 16], others: &[u8; 16], sum: Vector, a: Vector) -> Vector {
        unsafe {
            let equal = vreinterpretq_s8_u8(vceqq_u8(vld1q_u8(bytes.as_ptr()), vld1q_u8(others.as_ptr())));
            let (low, high) = (vmovl_s8(vget_low_s8(equal)), vmovl_high_s8(equal));
            let masks = [
                vmovl_s16(vget_low_s16(low)),
                vmovl_high_s16(low),
                vmovl_s16(vget_low_s16(high)),
                vmovl_high_s16(high),
            ];
            let masked = a.zip(Vector(masks.map(|mask| vreinterpretq_f32_s32(mask))), |a, mask| {
                vreinterpretq_f32_s32(vandq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(mask)))
            });
            self.add(sum, masked)
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: Vector) {
        unsafe {
            let [a, b, c, d] = value.0.map(|quarter| vmovn_u32(vcvtq_u32_f32(quarter)));
            let [low, high] = [vmovn_u16(vcombine_u16(a, b)), vmovn_u16(vcombine_u16(c, d))];
            vst1q_u8(to, vcombine_u8(low, high));
        }
    }
    // Prefetching is left to the hardware: stable Rust has no prefetch instruction for aarch64.
    #[inline(always)]
    fn prefetch<T>(self, _from: *const T) {}
}
