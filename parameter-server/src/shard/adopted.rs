//! The blocks of a shard that has adopted a layout.

use std::{collections::BTreeMap, sync::Arc};

use kernels::Isa;
use parameters::{Block, Layout, Tensor};
use protocol::{BlockAnswer, BlockDifferences, BlockPush, BlockValues, Refusal, UpdateRule, Version, Wire};

use super::{BlockState, bounds::Bounds, published_log::PublishedLog, warm_start::WarmStart};
use crate::{
    optimizer::{self, Factors, Optimizer, average, schedule},
    staleness,
};

/// Most that the number of a step may be above that of the worker's last one that was applied to the block.
const MOST_STEPS_AHEAD: u64 = 1 << 20;

/// Largest number of logs of one format that a shard publishes. Workers that share one get the difference that the
/// first of them asked for, and a gradient of parameters that are a part of a round older is worth less: in 4 or 8
/// bits, four workers that all share one need 1.3 to 1.5 times the images on the recipe `quick`.
pub const MOST_LOGS: usize = 8;

/// Number of evaluations whose frozen averages are kept: the current one and one that starts before it is
/// done.
const FROZEN: usize = 2;

/// The state of a shard that has adopted a layout.
#[derive(Clone)]
pub(crate) struct Adopted {
    pub(crate) layout: Layout,
    pub(crate) rule: UpdateRule,
    optimizer: Arc<dyn Optimizer>,
    /// Number of the shard that owns each block of the layout.
    owners: Vec<u32>,
    pub(crate) blocks: BTreeMap<u32, BlockState>,
    /// Bounds on the gradients of each block.
    bounds: BTreeMap<u32, Bounds>,
    /// Averages of the shard, each as it was when its evaluation was first fetched, the newest last.
    frozen: Vec<Frozen>,
    /// Published logs of the blocks, by format, and by the remainder of the numbers of the workers that follow
    /// them.
    published: Vec<(Wire, Vec<BTreeMap<u32, PublishedLog>>)>,
}

/// The averages of a shard's blocks at one moment.
#[derive(Clone)]
pub(super) struct Frozen {
    evaluation: u64,
    pub(super) blocks: BTreeMap<u32, (Version, Arc<Vec<f32>>)>,
}

/// Numbers that describe one update of a block by a push.
pub(super) struct Applied {
    /// Staleness: the number of updates of the block between the push's version and this update.
    pub(super) staleness: u64,
    /// Learning rate of the schedule times the operator's factor, before the tensor's multiplier and the
    /// staleness policy.
    pub(super) rate: f64,
    /// Number of updates of the block since the start of the run, this one included.
    pub(super) counter: u64,
    /// Number of training samples behind all updates of the block since the start of the run, this one
    /// included.
    pub(super) samples: u64,
    /// Whether the push was scaled down.
    pub(super) limited: bool,
}

impl Adopted {
    /// Makes the blocks of shard `number` at the start of a run.
    pub(super) fn new(
        isa: Isa,
        number: u32,
        owners: Vec<u32>,
        layout: Layout,
        rule: UpdateRule,
        warm: Option<&WarmStart>,
    ) -> Adopted {
        let optimizer = optimizer::of(&rule);
        let own = layout.blocks().iter().filter(|block| owners[block.index as usize] == number);
        let start = |block: &Block| {
            let tensor = &layout.tensors()[block.tensor];
            let first = layout.range(block.tensor).start;
            match warm.and_then(|warm| warm.values(&rule, tensor)) {
                Some(values) => values[block.range.start - first..block.range.end - first].to_vec(),
                None => layout.initial_values(block, rule.seed),
            }
        };
        let state = |block: &Block| BlockState::new(start(block), optimizer.initial(block.range.len()));
        let blocks = own.map(|block| (block.index, state(block))).collect();
        Adopted::of(isa, layout, rule, owners, blocks)
    }

    /// Makes the state from blocks and the owners of all blocks of the layout, and measures the bounds of
    /// each block.
    pub(super) fn of(
        isa: Isa,
        layout: Layout,
        rule: UpdateRule,
        owners: Vec<u32>,
        blocks: BTreeMap<u32, BlockState>,
    ) -> Adopted {
        let optimizer = optimizer::of(&rule);
        let of = |(&index, state): (&u32, &BlockState)| (index, Bounds::of(isa, &*optimizer, state));
        let bounds = blocks.iter().map(of).collect();
        Adopted { layout, rule, optimizer, owners, blocks, bounds, frozen: Vec::new(), published: Vec::new() }
    }

    /// Checks that the values of all blocks are small enough for further updates; the error names the first
    /// block for which they are not.
    pub(super) fn check(&self) -> Result<(), String> {
        self.bounds.iter().try_for_each(|(&index, bounds)| {
            let name = &self.tensor(index).name;
            bounds.check().map_err(|text| format!("block {index} ({name}) {text}"))
        })
    }

