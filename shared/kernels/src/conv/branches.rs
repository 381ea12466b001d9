//! Several direct convolutions of one input, such as the 1x1 convolutions of an Inception module. All of them
//! run for each band of the maps, while the data that they share is in the cache.

use super::pass::Pass;
use super::{Algorithm, Convolution, amx, direct};
use crate::disjoint::Disjoint;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::map::{Map, MapMut};
use crate::pool::Pool;
use crate::value::Value;

/// Number of convolutions that run fused: the 1x1 convolutions that read an Inception module's input.
pub const BRANCHES: usize = 3;

/// One of the fused convolutions in the forward pass.
#[derive(Debug)]
pub struct Branch<'a, T = f32> {
    /// Sizes of the convolution; it must be direct.
    pub convolution: &'a Convolution,
    /// Weights packed by [`Convolution::pack_forward`].
    pub packed: &'a [T],
    /// Bias of each output channel.
    pub bias: &'a [f32],
    /// Destination of the output.
    pub output: MapMut<'a, T>,
}

/// One of the fused convolutions in the backward pass.
#[derive(Debug)]
pub struct BranchGradient<'a, T = f32> {
    /// Sizes of the convolution; it must be direct.
    pub convolution: &'a Convolution,
    /// Weights packed by [`Convolution::pack_backward`].
    pub packed: &'a [T],
    /// Gradient of the output.
    pub output_gradient: Map<'a, T>,
}

fn check(convolution: &Convolution) {
    assert!(convolution.algorithm == Algorithm::Direct, "branches run directly: {convolution:?}");
}

/// Runs all passes for each part of the maps.
fn run<T: Value>(passes: &[Pass<'_, T>], isa: Isa, pool: &Pool, scratch: &mut [f32]) {
    match isa.amx::<T>() {
        Some(amx) => amx::run(passes, amx, isa, pool, scratch),
        None => direct::run(passes, isa, pool, scratch),
    }
}

/// Computes [`Convolution::forward`] of each branch, to the same bits.
///
/// # Panics
/// If a convolution is not direct or a size does not fit.
pub fn forward_branches<T: Value>(
    isa: Isa,
    pool: &Pool,
    input: Map<T>,
    branches: [Branch<T>; BRANCHES],
    relu: bool,
    scratch: &mut [f32],
) {
    (T::entries().branches.forward)(isa, pool, input, branches, relu, scratch);
}

/// Computes the sum of all branches' input gradients, to the same bits as [`Convolution::backward_input`] of
/// one after the other, where the first accumulates if `epilogue` says so, the others accumulate, and the
/// last applies the ReLU.
///
/// # Panics
/// If a convolution is not direct or a size does not fit.
pub fn backward_branches<T: Value>(
    isa: Isa,
    pool: &Pool,
    branches: [BranchGradient<T>; BRANCHES],
    epilogue: Epilogue<T>,
    input_gradient: MapMut<T>,
    scratch: &mut [f32],
) {
    (T::entries().branches.backward)(isa, pool, branches, epilogue, input_gradient, scratch);
}

/// The entry points of the branches; part of [`crate::entries`].
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    forward: fn(Isa, &Pool, Map<T>, [Branch<T>; BRANCHES], bool, &mut [f32]),
    backward: fn(Isa, &Pool, [BranchGradient<T>; BRANCHES], Epilogue<T>, MapMut<T>, &mut [f32]),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { forward, backward }
    }
}

fn forward<T: Value>(
    isa: Isa,
    pool: &Pool,
    input: Map<T>,
    branches: [Branch<T>; BRANCHES],
    relu: bool,
    scratch: &mut [f32],
) {
    if isa == Isa::scalar() {
        for Branch { convolution, packed, bias, output } in branches {
            convolution.forward(isa, pool, input, packed, bias, relu, output, scratch);
        }
        return;
    }
    let passes = branches.map(|Branch { convolution, packed, bias, output }| {
        check(convolution);
        convolution.check_forward(isa, &input, packed, bias, &output.as_map());
        let blocks = output.first..output.first + output.count;
        let output = (output.shape, blocks, Disjoint::new(output.data));
        convolution.forward_pass(isa, input, packed, bias, relu, output)
    });
    run(&passes, isa, pool, scratch);
}

fn backward<T: Value>(
    isa: Isa,
    pool: &Pool,
    branches: [BranchGradient<T>; BRANCHES],
    epilogue: Epilogue<T>,
    mut input_gradient: MapMut<T>,
    scratch: &mut [f32],
) {
    let epilogue_of = |index: usize| Epilogue {
        accumulate: epilogue.accumulate || index > 0,
        relu: epilogue.relu.filter(|_| index + 1 == BRANCHES),
    };
    if isa == Isa::scalar() {
        for (index, branch) in branches.into_iter().enumerate() {
            let BranchGradient { convolution, packed, output_gradient } = branch;
            let (epilogue, to) = (epilogue_of(index), input_gradient.reborrow());
            convolution.backward_input(isa, pool, output_gradient, packed, epilogue, to, scratch);
        }
        return;
    }
    let mut index = 0;
    let (shape, first, count) = (input_gradient.shape, input_gradient.first, input_gradient.count);
    for branch in &branches {
        check(branch.convolution);
        let gradient = input_gradient.as_map();
        branch.convolution.check_backward_input(
            isa,
            &branch.output_gradient,
            branch.packed,
            &epilogue,
            &gradient,
        );
    }
    let output = Disjoint::new(input_gradient.data);
    let passes = branches.map(|BranchGradient { convolution, packed, output_gradient }| {
        let epilogue = epilogue_of(index);
        index += 1;
        convolution.backward_pass(
            isa,
            output_gradient,
            packed,
            epilogue,
            (shape, first..first + count, output),
        )
    });
    run(&passes, isa, pool, scratch);
}
