//! Every kernel on every instruction set against the reference, on shapes around the edges of its tiles.

use super::*;
use crate::map::{Shape, blocks};
use crate::testing::shapes::{Drawn, layers};
use crate::testing::{Guarded, assert_close, narrow, one_thread, random, rounding, vector_isas, wide};
use half::bf16;
use network::{Computation, Operand};
use proptest::prelude::*;

/// Rounding may differ by this much of a typical sum; minimal filtering adds terms of very different size.
const TOLERANCE: f32 = 1e-5;
const FILTERED_TOLERANCE: f32 = 1e-4;
/// The same for bf16: what filtering makes of rounded transforms, of one value and of the norm.
const FILTERED_HALVES: f32 = 1.0;
const FILTERED_HALVES_NORM: f64 = 0.05;

/// What results of so many terms may differ by, of one value and of the norm.
fn tolerance<T: Value>(algorithm: Algorithm) -> (f32, f64) {
    let both = |tolerance| (tolerance, f64::from(tolerance));
    match (algorithm, T::GROUP) {
        (Algorithm::Direct, _) => both(rounding::<T>(TOLERANCE)),
        (Algorithm::Winograd { .. }, 1) => both(FILTERED_TOLERANCE),
        (Algorithm::Winograd { .. }, _) => (FILTERED_HALVES, FILTERED_HALVES_NORM),
    }
}

/// Compares values one by one, and by the norm of what they differ by, to which each may add a little of the floor. The norm of
/// a few values' errors is more by chance than that of many: with the square root of their number the allowance falls to `norm`.
fn close(kernel: &str, found: &[f32], expected: &[f32], (each, norm): (f32, f64), floor: f32) {
    assert_close(kernel, found, expected, each, floor);
    let square = |value: f32| f64::from(value).powi(2);
    let distance: f64 = found.iter().zip(expected).map(|(found, expected)| square(found - expected)).sum();
    let length: f64 = expected.iter().map(|value| square(value.abs().max(floor))).sum();
    let allowed = norm * (1.0 + 2.0 / (found.len().max(1) as f64).sqrt());
    assert!(
        distance.sqrt() <= allowed * length.sqrt(),
        "{kernel}: distance {distance:e} of {length:e}, squared"
    );
}

/// All there are.
const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::Direct, Algorithm::Winograd { points: 6 }, Algorithm::Winograd { points: 8 }];

#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    segments: Vec<usize>,
    outputs: usize,
    kernel: usize,
    height: usize,
    width: usize,
    algorithm: Algorithm,
}

/// Lengths around the tiles of 6, 8, 9 and 14 and small ones.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..=4, 5usize..=7, 8usize..=10, 13usize..=15]
}

/// Channels around one, two, three and four blocks.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1usize), 7usize..=9, 15usize..=17, 31usize..=33, 47usize..=49, 63usize..=65]
}

fn cases() -> impl Strategy<Value = Case> {
    let segments =
        prop_oneof![3 => prop::collection::vec(channels(), 1), 1 => prop::collection::vec(1usize..=24, 2..4)];
    let kernel = prop_oneof![Just(1usize), Just(3usize), Just(5usize)];
    (0usize..=3, segments, channels(), kernel, length(), length(), prop::sample::select(&ALGORITHMS))
        .prop_map(|(batch, segments, outputs, kernel, height, width, algorithm)| {
            let batch = if height * width > 60 { batch.min(1) } else { batch };
            let algorithm = if kernel > 1 { algorithm } else { Algorithm::Direct };
            Case { batch, segments, outputs, kernel, height, width, algorithm }
        })
}

impl Case {
    fn convolution(&self) -> Convolution {
        Convolution::new(self.segments.clone(), self.outputs, self.kernel, [self.height, self.width])
            .with(self.algorithm)
    }

    /// A buffer with one strange block on each side of `blocks`.
    fn shape(&self, blocks: usize) -> Shape {
        Shape { batch: self.batch, blocks: blocks + 2, height: self.height, width: self.width }
    }

    /// Random values in the lanes of real channels, zero in those that pad blocks, NaN in the strange blocks.
    fn values(&self, segments: &[usize], seed: u64) -> Vec<f32> {
        let blocks = block_channels(segments);
        let shape = self.shape(blocks.len());
        let mut data = random(shape.len(), seed);
        for (index, plane) in data.chunks_exact_mut(shape.plane().max(1)).enumerate() {
            let block = (index % shape.blocks).checked_sub(1).and_then(|block| blocks.get(block));
            for (position, value) in plane.iter_mut().enumerate() {
                match block {
                    None => *value = f32::NAN,
                    Some(channels) if position % LANES >= channels.count => *value = 0.0,
                    Some(_) => {}
                }
            }
        }
        data
    }

    fn floor(&self, terms: usize) -> f32 {
        (terms.max(1) as f32).sqrt() / 3.0
    }
}

fn inner<T>(shape: Shape, data: &[T]) -> Map<'_, T> {
    Map::slice(data, shape, 1, shape.blocks - 2)
}

