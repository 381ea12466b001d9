//! The loop of a replica: it joins the run and takes part in one membership after another, until the run ends or
//! the worker is asked to leave.

use std::sync::Arc;
use std::time::Duration;

use process::Exit;
use protocol::{
    Connector, CoordinatorCalls as _, CoordinatorClient, Ending, JoinReply, JoinRequest, PROTOCOL_VERSION,
    Wire, until_ready,
};
use settings::RunConfiguration;
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::actor::{Actor, Place};
use crate::compute::Compute;
use crate::leases::Leases;
use crate::membership::Replica;
use crate::report::Reporter;
use crate::stop::Stop;
use crate::telemetry::Telemetry;
use crate::workload::{Model, Workload};

/// Longest time that the current minibatch may take once the worker was asked to leave; then it is abandoned.
const GRACE: Duration = Duration::from_millis(2500);
/// Longest time that the last report may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause before a fenced worker rejoins.
const REJOIN_PAUSE: Duration = Duration::from_millis(500);

/// Options of [`run`], which trains a worker's replica (its copy of the network) in a run.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// Address of the coordinator, the server process that admits workers to the run and gives them work:
    /// "host:port".
    pub coordinator: String,
    /// Name of this worker in the server's log.
    pub name: String,
    /// Settings of the connections to the server's processes; the `give_up_after` of their patience also
    /// limits the wait for a server that is not ready, for example because shards are missing.
    pub connector: Connector,
    /// The threads on which computing and the loading of samples run: threads of their own, or that of the
    /// caller.
    pub place: Place,
    /// Numbers that the worker keeps for who watches it; `None` if nobody does.
    pub telemetry: Option<Arc<Telemetry>>,
}

/// Runs a replica until the run ends or `shutdown` resolves. On shutdown it finishes the current minibatch
/// and returns the rest of its leases, all within 5 s.
///
/// # Errors
/// If the server refuses the worker for good or cannot be reached, if the run failed, if the data stay
/// unavailable, or if the model cannot be built or written.
pub async fn run<W: Workload>(
    workload: &W,
    options: &ReplicaOptions,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    let (leave, leaving) = watch::channel(false);
    let life = live(workload, options, leaving);
    tokio::pin!(life, shutdown);
    let stop = tokio::select! {
        stop = &mut life => stop,
        () = &mut shutdown => {
            leave.send_replace(true);
            life.await
        }
    };
    match stop {
        Stop::Failed(error) => Err(error),
        Stop::Away(away) => Err(away.into()),
        Stop::Leave | Stop::Ended(Ending::Completed) | Stop::Rejoin(_) => Ok(Exit::Done),
        Stop::Drained(reason) => {
            tracing::info!("the run goes on without this worker: {reason}");
            Ok(Exit::Done)
        }
        Stop::Ended(Ending::Failed(text)) => Err(anyhow::anyhow!("the run failed: {text}")),
        Stop::Ended(Ending::Diverged(text)) => {
            tracing::error!("the run diverged: {text}");
            Ok(Exit::Diverged)
        }
        Stop::Ended(Ending::Interrupted) => {
            tracing::warn!("the server is being stopped; the run can be resumed");
            Ok(Exit::Interrupted)
        }
    }
}

/// Takes part in one membership after another until one ends for a reason other than [`Stop::Rejoin`].
async fn live<W: Workload>(workload: &W, options: &ReplicaOptions, leaving: watch::Receiver<bool>) -> Stop {
    let mut built = Built::default();
    loop {
        let joined = tokio::select! {
            biased;
            () = asked(leaving.clone()) => return Stop::Leave,
            joined = join(workload, options, &mut built) => joined,
        };
        let stop = match joined {
            Ok(joined) => {
                // Every line of this membership has the number by which the server's lines name it.
                let span = tracing::info_span!("worker", number = joined.reply.member.worker);
                session(workload, options, joined, &mut built, leaving.clone()).instrument(span).await
            }
            Err(stop) => stop,
        };
        let Stop::Rejoin(reason) = stop else { return stop };
        tracing::warn!("joining anew: {reason}");
        tokio::time::sleep(REJOIN_PAUSE).await;
    }
}

/// The model that was built for the last membership, with the configuration that it was built by.
pub(crate) struct Built<M: Model>(Option<(RunConfiguration, Arc<Actor<Compute<M>>>)>);

impl<M: Model> Default for Built<M> {
    fn default() -> Built<M> {
        Built(None)
    }
}

