//! The table of an evaluation, like the paper's Table 3: models, crops, cost, errors, and the difference from
//! the first row.

use std::fmt::Write;

use dataset::Crops;
use serde::Serialize;
use setup::Outcome;

/// An estimate, with its standard error, of the fraction of the images that have some property (such as a
/// wrong prediction), or of the difference of two such fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimated fraction (0 to 1), or difference of two fractions (-1 to 1).
    pub value: f64,
    /// One standard error of `value`, as a fraction like it.
    pub standard_error: f64,
}

impl Estimate {
    /// Estimates the mean of `values`, one for each image, with its standard error.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Estimate {
        let count = values.clone().count().max(1) as f64;
        let value = values.clone().sum::<f64>() / count;
        let variance = values.map(|v| (v - value).powi(2)).sum::<f64>() / count;
        Estimate { value, standard_error: (variance / count).sqrt() }
    }
}

/// A row of an evaluation's table: the scores of one number of models with one number of crops.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Number of models whose probabilities are averaged.
    pub models: usize,
    /// Number of crops (parts of an image that are classified) from which each image's prediction is
    /// combined.
    pub crops: usize,
    /// Number of inputs computed for one image: models times crops.
    pub cost: usize,
    /// Top-1 error: fraction (0 to 1) of the images whose most probable class is wrong.
    pub top1_error: Estimate,
    /// Top-5 error: fraction (0 to 1) of the images whose five most probable classes do not include the right
    /// one.
    pub top5_error: Estimate,
    /// Mean cross-entropy per image, in nats.
    pub loss: f64,
    /// Top-1 error of this row minus that of the first row, with the standard error of the paired difference;
    /// `None` in the first row.
    pub top1_to_base: Option<Estimate>,
    /// Top-5 error of this row minus that of the first row, with the standard error of the paired difference;
    /// `None` in the first row.
    pub top5_to_base: Option<Estimate>,
}

impl Row {
    /// Returns the row of `outcomes`. `base` holds the outcomes of the table's first row for the same images;
    /// it is `None` for the first row itself.
    pub(super) fn new(models: usize, crops: Crops, outcomes: &[Outcome], base: Option<&[Outcome]>) -> Row {
        let top1 = |outcome: &Outcome| f64::from(!outcome.first());
        let top5 = |outcome: &Outcome| f64::from(!outcome.among_five());
        let to_base = |error: fn(&Outcome) -> f64| {
            base.map(|base| Estimate::of(outcomes.iter().zip(base).map(move |(a, b)| error(a) - error(b))))
        };
        Row {
            models,
            crops: crops.count(),
            cost: models * crops.count(),
            top1_error: Estimate::of(outcomes.iter().map(top1)),
            top5_error: Estimate::of(outcomes.iter().map(top5)),
            loss: outcomes.iter().map(|outcome| outcome.loss).sum::<f64>() / outcomes.len().max(1) as f64,
            top1_to_base: to_base(top1),
            top5_to_base: to_base(top5),
        }
    }
}

/// Returns the table as text, with errors in per cent, each with one standard error.
pub(super) fn text(rows: &[Row]) -> String {
    let plain = |e: &Estimate| format!("{:.2} ± {:.2} %", 100.0 * e.value, 100.0 * e.standard_error);
    let change = |e: &Option<Estimate>| {
        e.as_ref()
            .map_or("base".into(), |e| format!("{:+.2} ± {:.2} %", 100.0 * e.value, 100.0 * e.standard_error))
    };
    let mut text = format!(
        "{:>6}  {:>6}  {:>6}  {:>16}  {:>16}  {:>16}  {:>16}  {:>8}\n",
        "models", "crops", "cost", "top-1 error", "to base", "top-5 error", "to base", "loss"
    );
    for row in rows {
        writeln!(
            text,
            "{:>6}  {:>6}  {:>6}  {:>16}  {:>16}  {:>16}  {:>16}  {:>8.4}",
            row.models,
            row.crops,
            row.cost,
            plain(&row.top1_error),
            change(&row.top1_to_base),
            plain(&row.top5_error),
            change(&row.top5_to_base),
            row.loss
        )
        .expect("text takes what is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(not_behind: &[usize]) -> Vec<Outcome> {
        not_behind.iter().map(|&not_behind| Outcome { not_behind, loss: not_behind as f64 }).collect()
    }

    #[test]
    fn errors_have_the_standard_error_of_a_share_and_differences_that_of_pairs() {
        let base = outcomes(&[0, 0, 1, 7]);
        let better = outcomes(&[0, 0, 0, 3]);
        let rows = [Row::new(1, Crops::One, &base, None), Row::new(7, Crops::All, &better, Some(&base))];
        assert_eq!((rows[1].cost, rows[1].loss), (1008, 0.75));
        // sqrt(0.5 * 0.5 / 4), sqrt(0.25 * 0.75 / 4); one of four images changed: the same again.
        assert_eq!(rows[0].top1_error, Estimate { value: 0.5, standard_error: 0.25 });
        let quarter = (0.1875f64 / 4.0).sqrt();
        assert_eq!(rows[1].top1_error, Estimate { value: 0.25, standard_error: quarter });
        assert_eq!(rows[1].top1_to_base, Some(Estimate { value: -0.25, standard_error: quarter }));
        let lines: Vec<Vec<String>> = text(&rows)
            .lines()
            .map(|line| {
                line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
            })
            .collect();
        assert_eq!(
            lines[0],
            ["models", "crops", "cost", "top-1 error", "to base", "top-5 error", "to base", "loss"]
        );
        assert_eq!(lines[1], ["1", "1", "1", "50.00 ± 25.00 %", "base", "25.00 ± 21.65 %", "base", "2.0000"]);
        assert_eq!(
            lines[2],
            [
                "7",
                "144",
                "1008",
                "25.00 ± 21.65 %",
                "-25.00 ± 21.65 %",
                "0.00 ± 0.00 %",
                "-25.00 ± 21.65 %",
                "0.7500"
            ]
        );
    }
}
