//! Several direct convolutions of one input, such as the 1x1 convolutions of an Inception module. All of them
//! run for each band of the maps, while the data that they share is in the cache.

use super::{Algorithm, Convolution, ConvolutionParameters};
use crate::context::Context;
use crate::disjoint::Disjoint;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::map::{Map, MapMut};
use crate::value::Value;

/// Number of convolutions of one input that [`forward_branches`] and [`backward_branches`] compute together:
/// the 1x1 convolutions that read an Inception module's input.
pub const BRANCHES: usize = 3;

/// One of the convolutions of the same input that [`forward_branches`] computes together, with its parameters
/// and its output.
#[derive(Debug)]
pub struct Branch<'a, T = f32> {
    /// Convolution of the branch; its algorithm must be [`Algorithm::Direct`].
    pub convolution: &'a Convolution,
    /// Packed weights, and bias, of the convolution.
    pub parameters: ConvolutionParameters<'a, T>,
    /// Map into which the output of the convolution is written.
    pub output: MapMut<'a, T>,
}

/// One of the convolutions of the same input whose input gradients [`backward_branches`] sums, with its
/// packed weights and the gradient of its output.
#[derive(Debug)]
pub struct BranchGradient<'a, T = f32> {
    /// Convolution of the branch; its algorithm must be [`Algorithm::Direct`].
    pub convolution: &'a Convolution,
    /// Weights packed by [`Convolution::pack_backward`].
    pub packed: &'a [T],
    /// Gradient of the loss by the output of the convolution.
    pub output_gradient: Map<'a, T>,
}

fn check(convolution: &Convolution) {
    assert!(convolution.algorithm == Algorithm::Direct, "branches run directly: {convolution:?}");
}

/// Computes the forward pass of all `branches`, convolutions of the same `input`, each followed by ReLU if
/// `relu`. It is bit-identical to [`Convolution::forward`] of each.
///
/// # Panics
/// If a convolution's algorithm is not [`Algorithm::Direct`], a map or slice has the wrong size, or the
/// scratch memory is too small.
pub fn forward_branches<T: Value>(
    context: Context,
    input: Map<T>,
    branches: [Branch<T>; BRANCHES],
    relu: bool,
) {
    (T::entries().branches.forward)(context, input, branches, relu);
}

/// Computes the sum of the input gradients of all `branches`, convolutions of the same input. It is
/// bit-identical to calling [`Convolution::backward_input`] for one branch after the other, where the first
/// call accumulates if `epilogue.accumulate` is true, the others accumulate, and the last applies
/// `epilogue.relu`.
///
/// # Panics
/// If a convolution's algorithm is not [`Algorithm::Direct`], a map or slice has the wrong size, or the
/// scratch memory is too small.
pub fn backward_branches<T: Value>(
    context: Context,
    branches: [BranchGradient<T>; BRANCHES],
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
) {
    (T::entries().branches.backward)(context, branches, epilogue, input_gradient);
}

/// Pointers to the functions that compute [`forward_branches`] and [`backward_branches`] on maps of `T`.
/// These call them through the pointers, so that the code is compiled in this crate and not again in each
/// crate that uses it.
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    forward: fn(Context, Map<T>, [Branch<T>; BRANCHES], bool),
    backward: fn(Context, [BranchGradient<T>; BRANCHES], Epilogue<T>, MapMut<T>),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { forward, backward }
    }
}

fn forward<T: Value>(mut context: Context, input: Map<T>, branches: [Branch<T>; BRANCHES], relu: bool) {
    let isa = context.isa;
    if isa == Isa::scalar() {
        for Branch { convolution, parameters, output } in branches {
            convolution.forward(context.reborrow(), input, parameters, relu, output);
        }
        return;
    }
    let method = branches[0].convolution.method::<T>(isa);
    let passes = branches.map(|Branch { convolution, parameters, output }| {
        check(convolution);
        convolution.check_forward(isa, &input, &parameters, &output.as_map());
        let blocks = output.first..output.first + output.count;
        let output = (output.shape, blocks, Disjoint::new(output.data));
        convolution.forward_pass(isa, input, parameters, relu, output)
    });
    method.run(&passes, context);
}

fn backward<T: Value>(
    mut context: Context,
    branches: [BranchGradient<T>; BRANCHES],
    epilogue: Epilogue<T>,
    mut input_gradient: MapMut<T>,
) {
    let isa = context.isa;
    let epilogue_of = |index: usize| Epilogue {
        accumulate: epilogue.accumulate || index > 0,
        relu: epilogue.relu.filter(|_| index + 1 == BRANCHES),
    };
    if isa == Isa::scalar() {
        for (index, branch) in branches.into_iter().enumerate() {
            let BranchGradient { convolution, packed, output_gradient } = branch;
            let (epilogue, to) = (epilogue_of(index), input_gradient.reborrow());
            convolution.backward_input(context.reborrow(), output_gradient, packed, epilogue, to);
        }
        return;
    }
    let method = branches[0].convolution.method::<T>(isa);
    let gradient = input_gradient.as_map();
    for BranchGradient { convolution, packed, output_gradient } in &branches {
        check(convolution);
        convolution.check_backward_input(isa, output_gradient, packed, &epilogue, &gradient);
    }
    let blocks = input_gradient.first..input_gradient.first + input_gradient.count;
    let (shape, output) = (input_gradient.shape, Disjoint::new(input_gradient.data));
    let mut index = 0;
    let passes = branches.map(|BranchGradient { convolution, packed, output_gradient }| {
        let epilogue = epilogue_of(index);
        index += 1;
        let output = (shape, blocks.clone(), output);
        convolution.backward_pass(isa, output_gradient, packed, epilogue, output)
    });
    method.run(&passes, context);
}
