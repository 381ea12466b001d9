//! The engine of one replica: forward pass, losses and backward pass.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernels::{BRANCHES, Isa, ParameterGradients, Pool};
use ndarray::{Array2, ArrayView4};

use crate::layers::{ConvolutionLayer, GradientWrite, Layer, backward_input_fused, forward_fused};
use crate::loss;
pub use crate::loss::Losses;
use crate::memory::{Lengths, Memory, Part, Step};
use crate::network::GoogLeNet;
use settings::Precision;

use crate::precision::{LayerValue, in_precision, instructions};

/// A network with memory for a batch size, bound to an instruction set and to threads. All memory is
/// allocated when the engine is made; parameters must be loaded before the first step.
///
/// Equal parameters, images, seeds, precision, instruction set and number of threads give bit-identical
/// results.
pub struct Engine {
    network: Arc<GoogLeNet>,
    precision: Precision,
    isa: Isa,
    pool: Arc<Pool>,
    batch: usize,
    memory: Memory,
    /// Forward and backward time of each layer in the last step.
    times: Vec<[Duration; 2]>,
    training: bool,
    /// Weight of each class in the loss; empty if all weigh 1.
    class_weights: Vec<f32>,
}

/// Computing times of one layer in an engine's last call of [`Engine::train`] or [`Engine::logits`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// Name of the layer as in Caffe's GoogLeNet, such as `inception_3a/3x3`.
    pub name: String,
    /// Name of the kernel that the engine chose for the layer, if it is a convolution with stride 1; `None`
    /// for the first convolution, which has stride 2, and for layers of other kinds.
    pub kernel: Option<String>,
    /// Time of the forward pass in seconds.
    pub forward_seconds: f64,
    /// Time of the backward pass in seconds; 0 if it did not run.
    pub backward_seconds: f64,
}

impl Engine {
    /// Creates an engine for training and evaluation on minibatches of up to `batch` images.
    pub fn new(
        network: Arc<GoogLeNet>,
        batch: usize,
        precision: Precision,
        isa: Isa,
        pool: Arc<Pool>,
    ) -> Engine {
        Engine::with_memory(network, batch, precision, isa, pool, true)
    }

    /// Creates an engine for [`Engine::logits`] alone, on up to `batch` images at a time, without the memory
    /// of the backward pass.
    pub fn forward_only(
        network: Arc<GoogLeNet>,
        batch: usize,
        precision: Precision,
        isa: Isa,
        pool: Arc<Pool>,
    ) -> Engine {
        Engine::with_memory(network, batch, precision, isa, pool, false)
    }

    fn with_memory(
        network: Arc<GoogLeNet>,
        batch: usize,
        precision: Precision,
        isa: Isa,
        pool: Arc<Pool>,
        training: bool,
    ) -> Engine {
        let memory = Memory::new(lengths(&network, batch, precision, isa, &pool, training));
        let isa = instructions(precision, isa);
        let times = vec![[Duration::ZERO; 2]; network.layers().len()];
        let class_weights = Vec::new();
        Engine { network, precision, isa, pool, batch, memory, times, training, class_weights }
    }

    /// Number of bytes of memory that [`Engine::new`] takes, computed without allocating them; [`u64::MAX`]
    /// if the number overflows.
    pub fn training_bytes(
        network: &GoogLeNet,
        batch: usize,
        precision: Precision,
        isa: Isa,
        pool: &Pool,
    ) -> u64 {
        lengths(network, batch, precision, isa, pool, true).bytes()
    }

    /// Number of bytes of memory that [`Engine::forward_only`] takes, computed without allocating them;
    /// [`u64::MAX`] if the number overflows.
    pub fn forward_bytes(
        network: &GoogLeNet,
        batch: usize,
        precision: Precision,
        isa: Isa,
        pool: &Pool,
    ) -> u64 {
        lengths(network, batch, precision, isa, pool, false).bytes()
    }

    /// The network that this engine runs.
    pub fn network(&self) -> &Arc<GoogLeNet> {
        &self.network
    }

    /// Returns the instruction set of the kernels; with bf16 precision it includes the machine's bf16
    /// instructions.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Batch size: the number of images of the largest minibatch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Sets the weight of each class in the loss: those of the images of a minibatch are multiplied by them before
    /// their mean is taken. Without any, all weigh 1.
    ///
    /// # Panics
    /// If there are weights, and fewer or more than classes.
    pub fn set_class_weights(&mut self, weights: Vec<f32>) {
        let classes = self.network.architecture().classes;
        assert!(
            weights.is_empty() || weights.len() == classes,
            "{} weights of {classes} classes",
            weights.len()
        );
        self.class_weights = weights;
    }

    /// Copies all parameters into the engine, rearranged as the kernels read them. `parameters` holds the
    /// values of all tensors one after another, in the order of the network's [layout](GoogLeNet::layout).
    ///
    /// # Panics
    /// If the length of `parameters` is not that of the layout.
    pub fn load(&mut self, parameters: &[f32]) {
        let network = Arc::clone(&self.network);
        let layout = network.layout();
        assert_eq!(parameters.len(), layout.len(), "parameters of another layout");
        let pool = Arc::clone(&self.pool);
        pool.enter(|| {
            for tensor in 0..layout.tensors().len() {
                self.load_tensor(tensor, &parameters[layout.range(tensor)]);
            }
        });
    }

