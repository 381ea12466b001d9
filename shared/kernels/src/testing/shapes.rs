//! Layer shapes of networks, drawn for property tests in addition to shapes at the edges of tiles.

use network::{Architecture, Computation, GoogLeNet, LayerShape, Operand, Variant};
use proptest::prelude::*;

/// Little work for a drawn case, in multiply-adds, or in values where nothing is multiplied: enough for narrow layers
/// and for single images of wide ones.
pub(crate) const LITTLE: u64 = 1 << 23;
/// Much work for a drawn case: a minibatch of every size in an auxiliary head at the paper's width.
pub(crate) const MUCH: u64 = 1 << 26;
/// The largest minibatch drawn.
const LARGEST_BATCH: usize = 130;

/// A layer of a drawn network on a drawn minibatch.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) layer: LayerShape,
    pub(crate) batch: usize,
}

impl Drawn {
    /// Channels of each segment, height and width of the input map.
    pub(crate) fn input_map(&self) -> (Vec<usize>, usize, usize) {
        map(&self.layer.input)
    }

    /// Channels of each segment, height and width of the output map.
    pub(crate) fn output_map(&self) -> (Vec<usize>, usize, usize) {
        map(&self.layer.output)
    }
}

fn map(operand: &Operand) -> (Vec<usize>, usize, usize) {
    match operand {
        Operand::Map { segments, height, width } => (segments.clone(), *height, *width),
        other => panic!("expected a map, found {other:?}"),
    }
}

/// Layers of one kind, of any variant, width and input size, on minibatches of any size. A minibatch is
/// reduced until it takes no more work than `most`, so that the reference computes it in time.
pub(crate) fn layers(wanted: fn(&Computation) -> bool, most: u64) -> impl Strategy<Value = Drawn> {
    let variant = prop::sample::select(vec![Variant::Table, Variant::Operations, Variant::Naive]);
    let width =
        prop_oneof![prop::sample::select(vec![0.25f32, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]), 0.25f32..=2.0];
    let input_size = prop_oneof![prop::sample::select(vec![64usize, 96, 112, 128, 192, 224]), 64usize..=320];
    let classes = prop_oneof![Just(1000usize), 2usize..=101];
    let batch = prop_oneof![prop::sample::select(vec![1usize, 16, 32, 64, 128]), 1..=LARGEST_BATCH];
    (variant, width, input_size, classes, any::<prop::sample::Index>(), batch).prop_filter_map(
        "no layer of the kind is small enough",
        move |(variant, width, input_size, classes, index, batch)| {
            let heads = Architecture { classes, input_size, width, variant, ..Architecture::paper() };
            let architecture = match heads.validate() {
                Ok(()) => heads,
                Err(_) => Architecture { auxiliary_heads: false, ..heads },
            };
            let mut layers = GoogLeNet::new(&architecture).expect("a drawn architecture is sound").shapes();
            layers.retain(|layer| wanted(&layer.computation) && work(layer) <= most);
            if layers.is_empty() {
                return None;
            }
            let layer = layers.swap_remove(index.index(layers.len()));
            let batch = batch.min((most / work(&layer)).max(1) as usize);
            Some(Drawn { layer, batch })
        },
    )
}

/// Multiply-adds of the layer for one image, or the values that it reads and writes if they are more.
fn work(layer: &LayerShape) -> u64 {
    let values = |operand: &Operand| match operand {
        Operand::Image { side } => 3 * side * side,
        Operand::Map { segments, height, width } => segments.iter().sum::<usize>() * height * width,
        Operand::Row { width } => *width,
    };
    layer.multiply_adds.max((values(&layer.input) + values(&layer.output)) as u64).max(1)
}
