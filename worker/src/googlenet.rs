//! The real work: GoogLeNet on images.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use configuration::{RunConfiguration, RunFlags};
use dataset::{
    Crops, Dataset, Interpolation, Loader, LoaderConfig, LoaderRange, Minibatch, Photometric, Preprocessing,
    Sampling,
};
use kernels::Isa;
use ndarray::{Array2, ArrayView4};
use network::{Architecture, Engine, GoogLeNet, Initialisation, Losses, Precision, Variant};
use parameters::Layout;
use protocol::{DataDescription, Evaluation};

use crate::memory;
use crate::model_file::{self, About, MODEL_FILE};
use crate::threads::Threads;
use crate::workload::{Model, Samples, Workload};

/// Minibatches made ahead.
pub(crate) const DEPTH: usize = 2;
/// The drawn set's fingerprint does not depend on the size that it is drawn at; before the run's is known, any will do.
const ANY_SIZE: usize = 64;

/// What a worker trains on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A folder of photographs.
    Folder(PathBuf),
    /// The set that the program draws itself.
    Drawn {
        /// Training images.
        images: usize,
        /// Validation images.
        validation: usize,
    },
}

impl Data {
    /// The drawn set as every process of a run uses it where no folder is named.
    pub const fn embedded() -> Data {
        Data::Drawn { images: 20_000, validation: 1_000 }
    }

    /// Opens it for crops of `size` pixels.
    pub(crate) fn open(&self, size: usize) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) => Ok(Dataset::open(folder)?),
            Data::Drawn { images, validation } => Ok(Dataset::drawn(*images, *validation, size)),
        }
    }

    /// Opens what is only measured on: all images of a folder of class folders, or, `held_out`, those of them that
    /// training puts aside.
    pub(crate) fn open_validation(&self, size: usize, held_out: bool) -> anyhow::Result<Dataset> {
        match self {
            Data::Folder(folder) if !held_out => Ok(Dataset::open_validation(folder)?),
            _ => self.open(size),
        }
    }
}

/// GoogLeNet, images, and the machine to compute with.
pub struct ImageWork {
    data: Data,
    dataset: Arc<Dataset>,
    flags: RunFlags,
    isa: Isa,
    threads: Threads,
    loader_threads: usize,
    output: Option<PathBuf>,
}

impl ImageWork {
    /// Opens the data; `flags` are what the run is expected to be.
    ///
    /// # Errors
    /// Data that cannot be used.
    pub fn open(
        data: Data,
        flags: RunFlags,
        isa: Isa,
        threads: Threads,
        loader_threads: usize,
        output: Option<PathBuf>,
    ) -> anyhow::Result<ImageWork> {
        let dataset = Arc::new(data.open(ANY_SIZE)?);
        Ok(ImageWork { data, dataset, flags, isa, threads, loader_threads, output })
    }
}

impl Workload for ImageWork {
    type Model = Engine;
    type Samples = Loader;

    fn data(&self) -> DataDescription {
        let dataset::Fingerprint { images, validation, hash } = self.dataset.fingerprint();
        let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        DataDescription { images, validation, hash, classes: self.dataset.classes().to_vec() }
    }

    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<Engine> {
        let expected = expected_network(&self.flags, configuration)?;
        let classes = expected.classes.unwrap_or(self.dataset.classes().len());
        ensure!(
            classes >= self.dataset.classes().len(),
            "the run's network has {classes} classes, the data has {}: start the run with --classes {} or more",
            self.dataset.classes().len(),
            self.dataset.classes().len()
        );
        let mut network = GoogLeNet::new(&architecture(&expected, classes))?;
        let multipliers = &configuration.optimisation.rate_multipliers;
        network
            .scale_rates(multipliers.iter().map(|(pattern, &factor)| (pattern.as_str(), factor)))
            .context("configuration key optimisation.rate_multipliers")?;
        let (batch, precision) = (configuration.run.batch, precision(configuration.run.precision));
        let pool = self.threads.pool()?;
        let bytes = |batch| memory::worker_bytes(&network, batch, precision, self.isa, &pool);
        memory::check("training", batch, bytes)?;
        let engine = Engine::new(Arc::new(network), batch, precision, self.isa, pool);
        let mut kernels: Vec<_> = engine.profile().into_iter().filter_map(|layer| layer.kernel).collect();
        kernels.sort();
        kernels.dedup();
        tracing::info!(
            isa = engine.isa().name(),
            threads = self.threads.count(),
            "computing with {}",
            kernels.join(", ")
        );
        Ok(engine)
    }

