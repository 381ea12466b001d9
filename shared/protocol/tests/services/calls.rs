//! Every control call and every refusal comes out as it went in.

use std::sync::{Arc, Mutex};

use crate::support::*;
use protocol::*;

fn evaluation(id: u64) -> Evaluation {
    let scores = |top1: f64| Scores::new([("top1", top1), ("top5", top1 / 3.0), ("loss", 0.1 + 0.2)]);
    Evaluation {
        id,
        samples: 5,
        images: 6,
        unreadable: 1,
        average: scores(0.7),
        last_iterate: Some(scores(0.6)),
    }
}

fn part(last_iterate: bool) -> EvaluationPart {
    let sums = Scores::new([("top1", 3.0), ("loss", 0.1 + 0.2)]);
    let last_iterate = last_iterate.then(|| sums.clone());
    let skipped = Some("a.jpg: empty".into());
    let mistake = Mistake {
        image: 65,
        right: 1,
        said: 0,
        probability_right: 0.25,
        probability_said: 0.75,
        picture: vec![0xff, 0xd8, 0xff],
    };
    EvaluationPart {
        id: 1,
        start: 64,
        images: 6,
        unreadable: 2,
        average: sums,
        last_iterate,
        skipped,
        mistakes: vec![mistake],
    }
}

fn status() -> RunStatus {
    RunStatus {
        state: RunState::Training,
        detail: "nothing".into(),
        samples: 1,
        total_samples: 2,
        epoch: 3,
        workers: 4,
        leases: 5,
        latest: Some(TrainingLine {
            step: 1,
            epoch: 2,
            samples: 3,
            loss: f64::NAN,
            auxiliary_losses: vec![0.1, f64::INFINITY],
            scores: Scores::new([("top1", 0.3)]),
            images_per_second: 0.7,
            learning_rate: 0.1 + 0.2,
            staleness_mean: 1.5,
            staleness_max: 9,
            epochs: 40,
            done: 0.25,
            seconds_left: Some(90.5),
            bytes_in: 10,
            bytes_out: 11,
            leases: 12,
            workers: 13,
            refused: 14,
            limited: 15,
            noise_scale: Some(0.5),
            useful_workers: None,
        }),
        evaluations: vec![evaluation(1), evaluation(2)],
        layout: Some(layout()),
        configuration: configuration(),
        data_hash: "5eed".into(),
        unreadable: 7,
        life: LIFE,
        classes: vec!["daisy".into(), "rose".into()],
        shards: vec!["a:1".into(), "b:2".into()],
    }
}

/// A configuration whose floats need every digit.
fn configuration() -> settings::RunConfiguration {
    let mut configuration = settings::recipe("paper").unwrap();
    configuration.optimisation.learning_rate = 0.1 + 0.2;
    configuration.optimisation.clip_norm = Some(1.0 / 3.0);
    configuration.network.width = 1.0 / 3.0;
    configuration
}

pub fn script() -> Script {
    Script {
        join: Ok(JoinReply {
            member: MEMBER,
            configuration: configuration(),
            shards: vec!["a:1".into(), "a:1".into()],
        }),
        assign: Ok(Assignment::Train(Lease {
            id: 1,
            epoch: 2,
            start: 3,
            end: 4,
            form: PushForm::Step,
            takes_velocity: true,
        })),
        report: Ok(None),
        register: Ok(RegisterReply {
            first_shard: 1,
            total_shards: 2,
            restore: None,
            life: Life { count: 7, ..LIFE },
            again: true,
            rule: Some(rule()),
            roster: roster(),
            generation: u64::MAX,
            snapshot_ordered: true,
        }),
        status: status(),
        overview: overview(),
        steer: Ok(Steered { text: "paused".into() }),
        pictures: None,
        asked: Mutex::default(),
    }
}

fn roster() -> Roster {
    let entry = |worker| RosterEntry { worker, incarnation: u64::MAX - u64::from(worker) };
    Roster {
        version: 9,
        next_worker: 4,
        members: vec![entry(3), entry(1)],
        departed: vec![entry(0)],
        next_evaluation: 8,
        evaluations: vec![5, 7],
        rate_factor: 0.1 + 0.2,
    }
}

