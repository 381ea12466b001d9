//! The photographs of a run that the server's first process lends to a worker without them.
//!
//! Loader threads say which pictures they are going to read, and wait for those that are not here. A task gets
//! them in that order, some dozens with one call, as long as those that wait to be read take up at most half of
//! the cache.

mod cache;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::ensure;
use dataset::{Dataset, Encoded, LentSet, PictureSource, SourceAway, Split};
use protocol::{CoordinatorClient, LabelsRequest, LentData, LentPicture, ReadRequest};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use self::cache::{Cache, Key};

/// Most pictures of one call: enough that the time there and back does not count, and not so many that a picture
/// which is needed at once waits long behind them.
const TOGETHER: usize = 32;
/// Bytes of a picture, as long as none has come.
const USUAL: usize = 128 << 10;
/// Pause after a call that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two lines of the log about what came.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The pictures that a server lends: those that are here, and those that are on their way.
#[derive(Debug)]
pub(crate) struct Lent {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signals that pictures have come, or that a call has failed.
    came: Condvar,
    /// Signals that there may be something to get.
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// The pictures to get, in the order in which they are going to be read.
    queue: VecDeque<Key>,
    /// The pictures of the call that is under way and that have not come yet.
    coming: VecDeque<Key>,
    /// Number of threads that wait for each picture.
    waiting: HashMap<Key, usize>,
    /// Number of calls that have failed, and how the newest of them did.
    failures: u64,
    failure: String,
    /// End of the task that gets pictures: true once nothing comes any more.
    ended: bool,
    pictures: u64,
    bytes: u64,
}

/// Gets the labels of a lent data set, and makes the data set of them, whose pictures come by way of `client` and are
/// kept up to `cache` bytes.
///
/// # Errors
/// If the server does not answer, or if what it says contradicts itself.
pub(crate) async fn borrow(
    client: &CoordinatorClient,
    lent: LentData,
    cache: usize,
) -> anyhow::Result<(Dataset, Arc<Lent>)> {
    let LentData { data, shards } = lent;
    let train = labels(client, false, data.images).await?;
    let validation = labels(client, true, data.validation).await?;
    let set = LentSet { classes: data.classes, hash: data.hash, train, validation, shards };
    let source = Arc::new(Lent::start(client.clone(), cache));
    Ok((Dataset::lent(set, source.clone())?, source))
}

/// Gets the labels of a split of so many images.
async fn labels(client: &CoordinatorClient, validation: bool, images: u64) -> anyhow::Result<Vec<u32>> {
    let mut labels = Vec::new();
    while (labels.len() as u64) < images {
        let more = client.lent_labels(LabelsRequest { validation, start: labels.len() as u32 }).await?;
        let came = labels.len() as u64 + more.len() as u64;
        ensure!(
            !more.is_empty() && came <= images,
            "the server sent {came} labels of the photographs that it lends, expected {images}; start all processes from one \
             release"
        );
        labels.extend(more);
    }
    Ok(labels)
}

impl Lent {
    fn start(client: CoordinatorClient, cache: usize) -> Lent {
        let (queue, coming, waiting, failure) = Default::default();
        let cache = Cache::new(cache);
        let state = State {
            cache,
            queue,
            coming,
            waiting,
            failures: 0,
            failure,
            ended: false,
            pictures: 0,
            bytes: 0,
        };
        let (came, wanted) = Default::default();
        let shared = Arc::new(Shared { state: Mutex::new(state), came, wanted });
        let task = tokio::spawn(get(Getter(shared.clone()), client));
        Lent { shared, task }
    }

    /// Forgets which pictures were going to be read; those that are here stay as long as there is room.
    pub(crate) fn expect_nothing(&self) {
        let mut state = self.shared.state();
        state.queue.clear();
        state.cache.expect_nothing();
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PictureSource for Lent {
    fn read(&self, split: Split, index: u32) -> Result<Encoded, SourceAway> {
        let key = (split, index);
        let mut state = self.shared.state();
        let failures = state.failures;
        *state.waiting.entry(key).or_default() += 1;
        let read = loop {
            if let Some(picture) = state.cache.read(key) {
                break Ok(picture);
            }
            if state.failures > failures {
                break Err(SourceAway(state.failure.clone()));
            }
            if state.ended {
                break Err(SourceAway("the worker is ending".into()));
            }
            state.need(key);
            self.shared.wanted.notify_one();
            state = self.shared.came.wait(state).expect(UNPOISONED);
        };
        if let Some(waiting) = state.waiting.get_mut(&key) {
            *waiting -= 1;
            if *waiting == 0 {
                state.waiting.remove(&key);
            }
        }
        drop(state);
        // There is room for another.
        self.shared.wanted.notify_one();
        read
    }

    fn announce(&self, split: Split, indices: Vec<u32>) {
        let mut state = self.shared.state();
        for index in indices {
            let key = (split, index);
            if !state.cache.expect(key) {
                state.queue.push_back(key);
            }
        }
        drop(state);
        self.shared.wanted.notify_one();
    }
}

const UNPOISONED: &str = "nothing panics while it holds the lent pictures";

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }
}

