//! The command `downpour bench`: measures whole training steps on this machine, without a server.
//!
//! A step is what a program does that trains alone: the forward pass, the losses, the backward pass, the
//! momentum update of every tensor, and packing the new values for the next step. Times are medians over the
//! steps, because interruptions by the scheduler only ever add time.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use kernels::peak::{fma_peak, round_trip, triad_rate};
use kernels::{Buffer, Isa, Pool, Update, bf16, momentum_update};
use ndarray::Array4;
use network::{Architecture, Engine, GoogLeNet, LayerDescription, LayerTime, Precision};
use serde::Serialize;
use setup::{Threads, isa, memory};

/// Options of a speed measurement of a network on this machine.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Number of images in one step.
    pub batch: usize,
    /// Number of threads that compute the network, and the CPUs on which they run.
    pub threads: Threads,
    /// Whether to measure only the forward pass, without auxiliary heads.
    pub forward_only: bool,
    /// Number format in which activations are stored and multiplied.
    pub precision: Precision,
    /// Name of the CPU instruction set to compute with, such as "avx2"; `None` means the best of this
    /// machine.
    pub isa: Option<String>,
    /// Number of steps to measure; `None` means as many as fit into `seconds`, but at least [`LEAST_STEPS`]
    /// and at most [`MOST_STEPS`].
    pub steps: Option<u32>,
    /// Duration of the measurement in seconds; not used where `steps` is given.
    pub seconds: f64,
}

/// Least number of steps in a measurement for which a duration is given instead of a number of steps: the
/// median of fewer says little.
pub const LEAST_STEPS: u32 = 3;
/// Largest number of steps in a measurement for which a duration is given instead of a number of steps, since
/// a time is kept for every layer of every step.
pub const MOST_STEPS: u32 = 100_000;
/// Number of first steps that are not counted, since they meet cold caches and memory not yet touched.
const WARM_UP: u32 = 1;
const SEED: u64 = 1;
/// Number of parts of a tensor's update for each thread, so that no thread waits long for another.
const PARTS_PER_THREAD: usize = 4;
/// Least number of values that are worth handing to a thread.
const LEAST_PART: usize = 16 * 1024;

/// The result of a speed measurement of a network: speeds of this machine, of a whole step (a training step,
/// or the forward pass alone) and of every layer.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Speed in images per second: the batch size divided by the median time of a step.
    pub images_per_second: f64,
    /// Speed of a step in 10^9 floating-point operations per second, counting two for each multiply-add of
    /// direct convolution.
    pub gflops: f64,
    /// Arithmetic peak of the machine in 10^9 floating-point operations per second, as measured with
    /// multiply-adds on registers alone, in the number format `precision` and on all threads.
    pub fma_peak_gflops: f64,
    /// Memory bandwidth of the machine in 10^9 bytes per second, as measured with STREAM's triad on all
    /// threads.
    pub triad_gigabytes_per_second: f64,
    /// Time in nanoseconds in which a cache line goes from one thread to another and back; `None` on one
    /// thread. It shows whether the threads had cores of their own.
    pub round_trip_ns: Option<f64>,
    /// Largest resident memory of this process so far, in bytes; `None` on systems that do not report it.
    pub peak_rss_bytes: Option<u64>,
    /// Number of images in one step.
    pub batch: usize,
    /// Number of compute threads.
    pub threads: usize,
    /// Name of the CPU instruction set that was used, such as "avx2".
    pub isa: String,
    /// Number format in which activations were stored and multiplied.
    pub precision: Precision,
    /// Whether only the forward pass was measured.
    pub forward_only: bool,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// Number of steps measured.
    pub steps: usize,
    /// Median time in milliseconds of the momentum update of all tensors, including the copying of the new
    /// values into the order in which the kernels read them; 0 if only the forward pass was measured.
    pub update_ms: f64,
    /// Measurements of every layer, in the order of the network.
    pub layers: Vec<LayerMeasurement>,
}

