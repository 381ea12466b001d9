//! Tests of the normalisation: the formula in f64, gradients by differences, and every instruction set
//! against the reference.

use super::*;
use crate::Isa;
use crate::map::Shape;
use crate::testing::shapes::{Computation, LITTLE, layers};
use crate::testing::{
    Guarded, all_isas, assert_close, context, narrow, one_thread, random, rounding, vector_isas, wide,
};
use half::bf16;
use proptest::prelude::*;

/// BVLC's constants.
const BVLC: Lrn = Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 };
/// Constants whose window matters at unit size.
const STRONG: Lrn = Lrn { size: 5, alpha: 2.0, beta: 0.75, k: 1.0 };

/// Outputs of one pixel's channels.
fn formula(lrn: &Lrn, x: &[f64]) -> Vec<f64> {
    let half = lrn.size / 2;
    (0..x.len())
        .map(|c| {
            let window = &x[c.saturating_sub(half)..x.len().min(c + half + 1)];
            let squares: f64 = window.iter().map(|x| x * x).sum();
            let scale = f64::from(lrn.k) + f64::from(lrn.alpha) / lrn.size as f64 * squares;
            x[c] * scale.powf(-f64::from(lrn.beta))
        })
        .collect()
}

/// Channels of one pixel, each with two decimals, so that f32 and f64 agree to 1e-7 at the start.
fn channels_of(count: usize, seed: usize, scale: f64) -> Vec<f64> {
    (0..count).map(|c| (((c * 7919 + seed * 104_729) % 401) as f64 / 100.0 - 2.0) * scale).collect()
}

fn one_pixel(channels: usize) -> Shape {
    Shape { batch: 1, blocks: blocks(channels), height: 1, width: 1 }
}

fn to_blocks(x: &[f64]) -> Vec<f32> {
    let mut values = vec![0.0; one_pixel(x.len()).len()];
    values.iter_mut().zip(x).for_each(|(to, from)| *to = *from as f32);
    values
}

#[test]
fn forward_is_the_formula() {
    let pool = one_thread();
    for isa in all_isas::<f32>() {
        for (lrn, size) in [
            (BVLC, 100.0),
            (STRONG, 1.0),
            (Lrn { size: 1, ..STRONG }, 1.0),
            (Lrn { size: 31, ..STRONG }, 1.0),
        ] {
            for channels in [1, 2, 15, 16, 17, 24, 64] {
                let x = channels_of(channels, 1, size);
                let (shape, input) = (one_pixel(channels), to_blocks(&x));
                let mut output = vec![9.0; shape.len()];
                lrn.forward(
                    context(isa, &pool, &mut vec![f32::NAN; lrn.scratch_len(channels, &pool)]),
                    Map::whole(&input, shape),
                    channels,
                    MapMut::whole(&mut output, shape),
                );
                for (c, expected) in formula(&lrn, &x).into_iter().enumerate() {
                    let error = (f64::from(output[c]) - expected).abs() / expected.abs().max(1e-3);
                    assert!(error < 2e-6, "{lrn:?} channel {c} of {channels}, {}: {error:e}", isa.name());
                }
                assert!(output[channels..].iter().all(|&value| value == 0.0), "padding lanes stay zero");
            }
        }
    }
}

#[test]
fn backward_matches_differences_of_the_formula() {
    let pool = one_thread();
    for isa in all_isas::<f32>() {
        for (lrn, size) in [(BVLC, 100.0), (STRONG, 1.0), (Lrn { size: 3, k: 2.0, ..STRONG }, 1.0)] {
            for channels in [1, 3, 16, 17, 40] {
                let x = channels_of(channels, 2, size);
                let dy = channels_of(channels, 3, 1.0);
                let shape = one_pixel(channels);
                let (input, output_gradient) = (to_blocks(&x), to_blocks(&dy));
                let mut gradient = vec![9.0; shape.len()];
                lrn.backward(
                    context(isa, &pool, &mut vec![f32::NAN; lrn.scratch_len(channels, &pool)]),
                    Map::whole(&input, shape),
                    Map::whole(&output_gradient, shape),
                    channels,
                    false,
                    MapMut::whole(&mut gradient, shape),
                );
                let loss =
                    |x: &[f64]| -> f64 { formula(&lrn, x).iter().zip(&dy).map(|(y, dy)| y * dy).sum() };
                for c in 0..channels {
                    let step = 1e-5 * size;
                    let (mut above, mut below) = (x.clone(), x.clone());
                    above[c] += step;
                    below[c] -= step;
                    let expected = (loss(&above) - loss(&below)) / (2.0 * step);
                    let error = (f64::from(gradient[c]) - expected).abs();
                    assert!(error < 1e-5, "{lrn:?} channel {c} of {channels}, {}: {error:e}", isa.name());
                }
                assert!(gradient[channels..].iter().all(|&value| value == 0.0), "padding lanes stay zero");
            }
        }
    }
}

