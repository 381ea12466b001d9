//! Minimal filtering (Winograd): convolutions in fewer multiplications, all three directions.
//!
//! A 3x3 kernel takes F(4x4, 3x3), 36 multiplications for 16 outputs instead of 144; a 5x5 kernel F(2x2, 5x5), 36 for
//! 4 outputs instead of 100. Both stand on the same six points, so the transform of the input is one ([`transform`]).
//! A transformed tile is 36 matrices [point][block][tile][16]; each point is a product over the channels, with
//! the register tiles of the direct kernels.
//!
//! Rounding: the transforms add terms of very different size, so that an output's error is larger than the direct
//! kernel's, by 4 to 5 times for 3x3 and about 3 times for 5x5: 1.2e-6 to 2.5e-6 of the tensor's norm.

mod forward;
mod gradient;
mod pack;
mod tiles;
mod transform;

pub(super) use forward::{run, scratch_of_thread};
pub(super) use gradient::{pays as gradient_pays, run as gradient, scratch_len as gradient_scratch_len};
pub(super) use pack::pack;

/// Products that take the place of a kernel's taps.
pub(super) const PRODUCTS: usize = transform::POINTS;

/// Outputs of a tile's side for this kernel.
pub(super) fn outputs_of(kernel: usize) -> usize {
    transform::SIDE + 1 - kernel
}

/// Multiplications for maps of this size, by image and pair of channels.
pub(super) fn multiplications(kernel: usize, height: usize, width: usize) -> usize {
    let side = outputs_of(kernel);
    PRODUCTS * height.div_ceil(side) * width.div_ceil(side)
}

/// Runs `$run::<instructions, values, outputs, taps>` for a kernel of 3 or 5 taps.
macro_rules! by_kernel {
    ($kernel:expr, $run:ident($($argument:expr),*)) => {
        match $kernel {
            3 => $run::<_, _, 4, 3>($($argument),*),
            5 => $run::<_, _, 2, 5>($($argument),*),
            other => unreachable!("minimal filtering of a {other}x{other} kernel"),
        }
    };
}
use by_kernel;
