//! Properties of the results: equal bits on any number of threads, small errors.

use super::*;
use crate::testing::{context, narrow, one_thread, vector_isas};
use half::bf16;

/// Any number of threads gives the same bits.
#[test]
fn results_do_not_depend_on_the_threads() {
    check_threads::<f32>();
    check_threads::<bf16>();
}

fn check_threads<T: Value>() {
    let shapes = [(vec![24, 40], 50, 3, 13), (vec![70], 100, 1, 9), (vec![16], 33, 5, 7)];
    let cases = shapes.into_iter().flat_map(|(segments, outputs, kernel, size)| {
        let shape = (segments, outputs, kernel, size);
        algorithms(kernel).into_iter().map(move |algorithm| (shape.clone(), algorithm))
    });
    for ((segments, outputs, kernel, size), algorithm) in cases {
        let case = Case { batch: 3, segments, outputs, kernel, height: size, width: size, algorithm };
        let conv = case.convolution();
        let (input_shape, output_shape) = (case.shape(conv.input_blocks()), case.shape(conv.output_blocks()));
        let input = narrow::<T>(&case.values(&case.segments, 1));
        let gradient = narrow::<T>(&case.values(&[outputs], 2));
        let (weights, bias) = (random(conv.weights_len(), 3), random(outputs, 4));
        let run = |isa, threads| {
            let pool = Pool::new(threads).unwrap();
            let mut packed = vec![T::default(); conv.packed_len::<T>(isa)];
            let mut scratch = vec![0.0; conv.scratch_len::<T>(isa, &pool)];
            let mut output = vec![T::default(); output_shape.len()];
            let mut input_gradient = vec![T::default(); input_shape.len()];
            let mut weight_gradient = vec![0.0; weights.len()];
            let mut bias_gradient = vec![0.0; outputs];
            let x = inner(input_shape, &input);
            let dy = inner(output_shape, &gradient);
            conv.pack_forward(isa, &pool, &weights, &mut packed);
            let y = inner_mut(output_shape, &mut output);
            let parameters = ConvolutionParameters { packed: &packed, bias: &bias };
            conv.forward(context(isa, &pool, &mut scratch), x, parameters, true, y);
            conv.pack_backward(isa, &pool, &weights, &mut packed);
            let dx = inner_mut(input_shape, &mut input_gradient);
            let epilogue = Epilogue { accumulate: true, relu: Some(x) };
            conv.backward_input(context(isa, &pool, &mut scratch), dy, &packed, epilogue, dx);
            let gradients = ParameterGradients { weights: &mut weight_gradient, bias: &mut bias_gradient };
            conv.backward_weights(context(isa, &pool, &mut scratch), x, dy, gradients);
            [wide(&output), wide(&input_gradient), weight_gradient, bias_gradient]
                .map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        for isa in vector_isas::<T>() {
            let one = run(isa, 1);
            for threads in [2, 3, 5] {
                assert!(run(isa, threads) == one, "{} differs on {threads} threads: {case:?}", isa.name());
            }
        }
    }
}

/// Errors of each algorithm relative to the reference in f32, as shares of the norm, for inputs as after a
/// ReLU and gradients of both signs. The README quotes the numbers printed here.
#[test]
fn errors_are_those_that_the_readme_tells() {
    fn errors<T: Value>(kernel: usize, algorithm: Algorithm, isa: Isa) -> [f64; 3] {
        let case =
            Case { batch: 2, segments: vec![96], outputs: 64, kernel, height: 28, width: 28, algorithm };
        let (conv, pool) = (case.convolution(), one_thread());
        let shapes = [case.shape(conv.input_blocks()), case.shape(conv.output_blocks())];
        let rectified =
            |seed| random(shapes[0].len(), seed).into_iter().map(|value| value.max(0.0)).collect();
        let (x, dy): (Vec<f32>, Vec<f32>) = (rectified(1), random(shapes[1].len(), 2));
        let (x, dy) = (narrow::<T>(&x), narrow::<T>(&dy));
        let weights = random(conv.weights_len(), 3);
        fn run<T: Value>(
            conv: &Convolution,
            isa: Isa,
            pool: &Pool,
            [from, to]: [Shape; 2],
            (x, dy, weights): (&[T], &[T], &[f32]),
        ) -> [Vec<f32>; 3] {
            let mut scratch = vec![0.0; conv.scratch_len::<T>(isa, pool)];
            let mut packed = vec![T::default(); conv.packed_len::<T>(isa)];
            let (mut y, mut dx) = (vec![T::default(); to.len()], vec![T::default(); from.len()]);
            let (mut dw, mut db) = (vec![0.0; weights.len()], vec![0.0; conv.output_channels]);
            conv.pack_forward(isa, pool, weights, &mut packed);
            let bias = vec![0.0; conv.output_channels];
            let into = inner_mut(to, &mut y);
            let parameters = ConvolutionParameters { packed: &packed, bias: &bias };
            conv.forward(context(isa, pool, &mut scratch), inner(from, x), parameters, false, into);
            conv.pack_backward(isa, pool, weights, &mut packed);
            let into = inner_mut(from, &mut dx);
            let epilogue = Epilogue::default();
            conv.backward_input(context(isa, pool, &mut scratch), inner(to, dy), &packed, epilogue, into);
            let gradients = ParameterGradients { weights: &mut dw, bias: &mut db };
            let context = context(isa, pool, &mut scratch);
            conv.backward_weights(context, inner(from, x), inner(to, dy), gradients);
            [wide(&y), wide(&dx), dw]
        }
        let found = run(&conv, isa, &pool, shapes, (&x, &dy, &weights));
        let operands = (&wide(&x)[..], &wide(&dy)[..], &weights[..]);
        let expected = run(&conv, Isa::scalar(), &pool, shapes, operands);
        let norm = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
        };
        [0, 1, 2].map(|i: usize| {
            let distance = norm(&mut found[i].iter().zip(&expected[i]).map(|(a, b)| a - b));
            distance / norm(&mut expected[i].iter().copied())
        })
    }
    let isa = Isa::detect();
    for (kernel, algorithm, most) in [
        (1, Algorithm::Direct, [1e-6, 5e-3]),
        (3, Algorithm::Direct, [1e-6, 5e-3]),
        (3, Algorithm::Winograd { points: 6 }, [3e-6, 4e-2]),
        (3, Algorithm::Winograd { points: 8 }, [5e-6, 4e-2]),
        (5, Algorithm::Winograd { points: 6 }, [5e-6, 4e-2]),
        (5, Algorithm::Winograd { points: 8 }, [5e-6, 4e-2]),
    ] {
        let found =
            [errors::<f32>(kernel, algorithm, isa), errors::<bf16>(kernel, algorithm, isa.with_bf16())];
        for (kind, (errors, most)) in ["f32", "bf16"].into_iter().zip(found.into_iter().zip(most)) {
            println!(
                "{kernel}x{kernel} {algorithm:?} {kind}: forward {:.1e}, input gradient {:.1e}, weight gradient {:.1e}",
                errors[0], errors[1], errors[2]
            );
            assert!(
                errors.iter().all(|error| *error <= most),
                "{kernel}x{kernel} {algorithm:?} {kind}: {errors:?}"
            );
        }
    }
}