    /// Copies one parameter tensor, given by its index in the network's layout, into the engine, rearranged
    /// as the kernels read it. `values` are in row-major order.
    ///
    /// # Panics
    /// If there is no such tensor, or if the length of `values` is not the tensor's.
    pub fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        let expected = &self.network.layout().tensors()[tensor];
        assert_eq!(values.len(), expected.values(), "values of {}", expected.name);
        let layers = self.network.layers();
        let Engine { precision, isa, pool, memory, .. } = self;
        match layers.iter().find(|layer| layer.operation.tensor() == Some(tensor)) {
            Some(layer) => pool.enter(|| {
                in_precision!(*precision, T => T::passes(&*layer.operation).load(*isa, pool, values, memory));
            }),
            None => memory.parameters[tensor].copy_from_slice(values),
        }
    }

    /// Runs one minibatch forward and backward and returns its losses.
    ///
    /// `images` holds N images of S x S pixels (N x 3 x S x S); `labels` holds the class of each, from 0.
    /// `dropout` holds one seed of the dropout masks for each image; with `None` nothing is dropped.
    /// `gradients` receives the gradient of [`Losses::total`] for all parameters, in the order of the
    /// network's layout.
    ///
    /// `ready(tensor, gradient)` is called once for each tensor, given by its index in the layout, as soon as
    /// its gradient is complete: from the classifier down to conv1.
    ///
    /// # Panics
    /// If the engine was made by [`Engine::forward_only`], if N is 0 or larger than the engine's batch size,
    /// if S is not the network's input size, if a label is no class, or if the length of another argument
    /// does not fit.
    pub fn train(
        &mut self,
        images: ArrayView4<f32>,
        labels: &[u32],
        dropout: Option<&[u64]>,
        gradients: &mut [f32],
        ready: &mut (dyn FnMut(usize, &[f32]) + Send),
    ) -> Losses {
        let pool = Arc::clone(&self.pool);
        pool.enter(|| {
            in_precision!(self.precision, T => self.train_here::<T>(images, labels, dropout, gradients, ready))
        })
    }

    /// The body of [`Engine::train`], on the calling thread.
    fn train_here<T: LayerValue>(
        &mut self,
        images: ArrayView4<f32>,
        labels: &[u32],
        dropout: Option<&[u64]>,
        gradients: &mut [f32],
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Losses {
        assert!(self.training, "a forward-only engine cannot train");
        let batch = self.check(&images);
        assert_eq!(labels.len(), batch, "one label an image");
        assert!(dropout.is_none_or(|seeds| seeds.len() == batch), "one dropout seed an image");
        let network = Arc::clone(&self.network);
        let layout = network.layout();
        assert_eq!(gradients.len(), layout.len(), "gradients of another layout");

        let images = images.as_standard_layout();
        let images = images.as_slice().expect("standard layout is contiguous");
        let step = Step { isa: self.isa, pool: &self.pool, batch, images, seeds: dropout };
        let (memory, times) = (&mut self.memory, &mut self.times[..]);
        let mut walk = Walk { layers: network.layers(), step: &step, memory, times };
        for index in 0..network.layers().len() {
            walk.forward::<T>(index);
        }
        let losses = loss::losses(&network, &step, (labels, &self.class_weights), walk.memory);
        for (index, layer) in network.layers().iter().enumerate().rev() {
            let mut elapsed = Duration::ZERO;
            if let Some(tensor) = layer.operation.tensor() {
                let start = Instant::now();
                let (weights, bias) = (layout.range(tensor), layout.range(tensor + 1));
                let (below, bias_gradient) = gradients[..bias.end].split_at_mut(bias.start);
                let weight_gradient = &mut below[weights];
                let passes = T::passes(&*layer.operation);
                let gradients =
                    ParameterGradients { weights: &mut *weight_gradient, bias: &mut *bias_gradient };
                passes.backward_parameters(&step, walk.memory, gradients);
                elapsed = start.elapsed();
                ready(tensor, weight_gradient);
                ready(tensor + 1, bias_gradient);
            }
            walk.times[index][1] = elapsed;
            walk.backward_input::<T>(index);
        }
        losses
    }

    /// Computes the main head's logits (N x classes) of N images of S x S pixels (N x 3 x S x S), without
    /// dropout and without the auxiliary heads.
    ///
    /// # Panics
    /// If S is not the network's input size, or if N is 0 or larger than the engine's batch size.
    pub fn logits(&mut self, images: ArrayView4<f32>) -> Array2<f32> {
        let pool = Arc::clone(&self.pool);
        pool.enter(|| in_precision!(self.precision, T => self.logits_here::<T>(images)))
    }

    /// The body of [`Engine::logits`], on the calling thread.
    fn logits_here<T: LayerValue>(&mut self, images: ArrayView4<f32>) -> Array2<f32> {
        let batch = self.check(&images);
        let images = images.as_standard_layout();
        let images = images.as_slice().expect("standard layout is contiguous");
        let step = Step { isa: self.isa, pool: &self.pool, batch, images, seeds: None };
        self.times.fill([Duration::ZERO; 2]);
        let (memory, times) = (&mut self.memory, &mut self.times[..]);
        let mut walk = Walk { layers: self.network.layers(), step: &step, memory, times };
        for (index, layer) in self.network.layers().iter().enumerate() {
            if !layer.auxiliary {
                walk.forward::<T>(index);
            }
        }
        let head = self.network.heads().iter().find(|head| !head.auxiliary).expect("the main head");
        let rows = head.logits.of(self.memory.arena.get(Part::Values(head.logits.buffer)), batch);
        Array2::from_shape_vec((batch, head.logits.width), rows.to_vec()).expect("one row an image")
    }

    /// Times of the layers in the last call of [`Engine::train`] or [`Engine::logits`].
    pub fn profile(&self) -> Vec<LayerTime> {
        let layers = self.network.layers().iter().zip(&self.times);
        layers
            .map(|(layer, time)| LayerTime {
                name: layer.name.clone(),
                kernel: in_precision!(self.precision, T => T::passes(&*layer.operation).kernel_name(self.isa)),
                forward_seconds: time[0].as_secs_f64(),
                backward_seconds: time[1].as_secs_f64(),
            })
            .collect()
    }

    /// The number of images.
    ///
    /// # Panics
    /// If they do not fit the network or the batch size.
    fn check(&self, images: &ArrayView4<f32>) -> usize {
        let (batch, colours, height, width) = images.dim();
        let side = self.network.architecture().input_size;
        assert_eq!([colours, height, width], [crate::builder::COLOURS, side, side], "size of the images");
        assert!((1..=self.batch).contains(&batch), "1 to {} images, found {batch}", self.batch);
        batch
    }
}

