//! One vector type per instruction set, and the dispatch into code compiled for it.
//!
//! An algorithm is written once, generic over [`Simd`], as a [`Kernel`]; [`dispatch`] runs it in a function
//! that has the instruction set switched on. That works only if everything in between is inlined into that
//! function: each method here, each `Vectorised::vectors` and each generic helper that it calls carries
//! `#[inline(always)]`. Code that is not inlined would still be right, but compiled for the baseline and
//! slow. For the same reason the threads are outside: `pool.run(tasks, |task| dispatch(isa, Kernel { task, ..
//! }))`, never a pool inside a kernel.
//!
//! The compiler vectorises plain loops over slices inside `Vectorised::vectors` for that instruction set; the
//! methods of [`Simd`] are for code where registers must be counted or shuffled.

pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod portable;
#[cfg(any(test, target_arch = "x86_64"))]
mod wide;

pub use element::Element;

use crate::isa::{Isa, Kind};
use half::bf16;

/// The operations of one instruction set on vectors of 16 floats (one block of channels), and the sizes of
/// register tiles that fit its registers.
///
/// A value of the implementing type proves that the machine has the instructions: it is made in
/// [`dispatch`], from an [`Isa`].
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen floats.
    type Vector: Copy;

    /// Output blocks of a full panel of packed weights: the most columns of a register tile.
    const PANEL: usize;

    /// Whether the pixels of a tile may lie anywhere (with one offset register each) instead of side by side
    /// in a row.
    const SCATTERED: bool;

    /// The most pixels of a forward tile, by the number of blocks in its panel. The accumulators, one vector
    /// of weights for each block and one broadcast value must fit the registers. Zero beyond [`Simd::PANEL`].
    const PIXELS: [usize; 4];

    /// The most rows (broadcast input values) of a tile of the weight gradient.
    const ROWS: usize;

    /// Returns `count`, the length of a loop that the compiler must unroll so that the loop's values stay in
    /// registers. An implementation for tests may hide it from the compiler, which then does not unroll.
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

    /// Stores 16 floats past the caches where the machine can (non-temporally); see [`Simd::stream`].
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
    unsafe fn load_bf16(self, from: *const bf16) -> Self::Vector;

    /// Rounds to the nearest bf16, ties to even, and stores them; any alignment.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 values.
    unsafe fn store_bf16(self, to: *mut bf16, value: Self::Vector);

    /// Takes the bits of `values` as 32 bf16 and interleaves the first 16 with the last 16: lane `i` of the
    /// result holds number `i` in its lower 16 bits and number `16 + i` in its upper 16 bits.
    fn interleave(self, values: Self::Vector) -> Self::Vector;

    /// Rounds both vectors to bf16; each lane gets the value of `lower` in its lower half and that of `upper`
    /// in its upper half.
    #[inline(always)]
    fn pair(self, lower: Self::Vector, upper: Self::Vector) -> Self::Vector {
        let mut values = [bf16::ZERO; 32];
        self.write(&mut values[..16], lower);
        self.write(&mut values[16..], upper);
        // SAFETY: 32 bf16 are as long as 16 floats.
        self.interleave(unsafe { self.load_floats(values.as_ptr().cast()) })
    }

    /// Transposes: lane `j` of vector `i` becomes lane `i` of vector `j`.
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

    /// Widens to f32 the lower one of the two bf16 in each lane of `pairs`.
    fn low(self, pairs: Self::Vector) -> Self::Vector;

    /// Widens to f32 the upper one of the two bf16 in each lane of `pairs`.
    fn high(self, pairs: Self::Vector) -> Self::Vector;

    /// Computes `c + low(a) * low(b) + high(a) * high(b)` in each lane, which holds two bf16 in `a` and in
    /// `b`, and an f32 in `c` and in the result.
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

    /// Stores 16 values, rounded to the type in memory.
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
    /// Computes `1 / sqrt(a)` of normal numbers, to within one or two units in the last place.
    #[inline(always)]
    fn inverse_root(self, a: Self::Vector) -> Self::Vector {
        self.div(self.splat(1.0), self.sqrt(a))
    }
    /// Returns the larger of `a` and `b` in each lane; `b` where either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Computes `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Selects in each lane `yes` where `a > b`, else `no` (also where either is NaN).
    fn select_greater(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;
    /// Writes 16 floats to the start of `to`, past the caches if the machine can and `to` starts at a cache
    /// line (64 bytes): for data that is written once, in whole cache lines, and read much later.
    /// [`Simd::fence`] must follow before another thread reads them.
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

    /// Makes the floats that [`Simd::stream`] has written visible to other threads.
    #[inline(always)]
    fn fence(self) {}

    /// Returns `sum`, with `a` added in each lane `i` where `bytes[i] == others[i]`.
    fn add_equal(
        self,
        bytes: &[u8; 16],
        others: &[u8; 16],
        sum: Self::Vector,
        a: Self::Vector,
    ) -> Self::Vector;

    /// Stores 16 lanes that hold whole numbers from 0 to 255 as bytes.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 bytes.
    unsafe fn store_bytes(self, to: *mut u8, value: Self::Vector);

    /// The sum of the 16 lanes.
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

    /// Reads the first 16 values of a slice, widened to f32.
    #[inline(always)]
    fn read<T: Element>(self, from: &[T]) -> Self::Vector {
        assert!(from.len() >= 16);
        // SAFETY: length asserted.
        unsafe { self.load(from.as_ptr()) }
    }

    /// Writes the 16 floats of `value` over the first 16 values of a slice, rounded to the type of the slice.
    #[inline(always)]
    fn write<T: Element>(self, to: &mut [T], value: Self::Vector) {
        assert!(to.len() >= 16);
        // SAFETY: length asserted.
        unsafe { self.store(to.as_mut_ptr(), value) }
    }

    /// Writes to the start of `to`: for f32 the 16 lanes of `first`; for bf16 16 pairs, each of a lane of
    /// `first` and the same lane of `other`, rounded.
    #[inline(always)]
    fn write_groups<T: Element>(self, to: &mut [T], [first, other]: [Self::Vector; 2]) {
        match T::GROUP {
            1 => self.write(to, first),
            _ => self.write_pairs(to, first, other),
        }
    }

    /// Writes over the first 32 values of `to`, which must be bf16: 16 pairs, each of a lane of `lower` and
    /// the same lane of `upper`, rounded as by [`Simd::pair`].
    #[inline(always)]
    fn write_pairs<T: Element>(self, to: &mut [T], lower: Self::Vector, upper: Self::Vector) {
        assert!(T::GROUP == 2 && to.len() >= 32);
        // SAFETY: 32 values of 16 bits are as long as 16 floats.
        unsafe { self.store_floats(to.as_mut_ptr().cast(), self.pair(lower, upper)) }
    }

    /// Writes the 16 lanes of `value`, which must be whole numbers from 0 to 255, over the first 16 bytes of
    /// `to`.
    #[inline(always)]
    fn write_bytes(self, to: &mut [u8], value: Self::Vector) {
        assert!(to.len() >= 16);
        // SAFETY: length asserted.
        unsafe { self.store_bytes(to.as_mut_ptr(), value) }
    }

    /// Prefetches the cache line at `from` where the instruction set can; `from` may be any address, even an
    /// invalid one.
    fn prefetch<T>(self, from: *const T);
}

