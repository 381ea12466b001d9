//! A model of workers beside the coordinator: whatever they do, every position of the run is credited exactly
//! once, and the run ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parameter_server::{
    Coordinator, ShardHost,
    coordinator::{Settings, leases::EpochLedger},
};
use proptest::prelude::*;
use protocol::{
    Assignment, Coordinator as _, DataDescription, Ending, EvaluationOrder, EvaluationPart, JoinRequest,
    Lease, LeaseProgress, Life, Member, PROTOCOL_VERSION, Refusal, Report, Snapshot, StepMetrics,
};
use tokio::time::advance;

/// One event of a random history; its numbers choose among the workers that there are.
#[derive(Clone, Debug)]
enum Event {
    Join,
    /// A worker asks for something to do (perhaps twice).
    Ask(usize, bool),
    /// A worker gets on with its oldest lease: uses and skips some positions, and reports (perhaps twice).
    Work {
        worker: usize,
        used: u64,
        skipped: u64,
        close: bool,
        twice: bool,
    },
    /// A worker hands in an evaluation.
    Evaluate(usize),
    Leave(usize),
    /// A worker falls silent, or wakes up.
    Sleep(usize),
    Wait {
        seconds: u64,
    },
    /// The coordinator is restarted from a snapshot.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let worker = 0..8usize;
    prop_oneof![
        2 => Just(Event::Join),
        6 => (worker.clone(), any::<bool>()).prop_map(|(worker, twice)| Event::Ask(worker, twice)),
        8 => (worker.clone(), 0..20u64, 0..2u64, any::<bool>(), any::<bool>()).prop_map(
            |(worker, used, skipped, close, twice)| Event::Work { worker, used, skipped, close, twice }),
        2 => worker.clone().prop_map(Event::Evaluate),
        1 => worker.clone().prop_map(Event::Leave),
        1 => worker.prop_map(Event::Sleep),
        2 => (1..40u64).prop_map(|seconds| Event::Wait { seconds }),
        1 => Just(Event::Restart),
    ]
}

struct Model {
    coordinator: Coordinator,
    settings: Settings,
    images: u64,
    workers: Vec<Worker>,
    /// How often each (epoch, position) was credited.
    credited: BTreeMap<(u64, u64), u32>,
    skipped: u64,
}

struct Worker {
    member: Member,
    awake: bool,
    leases: Vec<(Lease, LeaseProgress)>,
    evaluations: Vec<EvaluationOrder>,
    calls: u64,
}

fn host() -> Arc<ShardHost> {
    Arc::new(ShardHost::new(0, Vec::new(), "nowhere".into()))
}

impl Model {
    fn new(images: u64, total: u64) -> Model {
        let mut configuration = settings::recipe("quick").unwrap();
        configuration.run.batch = 4;
        configuration.run.lease_batches = 2;
        configuration.run.images = Some(total);
        configuration.run.evaluate_epochs = 0.7;
        let settings = Settings {
            configuration,
            processes: 1,
            shards: 1,
            address: "a:1".into(),
            lease_time: Duration::from_secs(30),
            life: Life::default(),
        };
        let coordinator = Coordinator::new(settings.clone(), host(), None);
        let (workers, credited) = Default::default();
        Model { coordinator, settings, images, workers, credited, skipped: 0 }
    }

