//! Several direct convolutions of one input, such as the 1x1 convolutions of an Inception module. All of them
//! run for each band of the maps, while the data that they share is in the cache.

use super::{Algorithm, Convolution, ConvolutionParameters};
use crate::context::Context;
use crate::disjoint::Disjoint;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::map::{Map, MapMut};
use crate::value::Value;

/// Number of convolutions that run fused: the 1x1 convolutions that read an Inception module's input.
pub const BRANCHES: usize = 3;

/// One branch of [`forward_branches`]: a convolution with its parameters and its output.
#[derive(Debug)]
pub struct Branch<'a, T = f32> {
    /// Convolution of the branch; its algorithm must be [`Algorithm::Direct`].
    pub convolution: &'a Convolution,
    /// Packed weights, and bias.
    pub parameters: ConvolutionParameters<'a, T>,
    /// Destination of the output.
    pub output: MapMut<'a, T>,
}

/// One branch of [`backward_branches`]: a convolution with its packed weights and its output gradient.
#[derive(Debug)]
pub struct BranchGradient<'a, T = f32> {
    /// Convolution of the branch; its algorithm must be [`Algorithm::Direct`].
    pub convolution: &'a Convolution,
    /// Weights packed by [`Convolution::pack_backward`].
    pub packed: &'a [T],
    /// Gradient of the output.
    pub output_gradient: Map<'a, T>,
}

fn check(convolution: &Convolution) {
    assert!(convolution.algorithm == Algorithm::Direct, "branches run directly: {convolution:?}");
}

/// Computes the forward pass of all branches, bit-identical to [`Convolution::forward`] of each.
///
/// # Panics
/// If a convolution is not direct, a map or slice has the wrong size, or the scratch memory is too small.
pub fn forward_branches<T: Value>(
    context: Context,
    input: Map<T>,
    branches: [Branch<T>; BRANCHES],
    relu: bool,
) {
    (T::entries().branches.forward)(context, input, branches, relu);
}

/// Computes the sum of all branches' input gradients. It is bit-identical to calling
/// [`Convolution::backward_input`] for one branch after the other, where the first call accumulates if
/// `epilogue` says so, the others accumulate, and the last applies the ReLU.
///
/// # Panics
/// If a convolution is not direct, a map or slice has the wrong size, or the scratch memory is too small.
pub fn backward_branches<T: Value>(
    context: Context,
    branches: [BranchGradient<T>; BRANCHES],
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
) {
    (T::entries().branches.backward)(context, branches, epilogue, input_gradient);
}

/// The functions that compute the branches of a module on maps of `T`, compiled in this crate: the part for
/// branches of the table of entry points in `entries.rs`.
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
