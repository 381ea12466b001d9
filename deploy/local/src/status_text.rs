//! The text of a run's status for people: its state and newest numbers, then tables of workers, shards and warnings.

use std::fmt::Write;

use indicatif::DecimalBytes;
use limits::Count;
use protocol::{Overview, RunState, ShardOverview, WorkerOverview};

use crate::result::duration;

/// Most rows of each table; `--json` has all that the server lists.
const MOST_ROWS: usize = 50;

/// Returns the text.
pub fn text(overview: &Overview) -> String {
    let mut lines = head(overview);
    if overview.members > 0 {
        lines.push(String::new());
        lines.extend(workers(overview));
    }
    if !overview.shards.is_empty() {
        lines.push(String::new());
        lines.extend(shards(overview));
    }
    if !overview.warnings.is_empty() {
        lines.push(String::new());
        lines.push("newest warnings".into());
        lines.extend(overview.warnings.iter().rev().take(MOST_ROWS).map(|warning| {
            let ago = duration(overview.time - warning.time);
            format!("  {ago:>12} ago  {}", printable(&warning.text))
        }));
    }
    lines.join("\n") + "\n"
}

/// Returns the line that says how far the run is.
pub fn how_far(overview: &Overview) -> String {
    let done = overview.samples as f64 / overview.total_samples.max(1) as f64;
    let mut state = overview.state.to_string();
    if !overview.detail.is_empty() {
        let _ = write!(state, " ({})", printable(&overview.detail));
    }
    let mut first = vec![state];
    if overview.total_samples > 0 {
        // Rounded down: 100 % is the end.
        first.push(format!("{:.1} %", (done * 1000.0).floor() / 10.0));
        first.push(format!("epoch {} of {}", overview.epoch + 1, overview.epochs));
        first.push(format!("{} of {} samples", Count(overview.samples), Count(overview.total_samples)));
    }
    let latest = overview.latest.as_ref();
    let left = latest.and_then(|line| line.seconds_left).filter(|_| overview.state == RunState::Training);
    first.extend(left.map(|seconds| format!("{} left", duration(seconds))));
    first.join(", ")
}

/// Returns the lines about the run as a whole.
fn head(overview: &Overview) -> Vec<String> {
    let latest = overview.latest.as_ref();
    let mut lines = vec![how_far(overview)];
    let data = match overview.training_images {
        0 => "no data yet".to_string(),
        images => format!(
            "{} classes, {} training and {} validation images",
            Count(overview.classes.into()),
            Count(images),
            Count(overview.validation_images)
        ),
    };
    lines.push(format!("recipe {}, {data}; run {}", overview.recipe, overview.life.run));
    if let Some(line) = latest {
        let mut parts = vec![format!("loss {:.3}", line.loss)];
        parts.extend(line.scores.get("top1").map(|share| format!("top-1 {}", percent(share))));
        parts.push(format!("{:.1} images/s", line.images_per_second));
        parts.push(format!("staleness {:.1}, most {}", line.staleness_mean, line.staleness_max));
        parts.push(format!("rate {:.3e}", line.learning_rate));
        parts.extend(line.useful_workers.map(|workers| format!("useful workers {workers:.1}")));
        lines.push(parts.join(", "));
    }
    if let Some(evaluation) = &overview.evaluation {
        let scores = &evaluation.average;
        let mut parts = vec![format!("validated after {} samples", Count(evaluation.samples))];
        parts.extend(scores.get("top1").map(|share| format!("top-1 {}", percent(share))));
        parts.extend(scores.get("top5").map(|share| format!("top-5 {}", percent(share))));
        parts.extend(scores.get("loss").map(|loss| format!("loss {loss:.4}")));
        lines.push(parts.join(", "));
    }
    let total = |of: fn(&protocol::ShardStatus) -> u64| -> u64 {
        overview.shards.iter().filter_map(|shard| shard.status.as_ref()).map(of).sum()
    };
    let mut parts = vec![format!(
        "{} of gradients in, {} of parameters out",
        DecimalBytes(total(|status| status.bytes_in)),
        DecimalBytes(total(|status| status.bytes_out))
    )];
    parts.push(format!("{} leases", overview.leases));
    parts.push(match overview.snapshot {
        0 => "no snapshot yet".into(),
        id => format!("newest snapshot {id}"),
    });
    if overview.rate_factor != 1.0 {
        parts.push(format!("learning rate {} times the schedule's", overview.rate_factor));
    }
    if overview.unreadable > 0 {
        parts.push(format!("{} images cannot be read", Count(overview.unreadable)));
    }
    lines.push(parts.join(", "));
    lines
}