    /// Returns the block with this index in the layout; refuses an index that is unknown or whose block is
    /// not owned by shard `number`.
    pub(super) fn owned(&self, number: u32, index: u32) -> Result<&Block, Refusal> {
        let blocks = self.layout.blocks();
        let block = blocks.get(index as usize).ok_or_else(|| {
            let last = blocks.len().saturating_sub(1);
            Refusal::Invalid(format!("shard {number}: block {index} is unknown, expected 0 to {last}"))
        })?;
        let owner = self.owners[index as usize];
        if owner != number {
            let name = &self.layout.tensors()[block.tensor].name;
            return Err(Refusal::Invalid(format!(
                "shard {number}: block {index} ({name}) belongs to shard {owner}"
            )));
        }
        Ok(block)
    }

    /// Returns the tensor to which a block of the layout belongs.
    fn tensor(&self, block: u32) -> &Tensor {
        &self.layout.tensors()[self.layout.blocks()[block as usize].tensor]
    }

    /// Checks that a push, whose gradient was taken out of it, may be applied in shard `number`, whose
    /// versions have this `generation`, and returns the largest magnitude in the gradient; returns `None` if
    /// it, or a newer push of its worker, was applied before.
    pub(super) fn examine(
        &self,
        number: u32,
        generation: u64,
        isa: Isa,
        push: &BlockPush,
        gradient: &[f32],
    ) -> Result<Option<f32>, Refusal> {
        let block = self.owned(number, push.block)?;
        let name = &self.tensor(push.block).name;
        let invalid = |text: String| {
            Refusal::Invalid(format!("shard {number}: gradient of block {} ({name}) {text}", push.block))
        };
        let state = &self.blocks[&push.block];
        self.check_form(push, gradient.len(), block.range.len()).map_err(invalid)?;
        let newest = state.newest(push.member.incarnation);
        if newest.is_some_and(|newest| push.step <= newest) {
            return Ok(None);
        }
        if push.samples == 0 && !state.may_flush(push.member.incarnation) {
            return Err(invalid(format!(
                "of worker {} at step {} has no samples behind it, and none of that worker have come since \
                 the last such, expected at least 1",
                push.member.worker, push.step
            )));
        }
        let own = Version { generation, counter: state.counter };
        check_order(push, newest.unwrap_or(0), own).map_err(invalid)?;
        let bounds = &self.bounds[&push.block];
        let of = || format!("of worker {} at step {}", push.member.worker, push.step);
        let magnitude = bounds.check_gradient(isa, gradient);
        let magnitude = magnitude.map_err(|text| invalid(format!("{} {text}", of())))?;
        bounds
            .check()
            .map_err(|text| invalid(format!("{} is not applied: the block has diverged, it {text}", of())))?;
        Ok(Some(magnitude))
    }

    /// Checks that a push, of a gradient of `found` values, has as many as its block, which are `values`,
    /// no more samples behind it than a minibatch has, and a form that the optimizer takes. None are behind what
    /// was left over of gradients.
    fn check_form(&self, push: &BlockPush, found: usize, values: usize) -> Result<(), String> {
        if found != values {
            return Err(format!("has {found} values, expected {values}"));
        }
        if let Some(batch) = self.rule.batch.filter(|batch| push.samples > *batch) {
            return Err(format!("has {} samples behind it, expected 0 to {batch}", push.samples));
        }
        if !self.optimizer.takes(push.form) {
            return Err(format!(
                "is a step of the worker's own momentum, expected a gradient: the run's optimizer is {}",
                self.rule.optimizer
            ));
        }
        Ok(())
    }

    /// Updates a block by a push that was [examined](Self::examine), whose gradient has this largest
    /// magnitude, at `rate_factor` times the schedule's learning rate; the gradient becomes the values of the
    /// reply.
    pub(super) fn update(
        &mut self,
        isa: Isa,
        push: &BlockPush,
        gradient: &mut [f32],
        magnitude: f32,
        rate_factor: f64,
    ) -> Applied {
        let tensor = &self.layout.tensors()[self.layout.blocks()[push.block as usize].tensor];
        let state = self.blocks.get_mut(&push.block).expect("an owned block has a state");
        let bounds = self.bounds.get_mut(&push.block).expect("an owned block has bounds");
        let limit = bounds.limit(magnitude);
        if let Some(limit) = limit {
            let factor = limit / magnitude;
            gradient.iter_mut().for_each(|value| *value *= factor);
        }
        let staleness = state.staleness(push.version);
        let samples = state.samples + u64::from(push.samples);
        let rate = schedule::rate(&self.rule, state.samples, samples) * rate_factor;
        let policy = staleness::policy(&self.rule, push.form);
        let factors = Factors {
            rate: policy.rate(rate * f64::from(tensor.rate_multiplier), staleness) as f32,
            decay: (self.rule.weight_decay * f64::from(tensor.decay_multiplier)) as f32,
            average_step: average::step(&self.rule, state.counter) as f32,
            look_ahead: policy.look_ahead(staleness),
        };
        let largest = self.optimizer.update(isa, push.form, factors, gradient, state.values());
        bounds.applied(limit.unwrap_or(magnitude), largest);
        // A file may hold any number.
        state.counter = state.counter.saturating_add(1);
        state.samples = samples;
        state.record(push);
        Applied { staleness, rate, counter: state.counter, samples, limited: limit.is_some() }
    }

