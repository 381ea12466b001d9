//! The entry points of a convolution for one kind of value, and the choice of the method that runs.

use super::pack::{self, Direction, WeightMatrix, panel_width};
use super::pass::Pass;
use super::{Convolution, Method, amx, direct, gradient, reference, winograd};
use crate::disjoint::Disjoint;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::map::{Map, MapMut, Shape};
use crate::pool::Pool;
use crate::value::Value;
use std::ops::Range;

/// The entry points of a convolution; part of [`crate::entries`].
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    pub(super) pack: fn(&Convolution, Direction, Isa, &Pool, &[f32], &mut [T]),
    pub(super) forward: fn(&Convolution, Isa, &Pool, Map<T>, &[T], &[f32], bool, MapMut<T>, &mut [f32]),
    pub(super) backward_input: fn(&Convolution, Isa, &Pool, Map<T>, &[T], Epilogue<T>, MapMut<T>, &mut [f32]),
    pub(super) backward_weights:
        fn(&Convolution, Isa, &Pool, Map<T>, Map<T>, &mut [f32], &mut [f32], &mut [f32]),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { pack, forward, backward_input, backward_weights }
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
    match convolution.method::<T>(isa) {
        Method::Direct => pack::pack(&matrix, isa, pool, packed),
        Method::Winograd(scheme) => winograd::pack(&matrix, scheme, isa, pool, packed),
        Method::Amx(_) => amx::pack(&matrix, isa, pool, packed),
    }
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
fn forward<T: Value>(
    convolution: &Convolution,
    isa: Isa,
    pool: &Pool,
    input: Map<T>,
    packed: &[T],
    bias: &[f32],
    relu: bool,
    output: MapMut<T>,
    scratch: &mut [f32],
) {
    convolution.check_forward(isa, &input, packed, bias, &output.as_map());
    if isa == Isa::scalar() {
        let weights = &packed[..convolution.weights_len()];
        return reference::forward(convolution, pool, input, weights, bias, relu, output);
    }
    let output_blocks = output.first..output.first + output.count;
    let output = (output.shape, output_blocks, Disjoint::new(output.data));
    let pass = convolution.forward_pass(isa, input, packed, bias, relu, output);
    run(convolution, &pass, isa, pool, scratch);
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
fn backward_input<T: Value>(
    convolution: &Convolution,
    isa: Isa,
    pool: &Pool,
    output_gradient: Map<T>,
    packed_backward: &[T],
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
    scratch: &mut [f32],
) {
    let to = input_gradient.as_map();
    convolution.check_backward_input(isa, &output_gradient, packed_backward, &epilogue, &to);
    if isa == Isa::scalar() {
        let weights = &packed_backward[..convolution.weights_len()];
        return reference::backward_input(
            convolution,
            pool,
            output_gradient,
            weights,
            epilogue,
            input_gradient,
        );
    }
    let blocks = input_gradient.first..input_gradient.first + input_gradient.count;
    let output = (input_gradient.shape, blocks, Disjoint::new(input_gradient.data));
    let pass = convolution.backward_pass(isa, output_gradient, packed_backward, epilogue, output);
    run(convolution, &pass, isa, pool, scratch);
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
fn backward_weights<T: Value>(
    convolution: &Convolution,
    isa: Isa,
    pool: &Pool,
    input: Map<T>,
    output_gradient: Map<T>,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    convolution.check_maps(&input, &output_gradient);
    assert_eq!(weight_gradient.len(), convolution.weights_len(), "weight gradient of {convolution:?}");
    assert_eq!(bias_gradient.len(), convolution.output_channels, "bias gradient of {convolution:?}");
    let (dy, dw, db) = (output_gradient, weight_gradient, bias_gradient);
    if isa == Isa::scalar() {
        return reference::backward_weights(convolution, pool, input, dy, dw, db);
    }
    let fastest = |scheme| winograd::fastest_gradient(scheme, convolution.size, input.shape.batch);
    let scheme = match convolution.method::<T>(isa) {
        Method::Amx(amx) => {
            return amx::gradient(convolution, amx, isa, pool, input, dy, dw, db, scratch);
        }
        Method::Direct => None,
        Method::Winograd(scheme) => fastest(scheme),
    };
    match scheme {
        None => gradient::run(convolution, isa, pool, input, dy, dw, db, scratch),
        Some(scheme) => winograd::gradient(convolution, scheme, isa, pool, input, dy, dw, db, scratch),
    }
}

fn run<T: Value>(convolution: &Convolution, pass: &Pass<'_, T>, isa: Isa, pool: &Pool, scratch: &mut [f32]) {
    match convolution.method::<T>(isa) {
        Method::Direct => direct::run(std::slice::from_ref(pass), isa, pool, scratch),
        Method::Winograd(scheme) => winograd::run(pass, scheme, isa, pool, scratch),
        Method::Amx(amx) => amx::run(std::slice::from_ref(pass), amx, isa, pool, scratch),
    }
}

impl Convolution {
    /// The forward pass into a range of blocks of a buffer.
    pub(super) fn forward_pass<'a, T: Value>(
        &'a self,
        isa: Isa,
        input: Map<'a, T>,
        packed: &'a [T],
        bias: &'a [f32],
        relu: bool,
        (output_shape, output_blocks, output): (Shape, Range<usize>, Disjoint<'a, T>),
    ) -> Pass<'a, T> {
        Pass {
            kernel: self.kernel,
            input,
            depths: &self.inputs.depths,
            packed,
            panels: output_blocks.len().div_ceil(panel_width(isa)),
            bias,
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
        packed: &[T],
        bias: &[f32],
        output: &Map<T>,
    ) {
        self.check_maps(input, output);
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
