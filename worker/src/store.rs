//! The shards of a run as one store of parameters: it fetches all of them, or pushes a step's gradient and
//! receives the updated values.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parameters::{BLOCK_VALUES, Layout};
use protocol::{
    AdoptRequest, BlockAnswer, BlockPush, BlockValues, Carried, ClientError, Connector, FetchRequest, Kind,
    Life, Member, Patience, ShardCalls, ShardClient, Version, Wire, encoded_size, until_ready,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::exchange::{Exchange, Step};
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

/// Number of values at which a group of blocks is sent in any case, since instead of differences the reply may
/// have them whole.
const GROUP_VALUES: usize = 2 * BLOCK_VALUES;

/// The connections to all shards of a run, each of which holds a part of the parameters, and the version of
/// each block (piece of a tensor) that this worker last received.
///
/// `Client` is the client through which the shards are called: over the network, except in tests that hold
/// the shards in their own process.
pub struct Store<Client = ShardClient> {
    layout: Arc<Layout>,
    /// Format of values that travel whole.
    wire: Wire,
    followed: Option<Followed>,
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
    /// Bytes of the newest fetch of all values, and the time that it took.
    fetched: (usize, Duration),
    /// Number of the worker, by which shards tell which log it follows.
    worker: u32,
}

/// The published log that a worker follows: the shards send what changed of the parameters rather than the
/// parameters.
struct Followed {
    wire: Wire,
    /// Values that the worker has of the log: all parameters, a flat vector in the order of the layout.
    values: Vec<f32>,
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
                let client = ShardClient::connect(address, connector.clone()).await;
                processes.push(client.map_err(named_by_the_coordinator)?);
            }
        }
        let at = addresses.iter().map(|address| known[address.as_str()]).collect();
        Ok(Store::over(processes, at, life, layout, wire))
    }
}

/// Adds where its address is from to the error of a server process that cannot be reached: no flag of this process
/// names it.
fn named_by_the_coordinator(error: ClientError) -> ClientError {
    match error {
        ClientError::Unreachable { address, seconds, last } => {
            let told = format!(
                "the coordinator gave out {address} as the address of a server process (its --advertise)"
            );
            ClientError::Unreachable { address, seconds, last: format!("{last}; {told}") }
        }
        other => other,
    }
}

