//! The shards as one store of parameters: fetch all, or push a step's gradient and fetch what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use parameters::Layout;
use protocol::{
    AdoptRequest, BlockPush, BlockValues, Kind, Member, Patience, Plan, PushReply, Refusal, ShardClient,
    Version, Wire,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::stop::{Stop, until_ready};

/// Blocks in a channel between compute, network and model: enough to keep a connection busy, a few MB at most.
const QUEUE: usize = 8;

/// Who pushes, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The pushing member.
    pub member: Member,
    /// The step within its incarnation.
    pub step: u64,
    /// Images behind the gradient.
    pub samples: u32,
}

/// What became of a step's pushes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Blocks applied.
    pub applied: u64,
    /// Sum of their staleness.
    pub staleness_sum: u64,
    /// Their largest staleness.
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
pub struct Store {
    layout: Arc<Layout>,
    wire: Wire,
    processes: Vec<ShardClient>,
    /// By shard: index of its process.
    at: Vec<usize>,
    /// By block: index of the process, number of the shard.
    home: Vec<(usize, u32)>,
    /// By tensor: how many blocks it has.
    pieces: Vec<usize>,
    versions: Vec<Version>,
}

impl Store {
    /// Connects to every shard. `addresses` are by shard number; shards at one address share a connection.
    pub async fn connect(
        addresses: &[String],
        layout: Arc<Layout>,
        wire: Wire,
        patience: Patience,
    ) -> Result<Store, Stop> {
        let mut processes = Vec::new();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for address in addresses {
            if !known.contains_key(address.as_str()) {
                known.insert(address, processes.len());
                processes.push(ShardClient::connect(address, patience).await?);
            }
        }
        let process_of = |shard: u32| known[addresses[shard as usize].as_str()];
        let shards = parameters::assign(&layout, addresses.len());
        let home = shards.into_iter().map(|shard| (process_of(shard), shard)).collect();
        let mut pieces = vec![0; layout.tensors().len()];
        layout.blocks().iter().for_each(|block| pieces[block.tensor] += 1);
        let versions = vec![Version::default(); layout.blocks().len()];
        let at = (0..addresses.len() as u32).map(process_of).collect();
        Ok(Store { layout, wire, processes, at, home, pieces, versions })
    }

    /// Has every shard adopt the layout, or compare it with its own.
    pub async fn adopt(&self, plan: &Plan, patience: Patience) -> Result<(), Stop> {
        for (shard, &process) in (0..).zip(&self.at) {
            let request = AdoptRequest { shard, layout: (*self.layout).clone(), plan: plan.clone() };
            until_ready(patience.give_up_after, || self.processes[process].adopt(request.clone())).await?;
        }
        Ok(())
    }

    /// The parameters' layout.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The first shard process, for questions about the whole.
    pub fn first(&self) -> &ShardClient {
        &self.processes[0]
    }

    /// Fetches every block of `kind` from all shards at once. Parameters become the state that the next gradient is
    /// computed from.
    pub async fn fetch(&mut self, kind: Kind) -> Result<Vec<f32>, Stop> {
        let (values, mut received) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        for ((process, shard), blocks) in self.by_home(0..self.home.len() as u32) {
            let (client, values, wire) = (self.processes[process].clone(), values.clone(), self.wire);
            tasks.spawn(async move { Ok(client.fetch(wire, shard, blocks, kind, values).await?) });
        }
        drop(values);
        let mut flat = vec![0.0; self.layout.len()];
        let collect = async {
            while let Some(block) = received.recv().await {
                let range = self.range(&block)?;
                flat[range].copy_from_slice(&block.values);
                if kind == Kind::Parameters {
                    self.versions[block.block as usize] = block.version;
                }
            }
            Ok(())
        };
        tokio::try_join!(collect, all(tasks))?;
        Ok(flat)
    }

