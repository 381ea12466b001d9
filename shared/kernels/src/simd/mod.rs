//! One vector type per instruction set, and the way into code compiled for it.
//!
//! An algorithm is written once, generic over [`Simd`], as a [`Kernel`]; [`dispatch`] runs it in a function that has
//! the instruction set switched on. That works only if everything between is inlined into that function: each
//! method here, each `Kernel::vectors` and each generic helper that it calls carries `#[inline(always)]`. Code that is
//! not inlined would still be right, but compiled for the baseline, and slow. For the same reason the threads are
//! outside: `pool.run(tasks, |task| dispatch(isa, Kernel { task, .. }))`, never a pool inside a kernel.
//!
//! Plain loops over slices inside `Kernel::vectors` are vectorised by the compiler for that instruction set; use the
//! methods of [`Simd`] where registers must be counted or shuffled.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
pub(crate) mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod portable;
#[cfg(any(test, target_arch = "x86_64"))]
mod wide;

pub use element::Element;

use crate::isa::{Isa, Kind};
use half::bf16;

/// Vectors of 16 floats (one block of channels) of one instruction set, and the tile sizes that fit its registers.
///
/// The implementing type is a token: it exists only where the instructions do (made in [`dispatch`] from an [`Isa`]).
pub trait Simd: Copy + Send + Sync + 'static {
    /// 16 floats.
    type Vector: Copy;

    /// Output blocks of a full panel of packed weights (the columns of a register tile).
    const PANEL: usize;

    /// A tile's pixels may lie anywhere (one offset register each) instead of side by side in a row.
    const SCATTERED: bool;

    /// The most pixels (forward) of a tile, by the blocks of its panel: accumulators, one vector for the weights of each
    /// block and one broadcast value must fit the registers. Zero beyond [`Simd::PANEL`].
    const PIXELS: [usize; 4];

    /// The most rows (broadcast input values) of a tile of the weight gradient.
    const ROWS: usize;

    /// The length of a loop that has to be unrolled for the registers' sake.
    #[inline(always)]
    fn unrolled(self, count: usize) -> usize {
        count
    }

    fn splat(self, value: f32) -> Self::Vector;

    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }

    /// Loads 16 floats; any alignment.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 floats.
    unsafe fn load_floats(self, from: *const f32) -> Self::Vector;

    /// Stores 16 floats; any alignment.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 floats.
    unsafe fn store_floats(self, to: *mut f32, value: Self::Vector);

    /// Stores 16 floats past the caches where the machine can; see [`Simd::stream`].
    ///
    /// # Safety
    /// `to` must be valid for writing 16 floats, and at the start of a cache line.
    #[inline(always)]
    unsafe fn stream_floats(self, to: *mut f32, value: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe { self.store_floats(to, value) }
    }

    /// Loads 16 bf16 and widens them; any alignment.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 values.
    unsafe fn load_halves(self, from: *const bf16) -> Self::Vector;

    /// Rounds to the nearest bf16, ties to even, and stores them; any alignment.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 values.
    unsafe fn store_halves(self, to: *mut bf16, value: Self::Vector);

    /// Of 32 bf16, which lie in the bits of 16 lanes, in each lane one of the first 16 and, above it, one of the others.
    fn interleave(self, halves: Self::Vector) -> Self::Vector;

    /// In each lane the lower value rounded to bf16 and, above it, the upper one.
    #[inline(always)]
    fn pair(self, lower: Self::Vector, upper: Self::Vector) -> Self::Vector {
        let mut halves = [bf16::ZERO; 32];
        self.write(&mut halves[..16], lower);
        self.write(&mut halves[16..], upper);
        // SAFETY: 32 halves are as long as 16 floats.
        self.interleave(unsafe { self.load_floats(halves.as_ptr().cast()) })
    }

    /// Lane `j` of vector `i` to lane `i` of vector `j`.
    #[inline(always)]
    fn transpose(self, rows: [Self::Vector; 16]) -> [Self::Vector; 16] {
        let (mut from, mut to) = ([[0.0; 16]; 16], [[0.0; 16]; 16]);
        from.iter_mut().zip(rows).for_each(|(from, row)| self.write(from, row));
        for (i, row) in from.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                to[j][i] = *value;
            }
        }
        to.map(|row| self.read(&row))
    }

    /// The lower bf16 of each lane's pair, widened.
    fn low(self, pairs: Self::Vector) -> Self::Vector;

    /// The upper one.
    fn high(self, pairs: Self::Vector) -> Self::Vector;

    /// `c` plus the products of the lower and of the upper bf16 of each lane's pairs.
    #[inline(always)]
    fn dot(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        self.mul_add(self.high(a), self.high(b), self.mul_add(self.low(a), self.low(b), c))
    }

    /// Loads 16 values, widened to f32.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 values.
    #[inline(always)]
    unsafe fn load<T: Element>(self, from: *const T) -> Self::Vector {
        // SAFETY: the caller's promise.
        unsafe { T::load(self, from) }
    }

    /// Stores 16 values, rounded to what they are stored as.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 values.
    #[inline(always)]
    unsafe fn store<T: Element>(self, to: *mut T, value: Self::Vector) {
        // SAFETY: the caller's promise.
        unsafe { T::store(self, to, value) }
    }

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// `1 / sqrt(a)`, to within a unit or two in the last place, of normal numbers.
    #[inline(always)]
    fn inverse_root(self, a: Self::Vector) -> Self::Vector {
        self.div(self.splat(1.0), self.sqrt(a))
    }
    /// The larger of each lane; `b` where `a` is not a number.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// In each lane `yes` where `a > b`, else `no` (also where either is not a number).
    fn select_greater(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;
    /// 16 floats into a slice, which must have as many; past the caches where the machine can and the slice is aligned: for what is
    /// written once, in whole cache lines, and read much later. [`Simd::settle`] must follow before another thread reads it.
    #[inline(always)]
    fn stream(self, to: &mut [f32], value: Self::Vector) {
        assert!(to.len() >= 16);
        if to.as_ptr().cast::<CacheLine>().is_aligned() {
            // SAFETY: length and alignment are as they must be.
            unsafe { self.stream_floats(to.as_mut_ptr(), value) }
        } else {
            self.write(to, value);
        }
    }

    /// Other threads see what was streamed.
    #[inline(always)]
    fn settle(self) {}

    /// `sum`, plus `a` in the lanes whose bytes of the two are equal.
    fn add_equal(
        self,
        bytes: &[u8; 16],
        others: &[u8; 16],
        sum: Self::Vector,
        a: Self::Vector,
    ) -> Self::Vector;

    /// Stores 16 lanes, whole numbers from 0 to 255, as bytes.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 bytes.
    unsafe fn store_bytes(self, to: *mut u8, value: Self::Vector);

    /// The 16 lanes added.
    #[inline(always)]
    fn sum(self, a: Self::Vector) -> f32 {
        let mut lanes = [0.0; 16];
        // SAFETY: the array has 16 floats.
        unsafe { self.store_floats(lanes.as_mut_ptr(), a) };
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
        }
        lanes[0]
    }

    /// 16 values of a slice, which must have as many.
    #[inline(always)]
    fn read<T: Element>(self, from: &[T]) -> Self::Vector {
        assert!(from.len() >= 16);
        // SAFETY: length asserted.
        unsafe { self.load(from.as_ptr()) }
    }

    /// 16 values into a slice, which must have as many.
    #[inline(always)]
    fn write<T: Element>(self, to: &mut [T], value: Self::Vector) {
        assert!(to.len() >= 16);
        // SAFETY: length asserted.
        unsafe { self.store(to.as_mut_ptr(), value) }
    }

    /// 16 groups, each of a value of the first vector and, of bf16, one of the other, into a slice, which must have as many.
    #[inline(always)]
    fn write_groups<T: Element>(self, to: &mut [T], [first, other]: [Self::Vector; 2]) {
        match T::GROUP {
            1 => self.write(to, first),
            _ => self.write_pairs(to, first, other),
        }
    }

    /// 16 pairs of bf16, as of [`Simd::pair`], into a slice of bf16, which must have as many.
    #[inline(always)]
    fn write_pairs<T: Element>(self, to: &mut [T], lower: Self::Vector, upper: Self::Vector) {
        assert!(T::GROUP == 2 && to.len() >= 32);
        // SAFETY: 32 values of 16 bits are as long as 16 floats.
        unsafe { self.store_floats(to.as_mut_ptr().cast(), self.pair(lower, upper)) }
    }

    /// 16 lanes, whole numbers from 0 to 255, into a slice, which must have as many bytes.
    #[inline(always)]
    fn write_bytes(self, to: &mut [u8], value: Self::Vector) {
        assert!(to.len() >= 16);
        // SAFETY: length asserted.
        unsafe { self.store_bytes(to.as_mut_ptr(), value) }
    }

    /// Asks for the cache line at `from`, which need not be valid.
    fn prefetch<T>(self, from: *const T);
}