#[test]
#[should_panic(expected = "beta 0.75")]
fn another_exponent_is_refused() {
    let shape = one_pixel(16);
    let lrn = Lrn { beta: 0.5, ..BVLC };
    lrn.forward(
        context(Isa::scalar(), &Pool::new(1).unwrap(), &mut []),
        Map::whole(&[0.0; 16], shape),
        16,
        MapMut::whole(&mut [0.0; 16], shape),
    );
}

#[derive(Clone, Debug)]
struct Sample {
    batch: usize,
    channels: usize,
    size: [usize; 2],
    /// Blocks before the map and behind it.
    around: [usize; 2],
    lrn: Lrn,
    seed: u32,
    threads: usize,
    rectified: bool,
}

fn samples() -> impl Strategy<Value = Sample> {
    let channels = prop_oneof![1..70usize, prop::sample::select(vec![1, 15, 16, 17, 31, 32, 33])];
    // Up to more pixels than a task has.
    let size = prop_oneof![[0..6usize, 0..6usize], [16..18usize, 15..18usize]];
    let window = (prop::sample::select(vec![1usize, 3, 5, 5, 5, 9, 31]), 0.5..3f32);
    let run = (any::<u32>(), 1..3usize, any::<bool>());
    (0..3usize, channels, size, [0..2usize, 0..2usize], window, run).prop_map(
        |(batch, channels, size, around, (window, k), (seed, threads, rectified))| {
            let lrn = Lrn { size: window, alpha: 2.0, beta: 0.75, k };
            Sample { batch, channels, size, around, lrn, seed, threads, rectified }
        },
    )
}

fn check<T: Value>(sample: &Sample) {
    let Sample { batch, channels, size: [height, width], around: [first, behind], lrn, seed, .. } = *sample;
    let pool = Pool::new(sample.threads).unwrap();
    let count = blocks(channels);
    let shape = Shape { batch, blocks: first + count + behind, height, width };
    let fill = |seed: u64| {
        let planar = random(batch * channels * height * width, seed);
        let mut data = vec![5.0; shape.len()];
        crate::blocked::from_planar(&planar, channels, MapMut::slice(&mut data, shape, first, count));
        narrow::<T>(&data)
    };
    let (input, gradient) = (fill(seed.into()), fill(!seed as u64));
    let (input, gradient) =
        (Map::slice(&input, shape, first, count), Map::slice(&gradient, shape, first, count));
    let to = Shape { blocks: count + 1, ..shape };
    let run = |isa: Isa| {
        let (mut output, mut back) = (Guarded::<T>::new(to.len(), 7.0), Guarded::<T>::new(to.len(), 7.0));
        let mut scratch = Guarded::<f32>::new(lrn.scratch_len(channels, &pool), f32::NAN);
        let into = MapMut::slice(output.values(), to, 1, count);
        lrn.forward(context(isa, &pool, scratch.values()), input, channels, into);
        let into = MapMut::slice(back.values(), to, 1, count);
        let context = context(isa, &pool, scratch.values());
        lrn.backward(context, input, gradient, channels, sample.rectified, into);
        scratch.check(isa.name());
        output.check(isa.name());
        back.check(isa.name());
        (wide(output.values()), wide(back.values()))
    };
    let expected = run(Isa::scalar());
    for isa in vector_isas::<T>() {
        let found = run(isa);
        let name = format!("lrn of {sample:?}, {}", isa.name());
        assert_close(&name, &found.0, &expected.0, rounding::<T>(1e-5), 0.01);
        assert_close(&name, &found.1, &expected.1, rounding::<T>(1e-5), 0.1);
    }
}

proptest! {
    #[test]
    fn vectors_are_those_of_the_reference(sample in samples()) {
        check::<f32>(&sample);
        check::<bf16>(&sample);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn normalisations_of_networks_are_those_of_the_reference(
        drawn in layers(|computation| matches!(computation, Computation::Lrn), LITTLE),
        seed: u32, threads in 1..3usize, rectified: bool,
    ) {
        let (segments, height, width) = drawn.input_map();
        let (batch, channels) = (drawn.batch, segments.iter().sum());
        let sample = Sample {
            batch, channels, size: [height, width], around: [1, 1], lrn: STRONG, seed, threads, rectified,
        };
        check::<f32>(&sample);
        check::<bf16>(&sample);
    }
}
