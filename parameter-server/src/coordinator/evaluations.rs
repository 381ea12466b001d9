//! The evaluations of a run: when one is due, which workers do it, and its result.
//!
//! An evaluation is done in parts, ranges of the validation images: each worker that asks for work gets the next
//! one, trains on once none is left, and nobody waits for anybody. If a worker is lost, another one gets its
//! part; if a shard loses the average, as its process is started again, the evaluation is ordered anew under
//! another number. The result is made of the parts' sums, in the order of the images. The last evaluation follows
//! the last sample, and the run does not end without it. The sums of a part count if they are over all of its images and
//! in their ranges; otherwise the part is given to another worker, and the one that sent them gets no more.
//!
//! The average that was scored stays frozen in the shards until its model is written, and so long no other
//! evaluation begins but the last one: shards keep two averages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{Evaluation, EvaluationOrder, EvaluationPart, Scores, WorstMistakes};

use super::mistakes::Mistakes;

/// Largest mean loss of an evaluation, in nats: an image's is at most 87.34, that of a right class whose
/// probability is the smallest normal number of 32 bits.
const LARGEST_LOSS: f64 = 87.4;
/// Images that a worker must have to score for its fetch of the average to be worth while: it fetches as many
/// bytes as for a few minibatches.
const WORTH_A_FETCH: u64 = 128;
/// Fewest images of a part.
const LEAST_PART: u64 = 32;
/// Parts for each worker of what is left: with several, a slow worker does fewer. Parts become smaller towards the end, so
/// that workers end at about the same time.
const PARTS_OF_WORKER: u64 = 4;
/// Most mistakes of an evaluation that are kept.
const MOST_SHOWN: usize = 12;

/// The settings of a run's evaluations.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Sample positions between two evaluations.
    pub every: u64,
    /// Sample positions of the whole run.
    pub total: u64,
    /// Images of the validation split.
    pub validation: u64,
    /// Images of a minibatch; parts are made of whole ones.
    pub batch: u64,
    /// Scoring of the last iterate beside the average: true if each evaluation does so, false if only the last one does.
    pub last_iterate: bool,
}

impl Schedule {
    /// Returns the most workers that take part in an evaluation.
    fn most_workers(&self) -> usize {
        (self.validation / WORTH_A_FETCH).max(1) as usize
    }

    /// Returns the images of the next part where `members` workers train and `left` images are not given yet.
    fn part(&self, members: usize, left: u64) -> u64 {
        let most = self.most_workers();
        if most == 1 {
            return self.validation;
        }
        let parts = PARTS_OF_WORKER * most.min(members.max(1)) as u64;
        left.div_ceil(parts).max(LEAST_PART).next_multiple_of(self.batch.max(1))
    }
}

/// The evaluations of a run: those due, those in progress, and their results.
#[derive(Debug)]
pub struct Evaluations {
    schedule: Schedule,
    /// Consumed positions at which the next evaluation is due.
    due: u64,
    next_id: u64,
    /// Orders without a result, by number.
    open: BTreeMap<u64, Open>,
    /// Incarnations whose sums could not be used.
    barred: BTreeSet<u64>,
    done: Vec<Evaluation>,
    /// Numbers of evaluations whose models are to be written, in the order in which they were done.
    unwritten: VecDeque<u64>,
    last: Option<u64>,
    /// The worst mistakes of the evaluation with this number, the newest one in this life of the server.
    worst: Option<(u64, WorstMistakes)>,
}

/// An evaluation in progress.
#[derive(Debug)]
struct Open {
    /// The order, of the whole validation split.
    order: EvaluationOrder,
    /// Position behind the last image of the parts so far.
    given: u64,
    /// The parts by their first images.
    parts: BTreeMap<u64, Part>,
    /// Incarnations that have got a part.
    workers: BTreeSet<u64>,
    /// The worst mistakes of the parts that are done.
    worst: WorstMistakes,
}

