//! Reference of the stem by plain loops: the measure of the vector kernels, and the code of `Isa::scalar()`.

use super::{PaddedChannel, PlanarImages, Stem};
use crate::conv::ConvolutionParameters;
use crate::map::{LANES, Map, MapMut};
use crate::value::Value;

pub(super) fn forward<T: Value>(
    stem: &Stem,
    images: PlanarImages,
    parameters: ConvolutionParameters,
    relu: bool,
    mut output: MapMut<T>,
) {
    let ConvolutionParameters { packed: weights, bias } = parameters;
    let columns = output.shape.width;
    for image in 0..output.shape.batch {
        for o in 0..output.count * LANES {
            let plane = output.plane(image, o / LANES);
            for (pixel, value) in plane.iter_mut().skip(o % LANES).step_by(LANES).enumerate() {
                *value = T::default();
                if o < stem.output_channels {
                    let mut sum = f64::from(bias[o]);
                    each_tap(stem, images, [image, pixel / columns, pixel % columns], |tap, value| {
                        sum += f64::from(weights[o * stem.taps() + tap]) * f64::from(value);
                    });
                    *value = T::narrow(if relu { sum.max(0.0) as f32 } else { sum as f32 });
                }
            }
        }
    }
}

pub(super) fn backward_weights<T: Value>(
    stem: &Stem,
    images: PlanarImages,
    output_gradient: Map<T>,
    weight_gradient: &mut [f32],
) {
    let columns = output_gradient.shape.width;
    for (o, weight_gradient) in weight_gradient.chunks_exact_mut(stem.taps()).enumerate() {
        let mut sums = vec![0.0f64; stem.taps()];
        for image in 0..output_gradient.shape.batch {
            let plane = output_gradient.plane(image, o / LANES);
            for (pixel, gradient) in plane.iter().skip(o % LANES).step_by(LANES).enumerate() {
                each_tap(stem, images, [image, pixel / columns, pixel % columns], |tap, value| {
                    sums[tap] += f64::from(gradient.wide()) * f64::from(value);
                });
            }
        }
        for (gradient, sum) in weight_gradient.iter_mut().zip(sums) {
            *gradient = sum as f32;
        }
    }
}

/// Visits the taps of an output pixel (image, row, column) that read inside the image: each tap's index and
/// its input.
fn each_tap(stem: &Stem, images: PlanarImages, [image, y, x]: [usize; 3], mut tap: impl FnMut(usize, f32)) {
    let Stem { kernel, padding, .. } = *stem;
    for c in 0..stem.input_channels {
        for ky in 0..kernel {
            let channel = PaddedChannel { stem, images, plane: image * stem.input_channels + c };
            let Some(row) = channel.row(y * stem.stride + ky) else {
                continue;
            };
            for kx in 0..kernel {
                let column = (x * stem.stride + kx).checked_sub(padding);
                if let Some(value) = column.and_then(|column| row.get(column)) {
                    tap((c * kernel + ky) * kernel + kx, *value);
                }
            }
        }
    }
}
