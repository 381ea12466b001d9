//! Fused branches.

use super::*;
use crate::testing::{context, narrow, vector_isas};
use half::bf16;

/// Fused branches give the same bits as single convolutions, forward and backward, with and without
/// accumulation.
#[test]
fn branches_are_the_convolutions_one_after_the_other() {
    check_branches::<f32>();
    check_branches::<bf16>();
}

fn check_branches<T: Value>() {
    const OUTPUTS: [usize; 3] = [70, 16, 100];
    for (batch, size) in [(1, 14), (3, 7), (2, 30)] {
        let case = |outputs| Case {
            batch,
            segments: vec![24, 40, 70],
            outputs,
            kernel: 1,
            height: size,
            width: size,
            algorithm: Algorithm::Direct,
        };
        let cases = OUTPUTS.map(case);
        let convolutions = [0, 1, 2].map(|i: usize| cases[i].convolution());
        let weights = [0, 1, 2].map(|i: usize| random(convolutions[i].weights_len(), i as u64));
        let bias = OUTPUTS.map(|outputs| random(outputs, 5));
        let from = cases[0].shape(convolutions[0].input_blocks());
        let shapes = [0, 1, 2].map(|i: usize| cases[i].shape(convolutions[i].output_blocks()));
        let input = narrow::<T>(&cases[0].values(&cases[0].segments, 6));
        let gradients = [0, 1, 2].map(|i: usize| narrow::<T>(&cases[i].values(&[OUTPUTS[i]], 7)));
        for isa in vector_isas::<T>().into_iter().chain([Isa::scalar()]) {
            let pool = Pool::new(2).unwrap();
            let mut scratch =
                vec![0.0; convolutions.iter().map(|conv| conv.scratch_len::<T>(isa, &pool)).max().unwrap()];
            let pack = |i: usize, backward: bool| {
                let mut packed = vec![T::default(); convolutions[i].packed_len::<T>(isa)];
                match backward {
                    false => convolutions[i].pack_forward(isa, &pool, &weights[i], &mut packed),
                    true => convolutions[i].pack_backward(isa, &pool, &weights[i], &mut packed),
                }
                packed
            };
            let x = inner(from, &input);
            let packed = [0, 1, 2].map(|i| pack(i, false));
            let mut expected = shapes.map(|shape| vec![T::narrow(5.0); shape.len()]);
            let mut found = expected.clone();
            for i in 0..3 {
                let y = inner_mut(shapes[i], &mut expected[i]);
                let context = context(isa, &pool, &mut scratch);
                let parameters = ConvolutionParameters { packed: &packed[i], bias: &bias[i] };
                convolutions[i].forward(context, x, parameters, true, y);
            }
            let mut outputs = found.iter_mut().zip(shapes).map(|(found, shape)| inner_mut(shape, found));
            let branches = [0, 1, 2].map(|i: usize| Branch {
                convolution: &convolutions[i],
                parameters: ConvolutionParameters { packed: &packed[i], bias: &bias[i] },
                output: outputs.next().unwrap(),
            });
            forward_branches(context(isa, &pool, &mut scratch), x, branches, true);
            assert!(found == expected, "forward, {}: {batch} x {size}", isa.name());

            let packed = [0, 1, 2].map(|i| pack(i, true));
            for (accumulate, relu) in [(false, None), (true, Some(x))] {
                let mut expected = vec![T::narrow(5.0); from.len()];
                let mut found = expected.clone();
                for i in 0..3 {
                    let dy = inner(shapes[i], &gradients[i]);
                    let epilogue =
                        Epilogue { accumulate: accumulate || i > 0, relu: relu.filter(|_| i == 2) };
                    let dx = inner_mut(from, &mut expected);
                    let context = context(isa, &pool, &mut scratch);
                    convolutions[i].backward_input(context, dy, &packed[i], epilogue, dx);
                }
                let branches = [0, 1, 2].map(|i: usize| BranchGradient {
                    convolution: &convolutions[i],
                    packed: &packed[i],
                    output_gradient: inner(shapes[i], &gradients[i]),
                });
                let dx = inner_mut(from, &mut found);
                let context = context(isa, &pool, &mut scratch);
                backward_branches(context, branches, Epilogue { accumulate, relu }, dx);
                assert!(found == expected, "backward, {}: {batch} x {size}", isa.name());
            }
        }
    }
}