impl State {
    /// Has a picture that somebody waits for come next, and behind it those that are going to be read after it.
    fn need(&mut self, key: Key) {
        if self.coming.contains(&key) {
            return;
        }
        match self.queue.iter().position(|other| *other == key) {
            Some(place) => self.queue.rotate_left(place),
            None => self.queue.push_front(key),
        }
    }

    /// Takes the pictures of the next call, if there is room for any or somebody waits for one.
    fn next(&mut self) -> Option<ReadRequest> {
        let usual = (self.bytes as usize).checked_div(self.pictures as usize).unwrap_or(USUAL).max(1);
        let room = self.cache.room_ahead() / usual;
        let mut images = Vec::new();
        let mut split = None;
        while let Some(&key) = self.queue.front() {
            let most = if self.waiting.contains_key(&key) { TOGETHER } else { room.min(TOGETHER) };
            if images.len() >= most || split.is_some_and(|split| split != key.0) {
                break;
            }
            self.queue.pop_front();
            if !self.cache.expect(key) && !self.coming.contains(&key) {
                split = Some(key.0);
                images.push(key.1);
                self.coming.push_back(key);
            }
        }
        split.map(|split| ReadRequest { validation: split == Split::Validation, images })
    }

    fn arrived(&mut self, split: Split, LentPicture { image, name, bytes }: LentPicture) {
        let key = (split, image);
        self.pictures += 1;
        self.bytes += bytes.as_ref().map_or(0, Vec::len) as u64;
        self.coming.retain(|other| *other != key);
        let picture = Encoded { name, bytes: bytes.map(Arc::from) };
        let State { cache, waiting, .. } = self;
        cache.put(key, picture, |other| waiting.contains_key(other));
    }

    /// Notes that a call has failed; what did not come is to be got again.
    fn failed(&mut self, failure: String) {
        self.failures += 1;
        self.failure = failure;
        while let Some(key) = self.coming.pop_back() {
            self.queue.push_front(key);
        }
    }
}

/// The hold of the task that gets pictures on what it shares with those who wait for them.
struct Getter(Arc<Shared>);

impl Drop for Getter {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.ended = true;
        }
        self.0.came.notify_all();
    }
}

/// Gets pictures, for ever.
async fn get(getter: Getter, client: CoordinatorClient) {
    let shared = &getter.0;
    let mut told = Told { at: Instant::now(), pictures: 0, bytes: 0 };
    loop {
        told.tell(shared);
        let next = shared.state().next();
        let Some(request) = next else {
            tokio::select! {
                () = shared.wanted.notified() => {}
                () = sleep_until(told.at + LINE_EVERY), if told.lacks(shared) => {}
            }
            continue;
        };
        let split = if request.validation { Split::Validation } else { Split::Train };
        let came = |picture| {
            shared.state().arrived(split, picture);
            shared.came.notify_all();
        };
        if let Err(error) = client.read_lent(request, came).await {
            shared.state().failed(error.to_string());
            shared.came.notify_all();
            sleep(PAUSE).await;
        }
    }
}

/// What the log was told of the pictures that came, and when.
struct Told {
    at: Instant,
    pictures: u64,
    bytes: u64,
}

impl Told {
    /// Returns whether pictures have come that the log does not know of.
    fn lacks(&self, shared: &Shared) -> bool {
        shared.state().pictures > self.pictures
    }

    /// Tells the log what has come since the last time, if there is something and it is time to.
    fn tell(&mut self, shared: &Shared) {
        let seconds = self.at.elapsed();
        if seconds < LINE_EVERY || !self.lacks(shared) {
            return;
        }
        let (pictures, bytes) = {
            let state = shared.state();
            (state.pictures, state.bytes)
        };
        tracing::info!(
            pictures = pictures - self.pictures,
            bytes = bytes - self.bytes,
            "pictures that came from the server in {} s",
            seconds.as_secs()
        );
        *self = Told { at: Instant::now(), pictures, bytes };
    }
}
