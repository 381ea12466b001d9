//! A shard: blocks of parameters, and the update that every pushed gradient makes to its block.
//!
//! A shard is plain synchronous code without a clock, a network or threads. Its update is that of
//! `torch.optim.SGD`: `v = momentum * v + (g + decay * w)`, then `w -= rate * v` (Caffe keeps the rate inside
//! the velocity). Pushes come from any worker in any order, and none waits for another. A push is identified
//! by (incarnation, step, block), and one that is repeated is not applied again.
//!
//! Staleness is the number of updates that a block received between the fetch that a gradient was computed
//! from and the gradient's own application. What is made of it is a [policy](crate::staleness) of the run.

mod bounds;
pub mod file;
mod host;
mod warm_start;

use std::{collections::BTreeMap, sync::Arc};

use kernels::{Isa, State, Update, magnitudes, momentum_update_ahead, step_update};
use parameters::{Block, Layout, assign};
use protocol::{
    AdoptReply, BlockPush, BlockValues, Kind, PushForm, PushReply, Refusal, ShardStatus, UpdateRule, Version,
};
use settings::{Difference, first_difference};

use self::bounds::Bounds;
pub use self::{host::ShardHost, warm_start::WarmStart};
use crate::{average, schedule, staleness};

/// Number of evaluations whose frozen averages are kept: the current one and one that starts before it is
/// done.
const FROZEN: usize = 2;
/// Number of refused pushes that are logged one by one. After those, only every refusal whose count is a
/// power of two is logged, so that a worker that never stops does not fill the disk.
const NAMED: u64 = 100;

/// Number of values held for each parameter: the parameter, its velocity and its average.
const COPIES: usize = 3;

/// One part of the network's parameters. A shard is empty until a worker brings the network's layout.
pub struct Shard {
    number: u32,
    total: u32,
    generation: u64,
    isa: Isa,
    /// The model file that tensors start from; dropped once a layout is adopted.
    warm: Option<Arc<WarmStart>>,
    adopted: Option<Adopted>,
    status: ShardStatus,
}

/// The state of a shard that has adopted a layout.
#[derive(Clone)]
pub(crate) struct Adopted {
    pub(crate) layout: Layout,
    pub(crate) plan: UpdateRule,
    /// Number of the shard that owns each block of the layout.
    owners: Vec<u32>,
    pub(crate) blocks: BTreeMap<u32, BlockState>,
    /// Bounds on the gradients of each block.
    bounds: BTreeMap<u32, Bounds>,
    /// Averages of the shard, each as it was when its evaluation was first fetched, the newest last.
    frozen: Vec<Frozen>,
}

/// The state of one block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockState {
    /// The parameters. They are shared with the fetches that are being sent: an update then changes a copy.
    pub(crate) parameters: Arc<Vec<f32>>,
    pub(crate) velocity: Vec<f32>,
    pub(crate) average: Vec<f32>,
    /// Updates applied since the start of the run.
    pub(crate) counter: u64,
    /// Samples behind those updates.
    pub(crate) samples: u64,
    /// The newest step that was applied from each incarnation: 16 bytes for every worker that ever pushed.
    pub(crate) applied: BTreeMap<u64, u64>,
}

/// The averages of a shard's blocks at one moment.
#[derive(Clone)]
struct Frozen {
    evaluation: u64,
    blocks: BTreeMap<u32, (Version, Arc<Vec<f32>>)>,
}

impl Shard {
    /// Makes shard `number` of `total` without a layout; its versions start in `generation`.
    pub fn empty(number: u32, total: u32, generation: u64, isa: Isa) -> Shard {
        Shard {
            number,
            total,
            generation,
            isa,
            warm: None,
            adopted: None,
            status: ShardStatus { shard: number, ..Default::default() },
        }
    }

    /// Sets the model file from which the tensors start that it has.
    pub(crate) fn starting_from(self, warm: Option<Arc<WarmStart>>) -> Shard {
        Shard { warm, ..self }
    }