/// Measurements of one layer of a network; times are medians over the measured steps.
#[derive(Clone, Debug, Serialize)]
pub struct LayerMeasurement {
    /// Name of the layer, as in Caffe's model of GoogLeNet, such as "inception_3a/1x1".
    pub name: String,
    /// Name of the CPU routine that computes the layer if it is a convolution (that of a Winograd routine
    /// begins with "F("); `None` for other layers.
    pub kernel: Option<String>,
    /// Median time of the forward pass in milliseconds.
    pub forward_ms: f64,
    /// Median time of the backward pass in milliseconds; 0 if there is none.
    pub backward_ms: f64,
    /// Speed of forward and backward pass together in 10^9 floating-point operations per second; 0 for layers
    /// without multiply-adds.
    pub gflops: f64,
    /// Arithmetic intensity of the forward pass: floating-point operations per byte of input, output and
    /// parameters, each byte counted once.
    pub intensity: f64,
}

/// Measures the speed of training steps of a network, or of the forward pass alone, on made-up images.
///
/// # Errors
/// If the architecture cannot be built, if the machine lacks the instruction set, or if it has too little
/// memory for a step.
pub fn measure(architecture: &Architecture, options: &BenchOptions) -> anyhow::Result<Measurement> {
    let isa = isa(options.isa.as_deref())?;
    let auxiliary_heads = architecture.auxiliary_heads && !options.forward_only;
    let architecture = Architecture { auxiliary_heads, ..architecture.clone() };
    let network = Arc::new(GoogLeNet::new(&architecture)?);
    let what = if options.forward_only { "the forward pass" } else { "a training step" };
    let pool = options.threads.pool()?;
    memory::check(what, options.batch, |batch| bytes(&network, batch, options, isa, &pool))?;
    let fma_peak_gflops = match options.precision {
        Precision::F32 => fma_peak::<f32>(isa, &pool),
        Precision::Bf16 => fma_peak::<bf16>(isa.with_bf16(), &pool),
    };
    let round_trip_ns = round_trip(&pool);
    let triad_gigabytes_per_second = triad_rate(isa, &pool);
    let mut bench = Bench::new(network.clone(), options, isa, pool);
    for _ in 0..WARM_UP {
        bench.step();
    }
    let start = Instant::now();
    let mut steps = Vec::new();
    let go_on = |done: usize| match options.steps {
        Some(steps) => done < steps as usize,
        None => {
            let enough = start.elapsed().as_secs_f64() >= options.seconds || done >= MOST_STEPS as usize;
            done < LEAST_STEPS as usize || !enough
        }
    };
    while go_on(steps.len()) {
        steps.push(bench.step());
    }

    let seconds = median(steps.iter().map(|step| step.seconds));
    let description = network.describe();
    let layers: Vec<_> = description
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let times = steps.iter().map(|step| &step.layers[index]);
            of_layer(layer, times, index == 0, options)
        })
        .collect();
    let operations: u64 = description
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| operations(layer, index == 0, options))
        .sum();
    Ok(Measurement {
        images_per_second: options.batch as f64 / seconds,
        gflops: operations as f64 / seconds / 1e9,
        fma_peak_gflops,
        triad_gigabytes_per_second,
        round_trip_ns,
        peak_rss_bytes: peak_rss_bytes(),
        batch: options.batch,
        threads: options.threads.count(),
        isa: bench.engine.isa().name().to_owned(),
        precision: options.precision,
        forward_only: options.forward_only,
        input_size: architecture.input_size,
        steps: steps.len(),
        update_ms: 1e3 * median(steps.iter().map(|step| step.update_seconds)),
        layers,
    })
}

/// Returns the number of bytes that a [`Bench`] takes with batches of `batch` images.
fn bytes(network: &GoogLeNet, batch: usize, options: &BenchOptions, isa: Isa, pool: &Pool) -> u64 {
    let &BenchOptions { precision, forward_only, .. } = options;
    let engine = if forward_only { Engine::forward_bytes } else { Engine::training_bytes };
    // Weights and the values that they are drawn as; then weights, gradient and velocity.
    let copies = if forward_only { 2 } else { 3 };
    engine(network, batch, precision, isa, pool)
        .saturating_add(copies * memory::parameter_bytes(network))
        .saturating_add(memory::image_bytes(network, batch))
}

/// The state of a measurement: the network, synthetic images and labels, and the arrays of the optimizer.
struct Bench {
    engine: Engine,
    network: Arc<GoogLeNet>,
    isa: Isa,
    pool: Arc<Pool>,
    images: Array4<f32>,
    labels: Vec<u32>,
    seeds: Vec<u64>,
    weights: Buffer,
    /// The gradient; like the velocity, it is empty if only the forward pass is measured.
    gradient: Buffer,
    velocity: Buffer,
    forward_only: bool,
}

