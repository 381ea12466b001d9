//! The evaluations of a run: when one is due, which worker does it, and its result.
//!
//! An evaluation is given to one worker while the others train. If that worker is lost, another one gets it
//! under the same number. The last evaluation follows the last sample, and the run does not end without it.
//! A result counts if it is over the whole validation set and its scores are in their ranges; otherwise the
//! evaluation is given to another worker, and the one that sent the result gets no more.
//!
//! The average that was scored stays frozen in the shards until its model is written, and so long no other
//! evaluation begins but the last one: shards keep two averages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{Evaluation, EvaluationOrder};

/// Largest mean loss of an evaluation, in nats: an image's is at most 87.34, that of a right class whose
/// probability is the smallest normal number of 32 bits.
const LARGEST_LOSS: f64 = 87.4;

/// The evaluations of a run: those due, those in progress, and their results.
#[derive(Debug)]
pub struct Evaluations {
    /// Sample positions between two evaluations.
    every: u64,
    /// Sample positions of the whole run.
    total: u64,
    /// Consumed positions at which the next evaluation is due.
    due: u64,
    next_id: u64,
    /// Orders without a result, by number, each with the incarnation that holds it; without a holder, it is
    /// to be given again.
    open: BTreeMap<u64, (EvaluationOrder, Option<u64>)>,
    /// Incarnations whose result could not be used.
    barred: BTreeSet<u64>,
    done: Vec<Evaluation>,
    /// Numbers of evaluations whose models are to be written, in the order in which they were done.
    unwritten: VecDeque<u64>,
    last: Option<u64>,
}

/// A model that is to be written: the average that an evaluation scored.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredModel {
    /// Result of the evaluation, by whose number the shards keep the average.
    pub evaluation: Evaluation,
    /// Place in time of the evaluation: true for the newest of the run.
    pub newest: bool,
    /// Rank of the evaluation: true if no other of the run was better, nor an earlier one as good.
    pub best: bool,
}

impl Evaluations {
    /// Schedules an evaluation for each `every` images that a run consumes (uses, or skips as unreadable),
    /// and a last one at `total` images. The run has consumed `consumed` images so far, and evaluations that
    /// were due by then are left out. `done` holds the results from before a restart; evaluations are
    /// numbered from `first_id` on.
    pub fn new(every: u64, total: u64, consumed: u64, first_id: u64, done: Vec<Evaluation>) -> Evaluations {
        let every = every.max(1);
        let due = (consumed / every + 1) * every;
        let (open, barred, unwritten) = Default::default();
        Evaluations { every, total, due, next_id: first_id, open, barred, done, unwritten, last: None }
    }

    /// Returns the evaluation that the worker with the incarnation (number of its join) `holder` is to do
    /// now, if any. `consumed` is the number of images that the run has used or skipped; `samples`, the
    /// number used, is recorded in a new order.
    pub fn order(&mut self, holder: u64, consumed: u64, samples: u64) -> Option<EvaluationOrder> {
        if self.barred.contains(&holder) {
            return None;
        }
        let last = consumed >= self.total;
        if last && self.last.is_none() {
            // The last evaluation replaces those that nobody is working on.
            self.open.retain(|_, (_, holder)| holder.is_some());
            self.last = Some(self.next_id);
            return Some(self.open(holder, samples, true));
        }
        if let Some((order, assignee)) = self.open.values_mut().find(|(_, holder)| holder.is_none()) {
            *assignee = Some(holder);
            return Some(order.clone());
        }
        if !last && consumed >= self.due && self.open.is_empty() && self.unwritten.is_empty() {
            self.due = (consumed / self.every + 1) * self.every;
            return Some(self.open(holder, samples, false));
        }
        None
    }

    fn open(&mut self, holder: u64, samples: u64, last: bool) -> EvaluationOrder {
        let order = EvaluationOrder { id: self.next_id, samples, last };
        self.next_id += 1;
        self.open.insert(order.id, (order.clone(), Some(holder)));
        order
    }