    /// Makes shard `number` of `total` from what was read from its file; its versions go on in `generation`.
    pub fn restored(number: u32, total: u32, generation: u64, isa: Isa, saved: SavedShard) -> Shard {
        let owners = assign(&saved.layout, total as usize);
        let adopted = Adopted::of(isa, saved.layout, saved.plan, owners, saved.blocks);
        let blocks = adopted.blocks.len() as u32;
        let samples = adopted.blocks.values().map(|state| state.samples).max().unwrap_or(0);
        let status = ShardStatus { shard: number, blocks, samples, ..Default::default() };
        Shard { number, total, generation, isa, warm: None, adopted: Some(adopted), status }
    }

    /// Checks that the shard is worth a snapshot; the error names a block that has diverged. No run can
    /// resume from such a block, and its snapshot would replace one that a run can resume from.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.adopted.as_ref().map_or(Ok(()), Adopted::check)
    }

    /// Copies what a snapshot holds of this shard; returns none before a layout is adopted.
    pub(crate) fn saved(&self) -> Option<SavedShard> {
        let Adopted { layout, plan, blocks, .. } = self.adopted.as_ref()?;
        Some(SavedShard {
            shard: self.number,
            total: self.total,
            generation: self.generation,
            layout: layout.clone(),
            plan: plan.clone(),
            blocks: blocks.clone(),
        })
    }

    /// Adopts a layout and a plan if the shard has none yet, else compares them with its own.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`], with the first tensor or key of the plan that differs from the shard's own, or
    /// if the model file that the run starts from is not the one given to this process; [`Refusal::Invalid`]
    /// for numbers out of range, initial values that are too large, or a layout that does not fit this
    /// machine's memory.
    pub fn adopt(&mut self, layout: Layout, plan: UpdateRule) -> Result<AdoptReply, Refusal> {
        if let Some(adopted) = &self.adopted {
            if let Some(difference) = adopted.layout.first_difference(&layout) {
                return Err(Refusal::Mismatch(format!(
                    "shard {}: the network is not the run's: {difference}",
                    self.number
                )));
            }
            if let Some(Difference { key, one, other }) = first_difference(&adopted.plan, &plan) {
                return Err(Refusal::Mismatch(format!(
                    "shard {}: plan key {key}: the run has {one}, the worker brings {other}",
                    self.number
                )));
            }
        } else {
            bounds::check_plan(&plan, &layout)
                .map_err(|text| Refusal::Invalid(format!("shard {}: {text}", self.number)))?;
            let warm = self.warm.as_deref();
            warm_start::check(warm, &plan, &layout)
                .map_err(|text| Refusal::Mismatch(format!("shard {}: {text}", self.number)))?;
            self.check_memory(&layout)?;
            if let Some(warm) = warm.filter(|_| self.number == 0) {
                warm.summary(&plan, &layout).iter().for_each(|line| tracing::info!("{line}"));
            }
            let adopted = Adopted::new(self.isa, self.number, self.total, layout, plan, warm);
            adopted.check().map_err(|text| {
                Refusal::Invalid(format!("shard {}: {text} at the start of a run", self.number))
            })?;
            self.adopted = Some(adopted);
            self.warm = None;
        }
        let adopted = self.adopted.as_ref().expect("adopted above");
        self.status.blocks = adopted.blocks.len() as u32;
        Ok(AdoptReply { fingerprint: adopted.layout.fingerprint() })
    }

    /// Checks that this machine has the memory for this shard's part of a layout, which a worker may send in
    /// any size.
    fn check_memory(&self, layout: &Layout) -> Result<(), Refusal> {
        let owners = assign(layout, self.total as usize);
        let own = layout.blocks().iter().filter(|block| owners[block.index as usize] == self.number);
        let values: usize = own.map(|block| block.range.len()).sum();
        limits::memory::check((COPIES * values * size_of::<f32>()) as u64).map_err(|shortage| {
            Refusal::Invalid(format!(
                "shard {}: for {values} of the network's {} parameters, with velocity and average, {shortage}; take a \
                 smaller network, or more machines for the server",
                self.number,
                layout.len()
            ))
        })
    }

    /// Applies the gradient of one block, unless it was applied before or is unusable. The reply holds the
    /// block's values from which the worker is to compute its next gradient; they lie in the memory of the
    /// pushed gradient.
    pub fn push(&mut self, push: BlockPush) -> PushReply {
        self.status.bytes_in += 4 * push.gradient.len() as u64;
        let block = push.block;
        let (outcome, staleness) = match self.apply(push) {
            Ok((block, staleness)) => {
                self.status.bytes_out += 4 * block.values.len() as u64;
                (Ok(block), staleness)
            }
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

    fn apply(&mut self, mut push: BlockPush) -> Result<(BlockValues, u64), Refusal> {
        let (number, generation, isa) = (self.number, self.generation, self.isa);
        let adopted = self.adopted.as_mut().ok_or_else(|| nothing_adopted(number))?;
        let block = adopted.owned(number, push.block)?.clone();
        let tensor = &adopted.layout.tensors()[block.tensor];
        let what = || format!("shard {number}: gradient of block {} ({})", push.block, tensor.name);
        if push.gradient.len() != block.range.len() {
            let (found, expected) = (push.gradient.len(), block.range.len());
            return Err(Refusal::Invalid(format!("{} has {found} values, expected {expected}", what())));
        }
        if push.samples == 0 {
            return Err(Refusal::Invalid(format!("{} has 0 samples behind it, expected at least 1", what())));
        }
        let state = adopted.blocks.get_mut(&push.block).expect("an owned block has a state");
        if state.applied.get(&push.member.incarnation).is_some_and(|&newest| push.step <= newest) {
            self.status.repeated += 1;
            return Ok((state.values(push.block, generation), 0));
        }
        let bounds = adopted.bounds.get_mut(&push.block).expect("an owned block has bounds");
        let size = magnitudes(isa, &push.gradient);
        let (worker, step) = (push.member.worker, push.step);
        bounds.check_gradient(&push.gradient, &size).map_err(|text| {
            Refusal::Invalid(format!("{} of worker {worker} at step {step} {text}", what()))
        })?;
        bounds.check().map_err(|text| {
            Refusal::Invalid(format!(
                "{} of worker {worker} at step {step} is not applied: the block has diverged, it {text}",
                what()
            ))
        })?;
        // A version from before a restore may be ahead of the block; its staleness counts as 0.
        let staleness = state.counter.saturating_sub(push.version.counter);
        let samples = state.samples + u64::from(push.samples);
        let rate = schedule::rate(&adopted.plan, state.samples, samples);
        let average_step = average::step(&adopted.plan, state.counter) as f32;
        let BlockState { parameters, velocity, average, .. } = state;
        let weights = Arc::make_mut(parameters).as_mut_slice();
        let policy = staleness::policy(&adopted.plan, push.form);
        let rate_of_update = policy.rate(rate * f64::from(tensor.rate_multiplier), staleness) as f32;
        let largest = match push.form {
            PushForm::Gradient => {
                let update = Update {
                    rate: rate_of_update,
                    momentum: adopted.plan.momentum as f32,
                    decay: (adopted.plan.weight_decay * f64::from(tensor.decay_multiplier)) as f32,
                };
                let block = State { weights, velocity, average };
                let ahead =
                    rate_of_update * momentum_look_ahead(adopted.plan.momentum, policy.look_ahead(staleness));
                momentum_update_ahead(isa, &update, average_step, ahead, &mut push.gradient, block)
            }
            PushForm::Step => {
                step_update(isa, rate_of_update, average_step, &mut push.gradient, weights, average)
            }
        };
        bounds.applied(push.gradient.len(), &size, largest);
        state.counter += 1;
        state.samples = samples;
        state.applied.insert(push.member.incarnation, push.step);
        self.status.updates += 1;
        self.status.staleness_sum += staleness;
        self.status.staleness_max = self.status.staleness_max.max(staleness);
        self.status.learning_rate = rate;
        self.status.samples = self.status.samples.max(samples);
        let version = Version { generation, counter: state.counter };
        Ok((BlockValues { block: push.block, version, values: push.gradient.into() }, staleness))
    }

    /// Reads one block. The first fetch of an average for a new evaluation freezes the averages of the whole
    /// shard, so that the evaluation sees them all at one moment; evaluation 0 reads the current average.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] before a layout is adopted; [`Refusal::Invalid`] for a block that does not exist
    /// or that belongs to another shard.
    pub fn fetch(&mut self, block: u32, kind: Kind) -> Result<BlockValues, Refusal> {
        let (number, generation) = (self.number, self.generation);
        let adopted = self.adopted.as_mut().ok_or_else(|| nothing_adopted(number))?;
        adopted.owned(number, block)?;
        let state = &adopted.blocks[&block];
        let values = match kind {
            Kind::Parameters => state.values(block, generation),
            Kind::Average { evaluation: 0 } => {
                let version = Version { generation, counter: state.counter };
                BlockValues { block, version, values: state.average.clone().into() }
            }
            Kind::Average { evaluation } => {
                let (version, values) = adopted.frozen(evaluation, generation).blocks[&block].clone();
                BlockValues { block, version, values: values.into() }
            }
        };
        self.status.bytes_out += 4 * values.values.len() as u64;
        Ok(values)
    }

    /// Counters of the shard since the process started.
    pub fn status(&self) -> &ShardStatus {
        &self.status
    }

    /// The network's layout, once it is adopted.
    pub fn layout(&self) -> Option<&Layout> {
        self.adopted.as_ref().map(|adopted| &adopted.layout)
    }
}

/// The state of a shard as its file keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedShard {
    pub(crate) shard: u32,
    pub(crate) total: u32,
    pub(crate) generation: u64,
    pub(crate) layout: Layout,
    pub(crate) plan: UpdateRule,
    pub(crate) blocks: BTreeMap<u32, BlockState>,
}

