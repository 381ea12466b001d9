//! Direct convolutions of bf16 on AMX tiles: all three passes, any kernel.
//!
//! AMX tiles multiply so much faster than vectors that the transforms of Winograd's algorithm would cost more
//! than they save. The operands are copied into the layout of the tiles, in copies that stay in the
//! second-level cache. In a copy the pixels of a chunk of rows or images have consecutive positions,
//! including the zeros around them ([`positions`]). A tap is then a displacement that is equal for all
//! pixels, and 32 consecutive positions are the rows of a multiply. Results at positions without a pixel are
//! dropped.

mod gradient;
mod pack;
mod pass;
mod positions;

pub(super) use gradient::pair;
pub(super) use pass::finish;

use super::method::Method;
use super::pack::WeightMatrix;
use super::pass::{Pass, WeightPass};
use super::{Algorithm, Convolution};
use crate::cache;
use crate::context::Context;
use crate::isa::Isa;
use crate::pool::Pool;
use crate::simd::amx::{Amx, COLUMNS, ROWS};
use crate::value::Value;

/// Direct convolution on AMX tiles, for any algorithm that a convolution asks for.
pub(super) struct OnTiles;

/// The AMX tiles of an instruction set that serves [`OnTiles`].
fn tiles_of<T: Value>(isa: Isa) -> Amx {
    isa.amx::<T>().expect("the instruction set has AMX tiles")
}

impl<T: Value> Method<T> for OnTiles {
    fn algorithm(&self) -> Option<Algorithm> {
        None
    }

    fn name(&self, _kernel: usize) -> String {
        "direct".to_owned()
    }

    fn applies(&self, _kernel: usize) -> bool {
        true
    }

    fn serves(&self, _algorithm: Algorithm, isa: Isa) -> bool {
        isa.amx::<T>().is_some()
    }

    fn multiplications(&self, kernel: usize, [height, width]: [usize; 2]) -> usize {
        kernel * kernel * height * width
    }

    fn weights(&self, kernel: usize) -> usize {
        kernel * kernel
    }

    fn packed_len(&self, conv: &Convolution) -> usize {
        let (inputs, outputs, taps) = (conv.input_blocks(), conv.output_blocks(), conv.kernel * conv.kernel);
        pack::packed_len([inputs, outputs], taps).max(pack::packed_len([outputs, inputs], taps))
    }

    fn largest_tile(&self, _isa: Isa) -> [usize; 2] {
        [ROWS, COLUMNS]
    }

    fn pass_scratch(&self, conv: &Convolution, _isa: Isa, blocks: usize) -> usize {
        pass::scratch_of_thread(blocks, conv.kernel, conv.size)
    }

    fn gradient_scratch(&self, conv: &Convolution, pool: &Pool) -> usize {
        gradient::scratch_len(conv, pool)
    }

    fn pack(&self, matrix: &WeightMatrix<'_>, isa: Isa, pool: &Pool, packed: &mut [T]) {
        pack::pack(matrix, isa, pool, packed);
    }

    fn run(&self, passes: &[Pass<'_, T>], context: Context) {
        pass::run(passes, tiles_of::<T>(context.isa), context);
    }

    fn weight_gradient(&self, conv: &Convolution, context: Context, pass: WeightPass<'_, T>) {
        let amx = tiles_of::<T>(context.isa);
        gradient::run(conv, amx, context, pass);
    }
}

/// Bytes of a chunk's copies: half of the second-level cache. In tests it is so little that their small maps
/// are cut as well.
fn budget() -> usize {
    if cfg!(test) { 16 << 10 } else { cache::second_level() / 2 }
}

/// A view of floats as integers of the same size.
pub(super) fn words(floats: &mut [f32]) -> &mut [u32] {
    // SAFETY: size and alignment are the same, and both take any bits.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), floats.len()) }
}
