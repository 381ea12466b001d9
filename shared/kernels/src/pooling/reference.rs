//! Reference of pooling: one block of one image by plain loops over every channel.

use super::{NO_WINNER, Windows};
use crate::Value;
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

pub(super) fn max_forward<T: Value>(
    rows: Windows,
    columns: Windows,
    rectified: bool,
    from: &[T],
    to: &mut [T],
    mut indices: Option<&mut [u8]>,
) {
    each(rows, columns, |y, x, lane| {
        let rows_best = rows.taps(y).map(|ky| {
            let values = columns.taps(x).map(|kx| {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                (from[(iy * columns.len + ix) * LANES + lane].wide(), ky * rows.kernel + kx)
            });
            values.reduce(greater).expect("no window is empty")
        });
        let (value, index) = rows_best.reduce(greater).expect("no window is empty");
        let place = (y * columns.count + x) * LANES + lane;
        to[place] = T::narrow(value);
        if let Some(indices) = &mut indices {
            indices[place] = if value > 0.0 || !rectified { index as u8 } else { NO_WINNER };
        }
    });
}

/// The greater of two candidates; the first if they are equal.
fn greater(first: (f32, usize), second: (f32, usize)) -> (f32, usize) {
    if second.0 > first.0 { second } else { first }
}

pub(super) fn max_backward<T: Value>(
    rows: Windows,
    columns: Windows,
    from: &[T],
    indices: &[u8],
    accumulate: bool,
    to: &mut [T],
) {
    let mut sums: Vec<f32> = to.iter().map(|value| if accumulate { value.wide() } else { 0.0 }).collect();
    each(rows, columns, |y, x, lane| {
        let place = (y * columns.count + x) * LANES + lane;
        if indices[place] == NO_WINNER {
            return;
        }
        let index = indices[place] as usize;
        let iy = rows.input(y, index / rows.kernel);
        let ix = columns.input(x, index % rows.kernel);
        sums[(iy * columns.len + ix) * LANES + lane] += from[place].wide();
    });
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = T::narrow(sum));
}

pub(super) fn average_forward<T: Value>(rows: Windows, columns: Windows, from: &[T], to: &mut [T]) {
    each(rows, columns, |y, x, lane| {
        let mut sum = 0.0;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                sum += from[(iy * columns.len + ix) * LANES + lane].wide();
            }
        }
        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
        to[(y * columns.count + x) * LANES + lane] = T::narrow(sum / area);
    });
}

pub(super) fn average_backward<T: Value>(
    rows: Windows,
    columns: Windows,
    from: &[T],
    accumulate: bool,
    mask: Option<&[T]>,
    to: &mut [T],
) {
    let mut sums: Vec<f32> = to.iter().map(|value| if accumulate { value.wide() } else { 0.0 }).collect();
    each(rows, columns, |y, x, lane| {
        let gradient = from[(y * columns.count + x) * LANES + lane].wide();
        let area = (rows.taps(y).len() * columns.taps(x).len()) as f32;
        for ky in rows.taps(y) {
            for kx in columns.taps(x) {
                let (iy, ix) = (rows.input(y, ky), columns.input(x, kx));
                sums[(iy * columns.len + ix) * LANES + lane] += gradient / area;
            }
        }
    });
    for (place, (to, sum)) in to.iter_mut().zip(sums).enumerate() {
        *to = T::narrow(if mask.is_none_or(|mask| mask[place].wide() > 0.0) { sum } else { 0.0 });
    }
}
