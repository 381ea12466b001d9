//! The work of a replica during one membership: it leases samples, computes, pushes, fetches and evaluates.
//!
//! Every step pushes its gradient and fetches the parameters (n_push = n_fetch = 1 in DistBelief's terms):
//! the blocks of the gradient leave while the backward pass still computes the rest, the reply to a push
//! holds the block's updated values, and the next step starts once all replies are there. A replica therefore
//! never computes with parameters older than its own last push. It asks for the next lease while it trains on
//! the current one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dataset::{LoaderRange, Split};
use protocol::{
    Assignment, ClientError, CoordinatorCalls as _, CoordinatorClient, EvaluationOrder, Kind, Lease,
    LeaseProgress, Member, PushForm, Refusal, ShardCalls as _, StepMetrics, is_here,
};
use settings::{MomentumPlace, RunConfiguration};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::actor::{Actor, Place};
use crate::compute::Compute;
use crate::evaluate::Evaluated;
use crate::exchange::{Exchange, Step};
use crate::halves::{compared_images, compared_in_part};
use crate::leases::Leases;
use crate::link::{Formats, Link, Rates, Stepped};
use crate::outgoing::OutgoingBlock;
use crate::replica::{Built, Joined, ReplicaOptions, asked, dropout_seed};
use crate::report::{Line, Reporter, step_metrics};
use crate::stop::Stop;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::workload::{Batch, Model, Samples, Workload};

/// Time between two lines of training metrics.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Longest pause that is granted to a server which asks for one: the number that it sends may be wrong.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Seconds that it may take to send what was left over of gradients when nothing is left to train on.
const FLUSH: f64 = 2.0;
/// Number of bytes of parameters that a worker fetches to see how fast its link is.
const PROBE: usize = 1 << 20;

/// The state of a replica during one membership.
pub(crate) struct Replica<'a, W: Workload> {
    workload: &'a W,
    place: Place,
    telemetry: Option<Arc<Telemetry>>,
    client: &'a CoordinatorClient,
    reporter: &'a Reporter,
    member: Member,
    configuration: RunConfiguration,
    /// Number of validation images.
    validation: u64,
    store: Store,
    compute: Arc<Actor<Compute<W::Model>>>,
    samples: Actor<W::Samples>,
    /// Number of training images, which is the number of positions of an epoch.
    images: u64,
    leases: &'a mut Leases,
    /// Parameters of the evaluation whose parts the worker does, which the model holds in place of those that it
    /// trains; `None` while it trains.
    evaluated: Option<Evaluated>,
    step: u64,
    /// Form of the newest pushes.
    form: PushForm,
    trained: u64,
    line: Line,
    link: Link,
    /// Time before which the worker does not ask for work.
    ask_after: Instant,
}

