//! The numbers that a server gives out for Prometheus: one list for the run, one for its workers, one for its
//! shards, each with name, unit and meaning. Those of the training line stand in [`NUMBERS`].

use protocol::{Overview, ShardStatus, StalenessCounts, WorkerOverview};
use web::{Exposition, Kind};

use super::{NUMBERS, Number, Value};

/// Beginning of the names.
const PREFIX: &str = "downpour_";

/// Description of a number of a run, of a worker or of a shard.
pub struct Series<Of> {
    /// Name of the number.
    pub name: &'static str,
    /// Unit of the number, such as "images/s"; "1" if it has none.
    pub unit: &'static str,
    /// Meaning of the number, for people.
    pub help: &'static str,
    /// Kind of the number.
    pub kind: Kind,
    /// Function that reads the number; `None` while it is not known.
    pub of: fn(&Of) -> Option<f64>,
}

use Kind::{Counter, Gauge};

const fn series<Of>(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    help: &'static str,
    of: fn(&Of) -> Option<f64>,
) -> Series<Of> {
    Series { name, unit, help, kind, of }
}

/// Numbers of a run beside those of its training line.
#[rustfmt::skip]
pub const RUN: [Series<Overview>; 12] = [
    series("downpour_members", Gauge, "workers", "that are members now", |run| Some(run.members.into())),
    series("downpour_leases_out", Gauge, "leases", "that workers hold now", |run| Some(run.leases.into())),
    series("downpour_used_samples", Gauge, "images", "that the run has trained on", |run| Some(run.samples as f64)),
    series("downpour_samples_of_run", Gauge, "images", "that the whole run trains on", |run| Some(run.total_samples as f64)),
    series("downpour_unreadable_images", Gauge, "images", "that cannot be read", |run| Some(run.unreadable as f64)),
    series("downpour_rate_factor", Gauge, "1", "what an operator multiplies the learning rate with", |run| Some(run.rate_factor)),
    series("downpour_snapshot", Gauge, "1", "number of the newest complete snapshot", |run| Some(run.snapshot as f64)),
    series("downpour_validation_top1", Gauge, "1", "share of the newest evaluation, of the averaged parameters", |run| score(run, "top1")),
    series("downpour_validation_top5", Gauge, "1", "share of the newest evaluation, of the averaged parameters", |run| score(run, "top5")),
    series("downpour_validation_loss", Gauge, "nats", "of the newest evaluation, of the averaged parameters", |run| score(run, "loss")),
    series("downpour_validation_samples", Gauge, "images", "that the run had trained on at the newest evaluation", |run| run.evaluation.as_ref().map(|evaluation| evaluation.samples as f64)),
    series("downpour_training_top1", Gauge, "1", "share of the newest training line", |run| run.latest.as_ref()?.scores.get("top1")),
];

/// Numbers of a worker, with its number and name as labels. Rates and means are of the last half minute.
#[rustfmt::skip]
pub const WORKER: [Series<WorkerOverview>; 14] = [
    series("downpour_worker_images_total", Counter, "images", "that the worker has trained on since it joined", |worker| Some(worker.images as f64)),
    series("downpour_worker_minibatches_total", Counter, "minibatches", "of the worker since it joined", |worker| Some(worker.steps as f64)),
    series("downpour_worker_sent_bytes_total", Counter, "bytes", "of gradients since it joined, as they travelled", |worker| Some(worker.bytes_out as f64)),
    series("downpour_worker_received_bytes_total", Counter, "bytes", "of parameters since it joined, as they travelled", |worker| Some(worker.bytes_in as f64)),
    series("downpour_worker_images_per_second", Gauge, "images/s", "trained by the worker", |worker| Some(worker.images_per_second)),
    series("downpour_worker_share", Gauge, "1", "of all workers' images a second", |worker| Some(worker.share)),
    series("downpour_worker_staleness_mean", Gauge, "updates", "mean between a fetch and its push", |worker| Some(worker.staleness_mean)),
    series("downpour_worker_step_seconds_mean", Gauge, "seconds", "of a minibatch", |worker| Some(worker.step_seconds)),
    series("downpour_worker_waiting", Gauge, "1", "share of that time in which the worker waits", |worker| Some(worker.waiting)),
    series("downpour_worker_link_up", Gauge, "bytes/s", "that the worker's link carries to the server, at least", |worker| worker.link_up),
    series("downpour_worker_link_down", Gauge, "bytes/s", "that the worker's link carries from the server, at least", |worker| worker.link_down),
    series("downpour_worker_leases", Gauge, "leases", "that the worker holds", |worker| Some(worker.leases.into())),
    series("downpour_worker_silent_seconds", Gauge, "seconds", "since the worker's last call", |worker| Some(worker.silent_seconds)),
    series("downpour_worker_drained", Gauge, "1", "whether an operator wants the worker to leave", |worker| Some(f64::from(u8::from(worker.drained)))),
];

