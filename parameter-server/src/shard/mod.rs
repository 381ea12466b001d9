//! A shard: blocks of parameters, and the update that every pushed gradient makes to its block.
//!
//! A shard is plain synchronous code without a clock, a network or threads. Its update is that of the run's
//! optimizer. Pushes come from any worker in any order, and none waits for another. A
//! push is identified by (incarnation, step, block), and one that is repeated is not applied again.
//!
//! Staleness is the number of updates that a block received between the fetch that a gradient was computed
//! from and the gradient's own application. Its effect on the update is a policy of the run.

mod adopted;
mod block;
mod bounds;
pub mod file;
mod host;
mod members;
mod published_log;
mod warm_start;
mod writer;

use std::{collections::BTreeMap, sync::Arc};

use kernels::Isa;
use parameters::{Layout, assign};
use protocol::{
    AdoptReply, BlockAnswer, BlockPush, BlockValues, Kind, PushReply, Refusal, ShardLedger, ShardStatus,
    UpdateRule, Version,
};
use settings::{Difference, first_difference};

pub use self::{adopted::MOST_LOGS, host::ShardHost, warm_start::WarmStart};
use self::{
    adopted::{Adopted, Applied},
    members::Members,
};
pub(crate) use self::{block::BlockState, bounds::check_layout};
use crate::optimizer;

/// Number of refused pushes that are logged one by one. After those, only every refusal whose count is a
/// power of two is logged, so that a worker that never stops does not fill the disk.
const NAMED: u64 = 100;

/// One part of the network's parameters. A shard is empty until it receives the run's update rule from the
/// coordinator and the network's layout from a worker.
pub struct Shard {
    number: u32,
    total: u32,
    generation: u64,
    isa: Isa,
    /// The model file that tensors start from; dropped once a layout is adopted.
    warm: Option<Arc<WarmStart>>,
    stage: Stage,
    status: ShardStatus,
    /// Pushes of each worker that were scaled down, by incarnation (random number of its join).
    limited: BTreeMap<u64, u64>,
    /// Factor on the learning rate of the schedule, as an operator set it.
    rate_factor: f64,
}

/// Stage of a shard: what it knows of its run.
enum Stage {
    /// The shard has neither the run's update rule nor the network's layout.
    Empty,
    /// The shard has the run's update rule (how gradients become updates), but not the network's layout (its
    /// tensors).
    Begun(UpdateRule),
    /// The shard has the run's update rule and the network's layout, and holds its part of the parameters.
    Adopted(Box<Adopted>),
}

impl Stage {
    /// Returns the state of a shard that has adopted a layout.
    fn adopted(&self) -> Option<&Adopted> {
        match self {
            Stage::Adopted(adopted) => Some(adopted),
            Stage::Empty | Stage::Begun(_) => None,
        }
    }

    /// Returns the state of a shard that has adopted a layout, for a call to shard `number` that needs one.
    fn adopted_mut(&mut self, number: u32) -> Result<&mut Adopted, Refusal> {
        match self {
            Stage::Adopted(adopted) => Ok(adopted),
            Stage::Empty | Stage::Begun(_) => Err(Refusal::NotReady(format!(
                "shard {number}: no layout adopted yet; a joining worker brings it"
            ))),
        }
    }
}

impl Shard {
    /// Makes shard `number` (from 0) of `total`, without parameters yet. `generation` becomes part of the
    /// version of its values and has to be higher than at any earlier start of the shard.
    pub fn empty(number: u32, total: u32, generation: u64, isa: Isa) -> Shard {
        Shard {
            number,
            total,
            generation,
            isa,
            warm: None,
            stage: Stage::Empty,
            status: ShardStatus { shard: number, ..Default::default() },
            limited: BTreeMap::new(),
            rate_factor: 1.0,
        }
    }

    /// Sets the model file `warm`, if any: the network's tensors that it contains in the same shape start
    /// with the values there, unless the update rule excepts them; all others start with their usual initial
    /// values.
    pub fn starting_from(self, warm: Option<Arc<WarmStart>>) -> Shard {
        Shard { warm, ..self }
    }