impl<Client: ShardCalls> Store<Client> {
    /// Creates a store of the parameters in `layout`, whose shards are called through `processes`, one client
    /// for each server process. `at` holds, for each shard, the index in `processes` of the process that it
    /// is in. `life` is that of the server, and `wire` the number format in which parameters travel: whole
    /// ones, or differences from the log that the shards publish in that format.
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
        let fetched = (0, Duration::ZERO);
        let mut store = Store {
            layout,
            wire: Wire::F32,
            followed: None,
            processes,
            at,
            home,
            pieces,
            versions,
            life,
            fetched,
            worker: 0,
        };
        store.set_wire(wire);
        store
    }

    /// Sets the number of the worker whose store this is, which says which of the shards' logs it follows.
    pub fn of_worker(self, worker: u32) -> Store<Client> {
        Store { worker, ..self }
    }

    /// Sets the number format in which parameters travel from the next [`start`](Self::start) on.
    pub fn set_wire(&mut self, wire: Wire) {
        let whole = wire.is_whole();
        self.wire = if whole { wire } else { Wire::F32 };
        self.followed = (!whole).then(|| Followed { wire, values: Vec::new() });
    }

    /// Returns the number format in which parameters travel.
    pub fn wire(&self) -> Wire {
        self.followed.as_ref().map_or(self.wire, |followed| followed.wire)
    }

    /// Returns the bytes of the newest fetch of all values, and the time that it took.
    pub fn newest_fetch(&self) -> (usize, Duration) {
        self.fetched
    }

    /// Fetches as many blocks of the parameters as have `bytes` bytes; returns their bytes, and the time that
    /// it took.
    ///
    /// # Errors
    /// If a shard refuses the fetch or cannot be reached.
    pub async fn probe(&self, bytes: usize) -> Result<(usize, Duration), Stop> {
        let mut sum = 0;
        let sizes = self.layout.blocks().iter().map(|block| encoded_size(self.wire, block.range.len()));
        let blocks = sizes.take_while(|size| {
            let more = sum < bytes;
            sum += size;
            more
        });
        let blocks = blocks.count() as u32;
        let begun = Instant::now();
        let mut came = 0;
        self.receive(Kind::Parameters, 0..blocks, |block| {
            came += block.values.encoded_size(self.wire);
            Ok(())
        })
        .await?;
        Ok((came, begun.elapsed()))
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

    /// Fetches the parameters from which the next gradient is to be computed; returns them as a flat vector.
    ///
    /// # Errors
    /// If a shard refuses the fetch or cannot be reached, or if it sends a block that the layout does not
    /// have.
    pub async fn start(&mut self) -> Result<Vec<f32>, Stop> {
        let values = self.fetch(self.trained_on()).await?;
        if let Some(followed) = &mut self.followed {
            followed.values.clone_from(&values);
        }
        Ok(values)
    }

    /// Returns whether the parameters that gradients are computed from are not the newest ones, but what all
    /// workers know of them.
    pub fn follows(&self) -> bool {
        self.followed.is_some()
    }

    /// Fetches the values of `kind` from all shards concurrently; returns them as a flat vector. If they are
    /// such as gradients are computed from, their versions become those that the next gradient counts as
    /// computed from: the view of the log that this store follows, or, if it follows none, the parameters.
    ///
    /// # Errors
    /// If a shard refuses the fetch or cannot be reached, or if it sends a block that the layout does not
    /// have.
    pub async fn fetch(&mut self, kind: Kind) -> Result<Vec<f32>, Stop> {
        let begun = Instant::now();
        let mut flat = vec![0.0; self.layout.len()];
        let mut versions = Vec::new();
        self.receive(kind, 0..self.home.len() as u32, |block| {
            let range = self.range(block.block, block.values.len())?;
            block.values.copy_to(&mut flat[range]);
            versions.push((block.block, block.version));
            Ok(())
        })
        .await?;
        if kind == self.trained_on() {
            versions.into_iter().for_each(|(block, version)| self.versions[block as usize] = version);
        }
        self.fetched = (encoded_size(self.wire_of(kind), self.layout.len()), begun.elapsed());
        Ok(flat)
    }

    /// Returns the kind of values that gradients are computed from.
    fn trained_on(&self) -> Kind {
        match self.followed {
            Some(Followed { wire: log, .. }) => Kind::View { log, worker: self.worker },
            None => Kind::Parameters,
        }
    }

    /// Returns the number format in which values of `kind` are fetched whole: what is scored, kept or begun with
    /// has all bits.
    fn wire_of(&self, kind: Kind) -> Wire {
        if kind == Kind::Parameters { self.wire } else { Wire::F32 }
    }

    /// Fetches some blocks from all shards concurrently, and calls `take` with each.
    async fn receive(
        &self,
        kind: Kind,
        blocks: Range<u32>,
        mut take: impl FnMut(BlockValues) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (values, mut received) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        for ((process, shard), blocks) in self.by_home(blocks) {
            let (client, values) = (self.processes[process].clone(), values.clone());
            let wire = self.wire_of(kind);
            let request = FetchRequest { shard, blocks, kind, wire, life: self.life };
            // The shards of other processes hear of an evaluation a little later than its worker.
            let patience = match kind {
                Kind::Average { .. } => NEWS_AFTER,
                Kind::Parameters | Kind::View { .. } | Kind::Velocity => Duration::ZERO,
            };
            tasks.spawn(async move {
                Ok(until_ready(patience, || client.fetch(request.clone(), values.clone())).await?)
            });
        }
        drop(values);
        let collect = async {
            while let Some(block) = received.recv().await {
                take(block)?;
            }
            Ok(())
        };
        tokio::try_join!(collect, all(tasks))?;
        Ok(())
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

        let log = self.followed.as_ref().map(|followed| followed.wire);
        let mut result = Exchange::default();
        let mut begun = None;
        let mut tensors: BTreeMap<usize, Vec<BlockAnswer>> = BTreeMap::new();
        let mut newer = Vec::new();
        // An error ends the membership, and the store with it.
        let mut followed = self.followed.take();
        let collect = async {
            while let Some(reply) = replied.recv().await {
                let Some(answer) = result.count(reply)? else { continue };
                self.check(&answer)?;
                let tensor = self.layout.blocks()[answer.block() as usize].tensor;
                let answers = tensors.entry(tensor).or_default();
                answers.push(answer);
                if answers.len() < self.pieces[tensor] {
                    continue;
                }
                let answers = tensors.remove(&tensor).expect("it was just there");
                newer.extend(answers.iter().map(|answer| (answer.block(), answer.version())));
                let whole = self.layout.range(tensor);
                let place =
                    |answer: &BlockAnswer| self.layout.blocks()[answer.block() as usize].range.clone();
                let values = match &mut followed {
                    Some(Followed { values, .. }) => {
                        answers.iter().for_each(|answer| answer.apply(&mut values[place(answer)]));
                        values[whole].to_vec()
                    }
                    None => joined(answers, whole.len())?,
                };
                updated(tensor, values);
            }
            Ok(())
        };
        let route = self.route(step, log, gradients, streams, || begun = Some(Instant::now()));
        let ((), (), carried) = tokio::try_join!(route, collect, all(tasks))?;
        result.took = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        self.followed = followed;
        result.bytes_out = carried.iter().map(|carried| carried.sent).sum();
        result.bytes_in = carried.iter().map(|carried| carried.received).sum();
        for (block, version) in newer {
            self.versions[block as usize] = version;
        }
        Ok(result)
    }

    /// Gathers the gradients into groups and sends each to the stream of its process; calls `begins` when the
    /// first one is there.
    async fn route(
        &self,
        step: Step,
        log: Option<Wire>,
        mut gradients: mpsc::UnboundedReceiver<OutgoingBlock>,
        streams: Vec<mpsc::Sender<Vec<BlockPush>>>,
        begins: impl FnOnce(),
    ) -> Result<(), Stop> {
        let mut begins = Some(begins);
        let Step { member, step, samples, form } = step;
        let mut groups = vec![Vec::new(); streams.len()];
        let mut bytes = vec![0; streams.len()];
        let mut values = vec![0; streams.len()];
        while let Some(OutgoingBlock { block, values: gradient, usable }) = gradients.recv().await {
            if let Some(begins) = begins.take() {
                begins();
            }
            let (process, shard) = self.home[block as usize];
            let version = self.versions[block as usize];
            bytes[process] += encoded_size(log.unwrap_or(self.wire), gradient.len());
            values[process] += gradient.len();
            groups[process].push(BlockPush {
                shard,
                member,
                step,
                block,
                version,
                samples,
                form,
                log,
                gradient,
            });
            if bytes[process] >= GROUP || values[process] >= GROUP_VALUES {
                (bytes[process], values[process]) = (0, 0);
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

    /// Returns the range in the flat vector of a block that was received with so many values.
    ///
    /// # Errors
    /// If the layout has no such block, or one of another length.
    fn range(&self, block: u32, values: usize) -> Result<Range<usize>, Stop> {
        let place = self.layout.blocks().get(block as usize);
        let place = place.filter(|place| place.range.len() == values);
        let place = place.with_context(|| {
            format!("a shard sent block {block} with {values} values, which the layout does not have")
        });
        Ok(place.map_err(Stop::Failed)?.range.clone())
    }

    /// Checks that an answer is about a block of the layout.
    fn check(&self, answer: &BlockAnswer) -> Result<(), Stop> {
        let block = answer.block();
        let place = self.layout.blocks().get(block as usize);
        place.filter(|place| answer.has_length(place.range.len())).map(|_| ()).ok_or_else(|| {
            let text = format!("a shard sent block {block} with other values than the layout has");
            Stop::Failed(anyhow::anyhow!(text))
        })
    }
}

/// Joins the values of all blocks of a tensor, which has so many.
///
/// # Errors
/// If a shard sent differences, which nobody asked for.
fn joined(answers: Vec<BlockAnswer>, values: usize) -> Result<Vec<f32>, Stop> {
    let blocks: Option<Vec<BlockValues>> = answers.into_iter().map(BlockAnswer::into_values).collect();
    let mut blocks =
        blocks.context("a shard sent differences of a block, expected its values").map_err(Stop::Failed)?;
    blocks.sort_unstable_by_key(|block| block.block);
    let mut joined = Vec::with_capacity(values);
    blocks.iter().for_each(|block| block.values.append_to(&mut joined));
    Ok(joined)
}

/// Waits for all tasks and returns their results; the first failure ends the others.
async fn all<T: Send + 'static>(mut tasks: JoinSet<Result<T, Stop>>) -> Result<Vec<T>, Stop> {
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        done.push(task.context("run a task of the exchange").map_err(Stop::Failed)??);
    }
    Ok(done)
}