impl Adopted {
    fn new(
        isa: Isa,
        number: u32,
        total: u32,
        layout: Layout,
        plan: UpdateRule,
        warm: Option<&WarmStart>,
    ) -> Adopted {
        let owners = assign(&layout, total as usize);
        let own = layout.blocks().iter().filter(|block| owners[block.index as usize] == number);
        let start = |block: &Block| {
            let tensor = &layout.tensors()[block.tensor];
            let first = layout.range(block.tensor).start;
            match warm.and_then(|warm| warm.values(&plan, tensor)) {
                Some(values) => values[block.range.start - first..block.range.end - first].to_vec(),
                None => layout.initial_values(block, plan.seed),
            }
        };
        let blocks = own.map(|block| (block.index, BlockState::new(start(block)))).collect();
        Adopted::of(isa, layout, plan, owners, blocks)
    }

    fn of(
        isa: Isa,
        layout: Layout,
        plan: UpdateRule,
        owners: Vec<u32>,
        blocks: BTreeMap<u32, BlockState>,
    ) -> Adopted {
        let bounds = blocks.iter().map(|(&index, state)| (index, Bounds::of(isa, state))).collect();
        Adopted { layout, plan, owners, blocks, bounds, frozen: Vec::new() }
    }

    /// Checks that all blocks leave room for updates; the error names the first that does not.
    fn check(&self) -> Result<(), String> {
        self.bounds.iter().try_for_each(|(&index, bounds)| {
            let name = &self.layout.tensors()[self.layout.blocks()[index as usize].tensor].name;
            bounds.check().map_err(|text| format!("block {index} ({name}) {text}"))
        })
    }

