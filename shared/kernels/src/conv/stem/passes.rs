//! The entry points of the stem for one kind of value.

use super::super::reference::bias_gradient_of;
use super::{Image, Stem, amx, forward as vectors, gradient, reference};
use crate::isa::Isa;
use crate::map::{Map, MapMut};
use crate::pool::Pool;
use crate::value::Value;

/// The entry points of the stem; part of [`crate::entries`].
#[expect(clippy::type_complexity, reason = "the arguments of the entry points")]
pub struct Entries<T: 'static> {
    pub(super) pack_forward: fn(&Stem, Isa, &[f32], &mut [f32]),
    pub(super) forward:
        fn(&Stem, Isa, &Pool, usize, &[f32], usize, usize, &[f32], &[f32], bool, MapMut<T>, &mut [f32]),
    pub(super) backward_weights:
        fn(&Stem, Isa, &Pool, usize, &[f32], usize, usize, Map<T>, &mut [f32], &mut [f32], &mut [f32]),
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries { pack_forward: pack_forward::<T>, forward, backward_weights }
    }
}

fn pack_forward<T: Value>(stem: &Stem, isa: Isa, weights: &[f32], packed: &mut [f32]) {
    assert_eq!(weights.len(), stem.weights_len(), "weights of {stem:?}");
    assert_eq!(packed.len(), stem.packed_len::<T>(isa), "packed weights of {stem:?}");
    if isa == Isa::scalar() {
        packed.copy_from_slice(weights);
        return;
    }
    match isa.amx::<T>() {
        Some(_) => amx::pack(stem, weights, T::of_mut(packed)),
        None => vectors::pack(stem, isa, weights, T::of_mut(packed)),
    }
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
fn forward<T: Value>(
    stem: &Stem,
    isa: Isa,
    pool: &Pool,
    batch: usize,
    input: &[f32],
    height: usize,
    width: usize,
    packed: &[f32],
    bias: &[f32],
    relu: bool,
    output: MapMut<T>,
    scratch: &mut [f32],
) {
    stem.check_maps(batch, input, height, width, &output.as_map());
    assert_eq!(packed.len(), stem.packed_len::<T>(isa), "packed weights of {stem:?}");
    assert_eq!(bias.len(), stem.output_channels, "bias of {stem:?}");
    if isa == Isa::scalar() {
        return reference::forward(stem, input, height, width, packed, bias, relu, output);
    }
    let image = Image { input, height, width };
    let packed = T::of(packed);
    match isa.amx::<T>() {
        Some(amx) => amx::forward(stem, amx, isa, pool, image, packed, bias, relu, output, scratch),
        None => vectors::run(stem, isa, pool, image, packed, bias, relu, output, scratch),
    }
}

#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
fn backward_weights<T: Value>(
    stem: &Stem,
    isa: Isa,
    pool: &Pool,
    batch: usize,
    input: &[f32],
    height: usize,
    width: usize,
    output_gradient: Map<T>,
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    stem.check_maps(batch, input, height, width, &output_gradient);
    assert_eq!(weight_gradient.len(), stem.weights_len(), "weight gradient of {stem:?}");
    assert_eq!(bias_gradient.len(), stem.output_channels, "bias gradient of {stem:?}");
    let (dy, dw, db) = (output_gradient, weight_gradient, bias_gradient);
    if isa == Isa::scalar() {
        reference::backward_weights(stem, input, height, width, dy, dw);
        return bias_gradient_of(dy, db);
    }
    let image = Image { input, height, width };
    match isa.amx::<T>() {
        Some(amx) => amx::gradient(stem, amx, isa, pool, image, dy, dw, db, scratch),
        None => gradient::run(stem, isa, pool, image, dy, dw, db, scratch),
    }
}
