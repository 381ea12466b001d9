//! The workload of a real worker: training GoogLeNet on images. (Simulations have a smaller one.)

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, ensure};
use dataset::{DataAway, Dataset, Loader, LoaderConfig, LoaderRange, Minibatch, Preprocessing, Rules};
use kernels::Isa;
use network::{Architecture, Engine, GoogLeNet, Losses};
use parameters::Layout;
use protocol::{
    CoordinatorClient, DataDescription, LARGEST_MISTAKE, LentData, Mistake, RunStatus, Scores, WorstMistakes,
    until_ready,
};
use settings::RunConfiguration;
use setup::memory::{self, MADE_AHEAD};
use setup::{ANY_SIZE, Data, Tally, Threads, class_weights, mistaken, rules};

use crate::lent::{self, Lent};
use crate::options::TrainOptions;
use crate::workload::{self, Batch, Model, Pass, Samples, Workload};

/// Longest side of the picture of a mistake, in pixels.
const PICTURE_SIDE: u32 = 160;

/// The workload of a real worker: a GoogLeNet, the images that it is trained on, and the instruction set and
/// threads that compute it.
pub struct ImageWork {
    data: Option<Data>,
    /// The data set that is open; `None` until a run is known.
    opened: Mutex<Option<Opened>>,
    looked_at: bool,
    coordinator: String,
    picture_cache: usize,
    patience: Duration,
    server_patience: Duration,
    isa: Isa,
    threads: Threads,
    loader_threads: usize,
}

/// A data set that is open.
#[derive(Clone)]
struct Opened {
    dataset: Arc<Dataset>,
    from: Origin,
}

/// Where the pictures of a data set are from.
#[derive(Clone)]
enum Origin {
    /// This machine, by these rules.
    Here(Data, Rules),
    /// The server, which described them so.
    Server(LentData, Arc<Lent>),
}

impl ImageWork {
    /// Creates the workload that `options` describe, computed with the instruction set `isa`. The data set is
    /// opened later, once a run's configuration gives the rules by which to read it.
    ///
    /// # Errors
    /// If the data folder that `options` name does not exist.
    pub fn new(options: &TrainOptions, isa: Isa) -> anyhow::Result<ImageWork> {
        options.data.as_ref().map_or(Ok(()), Data::check_is_there)?;
        Ok(ImageWork {
            data: options.data.clone(),
            opened: Mutex::default(),
            looked_at: options.looked_at,
            coordinator: options.coordinator.clone(),
            picture_cache: options.picture_cache,
            patience: options.data_patience,
            server_patience: options.patience.give_up_after,
            isa,
            threads: options.threads,
            loader_threads: options.loader_threads,
        })
    }

    fn opened(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().expect("nothing panics while it holds the data")
    }

    /// Returns the data set, which is open once the worker has asked for the run's status.
    fn data_in_use(&self) -> Opened {
        self.opened().clone().expect("a run was joined, so the data are open")
    }

    /// Returns the data set of this machine as read by `rules`; opens it unless it is open by the same rules.
    fn open_by(&self, data: &Data, rules: Rules) -> anyhow::Result<Arc<Dataset>> {
        let mut opened = self.opened();
        if let Some(Opened { dataset, from: Origin::Here(known, by) }) = &*opened
            && (known, *by) == (data, rules)
        {
            return Ok(dataset.clone());
        }
        let dataset = Arc::new(data.open(ANY_SIZE, rules)?);
        let dataset::Fingerprint { images, validation, .. } = dataset.fingerprint();
        let classes = dataset.classes().len();
        match data {
            Data::Folder(folder) => tracing::info!(
                "data in {}: {classes} classes, {images} training and {validation} validation images",
                folder.display()
            ),
            Data::Synthetic { .. } => tracing::info!(
                "synthetic data: {classes} classes, {images} training and {validation} validation images"
            ),
        }
        *opened = Some(Opened { dataset: dataset.clone(), from: Origin::Here(data.clone(), rules) });
        Ok(dataset)
    }

    /// Returns the data set that the server lends, or the synthetic set if it lends none.
    async fn open_elsewhere(
        &self,
        client: &CoordinatorClient,
        status: &RunStatus,
    ) -> anyhow::Result<Arc<Dataset>> {
        let Some(lent) = until_ready(self.server_patience, || client.lent_data()).await? else {
            let drawn = self.open_by(&Data::synthetic(), rules(&status.configuration)?)?;
            ensure!(
                status.classes.is_empty() || status.classes == drawn.classes(),
                "there are no photographs here, and the server at {} lends none of the run's {} classes ({}, ...): name their \
                 folder on this machine with --data, or begin the run where they are, with downpour --data FOLDER \
                 --advertise ADDRESS, which lends them",
                self.coordinator,
                status.classes.len(),
                status.classes[0]
            );
            return Ok(drawn);
        };
        if let Some(Opened { dataset, from: Origin::Server(known, source) }) = &*self.opened()
            && *known == lent
        {
            source.expect_nothing();
            return Ok(dataset.clone());
        }
        let (dataset, source) = lent::borrow(client, lent.clone(), self.picture_cache).await?;
        let dataset = Arc::new(dataset);
        tracing::info!(
            "no photographs here: they come from {}, {} classes, {} training and {} validation images, as they are needed; up to \
             {} MB of them are kept (--picture-cache)",
            self.coordinator,
            lent.data.classes.len(),
            lent.data.images,
            lent.data.validation,
            self.picture_cache >> 20
        );
        *self.opened() = Some(Opened { dataset: dataset.clone(), from: Origin::Server(lent, source) });
        Ok(dataset)
    }
}

impl Workload for ImageWork {
    type Model = Engine;
    type Samples = Loader;

    async fn data(&self, client: &CoordinatorClient, status: &RunStatus) -> anyhow::Result<DataDescription> {
        let dataset = match &self.data {
            Some(data) => self.open_by(data, rules(&status.configuration)?)?,
            None => self.open_elsewhere(client, status).await?,
        };
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
        let dataset = self.data_in_use().dataset;
        let found = dataset.classes().len();
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
        engine.set_class_weights(class_weights(&dataset, classes, &configuration.optimisation));
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
        let Opened { dataset, from } = self.data_in_use();
        let (dataset, patience) = match from {
            Origin::Here(Data::Folder(_), _) => (dataset, self.patience),
            Origin::Here(Data::Synthetic { images, validation }, _) => {
                (Arc::new(Dataset::synthetic(images, validation, size)), self.patience)
            }
            // A server that is started again is waited for as by any other call.
            Origin::Server(..) => (dataset, self.patience.max(self.server_patience)),
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
            patience,
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

    fn score(&mut self, batch: &Minibatch, tally: &mut Tally, mistakes: &mut WorstMistakes) {
        let logits = self.logits(batch.images.view());
        tally.add(logits.view(), &batch.labels);
        for (row, logits) in logits.outer_iter().enumerate() {
            let (right, image) = (batch.labels[row], batch.samples[row].into());
            let Some((said, [probability_said, probability_right])) = mistaken(logits, right) else {
                continue;
            };
            mistakes.offer(probability_said, image, || {
                let mut picture = batch.thumbnail(row, &Preprocessing::default(), PICTURE_SIDE).jpeg;
                if picture.len() > LARGEST_MISTAKE {
                    picture.clear();
                }
                Mistake { image, right, said, probability_right, probability_said, picture }
            });
        }
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
