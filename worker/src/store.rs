//! The shards as one store of parameters: fetch all, or push a step's gradient and take what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use kernels::{Isa, magnitudes};
use parameters::Layout;
use protocol::{
    AdoptRequest, BlockPush, BlockValues, Carried, Connector, FetchRequest, Kind, LARGEST_GRADIENT, Member,
    Patience, PushForm, PushReply, Refusal, ShardCalls, ShardClient, Version, Wire,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::stop::{Stop, until_ready};

/// Items in a channel between compute, network and model: enough to keep a connection busy, a few MB at most.
const QUEUE: usize = 8;

/// Bytes of gradients from which on blocks are sent. A message costs both sides about as much as copying this
/// does, and half of a network's blocks are biases of a few hundred bytes.
const GROUP: usize = 128 << 10;

/// The step that a push belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The pushing member.
    pub member: Member,
    /// The step within its incarnation.
    pub step: u64,
    /// Images behind the gradient.
    pub samples: u32,
    /// The form of what is pushed: gradients, or steps made of them.
    pub form: PushForm,
}

/// The outcome of a step's pushes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Blocks applied.
    pub applied: u64,
    /// Sum of their staleness.
    pub staleness_sum: u64,
    /// Largest staleness of the updates.
    pub staleness_max: u64,
    /// Blocks refused as unusable.
    pub refused: u64,
    /// The first refusal's text.
    pub reason: Option<String>,
    /// Bytes of gradients sent.
    pub bytes_out: u64,
    /// Bytes of parameters received.
    pub bytes_in: u64,
}

/// All shards of a run, and the version of each block as this worker last fetched it.
///
/// `Client` is how the shards are called: over the network, unless a test has them in its own process.
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
}

impl Store {
    /// Connects to every shard. `addresses` are by shard number; shards at one address share a connection.
    ///
    /// # Errors
    /// A server that cannot be reached.
    pub async fn connect(
        addresses: &[String],
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
        Ok(Store::over(processes, at, layout, wire))
    }
}

impl<Client: ShardCalls> Store<Client> {
    /// Makes a store of shards that are called through `processes`; `at` has the index of each shard's
    /// process.
    pub fn over(processes: Vec<Client>, at: Vec<usize>, layout: Arc<Layout>, wire: Wire) -> Store<Client> {
        let shards = parameters::assign(&layout, at.len());
        let home = shards.into_iter().map(|shard| (at[shard as usize], shard)).collect();
        let mut pieces = vec![0; layout.tensors().len()];
        layout.blocks().iter().for_each(|block| pieces[block.tensor] += 1);
        let versions = vec![Version::default(); layout.blocks().len()];
        Store { layout, wire, processes, at, home, pieces, versions }
    }

    /// Has every shard adopt the layout, or compare it with its own.
    ///
    /// # Errors
    /// A shard that refuses the layout, or cannot be reached.
    pub async fn adopt(&self, patience: Patience) -> Result<(), Stop> {
        for (shard, &process) in (0..).zip(&self.at) {
            let request = AdoptRequest { shard, layout: (*self.layout).clone() };
            until_ready(patience.give_up_after, || self.processes[process].adopt(request.clone())).await?;
        }
        Ok(())
    }

    /// Returns the parameters' layout.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns the first shard process, for questions about the whole.
    pub fn first(&self) -> &Client {
        &self.processes[0]
    }

    /// Fetches every block of `kind` from all shards at once. Parameters become the state that the next
    /// gradient is computed from.
    ///
    /// # Errors
    /// A shard that refuses the fetch, or cannot be reached.
    pub async fn fetch(&mut self, kind: Kind) -> Result<Vec<f32>, Stop> {
        let (values, mut received) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        for ((process, shard), blocks) in self.by_home(0..self.home.len() as u32) {
            let (client, values) = (self.processes[process].clone(), values.clone());
            let request = FetchRequest { shard, blocks, kind, wire: self.wire };
            tasks.spawn(async move { Ok(client.fetch(request, values).await?) });
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

    /// Pushes gradient blocks as they come from `gradients`, in groups; the replies bring each block as its
    /// update left it, and `updated` receives every tensor whose blocks have all come.
    ///
    /// After the first block that is not finite, or far too large, nothing more is sent: the shard refuses
    /// and counts that block, and further ones would only spread the damage. A tensor of which some block had
    /// no reply keeps the values that were fetched last.
    ///
    /// # Errors
    /// A shard that cannot be reached, or refuses a push for another reason than unusable values.
    pub async fn exchange(
        &mut self,
        step: Step,
        gradients: mpsc::UnboundedReceiver<(u32, Vec<f32>)>,
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

    /// Hands the gradients to the streams of their processes, gathered into groups.
    async fn route(
        &self,
        step: Step,
        mut gradients: mpsc::UnboundedReceiver<(u32, Vec<f32>)>,
        streams: Vec<mpsc::Sender<Vec<BlockPush>>>,
    ) -> Result<(), Stop> {
        let Step { member, step, samples, form } = step;
        let isa = Isa::detect();
        let mut groups = vec![Vec::new(); streams.len()];
        let mut bytes = vec![0; streams.len()];
        while let Some((block, gradient)) = gradients.recv().await {
            // Written so that a NaN is not usable.
            let usable = magnitudes(isa, &gradient).largest <= LARGEST_GRADIENT;
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

    /// Blocks grouped by where they live.
    fn by_home(&self, blocks: impl Iterator<Item = u32>) -> BTreeMap<(usize, u32), Vec<u32>> {
        let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        blocks.for_each(|block| groups.entry(self.home[block as usize]).or_default().push(block));
        groups
    }

    /// Returns the range of a received block in the flat vector, if it is what it should be.
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
    /// Counts what became of a block, and gives its values if it was updated.
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

/// Waits for all tasks and returns what they did; the first failure ends the others.
async fn all<T: Send + 'static>(mut tasks: JoinSet<Result<T, Stop>>) -> Result<Vec<T>, Stop> {
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        done.push(task.context("run a task of the exchange").map_err(Stop::Failed)??);
    }
    Ok(done)
}
