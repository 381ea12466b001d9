//! The simulated run: events in virtual time, with real computation.

use std::sync::Arc;
use std::time::Instant;

use dataset::{DataAway, Dataset, LoaderConfig, Minibatch, Preprocessing, Split};
use network::{Engine, Precision};
use parameter_server::{Noise, Shard};
use parameters::Layout;
use protocol::{BlockPush, Kind, Life, Member, PushForm, UpdateRule, Version, Wire};
use rand::{RngExt, SeedableRng};
use settings::MomentumPlace;
use settings::random::Random;
use setup::Tally;
use worker::halves::{compare_halves, compared_images};
use worker::outgoing::{Outgoing, OutgoingBlock};
use worker::replica::dropout_seed;

use crate::events::{Event, Events};
use crate::links::Links;
use crate::report::{Evaluation, Report};
use crate::run::{Run, SimulateError};
use crate::samples::{Samples, Taken};
use crate::{Machine, Method};

/// Fraction of a step after which the first gradients leave: the backward pass, which computes them, takes
/// the last two thirds.
pub(crate) const FORWARD: f64 = 1.0 / 3.0;

/// A simulated worker.
struct Worker {
    parameters: Vec<f32>,
    versions: Vec<Version>,
    outgoing: Outgoing,
    /// The blocks that are on their way to the shard.
    pushes: Vec<OutgoingBlock>,
    /// Virtual time at which the first of them reaches the server, in seconds.
    reaches: f64,
    taken: Option<Taken>,
    step: u64,
    /// Number of times that the worker was lost.
    life: u64,
    /// Virtual time at which the worker's newest step is computed, in seconds.
    computes_until: f64,
}

/// Simulates a run: trains until it has used as many images as `run.rule.total_samples`, until the accuracy
/// `run.until` is reached, or until the training loss is no longer finite; returns the report. `each` is
/// called with every evaluation when it is done.
///
/// # Errors
/// If the data folder stays unavailable, or if the run cannot start from the model file `run.warm_start`.
///
/// # Panics
/// If the cluster has no machine.
pub fn simulate(run: &Run, each: impl FnMut(&Evaluation)) -> Result<Report, SimulateError> {
    assert!(!run.cluster.machines.is_empty(), "a cluster has at least one machine");
    Simulation::new(run)?.run(each)
}

struct Simulation<'a> {
    run: &'a Run,
    layout: Layout,
    /// The form in which workers push.
    form: PushForm,
    engine: Engine,
    gradient: Vec<f32>,
    shard: Shard,
    samples: Samples,
    validation: Vec<Minibatch>,
    workers: Vec<Worker>,
    events: Events,
    random: Random,
    links: Links<'a>,
    /// Minibatches of training images, whose gradients are compared at every evaluation.
    compared: Vec<Minibatch>,
    noise: Noise,
    report: Report,
    interval: Interval,
}

/// The sums since the previous evaluation.
#[derive(Default)]
struct Interval {
    loss: f64,
    steps: u64,
    staleness: u64,
    pushes: u64,
}