    /// Takes back the evaluations that the worker with the incarnation (number of its join) `holder` was to
    /// do and has not finished, so that another worker gets them.
    pub fn take_back(&mut self, holder: u64) {
        for (_, assignee) in self.open.values_mut() {
            assignee.take_if(|assignee| *assignee == holder);
        }
        self.barred.remove(&holder);
    }

    /// Returns whether the worker with the incarnation (number of its join) `holder` is doing an evaluation.
    pub fn is_held_by(&self, holder: u64) -> bool {
        self.open.values().any(|(_, assignee)| *assignee == Some(holder))
    }

    /// Number that the next evaluation to be ordered gets.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Lists the numbers of the evaluations whose averages are needed: those that are ordered and not done, and
    /// those whose models are not written yet.
    pub fn frozen_ids(&self) -> impl Iterator<Item = u64> {
        self.open.keys().chain(&self.unwritten).copied()
    }

    /// Ends the run at `total` images: the last evaluation follows them.
    pub fn end_at(&mut self, total: u64) {
        self.total = total;
    }

    /// Checks the result of an evaluation from the worker with the incarnation (number of its join) `holder`,
    /// over a validation set of `validation` images. If it cannot be used, the evaluation is to be done by
    /// another worker. A result of an evaluation that is not assigned to that worker is not looked at: it is
    /// not recorded.
    ///
    /// # Errors
    /// If the result is not of the whole validation set or not of the moment that was ordered, or if a loss
    /// is out of range.
    pub fn check(&mut self, holder: u64, evaluation: &Evaluation, validation: u64) -> Result<(), String> {
        let order = self.open.get_mut(&evaluation.id).filter(|(_, assignee)| *assignee == Some(holder));
        let Some((order, assignee)) = order else { return Ok(()) };
        let checked = usable(order, evaluation, validation);
        if checked.is_err() {
            *assignee = None;
            self.barred.insert(holder);
        }
        checked
    }

    /// Records the result of an evaluation from the worker with the incarnation (number of its join)
    /// `holder`. Returns true if it was recorded; false if the evaluation is not assigned to that worker, as
    /// when a report is repeated.
    pub fn record(&mut self, holder: u64, evaluation: Evaluation) -> bool {
        let held = self.open.get(&evaluation.id).is_some_and(|(_, assignee)| *assignee == Some(holder));
        if held {
            self.open.remove(&evaluation.id);
            self.unwritten.push_back(evaluation.id);
            self.done.push(evaluation);
            // One that takes longer than the last evaluation must not pass for the end of the run.
            self.done.sort_by_key(|done| done.id);
        }
        held
    }

    /// Returns the result of the evaluation at the end of the run; `None` until that evaluation is done.
    pub fn last(&self) -> Option<&Evaluation> {
        let last = self.last?;
        self.done.iter().rev().find(|evaluation| evaluation.id == last)
    }

    /// Returns the result of the best evaluation so far, of equal ones the first; `None` before there is one.
    pub fn best(&self) -> Option<&Evaluation> {
        let better = |best: &Evaluation, found: &Evaluation| found.average.is_better_than(&best.average);
        self.done.iter().reduce(|best, found| if better(best, found) { found } else { best })
    }

    /// Returns the model that is to be written next, if there is one.
    pub fn unwritten(&self) -> Option<ScoredModel> {
        let id = *self.unwritten.front()?;
        let evaluation = self.done.iter().find(|done| done.id == id)?.clone();
        let is = |other: Option<&Evaluation>| other.is_some_and(|other| other.id == id);
        Some(ScoredModel { newest: is(self.done.last()), best: is(self.best()), evaluation })
    }

    /// Records that the model of the evaluation with the number `id` is written, or given up.
    pub fn written(&mut self, id: u64) {
        self.unwritten.retain(|unwritten| *unwritten != id);
    }