fn workers(overview: &Overview) -> Vec<String> {
    let heads = [
        "worker",
        "name",
        "images/s",
        "share",
        "staleness",
        "step",
        "waiting",
        "link up, down",
        "gradients",
        "parameters",
        "leases",
        "seen",
        "",
    ];
    let row = |worker: &WorkerOverview| {
        let wire = |wire: Option<protocol::Wire>| wire.map_or("-".into(), |wire| wire.to_string());
        [
            worker.worker.to_string(),
            printable(&worker.name),
            format!("{:.1}", worker.images_per_second),
            percent(worker.share),
            format!("{:.1}", worker.staleness_mean),
            format!("{:.2} s", worker.step_seconds),
            percent(worker.waiting),
            link(worker),
            wire(worker.gradient_wire),
            wire(worker.parameter_wire),
            worker.leases.to_string(),
            seen(worker.silent_seconds),
            if worker.drained { "leaves".into() } else { String::new() },
        ]
    };
    let rows = overview.workers.iter().take(MOST_ROWS).map(row).collect();
    cut(table(heads, rows), overview.members as usize, overview.workers.len().min(MOST_ROWS), "workers")
}

/// Returns what a worker's link carries, to the server and from it.
fn link(worker: &WorkerOverview) -> String {
    let megabytes = |rate: f64| format!("{:.*}", if rate < 1e7 { 2 } else { 0 }, rate / 1e6);
    match (worker.link_up, worker.link_down) {
        (Some(up), Some(down)) => format!("{}, {} MB/s", megabytes(up), megabytes(down)),
        _ => "-".into(),
    }
}

fn shards(overview: &Overview) -> Vec<String> {
    let heads = [
        "shard",
        "address",
        "blocks",
        "updates",
        "staleness",
        "limited",
        "refused",
        "bytes in",
        "bytes out",
        "seen",
    ];
    let row = |shard: &ShardOverview| {
        let status = shard.status.clone().unwrap_or_default();
        [
            shard.shard.to_string(),
            printable(&shard.address),
            status.blocks.to_string(),
            Count(status.updates).to_string(),
            format!("{:.1}", status.staleness_sum as f64 / status.updates.max(1) as f64),
            Count(status.limited).to_string(),
            Count(status.refused).to_string(),
            DecimalBytes(status.bytes_in).to_string(),
            DecimalBytes(status.bytes_out).to_string(),
            seen(shard.silent_seconds),
        ]
    };
    let rows = overview.shards.iter().take(MOST_ROWS).map(row).collect();
    cut(table(heads, rows), overview.total_shards as usize, overview.shards.len().min(MOST_ROWS), "shards")
}

/// Adds a line to a table that has `shown` rows of `all`.
fn cut(mut lines: Vec<String>, all: usize, shown: usize, what: &str) -> Vec<String> {
    if all > shown {
        lines.push(format!("and {} more {what}", all - shown));
    }
    lines
}

