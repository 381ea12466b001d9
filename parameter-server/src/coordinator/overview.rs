//! The overview of a run, for whoever watches it.

use protocol::{MOST_OVERSEEN, Overview, ShardOverview, ShardStatus, WorkerOverview};
use serde::Serialize;
use tokio::time::Instant;

use super::{run::Run, state::State};
use crate::telemetry::Point;

impl State {
    /// Returns the overview of the run at the time `now`, without warnings.
    pub(super) fn overview(&self, now: Instant) -> Overview {
        let (state, detail) = self.describe();
        let run = self.run.as_ref();
        let count = |of: fn(&Run) -> u64| run.map_or(0, of);
        Overview {
            life: self.life.life,
            time: process::time_of_day(),
            state,
            detail,
            recipe: self.configuration.recipe.clone(),
            training_images: count(|run| run.data.images),
            validation_images: count(|run| run.data.validation),
            classes: count(|run| run.data.classes.len() as u64) as u32,
            data_hash: run.map(|run| run.data.hash.clone()).unwrap_or_default(),
            samples: count(|run| run.leases.used()),
            total_samples: count(|run| run.leases.total()),
            epoch: count(|run| run.leases.epoch()),
            epochs: count(Run::epochs),
            latest: run.and_then(|run| run.latest.clone()),
            evaluation: run.and_then(|run| run.evaluations.done().last().cloned()),
            members: self.workers() as u32,
            workers: run.map(|run| workers(run, now)).unwrap_or_default(),
            total_shards: self.total_shards(),
            shards: self.shard_overviews(now),
            leases: count(|run| run.leases.outstanding() as u64) as u32,
            rate_factor: run.map_or(1.0, Run::rate_factor),
            snapshot: self.snapshot.as_ref().map_or(0, |snapshot| snapshot.id),
            snapshot_ordered: self.orders.wants_snapshot(),
            unreadable: count(|run| run.unreadable.len() as u64),
            warnings: Vec::new(),
        }
    }

    fn shard_overviews(&self, now: Instant) -> Vec<ShardOverview> {
        let places = self.processes.places(now).take(MOST_OVERSEEN);
        let overview = |(shard, address, silence): (u32, &str, std::time::Duration)| {
            let status = self.statuses.get(&shard).map(ShardStatus::counters);
            ShardOverview { shard, address: address.into(), silent_seconds: silence.as_secs_f64(), status }
        };
        places.map(overview).collect()
    }
}

/// Most evaluations of the curves.
const MOST_EVALUATIONS: usize = 1024;

/// The curves of a run, for a page that shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curves {
    /// Training lines of this life of the server, the oldest first.
    pub training: Vec<Point>,
    /// The newest evaluations of the averaged parameters, the oldest first: samples used, loss, and top-1 (0 to 1).
    pub evaluations: Vec<(u64, Option<f64>, Option<f64>)>,
}

impl Curves {
    /// Returns the curves of a run.
    pub(super) fn of(run: &Run) -> Curves {
        let done = run.evaluations.done();
        let newest = &done[done.len().saturating_sub(MOST_EVALUATIONS)..];
        let evaluated = newest.iter().map(|evaluation| {
            (evaluation.samples, evaluation.average.get("loss"), evaluation.average.get("top1"))
        });
        Curves { training: run.history.points().to_vec(), evaluations: evaluated.collect() }
    }
}

/// Returns the overviews of the first members, with their shares of the speed of all.
fn workers(run: &Run, now: Instant) -> Vec<WorkerOverview> {
    let leases = run.leases.holders();
    let mut total = 0.0;
    let mut workers: Vec<WorkerOverview> = Vec::new();
    for (incarnation, overview) in run.members.overviews(now) {
        total += overview.images_per_second;
        if workers.len() < MOST_OVERSEEN {
            let leases = leases.get(&incarnation).copied().unwrap_or(0);
            workers.push(WorkerOverview { leases, ..overview });
        }
    }
    if total > 0.0 {
        workers.iter_mut().for_each(|worker| worker.share = worker.images_per_second / total);
    }
    workers
}
