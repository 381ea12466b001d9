//! Reference of the normalisation: the formula on the channels of one pixel.

use super::Lrn;
use std::ops::Range;

pub(super) fn forward(lrn: &Lrn, x: &[f32]) -> Vec<f32> {
    x.iter().zip(scales(lrn, x)).map(|(x, scale)| x * scale.powf(-lrn.beta)).collect()
}

pub(super) fn backward(lrn: &Lrn, x: &[f32], dy: &[f32], rectified: bool) -> Vec<f32> {
    let scales = scales(lrn, x);
    let ratios: Vec<f32> = (0..x.len()).map(|c| dy[c] * x[c] * scales[c].powf(-lrn.beta - 1.0)).collect();
    let factor = 2.0 * lrn.alpha / lrn.size as f32 * lrn.beta;
    (0..x.len())
        .map(|c| {
            let shared: f32 = ratios[window(lrn, c, x.len())].iter().sum();
            let gradient = dy[c] * scales[c].powf(-lrn.beta) - factor * x[c] * shared;
            if x[c] > 0.0 || !rectified { gradient } else { 0.0 }
        })
        .collect()
}

/// `k + alpha/size * sum of squares` for every channel.
fn scales(lrn: &Lrn, x: &[f32]) -> Vec<f32> {
    (0..x.len())
        .map(|c| {
            let squares: f32 = x[window(lrn, c, x.len())].iter().map(|x| x * x).sum();
            lrn.k + lrn.alpha / lrn.size as f32 * squares
        })
        .collect()
}

/// The channels that share a window with `channel`.
fn window(lrn: &Lrn, channel: usize, channels: usize) -> Range<usize> {
    let half = lrn.size / 2;
    channel.saturating_sub(half)..channels.min(channel + half + 1)
}