impl<'a> Simulation<'a> {
    fn new(run: &'a Run) -> Result<Simulation<'a>, SimulateError> {
        let isa = run.isa;
        let layout = run.network.layout().clone();
        let pool = Arc::clone(&run.pool);
        let mut engine = Engine::new(Arc::clone(&run.network), run.batch, Precision::F32, isa, pool);
        let classes = run.network.architecture().classes;
        engine.set_class_weights(setup::class_weights(&run.dataset, classes, &run.optimisation));
        let mut shard = Shard::empty(0, 1, 1, isa).starting_from(run.warm_start.clone());
        // A synchronous push is of the minibatches of all workers.
        let rule = UpdateRule { batch: None, ..run.rule.clone() };
        shard.begin(&rule).expect("an empty shard takes a sound rule");
        shard.adopt(layout.clone()).map_err(SimulateError::Start)?;
        let config = LoaderConfig {
            threads: 1,
            size: run.network.architecture().input_size,
            sampling: run.sampling.clone(),
            preprocessing: Preprocessing::default(),
            crops: None,
            seed: run.seed,
            batch: run.batch,
            depth: 4,
            patience: dataset::PATIENCE,
        };
        let (train, validation) =
            (run.dataset.len(Split::Train) as u64, run.dataset.len(Split::Validation) as u64);
        let count = compared_images(run.evaluate_every, train, run.batch, run.optimisation.average_decay);
        let compared = first_minibatches(&run.dataset, &config, Split::Train, count)?;
        let validation = first_minibatches(&run.dataset, &config, Split::Validation, validation)?;
        let samples = Samples::new(&run.dataset, config);
        let machines = run.cluster.machines.len();
        let worker = |machine: &Machine| Worker {
            parameters: vec![0.0; layout.len()],
            versions: vec![Version::default(); layout.blocks().len()],
            outgoing: Outgoing::new(&layout, isa, &run.optimisation, machine.formats.gradients),
            pushes: Vec::new(),
            reaches: 0.0,
            taken: None,
            step: 0,
            life: 0,
            computes_until: 0.0,
        };
        let workers = run.cluster.machines.iter().map(worker).collect();
        let report = Report::new(run.cluster.clone(), run.method, run.optimisation.clone());
        let several = machines > 1
            || run.cluster.machines.iter().any(|machine| machine.formats.gradients.is_of_largest());
        let at_workers = several
            && run.method == Method::Asynchronous
            && run.optimisation.momentum_at == MomentumPlace::Worker;
        Ok(Simulation {
            run,
            form: if at_workers { PushForm::Step } else { PushForm::Gradient },
            gradient: vec![0.0; layout.len()],
            engine,
            shard,
            samples,
            validation,
            workers,
            events: Events::default(),
            random: Random::seed_from_u64(run.seed),
            links: Links::new(&run.cluster),
            compared,
            noise: Noise::default(),
            report,
            interval: Interval::default(),
            layout,
        })
    }

    fn run(mut self, mut each: impl FnMut(&Evaluation)) -> Result<Report, SimulateError> {
        let started = Instant::now();
        match self.run.method {
            Method::Asynchronous => self.asynchronous(&mut each)?,
            Method::Synchronous => self.synchronous(&mut each)?,
        }
        // Steps that the end cut short count up to it.
        let beyond = |worker: &Worker| (worker.computes_until - self.report.seconds).max(0.0);
        self.report.computing -= self.workers.iter().map(beyond).sum::<f64>();
        let seconds = self.report.seconds.max(f64::MIN_POSITIVE);
        self.report.computing /= seconds * self.workers.len() as f64;
        let (receiving, sending) = self.links.busy();
        (self.report.receiving, self.report.sending) = (receiving / seconds, sending / seconds);
        self.report.real_seconds = started.elapsed().as_secs_f64();
        Ok(self.report)
    }

    fn asynchronous(&mut self, each: &mut impl FnMut(&Evaluation)) -> Result<(), SimulateError> {
        for worker in 0..self.workers.len() {
            self.fetch(worker);
            // Workers do not begin at the same moment.
            let begin = self.random.random_range(0.0..0.5) * self.run.cluster.machines[worker].step;
            self.events.plan(begin, worker, 0, Event::Begin);
            self.plan_loss(worker, 0.0);
        }
        while !self.ended() {
            let entry = self.events.next().expect("a worker always has something planned");
            if entry.life != self.workers[entry.worker].life {
                continue;
            }
            self.report.seconds = entry.time;
            match entry.event {
                Event::Begin => {
                    let taken = self.samples.next()?;
                    let seconds = self.compute(entry.worker, &taken);
                    self.workers[entry.worker].taken = Some(taken);
                    let first = entry.time + FORWARD * seconds;
                    self.events.plan(first, entry.worker, entry.life, Event::Leave);
                }
                Event::Leave => {
                    let computed = self.workers[entry.worker].computes_until;
                    let arrival = self.send(entry.worker, entry.time, computed);
                    self.events.plan(arrival, entry.worker, entry.life, Event::Arrive);
                }
                Event::Arrive => {
                    let bytes = self.push(entry.worker);
                    let reaches = self.workers[entry.worker].reaches;
                    let back =
                        self.receive(entry.worker, reaches, bytes).max(self.back(entry.worker, entry.time));
                    self.events.plan(back, entry.worker, entry.life, Event::Begin);
                    self.evaluate_if_due(each);
                }
                Event::Lose => self.lose(entry.worker, entry.time),
                Event::Return => {
                    self.fetch(entry.worker);
                    self.events.plan(entry.time, entry.worker, entry.life, Event::Begin);
                }
            }
        }
        Ok(())
    }

    /// Trains synchronously: in each step all workers compute, and the step lasts as long as the slowest of
    /// them.
    fn synchronous(&mut self, each: &mut impl FnMut(&Evaluation)) -> Result<(), SimulateError> {
        let workers = self.workers.len();
        while !self.ended() {
            let (start, mut end, mut images) = (self.report.seconds, self.report.seconds, 0);
            for worker in 0..workers {
                self.fetch(worker);
                let taken = self.samples.next()?;
                images += taken.minibatch.labels.len() as u64;
                let seconds = self.compute(worker, &taken);
                end = f64::max(end, self.send(worker, start + FORWARD * seconds, start + seconds));
            }
            self.average_pushes();
            self.workers[0].step += 1;
            let bytes = self.push_blocks(0, images as u32);
            self.report.seconds =
                (0..workers).fold(end, |last, worker| last.max(self.receive(worker, end, bytes)));
            self.evaluate_if_due(each);
        }
        Ok(())
    }

    /// Replaces the first worker's push by the mean of all workers' pushes.
    fn average_pushes(&mut self) {
        let share = 1.0 / self.workers.len() as f32;
        let (first, others) = self.workers.split_first_mut().expect("a cluster has at least one machine");
        for (at, push) in first.pushes.iter_mut().enumerate() {
            let mut mean = std::mem::replace(&mut push.values, Vec::new().into()).into_vec();
            for other in others.iter() {
                let values = other.pushes[at].values.to_vec();
                mean.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
            }
            mean.iter_mut().for_each(|value| *value *= share);
            push.values = mean.into();
        }
    }

    fn ended(&self) -> bool {
        let reached = self.run.until.is_some_and(|top1| self.report.first_at(top1).is_some());
        let hopeless = self.interval.steps > 0 && !self.interval.loss.is_finite();
        reached || hopeless || self.report.images >= self.run.rule.total_samples
    }

    /// Computes the push of a worker for a minibatch, with the worker's parameters; returns the duration of
    /// the step in virtual seconds.
    fn compute(&mut self, worker: usize, Taken { epoch, minibatch }: &Taken) -> f64 {
        let Worker { parameters, outgoing, pushes, .. } = &mut self.workers[worker];
        self.engine.load(parameters);
        let seeds: Option<Vec<u64>> = self
            .run
            .dropout
            .map(|seed| minibatch.samples.iter().map(|&sample| dropout_seed(seed, *epoch, sample)).collect());
        let (images, labels) = (minibatch.images.view(), &minibatch.labels);
        let losses = self.engine.train(images, labels, seeds.as_deref(), &mut self.gradient, &mut |_, _| {});
        outgoing.clip_whole(&mut self.gradient);
        pushes.clear();
        for tensor in 0..self.layout.tensors().len() {
            let gradient = &self.gradient[self.layout.range(tensor)];
            outgoing.send(self.form, tensor, gradient, parameters, |block| pushes.push(block));
        }
        self.interval.loss += f64::from(losses.main);
        self.interval.steps += 1;
        let jitter = self.run.cluster.jitter;
        let seconds =
            self.run.cluster.machines[worker].step * (1.0 + jitter * self.random.random_range(-1.0..=1.0));
        self.report.computing += seconds;
        // The events' clock is at the beginning of the step.
        self.workers[worker].computes_until = self.report.seconds + seconds;
        seconds
    }

    /// Sends the push of a step whose first gradients leave at `first` and whose last are computed at
    /// `computed`; returns the virtual time at which it has arrived.
    fn send(&mut self, number: usize, first: f64, computed: f64) -> f64 {
        let machine = &self.run.cluster.machines[number];
        let worker = &mut self.workers[number];
        let size = |push: &OutgoingBlock| push.values.encoded_size(machine.formats.gradients);
        let bytes: usize = worker.pushes.iter().map(size).sum();
        self.report.bytes_up += bytes as u64;
        let sent = self.links.push(machine, bytes as f64, first, computed);
        worker.reaches = sent.reaches;
        sent.arrives
    }

    /// Sends an answer of so many bytes that begins to leave the server at `first`; returns the virtual time
    /// at which it has arrived at the worker.
    fn receive(&mut self, worker: usize, first: f64, bytes: u64) -> f64 {
        self.report.bytes_down += bytes;
        self.links.answer(&self.run.cluster.machines[worker], bytes as f64, first)
    }

    /// Returns the virtual time at which a worker has the last of what leaves the server at `time`.
    fn back(&self, worker: usize, time: f64) -> f64 {
        time + self.run.cluster.machines[worker].round_trip / 2.0
    }

    /// Pushes a worker's gradient to the shard; the reply brings the worker's parameters up to date. Returns
    /// the bytes of the reply.
    fn push(&mut self, worker: usize) -> u64 {
        self.workers[worker].step += 1;
        let taken = self.workers[worker].taken.take().expect("a push is of a minibatch");
        self.push_blocks(worker, taken.minibatch.labels.len() as u32)
    }

    /// Returns the format of the log that a worker follows; `None` if its parameters travel whole.
    fn log(&self, worker: usize) -> Option<Wire> {
        let wire = self.run.cluster.machines[worker].formats.parameters;
        (self.run.method == Method::Asynchronous && !wire.is_whole()).then_some(wire)
    }

    fn push_blocks(&mut self, number: usize, samples: u32) -> u64 {
        let log = self.log(number);
        let format = self.run.cluster.machines[number].formats.parameters;
        let worker = &mut self.workers[number];
        let incarnation = worker.life << 32 | number as u64;
        let (mut newest, mut bytes) = (0, 0);
        for OutgoingBlock { block: index, values: gradient, .. } in worker.pushes.drain(..) {
            let reply = self.shard.push(BlockPush {
                shard: 0,
                member: Member { worker: number as u32, incarnation, life: Life::default() },
                step: worker.step,
                block: index,
                version: worker.versions[index as usize],
                samples,
                form: self.form,
                log,
                gradient,
            });
            match reply.outcome {
                Ok(answer) => {
                    let range = self.layout.blocks()[index as usize].range.clone();
                    bytes += answer.encoded_size(format) as u64;
                    answer.apply(&mut worker.parameters[range]);
                    worker.versions[index as usize] = answer.version();
                    newest = newest.max(reply.staleness);
                }
                Err(_) => self.report.refused += 1,
            }
        }
        self.report.images += u64::from(samples);
        self.report.staleness_max = self.report.staleness_max.max(newest);
        self.interval.staleness += newest;
        self.interval.pushes += 1;
        bytes
    }

    /// Copies the shard's parameters to a worker, which takes no virtual time.
    fn fetch(&mut self, worker: usize) {
        let view = |log| Kind::View { log, worker: worker as u32 };
        let kind = self.log(worker).map_or(Kind::Parameters, view);
        let Worker { parameters, versions, .. } = &mut self.workers[worker];
        for block in self.layout.blocks() {
            let values = self.shard.fetch(block.index, kind).expect("the shard has every block");
            values.values.copy_to(&mut parameters[block.range.clone()]);
            versions[block.index as usize] = values.version;
        }
    }

    fn plan_loss(&mut self, worker: usize, now: f64) {
        if let Some(mean) = self.run.cluster.machines[worker].between_losses {
            let lived = -mean * self.random.random_range(f64::MIN_POSITIVE..1.0).ln();
            self.events.plan(now + lived, worker, self.workers[worker].life, Event::Lose);
        }
    }

    /// Loses a worker together with its step and its velocity, and plans its return.
    fn lose(&mut self, number: usize, now: f64) {
        let worker = &mut self.workers[number];
        worker.life += 1;
        worker.step = 0;
        worker.outgoing.begin();
        if let Some(taken) = worker.taken.take() {
            self.report.repeated += taken.minibatch.labels.len() as u64;
            self.samples.take_back(taken);
        }
        let back = now + self.run.cluster.machines[number].away;
        self.events.plan(back, number, self.workers[number].life, Event::Return);
        self.plan_loss(number, back);
    }

    fn evaluate_if_due(&mut self, each: &mut impl FnMut(&Evaluation)) {
        let every = self.run.evaluate_every.max(1);
        let due = (self.report.evaluations.len() as u64 + 1) * every;
        if self.report.images < due.min(self.run.rule.total_samples) {
            return;
        }
        let mut average = vec![0.0; self.layout.len()];
        for block in self.layout.blocks() {
            let kind = Kind::Average { evaluation: 0 };
            let values = self.shard.fetch(block.index, kind).expect("the shard has every block");
            values.values.copy_to(&mut average[block.range.clone()]);
        }
        self.engine.load(&average);
        let mut tally = Tally::default();
        for Minibatch { images, labels, .. } in &self.validation {
            tally.add(self.engine.logits(images.view()).view(), labels);
        }
        for minibatch in &self.compared {
            self.noise.add(&compare_halves(&mut self.engine, minibatch));
        }
        let scores = tally.scores();
        let interval = std::mem::take(&mut self.interval);
        let evaluation = Evaluation {
            images: self.report.images,
            seconds: self.report.seconds,
            top1: scores.top1,
            loss: scores.loss,
            training_loss: interval.loss / interval.steps.max(1) as f64,
            staleness: interval.staleness as f64 / interval.pushes.max(1) as f64,
            noise_scale: self.noise.scale(self.run.batch as f64),
        };
        each(&evaluation);
        self.report.evaluations.push(evaluation);
    }
}

/// Loads the first `images` images of a split, of training images those of epoch 0, and returns them in
/// minibatches.
fn first_minibatches(
    dataset: &Arc<Dataset>,
    config: &LoaderConfig,
    split: Split,
    images: u64,
) -> Result<Vec<Minibatch>, DataAway> {
    let mut loader = dataset::Loader::new(Arc::clone(dataset), config.clone());
    loader.request(dataset::LoaderRange { split, epoch: 0, start: 0, end: images });
    let mut minibatches = Vec::new();
    while let Some(minibatch) = loader.next()? {
        minibatches.push(minibatch);
    }
    Ok(minibatches)
}
