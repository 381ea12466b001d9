//! The history of a run's training lines, as many as a curve shows.

use protocol::TrainingLine;

/// Most lines that are kept; then every second one is left out.
const MOST: usize = 1024;

/// Training lines of a run since its server was started, the oldest first, thinned out evenly as they grow many.
#[derive(Debug, Default)]
pub struct History {
    points: Vec<Point>,
    /// Number of lines of which one is kept: 1, 2, 4 and so on.
    each: u64,
    lines: u64,
}

/// What a curve shows of a training line: samples used, loss, top-1 (0 to 1), images a second, and mean staleness. What
/// is not known or not finite is none.
pub type Point = (u64, Option<f64>, Option<f64>, f64, f64);

impl History {
    /// Adds a line.
    pub fn add(&mut self, line: &TrainingLine) {
        let each = self.each.max(1);
        let kept = self.lines.is_multiple_of(each);
        self.lines += 1;
        if !kept {
            return;
        }
        let loss = Some(line.loss).filter(|loss| loss.is_finite());
        self.points.push((
            line.samples,
            loss,
            line.scores.get("top1"),
            line.images_per_second,
            line.staleness_mean,
        ));
        if self.points.len() == MOST {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.each = each * 2;
        }
    }

    /// Returns what is kept.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_a_run_lasts_its_history_is_even_and_bounded() {
        let mut history = History::default();
        for samples in 0..100_000 {
            history.add(&TrainingLine { samples, loss: f64::NAN, ..TrainingLine::default() });
            assert!(history.points().len() < MOST);
        }
        let points = history.points();
        let steps: Vec<u64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(points.len() > MOST / 3 && steps.iter().all(|step| *step == steps[0]), "{steps:?}");
        assert_eq!((points[0].0, points[0].1), (0, None));
    }
}