struct StepTime {
    seconds: f64,
    update_seconds: f64,
    layers: Vec<LayerTime>,
}

impl Bench {
    fn new(network: Arc<GoogLeNet>, options: &BenchOptions, isa: Isa, pool: Arc<Pool>) -> Bench {
        let &BenchOptions { batch, forward_only, precision, .. } = options;
        let engine = match forward_only {
            true => Engine::forward_only(network.clone(), batch, precision, isa, pool.clone()),
            false => Engine::new(network.clone(), batch, precision, isa, pool.clone()),
        };
        let (side, classes) = (network.architecture().input_size, network.architecture().classes);
        let layout = network.layout();
        let values = layout.len();
        let training = |len| Buffer::zeroed(if forward_only { 0 } else { len });
        let mut weights = Buffer::zeroed(values);
        weights.copy_from_slice(&layout.initial(SEED));
        let mut bench = Bench {
            engine,
            isa,
            pool,
            // Small numbers with mean zero that repeat after a prime: nothing depends on their values.
            images: Array4::from_shape_fn((batch, 3, side, side), |(image, channel, y, x)| {
                ((((image * 3 + channel) * side + y) * side + x) % 251) as f32 - 125.0
            }),
            labels: (0..batch).map(|image| (image % classes) as u32).collect(),
            seeds: (0..batch as u64).collect(),
            weights,
            gradient: training(values),
            velocity: training(values),
            network,
            forward_only,
        };
        bench.engine.load(&bench.weights);
        bench
    }

    fn step(&mut self) -> StepTime {
        let start = Instant::now();
        let mut update_seconds = 0.0;
        if self.forward_only {
            self.engine.logits(self.images.view());
        } else {
            let (images, seeds) = (self.images.view(), Some(self.seeds.as_slice()));
            self.engine.train(images, &self.labels, seeds, &mut self.gradient, &mut |_, _| {});
            let computed = Instant::now();
            let pool = Arc::clone(&self.pool);
            pool.enter(|| self.update());
            update_seconds = computed.elapsed().as_secs_f64();
        }
        StepTime { seconds: start.elapsed().as_secs_f64(), update_seconds, layers: self.engine.profile() }
    }

    /// Updates the tensors one by one, each in parts over the threads, and packs each while its new values
    /// are in the caches.
    fn update(&mut self) {
        // So small a rate that the weights stay as they are drawn, however long the measurement.
        let update = Update { rate: 1e-6, momentum: 0.9, decay: 2e-4 };
        let Bench { engine, network, isa, pool, gradient, weights, velocity, .. } = self;
        let layout = network.layout();
        for tensor in 0..layout.tensors().len() {
            let range = layout.range(tensor);
            let gradient = &gradient[range.clone()];
            let part = range.len().div_ceil(PARTS_PER_THREAD * pool.threads()).max(LEAST_PART);
            let [values, velocity] = [&mut *weights, velocity].map(|all| all[range.clone()].chunks_mut(part));
            let parts: Vec<_> = values.zip(velocity).map(Mutex::new).collect();
            pool.run(parts.len(), |index| {
                let (values, velocity) = &mut *parts[index].lock().expect("each part is taken once");
                let gradient = &gradient[index * part..][..values.len()];
                momentum_update(*isa, &update, gradient, values, velocity);
            });
            engine.load_tensor(tensor, &weights[range]);
        }
    }
}

/// Returns the number of floating-point operations of a layer in one step. The first layer computes no
/// gradient of its input.
fn operations(layer: &LayerDescription, first: bool, options: &BenchOptions) -> u64 {
    let passes = match (options.forward_only, first) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    2 * passes * layer.multiply_adds * options.batch as u64
}

fn of_layer<'a>(
    layer: &LayerDescription,
    times: impl Iterator<Item = &'a LayerTime> + Clone,
    first: bool,
    options: &BenchOptions,
) -> LayerMeasurement {
    let forward = median(times.clone().map(|time| time.forward_seconds));
    let backward = median(times.clone().map(|time| time.backward_seconds));
    let operations = operations(layer, first, options) as f64;
    LayerMeasurement {
        name: layer.name.clone(),
        kernel: times.last().and_then(|time| time.kernel.clone()),
        forward_ms: forward * 1e3,
        backward_ms: backward * 1e3,
        gflops: if operations == 0.0 { 0.0 } else { operations / (forward + backward) / 1e9 },
        intensity: {
            let batch = options.batch as u64;
            let each = match options.precision {
                Precision::F32 => size_of::<f32>(),
                Precision::Bf16 => size_of::<bf16>(),
            };
            let bytes = each as u64 * (batch * layer.values + layer.parameters);
            (2 * batch * layer.multiply_adds) as f64 / bytes as f64
        },
    }
}