    /// Finds a block that shard `number` owns.
    fn owned(&self, number: u32, index: u32) -> Result<&Block, Refusal> {
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

    /// Returns the averages frozen for an evaluation, freezing them now if this is its first fetch.
    fn frozen(&mut self, evaluation: u64, generation: u64) -> &Frozen {
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

impl BlockState {
    fn new(parameters: Vec<f32>) -> BlockState {
        BlockState {
            velocity: vec![0.0; parameters.len()],
            average: parameters.clone(),
            parameters: Arc::new(parameters),
            counter: 0,
            samples: 0,
            applied: BTreeMap::new(),
        }
    }

    /// The block's parameters as a message, without a copy.
    fn values(&self, block: u32, generation: u64) -> BlockValues {
        let version = Version { generation, counter: self.counter };
        BlockValues { block, version, values: self.parameters.clone().into() }
    }
}

/// Returns how far momentum alone moves the parameters in `updates` updates, as a multiple of rate times
/// velocity: `m + m^2 + ... + m^updates`.
fn momentum_look_ahead(momentum: f64, updates: u64) -> f32 {
    let rest = momentum.powf(updates as f64);
    (momentum * (1.0 - rest) / (1.0 - momentum)) as f32
}

fn nothing_adopted(number: u32) -> Refusal {
    Refusal::NotReady(format!("shard {number}: no layout adopted yet; a joining worker brings it"))
}

#[cfg(test)]
mod tests;
