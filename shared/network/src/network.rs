//! GoogLeNet as data: its layers, the layout of its parameters, its memory plan.

use parameters::{Layout, LayoutError};
use serde::{Deserialize, Serialize};

use settings::Variant;

use crate::architecture::{Architecture, ArchitectureError};
use crate::builder::{self, Builder};
use crate::graph::{Endpoint, GraphLayer, graph};
use crate::layers::Layer;
use crate::plan::{MemoryPlan, Rows};
use crate::table::{self, Then};

/// GoogLeNet as a description of what is computed and stored, without memory of its own.
///
/// Parameters are named after Caffe's layers, `inception_3a/3x3_reduce/weights` and `.../bias`, in forward
/// order: `loss1` follows `inception_4a`, `loss2` follows `inception_4d`, `loss3` is last. Weights of
/// convolutions are O x I x H x W, those of fully connected layers O x I.
pub struct GoogLeNet {
    architecture: Architecture,
    layout: Layout,
    layers: Vec<Layer>,
    heads: Vec<Head>,
    plan: MemoryPlan,
}

/// A classifier: the place of its logits and the weight of its loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub logits: Rows,
    /// Factor of this head's loss in the total loss: 1 for the main head, 0.3 for an auxiliary one.
    pub weight: f32,
    pub auxiliary: bool,
}

impl GoogLeNet {
    /// Builds the network of an architecture.
    ///
    /// # Errors
    /// If [`Architecture::validate`] finds a value that cannot be used, or if the network would have too many
    /// parameters.
    pub fn new(architecture: &Architecture) -> Result<GoogLeNet, ArchitectureError> {
        architecture.validate()?;
        let mut builder = Builder::new(architecture);
        let scaled = |count| architecture.scaled(count);
        let feature = match architecture.variant {
            Variant::Operations => builder.separable_stem("conv1/7x7_s2", scaled(table::STEM)),
            Variant::Table | Variant::Naive => builder.stem("conv1/7x7_s2", scaled(table::STEM)),
        };
        let feature = builder.max_pool("pool1/3x3_s2", 2, 0, &feature);
        let feature = builder.lrn("pool1/norm1", &feature);
        let feature = builder.convolution("conv2/3x3_reduce", 1, scaled(table::SECOND[0]), &feature);
        let feature = builder.convolution("conv2/3x3", 3, scaled(table::SECOND[1]), &feature);
        let feature = builder.lrn("conv2/norm2", &feature);
        let mut feature = builder.max_pool("pool2/3x3_s2", 2, 0, &feature);
        for module in &table::MODULES {
            feature = match architecture.variant {
                Variant::Table => builder.inception(module.name, module.filters, &feature),
                Variant::Operations => builder.inception(module.name, module.counted(), &feature),
                Variant::Naive => builder.naive_inception(module.name, module.filters, &feature),
            };
            match module.then {
                Then::Pool(name) => feature = builder.max_pool(name, 2, 0, &feature),
                Then::Head(name) if architecture.auxiliary_heads => builder.auxiliary_head(name, &feature),
                Then::Head(_) | Then::Nothing => {}
            }
        }
        builder.main_head(&feature);

        let Builder { mut layers, tensors, heads, plan, .. } = builder;
        assign_gradient_writes(&mut layers, plan.buffers.len());
        // Names of layers differ and no shape is empty: a network can only have too many parameters.
        let layout = Layout::new(tensors).map_err(ArchitectureError::Parameters)?;
        Ok(GoogLeNet { architecture: architecture.clone(), layout, layers, heads, plan })
    }

    /// Returns the layout of the parameters: the names, shapes, initial values and multipliers of all
    /// tensors, in the order in which they follow one another.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Multiplies the learning-rate multipliers of tensors: each of `factors` is a pattern of tensor names,
    /// in which `*` stands for any characters, with the factor for the tensors that it matches.
    ///
    /// # Errors
    /// If a pattern matches no tensor, or if a multiplier becomes negative, infinite or NaN.
    pub fn scale_rates<'a>(
        &mut self,
        factors: impl IntoIterator<Item = (&'a str, f32)>,
    ) -> Result<(), LayoutError> {
        self.layout = self.layout.scale_rates(factors)?;
        Ok(())
    }

    /// The architecture that the network was built from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Returns the numbers of parameters and multiply-adds of the network and the sizes of each layer,
    /// auxiliary heads included.
    pub fn describe(&self) -> Description {
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| LayerDescription {
                name: layer.name.clone(),
                kind: layer.operation.kind().to_owned(),
                output: layer.output,
                parameters: layer.operation.tensor().map_or(0, |weights| {
                    let tensors = self.layout.tensors();
                    (tensors[weights].values() + tensors[weights + 1].values()) as u64
                }),
                multiply_adds: layer.multiply_adds,
                values: self.values(layer),
            })
            .collect();
        Description {
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
            layers,
        }
    }

    /// The number of input and output values of a layer for one image.
    fn values(&self, layer: &Layer) -> u64 {
        let side = self.architecture.input_size;
        let (_, input, output) = layer.operation.describe();
        let values = |place: &Endpoint| match place {
            Endpoint::Images => builder::COLOURS * side * side,
            Endpoint::Map(feature) => feature.size().iter().product(),
            Endpoint::Rows(rows) => rows.width,
        };
        (values(&input) + values(&output)) as u64
    }

    /// Returns the graph of the network as inference runs it, without the auxiliary heads: for each layer, in
    /// forward order, its computation and the layers whose outputs it reads.
    pub fn graph(&self) -> Vec<GraphLayer> {
        graph(&self.layers)
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The heads in layer order, the main one last.
    pub(crate) fn heads(&self) -> &[Head] {
        &self.heads
    }

    pub(crate) fn plan(&self) -> &MemoryPlan {
        &self.plan
    }
}