/// Returns the median: the middle value, or the mean of the two middle ones if their number is even.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

/// Returns the largest resident memory of this process so far, in bytes, which is VmHWM of
/// `/proc/self/status`; `None` on systems without that file.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

impl Measurement {
    /// Returns the measurement as a text table: a header, a line for each layer, and two for the whole step.
    pub fn table(&self) -> String {
        let percent = |gflops: f64| 100.0 * gflops / self.fma_peak_gflops;
        let mut text = format!(
            "{:<34} {:>11} {:>11} {:>9} {:>6}  {}\n",
            "layer", "forward ms", "backward ms", "GFLOP/s", "% peak", "kernel"
        );
        for LayerMeasurement { name, kernel, forward_ms, backward_ms, gflops, .. } in &self.layers {
            text += &format!("{name:<34} {forward_ms:>11.2} {backward_ms:>11.2}");
            if *gflops > 0.0 {
                text += &format!(" {gflops:>9.1} {:>6.1}", percent(*gflops));
            }
            if let Some(kernel) = kernel {
                text += &format!("  {kernel}");
            }
            text.push('\n');
        }
        let Measurement { batch, threads, isa, steps, input_size, images_per_second, gflops, .. } = self;
        let what = if self.forward_only { "forward pass" } else { "training step" };
        text += &format!(
            "{what} of {batch} images of {input_size}x{input_size}, {threads} threads, {isa}, median of {steps}\n\
             {images_per_second:.2} images/s, {gflops:.1} GFLOP/s, {:.1} % of the peak of {:.1}",
            percent(*gflops),
            self.fma_peak_gflops
        );
        if self.update_ms > 0.0 {
            text += &format!(", update {:.1} ms", self.update_ms);
        }
        if let Some(bytes) = self.peak_rss_bytes {
            text += &format!(", peak memory {:.0} MB", bytes as f64 / 1e6);
        }
        if let Some(nanoseconds) = self.round_trip_ns {
            text += &format!(", round trip between threads {nanoseconds:.0} ns");
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (Architecture, BenchOptions) {
        let options = BenchOptions {
            batch: 2,
            threads: 1.into(),
            forward_only: false,
            precision: Precision::F32,
            isa: None,
            steps: Some(2),
            seconds: 0.0,
        };
        (Architecture { classes: 10, input_size: 80, width: 0.1, ..Architecture::paper() }, options)
    }

    #[test]
    fn a_training_step_counts_three_passes_but_two_of_the_first_layer() {
        let (architecture, options) = small();
        let measured = measure(&architecture, &options).unwrap();
        let description = GoogLeNet::new(&architecture).unwrap().describe();
        let expected =
            2 * options.batch as u64 * (3 * description.multiply_adds - description.layers[0].multiply_adds);
        let found = measured.gflops * 1e9 * options.batch as f64 / measured.images_per_second;
        assert!((found / expected as f64 - 1.0).abs() < 1e-9, "expected {expected}, found {found}");
        assert_eq!((measured.steps, measured.layers.len()), (2, description.layers.len()));
        assert!(measured.update_ms > 0.0 && measured.layers[0].backward_ms > 0.0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("roofline.svg");
        crate::roofline::write(&measured, &path).unwrap();
        let picture = std::fs::read_to_string(path).unwrap();
        assert!(picture.starts_with("<svg") && picture.contains("Winograd"), "{picture}");
        let text = measured.table();
        assert!(
            text.contains("conv1/7x7_s2") && text.contains("training step of 2 images of 80x80"),
            "{text}"
        );
    }

    #[test]
    fn the_forward_pass_leaves_the_heads_out() {
        let (architecture, options) = small();
        let measured = measure(&architecture, &BenchOptions { forward_only: true, ..options }).unwrap();
        assert!(
            measured.layers.iter().all(|layer| layer.backward_ms == 0.0 && !layer.name.starts_with("loss1"))
        );
        assert_eq!(measured.update_ms, 0.0);
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
