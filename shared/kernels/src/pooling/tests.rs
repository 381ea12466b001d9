//! Tests of pooling: cases by hand, gradients by differences, and every instruction set against the
//! reference.

use super::*;
use crate::Epilogue;
use crate::map::{LANES, Map, MapMut};
use crate::testing::shapes::{Computation, Drawn, LITTLE, layers};
use crate::testing::{
    Guarded, all_isas, assert_close, context, narrow, one_thread, random, rounding, vector_isas, wide,
};
use crate::{Isa, Pool, Value};
use half::bf16;
use proptest::prelude::*;

/// GoogLeNet's max pool between stages.
const HALVE: MaxPool = MaxPool { kernel: 3, stride: 2, padding: 0, rectified: false };
/// GoogLeNet's max pool inside a module.
const BRANCH: MaxPool = MaxPool { kernel: 3, stride: 1, padding: 1, rectified: false };
/// GoogLeNet's average pool in front of an auxiliary head.
const AUXILIARY: AveragePool = AveragePool { kernel: 5, stride: 3 };

/// The maxima of a map and their positions, by two threads.
fn maxima(max: MaxPool, isa: Isa, input: &[f32], shape: Shape) -> (Vec<f32>, Vec<u8>) {
    let (height, width) = (max.output_size(shape.height), max.output_size(shape.width));
    let to = Shape { height, width, ..shape };
    let (mut output, mut indices) = (vec![0.0; to.len()], vec![9; to.len()]);
    let (pool, output_map) = (Pool::new(2).unwrap(), MapMut::whole(&mut output, to));
    let input = Map::whole(input, shape);
    max.forward(context(isa, &pool, &mut []), input, output_map, Some(&mut indices));
    (output, indices)
}

fn of_size(side: usize) -> Shape {
    Shape { batch: 1, blocks: 1, height: side, width: side }
}

/// The pixels along one side that a window covers.
fn pixels(windows: Windows, window: usize) -> Range<usize> {
    let taps = windows.taps(window);
    windows.input(window, taps.start)..windows.input(window, taps.end)
}

#[test]
fn googlenet_halves_down_to_seven() {
    let sizes: Vec<usize> =
        std::iter::successors(Some(112), |&len| (len > 7).then(|| HALVE.output_size(len))).collect();
    assert_eq!(sizes, [112, 56, 28, 14, 7]);
    for len in 1..40 {
        assert_eq!(BRANCH.output_size(len), len);
    }
    let windows = Windows::new(3, 2, 0, 112);
    assert_eq!(pixels(windows, 55), 110..112, "the last window hangs over the border");
}

#[test]
fn auxiliary_windows_overlap_and_clip() {
    let windows = Windows::new(5, 3, 0, 14);
    let found: Vec<_> = (0..windows.count).map(|window| pixels(windows, window)).collect();
    assert_eq!(found, [0..5, 3..8, 6..11, 9..14]);
    assert_eq!(AUXILIARY.output_size(4), 1, "a smaller map is one window");
    assert_eq!(AUXILIARY.output_size(0), 0);
    assert_eq!(AveragePool { kernel: 7, stride: 1 }.output_size(7), 1);
}

#[test]
fn a_window_that_starts_in_the_right_padding_is_dropped() {
    // Starts at -1, 1, 3: the third would see nothing but padding.
    let pool = MaxPool { kernel: 2, padding: 1, ..HALVE };
    assert_eq!(pool.output_size(3), 2);
    // Starts at -1, 1, 3: the third sees the fourth pixel.
    assert_eq!(pool.output_size(4), 3);
}

#[test]
#[should_panic(expected = "so that no window is empty")]
fn windows_with_gaps_are_refused() {
    MaxPool { kernel: 1, ..HALVE }.output_size(4);
}

