//! The three passes of a convolution.

use super::*;
use crate::conv::winograd::Scheme;
use crate::testing::shapes::{Computation, Drawn, LITTLE, layers};
use crate::testing::{context, narrow, one_thread, vector_isas};
use half::bf16;

fn check_forward<T: Value>(case: &Case, relu: bool) {
    let (conv, pool) = (case.convolution(), one_thread());
    let input_shape = case.shape(conv.input_blocks());
    let output_shape = case.shape(conv.output_blocks());
    let input = narrow::<T>(&case.values(&case.segments, 1));
    let weights = random(conv.weights_len(), 2);
    let bias = random(case.outputs, 3);
    let run = |isa: Isa| {
        let mut packed = Guarded::<T>::new(conv.packed_len::<T>(isa), 7.0);
        conv.pack_forward(isa, &pool, &weights, packed.values());
        packed.check("pack_forward");
        let mut scratch = Guarded::<f32>::new(conv.scratch_len::<T>(isa, &pool), f32::NAN);
        let mut output = Guarded::<T>::new(output_shape.len(), 5.0);
        let (input, to) = (inner(input_shape, &input), inner_mut(output_shape, output.values()));
        let parameters = ConvolutionParameters { packed: packed.values(), bias: &bias };
        conv.forward(context(isa, &pool, scratch.values()), input, parameters, relu, to);
        scratch.check("scratch of forward");
        output
    };
    let mut expected = run(Isa::scalar());
    for isa in vector_isas::<T>() {
        let name = format!("forward {}", conv.kernel_name::<T>(isa));
        let floor = case.floor(conv.input_count() * case.kernel * case.kernel);
        compare(&name, case, output_shape, &mut run(isa), expected.values(), 5.0, floor);
    }
}

fn check_backward_input<T: Value>(case: &Case, accumulate: bool, relu: bool) {
    let (conv, pool) = (case.convolution(), one_thread());
    let input_shape = case.shape(conv.input_blocks());
    let output_shape = case.shape(conv.output_blocks());
    let output_gradient = narrow::<T>(&case.values(&[case.outputs], 4));
    let before = narrow::<T>(&case.values(&case.segments, 5));
    let values = narrow::<T>(&case.values(&case.segments, 9));
    let epilogue = Epilogue { accumulate, relu: relu.then(|| inner(input_shape, &values)) };
    let weights = random(conv.weights_len(), 6);
    let run = |isa: Isa| {
        let mut packed = Guarded::<T>::new(conv.packed_len::<T>(isa), 7.0);
        conv.pack_backward(isa, &pool, &weights, packed.values());
        packed.check("pack_backward");
        let mut scratch = Guarded::<f32>::new(conv.scratch_len::<T>(isa, &pool), f32::NAN);
        let mut gradient = Guarded::<T>::new(input_shape.len(), 5.0);
        if accumulate {
            for (to, before) in
                gradient.values().iter_mut().zip(&before).filter(|(_, before)| !before.wide().is_nan())
            {
                *to = *before;
            }
        }
        let (from, to) = (inner(output_shape, &output_gradient), inner_mut(input_shape, gradient.values()));
        let context = context(isa, &pool, scratch.values());
        conv.backward_input(context, from, packed.values(), epilogue, to);
        scratch.check("scratch of backward_input");
        gradient
    };
    let mut expected = run(Isa::scalar());
    for isa in vector_isas::<T>() {
        let name = format!("input gradient {}", conv.kernel_name::<T>(isa));
        let floor = case.floor(case.outputs * case.kernel * case.kernel);
        compare(&name, case, input_shape, &mut run(isa), expected.values(), 5.0, floor);
    }
}