    /// Returns the values of a block's log in the format `wire`, for the worker with this number, which begins to
    /// follow it.
    ///
    /// # Errors
    /// If this is the first in the format and the machine has not the memory for it.
    pub(super) fn view(
        &mut self,
        (wire, worker): (Wire, u32),
        block: u32,
        generation: u64,
    ) -> Result<BlockValues, String> {
        self.publish(wire)?;
        let (log, state) = self.log((wire, worker), block).expect("published just now");
        let (counter, values) = log.view(&state.parameters, state.counter);
        Ok(BlockValues { block, version: Version { generation, counter }, values: values.into() })
    }

    /// Returns what the worker with this number lacks, which follows its log in the format `wire` and has the
    /// log's values of `version`: the differences since, or, if the log does not go back so far, its values.
    /// Without a log, and without the memory for one, these are the parameters.
    pub(super) fn since(
        &mut self,
        (wire, worker): (Wire, u32),
        block: u32,
        version: Version,
        generation: u64,
    ) -> BlockAnswer {
        if version.generation == generation
            && let Some((log, state)) = self.log((wire, worker), block)
            && let Some(differences) = log.since(version.counter, &state.parameters, state.counter)
        {
            let version = Version { generation, counter: log.counter() };
            return BlockAnswer::Differences(BlockDifferences { block, version, differences });
        }
        let view = self.view((wire, worker), block, generation);
        BlockAnswer::Values(view.unwrap_or_else(|_| self.blocks[&block].message(block, generation)))
    }

    /// Returns a block and its log in the format `wire` for the worker with this number, if there is one.
    fn log(&mut self, (wire, worker): (Wire, u32), block: u32) -> Option<(&mut PublishedLog, &BlockState)> {
        let (_, logs) = self.published.iter_mut().find(|(known, _)| *known == wire)?;
        let at = worker as usize % logs.len();
        Some((logs[at].get_mut(&block)?, &self.blocks[&block]))
    }

    /// Begins the logs of all blocks in the format `wire`, as many as the machine has memory for, unless there
    /// are some.
    fn publish(&mut self, wire: Wire) -> Result<(), String> {
        if self.published.iter().any(|(known, _)| *known == wire) {
            return Ok(());
        }
        let values: usize = self.blocks.values().map(|state| state.parameters.len()).sum();
        // The parameters as they are now, and for each log a view, and differences of as many bytes.
        let room = |logs: usize| limits::memory::check(((1 + 2 * logs) * values * size_of::<f32>()) as u64);
        let logs = (1..=MOST_LOGS).rev().find(|logs| room(*logs).is_ok());
        let Some(logs) = logs else {
            let shortage = room(1).expect_err("no number of logs fits");
            return Err(format!("for the log of {values} parameters in {wire}, {shortage}"));
        };
        let begin = |(&index, state): (&u32, &BlockState)| {
            (index, PublishedLog::new(wire, state.parameters.clone(), state.counter))
        };
        let log: BTreeMap<u32, PublishedLog> = self.blocks.iter().map(begin).collect();
        self.published.push((wire, vec![log; logs]));
        Ok(())
    }

    /// Drops the averages frozen for evaluations that are not `open`.
    pub(super) fn keep_frozen(&mut self, open: impl Fn(u64) -> bool) {
        self.frozen.retain(|frozen| open(frozen.evaluation));
    }

    /// Lists the evaluations that averages are frozen for.
    #[cfg(test)]
    pub(super) fn evaluations(&self) -> impl Iterator<Item = u64> {
        self.frozen.iter().map(|frozen| frozen.evaluation)
    }

    /// Returns the averages frozen for an evaluation, freezing them now if this is its first fetch.
    pub(super) fn frozen(&mut self, evaluation: u64, generation: u64) -> &Frozen {
        if let Some(at) = self.frozen.iter().position(|frozen| frozen.evaluation == evaluation) {
            return &self.frozen[at];
        }
        if self.frozen.len() == FROZEN {
            self.frozen.remove(0);
        }
        let copy = |(&index, state): (&u32, &BlockState)| {
            (index, (Version { generation, counter: state.counter }, Arc::new(state.average.clone())))
        };
        self.frozen.push(Frozen { evaluation, blocks: self.blocks.iter().map(copy).collect() });
        self.frozen.last().expect("just pushed")
    }
}

/// Checks that a push follows the worker's `newest` one that was applied to the block, and that it was
/// computed from a version that the block, which is at `own`, has had. One from before a restore may be ahead
/// of the block in an earlier generation.
fn check_order(push: &BlockPush, newest: u64, own: Version) -> Result<(), String> {
    let most = newest.saturating_add(MOST_STEPS_AHEAD);
    if push.step > most {
        return Err(format!("is of step {}, expected at most {most}: the last one was {newest}", push.step));
    }
    let Version { generation, counter } = push.version;
    if generation > own.generation || (generation == own.generation && counter > own.counter) {
        return Err(format!(
            "was computed from update {counter} of generation {generation}, the block has had {} of generation {}",
            own.counter, own.generation
        ));
    }
    Ok(())
}
