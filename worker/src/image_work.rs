//! The workload of a real worker: training GoogLeNet on images. (Simulations have a smaller one.)

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use dataset::{DataAway, Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, Preprocessing, Rules};
use kernels::Isa;
use network::{Architecture, Engine, GoogLeNet, Losses};
use parameters::Layout;
use protocol::{DataDescription, RunStatus, Scores};
use settings::RunConfiguration;
use setup::memory::{self, MADE_AHEAD};
use setup::{ANY_SIZE, Data, Tally, Threads, class_weights, rules};

use crate::options::TrainOptions;
use crate::workload::{self, Batch, Model, Pass, Samples, Workload};

/// The workload of a real worker: a GoogLeNet, the images that it is trained on, and the instruction set and
/// threads that compute it.
pub struct ImageWork {
    data: Data,
    /// The data set and the rules by which it was opened; `None` until a run is known.
    dataset: Mutex<Option<(Rules, Arc<Dataset>)>>,
    looked_at: bool,
    patience: Duration,
    isa: Isa,
    threads: Threads,
    loader_threads: usize,
}

impl ImageWork {
    /// Creates the workload that `options` describe, computed with the instruction set `isa`. The data set is
    /// opened later, once a run's configuration gives the rules by which to read it.
    ///
    /// # Errors
    /// If the data folder that `options` name does not exist.
    pub fn new(options: &TrainOptions, isa: Isa) -> anyhow::Result<ImageWork> {
        options.data.check_is_there()?;
        Ok(ImageWork {
            data: options.data.clone(),
            dataset: Mutex::default(),
            looked_at: options.looked_at,
            patience: options.data_patience,
            isa,
            threads: options.threads,
            loader_threads: options.loader_threads,
        })
    }

    /// Returns the data set, which is open once the worker has asked for the run's status.
    fn dataset(&self) -> Arc<Dataset> {
        let opened = self.dataset.lock().expect("nothing panics while it holds the data");
        Arc::clone(&opened.as_ref().expect("a run was joined, so the data are open").1)
    }

    /// Returns the data set as read by `rules`; opens it unless it is open by the same rules.
    fn open_by(&self, rules: Rules) -> anyhow::Result<Arc<Dataset>> {
        let mut opened = self.dataset.lock().expect("nothing panics while it holds the data");
        match &*opened {
            Some((known, dataset)) if *known == rules => Ok(Arc::clone(dataset)),
            _ => {
                let dataset = Arc::new(self.data.open(ANY_SIZE, rules)?);
                let dataset::Fingerprint { images, validation, .. } = dataset.fingerprint();
                let classes = dataset.classes().len();
                match &self.data {
                    Data::Folder(folder) => tracing::info!(
                        "data in {}: {classes} classes, {images} training and {validation} validation images",
                        folder.display()
                    ),
                    Data::Synthetic { .. } => tracing::info!(
                        "synthetic data: {classes} classes, {images} training and {validation} validation images"
                    ),
                }
                *opened = Some((rules, Arc::clone(&dataset)));
                Ok(dataset)
            }
        }
    }
}

impl Workload for ImageWork {
    type Model = Engine;
    type Samples = Loader;

    fn data(&self, status: &RunStatus) -> anyhow::Result<DataDescription> {
        let dataset = self.open_by(rules(&status.configuration)?)?;
        if status.samples == 0
            && !self.looked_at
            && let Some(look) = dataset.look()
        {
            tracing::info!("{}", look.summary());
            look.check()?;
        }
        let dataset::Fingerprint { images, validation, hash } = dataset.fingerprint().clone();
        Ok(DataDescription { images, validation, hash, classes: dataset.classes().to_vec() })
    }

    fn model(&self, configuration: &RunConfiguration) -> anyhow::Result<Engine> {
        tracing::info!(
            "settings of the run: {}",
            serde_json::to_string(configuration).context("write the settings")?
        );
        let found = self.dataset().classes().len();
        let classes = configuration.network.classes.unwrap_or(found);
        ensure!(
            classes >= found,
            "the run's network has {classes} classes, the data has {found}: start the run with --classes {found} or more"
        );
        let mut network = GoogLeNet::new(&Architecture::of(&configuration.network, classes))?;
        let multipliers = &configuration.optimisation.rate_multipliers;
        network
            .scale_rates(multipliers.iter().map(|(pattern, &factor)| (pattern.as_str(), factor)))
            .context("configuration key optimisation.rate_multipliers")?;
        let (batch, precision) = (configuration.run.batch, configuration.run.precision);
        let pool = self.threads.pool()?;
        let bytes = |batch| memory::worker_bytes(&network, batch, precision, self.isa, &pool);
        memory::check("training", batch, bytes)?;
        let mut engine = Engine::new(Arc::new(network), batch, precision, self.isa, pool);
        engine.set_class_weights(class_weights(&self.dataset(), classes, &configuration.optimisation));
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
            Data::Folder(_) => self.dataset(),
            Data::Synthetic { images, validation } => {
                Arc::new(Dataset::synthetic(*images, *validation, size))
            }
        };
        let config = LoaderConfig {
            threads: self.loader_threads,
            size,
            sampling: configuration.sampling.clone(),
            preprocessing: Preprocessing::default(),
            crops: None,
            seed: configuration.run.sample_seed(),
            batch: configuration.run.batch,
            depth: MADE_AHEAD,
            patience: self.patience,
        };
        Loader::new(dataset, config)
    }
}

impl Batch for Minibatch {
    fn samples(&self) -> &[u32] {
        &self.samples
    }

    fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

impl workload::Tally for Tally {
    fn samples(&self) -> u64 {
        self.images()
    }

    fn sums(&self) -> Scores {
        Tally::sums(self)
    }
}

impl Model for Engine {
    type Batch = Minibatch;
    type Tally = Tally;

    fn layout(&self) -> &Layout {
        self.network().layout()
    }

    fn isa(&self) -> Isa {
        Engine::isa(self)
    }

    fn load_tensor(&mut self, tensor: usize, values: &[f32]) {
        Engine::load_tensor(self, tensor, values);
    }

    fn train(&mut self, batch: &Minibatch, Pass { samples, dropout, gradients, ready }: Pass<'_>) -> Losses {
        let (images, labels) = batch.first(samples);
        let dropout = dropout.map(|seeds| &seeds[..samples]);
        Engine::train(self, images, labels, dropout, gradients, ready)
    }

    fn score(&mut self, batch: &Minibatch, tally: &mut Tally) {
        tally.add(self.logits(batch.images.view()).view(), &batch.labels);
    }
}

impl Samples for Loader {
    type Batch = Minibatch;

    fn request(&mut self, range: LoaderRange) {
        Loader::request(self, range);
    }

    fn next(&mut self) -> Result<Option<Minibatch>, DataAway> {
        Loader::next(self)
    }
}
