//! The entry points of a convolution for one kind of value.

use super::methods::{Table, table};
use super::pack::{Direction, WeightMatrix, panel_width};
use super::pass::{Pass, WeightPass};
use super::{Convolution, ConvolutionParameters, reference};
use crate::context::Context;
use crate::disjoint::Disjoint;
use crate::epilogue::Epilogue;
use crate::gradients::ParameterGradients;
use crate::isa::Isa;
use crate::map::{Map, MapMut, Shape};
use crate::pool::Pool;
use crate::value::Value;
use std::ops::Range;

/// Pointers to the functions that compute a [`Convolution`] on maps of `T`. It calls them through these
/// pointers, so that their code is compiled in this crate and not again in each crate that uses it.
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    pub(super) methods: Table<T>,
    pub(super) pack: fn(&Convolution, Direction, Isa, &Pool, &[f32], &mut [T]),
    pub(super) forward: fn(&Convolution, Context, Map<T>, ConvolutionParameters<T>, bool, MapMut<T>),
    pub(super) backward_input: fn(&Convolution, Context, Map<T>, &[T], Epilogue<T>, MapMut<T>),
    pub(super) backward_weights: fn(&Convolution, Context, Map<T>, Map<T>, ParameterGradients),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { methods: table(), pack, forward, backward_input, backward_weights }
    }
}

fn pack<T: Value>(
    convolution: &Convolution,
    direction: Direction,
    isa: Isa,
    pool: &Pool,
    weights: &[f32],
    packed: &mut [T],
) {
    assert_eq!(weights.len(), convolution.weights_len(), "weights of {convolution:?}");
    assert_eq!(packed.len(), convolution.packed_len::<T>(isa), "packed weights of {convolution:?}");
    if isa == Isa::scalar() {
        packed.iter_mut().zip(weights).for_each(|(to, weight)| *to = T::narrow(*weight));
        return;
    }
    let matrix = WeightMatrix::new(convolution, direction, weights);
    convolution.method::<T>(isa).pack(&matrix, isa, pool, packed);
}

fn forward<T: Value>(
    convolution: &Convolution,
    context: Context,
    input: Map<T>,
    parameters: ConvolutionParameters<T>,
    relu: bool,
    output: MapMut<T>,
) {
    let isa = context.isa;
    convolution.check_forward(isa, &input, &parameters, &output.as_map());
    if isa == Isa::scalar() {
        return reference::forward(convolution, context.pool, input, parameters, relu, output);
    }
    let output_blocks = output.first..output.first + output.count;
    let output = (output.shape, output_blocks, Disjoint::new(output.data));
    let pass = convolution.forward_pass(isa, input, parameters, relu, output);
    convolution.method::<T>(isa).run(std::slice::from_ref(&pass), context);
}

fn backward_input<T: Value>(
    convolution: &Convolution,
    context: Context,
    output_gradient: Map<T>,
    packed_backward: &[T],
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
) {
    let (isa, dy, to) = (context.isa, output_gradient, input_gradient.as_map());
    convolution.check_backward_input(isa, &dy, packed_backward, &epilogue, &to);
    if isa == Isa::scalar() {
        let weights = &packed_backward[..convolution.weights_len()];
        return reference::backward_input(convolution, context.pool, dy, weights, epilogue, input_gradient);
    }
    let blocks = input_gradient.first..input_gradient.first + input_gradient.count;
    let output = (input_gradient.shape, blocks, Disjoint::new(input_gradient.data));
    let pass = convolution.backward_pass(isa, dy, packed_backward, epilogue, output);
    convolution.method::<T>(isa).run(std::slice::from_ref(&pass), context);
}

fn backward_weights<T: Value>(
    convolution: &Convolution,
    context: Context,
    input: Map<T>,
    output_gradient: Map<T>,
    gradients: ParameterGradients,
) {
    convolution.check_maps(&input, &output_gradient);
    assert_eq!(gradients.weights.len(), convolution.weights_len(), "weight gradient of {convolution:?}");
    assert_eq!(gradients.bias.len(), convolution.output_channels, "bias gradient of {convolution:?}");
    if context.isa == Isa::scalar() {
        return reference::backward_weights(convolution, context.pool, input, output_gradient, gradients);
    }
    if input.shape.batch * input.shape.pixels() == 0 {
        return gradients.clear();
    }
    let method = convolution.method::<T>(context.isa);
    method.weight_gradient(convolution, context, WeightPass { input, output_gradient, gradients });
}

impl Convolution {
    /// The forward pass into a range of blocks of a buffer.
    pub(super) fn forward_pass<'a, T: Value>(
        &'a self,
        isa: Isa,
        input: Map<'a, T>,
        parameters: ConvolutionParameters<'a, T>,
        relu: bool,
        (output_shape, output_blocks, output): (Shape, Range<usize>, Disjoint<'a, T>),
    ) -> Pass<'a, T> {
        Pass {
            kernel: self.kernel,
            input,
            depths: &self.inputs.depths,
            packed: parameters.packed,
            panels: output_blocks.len().div_ceil(panel_width(isa)),
            bias: parameters.bias,
            relu,
            accumulate: false,
            mask: None,
            output_shape,
            output_blocks,
            output,
        }
    }

    /// The pass of the input gradient into a range of blocks of a buffer.
    pub(super) fn backward_pass<'a, T: Value>(
        &'a self,
        isa: Isa,
        output_gradient: Map<'a, T>,
        packed_backward: &'a [T],
        epilogue: Epilogue<'a, T>,
        (output_shape, output_blocks, output): (Shape, Range<usize>, Disjoint<'a, T>),
    ) -> Pass<'a, T> {
        Pass {
            kernel: self.kernel,
            input: output_gradient,
            depths: &self.outputs.depths,
            packed: packed_backward,
            panels: output_blocks.len().div_ceil(panel_width(isa)),
            bias: &[],
            relu: false,
            accumulate: epilogue.accumulate,
            mask: epilogue.relu,
            output_shape,
            output_blocks,
            output,
        }
    }

    pub(super) fn check_forward<T: Value>(
        &self,
        isa: Isa,
        input: &Map<T>,
        parameters: &ConvolutionParameters<T>,
        output: &Map<T>,
    ) {
        self.check_maps(input, output);
        let ConvolutionParameters { packed, bias } = parameters;
        assert_eq!(packed.len(), self.packed_len::<T>(isa), "packed weights of {self:?}");
        assert_eq!(bias.len(), self.output_channels, "bias of {self:?}");
    }

    pub(super) fn check_backward_input<T: Value>(
        &self,
        isa: Isa,
        output: &Map<T>,
        packed: &[T],
        epilogue: &Epilogue<T>,
        input: &Map<T>,
    ) {
        self.check_maps(input, output);
        epilogue.check(input.shape, input.count);
        assert_eq!(packed.len(), self.packed_len::<T>(isa), "packed weights of {self:?}");
    }

    fn check_maps<T>(&self, input: &Map<T>, output: &Map<T>) {
        assert_eq!(input.count, self.input_blocks(), "input blocks of {self:?}");
        assert_eq!(output.count, self.output_blocks(), "output blocks of {self:?}");
        let size = |map: &Map<T>| (map.shape.batch, map.shape.height, map.shape.width);
        assert_eq!(size(input), size(output), "batch, height, width of input and output");
        assert_eq!([input.shape.height, input.shape.width], self.size, "height and width of {self:?}");
    }
}
