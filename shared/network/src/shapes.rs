//! Shapes of the layers of a network, on which its kernels are tested.

use crate::graph::{Computation, Endpoint};
use crate::network::GoogLeNet;

/// The computation of a layer and the shapes of its input and output, for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerShape {
    /// Name of the layer as in Caffe's GoogLeNet, such as `inception_3a/3x3`.
    pub name: String,
    /// Operation that the layer computes, such as a convolution, with its sizes.
    pub computation: Computation,
    /// Shape of the layer's input for one image.
    pub input: Operand,
    /// Shape of the layer's output for one image.
    pub output: Operand,
    /// Number of multiply-adds by weights in the forward pass for one image; 0 for a layer without weights.
    pub multiply_adds: u64,
}

/// The shape of a layer's input or output, for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The input image, stored as three planes of one colour each.
    Image {
        /// Height and width in pixels.
        side: usize,
    },
    /// A feature map of one or several concatenated groups of channels, stored in blocks of 16 channels.
    Map {
        /// Number of channels of each concatenated segment; every segment starts at a new block of 16
        /// channels.
        segments: Vec<usize>,
        /// Height of the map in pixels.
        height: usize,
        /// Width of the map in pixels.
        width: usize,
    },
    /// One row of values, as a fully connected layer reads and writes it.
    Row {
        /// Number of values of the row.
        width: usize,
    },
}

impl GoogLeNet {
    /// Returns the computation, input shape and output shape of every layer, in forward order, auxiliary
    /// heads included.
    pub fn shapes(&self) -> Vec<LayerShape> {
        let side = self.architecture().input_size;
        let operand = |place: Endpoint| match place {
            Endpoint::Images => Operand::Image { side },
            Endpoint::Map(feature) => Operand::Map {
                segments: feature.segments.clone(),
                height: feature.height,
                width: feature.width,
            },
            Endpoint::Rows(rows) => Operand::Row { width: rows.width },
        };
        let shape = |layer: &crate::layers::Layer| {
            let (computation, input, output) = layer.operation.describe();
            LayerShape {
                name: layer.name.clone(),
                computation,
                input: operand(input),
                output: operand(output),
                multiply_adds: layer.multiply_adds,
            }
        };
        self.layers().iter().map(shape).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;

    #[test]
    fn layers_of_heads_and_of_concatenations_are_listed_with_their_parts() {
        let shapes = GoogLeNet::new(&Architecture::paper()).unwrap().shapes();
        let named = |name: &str| shapes.iter().find(|shape| shape.name == name).unwrap();
        let stem = named("conv1/7x7_s2");
        assert_eq!(stem.input, Operand::Image { side: 224 });
        assert_eq!(stem.output, Operand::Map { segments: vec![64], height: 112, width: 112 });
        let reduction = named("inception_3b/3x3_reduce");
        let expected = Operand::Map { segments: vec![64, 128, 32, 32], height: 28, width: 28 };
        assert_eq!(reduction.input, expected);
        let head = named("loss1/fc");
        assert_eq!(head.computation, Computation::Dense { relu: true });
        assert_eq!(
            (&head.input, &head.output),
            (&Operand::Row { width: 2048 }, &Operand::Row { width: 1024 })
        );
        assert_eq!(head.multiply_adds, 2048 * 1024);
    }
}