fn check_backward_weights<T: Value>(case: &Case) {
    let (conv, pool) = (case.convolution(), one_thread());
    let input_shape = case.shape(conv.input_blocks());
    let output_shape = case.shape(conv.output_blocks());
    let input = narrow::<T>(&case.values(&case.segments, 7));
    let output_gradient = narrow::<T>(&case.values(&[case.outputs], 8));
    let run = |isa: Isa| {
        let mut scratch = Guarded::<f32>::new(conv.scratch_len::<T>(isa, &pool), f32::NAN);
        let mut weight_gradient = Guarded::<f32>::new(conv.weights_len(), 5.0);
        let mut bias_gradient = Guarded::<f32>::new(case.outputs, 5.0);
        let (x, dy) = (inner(input_shape, &input), inner(output_shape, &output_gradient));
        let gradients =
            ParameterGradients { weights: weight_gradient.values(), bias: bias_gradient.values() };
        let context = context(isa, &pool, scratch.values());
        match conv.algorithm {
            // The scheme runs on few tiles too, where `backward_weights` would choose another method.
            Algorithm::Winograd { points }
                if isa != Isa::scalar()
                    && isa.amx::<T>().is_none()
                    && x.shape.batch * x.shape.pixels() > 0 =>
            {
                let points = if T::GROUP == 1 { points } else { 6 };
                let scheme = Scheme { kernel: case.kernel, points };
                let pass = pass::WeightPass { input: x, output_gradient: dy, gradients };
                winograd::gradient(&conv, scheme, context, pass);
            }
            _ => conv.backward_weights(context, x, dy, gradients),
        }
        scratch.check("scratch of backward_weights");
        (weight_gradient, bias_gradient)
    };
    let (mut weights, mut bias) = run(Isa::scalar());
    for isa in vector_isas::<T>() {
        let name = format!("weight gradient {} of {case:?}", conv.kernel_name::<T>(isa));
        let terms = case.batch * case.height * case.width;
        let floor = case.floor(terms);
        let (mut found_weights, mut found_bias) = run(isa);
        found_weights.check(&name);
        found_bias.check(&name);
        // The sums themselves are f32 for any values.
        let tolerance = match case.algorithm {
            Algorithm::Direct => (sum_tolerance(terms), f64::from(sum_tolerance(terms))),
            Algorithm::Winograd { .. } => tolerance::<T>(case.algorithm),
        };
        close(&name, found_weights.values(), weights.values(), tolerance, floor);
        assert_close(
            &format!("bias, {name}"),
            found_bias.values(),
            bias.values(),
            sum_tolerance(terms),
            floor,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forward_is_as_the_reference(case in cases(), relu: bool) {
        check_forward::<f32>(&case, relu);
        check_forward::<bf16>(&case, relu);
    }

    #[test]
    fn backward_input_is_as_the_reference(case in cases(), accumulate: bool, relu: bool) {
        check_backward_input::<f32>(&case, accumulate, relu);
        check_backward_input::<bf16>(&case, accumulate, relu);
    }

    #[test]
    fn backward_weights_is_as_the_reference(case in cases()) {
        check_backward_weights::<f32>(&case);
        check_backward_weights::<bf16>(&case);
    }
}

impl Case {
    fn of_network(drawn: &Drawn) -> Case {
        let ((segments, height, width), (outputs, ..)) = (drawn.input_map(), drawn.output_map());
        let Computation::Convolution { kernel, .. } = drawn.layer.computation else { panic!("{drawn:?}") };
        let [outputs] = outputs[..] else { panic!("a convolution writes one part: {drawn:?}") };
        let algorithm = Algorithm::fastest(kernel, [height, width]);
        Case { batch: drawn.batch, segments, outputs, kernel, height, width, algorithm }
    }
}

fn is_inner(computation: &Computation) -> bool {
    matches!(computation, Computation::Convolution { stride: 1, .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_of_networks_are_as_the_reference(drawn in layers(is_inner, LITTLE), accumulate: bool, relu: bool) {
        let case = Case::of_network(&drawn);
        check_forward::<f32>(&case, relu);
        check_forward::<bf16>(&case, relu);
        check_backward_input::<f32>(&case, accumulate, relu);
        check_backward_input::<bf16>(&case, accumulate, relu);
        check_backward_weights::<f32>(&case);
        check_backward_weights::<bf16>(&case);
    }
}