/// A part of an evaluation.
#[derive(Debug)]
struct Part {
    end: u64,
    state: PartState,
}

#[derive(Debug)]
enum PartState {
    /// Part of a worker that was lost, to be given to another one.
    Free,
    /// Part that a worker is doing, by its incarnation.
    Held(u64),
    Done(EvaluationPart),
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
    /// Schedules an evaluation for each `schedule.every` images that a run consumes (uses, or skips as
    /// unreadable), and a last one at `schedule.total` images. The run has consumed `consumed` images so far, and
    /// evaluations that were due by then are left out. `done` holds the results from before a restart;
    /// evaluations are numbered from `first_id` on.
    pub fn new(mut schedule: Schedule, consumed: u64, first_id: u64, done: Vec<Evaluation>) -> Evaluations {
        schedule.every = schedule.every.max(1);
        let due = (consumed / schedule.every + 1) * schedule.every;
        let (open, barred, unwritten) = Default::default();
        let (last, worst) = (None, None);
        Evaluations { schedule, due, next_id: first_id, open, barred, done, unwritten, last, worst }
    }

    /// Returns the part of an evaluation that the worker with the incarnation (number of its join) `holder`,
    /// one of `members`, is to do now, if any. `consumed` is the number of images that the run has used or
    /// skipped; `samples`, the number used, is recorded in a new order.
    pub fn order(
        &mut self,
        holder: u64,
        members: usize,
        consumed: u64,
        samples: u64,
    ) -> Option<EvaluationOrder> {
        if self.barred.contains(&holder) {
            return None;
        }
        let Schedule { every, total, .. } = self.schedule;
        let last = consumed >= total;
        if last && self.last.is_none() {
            // The last evaluation replaces those that nobody is working on.
            self.open.retain(|_, open| open.is_held());
            self.last = Some(self.next_id);
            self.open(samples, true);
        } else if !last && consumed >= self.due && self.open.is_empty() && self.unwritten.is_empty() {
            self.due = (consumed / every + 1) * every;
            self.open(samples, false);
        }
        let schedule = &self.schedule;
        self.open.values_mut().find_map(|open| open.give(holder, schedule, members))
    }

    fn open(&mut self, samples: u64, last: bool) {
        let Schedule { validation, last_iterate, .. } = self.schedule;
        let last_iterate = last_iterate || last;
        let order =
            EvaluationOrder { id: self.next_id, samples, last, start: 0, end: validation, last_iterate };
        self.next_id += 1;
        let (given, parts, workers) = Default::default();
        let worst = WorstMistakes::keeping(MOST_SHOWN);
        self.open.insert(order.id, Open { order, given, parts, workers, worst });
    }

    /// Takes back what the worker with the incarnation (number of its join) `holder` was to do of evaluations
    /// and has not finished, so that another worker gets it.
    pub fn take_back(&mut self, holder: u64) {
        self.open.values_mut().for_each(|open| open.take_back(holder));
        self.barred.remove(&holder);
    }

    /// Gives up the evaluations in progress, since a shard has lost their averages; they are ordered anew, under
    /// other numbers. What workers hand in of them is not recorded. Returns whether there were any.
    pub fn void(&mut self) -> bool {
        let open = std::mem::take(&mut self.open);
        if open.keys().any(|id| Some(*id) == self.last) {
            self.last = None;
        } else if !open.is_empty() {
            self.due = 0;
        }
        !open.is_empty()
    }

    /// Returns whether the worker with the incarnation (number of its join) `holder` is doing a part of an
    /// evaluation.
    pub fn is_held_by(&self, holder: u64) -> bool {
        let holds = |part: &Part| matches!(part.state, PartState::Held(by) if by == holder);
        self.open.values().any(|open| open.parts.values().any(holds))
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
        self.schedule.total = total;
    }

