//! Pooling of one block of one image by plain loops over every channel: what the vectors are held against.

use super::Windows;
use super::max::NOBODY;
use crate::map::LANES;

/// Calls `visit(y, x, lane)` for every output of a block, in order.
fn each(rows: Windows, columns: Windows, mut visit: impl FnMut(usize, usize, usize)) {
    for y in 0..rows.count {
        for x in 0..columns.count {
            for lane in 0..LANES {
                visit(y, x, lane);
            }
        }
    }
}

pub(super) fn max_forward(
    rows: Windows,
    columns: Windows,
    rectified: bool,
    from: &[f32],
    to: &mut [f32],
    mut indices: Option<&mut [u8]>,
) {
    each(rows, columns, |y, x, lane| {
        let mut best: Option<(f32, usize)> = None;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                let value = from[(iy * columns.len + ix) * LANES + lane];
                if best.is_none_or(|(greatest, _)| value > greatest) {
                    best = Some((value, ky * rows.kernel + kx));
                }
            }
        }
        let (value, index) = best.expect("no window is empty");
        let place = (y * columns.count + x) * LANES + lane;
        to[place] = value;
        if let Some(indices) = &mut indices {
            indices[place] = if value > 0.0 || !rectified { index as u8 } else { NOBODY };
        }
    });
}

pub(super) fn max_backward(
    rows: Windows,
    columns: Windows,
    from: &[f32],
    indices: &[u8],
    accumulate: bool,
    to: &mut [f32],
) {
    if !accumulate {
        to.fill(0.0);
    }
    each(rows, columns, |y, x, lane| {
        let place = (y * columns.count + x) * LANES + lane;
        if indices[place] == NOBODY {
            return;
        }
        let index = indices[place] as usize;
        let iy = rows.input(y, index / rows.kernel);
        let ix = columns.input(x, index % rows.kernel);
        to[(iy * columns.len + ix) * LANES + lane] += from[place];
    });
}

pub(super) fn average_forward(rows: Windows, columns: Windows, from: &[f32], to: &mut [f32]) {
    each(rows, columns, |y, x, lane| {
        let mut sum = 0.0;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                sum += from[(iy * columns.len + ix) * LANES + lane];
            }
        }
        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
        to[(y * columns.count + x) * LANES + lane] = sum / area;
    });
}

pub(super) fn average_backward(
    rows: Windows,
    columns: Windows,
    from: &[f32],
    accumulate: bool,
    mask: Option<&[f32]>,
    to: &mut [f32],
) {
    if !accumulate {
        to.fill(0.0);
    }
    each(rows, columns, |y, x, lane| {
        let gradient = from[(y * columns.count + x) * LANES + lane];
        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                to[(iy * columns.len + ix) * LANES + lane] += gradient / area;
            }
        }
    });
    for (value, mask) in to.iter_mut().zip(mask.into_iter().flatten()) {
        *value = if *mask > 0.0 { *value } else { 0.0 };
    }
}
