//! Pooling by plain loops over every channel: what the SIMD paths are held against.

use super::{AveragePool, MaxPool, Windows};
use crate::map::{LANES, Map, MapMut, Shape};

/// Calls `visit(image, block, y, x, lane)` for every value of a map of `count` blocks, in order.
fn each(shape: Shape, count: usize, mut visit: impl FnMut(usize, usize, usize, usize, usize)) {
    for image in 0..shape.batch {
        for block in 0..count {
            for y in 0..shape.height {
                for x in 0..shape.width {
                    for lane in 0..LANES {
                        visit(image, block, y, x, lane);
                    }
                }
            }
        }
    }
}

/// Position of a value in its block.
fn at(shape: Shape, y: usize, x: usize, lane: usize) -> usize {
    (y * shape.width + x) * LANES + lane
}

pub(super) fn max_forward(pool: &MaxPool, input: Map, mut output: MapMut, indices: &mut [u8]) {
    let rows = Windows::new(pool.kernel, pool.stride, pool.padding, input.shape.height);
    let columns = Windows::new(pool.kernel, pool.stride, pool.padding, input.shape.width);
    let mut place = 0;
    let shape = output.shape;
    each(shape, output.count, |image, block, y, x, lane| {
        let mut best: Option<(f32, usize)> = None;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                let value = input.plane(image, block)[at(input.shape, iy, ix, lane)];
                if best.is_none_or(|(greatest, _)| value > greatest) {
                    best = Some((value, ky * pool.kernel + kx));
                }
            }
        }
        let (value, index) = best.expect("no window is empty");
        output.plane(image, block)[at(shape, y, x, lane)] = value;
        indices[place] = index as u8;
        place += 1;
    });
}

pub(super) fn max_backward(
    pool: &MaxPool,
    output_gradient: Map,
    indices: &[u8],
    accumulate: bool,
    mut input_gradient: MapMut,
) {
    clear_unless(accumulate, &mut input_gradient);
    let to = input_gradient.shape;
    let rows = Windows::new(pool.kernel, pool.stride, pool.padding, to.height);
    let columns = Windows::new(pool.kernel, pool.stride, pool.padding, to.width);
    let mut place = 0;
    each(output_gradient.shape, output_gradient.count, |image, block, y, x, lane| {
        let gradient = output_gradient.plane(image, block)[at(output_gradient.shape, y, x, lane)];
        let index = indices[place] as usize;
        let iy = rows.input(y, index / pool.kernel);
        let ix = columns.input(x, index % pool.kernel);
        input_gradient.plane(image, block)[at(to, iy, ix, lane)] += gradient;
        place += 1;
    });
}

pub(super) fn average_forward(pool: &AveragePool, input: Map, mut output: MapMut) {
    let rows = Windows::new(pool.kernel, pool.stride, 0, input.shape.height);
    let columns = Windows::new(pool.kernel, pool.stride, 0, input.shape.width);
    let shape = output.shape;
    each(shape, output.count, |image, block, y, x, lane| {
        let mut sum = 0.0;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                sum += input.plane(image, block)[at(input.shape, iy, ix, lane)];
            }
        }
        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
        output.plane(image, block)[at(shape, y, x, lane)] = sum / area;
    });
}

pub(super) fn average_backward(
    pool: &AveragePool,
    output_gradient: Map,
    accumulate: bool,
    mut input_gradient: MapMut,
) {
    clear_unless(accumulate, &mut input_gradient);
    let to = input_gradient.shape;
    let rows = Windows::new(pool.kernel, pool.stride, 0, to.height);
    let columns = Windows::new(pool.kernel, pool.stride, 0, to.width);
    each(output_gradient.shape, output_gradient.count, |image, block, y, x, lane| {
        let gradient = output_gradient.plane(image, block)[at(output_gradient.shape, y, x, lane)];
        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                input_gradient.plane(image, block)[at(to, iy, ix, lane)] += gradient / area;
            }
        }
    });
}

fn clear_unless(accumulate: bool, map: &mut MapMut) {
    if !accumulate {
        for image in 0..map.shape.batch {
            for block in 0..map.count {
                map.plane(image, block).fill(0.0);
            }
        }
    }
}
