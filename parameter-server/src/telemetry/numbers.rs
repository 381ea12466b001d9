//! The numbers of a training line: one list of names, units and meanings, which the metrics file and its page
//! are written from. The scores of the task come beside them, by their own names.

use protocol::TrainingLine;
use serde::Serialize;

/// Description of a number in a line of training metrics.
pub struct Number {
    /// Name of the number: its key in the metrics file.
    pub name: &'static str,
    /// Unit of the number, such as "images/s"; "1" if it has none.
    pub unit: &'static str,
    /// Meaning of the number, for people.
    pub help: &'static str,
    /// Function that reads the number from a line of training metrics.
    pub of: fn(&TrainingLine) -> Value<'_>,
}

/// Value of one of the numbers in a line of training metrics. The variants distinguish how it appears as JSON
/// in the metrics file.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// A whole number, such as the number of images used so far.
    Count(u64),
    /// A real number, such as the mean loss; `null` in the metrics file where it is not finite.
    Real(f64),
    /// A real number that may be unknown, such as the gradient noise scale, which takes time to measure:
    /// `None`, and `null` in the metrics file, while it is not known.
    Known(Option<f64>),
    /// Real numbers, one for each auxiliary classifier (head) of the network, such as the heads' mean losses.
    Reals(&'a [f64]),
}

use Value::{Count, Known, Real, Reals};

const fn number(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    of: fn(&TrainingLine) -> Value<'_>,
) -> Number {
    Number { name, unit, help, of }
}

/// The numbers of a line of training metrics, in the order in which the metrics file has them.
#[rustfmt::skip]
pub const NUMBERS: [Number; 20] = [
    number("step", "minibatches", "acknowledged by all shards so far", |line| Count(line.step)),
    number("epoch", "epochs", "the current one, from 0", |line| Count(line.epoch)),
    number("epochs", "epochs", "of the whole run, the last one perhaps not whole", |line| Count(line.epochs)),
    number("samples", "images", "used so far", |line| Count(line.samples)),
    number("done", "1", "share of the run's samples that are used", |line| Real(line.done)),
    number("seconds_left", "seconds", "that the rest takes at the recent pace", |line| Known(line.seconds_left)),
    number("loss", "nats", "mean of the main head", |line| Real(line.loss)),
    number("auxiliary_losses", "nats", "mean of each auxiliary head", |line| Reals(&line.auxiliary_losses)),
    number("images_per_second", "images/s", "trained by all workers, without pauses", |line| Real(line.images_per_second)),
    number("learning_rate", "1", "of the newest update", |line| Real(line.learning_rate)),
    number("staleness_mean", "updates", "mean between a fetch and its push", |line| Real(line.staleness_mean)),
    number("staleness_max", "updates", "largest of them, from 128 on rounded down to a power of two", |line| Count(line.staleness_max)),
    number("bytes_in", "bytes", "of gradients to the shards", |line| Count(line.bytes_in)),
    number("bytes_out", "bytes", "of parameters from the shards", |line| Count(line.bytes_out)),
    number("leases", "leases", "that workers hold", |line| Count(line.leases.into())),
    number("workers", "workers", "that are members", |line| Count(line.workers.into())),
    number("refused", "pushes", "refused by the shards", |line| Count(line.refused)),
    number("limited", "pushes", "scaled down by the shards", |line| Count(line.limited)),
    number("noise_scale", "images", "minibatch whose gradient is half noise", |line| Known(line.noise_scale)),
    number("useful_workers", "workers", "that would do if noise cost nothing", |line| Known(line.useful_workers)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_training_lists_every_number() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/guide/train.md");
        let page = std::fs::read_to_string(page).unwrap();
        for Number { name, unit, help, .. } in &NUMBERS {
            let row = format!("| `{name}` | {unit} | {help} |");
            assert!(page.lines().any(|line| line == row), "{page}\nlacks the row\n{row}");
        }
    }
}
