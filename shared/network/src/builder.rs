//! Assembly of the network: each call appends a layer, adds its tensors to the layout and its buffers to the
//! plan.

use kernels::{AveragePool, BRANCHES, Convolution, Dense, MaxPool, Stem};
use parameters::{Initialiser, Tensor};

use settings::Initialisation;

use crate::architecture::{AUXILIARY_WINDOW, Architecture};
use crate::layers::{
    AveragePoolLayer, ConvolutionLayer, DenseLayer, DepthwiseStemLayer, DropoutLayer, FlattenLayer,
    GradientWrite, Layer, LrnLayer, Maps, MaxPoolLayer, Operation, StemLayer,
};
use crate::network::Head;
use crate::plan::{Feature, MemoryPlan, Rows};
use crate::table;

/// Colour channels of the images.
pub(crate) const COLOURS: usize = 3;

/// The parts of a network under construction.
pub(crate) struct Builder<'a> {
    architecture: &'a Architecture,
    /// Whether the layers appended now belong to an auxiliary head.
    auxiliary: bool,
    pub layers: Vec<Layer>,
    pub tensors: Vec<Tensor>,
    pub heads: Vec<Head>,
    pub plan: MemoryPlan,
}

impl<'a> Builder<'a> {
    pub fn new(architecture: &'a Architecture) -> Builder<'a> {
        Builder {
            architecture,
            auxiliary: false,
            layers: Vec::new(),
            tensors: Vec::new(),
            heads: Vec::new(),
            plan: MemoryPlan::default(),
        }
    }

    /// Appends conv1, a 7x7 convolution of the images with stride 2, padding 3, `filters` filters and ReLU;
    /// returns the map that it writes.
    pub fn stem(&mut self, name: &str, filters: usize) -> Feature {
        let tensor = self.parameters(name, &[filters, COLOURS, 7, 7], Start::Hidden);
        let stem = self.stem_layer(filters, tensor);
        let output = stem.output.clone();
        self.push(name, output.size(), stem);
        output
    }

    /// Appends the separable conv1 that explains the operation counts printed in the paper's Table 1: eight
    /// 7x7/2 filters on each colour, without ReLU, followed by `filters` filters of 1x1. Returns the map that
    /// it writes.
    pub fn separable_stem(&mut self, name: &str, filters: usize) -> Feature {
        let filters_by_colour = COLOURS * table::STEM_MULTIPLIER;
        let depthwise = format!("{name}/depthwise");
        let tensor = self.parameters(&depthwise, &[filters_by_colour, 1, 7, 7], Start::Linear);
        let stem = self.stem_layer(filters_by_colour, tensor);
        let output = stem.output.clone();
        self.push(&depthwise, output.size(), DepthwiseStemLayer { stem });
        self.convolution(&format!("{name}/pointwise"), 1, filters, &output)
    }

    /// A 7x7/2 convolution of the images with padding 3, `filters` filters and the parameters at `tensor`.
    fn stem_layer(&mut self, filters: usize, tensor: usize) -> StemLayer {
        let kernel =
            Stem { input_channels: COLOURS, output_channels: filters, kernel: 7, stride: 2, padding: 3 };
        let side = self.architecture.input_size;
        let output_side = kernel.output_size(side);
        let output = self.plan.feature(vec![filters], output_side, output_side);
        StemLayer { kernel, side, output, tensor }
    }

    /// Appends a convolution called `name` with stride 1, ReLU and `filters` filters of `side` x `side`
    /// pixels (`side` is odd); returns the new map that it writes, of the same height and width as `input`.
    pub fn convolution(&mut self, name: &str, side: usize, filters: usize, input: &Feature) -> Feature {
        let output = self.plan.feature(vec![filters], input.height, input.width);
        self.convolution_into(name, side, input, &output);
        output
    }

    /// Appends a convolution called `name` with stride 1, ReLU and a kernel of `side` x `side` pixels that
    /// writes into the existing map `output`, such as one branch's channels of a module's output.
    pub fn convolution_into(&mut self, name: &str, side: usize, input: &Feature, output: &Feature) {
        let shape = [output.channels(), input.channels(), side, side];
        let tensor = self.parameters(name, &shape, Start::Hidden);
        let kernel =
            Convolution::new(input.segments.clone(), output.channels(), side, [input.height, input.width]);
        let operation =
            ConvolutionLayer { kernel, maps: Maps { input: input.clone(), output: output.clone() }, tensor };
        self.push(name, output.size(), operation);
    }

    /// Appends a 3x3 max pool called `name`; returns the new map that it writes. Its kernel relies on an
    /// input without negative values in which every zero was made by a ReLU, as all maps of the network are.
    pub fn max_pool(&mut self, name: &str, stride: usize, padding: usize, input: &Feature) -> Feature {
        let kernel = MaxPool { kernel: 3, stride, padding, rectified: true };
        let (height, width) = (kernel.output_size(input.height), kernel.output_size(input.width));
        let output = self.plan.feature(input.segments.clone(), height, width);
        self.max_pool_into(name, kernel, input, &output);
        output
    }

    /// A max pool into an existing map.
    fn max_pool_into(&mut self, name: &str, kernel: MaxPool, input: &Feature, output: &Feature) {
        let switches = self.plan.switches.len();
        self.plan.switches.push(output.values(1));
        let operation =
            MaxPoolLayer { kernel, maps: Maps { input: input.clone(), output: output.clone() }, switches };
        self.push(name, output.size(), operation);
    }

    /// Appends a local response normalisation called `name`; returns the new map that it writes.
    pub fn lrn(&mut self, name: &str, input: &Feature) -> Feature {
        let output = self.plan.feature(input.segments.clone(), input.height, input.width);
        self.push(
            name,
            output.size(),
            LrnLayer { maps: Maps { input: input.clone(), output: output.clone() } },
        );
        output
    }

    /// Appends an Inception module (paper, Figure 2b): four branches whose outputs lie side by side in the
    /// map that is returned. `filters` are the counts of Table 1, in its order: 1x1, 3x3 reduce, 3x3, 5x5
    /// reduce, 5x5, pool projection.
    pub fn inception(&mut self, name: &str, filters: [usize; 6], input: &Feature) -> Feature {
        let [one, three_reduce, three, five_reduce, five, projection] =
            filters.map(|count| self.architecture.scaled(count));
        let output = self.plan.feature(vec![one, three, five, projection], input.height, input.width);
        let named = |part: &str| format!("{name}/{part}");
        self.convolution_into(&named("1x1"), 1, input, &output.segment(0));
        let reduced = self.convolution(&named("3x3_reduce"), 1, three_reduce, input);
        self.convolution_into(&named("3x3"), 3, &reduced, &output.segment(1));
        let reduced = self.convolution(&named("5x5_reduce"), 1, five_reduce, input);
        self.convolution_into(&named("5x5"), 5, &reduced, &output.segment(2));
        self.fuse(["1x1", "3x3_reduce", "5x5_reduce"].map(named));
        let pooled = self.max_pool(&named("pool"), 1, 1, input);
        self.convolution_into(&named("pool_proj"), 1, &pooled, &output.segment(3));
        output
    }

    /// Fuses convolutions that read one input: the first of them runs all.
    fn fuse(&mut self, names: [String; BRANCHES]) {
        let branches = names.map(|name| {
            let found = self.layers.iter().rposition(|layer| layer.name == name);
            found.expect("the layers were just appended")
        });
        self.layers[branches[0]].fused = Some(branches);
        for branch in &branches[1..] {
            self.layers[*branch].fused_into = Some(branches[0]);
        }
    }

    /// Appends an Inception module without dimension reduction (paper, Figure 2a) and returns its output map:
    /// the three convolutions and the pool read the whole input, and the pool's output has as many channels
    /// as the input. Of `filters`, in Table 1's order, only the counts of 1x1, 3x3 and 5x5 are used.
    pub fn naive_inception(&mut self, name: &str, filters: [usize; 6], input: &Feature) -> Feature {
        let [one, _, three, _, five, _] = filters.map(|count| self.architecture.scaled(count));
        let segments = [&[one, three, five], &input.segments[..]].concat();
        let output = self.plan.feature(segments, input.height, input.width);
        let named = |part: &str| format!("{name}/{part}");
        self.convolution_into(&named("1x1"), 1, input, &output.segment(0));
        self.convolution_into(&named("3x3"), 3, input, &output.segment(1));
        self.convolution_into(&named("5x5"), 5, input, &output.segment(2));
        let kernel = MaxPool { kernel: 3, stride: 1, padding: 1, rectified: true };
        self.max_pool_into(&named("pool"), kernel, input, &output.segments_from(3));
        output
    }

    /// Appends an auxiliary head on a module's output `input` (paper, section 5): average pool 5x5/3, 1x1
    /// convolution, hidden layer, dropout, classifier.
    pub fn auxiliary_head(&mut self, name: &str, input: &Feature) {
        self.auxiliary = true;
        let named = |part: &str| format!("{name}/{part}");
        let [filters, units] = table::AUXILIARY.map(|count| self.architecture.scaled(count));
        let pooled =
            self.average_pool(&named("ave_pool"), AveragePool { kernel: AUXILIARY_WINDOW, stride: 3 }, input);
        let reduced = self.convolution(&named("conv"), 1, filters, &pooled);
        let row = self.flatten(&named("flatten"), &reduced);
        let hidden = self.dense(&named("fc"), units, true, row);
        self.dropout(&named("drop_fc"), table::DROPOUT[1], hidden);
        let logits = self.dense(&named("classifier"), self.architecture.classes, false, hidden);
        self.heads.push(Head { logits, weight: table::AUXILIARY_WEIGHT, auxiliary: true });
        self.auxiliary = false;
    }

    /// Appends the main head on the last module's output `input`: global average pool, dropout, classifier.
    pub fn main_head(&mut self, input: &Feature) {
        let whole = AveragePool { kernel: input.height, stride: 1 };
        let pooled = self.average_pool("pool5/7x7_s1", whole, input);
        let row = self.flatten("pool5/flatten", &pooled);
        self.dropout("pool5/drop_7x7_s1", table::DROPOUT[0], row);
        let logits = self.dense("loss3/classifier", self.architecture.classes, false, row);
        self.heads.push(Head { logits, weight: 1.0, auxiliary: false });
    }

    fn average_pool(&mut self, name: &str, kernel: AveragePool, input: &Feature) -> Feature {
        let (height, width) = (kernel.output_size(input.height), kernel.output_size(input.width));
        let output = self.plan.feature(input.segments.clone(), height, width);
        self.push(
            name,
            output.size(),
            AveragePoolLayer { kernel, maps: Maps { input: input.clone(), output: output.clone() } },
        );
        output
    }

    fn flatten(&mut self, name: &str, input: &Feature) -> Rows {
        let output = self.plan.rows(input.channels() * input.height * input.width);
        self.push(name, [output.width, 1, 1], FlattenLayer { input: input.clone(), output });
        output
    }

    fn dropout(&mut self, name: &str, rate: f32, rows: Rows) {
        let head = self.heads.len() as u64;
        self.push(name, [rows.width, 1, 1], DropoutLayer { rate, head, rows });
    }

    /// A fully connected layer: hidden with ReLU, or a classifier without.
    fn dense(&mut self, name: &str, outputs: usize, relu: bool, input: Rows) -> Rows {
        let output = self.plan.rows(outputs);
        let start = if relu { Start::Hidden } else { Start::Classifier };
        let tensor = self.parameters(name, &[outputs, input.width], start);
        let kernel = Dense { inputs: input.width, outputs };
        self.push(name, [outputs, 1, 1], DenseLayer { kernel, relu, input, output, tensor });
        output
    }

    /// Appends the tensors of a layer, weights O x I (x K x K) and a bias of O; returns the index of the
    /// weights.
    fn parameters(&mut self, layer: &str, shape: &[usize], start: Start) -> usize {
        let index = self.tensors.len();
        let fan_in = shape[1..].iter().product::<usize>() as f64;
        let uniform = |variance: f64| Initialiser::Uniform { bound: (3.0 * variance).sqrt() as f32 };
        let (weights, bias) = match (start, self.architecture.initialisation) {
            (Start::Classifier, _) => (Initialiser::Normal { deviation: 1.0 / 1024.0 }, 0.0),
            (Start::Linear, _) => (uniform(1.0 / fan_in), 0.0),
            (Start::Hidden, Initialisation::Bvlc) => (uniform(1.0 / fan_in), 0.2),
            (Start::Hidden, Initialisation::He) => (uniform(2.0 / fan_in), 0.0),
        };
        self.tensors.push(Tensor {
            name: format!("{layer}/weights"),
            shape: shape.to_vec(),
            initialiser: weights,
            rate_multiplier: 1.0,
            decay_multiplier: 1.0,
        });
        self.tensors.push(Tensor {
            name: format!("{layer}/bias"),
            shape: vec![shape[0]],
            initialiser: Initialiser::Constant(bias),
            rate_multiplier: 1.0,
            decay_multiplier: 0.0,
        });
        index
    }

    fn push(&mut self, name: &str, output: [usize; 3], operation: impl Operation + 'static) {
        // Each output pixel of a layer with parameters takes one multiply-add for each weight.
        let weights = operation.tensor().map_or(0, |tensor| self.tensors[tensor].values());
        self.layers.push(Layer {
            name: name.to_owned(),
            output,
            multiply_adds: (weights * output[1] * output[2]) as u64,
            auxiliary: self.auxiliary,
            gradient_write: GradientWrite::default(),
            fused: None,
            fused_into: None,
            operation: Box::new(operation),
        });
    }
}

/// Roles of a layer that decide the initial values of its parameters.
#[derive(Clone, Copy)]
enum Start {
    Hidden,
    /// An inner layer that no ReLU follows: the depthwise part of a separable conv1.
    Linear,
    Classifier,
}