    /// Pushes each gradient block as it comes from `gradients`, and fetches each again as soon as it is
    /// acknowledged; `fetched` receives every tensor whose values have all come.
    ///
    /// From the first block on that is not finite nothing more is sent: that one is for the shard to refuse and
    /// count, the others would only harm.
    pub async fn exchange(
        &mut self,
        step: Step,
        mut gradients: mpsc::UnboundedReceiver<(u32, Vec<f32>)>,
        mut fetched: impl FnMut(usize, Vec<f32>),
    ) -> Result<Exchange, Stop> {
        let (values, mut received) = mpsc::channel(QUEUE);
        let (outcomes, mut replied) = mpsc::unbounded_channel();
        let mut tasks: JoinSet<Result<(), Stop>> = JoinSet::new();
        let mut streams = Vec::new();
        for (process, client) in self.processes.iter().enumerate() {
            let (pushes, to_push) = mpsc::channel(QUEUE);
            let (replies, acknowledged) = mpsc::channel(QUEUE);
            streams.push(pushes);
            let (pusher, wire) = (client.clone(), self.wire);
            tasks.spawn(async move { Ok(pusher.push(wire, to_push, replies).await?) });
            let home = self.home.iter().map(|&(at, shard)| (at == process).then_some(shard)).collect();
            tasks.spawn(fetch_again(
                client.clone(),
                wire,
                home,
                acknowledged,
                outcomes.clone(),
                values.clone(),
            ));
        }
        drop((values, outcomes));

        let (home, versions) = (&self.home, self.versions.clone());
        let route = async {
            let mut usable = true;
            while let Some((block, gradient)) = gradients.recv().await {
                if !usable {
                    continue;
                }
                usable = gradient.iter().all(|value| value.is_finite());
                let (process, shard) = home[block as usize];
                let Step { member, step, samples } = step;
                let version = versions[block as usize];
                let push = BlockPush { shard, member, step, block, version, samples, gradient };
                if streams[process].send(push).await.is_err() {
                    break; // that stream has failed; its task says why
                }
            }
            drop(streams);
            Ok(())
        };
        let bytes = |values: &[f32]| (values.len() * wire_bytes(self.wire)) as u64;
        let mut partial: BTreeMap<usize, (Vec<f32>, usize)> = BTreeMap::new();
        let mut result = Exchange::default();
        let mut newer = Vec::new();
        let collect = async {
            while let Some(block) = received.recv().await {
                let range = self.range(&block)?;
                result.bytes_in += bytes(&block.values);
                newer.push((block.block, block.version));
                let tensor = self.layout.blocks()[block.block as usize].tensor;
                let whole = self.layout.range(tensor);
                if self.pieces[tensor] == 1 {
                    fetched(tensor, block.values);
                    continue;
                }
                let (values, pieces) = partial.entry(tensor).or_insert_with(|| (vec![0.0; whole.len()], 0));
                values[range.start - whole.start..range.end - whole.start].copy_from_slice(&block.values);
                *pieces += 1;
                if *pieces == self.pieces[tensor] {
                    let (values, _) = partial.remove(&tensor).expect("it was just there");
                    fetched(tensor, values);
                }
            }
            Ok(())
        };
        tokio::try_join!(route, collect, all(tasks))?;
        for (block, version) in newer {
            self.versions[block as usize] = version;
        }
        while let Ok(reply) = replied.try_recv() {
            result.count(&self.layout, self.wire, reply);
        }
        Ok(result)
    }

    /// Blocks grouped by where they live.
    fn by_home(&self, blocks: impl Iterator<Item = u32>) -> BTreeMap<(usize, u32), Vec<u32>> {
        let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        blocks.for_each(|block| groups.entry(self.home[block as usize]).or_default().push(block));
        groups
    }

    /// Where a received block belongs in the flat vector, if it is what it should be.
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
    fn count(&mut self, layout: &Layout, wire: Wire, reply: PushReply) {
        let block = &layout.blocks()[reply.block as usize];
        self.bytes_out += (block.range.len() * wire_bytes(wire)) as u64;
        match reply.outcome {
            Ok(_) => {
                self.applied += 1;
                self.staleness_sum += reply.staleness;
                self.staleness_max = self.staleness_max.max(reply.staleness);
            }
            Err(refusal) => {
                self.refused += 1;
                self.reason.get_or_insert_with(|| refusal.to_string());
            }
        }
    }
}

/// Fetches acknowledged blocks of one process again. What is acknowledged while a fetch is under way makes the next
/// one: the slower the connection, the larger the groups.
async fn fetch_again(
    client: ShardClient,
    wire: Wire,
    home: Vec<Option<u32>>,
    mut acknowledged: mpsc::Receiver<PushReply>,
    outcomes: mpsc::UnboundedSender<PushReply>,
    values: mpsc::Sender<BlockValues>,
) -> Result<(), Stop> {
    let mut group = Vec::new();
    while acknowledged.recv_many(&mut group, home.len()).await > 0 {
        let mut blocks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for reply in group.drain(..) {
            if let Err(refusal @ (Refusal::Fenced(_) | Refusal::NotReady(_))) = reply.outcome {
                return Err(Stop::Rejoin(refusal.to_string()));
            }
            let shard = home.get(reply.block as usize).copied().flatten();
            let shard = shard
                .with_context(|| format!("a shard acknowledged block {}, never sent to it", reply.block));
            blocks.entry(shard.map_err(Stop::Failed)?).or_default().push(reply.block);
            // Nobody listens only when the whole exchange has been given up.
            let _ = outcomes.send(reply);
        }
        for (shard, blocks) in blocks {
            client.fetch(wire, shard, blocks, Kind::Parameters, values.clone()).await?;
        }
    }
    Ok(())
}

/// Waits for all tasks; the first failure ends the others.
async fn all(mut tasks: JoinSet<Result<(), Stop>>) -> Result<(), Stop> {
    while let Some(task) = tasks.join_next().await {
        task.context("run a task of the exchange").map_err(Stop::Failed)??;
    }
    Ok(())
}

fn wire_bytes(wire: Wire) -> usize {
    match wire {
        Wire::F32 => 4,
        Wire::Bf16 => 2,
    }
}