/// Numbers of a shard, with its number as label; counters since its process started.
#[rustfmt::skip]
pub const SHARD: [Series<ShardStatus>; 9] = [
    series("downpour_shard_updates_total", Counter, "pushes", "applied, one for each block", |shard| Some(shard.updates as f64)),
    series("downpour_shard_repeated_total", Counter, "pushes", "seen before and not applied again", |shard| Some(shard.repeated as f64)),
    series("downpour_shard_refused_total", Counter, "pushes", "refused as unusable", |shard| Some(shard.refused as f64)),
    series("downpour_shard_limited_total", Counter, "pushes", "scaled down", |shard| Some(shard.limited as f64)),
    series("downpour_shard_received_bytes_total", Counter, "bytes", "of gradients, as they travelled", |shard| Some(shard.bytes_in as f64)),
    series("downpour_shard_sent_bytes_total", Counter, "bytes", "of parameters, as they travelled", |shard| Some(shard.bytes_out as f64)),
    series("downpour_shard_blocks", Gauge, "blocks", "that the shard owns", |shard| Some(shard.blocks.into())),
    series("downpour_shard_samples", Gauge, "images", "behind the block that has most", |shard| Some(shard.samples as f64)),
    series("downpour_shard_learning_rate", Gauge, "1", "of the newest update", |shard| Some(shard.learning_rate)),
];

/// Name, unit and meaning of the histogram of a shard's staleness.
pub const STALENESS: [&str; 3] =
    ["downpour_shard_staleness", "updates", "of a block between a fetch and its push, by shard"];
/// Name, unit and meaning of the state of a run, a label of which names the state.
pub const STATE: [&str; 3] = ["downpour_state", "1", "1 for the state that the run is in"];
/// Name, unit and meaning of the silence of a server process, by shard.
pub const SILENCE: [&str; 3] =
    ["downpour_shard_silent_seconds", "seconds", "since the shard's process has registered last"];

/// Upper bounds of the buckets of staleness, below the last of which each staleness has a count of its own.
const BOUNDS: [u64; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 127];

/// Returns the numbers of the training line that are given out: those that shards count are theirs.
pub fn of_lines() -> impl Iterator<Item = &'static Number> {
    NUMBERS.iter().filter(|number| !["bytes_in", "bytes_out", "refused", "limited"].contains(&number.name))
}

/// Returns the metrics of a run, its workers and its shards, as the server's first process gives them out.
pub fn of_run(overview: &Overview) -> String {
    let mut text = Exposition::default();
    begin(&mut text, STATE, Gauge);
    text.sample(STATE[0], &[("state", &overview.state.to_string())], 1.0);
    for number in of_lines() {
        let Some(line) = &overview.latest else { break };
        let name = format!("{PREFIX}{}", number.name);
        text.family(&name, Gauge, &help(number.help, number.unit));
        match (number.of)(line) {
            Value::Count(count) => text.sample(&name, &[], count as f64),
            Value::Real(value) => text.sample(&name, &[], value),
            Value::Known(value) => value.into_iter().for_each(|value| text.sample(&name, &[], value)),
            Value::Reals(values) => {
                for (head, value) in (1..).zip(values) {
                    text.sample(&name, &[("head", &head.to_string())], *value);
                }
            }
        }
    }
    write(&mut text, &RUN, &[(Vec::new(), overview)]);
    let workers = overview
        .workers
        .iter()
        .map(|worker| (vec![("worker", worker.worker.to_string()), ("name", worker.name.clone())], worker));
    write(&mut text, &WORKER, &workers.collect::<Vec<_>>());
    begin(&mut text, SILENCE, Gauge);
    for shard in &overview.shards {
        text.sample(SILENCE[0], &[("shard", &shard.shard.to_string())], shard.silent_seconds);
    }
    shards(&mut text, overview.shards.iter().filter_map(|shard| shard.status.as_ref()));
    text.to_string()
}

/// Returns the metrics of the shards of one process.
pub fn of_shards(statuses: &[ShardStatus]) -> String {
    let mut text = Exposition::default();
    shards(&mut text, statuses.iter());
    text.to_string()
}

fn shards<'a>(text: &mut Exposition, statuses: impl Iterator<Item = &'a ShardStatus>) {
    let statuses: Vec<_> =
        statuses.map(|status| (vec![("shard", status.shard.to_string())], status)).collect();
    write(text, &SHARD, &statuses);
    begin(text, STALENESS, Kind::Histogram);
    for (labels, status) in &statuses {
        let counts: &StalenessCounts = &status.staleness_counts;
        let bounds = BOUNDS.map(|bound| (bound as f64, counts.up_to(bound)));
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        text.counts(STALENESS[0], &labels, bounds, status.updates, status.staleness_sum as f64);
    }
}