/// Decides, from the top layer down, which layers add to a gradient that another has begun, and which apply
/// the ReLU.
fn assign_gradient_writes(layers: &mut [Layer], buffers: usize) {
    let mut rectified = vec![false; buffers];
    for layer in layers.iter() {
        rectified[layer.operation.output()] |= layer.operation.rectified();
    }
    let mut last: Vec<Option<usize>> = vec![None; buffers];
    for (index, layer) in layers.iter_mut().enumerate().rev() {
        if let Some(buffer) = layer.operation.input() {
            layer.gradient_write.accumulate = last[buffer].replace(index).is_some();
        }
    }
    for (buffer, last) in last.into_iter().enumerate() {
        if let Some(last) = last {
            layers[last].gradient_write.rectify = rectified[buffer];
        }
    }
}

/// The size of a network: its numbers of parameters and multiply-adds, in total and for each layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Number of weights and biases of the whole network.
    pub parameters: u64,
    /// Number of multiply-adds of the convolutions and fully connected layers in the forward pass for one
    /// image; additions of biases are not counted.
    pub multiply_adds: u64,
    /// Every layer, in forward order.
    pub layers: Vec<LayerDescription>,
}

/// The size of a layer: its output and its numbers of parameters, multiply-adds and values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerDescription {
    /// Name of the layer as in Caffe's GoogLeNet, such as `inception_3a/3x3`; flattening, which is no layer
    /// in Caffe, is named after its input.
    pub name: String,
    /// The kind of computation, such as "convolution" or "max pool".
    pub kind: String,
    /// Channels, height and width of the output for one image. A row of values, as a fully connected layer
    /// puts out, counts as channels of height 1 and width 1.
    pub output: [usize; 3],
    /// Number of the layer's weights and biases; 0 for a layer without any.
    pub parameters: u64,
    /// Number of multiply-adds by weights in the forward pass for one image; 0 for a layer without weights.
    pub multiply_adds: u64,
    /// Number of input values plus number of output values, for one image.
    pub values: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use parameters::Initialiser;
    use settings::Initialisation;

    #[test]
    fn table_1_is_counted_right() {
        let whole = GoogLeNet::new(&Architecture::paper()).unwrap().describe();
        assert_eq!((whole.parameters, whole.multiply_adds), (13_378_280, 1_591_044_096));
        let main = Architecture { auxiliary_heads: false, ..Architecture::paper() };
        let main = GoogLeNet::new(&main).unwrap().describe();
        assert_eq!((main.parameters, main.multiply_adds), (6_998_552, 1_582_671_872));
        for (name, output) in [
            ("conv1/7x7_s2", [64, 112, 112]),
            ("conv2/norm2", [192, 56, 56]),
            ("pool2/3x3_s2", [192, 28, 28]),
            ("inception_3b/pool", [256, 28, 28]),
            ("inception_4a/3x3", [208, 14, 14]),
            ("loss1/ave_pool", [512, 4, 4]),
            ("loss2/fc", [1024, 1, 1]),
            ("pool4/3x3_s2", [832, 7, 7]),
            ("pool5/7x7_s1", [1024, 1, 1]),
        ] {
            let layer = whole.layers.iter().find(|layer| layer.name == name).unwrap();
            assert_eq!(layer.output, output, "{name}");
        }
    }

    /// The total behind the paper's 1.5 billion operations, and three rows of Table 1: 34M, 73M and 54M.
    #[test]
    fn the_printed_operations_are_those_of_the_separable_stem() {
        let printed =
            Architecture { auxiliary_heads: false, variant: Variant::Operations, ..Architecture::paper() };
        let printed = GoogLeNet::new(&printed).unwrap().describe();
        assert_eq!(printed.multiply_adds, 1_500_878_720);
        let of = |part: &str| {
            let layers = printed.layers.iter().filter(|layer| layer.name.starts_with(part));
            layers.map(|layer| layer.multiply_adds).sum::<u64>()
        };
        assert_eq!(
            (of("conv1"), of("inception_4a") / 100_000, of("inception_5a") / 100_000),
            (34_019_328, 729, 542)
        );
        let output = printed.layers.iter().find(|layer| layer.name == "inception_4b/pool").unwrap().output;
        assert_eq!(output, [508, 14, 14]);
    }

    /// The argument of Figure 2: without reductions the pooled inputs accumulate, and a few stages later the
    /// network is unaffordable.
    #[test]
    fn naive_modules_grow_from_stage_to_stage() {
        let naive = Architecture { auxiliary_heads: false, variant: Variant::Naive, ..Architecture::paper() };
        let naive = GoogLeNet::new(&naive).unwrap().describe();
        let output = |name: &str| naive.layers.iter().find(|layer| layer.name == name).unwrap().output;
        // 192 in: 64 + 128 + 32 + 192, then 128 + 192 + 96 + 416.
        assert_eq!(output("inception_3b/pool"), [416, 28, 28]);
        assert_eq!(output("pool3/3x3_s2"), [832, 14, 14]);
        let found = naive.layers.iter().filter(|layer| layer.name.starts_with("inception_3a"));
        // 28 x 28 x 192 x (64 + 9 x 128 + 25 x 32).
        assert_eq!(found.map(|layer| layer.multiply_adds).sum::<u64>(), 303_464_448);
        assert!(naive.multiply_adds > 4 * 1_582_671_872, "{}", naive.multiply_adds);
    }

    #[test]
    fn tensors_are_named_ordered_and_started_as_documented() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let layout = network.layout();
        assert_eq!(layout.tensors().len(), 128);
        let place = |name: &str| layout.find(name).unwrap_or_else(|| panic!("no tensor {name}"));
        assert_eq!(place("conv1/7x7_s2/weights"), 0);
        assert_eq!(place("loss1/conv/weights"), place("inception_4a/pool_proj/bias") + 1);
        assert_eq!(place("loss2/conv/weights"), place("inception_4d/pool_proj/bias") + 1);
        assert_eq!(place("loss3/classifier/bias"), 127);
        let tensor = |name| &layout.tensors()[place(name)];
        assert_eq!(tensor("inception_4b/3x3_reduce/weights").shape, [112, 512, 1, 1]);
        assert_eq!(tensor("loss1/fc/weights").shape, [1024, 2048]);
        assert_eq!(tensor("conv1/7x7_s2/bias").initialiser, Initialiser::Constant(0.2));
        let bound = (3.0f64 / 2048.0).sqrt() as f32;
        assert_eq!(tensor("loss1/fc/weights").initialiser, Initialiser::Uniform { bound });
        let deviation = 1.0 / 1024.0;
        assert_eq!(tensor("loss1/classifier/weights").initialiser, Initialiser::Normal { deviation });
        assert_eq!(tensor("loss3/classifier/bias").initialiser, Initialiser::Constant(0.0));

        let he = Architecture { initialisation: Initialisation::He, ..Architecture::paper() };
        let he = GoogLeNet::new(&he).unwrap();
        let bound = (6.0f64 / 147.0).sqrt() as f32;
        assert_eq!(he.layout().tensors()[0].initialiser, Initialiser::Uniform { bound });
        assert_eq!(he.layout().tensors()[1].initialiser, Initialiser::Constant(0.0));
    }

    /// The hidden layer of an auxiliary head reads a map that grows with the image: 42x42 pixels at 2048.
    #[test]
    fn a_network_of_too_many_parameters_is_refused_and_not_built() {
        let large = Architecture { input_size: 2048, width: 4.0, ..Architecture::paper() };
        let text = GoogLeNet::new(&large).err().expect("an error").to_string();
        assert!(
            text.starts_with(
                "the network is too large: with tensor loss2/fc/weights [4096, 903168] the layout has "
            ) && text.ends_with("choose a smaller --width, --input-size or --classes"),
            "{text}"
        );
    }

    #[test]
    fn the_first_writer_of_each_gradient_overwrites() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let write =
            |name: &str| network.layers().iter().find(|layer| layer.name == name).unwrap().gradient_write;
        let accumulates = |name: &str| write(name).accumulate;
        assert!(!accumulates("inception_3a/pool"));
        assert!(accumulates("inception_3a/5x5_reduce"));
        assert!(accumulates("inception_3a/1x1"));
        assert!(accumulates("loss1/ave_pool"), "4b writes first");
        assert!(!accumulates("pool3/3x3_s2"));
    }

    #[test]
    fn the_last_writer_of_each_gradient_goes_back_through_the_relu() {
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let rectifies = |name: &str| {
            network.layers().iter().find(|layer| layer.name == name).unwrap().gradient_write.rectify
        };
        for name in ["pool1/3x3_s2", "conv2/3x3", "conv2/norm2", "inception_3a/5x5", "pool3/3x3_s2"] {
            assert!(rectifies(name), "{name} reads what convolutions made, and writes last");
        }
        assert!(rectifies("inception_3b/1x1") && !rectifies("inception_3b/3x3_reduce"));
        assert!(rectifies("loss1/ave_pool") && !rectifies("inception_4b/1x1"), "the head writes last");
        assert!(rectifies("loss1/flatten") && rectifies("pool5/7x7_s1"));
        for name in ["pool1/norm1", "conv2/3x3_reduce", "pool2/3x3_s2", "inception_3a/1x1", "pool5/flatten"] {
            assert!(!rectifies(name), "{name} reads what no convolution made");
        }
    }
}
