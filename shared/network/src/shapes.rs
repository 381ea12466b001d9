//! Shapes of the layers of a network, on which its kernels are tested.

use crate::graph::{Computation, Endpoint};
use crate::network::GoogLeNet;

/// The computation of a layer and the shapes of its input and output, for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerShape {
    /// Caffe's name of the layer.
    pub name: String,
    /// Computation of the layer.
    pub computation: Computation,
    /// Shape of the input.
    pub input: Operand,
    /// Shape of the output.
    pub output: Operand,
    /// Number of multiply-adds of the forward pass for one image.
    pub multiply_adds: u64,
}

/// The shape of a layer's input or output, for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The planar image of three colours.
    Image {
        /// Height and width in pixels.
        side: usize,
    },
    /// A feature map.
    Map {
        /// Number of channels of each concatenated segment; every segment starts at a new block of 16
        /// channels.
        segments: Vec<usize>,
        /// Height of the map in pixels.
        height: usize,
        /// Width of the map in pixels.
        width: usize,
    },
    /// A row of values.
    Row {
        /// Number of values of the row.
        width: usize,
    },
}

impl GoogLeNet {
    /// Returns the shape of every layer in forward order, auxiliary heads included.
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
