//! The shards of a run as one store of parameters: it fetches all of them, or pushes a step's gradient and
//! receives the updated values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parameters::Layout;
use protocol::{
    AdoptRequest, BlockPush, BlockValues, Carried, Connector, FetchRequest, Kind, Life, Member, Patience,
    PushForm, PushReply, Refusal, ShardCalls, ShardClient, Version, Wire, until_ready,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::outgoing::OutgoingBlock;
use crate::stop::Stop;

/// Number of items that a channel to or from a shard's connection holds: enough to keep the connection busy,
/// a few MB at most.
const QUEUE: usize = 8;

/// Time within which all shards have heard of an evaluation that the coordinator has ordered.
const NEWS_AFTER: Duration = Duration::from_secs(10);

/// Number of bytes of encoded parameters, in reply, at which a group of blocks is sent. A message costs both sides about
/// as much as copying that many bytes, and half of a network's blocks are biases of a few hundred bytes.
const GROUP: usize = 128 << 10;

/// The training step that pushes belong to: one minibatch of one worker, whose gradient is pushed to the
/// shards.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The worker that pushes, and the join by which it is a member of the run.
    pub member: Member,
    /// Number of the training step, counted from 1 since the worker joined.
    pub step: u64,
    /// Number of samples that the gradient is the mean of.
    pub samples: u32,
    /// What is pushed: gradients, or Nesterov steps that the worker computed from them with its own momentum.
    pub form: PushForm,
}

/// The outcome of one training step's exchange with the shards, summed over all blocks: each block (a piece
/// of a tensor) of the gradient is pushed, and the reply has the block's updated parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Number of blocks of the gradient that the shards applied to the parameters.
    pub applied: u64,
    /// Sum over the applied blocks of their staleness: the number of updates that the block received after
    /// the version from which the gradient was computed and before this gradient.
    pub staleness_sum: u64,
    /// Largest staleness of an applied block: the number of updates that the block received after the version
    /// from which the gradient was computed and before this gradient.
    pub staleness_max: u64,
    /// Number of blocks of the gradient that the shards refused as unusable, for example as not finite.
    pub refused: u64,
    /// Text of the shard's first refusal of a block; `None` if none was refused.
    pub reason: Option<String>,
    /// Number of bytes of encoded gradients sent.
    pub bytes_out: u64,
    /// Number of bytes of encoded parameters received.
    pub bytes_in: u64,
}

/// The connections to all shards of a run, each of which holds a part of the parameters, and the version of
/// each block (piece of a tensor) that this worker last received.
///
/// `Client` is the client through which the shards are called: over the network, except in tests that hold
/// the shards in their own process.
pub struct Store<Client = ShardClient> {
    layout: Arc<Layout>,
    wire: Wire,
    processes: Vec<Client>,
    /// Index of the process, by shard.
    at: Vec<usize>,
    /// Index of the process and number of the shard, by block.
    home: Vec<(usize, u32)>,
    /// Number of blocks, by tensor.
    pieces: Vec<usize>,
    versions: Vec<Version>,
    /// Life of the server that the shards belong to.
    life: Life,
}

impl Store {
    /// Connects to every shard. `addresses` are those of the shards in the order of their numbers, each
    /// "host:port"; shards with the same address share a connection. `life` is that of the
    /// server.
    ///
    /// # Errors
    /// If `addresses` is empty or a shard cannot be reached.
    pub async fn connect(
        addresses: &[String],
        life: Life,
        layout: Arc<Layout>,
        wire: Wire,
        connector: &Connector,
    ) -> Result<Store, Stop> {
        if addresses.is_empty() {
            let text = "the coordinator names no shards, expected the address of at least one; start worker and server from \
                        one release";
            return Err(Stop::Failed(anyhow::anyhow!(text)));
        }
        let mut processes = Vec::new();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for address in addresses {
            if !known.contains_key(address.as_str()) {
                known.insert(address, processes.len());
                processes.push(ShardClient::connect(address, connector.clone()).await?);
            }
        }
        let at = addresses.iter().map(|address| known[address.as_str()]).collect();
        Ok(Store::over(processes, at, life, layout, wire))
    }
}