/// Returns the lengths of all memory that an engine allocates, for its constructors and for the functions
/// that report its size.
fn lengths(
    network: &GoogLeNet,
    batch: usize,
    precision: Precision,
    isa: Isa,
    pool: &Pool,
    training: bool,
) -> Lengths {
    let isa = instructions(precision, isa);
    in_precision!(precision, T => Lengths::new::<T>(network, batch, training, isa, pool))
}

/// Forward and backward time of each layer.
type Times = [[Duration; 2]];

/// A step on its way through the layers.
struct Walk<'a> {
    layers: &'a [Layer],
    step: &'a Step<'a>,
    memory: &'a mut Memory,
    times: &'a mut Times,
}

impl Walk<'_> {
    /// Runs the forward pass of a layer. Fused layers all run when the first of them is due.
    fn forward<T: LayerValue>(&mut self, index: usize) {
        let layer = &self.layers[index];
        let start = Instant::now();
        if let Some(branches) = layer.fused {
            forward_fused::<T>(convolutions(self.layers, branches), self.step, self.memory);
            self.share_time(&branches, start.elapsed(), |[forward, _], time| *forward = time);
        } else if layer.fused_into.is_none() {
            T::passes(&*layer.operation).forward(self.step, self.memory);
            self.times[index][0] = start.elapsed();
        }
    }

    /// Computes a layer's contribution to the gradient of its input. Fused layers all contribute when the
    /// first of them is due: in backward order it is the last whose output gradient becomes complete.
    fn backward_input<T: LayerValue>(&mut self, index: usize) {
        let layer = &self.layers[index];
        let start = Instant::now();
        if let Some(branches) = layer.fused {
            let others = branches[1..].iter().all(|&branch| self.layers[branch].gradient_write.accumulate);
            let write = GradientWrite { accumulate: others, ..layer.gradient_write };
            backward_input_fused::<T>(convolutions(self.layers, branches), self.step, self.memory, write);
            self.share_time(&branches, start.elapsed(), |[_, backward], time| *backward += time);
        } else if layer.fused_into.is_none() {
            T::passes(&*layer.operation).backward_input(self.step, self.memory, layer.gradient_write);
            self.times[index][1] += start.elapsed();
        }
    }

    /// Divides the time of layers that ran fused in proportion to their multiply-adds.
    fn share_time(
        &mut self,
        branches: &[usize],
        time: Duration,
        give: impl Fn(&mut [Duration; 2], Duration),
    ) {
        let all: u64 = branches.iter().map(|&branch| self.layers[branch].multiply_adds).sum();
        for &branch in branches {
            let share = self.layers[branch].multiply_adds as f64 / all as f64;
            give(&mut self.times[branch], time.mul_f64(share));
        }
    }
}

fn convolutions(layers: &[Layer], branches: [usize; BRANCHES]) -> [&ConvolutionLayer; BRANCHES] {
    branches.map(|branch| layers[branch].operation.convolution().expect("branches are convolutions"))
}
