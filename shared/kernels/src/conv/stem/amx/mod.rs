//! The stem on AMX tiles, in bf16. The four channel slots of eight adjacent pixels are 32 values, the depth
//! of a multiply, so that a row of the kernel is one multiply, or two if it is longer.

mod forward;
mod gradient;

pub(super) use forward::{run as forward, scratch_of_thread};
pub(super) use gradient::{run as gradient, scratch_len as gradient_scratch_len};

use super::Stem;
use crate::map::{LANES, blocks};
use crate::pool::part;
use crate::simd::amx::{COLUMNS, DEPTH, TILE_VALUES};
use crate::value::Value;

/// Channel slots of a pixel; slots without a channel are zero.
const CHANNELS: usize = 4;

/// Adjacent pixels of one multiply.
const PIXELS: usize = DEPTH / CHANNELS;

/// Multiplies for a row of the kernel.
fn products(stem: &Stem) -> usize {
    stem.kernel.div_ceil(PIXELS)
}

/// Values of the packed weights.
pub(super) fn packed_len(stem: &Stem) -> usize {
    blocks(stem.output_channels) * stem.kernel * products(stem) * TILE_VALUES
}

/// Packs weights as `[panel][y][multiply][output block][16 pairs][16 outputs][2]`.
pub(super) fn pack<T: Value>(stem: &Stem, weights: &[f32], packed: &mut [T]) {
    packed.fill(T::default());
    let Stem { output_channels, kernel, .. } = *stem;
    let (count, steps) = (blocks(output_channels), kernel * products(stem));
    let panels = count.div_ceil(COLUMNS);
    for panel in (0..panels).map(|panel| part(panel, panels, count)) {
        let packed = &mut packed[panel.start * steps * TILE_VALUES..];
        for output in panel.start * LANES..(panel.end * LANES).min(output_channels) {
            let (column, lane) = (output / LANES - panel.start, output % LANES);
            let weights = &weights[output * stem.taps()..][..stem.taps()];
            for (index, weight) in weights.iter().enumerate() {
                let (channel, y, x) = (index / (kernel * kernel), index / kernel % kernel, index % kernel);
                let step = y * products(stem) + x / PIXELS;
                let place = x % PIXELS * CHANNELS + channel;
                let tile = (step * panel.len() + column) * TILE_VALUES;
                packed[tile + place / 2 * 2 * LANES + 2 * lane + place % 2] = T::narrow(*weight);
            }
        }
    }
}