#[test]
fn of_equal_values_the_first_wins_and_nan_crashes_nothing() {
    let shape = of_size(5);
    for isa in all_isas::<f32>() {
        for (fill, expected) in [(3.0, 3.0), (f32::NEG_INFINITY, f32::NEG_INFINITY)] {
            let input = vec![fill; shape.len()];
            let (output, indices) = maxima(HALVE, isa, &input, shape);
            assert!(output.iter().all(|&value| value == expected), "{}", isa.name());
            assert!(indices.iter().all(|&index| index == 0), "{}", isa.name());
        }
        let mut input = vec![1.0_f32; shape.len()];
        input[0] = f32::NAN; // first of its window: stays
        input[(4 * 5 + 4) * LANES] = f32::NAN; // last of its window: loses
        let (output, indices) = maxima(HALVE, isa, &input, shape);
        assert!(output[0].is_nan() && indices[0] == 0, "{}", isa.name());
        assert!(output[1..].iter().all(|&value| value == 1.0), "{}", isa.name());
        let mut input = vec![1.0_f32; shape.len()];
        input[2 * 5 * LANES] = f32::NAN; // first of a row of the upper window, and first of the lower one
        input[(2 * 5 + 1) * LANES] = 2.0; // hidden behind it in both
        let (pool, to) = (one_thread(), of_size(HALVE.output_size(5)));
        let mut output = vec![0.0; to.len()];
        let output_map = MapMut::whole(&mut output, to);
        HALVE.forward(context(isa, &pool, &mut []), Map::whole(&input, shape), output_map, None);
        assert!(output[0] == 1.0 && output[2 * LANES].is_nan(), "{}", isa.name());
    }
}

#[test]
fn the_branch_pool_never_sees_its_padding() {
    let shape = of_size(3);
    let input = vec![-2.0; shape.len()];
    for isa in all_isas::<f32>() {
        let (output, indices) = maxima(BRANCH, isa, &input, shape);
        assert!(output.iter().all(|&value| value == -2.0), "{}", isa.name());
        let first: Vec<u8> = indices.chunks(LANES).map(|lanes| lanes[0]).collect();
        assert_eq!(first, [4, 3, 3, 1, 0, 0, 1, 0, 0], "{}", isa.name());
    }
}