fn overview() -> Overview {
    let worker = WorkerOverview {
        worker: 3,
        name: "host/1".into(),
        images: 1,
        steps: 2,
        images_per_second: 0.5,
        share: 0.25,
        staleness_mean: 1.5,
        step_seconds: 0.1 + 0.2,
        waiting: 0.125,
        bytes_out: 3,
        bytes_in: 4,
        gradient_wire: Some(Wire::TopPercent),
        parameter_wire: None,
        link_up: Some(0.1 + 0.2),
        link_down: None,
        leases: 5,
        silent_seconds: 0.75,
        drained: true,
    };
    let shard_status = ShardStatus { shard: 1, blocks: 2, updates: 3, ..ShardStatus::default() };
    let shard =
        ShardOverview { shard: 1, address: "b:2".into(), silent_seconds: 2.5, status: Some(shard_status) };
    Overview {
        state: RunState::Paused,
        detail: "by operator at 127.0.0.1:1".into(),
        training_images: 1,
        validation_images: 2,
        classes: 3,
        data_hash: "5eed".into(),
        samples: 4,
        total_samples: 5,
        epoch: 6,
        epochs: 7,
        latest: status().latest,
        evaluation: Some(evaluation(1)),
        members: 8,
        workers: vec![worker],
        total_shards: 9,
        shards: vec![shard, ShardOverview { address: "a:1".into(), ..ShardOverview::default() }],
        leases: 10,
        rate_factor: 0.1 + 0.2,
        snapshot: 11,
        snapshot_ordered: true,
        unreadable: 12,
        warnings: vec![Warning { time: 0.5, text: "worker 3 is silent".into() }],
        ..empty_overview()
    }
}

fn join_request() -> JoinRequest {
    let classes = vec!["daisy".into(), "rosé".into()];
    let data = DataDescription { images: 1, validation: 2, hash: "ab".into(), classes };
    JoinRequest { protocol: PROTOCOL_VERSION, name: "host/1".into(), data }
}

fn report() -> Report {
    Report {
        member: MEMBER,
        progress: vec![
            LeaseProgress {
                lease: 1,
                used: 2,
                skipped: vec!["a.jpg: truncated".into()],
                consumed: 3,
                closed: true,
            },
            LeaseProgress::default(),
        ],
        metrics: StepMetrics {
            steps: 1,
            images: 2,
            main_loss: 2.5,
            auxiliary_losses: vec![0.1, 0.2],
            scores: Scores::new([("top1", 3.0)]),
            gradients: GradientNorms { minibatches: 4, squared: 0.5, common: -0.25 },
            compute_seconds: 0.3,
            wait_seconds: 0.4,
            refused: 5,
            diverged: true,
            updates: 6,
            staleness_sum: 7,
            bytes_out: 8,
            bytes_in: 9,
            gradient_wire: Some(Wire::Bits8),
            parameter_wire: Some(Wire::Bf16),
            link_up: None,
            link_down: Some(0.1 + 0.2),
        },
        evaluation: Some(part(true)),
        leaving: Some("asked to".into()),
        sends_largest: true,
    }
}

fn snapshot() -> Snapshot {
    Snapshot { id: 0, hashes: vec!["5eed".into()] }
}

fn register_request() -> RegisterRequest {
    let holds = Some(Holding { first_shard: 0, life: LIFE });
    let files = Some(ShardFiles { run: RunId(u128::MAX - 1), shards: vec![2, 3] });
    RegisterRequest {
        protocol: PROTOCOL_VERSION,
        address: "c:3".into(),
        shards: 2,
        holds,
        files,
        stopping: true,
    }
}

fn adopt_request() -> AdoptRequest {
    AdoptRequest { shard: 0, member: MEMBER, layout: layout() }
}

/// A value as text, since not every message can be compared.
fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

#[tokio::test]
async fn every_call_of_the_coordinator_round_trips() {
    let script = Arc::new(script());
    let server = Server::start(Some(script.clone()), None);
    let client = CoordinatorClient::connect(&server.address, patience()).await.unwrap();

    let reply = client.join(join_request()).await.unwrap();
    assert_eq!(shown(&reply), shown(script.join.as_ref().unwrap()));
    assert_eq!(reply.configuration, configuration());
    assert_eq!(client.assign(MEMBER).await.unwrap(), script.assign.clone().unwrap());
    assert_eq!(client.report(report()).await.unwrap(), None);
    assert_eq!(client.register(register_request()).await.unwrap(), script.register.clone().unwrap());
    assert_eq!(shown(&client.status().await.unwrap()), shown(&status()));
    assert_eq!(shown(&client.overview().await.unwrap()), shown(&overview()));
    let orders = [
        Steering::Pause,
        Steering::Resume,
        Steering::Drain(7),
        Steering::Snapshot,
        Steering::RateFactor(0.1 + 0.2),
        Steering::Stop,
    ];
    let mut steered = Vec::new();
    for order in orders {
        assert_eq!(client.steer(order).await.unwrap(), script.steer.clone().unwrap());
        steered.push(shown(&(order, None::<()>, Some("127.0.0.1".parse::<std::net::IpAddr>().unwrap()))));
    }
    for factor in [0.0, -1.0, 1001.0, f64::NAN, f64::INFINITY] {
        let error = client.steer(Steering::RateFactor(factor)).await.unwrap_err();
        let text = format!("SteerRequest.rate_factor: expected 1e-6 to 1000, found {factor}");
        assert_eq!(error.refusal(), Some(&Refusal::Invalid(text)));
    }

    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [
            vec![shown(&join_request()), shown(&(MEMBER, 1)), shown(&(report(), 2))],
            vec![shown(&register_request())],
            steered
        ]
        .concat()
    );
    server.stop().await;
}

