//! Tests of the convolutions on shapes around the edges of tiles and on those of networks: every method on
//! every instruction set against the reference.

mod branches;
mod choice;
mod passes;
mod results;
mod stem;

use super::*;
use crate::map::Shape;
use crate::testing::{Guarded, assert_close, random, rounding, wide};
use proptest::prelude::*;

/// Tolerances relative to a typical sum: of direct convolution, and of Winograd's, whose transforms add terms
/// of very different size.
const TOLERANCE: f32 = 1e-5;
const WINOGRAD_TOLERANCE: f32 = 1e-4;

/// The tolerance for a gradient that a kernel sums over `terms` products in f32, beside a reference in f64:
/// the rounding of such a sum grows with the root of their number, past [`TOLERANCE`] beyond some 7,000
/// terms.
fn sum_tolerance(terms: usize) -> f32 {
    TOLERANCE.max(f32::EPSILON * (terms as f32).sqrt())
}

/// Tolerances of Winograd's convolution in bf16, whose transforms are rounded: of a single value and of the
/// norm.
const WINOGRAD_BF16: f32 = 1.0;
const WINOGRAD_BF16_NORM: f64 = 0.05;

/// Tolerances of a single value and of the norm.
fn tolerance<T: Value>(algorithm: Algorithm) -> (f32, f64) {
    let both = |tolerance| (tolerance, f64::from(tolerance));
    match (algorithm, T::GROUP) {
        (Algorithm::Direct, _) => both(rounding::<T>(TOLERANCE)),
        (Algorithm::Winograd { .. }, 1) => both(WINOGRAD_TOLERANCE),
        (Algorithm::Winograd { .. }, _) => (WINOGRAD_BF16, WINOGRAD_BF16_NORM),
    }
}

/// Compares values one by one and by the norm of their differences; the floor adds to either allowance. The
/// error norm of a few values varies more by chance than that of many, so the allowance falls to `norm` with
/// the square root of their number.
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

/// All algorithms of the table that compute kernels of this side.
fn algorithms(kernel: usize) -> Vec<Algorithm> {
    let applicable = methods::by_algorithm().filter(|(_, method)| method.applies(kernel));
    applicable.map(|(algorithm, _)| algorithm).collect()
}

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
    let kernel = prop::sample::select(vec![1usize, 3, 5]);
    let convolution = kernel.prop_flat_map(|kernel| (Just(kernel), prop::sample::select(algorithms(kernel))));
    (0usize..=3, segments, channels(), convolution, length(), length()).prop_map(
        |(batch, segments, outputs, (kernel, algorithm), height, width)| {
            let batch = if height * width > 60 { batch.min(1) } else { batch };
            Case { batch, segments, outputs, kernel, height, width, algorithm }
        },
    )
}

impl Case {
    fn convolution(&self) -> Convolution {
        Convolution::new(self.segments.clone(), self.outputs, self.kernel, [self.height, self.width])
            .with(self.algorithm)
    }

    /// Shape of a buffer with one foreign block on each side of `blocks`.
    fn shape(&self, blocks: usize) -> Shape {
        Shape { batch: self.batch, blocks: blocks + 2, height: self.height, width: self.width }
    }

    /// Random values in the lanes of real channels, zero in padding lanes, NaN in the foreign blocks.
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

/// Compares the blocks of the map and asserts that the foreign blocks are untouched.
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