impl<Client: ShardCalls> Store<Client> {
    /// Creates a store of the parameters in `layout`, whose shards are called through `processes`, one client
    /// for each server process. `at` holds, for each shard, the index in `processes` of the process that it
    /// is in. `life` is that of the server, and `wire` the number format in which parameters travel.
    pub fn over(
        processes: Vec<Client>,
        at: Vec<usize>,
        life: Life,
        layout: Arc<Layout>,
        wire: Wire,
    ) -> Store<Client> {
        let shards = parameters::assign(&layout, at.len());
        let home = shards.into_iter().map(|shard| (at[shard as usize], shard)).collect();
        let mut pieces = vec![0; layout.tensors().len()];
        layout.blocks().iter().for_each(|block| pieces[block.tensor] += 1);
        let versions = vec![Version::default(); layout.blocks().len()];
        Store { layout, wire, processes, at, home, pieces, versions, life }
    }

    /// Sends the layout to every shard in the name of `member`; a shard adopts it or, if it has one already,
    /// compares it with its own. A shard that is not ready is waited for as long as `patience` allows.
    ///
    /// # Errors
    /// If a shard refuses the layout or cannot be reached.
    pub async fn adopt(&self, member: Member, patience: Patience) -> Result<(), Stop> {
        for (shard, &process) in (0..).zip(&self.at) {
            let request = AdoptRequest { shard, member, layout: (*self.layout).clone() };
            until_ready(patience.give_up_after, || self.processes[process].adopt(request.clone())).await?;
        }
        Ok(())
    }

    /// Returns the layout of the parameters: the tensors in the order in which they lie in a flat vector.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns the client of the first shard process, which is asked for values that stand for the whole run,
    /// such as the learning rate.
    pub fn first(&self) -> &Client {
        &self.processes[0]
    }

    /// Fetches the values of `kind` from all shards concurrently; returns them as a flat vector. If they are
    /// the parameters, their versions become those that the next gradient counts as computed from.
    ///
    /// # Errors
    /// If a shard refuses the fetch or cannot be reached, or if it sends a block that the layout does not
    /// have.
    pub async fn fetch(&mut self, kind: Kind) -> Result<Vec<f32>, Stop> {
        let (values, mut received) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        for ((process, shard), blocks) in self.by_home(0..self.home.len() as u32) {
            let (client, values) = (self.processes[process].clone(), values.clone());
            let request = FetchRequest { shard, blocks, kind, wire: self.wire, life: self.life };
            // The shards of other processes hear of an evaluation a little later than its worker.
            let patience = match kind {
                Kind::Average { .. } => NEWS_AFTER,
                Kind::Parameters | Kind::Velocity => Duration::ZERO,
            };
            tasks.spawn(async move {
                Ok(until_ready(patience, || client.fetch(request.clone(), values.clone())).await?)
            });
        }
        drop(values);
        let mut flat = vec![0.0; self.layout.len()];
        let collect = async {
            while let Some(block) = received.recv().await {
                let range = self.range(&block)?;
                block.values.copy_to(&mut flat[range]);
                if kind == Kind::Parameters {
                    self.versions[block.block as usize] = block.version;
                }
            }
            Ok(())
        };
        tokio::try_join!(collect, all(tasks))?;
        Ok(flat)
    }

    /// Pushes the blocks of a step's gradient as they arrive from `gradients`, in groups, and receives each
    /// block's updated values in reply. `updated` is called with the index and the values of every tensor
    /// once all its blocks have been received.
    ///
    /// After the first block that is not finite or far too large nothing more is sent: the shard refuses and
    /// counts that block, and further ones would only spread the damage. `updated` is not called for a tensor
    /// unless all its blocks were updated.
    ///
    /// # Errors
    /// If a shard cannot be reached, or fences the member, or is not ready, or sends a block that the layout
    /// does not have. A push refused for unusable values is no error; it is counted in the [`Exchange`].
    pub async fn exchange(
        &mut self,
        step: Step,
        gradients: mpsc::UnboundedReceiver<OutgoingBlock>,
        mut updated: impl FnMut(usize, Vec<f32>),
    ) -> Result<Exchange, Stop> {
        let (replies, mut replied) = mpsc::channel(QUEUE);
        let mut tasks: JoinSet<Result<Carried, Stop>> = JoinSet::new();
        let mut streams = Vec::new();
        for client in &self.processes {
            let (pushes, to_push) = mpsc::channel(QUEUE);
            streams.push(pushes);
            let (client, wire, replies) = (client.clone(), self.wire, replies.clone());
            tasks.spawn(async move { Ok(client.push(wire, to_push, replies).await?) });
        }
        drop(replies);

        let mut result = Exchange::default();
        let mut tensors: BTreeMap<usize, Vec<BlockValues>> = BTreeMap::new();
        let mut newer = Vec::new();
        let collect = async {
            while let Some(reply) = replied.recv().await {
                let Some(block) = result.count(reply)? else { continue };
                self.range(&block)?;
                let tensor = self.layout.blocks()[block.block as usize].tensor;
                let blocks = tensors.entry(tensor).or_default();
                blocks.push(block);
                if blocks.len() == self.pieces[tensor] {
                    let mut blocks = tensors.remove(&tensor).expect("it was just there");
                    blocks.sort_unstable_by_key(|block| block.block);
                    newer.extend(blocks.iter().map(|block| (block.block, block.version)));
                    let mut values = Vec::with_capacity(self.layout.range(tensor).len());
                    blocks.iter().for_each(|block| block.values.append_to(&mut values));
                    updated(tensor, values);
                }
            }
            Ok(())
        };
        let ((), (), carried) = tokio::try_join!(self.route(step, gradients, streams), collect, all(tasks))?;
        result.bytes_out = carried.iter().map(|carried| carried.sent).sum();
        result.bytes_in = carried.iter().map(|carried| carried.received).sum();
        for (block, version) in newer {
            self.versions[block as usize] = version;
        }
        Ok(result)
    }

