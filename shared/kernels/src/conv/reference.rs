//! Reference of the convolution by plain loops: the measure of every faster kernel, and the code of
//! `Isa::scalar()`.
//!
//! Weights are in canonical order; sums are taken in `f64`.

use super::{Convolution, ConvolutionParameters, block_channels};
use crate::disjoint::Disjoint;
use crate::epilogue::Epilogue;
use crate::gradients::ParameterGradients;
use crate::map::{LANES, Map, MapMut, blocks};
use crate::pool::Pool;
use crate::value::Value;
use std::ops::Range;

/// The outputs of a line of `len` for which a tap reads inside the line; the kernel reaches `pad` to each
/// side.
fn inside(tap: usize, pad: usize, len: usize) -> Range<usize> {
    pad.saturating_sub(tap)..(len + pad).saturating_sub(tap).min(len)
}

pub(super) fn forward<T: Value>(
    conv: &Convolution,
    pool: &Pool,
    input: Map<T>,
    parameters: ConvolutionParameters<T>,
    relu: bool,
    output: MapMut<T>,
) {
    let ConvolutionParameters { packed: weights, bias } = parameters;
    let inputs = block_channels(&conv.input_channels);
    let (height, width, kernel, pad) = (input.shape.height, input.shape.width, conv.kernel, conv.kernel / 2);
    let output_blocks = output.count;
    let offset = |image, block| (image * output.shape.blocks + output.first + block) * output.shape.plane();
    let out = Disjoint::new(output.data);
    pool.run(input.shape.batch * output_blocks, |task| {
        let (image, block) = (task / output_blocks, task % output_blocks);
        // SAFETY: each task has its own block.
        let plane = unsafe { out.part(offset(image, block), height * width * LANES) };
        plane.fill(T::default());
        let mut sums = vec![0.0f64; width];
        for lane in 0..LANES.min(conv.output_channels - block * LANES) {
            let o = block * LANES + lane;
            for y in 0..height {
                sums.fill(f64::from(bias[o]));
                for (b, channels) in inputs.iter().enumerate() {
                    for c in 0..channels.count {
                        for ky in (0..kernel).filter(|ky| inside(*ky, pad, height).contains(&y)) {
                            let row =
                                &input.plane(image, b)[(y + ky - pad) * width * LANES..][..width * LANES];
                            for kx in 0..kernel {
                                let i = channels.first + c;
                                let w = weights[((o * conv.input_count() + i) * kernel + ky) * kernel + kx];
                                for x in inside(kx, pad, width) {
                                    sums[x] += product(w, row[(x + kx - pad) * LANES + c]);
                                }
                            }
                        }
                    }
                }
                for (x, sum) in sums.iter().enumerate() {
                    let value = *sum as f32;
                    plane[(y * width + x) * LANES + lane] =
                        T::narrow(if relu { value.max(0.0) } else { value });
                }
            }
        }
    });
}

pub(super) fn backward_input<T: Value>(
    conv: &Convolution,
    pool: &Pool,
    output_gradient: Map<T>,
    weights: &[T],
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
) {
    let inputs = block_channels(&conv.input_channels);
    let (height, width) = (output_gradient.shape.height, output_gradient.shape.width);
    let (kernel, pad) = (conv.kernel, conv.kernel / 2);
    let (first, shape) = (input_gradient.first, input_gradient.shape);
    let out = Disjoint::new(input_gradient.data);
    pool.run(shape.batch * inputs.len(), |task| {
        let (image, b) = (task / inputs.len(), task % inputs.len());
        // SAFETY: each task has its own block.
        let plane = unsafe { out.part((image * shape.blocks + first + b) * shape.plane(), shape.plane()) };
        let mut sums = vec![0.0f64; width];
        for c in 0..LANES {
            for y in 0..height {
                sums.fill(0.0);
                if c < inputs[b].count {
                    let i = inputs[b].first + c;
                    for o in 0..conv.output_channels {
                        // Output row y - ky + pad reads input row y through tap ky: the taps of `inside`,
                        // mirrored.
                        for ky in (0..kernel).filter(|ky| inside(kernel - 1 - ky, pad, height).contains(&y)) {
                            let from = output_gradient.plane(image, o / LANES);
                            let row = &from[(y + pad - ky) * width * LANES..][..width * LANES];
                            for kx in 0..kernel {
                                let w = weights[((o * conv.input_count() + i) * kernel + ky) * kernel + kx];
                                for x in inside(kernel - 1 - kx, pad, width) {
                                    let gradient = row[(x + pad - kx) * LANES + o % LANES];
                                    sums[x] += product(w, gradient);
                                }
                            }
                        }
                    }
                }
                for (x, sum) in sums.iter().enumerate() {
                    let place = (y * width + x) * LANES + c;
                    let sum = *sum as f32 + if epilogue.accumulate { plane[place].wide() } else { 0.0 };
                    let passes =
                        epilogue.relu.is_none_or(|values| values.plane(image, b)[place].wide() > 0.0);
                    plane[place] = T::narrow(if passes { sum } else { 0.0 });
                }
            }
        }
    });
}

pub(super) fn backward_weights<T: Value>(
    conv: &Convolution,
    pool: &Pool,
    input: Map<T>,
    output_gradient: Map<T>,
    gradients: ParameterGradients,
) {
    let inputs = block_channels(&conv.input_channels);
    let (batch, height, width) = (input.shape.batch, input.shape.height, input.shape.width);
    let (kernel, pad) = (conv.kernel, conv.kernel / 2);
    let per_output = conv.input_count() * kernel * kernel;
    let weight_gradient = Disjoint::new(gradients.weights);
    pool.run(conv.output_channels, |o| {
        // SAFETY: each task has its own output channel.
        let gradient = unsafe { weight_gradient.part(o * per_output, per_output) };
        for (b, channels) in inputs.iter().enumerate() {
            for c in 0..channels.count {
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let mut sum = 0.0f64;
                        for image in 0..batch {
                            let from = input.plane(image, b);
                            let dy = output_gradient.plane(image, o / LANES);
                            for y in inside(ky, pad, height) {
                                for x in inside(kx, pad, width) {
                                    let value = from[((y + ky - pad) * width + x + kx - pad) * LANES + c];
                                    let gradient = dy[(y * width + x) * LANES + o % LANES];
                                    sum += product(value, gradient);
                                }
                            }
                        }
                        gradient[((channels.first + c) * kernel + ky) * kernel + kx] = sum as f32;
                    }
                }
            }
        }
    });
    bias_gradient_of(output_gradient, gradients.bias);
}

/// The sum of each output channel's gradients over images and pixels.
pub(super) fn bias_gradient_of<T: Value>(output_gradient: Map<T>, bias_gradient: &mut [f32]) {
    assert_eq!(output_gradient.count, blocks(bias_gradient.len()), "blocks of the output gradient");
    for (o, gradient) in bias_gradient.iter_mut().enumerate() {
        let planes = (0..output_gradient.shape.batch).map(|image| output_gradient.plane(image, o / LANES));
        let values = planes.flat_map(|plane| plane.iter().skip(o % LANES).step_by(LANES));
        *gradient = values.map(|value| f64::from(value.wide())).sum::<f64>() as f32;
    }
}

fn product<T: Value>(a: T, b: T) -> f64 {
    f64::from(a.wide()) * f64::from(b.wide())
}