/// A vector's place in memory that is one line of the caches.
#[repr(align(64))]
struct CacheLine;

/// An operation with a plain reference and a vector form.
///
/// The compiler puts the code of a provided method where the implementing type is: what `on_...` becomes for a kernel is
/// compiled beside that kernel, so that several processors share the work, and an edit compiles one family again.
pub(crate) trait Kernel: Sized {
    /// Whether it works on bf16, and so is compiled once more for machines with instructions for that.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no other machine has such a kind"))]
    const HALVES: bool = false;
    /// What it returns.
    type Output;
    /// Plain loops, obviously right.
    fn scalar(self) -> Self::Output;
    /// The operation with vectors; implementations must be `#[inline(always)]`.
    fn vectors<S: Simd>(self, simd: S) -> Self::Output;

    /// The operation with AVX2 and FMA switched on.
    ///
    /// # Safety
    /// The machine must have both.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn on_avx2(self) -> Self::Output {
        // SAFETY: the caller's promise.
        self.vectors(unsafe { avx2::Avx2::new() })
    }

    /// The operation with AVX-512 switched on.
    ///
    /// # Safety
    /// The machine must have these parts of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn on_avx512(self) -> Self::Output {
        // SAFETY: the caller's promise.
        self.vectors(unsafe { avx512::Avx512::<false>::new() })
    }

    /// The operation with AVX-512 and its instructions for bf16 switched on.
    ///
    /// # Safety
    /// The machine must have these parts of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn on_avx512bf16(self) -> Self::Output {
        // SAFETY: the caller's promise.
        self.vectors(unsafe { avx512::Avx512::<true>::new() })
    }
}

/// A plain loop that the compiler vectorises by itself: one body for the reference and for vectors.
pub(crate) trait Loop {
    /// What it returns.
    type Output;
    /// The loop; implementations must be `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

impl<L: Loop> Kernel for L {
    type Output = L::Output;

    fn scalar(self) -> L::Output {
        self.run()
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, _simd: S) -> L::Output {
        self.run()
    }
}

/// Runs `kernel` on `isa`.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.kind() {
        Kind::Scalar => kernel.scalar(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa` makes this kind only where the machine has AVX2 and FMA.
        Kind::Avx2 => unsafe { kernel.on_avx2() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa` makes this kind only where the machine has these parts of AVX-512 and BF16.
        Kind::Avx512Bf16 | Kind::Amx if K::HALVES => unsafe { kernel.on_avx512bf16() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa` makes these kinds only where the machine has these parts of AVX-512.
        Kind::Avx512 | Kind::Avx512Bf16 | Kind::Amx => unsafe { kernel.on_avx512() },
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => kernel.vectors(neon::Neon),
        #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
        Kind::Portable => kernel.vectors(portable::Portable::<false>),
        #[cfg(test)]
        Kind::PortableWide | Kind::PortableAmx => kernel.vectors(portable::Portable::<true>),
    }
}