fn inner_mut<T>(shape: Shape, data: &mut [T]) -> MapMut<'_, T> {
    MapMut::slice(data, shape, 1, shape.blocks - 2)
}

/// Compares the blocks of the map and asserts that what lies around them is as it was.
fn compare<T: Value>(
    kernel: &str,
    case: &Case,
    shape: Shape,
    found: &mut Guarded<T>,
    expected: &[T],
    untouched: f32,
    floor: f32,
) {
    found.check(kernel);
    for (index, (found, expected)) in found
        .values()
        .chunks_exact(shape.plane().max(1))
        .zip(expected.chunks_exact(shape.plane().max(1)))
        .enumerate()
    {
        let block = index % shape.blocks;
        if block == 0 || block == shape.blocks - 1 {
            assert!(
                found.iter().all(|value| value.wide() == untouched),
                "{kernel} wrote a neighbour's block: {case:?}"
            );
        } else {
            let name = format!("{kernel}, block {index} of {case:?}");
            close(&name, &wide(found), &wide(expected), tolerance::<T>(case.algorithm), floor);
        }
    }
}

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
        conv.forward(isa, &pool, input, packed.values(), &bias, relu, to, scratch.values());
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
        conv.backward_input(isa, &pool, from, packed.values(), epilogue, to, scratch.values());
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
        let (dw, db) = (weight_gradient.values(), bias_gradient.values());
        match conv.way::<T>(isa) {
            // This filter on few tiles too, where `backward_weights` would take another way.
            Way::Winograd(filter) if isa != Isa::scalar() && case.batch * case.height * case.width > 0 => {
                winograd::gradient(&conv, filter, isa, &pool, x, dy, dw, db, scratch.values());
            }
            _ => conv.backward_weights(isa, &pool, x, dy, dw, db, scratch.values()),
        }
        scratch.check("scratch of backward_weights");
        (weight_gradient, bias_gradient)
    };
    let (mut weights, mut bias) = run(Isa::scalar());
    for isa in vector_isas::<T>() {
        let name = format!("weight gradient {} of {case:?}", conv.kernel_name::<T>(isa));
        let floor = case.floor(case.batch * case.height * case.width);
        let (mut found_weights, mut found_bias) = run(isa);
        found_weights.check(&name);
        found_bias.check(&name);
        // The sums themselves are f32, of whatever values.
        let tolerance = match case.algorithm {
            Algorithm::Direct => tolerance::<f32>(case.algorithm),
            Algorithm::Winograd { .. } => tolerance::<T>(case.algorithm),
        };
        close(&name, found_weights.values(), weights.values(), tolerance, floor);
        assert_close(&format!("bias, {name}"), found_bias.values(), bias.values(), TOLERANCE, floor);
    }
}

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
    // Outputs around the tiles with a stride of two.
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
    // As a unit for products of bf16 would round them.
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
        let packed = packed.values();
        stem.forward(isa, &pool, batch, &input, height, width, packed, &bias, relu, to, scratch.values());
        scratch.values().fill(f32::NAN);
        let mut weight_gradient = Guarded::<f32>::new(stem.weights_len(), 5.0);
        let mut bias_gradient = Guarded::<f32>::new(stem.output_channels, 5.0);
        let (dw, db) = (weight_gradient.values(), bias_gradient.values());
        let dy = inner(shape, &gradient);
        stem.backward_weights(isa, &pool, batch, &input, height, width, dy, dw, db, scratch.values());
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
        let floor = blocked.floor(batch * shape.pixels());
        let gradient = format!("weight gradient, {name}");
        assert_close(&gradient, found_weights.values(), weight_gradient.values(), TOLERANCE, floor);
        assert_close(
            &format!("bias gradient, {name}"),
            found_bias.values(),
            bias_gradient.values(),
            TOLERANCE,
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

    #[test]
    fn the_stem_is_as_the_reference(case in stem_cases(), relu: bool) {
        check_stem::<f32>(&case, relu);
        check_stem::<bf16>(&case, relu);
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

fn is_inner(computation: &Computation) -> bool {
    matches!(computation, Computation::Convolution { stride: 1, .. })
}

fn is_stem(computation: &Computation) -> bool {
    matches!(computation, Computation::Convolution { stride: 2, .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_of_networks_are_as_the_reference(drawn in layers(is_inner), accumulate: bool, relu: bool) {
        let case = Case::of_network(&drawn);
        check_forward::<f32>(&case, relu);
        check_forward::<bf16>(&case, relu);
        check_backward_input::<f32>(&case, accumulate, relu);
        check_backward_input::<bf16>(&case, accumulate, relu);
        check_backward_weights::<f32>(&case);
        check_backward_weights::<bf16>(&case);
    }

    #[test]
    fn stems_of_networks_are_as_the_reference(drawn in layers(is_stem), relu: bool) {
        let case = StemCase::of_network(&drawn);
        check_stem::<f32>(&case, relu);
        check_stem::<bf16>(&case, relu);
    }
}

/// Bit for bit, forward and backward, with and without what is there already.
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
                convolutions[i].forward(isa, &pool, x, &packed[i], &bias[i], true, y, &mut scratch);
            }
            let mut outputs = found.iter_mut().zip(shapes).map(|(found, shape)| inner_mut(shape, found));
            let branches = [0, 1, 2].map(|i: usize| Branch {
                convolution: &convolutions[i],
                packed: &packed[i],
                bias: &bias[i],
                output: outputs.next().unwrap(),
            });
            forward_branches(isa, &pool, x, branches, true, &mut scratch);
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
                    convolutions[i].backward_input(isa, &pool, dy, &packed[i], epilogue, dx, &mut scratch);
                }
                let branches = [0, 1, 2].map(|i: usize| BranchGradient {
                    convolution: &convolutions[i],
                    packed: &packed[i],
                    output_gradient: inner(shapes[i], &gradients[i]),
                });
                let dx = inner_mut(from, &mut found);
                backward_branches(isa, &pool, branches, Epilogue { accumulate, relu }, dx, &mut scratch);
                assert!(found == expected, "backward, {}: {batch} x {size}", isa.name());
            }
        }
    }
}