#[test]
fn gradients_match_differences() {
    // The values are whole numbers and the steps a quarter: no maximum changes, so differences are exact.
    let shape = Shape { batch: 1, blocks: 1, height: 6, width: 5 };
    let input: Vec<f32> = (0..shape.len()).map(|i| ((i * 37) % shape.len()) as f32).collect();
    let max = [HALVE, BRANCH, MaxPool { kernel: 4, stride: 3, padding: 2, rectified: false }];
    let pool = one_thread();
    for isa in all_isas::<f32>() {
        for max in max {
            let to = Shape { height: max.output_size(6), width: max.output_size(5), ..shape };
            let weights: Vec<f32> = (0..to.len()).map(|i| (i % 7) as f32 - 3.0).collect();
            let expected = differences(&input, &mut |input| dot(&weights, &maxima(max, isa, input, shape).0));
            let (_, indices) = maxima(max, isa, &input, shape);
            let mut gradient = vec![9.0; shape.len()];
            let to_input = MapMut::whole(&mut gradient, shape);
            let context = context(isa, &pool, &mut []);
            max.backward(context, Map::whole(&weights, to), &indices, false, to_input);
            assert_eq!(gradient, expected, "{max:?} {}", isa.name());
        }
        for average in [AUXILIARY, AveragePool { kernel: 2, stride: 1 }, AveragePool { kernel: 9, stride: 1 }]
        {
            let to = Shape { height: average.output_size(6), width: average.output_size(5), ..shape };
            let weights: Vec<f32> = (0..to.len()).map(|i| (i % 7) as f32 - 3.0).collect();
            let expected = differences(&input, &mut |input: &[f32]| {
                let mut output = vec![0.0; to.len()];
                let context = context(isa, &pool, &mut []);
                average.forward(context, Map::whole(input, shape), MapMut::whole(&mut output, to));
                dot(&weights, &output)
            });
            let mut gradient = vec![9.0; shape.len()];
            let to_input = MapMut::whole(&mut gradient, shape);
            let context = context(isa, &pool, &mut []);
            average.backward(context, Map::whole(&weights, to), Epilogue::default(), to_input);
            for (found, expected) in gradient.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-3, "{average:?} {}: {found} {expected}", isa.name());
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn differences(input: &[f32], function: &mut dyn FnMut(&[f32]) -> f64) -> Vec<f32> {
    const STEP: f32 = 0.25;
    let mut input = input.to_vec();
    (0..input.len())
        .map(|i| {
            let value = input[i];
            input[i] = value + STEP;
            let above = function(&input);
            input[i] = value - STEP;
            let below = function(&input);
            input[i] = value;
            ((above - below) / f64::from(2.0 * STEP)) as f32
        })
        .collect()
}

/// A pooling of a map that lies inside a larger buffer, into blocks of another.
#[derive(Clone, Debug)]
struct Sample {
    kernel: usize,
    stride: usize,
    padding: usize,
    from: Shape,
    first: usize,
    count: usize,
    levels: u32,
    seed: u32,
    threads: usize,
    rectified: bool,
}

fn samples() -> impl Strategy<Value = Sample> {
    let window = (1..=5usize).prop_flat_map(|kernel| (Just(kernel), 1..=kernel, 0..kernel));
    let map = (0..3usize, 0..3usize, 0..3usize, 0..2usize, 0..12usize, 0..12usize);
    let run = (1..6u32, any::<u32>(), 1..3usize, any::<bool>());
    (window, map, run).prop_map(|(window, map, (levels, seed, threads, rectified))| {
        let (kernel, stride, padding) = window;
        let (batch, first, count, behind, height, width) = map;
        let from = Shape { batch, blocks: first + count + behind, height, width };
        Sample { kernel, stride, padding, from, first, count, levels, seed, threads, rectified }
    })
}

impl Sample {
    /// Input values with many ties.
    fn input(&self) -> Vec<f32> {
        let levels = self.levels as f32;
        random(self.from.len(), self.seed.into()).iter().map(|value| (value * levels).round()).collect()
    }

    fn output_shape(&self, output_size: impl Fn(usize) -> usize) -> Shape {
        Shape {
            blocks: self.count + 1,
            height: output_size(self.from.height),
            width: output_size(self.from.width),
            ..self.from
        }
    }
}

fn check_max<T: Value>(sample: Sample) {
    let Sample { kernel, stride, padding, from, first, count, seed, threads, rectified, .. } = sample;
    let pool = Pool::new(threads).unwrap();
    let max = MaxPool { kernel, stride, padding, rectified };
    let input = narrow::<T>(&sample.input());
    let to = sample.output_shape(|len| max.output_size(len));
    let values = to.batch * count * to.plane();
    let gradient = narrow::<T>(&random(to.len(), !seed as u64));
    let run = |isa: Isa, accumulate: bool| {
        let mut output = Guarded::<T>::new(to.len(), 7.0);
        let mut indices = vec![77; values];
        let map = Map::slice(&input, from, first, count);
        max.forward(
            context(isa, &pool, &mut []),
            map,
            MapMut::slice(output.values(), to, 1, count),
            Some(&mut indices),
        );
        let mut back = Guarded::<T>::new(from.len(), 0.5);
        let map = Map::slice(&gradient, to, 1, count);
        let into = MapMut::slice(back.values(), from, first, count);
        max.backward(context(isa, &pool, &mut []), map, &indices, accumulate, into);
        output.check(isa.name());
        back.check(isa.name());
        let mut alone = vec![T::narrow(7.0); to.len()];
        let map = Map::slice(&input, from, first, count);
        max.forward(context(isa, &pool, &mut []), map, MapMut::slice(&mut alone, to, 1, count), None);
        assert_eq!(alone, output.values(), "{}: the same maxima without positions", isa.name());
        (output.values().to_vec(), indices, back.values().to_vec())
    };
    for accumulate in [false, true] {
        let expected = run(Isa::scalar(), accumulate);
        for isa in vector_isas::<T>() {
            let found = run(isa, accumulate);
            let name = format!("max pool {sample:?} {}", isa.name());
            assert_eq!(&found.0, &expected.0, "{}", name);
            assert_eq!(&found.1, &expected.1, "{}", name);
            assert_close(&name, &wide(&found.2), &wide(&expected.2), rounding::<T>(1e-5), 1.0);
        }
    }
}

fn check_average<T: Value>(sample: Sample) {
    let Sample { kernel, stride, from, first, count, seed, threads, rectified, .. } = sample;
    let pool = Pool::new(threads).unwrap();
    let average = AveragePool { kernel, stride };
    let input = narrow::<T>(&random(from.len(), seed.into()));
    let to = sample.output_shape(|len| average.output_size(len));
    let gradient = narrow::<T>(&random(to.len(), !seed as u64));
    let run = |isa: Isa, accumulate: bool| {
        let mut output = Guarded::<T>::new(to.len(), 7.0);
        let map = Map::slice(&input, from, first, count);
        average.forward(context(isa, &pool, &mut []), map, MapMut::slice(output.values(), to, 1, count));
        let mut back = Guarded::<T>::new(from.len(), 0.5);
        let map = Map::slice(&gradient, to, 1, count);
        let relu = rectified.then(|| Map::slice(&input, from, first, count));
        let into = MapMut::slice(back.values(), from, first, count);
        average.backward(context(isa, &pool, &mut []), map, Epilogue { accumulate, relu }, into);
        output.check(isa.name());
        back.check(isa.name());
        (output.values().to_vec(), back.values().to_vec())
    };
    for accumulate in [false, true] {
        let expected = run(Isa::scalar(), accumulate);
        for isa in vector_isas::<T>() {
            let found = run(isa, accumulate);
            let name = format!("average pool {sample:?} {}", isa.name());
            assert_close(&name, &wide(&found.0), &wide(&expected.0), rounding::<T>(1e-5), 0.1);
            assert_close(&name, &wide(&found.1), &wide(&expected.1), rounding::<T>(1e-5), 0.1);
        }
    }
}

impl Sample {
    /// A pooling of a network between two blocks of others, on values that rarely tie.
    fn of_network(drawn: &Drawn, seed: u32, threads: usize, rectified: bool) -> Sample {
        let (kernel, stride, padding) = match drawn.layer.computation {
            Computation::MaxPool { kernel, stride, padding } => (kernel, stride, padding),
            Computation::AveragePool { kernel, stride } => (kernel, stride, 0),
            other => panic!("expected a pooling, found {other:?}"),
        };
        let (segments, height, width) = drawn.input_map();
        let count = segments.iter().map(|channels| channels.div_ceil(LANES)).sum();
        let from = Shape { batch: drawn.batch, blocks: count + 2, height, width };
        Sample { kernel, stride, padding, from, first: 1, count, levels: 1000, seed, threads, rectified }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pools_of_networks_are_those_of_the_reference(
        max in layers(|computation| matches!(computation, Computation::MaxPool { .. }), LITTLE),
        average in layers(|computation| matches!(computation, Computation::AveragePool { .. }), LITTLE),
        seed: u32, threads in 1..3usize, rectified: bool,
    ) {
        let sample = Sample::of_network(&max, seed, threads, rectified);
        check_max::<f32>(sample.clone());
        check_max::<bf16>(sample);
        let sample = Sample::of_network(&average, seed, threads, rectified);
        check_average::<f32>(sample.clone());
        check_average::<bf16>(sample);
    }
}

proptest! {
    #[test]
    fn max_pooling_is_that_of_the_reference(sample in samples()) {
        check_max::<f32>(sample.clone());
        check_max::<bf16>(sample);
    }

    #[test]
    fn average_pooling_is_that_of_the_reference(sample in samples()) {
        check_average::<f32>(sample.clone());
        check_average::<bf16>(sample);
    }
}