    /// Returns the results of all evaluations of the run so far, oldest first.
    pub fn done(&self) -> &[Evaluation] {
        &self.done
    }
}

/// Checks the result of an ordered evaluation over a validation set of `validation` images.
fn usable(order: &EvaluationOrder, evaluation: &Evaluation, validation: u64) -> Result<(), String> {
    let &Evaluation { samples, images, unreadable, .. } = evaluation;
    if samples != order.samples {
        return Err(format!("expected one after {} samples, found {samples}", order.samples));
    }
    if images.checked_add(unreadable) != Some(validation) || (images == 0 && validation > 0) {
        return Err(format!(
            "expected scores of all {validation} validation images, those excepted that cannot be read, found {images} \
             scored and {unreadable} unreadable"
        ));
    }
    for scores in [&evaluation.average, &evaluation.last_iterate] {
        // A loss that is not finite is reported as the largest number.
        let fits = |loss: &f64| (0.0..=LARGEST_LOSS).contains(loss) || *loss == f64::MAX;
        if let Some(loss) = scores.get("loss").filter(|loss| !fits(loss)) {
            return Err(format!("expected a loss of 0 to {LARGEST_LOSS}, found {loss:e}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::Scores;

    use super::*;

    fn result(order: &EvaluationOrder) -> Evaluation {
        Evaluation {
            id: order.id,
            samples: order.samples,
            images: 98,
            unreadable: 2,
            average: Default::default(),
            last_iterate: Default::default(),
        }
    }

    #[test]
    fn due_ones_go_to_one_worker_and_again_if_it_is_lost() {
        let mut evaluations = Evaluations::new(100, 250, 0, 1, Vec::new());
        assert_eq!(evaluations.order(1, 99, 99), None);
        let first = evaluations.order(1, 100, 100).unwrap();
        assert_eq!(first, EvaluationOrder { id: 1, samples: 100, last: false });
        assert_eq!(evaluations.order(2, 120, 120), None);
        evaluations.take_back(1);
        assert_eq!(evaluations.order(2, 130, 130), Some(first.clone()));
        assert!(!evaluations.record(1, result(&first)));
        assert!(evaluations.record(2, result(&first)));
        evaluations.written(first.id);
        assert_eq!(evaluations.order(2, 199, 199), None);
        let second = evaluations.order(2, 230, 230).unwrap();
        let last = evaluations.order(1, 250, 249).unwrap();
        assert_eq!(last, EvaluationOrder { id: 3, samples: 249, last: true });
        assert!(evaluations.record(2, result(&second)) && evaluations.last().is_none());
        evaluations.take_back(1);
        assert_eq!(evaluations.order(2, 250, 249), Some(last.clone()));
        assert!(evaluations.record(2, result(&last)));
        assert_eq!(evaluations.last().map(|evaluation| evaluation.id), Some(3));
        assert_eq!(evaluations.order(2, 250, 249), None);
        assert_eq!(evaluations.done().len(), 3);
    }

    /// The loss in the model's file is that of the last evaluation, and the run's result is to be the same.
    #[test]
    fn one_that_takes_longer_than_the_last_does_not_pass_for_it() {
        let mut evaluations = Evaluations::new(100, 150, 0, 1, Vec::new());
        let slow = evaluations.order(1, 149, 149).unwrap();
        let last = evaluations.order(2, 150, 150).unwrap();
        assert!(evaluations.record(2, result(&last)) && evaluations.record(1, result(&slow)));
        let ids: Vec<u64> = evaluations.done().iter().map(|done| done.id).collect();
        assert_eq!((ids, evaluations.last().unwrap().id), (vec![slow.id, last.id], last.id));
    }

    #[test]
    fn averages_stay_frozen_until_their_models_are_written() {
        let mut evaluations = Evaluations::new(100, 1000, 0, 1, Vec::new());
        let mut written = Vec::new();
        let mut due = 100;
        for (top1, best) in [(0.5, true), (0.4, false), (0.5, false), (0.6, true)] {
            let order = evaluations.order(1, due, due).unwrap();
            due += 100;
            assert_eq!(evaluations.unwritten(), None);
            let evaluation = Evaluation { average: Scores::new([("top1", top1)]), ..result(&order) };
            assert!(evaluations.record(1, evaluation.clone()));
            assert_eq!(evaluations.order(2, due, due), None, "shards keep no more");
            assert_eq!(evaluations.frozen_ids().collect::<Vec<_>>(), [order.id]);
            assert_eq!(evaluations.unwritten(), Some(ScoredModel { evaluation, newest: true, best }));
            evaluations.written(order.id);
            written.push(order.id);
        }
        assert_eq!((written.len(), evaluations.frozen_ids().count()), (4, 0));
        // The last one waits for nothing, and both are written.
        let slow = evaluations.order(1, 900, 900).unwrap();
        let last = evaluations.order(2, 1000, 1000).unwrap();
        assert!(evaluations.record(2, result(&last)) && evaluations.record(1, result(&slow)));
        for (order, newest) in [(last, true), (slow, false)] {
            let model = evaluations.unwritten().unwrap();
            assert_eq!((model.evaluation.id, model.newest, model.best), (order.id, newest, false));
            evaluations.written(order.id);
        }
    }

    #[test]
    fn a_resumed_run_does_not_evaluate_twice_at_one_place() {
        let mut evaluations = Evaluations::new(100, 250, 100, 1, Vec::new());
        assert_eq!(evaluations.order(1, 100, 100), None);
        assert!(evaluations.order(1, 200, 200).is_some());
    }

    #[test]
    fn a_result_that_is_not_of_the_whole_set_or_out_of_range_goes_to_another_worker() {
        let mut evaluations = Evaluations::new(100, 250, 0, 1, Vec::new());
        let mut order = evaluations.order(0, 100, 100).unwrap();
        let loss = |loss| Scores::new([("loss", loss)]);
        let good = result(&order);
        let cases = [
            (Evaluation { samples: 99, ..good.clone() }, "expected one after 100 samples, found 99"),
            (Evaluation { images: 97, ..good.clone() }, "found 97 scored and 2 unreadable"),
            (Evaluation { images: 0, unreadable: 100, ..good.clone() }, "found 0 scored and 100 unreadable"),
            (
                Evaluation { unreadable: u64::MAX, ..good.clone() },
                "expected scores of all 100 validation images",
            ),
            (Evaluation { average: loss(-0.5), ..good.clone() }, "expected a loss of 0 to 87.4, found -5e-1"),
            (
                Evaluation { last_iterate: loss(88.0), ..good.clone() },
                "expected a loss of 0 to 87.4, found 8.8e1",
            ),
        ];
        for (holder, (bad, expected)) in (0..).zip(&cases) {
            // Another worker's word changes nothing.
            evaluations.check(99, bad, 100).unwrap();
            let text = evaluations.check(holder, bad, 100).unwrap_err();
            assert!(text.contains(expected), "{text}");
            assert!(!evaluations.record(holder, bad.clone()));
            assert_eq!(evaluations.order(holder, 100, 100), None, "it gets no more");
            order = evaluations.order(holder + 1, 100, 100).expect("another one does it");
            assert_eq!(order.id, good.id);
        }
        let last = cases.len() as u64;
        let diverged = Evaluation { average: loss(f64::MAX), ..result(&order) };
        evaluations.check(last, &diverged, 100).unwrap();
        assert!(evaluations.record(last, diverged));
        assert_eq!((evaluations.frozen_ids().collect::<Vec<_>>(), evaluations.next_id()), (vec![1], 2));
        // One that leaves is forgotten.
        evaluations.take_back(0);
        assert!(!evaluations.barred.contains(&0) && evaluations.barred.contains(&1));
    }
}
