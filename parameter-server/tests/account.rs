//! A model of workers that push to real shards beside a real coordinator and vanish, expire, leave and are
//! restarted at any moment: when the run is over, every block holds exactly what the account says.

use std::{sync::Arc, time::Duration};

use kernels::Isa;
use parameter_server::{Coordinator, Shard, ShardHost, coordinator::Settings, shard::file};
use parameters::{Initialiser, Layout, Tensor};
use proptest::prelude::*;
use protocol::{
    AdoptRequest, Assignment, BlockPush, Coordinator as _, DataDescription, JoinRequest, Lease,
    LeaseProgress, Life, Member, PROTOCOL_VERSION, PushForm, Refusal, Report, RunId, ShardOrder, Shards as _,
    Snapshot, StepMetrics, Version,
};
use tokio::time::advance;

/// Shards of the server, and blocks of the network, one or two for each shard.
const SHARDS: u32 = 2;
const BLOCKS: u32 = 3;

/// One event of a random history; its numbers choose among the workers that there are.
#[derive(Clone, Debug)]
enum Event {
    Join,
    /// A worker trains on some samples, pushes and reports.
    Train {
        worker: usize,
        samples: u64,
        report: bool,
    },
    /// A worker is killed while it pushes: only the first blocks arrive.
    Kill {
        worker: usize,
        samples: u64,
        blocks: u32,
    },
    /// A worker that was fenced pushes once more.
    Late {
        samples: u64,
    },
    Leave(usize),
    Wait {
        seconds: u64,
    },
    Snapshot,
    /// The server is killed, and started again from its newest snapshot.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let (worker, samples) = (0..4usize, 1..9u64);
    prop_oneof![
        3 => Just(Event::Join),
        12 => (worker.clone(), samples.clone(), prop::bool::weighted(0.7))
            .prop_map(|(worker, samples, report)| Event::Train { worker, samples, report }),
        2 => (worker.clone(), samples.clone(), 0..=BLOCKS)
            .prop_map(|(worker, samples, blocks)| Event::Kill { worker, samples, blocks }),
        1 => samples.prop_map(|samples| Event::Late { samples }),
        1 => worker.prop_map(Event::Leave),
        2 => (1..40u64).prop_map(|seconds| Event::Wait { seconds }),
        2 => Just(Event::Snapshot),
        1 => Just(Event::Restart),
    ]
}

