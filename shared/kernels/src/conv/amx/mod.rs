//! Convolutions of bf16 on a matrix unit: in all three directions, for any kernel, directly.
//!
//! The unit multiplies so much faster than vectors do that the transforms of minimal filtering would cost more than they save. Its
//! operands are laid out for it in copies that stay in the second-level cache. In these the pixels of a chunk of rows or images are
//! numbered in one row, zeros around them included ([`lines`]), so that a tap is a distance that is the same for all, and 32
//! numbers that follow each other are the rows of a product. What comes out where there is no pixel is dropped.

use crate::cache;
use crate::simd::matrix::{COLUMNS, ROWS};

mod gradient;
mod lines;
mod pack;
mod pass;

pub(super) use gradient::{pair, run as gradient, scratch_len as gradient_scratch_len};
pub(super) use pack::{pack, packed_len};
pub(super) use pass::{finish, run, scratch_of_thread};

/// Pixels and output blocks that are multiplied at a time.
pub(super) const TILE: [usize; 2] = [ROWS, COLUMNS];

/// Bytes of the copies of a chunk: half of the second-level cache. So little in tests that their small maps are cut as well.
fn budget() -> usize {
    if cfg!(test) { 16 << 10 } else { cache::second_level() / 2 }
}

/// Memory of floats for other numbers of as many bits.
pub(super) fn words(floats: &mut [f32]) -> &mut [u32] {
    // SAFETY: size and alignment are the same, and both take any bits.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), floats.len()) }
}