    fn samples(&self, configuration: &RunConfiguration) -> Loader {
        let size = configuration.network.input_size;
        let dataset = match &self.data {
            Data::Folder(_) => self.dataset.clone(),
            Data::Drawn { images, validation } => Arc::new(Dataset::drawn(*images, *validation, size)),
        };
        let config = LoaderConfig {
            threads: self.loader_threads,
            size,
            sampling: sampling(&configuration.sampling),
            preprocessing: Preprocessing::default(),
            crops: Crops::One,
            seed: configuration.run.sample_seed(),
            batch: configuration.run.batch,
            depth: DEPTH,
        };
        Loader::new(dataset, config)
    }

    fn keep(
        &self,
        configuration: &RunConfiguration,
        layout: &Layout,
        average: &[f32],
        evaluation: &Evaluation,
    ) -> anyhow::Result<()> {
        let Some(folder) = &self.output else { return Ok(()) };
        let about = About {
            configuration,
            classes: self.dataset.classes(),
            values: "average",
            samples: evaluation.samples,
            evaluation: Some(evaluation),
        };
        model_file::write(&folder.join(MODEL_FILE), layout, average, &about)
    }
}

/// The precision of a configuration.
pub(crate) fn precision(precision: configuration::Precision) -> Precision {
    match precision {
        configuration::Precision::F32 => Precision::F32,
        configuration::Precision::Bf16 => Precision::Bf16,
    }
}

/// The network of a configuration, for so many classes.
pub(crate) fn architecture(network: &configuration::Network, classes: usize) -> Architecture {
    Architecture {
        classes,
        input_size: network.input_size,
        width: network.width,
        auxiliary_heads: network.auxiliary_heads,
        initialisation: match network.initialisation {
            configuration::Initialisation::Bvlc => Initialisation::Bvlc,
            configuration::Initialisation::He => Initialisation::He,
        },
        variant: match network.variant {
            configuration::Variant::Table => Variant::Table,
            configuration::Variant::Operations => Variant::Operations,
            configuration::Variant::Naive => Variant::Naive,
        },
    }
}

/// What the data set makes of a configuration.
pub(crate) fn sampling(configuration: &configuration::Sampling) -> Sampling {
    let interpolation = |by: &configuration::Interpolation| match by {
        configuration::Interpolation::Bilinear => Interpolation::Bilinear,
        configuration::Interpolation::Area => Interpolation::Area,
        configuration::Interpolation::Nearest => Interpolation::Nearest,
        configuration::Interpolation::Cubic => Interpolation::Cubic,
    };
    let &configuration::Sampling { area, aspect, mirror, .. } = configuration;
    let &configuration::Sampling { brightness, contrast, saturation, lighting, .. } = configuration;
    Sampling {
        area,
        aspect,
        mirror,
        interpolations: configuration.interpolation.iter().map(interpolation).collect(),
        photometric: Photometric { brightness, contrast, saturation, lighting },
    }
}

/// The network that the flags ask for in this run. Another network than the run's is for the shards to refuse, by the
/// first tensor; what no shard would see, and what would break the account of samples or the schedule, is refused here.
fn expected_network(flags: &RunFlags, run: &RunConfiguration) -> anyhow::Result<configuration::Network> {
    let mut expected = match (&flags.config, &flags.recipe) {
        (None, None) => run.clone(),
        _ => {
            let mut named = flags.resolve(&run.recipe)?;
            named.network.classes = named.network.classes.or(run.network.classes);
            named
        }
    };
    flags.override_onto(&mut expected);
    let same = [
        ("run.seed", run.run.seed.to_string(), expected.run.seed.to_string()),
        ("run.sample_seed", run.run.sample_seed().to_string(), expected.run.sample_seed().to_string()),
        ("run.batch", run.run.batch.to_string(), expected.run.batch.to_string()),
        ("run.precision", run.run.precision.to_string(), expected.run.precision.to_string()),
        (
            "optimisation.learning_rate",
            run.optimisation.learning_rate.to_string(),
            expected.optimisation.learning_rate.to_string(),
        ),
    ];
    for (key, run, asked) in same {
        if run != asked {
            bail!(
                "{key}: the run has {run}, this worker was asked for {asked}; leave the flag out, or start another run"
            );
        }
    }
    Ok(expected.network)
}

impl Model for Engine {
    fn layout(&self) -> &Layout {
        self.network().layout()
    }

    fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        Engine::load_tensor(self, tensor, values);
    }

    fn train(
        &mut self,
        minibatch: &Minibatch,
        dropout: Option<&[u64]>,
        gradients: &mut [f32],
        ready: &mut (dyn FnMut(usize, &[f32]) + Send),
    ) -> Losses {
        Engine::train(self, minibatch.images.view(), &minibatch.labels, dropout, gradients, ready)
    }

    fn logits(&mut self, images: ArrayView4<f32>) -> Array2<f32> {
        Engine::logits(self, images)
    }
}

impl Samples for Loader {
    fn request(&mut self, range: LoaderRange) {
        Loader::request(self, range);
    }

    fn next(&mut self) -> Option<Minibatch> {
        Loader::next(self)
    }
}