    /// Makes shard `number` (from 0) of `total` from `saved`, the content of its file in a snapshot.
    /// `generation` becomes part of the version of its values and has to be higher than at any earlier start
    /// of the shard.
    pub fn restored(number: u32, total: u32, generation: u64, isa: Isa, saved: SavedShard) -> Shard {
        let owners = assign(&saved.layout, total as usize);
        let adopted = Adopted::of(isa, saved.layout, saved.rule, owners, saved.blocks);
        let blocks = adopted.blocks.len() as u32;
        let samples = adopted.blocks.values().map(|state| state.samples).max().unwrap_or(0);
        let layout = Some(adopted.layout.fingerprint().to_hex());
        let status = ShardStatus { shard: number, blocks, samples, layout, ..Default::default() };
        let (stage, limited) = (Stage::Adopted(Box::new(adopted)), BTreeMap::new());
        Shard { number, total, generation, isa, warm: None, stage, status, limited, rate_factor: 1.0 }
    }

    /// Checks that a run can resume from a snapshot of the shard; the error names a block that has diverged.
    /// A snapshot of such a block would replace one that a run can resume from.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.stage.adopted().map_or(Ok(()), Adopted::check)
    }

    /// Copies the state of this shard for a snapshot; returns `None` before a layout is adopted.
    pub(crate) fn saved(&self) -> Option<SavedShard> {
        let Adopted { layout, rule, blocks, .. } = self.stage.adopted()?;
        Some(SavedShard {
            shard: self.number,
            total: self.total,
            generation: self.generation,
            layout: layout.clone(),
            rule: rule.clone(),
            blocks: blocks.clone(),
        })
    }

    /// Keeps what belongs to the workers and the evaluations of `roster` and forgets the rest: nothing more
    /// of other workers is let in, and nobody fetches other averages. Returns the samples behind the updates
    /// of each block, also by worker; `None` before a layout is adopted. The learning rate is that of the
    /// schedule times the roster's factor from then on.
    fn keep(&mut self, roster: &Members) -> Option<ShardLedger> {
        self.rate_factor = roster.rate_factor();
        let Stage::Adopted(adopted) = &mut self.stage else { return None };
        adopted.keep_frozen(|evaluation| roster.evaluates(evaluation));
        self.limited.retain(|&incarnation, _| roster.lists(incarnation));
        let (generation, limited) = (self.generation, self.limited.clone());
        let mut ledger = ShardLedger { generation, limited, ..ShardLedger::default() };
        let blocks = adopted.blocks.len();
        for (place, state) in adopted.blocks.values_mut().enumerate() {
            ledger.samples.push(state.samples);
            state.applied.retain(|&incarnation, _| roster.lists(incarnation));
            for (&incarnation, applied) in &state.applied {
                let member = ledger.members.entry(incarnation).or_insert_with(|| vec![0; blocks]);
                member[place] = applied.samples;
            }
        }
        Some(ledger)
    }

    /// Takes `rule` as the run's update rule (how gradients become updates) if the shard has none yet, else
    /// compares it with the shard's own. A shard with a layout takes over the length, rate and stairs of `rule`,
    /// which a run may have otherwise from the moment on in which it goes on.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`] with the first other key of the rule that differs from the shard's own;
    /// [`Refusal::Invalid`] for a rule with numbers out of range.
    pub fn begin(&mut self, rule: &UpdateRule) -> Result<(), Refusal> {
        let own = match &self.stage {
            Stage::Begun(own) => own.clone(),
            Stage::Adopted(adopted) => UpdateRule {
                learning_rate: rule.learning_rate,
                stair_factor: rule.stair_factor,
                stair_samples: rule.stair_samples,
                total_samples: rule.total_samples,
                // The rule in a file of an earlier release does not have it.
                batch: adopted.rule.batch.or(rule.batch),
                ..adopted.rule.clone()
            },
            Stage::Empty => {
                bounds::check_rule(rule).map_err(|text| self.invalid(&text))?;
                self.stage = Stage::Begun(rule.clone());
                return Ok(());
            }
        };
        if let Some(Difference { key, one, other }) = first_difference(&own, rule) {
            return Err(Refusal::Mismatch(format!(
                "shard {}: update rule key {key}: the shard has {one}, the coordinator brings {other}",
                self.number
            )));
        }
        if let Stage::Adopted(adopted) = &mut self.stage {
            let checked = bounds::check_rule(rule).and_then(|()| bounds::check_layout(rule, &adopted.layout));
            match checked {
                Ok(()) => adopted.rule = own,
                Err(text) => return Err(self.invalid(&text)),
            }
        }
        Ok(())
    }

    /// Takes `rule` in place of the update rule that the shard has, and forgets the network's layout, of which
    /// no worker has updated anything.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`] if a worker has; [`Refusal::Invalid`] for a rule with numbers out of range.
    pub fn begin_again(&mut self, rule: &UpdateRule) -> Result<(), Refusal> {
        if self.status.samples > 0 {
            return Err(Refusal::Mismatch(format!(
                "shard {} holds updates of {} samples, expected none before another update rule",
                self.number, self.status.samples
            )));
        }
        bounds::check_rule(rule).map_err(|text| self.invalid(&text))?;
        self.stage = Stage::Begun(rule.clone());
        (self.status.blocks, self.status.layout) = (0, None);
        Ok(())
    }

    /// Takes `layout` (the network's tensors in their order) if the shard has none yet, and makes its part of
    /// the parameters; else compares it with the shard's own.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] before the shard has the update rule; [`Refusal::Mismatch`] with the first
    /// tensor that differs from the shard's own, or if the model file that the run starts from is not the one
    /// given to this process; [`Refusal::Invalid`] for a tensor's multipliers of learning rate or weight
    /// decay out of range, initial values that are too large, or a layout that does not fit this machine's
    /// memory.
    pub fn adopt(&mut self, layout: Layout) -> Result<AdoptReply, Refusal> {
        let number = self.number;
        let rule = match &self.stage {
            Stage::Empty => {
                let text = "no update rule yet; the coordinator brings it once a worker has joined";
                return Err(Refusal::NotReady(format!("shard {number}: {text}")));
            }
            Stage::Begun(rule) => rule,
            Stage::Adopted(adopted) => {
                return match adopted.layout.first_difference(&layout) {
                    None => Ok(AdoptReply { fingerprint: adopted.layout.fingerprint() }),
                    Some(difference) => Err(Refusal::Mismatch(format!(
                        "shard {number}: the network is not the run's: {difference}"
                    ))),
                };
            }
        };
        bounds::check_layout(rule, &layout).map_err(|text| self.invalid(&text))?;
        let warm = self.warm.as_deref();
        warm_start::check(warm, rule, &layout)
            .map_err(|text| Refusal::Mismatch(format!("shard {number}: {text}")))?;
        self.check_memory(&layout, rule)?;
        if let Some(warm) = warm.filter(|_| number == 0) {
            warm.summary(rule, &layout).iter().for_each(|line| tracing::info!("{line}"));
        }
        let owners = assign(&layout, self.total as usize);
        let adopted = Adopted::new(self.isa, number, owners, layout, rule.clone(), warm);
        adopted.check().map_err(|text| self.invalid(&format!("{text} at the start of a run")))?;
        let fingerprint = adopted.layout.fingerprint();
        (self.status.blocks, self.status.layout) = (adopted.blocks.len() as u32, Some(fingerprint.to_hex()));
        self.stage = Stage::Adopted(Box::new(adopted));
        Ok(AdoptReply { fingerprint })
    }

    /// Returns the refusal of something that this shard cannot use.
    fn invalid(&self, text: &str) -> Refusal {
        Refusal::Invalid(format!("shard {}: {text}", self.number))
    }

    /// Checks that this machine has the memory for this shard's part of a layout, which a worker may send in
    /// any size.
    fn check_memory(&self, layout: &Layout, rule: &UpdateRule) -> Result<(), Refusal> {
        let owners = assign(layout, self.total as usize);
        let own = layout.blocks().iter().filter(|block| owners[block.index as usize] == self.number);
        let values: usize = own.map(|block| block.range.len()).sum();
        let arrays = optimizer::of(rule).arrays();
        // Beside the parameters themselves and their average.
        let copies = 2 + arrays.len();
        limits::memory::check((copies * values * size_of::<f32>()) as u64).map_err(|shortage| {
            self.invalid(&format!(
                "for {values} of the network's {} parameters, with {} and average, {shortage}; take a smaller network, \
                 or more machines for the server",
                layout.len(),
                arrays.join(", ")
            ))
        })
    }

    /// Applies the pushed gradient of one block (a piece of one tensor), unless it was applied before. The
    /// reply holds the values of the block from which the worker is to compute its next gradient, in the
    /// memory of a gradient that was applied; or the refusal of a push that is unusable, as when its values
    /// are not finite.
    pub fn push(&mut self, push: BlockPush) -> PushReply {
        let block = push.block;
        let (outcome, staleness) = match self.apply(push) {
            Ok((block, staleness)) => (Ok(block), staleness),
            Err(refusal) => {
                // A shard without a layout did not examine the push, so this is not counted as a refused
                // gradient.
                if !matches!(refusal, Refusal::NotReady(_)) {
                    self.status.refused += 1;
                    let refused = self.status.refused;
                    if refused <= NAMED || refused.is_power_of_two() {
                        tracing::warn!(refused, "a push is refused: {refusal}");
                    }
                }
                (Err(refusal), 0)
            }
        };
        PushReply { block, outcome, staleness }
    }

    fn apply(&mut self, mut push: BlockPush) -> Result<(BlockAnswer, u64), Refusal> {
        let (number, generation, isa) = (self.number, self.generation, self.isa);
        let adopted = self.stage.adopted_mut(number)?;
        let mut gradient = std::mem::replace(&mut push.gradient, Vec::new().into()).into_vec();
        let Some(magnitude) = adopted.examine(number, generation, isa, &push, &gradient)? else {
            self.status.repeated += 1;
            let answer = match push.log {
                None => BlockAnswer::Values(adopted.blocks[&push.block].message(push.block, generation)),
                Some(wire) => adopted.since((wire, push.member.worker), push.block, push.version, generation),
            };
            return Ok((answer, 0));
        };
        let Applied { staleness, rate, counter, samples, limited } =
            adopted.update(isa, &push, &mut gradient, magnitude, self.rate_factor);
        let answer = match push.log {
            None => {
                let version = Version { generation, counter };
                BlockAnswer::Values(BlockValues { block: push.block, version, values: gradient.into() })
            }
            Some(wire) => adopted.since((wire, push.member.worker), push.block, push.version, generation),
        };
        self.status.updates += 1;
        if limited {
            self.status.limited += 1;
            *self.limited.entry(push.member.incarnation).or_default() += 1;
        }
        self.status.staleness_sum += staleness;
        self.status.staleness_counts.record(staleness);
        self.status.learning_rate = rate;
        self.status.samples = self.status.samples.max(samples);
        // From the first update on the run does not begin again, and needs the model file no more.
        self.warm = None;
        Ok((answer, staleness))
    }

    /// Reads the parameters, their published view, the velocity or the running average (`kind`) of one block
    /// (a piece of one tensor). The first fetch of an average for a new evaluation copies the averages of the
    /// whole shard, and later fetches for that evaluation read the copy, so that it sees them all as at one
    /// moment; evaluation 0 reads the current average.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] before the shard has the network's layout; [`Refusal::Invalid`] for a block that
    /// does not exist or that belongs to another shard, for the velocity of an optimizer that has none, or for
    /// the first view in a format if the machine has not the memory for its log.
    pub fn fetch(&mut self, block: u32, kind: Kind) -> Result<BlockValues, Refusal> {
        let (number, generation) = (self.number, self.generation);
        let adopted = self.stage.adopted_mut(number)?;
        adopted.owned(number, block)?;
        let state = &adopted.blocks[&block];
        Ok(match kind {
            Kind::Parameters => state.message(block, generation),
            Kind::View { log, worker } => {
                adopted.view((log, worker), block, generation).map_err(|text| self.invalid(&text))?
            }
            Kind::Velocity => {
                let velocity = state.arrays.get(optimizer::VELOCITY).ok_or_else(|| {
                    let optimizer = adopted.rule.optimizer;
                    Refusal::Invalid(format!("shard {number}: the optimizer {optimizer} has no velocity"))
                })?;
                let version = Version { generation, counter: state.counter };
                BlockValues { block, version, values: velocity.clone().into() }
            }
            Kind::Average { evaluation: 0 } => {
                let version = Version { generation, counter: state.counter };
                BlockValues { block, version, values: state.average.clone().into() }
            }
            Kind::Average { evaluation } => {
                let (version, values) = adopted.frozen(evaluation, generation).blocks[&block].clone();
                BlockValues { block, version, values: values.into() }
            }
        })
    }

    /// Returns the shard's status, whose counters start when the shard is made or restored. The bytes
    /// received and sent are not counted here but by the [`ShardHost`] that serves the shard.
    pub fn status(&self) -> &ShardStatus {
        &self.status
    }

    /// Lists the evaluations that averages are frozen for.
    #[cfg(test)]
    fn frozen(&self) -> Vec<u64> {
        self.stage.adopted().into_iter().flat_map(Adopted::evaluations).collect()
    }

    /// Returns the network's layout (its tensors in their order); `None` until a worker has brought it to the
    /// shard.
    pub fn layout(&self) -> Option<&Layout> {
        self.stage.adopted().map(|adopted| &adopted.layout)
    }
}

/// State of a shard as its file in a snapshot keeps it: its parameters, their average, the optimizer's state
/// and counters of updates, with the network's layout and the update rule.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedShard {
    pub(crate) shard: u32,
    pub(crate) total: u32,
    pub(crate) generation: u64,
    pub(crate) layout: Layout,
    pub(crate) rule: UpdateRule,
    pub(crate) blocks: BTreeMap<u32, BlockState>,
}

#[cfg(test)]
mod tests;