impl<'a, W: Workload> Replica<'a, W> {
    /// Starts a membership: builds the model (once for all memberships with the same configuration), connects
    /// to the shards and loads the parameters.
    pub(crate) async fn start(
        workload: &'a W,
        options: &ReplicaOptions,
        joined: &'a Joined,
        reporter: &'a Reporter,
        leases: &'a mut Leases,
        built: &mut Built<W::Model>,
    ) -> Result<Replica<'a, W>, Stop> {
        let Joined { client, reply, images, validation } = joined;
        let configuration = reply.configuration.clone();
        let compute = built.for_run(workload, options.place, &configuration)?;
        let layout = Arc::new(compute.call(|compute| compute.model.layout().clone()).await?);
        let near = reply.shards.iter().all(|address| is_here(address));
        let mut link = Link::new(&configuration.run, layout.len(), near);
        let wire = link.formats().parameters;
        let mut store =
            Store::connect(&reply.shards, reply.member.life, layout, wire, &options.connector).await?;
        store = store.of_worker(reply.member.worker);
        store.adopt(reply.member, options.connector.patience).await?;
        if link.is_free() {
            let (bytes, took) = store.probe(PROBE).await?;
            link.begin(bytes, took);
        }
        let Formats { gradients, parameters } = link.formats();
        let shards = reply.shards.len();
        tracing::info!(shards, %gradients, %parameters, "joined the run {}", reply.member.life.run);
        store.set_wire(parameters);
        let values = store.start().await?;
        let (bytes, took) = store.newest_fetch();
        link.fetched(bytes, took);
        compute
            .call(move |compute| {
                compute.set_wire(gradients);
                compute.begin(&values);
            })
            .await?;
        let samples = Actor::start("samples", options.place, workload.samples(&configuration));
        if gradients.is_of_largest() {
            // The first lease is to say it already.
            reporter.sends_largest(true);
            if let Some(ending) = reporter.send(None).await? {
                return Err(Stop::Ended(ending));
            }
        }
        Ok(Replica {
            workload,
            place: options.place,
            telemetry: options.telemetry.clone(),
            client,
            reporter,
            member: reply.member,
            configuration,
            validation: *validation,
            store,
            compute,
            samples,
            images: *images,
            leases,
            evaluated: None,
            step: 0,
            form: PushForm::Gradient,
            trained: 0,
            line: Line::start(),
            link,
            ask_after: Instant::now(),
        })
    }

    /// Trains and evaluates as the coordinator says, until the membership ends; once the worker is `leaving`, no
    /// minibatch follows the one in hand.
    pub(crate) async fn work(&mut self, leaving: watch::Receiver<bool>) -> Result<Infallible, Stop> {
        let mut assigned = None;
        loop {
            let evaluated = matches!(assigned, Some(Assignment::Evaluate(_)));
            match assigned.take() {
                Some(Assignment::Train(lease)) => self.take(lease).await?,
                Some(Assignment::Evaluate(order)) => self.evaluate(order).await?,
                Some(Assignment::Wait { milliseconds, reason }) => {
                    tracing::debug!("waiting: {reason}");
                    self.ask_after = Instant::now() + Duration::from_millis(milliseconds).min(LONGEST_PAUSE);
                }
                Some(Assignment::Finished(ending)) => return Err(Stop::Ended(ending)),
                Some(Assignment::Leave { reason }) => {
                    self.flush().await?;
                    return Err(Stop::Drained(reason));
                }
                None => {}
            }
            if *leaving.borrow() {
                self.flush().await?;
                return Err(Stop::Leave);
            }
            // There may be another part of the evaluation; whoever trains does not begin between two.
            if self.leases.current().is_none() || evaluated {
                tokio::select! {
                    () = asked(leaving.clone()) => return Err(Stop::Leave),
                    () = tokio::time::sleep_until(self.ask_after) => {}
                }
                assigned = Some(self.client.assign(self.member).await?);
                continue;
            }
            let client = self.client;
            let (member, ask) = (self.member, self.leases.wanted() && Instant::now() >= self.ask_after);
            let ahead = async move {
                if ask { client.assign(member).await.map(Some).map_err(Stop::from) } else { Ok(None) }
            };
            let progress;
            (progress, assigned) = tokio::try_join!(self.train(), ahead)?;
            if self.leases.current().is_none() && !matches!(assigned, Some(Assignment::Train(_))) {
                // The last evaluation follows the report of the last lease.
                self.flush().await?;
            }
            self.reporter.progress(progress);
        }
    }

    /// Accepts a lease and queues its samples.
    ///
    /// # Errors
    /// If its positions do not lie within an epoch of the training images, or if it asks for steps in a run
    /// that keeps its momentum at the shards.
    async fn take(&mut self, lease: Lease) -> Result<(), Stop> {
        let Lease { id, epoch, start, end, form, takes_velocity } = lease;
        let images = self.images;
        if !(start < end && end <= images) {
            return Err(Stop::Failed(anyhow::anyhow!(
                "lease {id} of the coordinator: expected positions within 0..{images}, as many as there are training images \
                 here, found {start}..{end}; start worker and server from one release"
            )));
        }
        if form == PushForm::Step && self.configuration.optimisation.momentum_at == MomentumPlace::Shard {
            return Err(Stop::Failed(anyhow::anyhow!(
                "lease {id} of the coordinator asks for a worker's own momentum, which the run's key optimisation.momentum_at \
                 leaves to the shards; start worker and server from one release"
            )));
        }
        if takes_velocity {
            let velocity = self.store.fetch(Kind::Velocity).await?;
            self.compute.call(move |compute| compute.take_over(velocity)).await?;
            self.form = form;
            tracing::info!("took the shards' velocity over");
        }
        self.leases.add(lease);
        self.samples
            .call(move |samples| samples.request(LoaderRange { split: Split::Train, epoch, start, end }))
            .await?;
        Ok(())
    }

    /// Loads the newest parameters once the worker has no more of an evaluation to do, so that what it pushes next
    /// is no staler than ever.
    async fn end_evaluation(&mut self) -> Result<(), Stop> {
        if self.evaluated.take().is_some() {
            self.load_newest().await?;
            self.line = Line::start();
        }
        Ok(())
    }

    async fn load_newest(&mut self) -> Result<(), Stop> {
        let values = self.store.start().await?;
        let (bytes, took) = self.store.newest_fetch();
        self.link.fetched_again(bytes, took);
        self.compute.call(move |compute| compute.load(&values)).await?;
        Ok(())
    }

    /// Trains on the next minibatch of the current lease; returns the progress in it, which is to be reported.
    async fn train(&mut self) -> Result<LeaseProgress, Stop> {
        self.end_evaluation().await?;
        let start = Instant::now();
        let &Lease { epoch, form, .. } = self.leases.current().expect("called with a lease");
        let batch = self.samples.call(Samples::next).await??;
        let batch = batch.context("take a minibatch of the lease in work").map_err(Stop::Failed)?;
        let skipped = batch.skipped().to_vec();
        skipped.iter().for_each(|skipped| tracing::warn!("skipped: {skipped}"));
        let samples = batch.samples().len() as u64;
        if samples > 0 {
            self.step(batch, epoch, form, start).await?;
        }
        self.trained += samples;
        let progress = self.leases.advance(samples, skipped);
        if self.line.due(LINE_EVERY) {
            let status = self.store.first().status().await?;
            let rate = status.first().map_or(0.0, |status| status.learning_rate);
            self.line.write(self.step, epoch, self.trained, rate, self.leases.len());
        }
        Ok(progress)
    }

    /// Computes one gradient and exchanges it with the shards; `start` is when this worker began to wait for
    /// the samples.
    async fn step(
        &mut self,
        batch: <W::Model as Model>::Batch,
        epoch: u64,
        form: PushForm,
        start: Instant,
    ) -> Result<(), Stop> {
        (self.step, self.form) = (self.step + 1, form);
        let samples = batch.samples().len() as u32;
        let step = Step { member: self.member, step: self.step, samples, form };
        let seeds = self.configuration.network.dropout.then(|| {
            let seed = self.configuration.run.sample_seed();
            batch.samples().iter().map(|&sample| dropout_seed(seed, epoch, sample)).collect::<Vec<_>>()
        });
        let (gradients, completed) = mpsc::unbounded_channel();
        let training =
            self.compute.call(move |compute| compute.train(form, &batch, seeds.as_deref(), &gradients));
        let exchange = exchange(&mut self.store, &self.compute, step, completed);
        let training = async { Ok((training.await.map_err(Stop::from)?, Instant::now())) };
        let ((computed, computed_at), exchange) = tokio::try_join!(training, exchange)?;
        let used = self.link.formats();
        let formats = self.link.stepped(Stepped {
            computed: computed.took,
            exchanged: exchange.took,
            waited: computed_at.elapsed(),
            out: exchange.bytes_out,
            into: exchange.bytes_in,
        });
        if let Some(reason) = &exchange.reason {
            tracing::warn!(step = self.step, refused = exchange.refused, "pushes refused: {reason}");
        }
        let Rates { up, down } = self.link.rates();
        let known = |rate: f64| rate.is_finite().then_some(rate);
        let metrics = StepMetrics {
            link_up: known(up),
            link_down: known(down),
            gradient_wire: Some(used.gradients),
            parameter_wire: Some(used.parameters),
            ..step_metrics(&computed, &exchange, start.elapsed())
        };
        self.reporter.step(&metrics);
        if let Some(telemetry) = &self.telemetry {
            telemetry.step(&metrics, exchange.took);
        }
        self.line.add(&metrics, &exchange);
        if metrics.diverged {
            tracing::error!(
                step = self.step,
                loss = f64::from(computed.losses.total),
                "the loss is not finite, or far too large"
            );
            return match self.reporter.send(None).await? {
                Some(ending) => Err(Stop::Ended(ending)),
                None => Ok(()),
            };
        }
        match formats {
            Some(formats) => self.travel(formats).await,
            None => Ok(()),
        }
    }

    /// Pushes what formats of few bits have left over of the gradients so far, in the mildest format in which the link
    /// carries it in [`FLUSH`] seconds. Called when the worker has nothing more to train on, with whose gradient it would go.
    async fn flush(&mut self) -> Result<(), Stop> {
        if !self.compute.call(|compute| compute.owes()).await? {
            return Ok(());
        }
        self.step += 1;
        let step = Step { member: self.member, step: self.step, samples: 0, form: self.form };
        let wire = self.link.mildest_in(FLUSH);
        let (gradients, completed) = mpsc::unbounded_channel();
        let sending = self.compute.call(move |compute| compute.flush(wire, &gradients));
        let sending = async { Ok(sending.await?) };
        let ((), exchange) =
            tokio::try_join!(sending, exchange(&mut self.store, &self.compute, step, completed))?;
        if let Some(reason) = &exchange.reason {
            tracing::warn!(
                refused = exchange.refused,
                "what was left over of gradients was refused: {reason}"
            );
        }
        tracing::debug!(%wire, bytes = exchange.bytes_out, "sent what was left over of gradients");
        Ok(())
    }

    /// Has gradients and parameters travel in other formats from now on, which fit the link.
    async fn travel(&mut self, Formats { gradients, parameters }: Formats) -> Result<(), Stop> {
        let Rates { up, down } = self.link.rates();
        let megabytes = |rate: f64| format!("{:.1} MB/s", rate / 1e6);
        tracing::info!(
            %gradients,
            %parameters,
            up = megabytes(up),
            down = megabytes(down),
            "other formats fit the link, for steps that compute for {:.2} s",
            self.link.step()
        );
        self.reporter.sends_largest(gradients.is_of_largest());
        self.compute.call(move |compute| compute.set_wire(gradients)).await?;
        if parameters != self.store.wire() {
            self.store.set_wire(parameters);
            self.load_newest().await?;
        }
        Ok(())
    }

    /// Does a part of an evaluation, and reports its sums.
    ///
    /// # Errors
    /// If the part does not lie within the validation images, beside those of fetches and of the data.
    async fn evaluate(&mut self, order: EvaluationOrder) -> Result<(), Stop> {
        let EvaluationOrder { id, samples, last, start, end, .. } = order;
        let validation = self.validation;
        if !(start <= end && end <= validation) {
            return Err(Stop::Failed(anyhow::anyhow!(
                "evaluation {id} of the coordinator: expected images within 0..{validation}, as many as there are to validate \
                 with here, found {start}..{end}; start worker and server from one release"
            )));
        }
        tracing::info!(evaluation = id, samples, start, end, last, "evaluating");
        let evaluated = match self.evaluated.take_if(|evaluated| evaluated.is_of(&order)) {
            Some(evaluated) => evaluated,
            None => match Evaluated::fetch(&order, &mut self.store).await {
                Ok(evaluated) => {
                    let (bytes, took) = self.store.newest_fetch();
                    self.link.fetched(bytes, took);
                    evaluated
                }
                Err(Stop::Failed(error)) if is_given_up(&error) => {
                    tracing::warn!("evaluation {id} was given up meanwhile: {error:#}");
                    return Ok(());
                }
                Err(stop) => return Err(stop),
            },
        };
        let evaluated = self.evaluated.insert(evaluated);
        let queue = Actor::start("validation", self.place, self.workload.samples(&self.configuration));
        let RunConfiguration { run, optimisation, .. } = &self.configuration;
        let trained = self.configuration.evaluate_every(self.images);
        let compared = compared_images(trained, self.images, run.batch, optimisation.average_decay);
        let compared = compared_in_part(compared, run.batch, start..end, validation);
        let (part, norms) = evaluated.part(&order, compared, &self.compute, &queue).await?;
        self.reporter.evaluation(part, &norms);
        match self.reporter.send(None).await? {
            Some(ending) => Err(Stop::Ended(ending)),
            None => Ok(()),
        }
    }
}

/// Pushes the blocks of a gradient as they come from `gradients`, and loads the updated tensors.
fn exchange<M: Model>(
    store: &mut Store,
    compute: &Actor<Compute<M>>,
    step: Step,
    gradients: mpsc::UnboundedReceiver<OutgoingBlock>,
) -> impl Future<Output = Result<Exchange, Stop>> {
    store.exchange(step, gradients, |tensor, values| {
        // Queued behind the backward pass that is under way; the next step comes behind it.
        drop(compute.call(move |compute| compute.load_tensor(tensor, &values)));
    })
}

/// Returns whether a fetch failed since its evaluation is no longer ordered: a shard has lost the average.
fn is_given_up(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<ClientError>().and_then(ClientError::refusal);
    matches!(refusal, Some(Refusal::Invalid(_)))
}