/// Multiplications by hand, for the maps of GoogLeNet and what becomes of them.
#[test]
fn the_algorithm_follows_the_maps() {
    for (kernel, side, points, multiplications) in [
        (3, 56, 8, (9 * 8 + 4) * (9 * 8 + 4)),
        (3, 28, 8, (4 * 8 + 6) * (4 * 8 + 6)),
        (3, 14, 6, (3 * 6 + 4) * (3 * 6 + 4)),
        (3, 7, 6, 12 * 12),
        (5, 28, 8, 56 * 56),
        (5, 14, 8, (3 * 8 + 6) * (3 * 8 + 6)),
        (5, 7, 8, 16 * 16),
    ] {
        assert_eq!(Algorithm::fastest(kernel, [side; 2]), Algorithm::Winograd { points });
        assert_eq!(
            Filter { kernel, points }.multiplications([side; 2]),
            multiplications,
            "{kernel} on {side}"
        );
    }
    let filter = |kernel, points| Filter { kernel, points };
    for (kernel, side, batch, points) in
        [(3, 56, 1, Some(6)), (3, 56, 2, Some(8)), (3, 28, 4, Some(6)), (3, 28, 8, Some(8)), (3, 7, 1, None)]
    {
        let found = winograd::fastest_gradient(filter(kernel, 8), [side; 2], batch);
        assert_eq!(found.map(|filter| filter.points), points, "{batch} gradients of {kernel} on {side}");
        assert!(
            winograd::fastest_gradient(filter(kernel, 6), [side; 2], batch).is_none_or(|f| f.points == 6)
        );
    }
    for (kernel, side) in [(1, 56), (7, 56), (3, 1), (5, 1)] {
        assert_eq!(Algorithm::fastest(kernel, [side; 2]), Algorithm::Direct, "{kernel} on {side}");
    }
}

/// Bit for bit, for any number of threads.
#[test]
fn results_do_not_depend_on_the_threads() {
    check_threads::<f32>();
    check_threads::<bf16>();
}

fn check_threads<T: Value>() {
    let shapes = [(vec![24, 40], 50, 3, 13), (vec![70], 100, 1, 9), (vec![16], 33, 5, 7)];
    for ((segments, outputs, kernel, size), algorithm) in shapes
        .into_iter()
        .flat_map(|shape| ALGORITHMS.map(|algorithm| (shape.clone(), algorithm)))
        .filter(|((_, _, kernel, _), algorithm)| *algorithm == Algorithm::Direct || *kernel > 1)
    {
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
            conv.forward(isa, &pool, x, &packed, &bias, true, y, &mut scratch);
            conv.pack_backward(isa, &pool, &weights, &mut packed);
            let dx = inner_mut(input_shape, &mut input_gradient);
            let epilogue = Epilogue { accumulate: true, relu: Some(x) };
            conv.backward_input(isa, &pool, dy, &packed, epilogue, dx, &mut scratch);
            conv.backward_weights(isa, &pool, x, dy, &mut weight_gradient, &mut bias_gradient, &mut scratch);
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

/// How far each way to compute is from the reference in f32, as a share of the norm: inputs as after a ReLU, gradients of both
/// signs. What the README says of errors is printed here.
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
            conv.forward(isa, pool, inner(from, x), &packed, &bias, false, into, &mut scratch);
            conv.pack_backward(isa, pool, weights, &mut packed);
            let into = inner_mut(from, &mut dx);
            let epilogue = Epilogue::default();
            conv.backward_input(isa, pool, inner(to, dy), &packed, epilogue, into, &mut scratch);
            conv.backward_weights(isa, pool, inner(from, x), inner(to, dy), &mut dw, &mut db, &mut scratch);
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
            [errors::<f32>(kernel, algorithm, isa), errors::<bf16>(kernel, algorithm, isa.with_halves())];
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