    fn join(&mut self) {
        let data = DataDescription {
            images: self.images,
            validation: 5,
            hash: "5eed".into(),
            classes: (0..10).map(|class| class.to_string()).collect(),
        };
        let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "model".into(), data };
        let member = self.coordinator.join(request).unwrap().member;
        self.workers.push(Worker {
            member,
            awake: true,
            leases: Vec::new(),
            evaluations: Vec::new(),
            calls: 0,
        });
    }

    fn awake(&self, choice: usize) -> Option<usize> {
        let awake: Vec<usize> = (0..self.workers.len()).filter(|at| self.workers[*at].awake).collect();
        (!awake.is_empty()).then(|| awake[choice % awake.len()])
    }

    /// Asks for work and returns the ending, once the worker is told.
    fn ask(&mut self, at: usize, twice: bool) -> Option<Ending> {
        let worker = &mut self.workers[at];
        worker.calls += 1;
        let ask = || self.coordinator.assign(worker.member, worker.calls);
        let answer = ask();
        if twice {
            assert_eq!(ask(), answer, "a repetition gets the same answer");
        }
        match answer {
            Ok(Assignment::Train(lease)) => {
                let progress = LeaseProgress { lease: lease.id, ..LeaseProgress::default() };
                worker.leases.push((lease, progress));
            }
            Ok(Assignment::Evaluate(order)) => worker.evaluations.push(order),
            Ok(Assignment::Wait { .. }) => {}
            Ok(Assignment::Finished(ending)) => return Some(ending),
            Ok(Assignment::Leave { reason }) => panic!("nobody drains a worker here: {reason}"),
            Err(Refusal::Fenced(_)) => drop(self.workers.remove(at)),
            Err(other) => panic!("{other}"),
        }
        None
    }

    fn report(&mut self, at: usize, fill: impl FnOnce(&mut Report)) -> bool {
        let worker = &mut self.workers[at];
        worker.calls += 1;
        let (member, call) = (worker.member, worker.calls);
        let mut report = Report {
            member,
            progress: Vec::new(),
            metrics: StepMetrics::default(),
            evaluation: None,
            leaving: None,
            sends_largest: false,
        };
        fill(&mut report);
        match self.coordinator.report(report, call) {
            Ok(_) => true,
            Err(Refusal::Fenced(_)) => {
                self.workers.remove(at);
                false
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Number of positions that are credited, used or skipped.
    fn consumed(&self) -> u64 {
        self.coordinator.checkpoint().map_or(0, |saved| saved.progress.used + saved.progress.skipped)
    }

    fn work(&mut self, at: usize, used: u64, skipped: u64, close: bool, twice: bool) {
        let Some((lease, progress)) = self.workers[at].leases.first().cloned() else { return };
        let left = lease.end - lease.start - progress.consumed;
        let (used, from) = (used.min(left), lease.start + progress.consumed);
        // Only few images are unreadable, so that the run is not ended because of them.
        let skipped = if lease.epoch == 0 && from + used == 3 { skipped.min(left - used) } else { 0 };
        let mut progress = progress;
        progress.used += used;
        progress.consumed += used + skipped;
        progress.skipped.extend((0..skipped).map(|i| format!("image {i}")));
        progress.closed = close || progress.consumed == lease.end - lease.start;
        let before = self.consumed();
        for _ in 0..1 + usize::from(twice) {
            if !self.report(at, |report| report.progress = vec![progress.clone()]) {
                return;
            }
        }
        // The last leases of a slow worker may be another's by now: then nothing is credited.
        let news = self.consumed() - before;
        assert!(news == used + skipped || news == 0, "credited {news} of {used} used and {skipped} skipped");
        for position in from..from + news {
            *self.credited.entry((lease.epoch, position)).or_default() += 1;
        }
        if news > 0 {
            self.skipped += skipped;
        }
        let worker = &mut self.workers[at];
        if progress.closed {
            worker.leases.remove(0);
        } else {
            worker.leases[0].1 = progress;
        }
    }

    fn evaluate(&mut self, at: usize) {
        let Some(order) = self.workers[at].evaluations.pop() else { return };
        let part = EvaluationPart {
            id: order.id,
            start: order.start,
            images: order.end - order.start - 1,
            unreadable: 1,
            average: Default::default(),
            last_iterate: order.last_iterate.then(Default::default),
            skipped: Some("a.jpg: empty".into()),
            mistakes: Vec::new(),
        };
        self.report(at, |report| report.evaluation = Some(part));
    }

    async fn step(&mut self, event: Event) {
        match event {
            Event::Join => {
                if self.workers.len() < 8 {
                    self.join();
                }
            }
            Event::Ask(choice, twice) => {
                if let Some(at) = self.awake(choice) {
                    self.ask(at, twice);
                }
            }
            Event::Work { worker, used, skipped, close, twice } => {
                if let Some(at) = self.awake(worker) {
                    self.work(at, used, skipped, close, twice);
                }
            }
            Event::Evaluate(choice) => {
                if let Some(at) = self.awake(choice) {
                    self.evaluate(at);
                }
            }
            Event::Leave(choice) => {
                if let Some(at) = self.awake(choice)
                    && self.report(at, |report| report.leaving = Some("asked to".into()))
                {
                    self.workers.remove(at);
                }
            }
            Event::Sleep(choice) => {
                let count = self.workers.len().max(1);
                if let Some(worker) = self.workers.get_mut(choice % count) {
                    worker.awake = !worker.awake;
                }
            }
            Event::Wait { seconds } => {
                advance(Duration::from_secs(seconds)).await;
                self.coordinator.tick();
            }
            Event::Restart => {
                if let Some(saved) = self.coordinator.checkpoint() {
                    assert!(saved.progress.is_consistent(), "{:?}", saved.progress);
                    self.settings.life.count += 1;
                    let snapshot = Snapshot { id: 1, hashes: Vec::new() };
                    self.coordinator =
                        Coordinator::new(self.settings.clone(), host(), Some((snapshot, saved)));
                }
            }
        }
    }

    /// Lets one reliable worker do the rest of the run while all others are silent.
    async fn finish(&mut self) {
        self.workers.clear();
        self.join();
        for _ in 0..10_000 {
            if let Some(ending) = self.ask(0, false) {
                assert_eq!(ending, Ending::Completed);
                return;
            }
            self.work(0, u64::MAX, 0, false, false);
            self.evaluate(0);
            if self.coordinator.ending().is_some() {
                self.coordinator.announce_completion();
            }
            advance(Duration::from_secs(1)).await;
            self.coordinator.tick();
        }
        panic!("the run does not end: {:?}", self.coordinator.status());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_position_is_credited_once(
        images in 45..70u64,
        total in 1..200u64,
        events in prop::collection::vec(event(), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new(images, total);
            for event in events {
                model.step(event).await;
            }
            model.finish().await;
            let positions: BTreeSet<(u64, u64)> = (0..total).map(|at| (at / images, at % images)).collect();
            prop_assert_eq!(model.credited.keys().copied().collect::<BTreeSet<_>>(), positions);
            prop_assert!(model.credited.values().all(|count| *count == 1), "{:?}", model.credited);
            let status = model.coordinator.status();
            prop_assert_eq!(status.samples, total - model.skipped);
            let progress = model.coordinator.checkpoint().unwrap().progress;
            prop_assert_eq!((progress.leased, progress.to_do.len()), (total, 0));
            prop_assert!(progress.ledgers.iter().all(EpochLedger::complete), "{:?}", progress.ledgers);
            prop_assert_eq!(progress.ledgers.iter().map(|ledger| ledger.images).sum::<u64>(), total);
            Ok(())
        })?;
    }
}
