//! Layer shapes of networks, drawn for property tests in addition to shapes at the edges of tiles. They stand
//! in `layers.txt`, which a test of the crate `network` compares with its own networks: a kernel's tests
//! depend on no network, so that they are not compiled again with each of its edits.

use std::sync::LazyLock;

use proptest::prelude::*;

/// Little work for a drawn case, in multiply-adds, or in values where nothing is multiplied: enough for
/// narrow layers and for single images of wide ones.
pub(crate) const LITTLE: u64 = 1 << 23;
/// Much work for a drawn case: a minibatch of every size in an auxiliary head at the paper's width.
pub(crate) const MUCH: u64 = 1 << 26;
/// The largest minibatch drawn.
const LARGEST_BATCH: usize = 130;

/// Every distinct layer of networks of all variants, of widths 0.25 to 2 and inputs of 64 to 320 pixels.
static LAYERS: LazyLock<Vec<Layer>> =
    LazyLock::new(|| include_str!("layers.txt").lines().map(Layer::parse).collect());

/// The computation of a layer and the shapes of its input and output, for one image.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) computation: Computation,
    pub(crate) input: Operand,
    pub(crate) output: Operand,
    /// Multiply-adds of the forward pass.
    multiply_adds: u64,
}

/// The computation of a layer, as far as it decides what the kernels do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Computation {
    Convolution { kernel: usize, stride: usize, padding: usize },
    MaxPool { kernel: usize, stride: usize, padding: usize },
    AveragePool { kernel: usize, stride: usize },
    Lrn,
    Dense,
}

/// The shape of a layer's input or output.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// The planar image of three colours.
    Image { side: usize },
    /// A map with the channels of each concatenated segment.
    Map { segments: Vec<usize>, height: usize, width: usize },
    /// A row of values.
    Row { width: usize },
}

impl Layer {
    /// Reads a line such as `convolution 3 1 1 | map 64+128 28 28 | map 192 28 28 | 260112384`.
    fn parse(line: &str) -> Layer {
        let [computation, input, output, multiply_adds] =
            line.split(" | ").collect::<Vec<_>>().try_into().expect("four columns");
        let words: Vec<&str> = computation.split(' ').collect();
        let computation = match (words[0], &numbers(&words[1..])[..]) {
            ("convolution", &[kernel, stride, padding]) => {
                Computation::Convolution { kernel, stride, padding }
            }
            ("max_pool", &[kernel, stride, padding]) => Computation::MaxPool { kernel, stride, padding },
            ("average_pool", &[kernel, stride]) => Computation::AveragePool { kernel, stride },
            ("lrn", []) => Computation::Lrn,
            ("dense", []) => Computation::Dense,
            _ => panic!("{line}"),
        };
        Layer {
            computation,
            input: Operand::parse(input),
            output: Operand::parse(output),
            multiply_adds: multiply_adds.parse().unwrap(),
        }
    }

    /// Multiply-adds for one image, or the values that are read and written if they are more.
    fn work(&self) -> u64 {
        let values = |operand: &Operand| match operand {
            Operand::Image { side } => 3 * side * side,
            Operand::Map { segments, height, width } => segments.iter().sum::<usize>() * height * width,
            Operand::Row { width } => *width,
        };
        self.multiply_adds.max((values(&self.input) + values(&self.output)) as u64)
    }
}

impl Operand {
    fn parse(column: &str) -> Operand {
        match column.split(' ').collect::<Vec<_>>()[..] {
            ["image", side] => Operand::Image { side: side.parse().unwrap() },
            ["map", segments, height, width] => Operand::Map {
                segments: numbers(&segments.split('+').collect::<Vec<_>>()),
                height: height.parse().unwrap(),
                width: width.parse().unwrap(),
            },
            ["row", width] => Operand::Row { width: width.parse().unwrap() },
            _ => panic!("{column}"),
        }
    }

    /// Channels of each segment, height and width.
    fn map(&self) -> (Vec<usize>, usize, usize) {
        match self {
            Operand::Map { segments, height, width } => (segments.clone(), *height, *width),
            other => panic!("expected a map, found {other:?}"),
        }
    }
}

fn numbers(words: &[&str]) -> Vec<usize> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

/// A layer of a network on a drawn minibatch.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) layer: Layer,
    pub(crate) batch: usize,
}

impl Drawn {
    /// Channels of each segment, height and width of the input map.
    pub(crate) fn input_map(&self) -> (Vec<usize>, usize, usize) {
        self.layer.input.map()
    }

    /// Channels of each segment, height and width of the output map.
    pub(crate) fn output_map(&self) -> (Vec<usize>, usize, usize) {
        self.layer.output.map()
    }
}

/// Layers of one kind on minibatches of any size. A minibatch is reduced until it takes no more work than
/// `most`, so that the reference computes it in time.
pub(crate) fn layers(wanted: fn(&Computation) -> bool, most: u64) -> impl Strategy<Value = Drawn> {
    let small: Vec<Layer> =
        LAYERS.iter().filter(|layer| wanted(&layer.computation) && layer.work() <= most).cloned().collect();
    let batch = prop_oneof![prop::sample::select(vec![1usize, 16, 32, 64, 128]), 1..=LARGEST_BATCH];
    (prop::sample::select(small), batch).prop_map(move |(layer, batch)| {
        let batch = batch.min((most / layer.work()).max(1) as usize);
        Drawn { layer, batch }
    })
}
