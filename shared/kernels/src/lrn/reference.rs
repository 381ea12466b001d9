//! Local response normalisation by the formula, channel by channel: what the SIMD path is held against.

use super::Lrn;
use crate::map::{LANES, Map, MapMut};
use std::ops::Range;

/// Position of a channel's value in its block; `pixel` counts along the rows.
fn at(pixel: usize, channel: usize) -> usize {
    pixel * LANES + channel % LANES
}

/// The channels of one pixel.
fn read(map: &Map, channels: usize, image: usize, pixel: usize) -> Vec<f32> {
    (0..channels).map(|c| map.plane(image, c / LANES)[at(pixel, c)]).collect()
}

/// Writes the channels of one pixel, and zeros into the lanes behind them.
fn write(map: &mut MapMut, values: &[f32], image: usize, pixel: usize) {
    for channel in 0..map.count * LANES {
        map.plane(image, channel / LANES)[at(pixel, channel)] = values.get(channel).copied().unwrap_or(0.0);
    }
}

/// The channels that share a normalisation window with `channel`.
fn window(lrn: &Lrn, channel: usize, channels: usize) -> Range<usize> {
    let half = lrn.size / 2;
    channel.saturating_sub(half)..channels.min(channel + half + 1)
}

/// `k + alpha/size * sum of squares` for every channel of one pixel.
fn scales(lrn: &Lrn, values: &[f32]) -> Vec<f32> {
    (0..values.len())
        .map(|channel| {
            let near = &values[window(lrn, channel, values.len())];
            lrn.k + lrn.alpha / lrn.size as f32 * near.iter().map(|x| x * x).sum::<f32>()
        })
        .collect()
}

pub(super) fn forward(lrn: &Lrn, input: Map, channels: usize, mut output: MapMut) {
    for image in 0..input.shape.batch {
        for pixel in 0..input.shape.pixels() {
            let mut values = read(&input, channels, image, pixel);
            let scales = scales(lrn, &values);
            for (value, scale) in values.iter_mut().zip(scales) {
                *value *= scale.powf(-lrn.beta);
            }
            write(&mut output, &values, image, pixel);
        }
    }
}

pub(super) fn backward(
    lrn: &Lrn,
    input: Map,
    output_gradient: Map,
    channels: usize,
    mut input_gradient: MapMut,
) {
    let factor = 2.0 * lrn.alpha / lrn.size as f32 * lrn.beta;
    for image in 0..input.shape.batch {
        for pixel in 0..input.shape.pixels() {
            let x = read(&input, channels, image, pixel);
            let dy = read(&output_gradient, channels, image, pixel);
            let scales = scales(lrn, &x);
            let ratios: Vec<f32> =
                (0..channels).map(|c| dy[c] * x[c] * scales[c].powf(-lrn.beta - 1.0)).collect();
            let dx: Vec<f32> = (0..channels)
                .map(|c| {
                    let shared: f32 = ratios[window(lrn, c, channels)].iter().sum();
                    dy[c] * scales[c].powf(-lrn.beta) - factor * x[c] * shared
                })
                .collect();
            write(&mut input_gradient, &dx, image, pixel);
        }
    }
}
