//! The two passes of the stem.

use super::*;
use crate::map::blocks;
use crate::testing::shapes::{Computation, Drawn, LITTLE, Operand, layers};
use crate::testing::{context, narrow, one_thread, vector_isas};
use half::bf16;

#[derive(Clone, Debug)]
struct StemCase {
    stem: Stem,
    batch: usize,
    height: usize,
    width: usize,
}

fn stem_cases() -> impl Strategy<Value = StemCase> {
    let kernel = prop_oneof![Just(1usize), Just(2usize), Just(3usize), Just(5usize), Just(7usize)];
    let stem = (1usize..=4, channels(), kernel, 1usize..=3, 0usize..=3).prop_map(
        |(input_channels, output_channels, kernel, stride, padding)| Stem {
            input_channels,
            output_channels,
            kernel,
            stride,
            padding,
        },
    );
    // Images whose outputs at a stride of two lie around the tiles.
    let side = prop_oneof![0usize..=10, 11usize..=19, 26usize..=31];
    (stem, 0usize..=2, side.clone(), side).prop_map(|(stem, batch, height, width)| StemCase {
        stem,
        batch,
        height,
        width,
    })
}

fn check_stem<T: Value>(case: &StemCase, relu: bool) {
    let StemCase { stem, batch, height, width } = case.clone();
    let pool = one_thread();
    let shape = Shape {
        batch,
        blocks: blocks(stem.output_channels) + 2,
        height: stem.output_size(height),
        width: stem.output_size(width),
    };
    let blocked = Case {
        batch,
        segments: vec![],
        outputs: stem.output_channels,
        kernel: stem.kernel,
        height: shape.height,
        width: shape.width,
        algorithm: Algorithm::Direct,
    };
    // The values are rounded as bf16 kernels round them.
    let rounded = |len, seed| wide(&narrow::<T>(&random(len, seed)));
    let input = rounded(batch * stem.input_channels * height * width, 1);
    let (weights, bias) = (rounded(stem.weights_len(), 2), random(stem.output_channels, 3));
    let gradient = narrow::<T>(&blocked.values(&[stem.output_channels], 4));
    let run = |isa: Isa| {
        let mut packed = Guarded::<f32>::new(stem.packed_len::<T>(isa), 7.0);
        stem.pack_forward::<T>(isa, &weights, packed.values());
        packed.check("pack_forward of the stem");
        let mut scratch = Guarded::<f32>::new(stem.scratch_len::<T>(isa, &pool, height, width), f32::NAN);
        let mut output = Guarded::<T>::new(shape.len(), 5.0);
        let to = inner_mut(shape, output.values());
        let parameters = ConvolutionParameters { packed: packed.values(), bias: &bias };
        let images = PlanarImages { values: &input, batch, height, width };
        stem.forward(context(isa, &pool, scratch.values()), images, parameters, relu, to);
        scratch.values().fill(f32::NAN);
        let mut weight_gradient = Guarded::<f32>::new(stem.weights_len(), 5.0);
        let mut bias_gradient = Guarded::<f32>::new(stem.output_channels, 5.0);
        let dy = inner(shape, &gradient);
        let gradients =
            ParameterGradients { weights: weight_gradient.values(), bias: bias_gradient.values() };
        stem.backward_weights(context(isa, &pool, scratch.values()), images, dy, gradients);
        scratch.check("scratch of the stem");
        weight_gradient.check("weight gradient of the stem");
        bias_gradient.check("bias gradient of the stem");
        (output, weight_gradient, bias_gradient)
    };
    let (mut output, mut weight_gradient, mut bias_gradient) = run(Isa::scalar());
    for isa in vector_isas::<T>() {
        let name = format!("stem {} of {case:?}", isa.name());
        let (mut found, mut found_weights, mut found_bias) = run(isa);
        let floor = blocked.floor(stem.weights_len() / stem.output_channels);
        compare(&name, &blocked, shape, &mut found, output.values(), 5.0, floor);
        let terms = batch * shape.pixels();
        let (floor, tolerance) = (blocked.floor(terms), sum_tolerance(terms));
        let gradient = format!("weight gradient, {name}");
        assert_close(&gradient, found_weights.values(), weight_gradient.values(), tolerance, floor);
        assert_close(
            &format!("bias gradient, {name}"),
            found_bias.values(),
            bias_gradient.values(),
            tolerance,
            floor,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stem_is_as_the_reference(case in stem_cases(), relu: bool) {
        check_stem::<f32>(&case, relu);
        check_stem::<bf16>(&case, relu);
    }
}

impl StemCase {
    fn of_network(drawn: &Drawn) -> StemCase {
        let Computation::Convolution { kernel, stride, padding, .. } = drawn.layer.computation else {
            panic!("{drawn:?}");
        };
        let Operand::Image { side } = drawn.layer.input else { panic!("the stem reads images: {drawn:?}") };
        let output_channels = drawn.output_map().0.iter().sum();
        let stem = Stem { input_channels: 3, output_channels, kernel, stride, padding };
        StemCase { stem, batch: drawn.batch, height: side, width: side }
    }
}

fn is_stem(computation: &Computation) -> bool {
    matches!(computation, Computation::Convolution { stride: 2, .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stems_of_networks_are_as_the_reference(drawn in layers(is_stem, LITTLE), relu: bool) {
        let case = StemCase::of_network(&drawn);
        check_stem::<f32>(&case, relu);
        check_stem::<bf16>(&case, relu);
    }
}
