//! Graph of the network for export: each layer's computation and inputs, without buffers and kernels.

use std::collections::HashMap;

use crate::layers::Layer;
use crate::plan::{BufferIndex, Feature, Rows};

/// A layer in the list that [`GoogLeNet::graph`](crate::GoogLeNet::graph) returns: what it computes, and
/// which layers' outputs it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphLayer {
    /// Name of the layer as in Caffe's GoogLeNet, such as `inception_3a/3x3`; its parameters, if it has any,
    /// are called `NAME/weights` and `NAME/bias`.
    pub name: String,
    /// Operation that the layer computes, such as a convolution, with its sizes.
    pub computation: Computation,
    /// Indices, in the list of the graph's layers, of those whose outputs, concatenated by channels, are the
    /// input of this layer; empty for the layer that reads the images.
    pub inputs: Vec<usize>,
}

/// The operation that a layer computes on each image, with its sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Computation {
    /// Convolution plus bias.
    Convolution {
        /// Number of groups of channels, each of which is convolved by filters of its own.
        groups: usize,
        /// Whether a ReLU follows.
        relu: bool,
        /// Side of the square kernel in pixels.
        kernel: usize,
        /// Distance between neighbouring windows in pixels.
        stride: usize,
        /// Number of rows and columns of zeros added on every side.
        padding: usize,
    },
    /// Max pooling: the maximum of each window. The number of windows is rounded up, so that the last ones
    /// may reach beyond the map.
    MaxPool {
        /// Side of the square window in pixels.
        kernel: usize,
        /// Distance between neighbouring windows in pixels.
        stride: usize,
        /// Padding: pixels by which the first window starts before the map.
        padding: usize,
    },
    /// Average pooling: the mean of each window. The number of windows is rounded up; where a window reaches
    /// beyond the map, the mean is that of the pixels inside.
    AveragePool {
        /// Side of the square window in pixels.
        kernel: usize,
        /// Distance between neighbouring windows in pixels.
        stride: usize,
    },
    /// Local response normalisation: division of each value by
    /// `(k + alpha / size * sum of squares over the size channels around it) ^ beta`.
    Lrn {
        /// Number of channels of a window.
        size: usize,
        /// Factor of the mean square in the window.
        alpha: f32,
        /// Exponent of the divisor.
        beta: f32,
        /// Constant added to the weighted sum of squares.
        k: f32,
    },
    /// Conversion of an image's maps to one row of values, ordered by channel, then height, then width.
    Flatten,
    /// Fully connected layer.
    Dense {
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// Dropout in training; otherwise the identity.
    Dropout,
}

/// Input or output of a layer: the images or a buffer.
pub(crate) enum Endpoint<'a> {
    Images,
    Map(&'a Feature),
    Rows(Rows),
}

impl Endpoint<'_> {
    /// Returns the index of the buffer that holds this input or output of a layer; `None` for the images,
    /// which are in no buffer of the network.
    pub fn buffer(&self) -> Option<BufferIndex> {
        match self {
            Endpoint::Images => None,
            Endpoint::Map(feature) => Some(feature.buffer),
            Endpoint::Rows(rows) => Some(rows.buffer),
        }
    }

    /// Identities of the endpoint's segments: for each its buffer and the first block within it.
    fn segments(&self) -> Vec<(BufferIndex, usize)> {
        match self {
            Endpoint::Images => vec![],
            Endpoint::Map(feature) => (0..feature.segments.len())
                .map(|segment| (feature.buffer, feature.segment(segment).first))
                .collect(),
            Endpoint::Rows(rows) => vec![(rows.buffer, 0)],
        }
    }
}

/// The layers of the main path. Auxiliary heads, which only training runs, are left out.
pub(crate) fn graph(layers: &[Layer]) -> Vec<GraphLayer> {
    let mut writers: HashMap<(BufferIndex, usize), usize> = HashMap::new();
    let mut graph = Vec::new();
    for layer in layers.iter().filter(|layer| !layer.auxiliary) {
        let (computation, input, output) = layer.operation.describe();
        let mut inputs: Vec<usize> = input.segments().into_iter().map(|segment| writers[&segment]).collect();
        inputs.dedup();
        writers.extend(output.segments().into_iter().map(|segment| (segment, graph.len())));
        graph.push(GraphLayer { name: layer.name.clone(), computation, inputs });
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, GoogLeNet};

    #[test]
    fn branches_are_read_side_by_side_and_heads_left_out() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let graph = network.graph();
        let named = |name: &str| graph.iter().find(|layer| layer.name == name).unwrap();
        let inputs = |name: &str| -> Vec<&str> {
            named(name).inputs.iter().map(|&input| graph[input].name.as_str()).collect()
        };
        assert!(inputs("conv1/7x7_s2").is_empty());
        assert_eq!(inputs("pool1/norm1"), ["pool1/3x3_s2"]);
        assert_eq!(inputs("inception_3a/5x5"), ["inception_3a/5x5_reduce"]);
        let branches = ["1x1", "3x3", "5x5", "pool_proj"].map(|branch| format!("inception_3a/{branch}"));
        assert_eq!(inputs("inception_3b/1x1"), branches);
        assert_eq!(inputs("pool3/3x3_s2").len(), 4);
        assert_eq!(inputs("inception_4a/1x1"), ["pool3/3x3_s2"], "a pool of four parts is one layer");
        assert_eq!(inputs("loss3/classifier"), ["pool5/drop_7x7_s1"]);
        assert!(graph.iter().all(|layer| !layer.name.starts_with("loss1")));
        let stem = Computation::Convolution { groups: 1, relu: true, kernel: 7, stride: 2, padding: 3 };
        assert_eq!(named("conv1/7x7_s2").computation, stem);
        let inside = Computation::Convolution { groups: 1, relu: true, kernel: 5, stride: 1, padding: 2 };
        assert_eq!(named("inception_3a/5x5").computation, inside);
        assert_eq!(named("pool5/7x7_s1").computation, Computation::AveragePool { kernel: 7, stride: 1 });
    }
}