#[tokio::test]
async fn every_assignment_and_every_ending_round_trips() {
    let endings = [
        Ending::Completed,
        Ending::Diverged("loss is not finite; try rate 0.01".into()),
        Ending::Failed("100 of 1000 images are unreadable".into()),
        Ending::Interrupted,
    ];
    let mut assignments = vec![
        Assignment::Evaluate(EvaluationOrder {
            id: 1,
            samples: 2,
            last: true,
            start: 64,
            end: 72,
            last_iterate: true,
        }),
        Assignment::Wait { milliseconds: 250, reason: "leases of others".into() },
        Assignment::Leave { reason: "an operator wants it to leave".into() },
    ];
    assignments.extend(endings.iter().cloned().map(Assignment::Finished));
    for assignment in assignments {
        let report = match &assignment {
            Assignment::Finished(ending) => Some(ending.clone()),
            _ => None,
        };
        let answers = Script {
            assign: Ok(assignment.clone()),
            report: Ok(report.clone()),
            register: Ok(RegisterReply {
                first_shard: 0,
                total_shards: 1,
                restore: Some(snapshot()),
                life: LIFE,
                again: false,
                rule: None,
                roster: Roster::default(),
                generation: 0,
                snapshot_ordered: true,
            }),
            status: RunStatus { latest: None, layout: None, ..status() },
            ..script()
        };
        let server = Server::start(Some(Arc::new(answers)), None);
        let client = CoordinatorClient::connect(&server.address, patience()).await.unwrap();
        assert_eq!(client.assign(MEMBER).await.unwrap(), assignment);
        assert_eq!(client.report(empty_report()).await.unwrap(), report);
        assert_eq!(client.register(register_request()).await.unwrap().restore, Some(snapshot()));
        let status = client.status().await.unwrap();
        assert_eq!((status.latest, status.layout), (None, None));
    }
}

/// A report with as little in it as there can be.
fn empty_report() -> Report {
    Report {
        member: MEMBER,
        progress: Vec::new(),
        metrics: StepMetrics::default(),
        evaluation: None,
        leaving: None,
        sends_largest: false,
    }
}

#[tokio::test]
async fn every_call_of_the_shards_round_trips() {
    let shards = Arc::new(Adder::holding_zeros());
    let server = Server::shards(&shards);
    let client = ShardClient::connect(&server.address, patience()).await.unwrap();
    let adopted = client.adopt(adopt_request()).await.unwrap();
    assert_eq!(adopted.fingerprint, layout().fingerprint());
    assert_eq!(client.status().await.unwrap(), Shards::status(&*shards));
    for order in [
        ShardOrder::Snapshot { id: 0 },
        ShardOrder::Snapshot { id: 9 },
        ShardOrder::Finish { interrupted: true },
        ShardOrder::Roster(roster()),
    ] {
        let answer = client.order(LIFE, order.clone()).await.unwrap();
        assert_eq!(answer, Shards::status(&*shards));
        assert_eq!(answer[0].snapshot_hash, Some(named(&order)));
    }
    server.stop().await;
}

#[tokio::test]
async fn every_refusal_round_trips_through_every_call() {
    let text = String::from("tensor 3: expected a [1], found b [2]; über");
    let refusals = [
        Refusal::Mismatch(text.clone()),
        Refusal::Fenced(text.clone()),
        Refusal::NotReady(text.clone()),
        Refusal::Invalid(text.clone()),
        // Longer than any header may be.
        Refusal::Internal("text ".repeat(20_000)),
    ];
    for refusal in refusals {
        let answers = Script {
            join: Err(refusal.clone()),
            assign: Err(refusal.clone()),
            report: Err(refusal.clone()),
            register: Err(refusal.clone()),
            steer: Err(refusal.clone()),
            ..script()
        };
        let shards = Arc::new(Adder { refusal: Some(refusal.clone()), ..Adder::holding_zeros() });
        let server = Server::start(Some(Arc::new(answers)), Some(shards));
        let client = CoordinatorClient::connect(&server.address, patience()).await.unwrap();
        let shards = ShardClient::connect(&server.address, patience()).await.unwrap();
        let fetched = fetch(&shards, Wire::F32, &[0, 1], Kind::Parameters).await;
        for (call, error) in [
            ("join", client.join(join_request()).await.unwrap_err()),
            ("assign", client.assign(MEMBER).await.unwrap_err()),
            ("report", client.report(report()).await.unwrap_err()),
            ("register", client.register(register_request()).await.unwrap_err()),
            ("steer", client.steer(Steering::Pause).await.unwrap_err()),
            ("adopt", shards.adopt(adopt_request()).await.unwrap_err()),
            ("order", shards.order(LIFE, ShardOrder::Finish { interrupted: false }).await.unwrap_err()),
            ("fetch", fetched.unwrap_err()),
        ] {
            assert_eq!(error.refusal(), Some(&refusal), "{call}");
        }
        for reply in push_all(&shards, Wire::F32, 1).await.unwrap() {
            assert_eq!(reply.outcome, Err(refusal.clone()));
        }
    }
}
