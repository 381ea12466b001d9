//! Direct convolutions of bf16 on AMX tiles: all three passes, any kernel.
//!
//! AMX tiles multiply so much faster than vectors that the transforms of Winograd's algorithm would cost more
//! than they save. The operands are copied into the layout of the tiles, in copies that stay in the
//! second-level cache. In a copy the pixels of a chunk of rows or images have consecutive positions,
//! including the zeros around them ([`positions`]). A tap is then a displacement that is equal for all
//! pixels, and 32 consecutive positions are the rows of a multiply. Results at positions without a pixel are
//! dropped.

use crate::cache;
use crate::simd::amx::{COLUMNS, ROWS};

mod gradient;
mod pack;
mod pass;
mod positions;

pub(super) use gradient::{pair, run as gradient, scratch_len as gradient_scratch_len};
pub(super) use pack::{pack, packed_len};
pub(super) use pass::{finish, run, scratch_of_thread};

/// Pixels and output blocks that are multiplied at a time.
pub(super) const TILE: [usize; 2] = [ROWS, COLUMNS];

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