    /// Gathers the gradients into groups and sends each to the stream of its process.
    async fn route(
        &self,
        step: Step,
        mut gradients: mpsc::UnboundedReceiver<OutgoingBlock>,
        streams: Vec<mpsc::Sender<Vec<BlockPush>>>,
    ) -> Result<(), Stop> {
        let Step { member, step, samples, form } = step;
        let mut groups = vec![Vec::new(); streams.len()];
        let mut bytes = vec![0; streams.len()];
        while let Some(OutgoingBlock { block, values: gradient, usable }) = gradients.recv().await {
            let (process, shard) = self.home[block as usize];
            let version = self.versions[block as usize];
            bytes[process] += protocol::encoded_size(self.wire, gradient.len());
            groups[process].push(BlockPush { shard, member, step, block, version, samples, form, gradient });
            if bytes[process] >= GROUP {
                bytes[process] = 0;
                let group = std::mem::take(&mut groups[process]);
                if streams[process].send(group).await.is_err() {
                    return Ok(()); // that stream has failed; its task says why
                }
            }
            if !usable {
                break;
            }
        }
        for (stream, group) in streams.iter().zip(groups) {
            let _ = stream.send(group).await;
        }
        // What is not to be sent any more is let pass, so that the step ends when its gradient does.
        while gradients.recv().await.is_some() {}
        Ok(())
    }

    /// Returns the blocks grouped by process and shard.
    fn by_home(&self, blocks: impl Iterator<Item = u32>) -> BTreeMap<(usize, u32), Vec<u32>> {
        let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        blocks.for_each(|block| groups.entry(self.home[block as usize]).or_default().push(block));
        groups
    }

    /// Returns the range of a received block in the flat vector.
    ///
    /// # Errors
    /// If the layout has no such block, or one of another length.
    fn range(&self, block: &BlockValues) -> Result<std::ops::Range<usize>, Stop> {
        let place = self.layout.blocks().get(block.block as usize);
        let place = place.filter(|place| place.range.len() == block.values.len());
        let place = place.with_context(|| {
            let (block, values) = (block.block, block.values.len());
            format!("a shard sent block {block} with {values} values, which the layout does not have")
        });
        Ok(place.map_err(Stop::Failed)?.range.clone())
    }
}

impl Exchange {
    /// Counts the outcome of a block's push; returns the block's values if it was updated.
    fn count(&mut self, reply: PushReply) -> Result<Option<BlockValues>, Stop> {
        match reply.outcome {
            Ok(block) => {
                self.applied += 1;
                self.staleness_sum += reply.staleness;
                self.staleness_max = self.staleness_max.max(reply.staleness);
                Ok(Some(block))
            }
            Err(refusal @ (Refusal::Fenced(_) | Refusal::NotReady(_))) => {
                Err(Stop::Rejoin(refusal.to_string()))
            }
            Err(refusal) => {
                self.refused += 1;
                self.reason.get_or_insert_with(|| refusal.to_string());
                Ok(None)
            }
        }
    }
}

/// Waits for all tasks and returns their results; the first failure ends the others.
async fn all<T: Send + 'static>(mut tasks: JoinSet<Result<T, Stop>>) -> Result<Vec<T>, Stop> {
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        done.push(task.context("run a task of the exchange").map_err(Stop::Failed)??);
    }
    Ok(done)
}