/// The alignment of a cache line.
#[repr(align(64))]
struct CacheLine;

/// A kernel with a vector form, on values of `T`. A kernel of bf16 is compiled once more for machines with
/// bf16 instructions. Kernels on register or AMX tiles have no other form: the scalar reference computes
/// their whole layer by other code.
///
/// The compiler puts the code of a provided method into the module of the implementing type. The code of
/// `on_...` is therefore compiled next to each kernel, so that several processors share the work and an edit
/// recompiles one family.
pub(crate) trait Vectorised<T: Element = f32, Output = ()>: Sized {
    /// Runs the vector form; implementations must be `#[inline(always)]`.
    fn vectors<S: Simd>(self, simd: S) -> Output;

    /// Runs the vector form in a function that has AVX2 and FMA switched on.
    ///
    /// # Safety
    /// The machine must have both.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn on_avx2(self) -> Output {
        // SAFETY: the caller's promise.
        self.vectors(unsafe { avx2::Avx2::new() })
    }

    /// Runs the vector form in a function that has AVX-512 switched on.
    ///
    /// # Safety
    /// The machine must have these parts of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn on_avx512(self) -> Output {
        // SAFETY: the caller's promise.
        self.vectors(unsafe { avx512::Avx512::<false>::new() })
    }

    /// Runs the vector form in a function that has AVX-512 and its bf16 instructions switched on.
    ///
    /// # Safety
    /// The machine must have these parts of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn on_avx512bf16(self) -> Output {
        // SAFETY: the caller's promise.
        self.vectors(unsafe { avx512::Avx512::<true>::new() })
    }
}

/// A kernel with a scalar reference besides its vector form.
pub(crate) trait Kernel<T: Element = f32, Output = ()>: Vectorised<T, Output> {
    /// Runs the scalar reference: plain loops, obviously right.
    fn scalar(self) -> Output;
}

/// A plain loop that the compiler vectorises by itself: one body for the scalar reference and for vectors.
pub(crate) trait Loop<Output = ()> {
    /// Runs the loop; implementations must be `#[inline(always)]`.
    fn run(self) -> Output;
}

impl<L: Loop<Output>, Output> Vectorised<f32, Output> for L {
    #[inline(always)]
    fn vectors<S: Simd>(self, _simd: S) -> Output {
        self.run()
    }
}

impl<L: Loop<Output>, Output> Kernel<f32, Output> for L {
    fn scalar(self) -> Output {
        self.run()
    }
}

/// Runs `kernel` on `isa`.
#[inline]
pub(crate) fn dispatch<T: Element, Output>(isa: Isa, kernel: impl Kernel<T, Output>) -> Output {
    if isa == Isa::scalar() { kernel.scalar() } else { dispatch_tiled(isa, kernel) }
}

/// Runs the vector form of `kernel` on `isa`, which is not the scalar reference: for kernels on tiles.
#[inline]
pub(crate) fn dispatch_tiled<T: Element, Output>(isa: Isa, kernel: impl Vectorised<T, Output>) -> Output {
    match isa.kind() {
        Kind::Scalar => unreachable!("the scalar reference runs no kernel on tiles"),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa` makes this kind only where the machine has AVX2 and FMA.
        Kind::Avx2 => unsafe { kernel.on_avx2() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Isa` makes this kind only where the machine has these parts of AVX-512 and BF16.
        Kind::Avx512Bf16 | Kind::Amx if const { T::GROUP == 2 } => unsafe { kernel.on_avx512bf16() },
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