/// Returns a table, whose second column is text and whose others are numbers.
fn table<const COLUMNS: usize>(heads: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> Vec<String> {
    let all: Vec<[String; COLUMNS]> = std::iter::once(heads.map(String::from)).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    all.iter().map(line).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn seen(silent_seconds: f64) -> String {
    format!("{silent_seconds:.0} s ago")
}

/// Returns a text that came from elsewhere without what a terminal would take for an order.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Evaluation, Life, RunId, Scores, ShardStatus, TrainingLine, Warning, Wire};

    fn overview() -> Overview {
        let worker = |worker: u32| WorkerOverview {
            worker,
            name: format!("worker-{worker}"),
            images_per_second: 945.25,
            share: 0.5,
            staleness_mean: 1.0,
            step_seconds: 0.034,
            waiting: 0.04,
            gradient_wire: Some(Wire::Bf16),
            link_up: (worker == 0).then_some(2_512_345.0),
            link_down: (worker == 0).then_some(12_612_345.0),
            leases: 2,
            silent_seconds: 0.4,
            ..WorkerOverview::default()
        };
        let status = ShardStatus {
            blocks: 4,
            updates: 12_345,
            staleness_sum: 12_345,
            bytes_in: 12_300_000,
            bytes_out: 40_100_000,
            ..ShardStatus::default()
        };
        Overview {
            life: Life { run: RunId(7), ..Life::default() },
            time: 1000.0,
            state: RunState::Training,
            detail: String::new(),
            recipe: "quick".into(),
            training_images: 8000,
            validation_images: 1000,
            classes: 10,
            data_hash: "5eed".into(),
            samples: 12_800,
            total_samples: 160_000,
            epoch: 1,
            epochs: 20,
            latest: Some(TrainingLine {
                loss: 1.2345,
                seconds_left: Some(7630.0),
                scores: Scores::new([("top1", 0.551)]),
                images_per_second: 1890.4,
                learning_rate: 0.0182,
                staleness_mean: 1.02,
                staleness_max: 4,
                ..TrainingLine::default()
            }),
            evaluation: Some(Evaluation {
                id: 1,
                samples: 10_000,
                images: 1000,
                unreadable: 0,
                average: Scores::new([("top1", 0.875), ("loss", 0.4)]),
                last_iterate: None,
            }),
            members: 2,
            workers: vec![worker(0), WorkerOverview { drained: true, ..worker(1) }],
            total_shards: 1,
            shards: vec![ShardOverview {
                shard: 0,
                address: "127.0.0.1:7070".into(),
                silent_seconds: 0.0,
                status: Some(status),
            }],
            leases: 4,
            rate_factor: 0.5,
            snapshot: 12,
            snapshot_ordered: false,
            unreadable: 0,
            warnings: vec![Warning { time: 815.0, text: "worker 3 was\x1b[2Jlost".into() }],
        }
    }

    #[test]
    fn the_text_tells_all_and_a_terminal_is_not_given_orders() {
        let expected = "\
training, 8.0 %, epoch 2 of 20, 12,800 of 160,000 samples, 2 h 07 min left
recipe quick, 10 classes, 8,000 training and 1,000 validation images; run 00000000000000000000000000000007
loss 1.234, top-1 55.1 %, 1890.4 images/s, staleness 1.0, most 4, rate 1.820e-2
validated after 10,000 samples, top-1 87.5 %, loss 0.4000
12.30 MB of gradients in, 40.10 MB of parameters out, 4 leases, newest snapshot 12, learning rate 0.5 times the schedule's

worker  name      images/s   share  staleness    step  waiting  link up, down  gradients  parameters  leases     seen
     0  worker-0     945.2  50.0 %        1.0  0.03 s    4.0 %  2.51, 13 MB/s       bf16           -       2  0 s ago
     1  worker-1     945.2  50.0 %        1.0  0.03 s    4.0 %              -       bf16           -       2  0 s ago  leaves

shard  address         blocks  updates  staleness  limited  refused  bytes in  bytes out     seen
    0  127.0.0.1:7070       4   12,345        1.0        0        0  12.30 MB   40.10 MB  0 s ago

newest warnings
    3 min 05 s ago  worker 3 was\u{fffd}[2Jlost
";
        assert_eq!(text(&overview()), expected);
    }

    #[test]
    fn a_thousand_workers_are_cut_to_what_a_person_reads() {
        let mut overview = overview();
        overview.workers = vec![overview.workers[0].clone(); 1000];
        overview.members = 1200;
        let text = text(&overview);
        assert!(text.contains("and 1150 more workers") && text.lines().count() < 80, "{text}");
    }

    #[test]
    fn a_run_that_has_not_begun_says_what_it_waits_for() {
        let waiting = Overview {
            state: RunState::Waiting,
            detail: "workers to join".into(),
            training_images: 0,
            total_samples: 0,
            latest: None,
            evaluation: None,
            members: 0,
            workers: Vec::new(),
            shards: Vec::new(),
            snapshot: 0,
            rate_factor: 1.0,
            warnings: Vec::new(),
            leases: 0,
            ..overview()
        };
        let expected = "\
waiting (workers to join)
recipe quick, no data yet; run 00000000000000000000000000000007
0 B of gradients in, 0 B of parameters out, 0 leases, no snapshot yet
";
        assert_eq!(text(&waiting), expected);
    }
}