/// Writes numbers of `all`, each with its labels.
fn write<Of>(text: &mut Exposition, list: &[Series<Of>], all: &[(Vec<(&str, String)>, &Of)]) {
    for Series { name, unit, help, kind, of } in list {
        text.family(name, *kind, &self::help(help, unit));
        for (labels, each) in all {
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            of(each).into_iter().for_each(|value| text.sample(name, &labels, value));
        }
    }
}

fn begin(text: &mut Exposition, [name, unit, meaning]: [&str; 3], kind: Kind) {
    text.family(name, kind, &help(meaning, unit));
}

fn help(meaning: &str, unit: &str) -> String {
    match unit {
        "1" => meaning.into(),
        unit => format!("{unit}: {meaning}"),
    }
}

fn score(overview: &Overview, name: &str) -> Option<f64> {
    overview.evaluation.as_ref()?.average.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Evaluation, Life, RunState, Scores, ShardOverview, TrainingLine};

    /// The overview of a run with a worker and a shard, of which everything is known.
    fn overview() -> Overview {
        let mut staleness_counts = StalenessCounts::default();
        [0, 0, 1, 5, 200].into_iter().for_each(|staleness| staleness_counts.record(staleness));
        let status = ShardStatus {
            shard: 3,
            updates: 5,
            staleness_sum: 206,
            staleness_counts,
            ..ShardStatus::default()
        };
        Overview {
            life: Life::default(),
            time: 0.0,
            state: RunState::Training,
            detail: String::new(),
            recipe: "quick".into(),
            training_images: 1,
            validation_images: 1,
            classes: 2,
            data_hash: String::new(),
            samples: 64,
            total_samples: 128,
            epoch: 0,
            epochs: 1,
            latest: Some(TrainingLine {
                loss: f64::NAN,
                auxiliary_losses: vec![0.5, 0.25],
                scores: Scores::new([("top1", 0.5)]),
                ..TrainingLine::default()
            }),
            evaluation: Some(Evaluation {
                id: 1,
                samples: 32,
                images: 1,
                unreadable: 0,
                average: Scores::new([("top1", 0.75), ("top5", 1.0), ("loss", 0.5)]),
                last_iterate: None,
            }),
            members: 1,
            workers: vec![WorkerOverview { worker: 7, name: "a\"b".into(), ..WorkerOverview::default() }],
            total_shards: 1,
            shards: vec![ShardOverview { shard: 3, status: Some(status), ..ShardOverview::default() }],
            leases: 2,
            rate_factor: 0.5,
            snapshot: 4,
            snapshot_ordered: false,
            unreadable: 0,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn every_number_has_its_help_its_labels_and_its_value() {
        let text = of_run(&overview());
        for line in [
            "# HELP downpour_images_per_second images/s: trained by all workers, without pauses",
            "# TYPE downpour_images_per_second gauge",
            "downpour_state{state=\"training\"} 1",
            "downpour_loss NaN",
            "downpour_auxiliary_losses{head=\"2\"} 0.25",
            "downpour_rate_factor 0.5",
            "downpour_validation_top1 0.75",
            "downpour_training_top1 0.5",
            "# TYPE downpour_worker_images_total counter",
            "downpour_worker_images_total{worker=\"7\",name=\"a\\\"b\"} 0",
            "downpour_shard_updates_total{shard=\"3\"} 5",
            "downpour_shard_staleness_bucket{shard=\"3\",le=\"0\"} 2",
            "downpour_shard_staleness_bucket{shard=\"3\",le=\"4\"} 3",
            "downpour_shard_staleness_bucket{shard=\"3\",le=\"127\"} 4",
            "downpour_shard_staleness_bucket{shard=\"3\",le=\"+Inf\"} 5",
            "downpour_shard_staleness_sum{shard=\"3\"} 206",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing from:\n{text}");
        }
        assert!(!text.contains("downpour_noise_scale 0"), "what is not known has no value");
        let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let mut once = families.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), families.len(), "each metric is given out once");
        for family in families {
            let (name, kind) = family.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{family}");
        }
    }

    #[test]
    fn the_page_on_watching_lists_every_number() {
        let page = include_str!("../../../deploy/guide/watch.md");
        let row = |name: &str, unit: &str, help: &str| {
            let row = format!("| `{name}` | {unit} | {help} |");
            assert!(page.lines().any(|line| line == row), "watch.md lacks the row\n{row}");
        };
        RUN.iter().for_each(|series| row(series.name, series.unit, series.help));
        WORKER.iter().for_each(|series| row(series.name, series.unit, series.help));
        SHARD.iter().for_each(|series| row(series.name, series.unit, series.help));
        [STALENESS, STATE, SILENCE].iter().for_each(|[name, unit, help]| row(name, unit, help));
    }
}
