//! The entry points of the stem for one kind of value.

use super::super::ConvolutionParameters;
use super::super::reference::bias_gradient_of;
use super::{Pass, PlanarImages, Stem, amx, forward as vectors, gradient, reference};
use crate::context::Context;
use crate::gradients::ParameterGradients;
use crate::isa::Isa;
use crate::map::{Map, MapMut};
use crate::planes::Planes;
use crate::value::Value;

/// Pointers to the functions that compute a [`Stem`], a network's first convolution, on maps of `T`. It calls
/// them through these pointers, so that their code is compiled in this crate and not again in each crate that
/// uses it.
pub struct Entries<T: 'static> {
    pub(super) pack_forward: fn(&Stem, Isa, &[f32], &mut [f32]),
    pub(super) forward: fn(&Stem, Context, PlanarImages, ConvolutionParameters, bool, MapMut<T>),
    pub(super) backward_weights: fn(&Stem, Context, PlanarImages, Map<T>, ParameterGradients),
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

fn forward<T: Value>(
    stem: &Stem,
    context: Context,
    images: PlanarImages,
    parameters: ConvolutionParameters,
    relu: bool,
    output: MapMut<T>,
) {
    let (isa, ConvolutionParameters { packed, bias }) = (context.isa, parameters);
    stem.check_maps(images, &output.as_map());
    assert_eq!(packed.len(), stem.packed_len::<T>(isa), "packed weights of {stem:?}");
    assert_eq!(bias.len(), stem.output_channels, "bias of {stem:?}");
    if isa == Isa::scalar() {
        return reference::forward(stem, images, parameters, relu, output);
    }
    let (size, output) = ([output.shape.height, output.shape.width], Planes::new(output));
    let pass = Pass { stem, images, packed: T::of(packed), bias, relu, output, size };
    match isa.amx::<T>() {
        Some(tiles) => amx::forward(&pass, tiles, context),
        None => vectors::run(&pass, context),
    }
}

fn backward_weights<T: Value>(
    stem: &Stem,
    context: Context,
    images: PlanarImages,
    output_gradient: Map<T>,
    gradients: ParameterGradients,
) {
    stem.check_maps(images, &output_gradient);
    assert_eq!(gradients.weights.len(), stem.weights_len(), "weight gradient of {stem:?}");
    assert_eq!(gradients.bias.len(), stem.output_channels, "bias gradient of {stem:?}");
    if context.isa == Isa::scalar() {
        reference::backward_weights(stem, images, output_gradient, gradients.weights);
        return bias_gradient_of(output_gradient, gradients.bias);
    }
    if output_gradient.shape.batch * output_gradient.shape.pixels() == 0 {
        return gradients.clear();
    }
    match context.isa.amx::<T>() {
        Some(tiles) => amx::gradient(stem, tiles, context, images, output_gradient, gradients),
        None => gradient::run(stem, context, images, output_gradient, gradients),
    }
}