fn layout() -> Layout {
    let tensor = |number| Tensor {
        name: format!("tensor {number}"),
        shape: vec![2],
        initialiser: Initialiser::Constant(0.0),
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    Layout::new((0..BLOCKS).map(tensor).collect()).unwrap()
}

struct Worker {
    member: Member,
    lease: Option<(Lease, LeaseProgress)>,
    step: u64,
    calls: u64,
}

struct Model {
    settings: Settings,
    home: tempfile::TempDir,
    host: Arc<ShardHost>,
    coordinator: Coordinator,
    workers: Vec<Worker>,
    /// The member that was killed last.
    gone: Option<Member>,
    /// The newest snapshot: its number and the state of the run in it.
    snapshot: Option<(u64, parameter_server::coordinator::SavedRun)>,
}

impl Model {
    fn new() -> Model {
        let mut configuration = settings::recipe("quick").unwrap();
        configuration.run.batch = 8;
        configuration.run.lease_batches = 2;
        configuration.run.images = Some(100_000);
        configuration.run.evaluate_epochs = 1e6;
        let settings = Settings {
            configuration,
            processes: 1,
            shards: SHARDS,
            address: "a:1".into(),
            lease_time: Duration::from_secs(30),
            life: Life { run: RunId(7), count: 0, nonce: 1 },
        };
        let home = tempfile::tempdir().unwrap();
        let shards = (0..SHARDS).map(|number| Shard::empty(number, SHARDS, 1, Isa::scalar())).collect();
        let host = Arc::new(ShardHost::new(0, shards, home.path().into()));
        let coordinator = Coordinator::new(settings.clone(), host.clone(), None);
        Model { settings, home, host, coordinator, workers: Vec::new(), gone: None, snapshot: None }
    }

    fn join(&mut self) {
        let data = DataDescription {
            images: 1000,
            validation: 5,
            hash: "5eed".into(),
            classes: (0..10).map(|class| class.to_string()).collect(),
        };
        let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "model".into(), data };
        let member = self.coordinator.join(request).unwrap().member;
        for shard in 0..SHARDS {
            self.host.adopt(AdoptRequest { shard, member, layout: layout() }).unwrap();
        }
        self.workers.push(Worker { member, lease: None, step: 0, calls: 0 });
    }

    /// Pushes a minibatch to the first blocks; returns whether they were taken.
    fn push(host: &ShardHost, member: Member, step: u64, samples: u64, blocks: u32) -> bool {
        let owners = parameters::assign(&layout(), SHARDS as usize);
        (0..blocks).all(|block| {
            let push = BlockPush {
                shard: owners[block as usize],
                member,
                step,
                block,
                version: Version::default(),
                samples: samples as u32,
                form: PushForm::Gradient,
                log: None,
                gradient: vec![0.5; 2].into(),
            };
            match host.push(push).outcome {
                Ok(_) => true,
                Err(Refusal::Fenced(_)) => false,
                Err(other) => panic!("{other}"),
            }
        })
    }

    /// A worker trains on some samples of its lease and pushes; with `report` it says so.
    fn train(&mut self, at: usize, samples: u64, report: bool) {
        let worker = &mut self.workers[at];
        if worker.lease.is_none() {
            worker.calls += 1;
            match self.coordinator.assign(worker.member, worker.calls) {
                Ok(Assignment::Train(lease)) => {
                    let progress = LeaseProgress { lease: lease.id, ..LeaseProgress::default() };
                    worker.lease = Some((lease, progress));
                }
                Ok(_) => return,
                Err(_) => return drop(self.workers.remove(at)),
            }
        }
        let (lease, progress) = worker.lease.as_mut().expect("just taken");
        let samples = samples.min(lease.end - lease.start - progress.consumed);
        worker.step += 1;
        if !Model::push(&self.host, worker.member, worker.step, samples, BLOCKS) {
            return drop(self.workers.remove(at));
        }
        progress.used += samples;
        progress.consumed += samples;
        progress.closed = progress.consumed == lease.end - lease.start;
        if report || progress.closed {
            self.report(at, false);
        }
    }

    fn report(&mut self, at: usize, leaving: bool) {
        let worker = &mut self.workers[at];
        worker.calls += 1;
        let progress: Vec<_> = worker.lease.iter().map(|(_, progress)| progress.clone()).collect();
        if progress.iter().any(|progress| progress.closed) {
            worker.lease = None;
        }
        let (metrics, evaluation) = (StepMetrics::default(), None);
        let (member, reason) = (worker.member, leaving.then(|| "asked to".into()));
        let report = Report { member, progress, metrics, evaluation, leaving: reason, sends_largest: false };
        if self.coordinator.report(report, worker.calls).is_err() || leaving {
            self.workers.remove(at);
        }
    }

    fn snapshot(&mut self) {
        let (life, _) = self.coordinator.roster();
        let Some(run) = self.coordinator.checkpoint() else { return };
        let id = self.snapshot.as_ref().map_or(1, |(id, _)| id + 1);
        // Pushes go on between the copy of the progress and the writing of the shards.
        if !self.workers.is_empty() {
            self.train(0, 3, false);
        }
        self.host.order(life, ShardOrder::Snapshot { id }).unwrap();
        self.snapshot = Some((id, run));
    }

    fn restart(&mut self) {
        let Some((id, run)) = self.snapshot.clone() else { return };
        let life = &mut self.settings.life;
        (life.count, life.nonce) = (life.count + 1, life.nonce + 10);
        let read = |number| {
            let saved = file::read(self.home.path(), id, Some(life.run), number, SHARDS).unwrap();
            Shard::restored(number, SHARDS, 1 + life.count, Isa::scalar(), saved)
        };
        let shards = (0..SHARDS).map(read).collect();
        self.host = Arc::new(ShardHost::new(0, shards, self.home.path().into()));
        let newest = Snapshot { id, hashes: Vec::new() };
        self.coordinator = Coordinator::new(self.settings.clone(), self.host.clone(), Some((newest, run)));
    }

    async fn step(&mut self, event: Event) {
        let at = |choice: usize| choice.checked_rem(self.workers.len());
        match event {
            Event::Join if self.workers.len() < 4 => self.join(),
            Event::Join => {}
            Event::Train { worker, samples, report } => {
                if let Some(at) = at(worker) {
                    self.train(at, samples, report);
                }
            }
            Event::Kill { worker, samples, blocks } => {
                if let Some(at) = at(worker) {
                    let Worker { member, step, .. } = self.workers.remove(at);
                    Model::push(&self.host, member, step + 1, samples, blocks);
                    self.gone = Some(member);
                }
            }
            Event::Late { samples } => {
                if let Some(member) = self.gone {
                    Model::push(&self.host, member, 1 << 19, samples, BLOCKS);
                }
            }
            Event::Leave(worker) => {
                if let Some(at) = at(worker) {
                    self.report(at, true);
                }
            }
            Event::Wait { seconds } => {
                advance(Duration::from_secs(seconds)).await;
                self.coordinator.tick();
            }
            Event::Snapshot => self.snapshot(),
            Event::Restart => self.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn blocks_hold_what_the_account_says(events in prop::collection::vec(event(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for event in events {
                model.step(event).await;
            }
            if model.workers.is_empty() {
                model.join();
                model.train(0, 8, true);
            }
            while !model.workers.is_empty() {
                model.report(0, true);
            }
            advance(Duration::from_secs(31)).await;
            model.coordinator.tick();
            let balance = model.coordinator.balance().expect("all have left");
            prop_assert_eq!(&balance.mismatch, &None);
            let saved = model.coordinator.checkpoint().unwrap();
            prop_assert_eq!(balance.used, saved.progress.used);
            let (life, roster) = model.coordinator.roster();
            prop_assert!(roster.members.is_empty() && roster.departed.is_empty());
            let statuses = model.host.order(life, ShardOrder::Roster(roster)).unwrap();
            let mut held = Vec::new();
            for status in statuses {
                let ledger = status.ledger.unwrap();
                prop_assert!(ledger.members.is_empty(), "nobody is remembered");
                let surplus = &saved.surplus[&status.shard];
                for (samples, surplus) in ledger.samples.iter().zip(surplus) {
                    prop_assert_eq!(*samples as i64, balance.used as i64 + surplus);
                    held.push(*surplus);
                }
            }
            let expected = (held.iter().min().copied(), held.iter().max().copied());
            prop_assert_eq!((Some(balance.least), Some(balance.most)), expected);
            Ok(())
        })?;
    }
}