    /// Checks the sums of a part from the worker with the incarnation (number of its join) `holder`. If they
    /// cannot be used, the part is to be done by another worker. Sums of a part that is not assigned to that
    /// worker are not looked at: they are not recorded.
    ///
    /// # Errors
    /// If the sums are not over all images of the part, or if one is out of range.
    pub fn check(&mut self, holder: u64, sums: &EvaluationPart) -> Result<(), String> {
        let Some(open) = self.open.get_mut(&sums.id) else { return Ok(()) };
        let last_iterate = open.order.last_iterate;
        let Some(part) = open.held(holder, sums.start) else { return Ok(()) };
        let checked = usable(part.end, last_iterate, sums);
        if checked.is_err() {
            open.take_back(holder);
            self.barred.insert(holder);
        }
        checked
    }

    /// Records the sums of a part from the worker with the incarnation (number of its join) `holder`, unless the
    /// part is not assigned to that worker, as when a report is repeated. Returns the result of the evaluation
    /// if this was the last of its parts.
    ///
    /// # Errors
    /// If there are images and none of them can be read; then there is no result.
    pub fn record(&mut self, holder: u64, mut sums: EvaluationPart) -> Result<Option<Evaluation>, String> {
        let id = sums.id;
        let mistakes = std::mem::take(&mut sums.mistakes);
        let Some(open) = self.open.get_mut(&id) else { return Ok(None) };
        let Some(part) = open.held(holder, sums.start) else { return Ok(None) };
        part.state = PartState::Done(sums);
        for mistake in mistakes {
            open.worst.offer(mistake.probability_said, mistake.image, || mistake);
        }
        let Some(evaluation) = open.result() else { return Ok(None) };
        let open = self.open.remove(&id).expect("it was there just now");
        if evaluation.images == 0 && evaluation.unreadable > 0 {
            return Err(format!(
                "none of the {} validation images can be read; one of them: {}; repair or replace them, then give the \
                 same command again",
                evaluation.unreadable,
                open.skipped().unwrap_or("of unknown name")
            ));
        }
        self.unwritten.push_back(id);
        self.done.push(evaluation.clone());
        if self.worst.as_ref().is_none_or(|(newest, _)| *newest < id) {
            self.worst = Some((id, open.worst));
        }
        // One that takes longer than the last evaluation must not pass for the end of the run.
        self.done.sort_by_key(|done| done.id);
        Ok(Some(evaluation))
    }

    /// Returns the result of the evaluation at the end of the run; `None` until that evaluation is done.
    pub fn last(&self) -> Option<&Evaluation> {
        let last = self.last?;
        self.done.iter().rev().find(|evaluation| evaluation.id == last)
    }

    /// Returns the result of the best evaluation so far, of equal ones the first; `None` before there is one.
    pub fn best(&self) -> Option<&Evaluation> {
        best(&self.done)
    }