impl<M: Model> Built<M> {
    /// Returns the model of a run with this configuration: the one at hand, if it was built for the same
    /// configuration, or else a new one.
    pub(crate) fn for_run<W: Workload<Model = M>>(
        &mut self,
        workload: &W,
        place: Place,
        configuration: &RunConfiguration,
    ) -> Result<Arc<Actor<Compute<M>>>, Stop> {
        match &self.0 {
            Some((known, compute)) if known == configuration => Ok(compute.clone()),
            earlier => {
                if earlier.is_some() {
                    tracing::info!(
                        "the run has other settings than the one before: the network is built anew"
                    );
                }
                // The memory of the network before is free before that of the next is taken.
                self.0 = None;
                let model = workload.model(configuration).map_err(Stop::Failed)?;
                let wire = configuration.run.gradient_wire().unwrap_or(Wire::F32);
                let compute = Compute::new(model, &configuration.optimisation, wire);
                let compute = Arc::new(Actor::start("compute", place, compute));
                self.0 = Some((configuration.clone(), compute.clone()));
                Ok(compute)
            }
        }
    }
}

/// The state of a worker that is a member.
pub(crate) struct Joined {
    pub(crate) client: CoordinatorClient,
    pub(crate) reply: JoinReply,
    /// Number of training images, which is the number of positions of an epoch.
    pub(crate) images: u64,
    /// Number of validation images.
    pub(crate) validation: u64,
}

async fn join<W: Workload>(
    workload: &W,
    options: &ReplicaOptions,
    built: &mut Built<W::Model>,
) -> Result<Joined, Stop> {
    let client = CoordinatorClient::connect(&options.coordinator, options.connector.clone()).await?;
    // The run says by which rules its data are read, and whether it has begun.
    let status = client.status().await?;
    let data = workload.data(&client, &status).await.map_err(Stop::Failed)?;
    let (images, validation) = (data.images, data.validation);
    // A worker that cannot compute the run's network, as for its memory, fails before it is a member. Data with
    // other classes are for the server to refuse.
    let classes = data.classes.len();
    let mut configuration = status.configuration;
    if *configuration.network.classes.get_or_insert(classes) == classes {
        built.for_run(workload, options.place, &configuration)?;
    }
    let request = JoinRequest { protocol: PROTOCOL_VERSION, name: options.name.clone(), data };
    let reply =
        until_ready(options.connector.patience.give_up_after, || client.join(request.clone())).await?;
    Ok(Joined { client, reply, images, validation })
}

/// Resolves once the worker was asked to leave.
pub(crate) async fn asked(mut leaving: watch::Receiver<bool>) {
    if leaving.wait_for(|&asked| asked).await.is_err() {
        std::future::pending().await
    }
}

/// Takes part in one membership from start to end.
async fn session<W: Workload>(
    workload: &W,
    options: &ReplicaOptions,
    joined: Joined,
    built: &mut Built<W::Model>,
    leaving: watch::Receiver<bool>,
) -> Stop {
    let reporter = Reporter::new(joined.client.clone(), joined.reply.member);
    let mut leases = Leases::default();
    let stop = {
        // Whether the minibatch in hand is the last one.
        let (last, is_last) = watch::channel(false);
        let work = async {
            let mut replica =
                Replica::start(workload, options, &joined, &reporter, &mut leases, built).await?;
            replica.work(is_last.clone()).await
        };
        let beat = async {
            loop {
                match reporter.beat().await {
                    Stop::Ended(Ending::Interrupted) => last.send_replace(true),
                    stop => return stop,
                };
            }
        };
        let given_up = async {
            tokio::select! {
                () = asked(leaving.clone()) => drop(last.send_replace(true)),
                () = asked(is_last.clone()) => {}
            }
            tokio::time::sleep(GRACE).await;
            tracing::warn!(
                "the minibatch in hand, or the sending of what was left over of gradients, takes too long: given up"
            );
        };
        tokio::select! {
            biased;
            stop = beat => stop,
            stop = work => match stop {
                Ok(never) => match never {},
                Err(stop) => stop,
            },
            () = given_up => Stop::Leave,
        }
    };
    let stop = match stop {
        // Nobody asked this worker but the server.
        Stop::Leave if !*leaving.borrow() => Stop::Ended(Ending::Interrupted),
        stop => stop,
    };
    if let Some(reason) = stop.farewell() {
        leases.give_back().into_iter().for_each(|progress| reporter.progress(progress));
        match tokio::time::timeout(FAREWELL, reporter.send(Some(reason))).await {
            Ok(Ok(_)) => tracing::info!("left the run; the rest of its samples went back"),
            Ok(Err(error)) => tracing::warn!("left without a word, the leases will expire: {error}"),
            Err(_) => tracing::warn!("left without a word, the leases will expire: no answer"),
        }
    }
    stop
}

/// Returns the seed of the dropout masks of the training image with index `sample` in the epoch with number
/// `epoch`, in a run with the sample seed `seed`. It depends on these arguments only, so that the masks are
/// the same whichever worker trains on the image.
pub fn dropout_seed(seed: u64, epoch: u64, sample: u32) -> u64 {
    use rand::Rng;
    settings::random::stream(seed, "dropout", &[epoch, u64::from(sample)]).next_u64()
}