    /// Returns the worst mistakes of the newest evaluation in this life of the server, with the names of `classes`;
    /// none before it.
    pub fn mistakes(&self, classes: &[String]) -> Mistakes {
        let Some((id, worst)) = &self.worst else { return Mistakes::default() };
        let evaluation = self.done.iter().find(|done| done.id == *id);
        evaluation.map(|evaluation| Mistakes::of(evaluation, worst, classes)).unwrap_or_default()
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

impl Open {
    /// Gives a worker, one of `members`, the next part, if it may take part.
    fn give(&mut self, holder: u64, schedule: &Schedule, members: usize) -> Option<EvaluationOrder> {
        if !self.workers.contains(&holder) && self.workers.len() >= schedule.most_workers() {
            return None;
        }
        let whole = self.order.end;
        let free = self.parts.iter().find(|(_, part)| matches!(part.state, PartState::Free));
        let (start, end) = match free {
            Some((&start, part)) => (start, part.end),
            // A validation split without images has one part.
            None if self.given < whole || self.parts.is_empty() => {
                (self.given, whole.min(self.given + schedule.part(members, whole - self.given)))
            }
            None => return None,
        };
        self.given = self.given.max(end);
        self.parts.insert(start, Part { end, state: PartState::Held(holder) });
        self.workers.insert(holder);
        Some(EvaluationOrder { start, end, ..self.order.clone() })
    }

    fn take_back(&mut self, holder: u64) {
        for part in self.parts.values_mut() {
            if matches!(part.state, PartState::Held(by) if by == holder) {
                part.state = PartState::Free;
            }
        }
        self.workers.remove(&holder);
    }

    /// Returns whether a worker is doing a part.
    fn is_held(&self) -> bool {
        self.parts.values().any(|part| matches!(part.state, PartState::Held(_)))
    }

    /// Returns the part that begins at image `start`, if that worker is doing it.
    fn held(&mut self, holder: u64, start: u64) -> Option<&mut Part> {
        self.parts.get_mut(&start).filter(|part| matches!(part.state, PartState::Held(by) if by == holder))
    }

    /// Returns the first image that could not be read, as far as parts are done.
    fn skipped(&self) -> Option<&str> {
        self.parts.values().find_map(|part| match &part.state {
            PartState::Done(sums) => sums.skipped.as_deref(),
            PartState::Free | PartState::Held(_) => None,
        })
    }

    /// Returns the result, if all parts are done.
    fn result(&self) -> Option<Evaluation> {
        if self.given < self.order.end {
            return None;
        }
        let EvaluationOrder { id, samples, last_iterate, .. } = self.order;
        let (mut images, mut unreadable) = (0, 0);
        let (mut average, mut newest) = (Scores::default(), Scores::default());
        for part in self.parts.values() {
            let PartState::Done(sums) = &part.state else { return None };
            images += sums.images;
            unreadable += sums.unreadable;
            average.add_all(&sums.average);
            sums.last_iterate.iter().for_each(|sums| newest.add_all(sums));
        }
        let mean = |sums: Scores| sums.divided_by(images.max(1) as f64);
        let last_iterate = last_iterate.then(|| mean(newest));
        Some(Evaluation { id, samples, images, unreadable, average: mean(average), last_iterate })
    }
}

/// Returns the best of evaluations, of equal ones the first; `None` if there are none.
pub(super) fn best(done: &[Evaluation]) -> Option<&Evaluation> {
    let better = |best: &Evaluation, found: &Evaluation| found.average.is_better_than(&best.average);
    done.iter().reduce(|best, found| if better(best, found) { found } else { best })
}

/// Checks the sums of a part whose last image is the one before `end`.
fn usable(end: u64, last_iterate: bool, sums: &EvaluationPart) -> Result<(), String> {
    let &EvaluationPart { start, images, unreadable, .. } = sums;
    let part = end - start;
    if images.checked_add(unreadable) != Some(part) {
        return Err(format!(
            "expected scores of all {part} images of the part, those excepted that cannot be read, found {images} \
             scored and {unreadable} unreadable"
        ));
    }
    if sums.last_iterate.is_some() != last_iterate {
        let [expected, found] =
            [last_iterate, !last_iterate].map(|scored| if scored { "scores" } else { "none" });
        return Err(format!("expected {expected} of the last iterate, found {found}"));
    }
    if let Some(mistake) = sums.mistakes.iter().find(|mistake| !(start..end).contains(&mistake.image)) {
        let image = mistake.image;
        return Err(format!(
            "expected mistakes of images {start} to {}, found one of image {image}",
            end - 1
        ));
    }
    for (name, sum) in [&sums.average].into_iter().chain(&sums.last_iterate).flat_map(Scores::iter) {
        let most = match name {
            // A loss that is not finite is reported as the largest number.
            "loss" if sum == f64::MAX => sum,
            "loss" => LARGEST_LOSS * images as f64,
            "top1" | "top5" => images as f64,
            _ => continue,
        };
        if !(0.0..=most).contains(&sum) {
            return Err(format!(
                "expected a sum of {name} of 0 to {most} over {images} images, found {sum:e}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
