//! What is wrong with a message is named by field.

use super::*;
use crate::{fields::FieldError, proto};

/// The text with which a message is turned down.
fn error<T, M: TryInto<T, Error = FieldError>>(message: M) -> String {
    match message.try_into() {
        Ok(_) => panic!("expected an error, found a usable message"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_reply_without_an_outcome_names_it() {
    let texts = [
        error::<Answer<JoinReply>, _>(proto::JoinReply::default()),
        error::<Answer<Assignment>, _>(proto::AssignReply::default()),
        error::<Answer<Option<Ending>>, _>(proto::ReportReply::default()),
        error::<Answer<RegisterReply>, _>(proto::RegisterReply::default()),
        error::<Answer<AdoptReply>, _>(proto::AdoptReply::default()),
        error::<Answer<Vec<ShardStatus>>, _>(proto::OrderReply::default()),
        error::<Answer<BlockValues>, _>(proto::FetchReply::default()),
        error::<PushReply, _>(proto::BlockReply::default()),
    ];
    for text in texts {
        assert!(text.ends_with("Reply.outcome: expected a value, found none"), "{text}");
    }
}

#[test]
fn a_value_out_of_range_is_named_with_its_field() {
    let refusal = proto::Refusal { reason: 6, text: "why".into() };
    assert_eq!(error::<Refusal, _>(refusal), "Refusal.reason: expected 1 to 5, found 6");
    let ending = proto::Ending { how: 0, text: String::new() };
    assert_eq!(error::<Ending, _>(ending), "Ending.how: expected 1 to 4, found 0");
    let configuration = serde_json::to_string(&settings::recipe("quick").unwrap()).unwrap();
    let status = proto::StatusReply { configuration, state: 9, ..Default::default() };
    let text = error::<Answer<RunStatus>, _>(status);
    assert_eq!(text, "StatusReply.state: expected 1 to 8, found 9");

    let outcome = proto::adopt_reply::Outcome::Adopted(proto::Adopted { fingerprint: vec![0; 31].into() });
    let text = error::<Answer<AdoptReply>, _>(proto::AdoptReply { outcome: Some(outcome) });
    assert_eq!(text, "Adopted.fingerprint: expected 32 bytes, found 31 bytes");

    let lease = proto::Lease { id: 1, epoch: 0, start: 9, end: 8, ..Default::default() };
    let outcome = proto::assign_reply::Outcome::Train(lease);
    let text = error::<Answer<Assignment>, _>(proto::AssignReply { outcome: Some(outcome) });
    assert_eq!(text, "Lease.end: expected at least start (9), found 8");

    let wait = proto::Wait { milliseconds: u64::MAX, reason: String::new() };
    let outcome = proto::assign_reply::Outcome::Wait(wait);
    let text = error::<Answer<Assignment>, _>(proto::AssignReply { outcome: Some(outcome) });
    assert_eq!(text, format!("Wait.milliseconds: expected at most 60000, found {}", u64::MAX));

    let status = proto::StatusReply { configuration: "{\"recipe\": 3}".into(), ..Default::default() };
    let text = error::<Answer<RunStatus>, _>(status);
    assert!(
        text.starts_with(
            "StatusReply.configuration: expected a run configuration as JSON, found invalid type"
        ),
        "{text}"
    );

    let mut configuration = settings::recipe("quick").unwrap();
    configuration.run.batch = 0;
    let configuration = serde_json::to_string(&configuration).unwrap();
    let text = error::<Answer<RunStatus>, _>(proto::StatusReply { configuration, ..Default::default() });
    assert_eq!(
        text,
        "StatusReply.configuration: expected values in their ranges, found configuration key run.batch: found 0, \
         expected 1 to 4096 images"
    );

    let block = proto::BlockValues {
        block: 1,
        version: Some(Version::default().into()),
        wire: proto::Wire::Bf16.into(),
        values: vec![0; 5].into(),
    };
    let outcome = proto::fetch_reply::Outcome::Block(block);
    let text = error::<Answer<BlockValues>, _>(proto::FetchReply { outcome: Some(outcome) });
    assert_eq!(text, "BlockValues.values: expected a multiple of 2 bytes, found 5 bytes");
}

#[test]
fn what_is_lent_is_bounded_and_no_piece_without_an_end_is_empty() {
    let piece = |bytes: usize, end| {
        error::<PicturePiece, _>(proto::PicturePiece { bytes: vec![0; bytes].into(), end })
    };
    let end = proto::PictureEnd { name: "a/1.jpg".into(), failure: None };
    assert_eq!(piece(0, None), "PicturePiece.bytes: expected 1 to 262144 bytes, found 0");
    assert_eq!(
        piece(PIECE + 1, Some(end.clone())),
        "PicturePiece.bytes: expected 0 to 262144 bytes, found 262145"
    );
    let long = proto::PictureEnd { failure: Some("x".repeat((16 << 10) + 1)), ..end };
    assert_eq!(piece(1, Some(long)), "PictureEnd.failure: expected at most 16384 bytes, found 16385 bytes");
    let list = proto::LabelList { labels: vec![0; (1 << 18) + 1] };
    assert_eq!(error::<Vec<u32>, _>(list), "LabelList.labels: expected at most 262144 labels, found 262145");
    let data = proto::Data { hash: "5eed".into(), ..Default::default() };
    let lent = proto::Lent { data: Some(data), shards: vec![1; (1 << 18) + 1] };
    assert_eq!(error::<LentData, _>(lent), "Lent.shards: expected at most 262144 shards, found 262145");
    // A path that is longer than any is cut where it is sent.
    let end = Some(PictureEnd { name: "a".repeat(1 << 20), failure: None });
    let sent = proto::PicturePiece::from(PicturePiece { bytes: vec![], end });
    assert!(PicturePiece::try_from(sent).is_ok());
}

/// What is counted, listed or kept of a message has a most.
#[test]
fn what_a_receiver_would_take_memory_for_is_bounded() {
    let join = |data: proto::Data, name: &str| {
        error::<JoinRequest, _>(proto::JoinRequest { data: Some(data), name: name.into(), protocol: 1 })
    };
    let data = proto::Data { images: 10, validation: 1, hash: "5eed".into(), ..Default::default() };
    let cases = [
        (
            join(proto::Data { images: 1 << 32, ..data.clone() }, ""),
            "Data.images: expected at most 4294967295, found 4294967296",
        ),
        (
            join(proto::Data { validation: u64::MAX, ..data.clone() }, ""),
            "Data.validation: expected at most 4294967295, found 18446744073709551615",
        ),
        (
            join(proto::Data { classes: vec![String::new(); 100_001], ..data.clone() }, ""),
            "Data.classes: expected at most 100000 names, found 100001",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
    let report = |metrics: proto::Metrics, skipped: Vec<String>| {
        error::<(Report, u64), _>(proto::ReportRequest {
            member: Some(Member { worker: 0, incarnation: 1, life: Life::default() }.into()),
            metrics: Some(metrics),
            progress: vec![proto::LeaseProgress { skipped, ..Default::default() }],
            ..Default::default()
        })
    };
    let losses = proto::Metrics { auxiliary_losses: vec![0.0; 3], ..Default::default() };
    assert_eq!(report(losses, vec![]), "Metrics.auxiliary_losses: expected at most 2 values, found 3");
    assert_eq!(
        report(proto::Metrics::default(), vec!["a.jpg".into(), "b".repeat(20_000)]),
        "LeaseProgress.skipped: expected at most 16384 bytes, found 20000 bytes"
    );
    let tensor = |name: &str, shape: Vec<u64>| {
        let initialiser = Some(proto::tensor::Initialiser::Constant(0.0));
        let tensor = proto::Tensor { name: name.into(), shape, initialiser, ..Default::default() };
        error::<parameters::Layout, _>(proto::Layout { tensors: vec![tensor] })
    };
    assert_eq!(tensor("a", vec![1; 9]), "Tensor.shape: expected at most 8 dimensions, found 9");
    let tensors = vec![proto::Tensor::default(); (1 << 14) + 1];
    let text = error::<parameters::Layout, _>(proto::Layout { tensors });
    assert_eq!(text, "Layout.tensors: expected at most 16384 tensors, found 16385");
    let text = tensor("a", vec![1 << 63, 2]);
    assert!(text.starts_with("Layout.tensors: expected a usable layout, found with tensor a "), "{text}");
    let register = |first_shard, total_shards| {
        let place = proto::Registration { first_shard, total_shards, ..Default::default() };
        let outcome = Some(proto::register_reply::Outcome::Registration(place));
        error::<Answer<RegisterReply>, _>(proto::RegisterReply { outcome })
    };
    assert_eq!(register(0, 0), "Registration.total_shards: expected 1 to 65536, found 0");
    assert_eq!(register(0, u32::MAX), "Registration.total_shards: expected 1 to 65536, found 4294967295");
    assert_eq!(register(4, 4), "Registration.first_shard: expected below total_shards (4), found 4");

    let request = proto::ReportRequest {
        member: Some(Member { worker: 0, incarnation: 1, life: Life::default() }.into()),
        metrics: Some(proto::Metrics::default()),
        progress: vec![proto::LeaseProgress::default(); 65],
        ..Default::default()
    };
    let text = error::<(Report, u64), _>(request);
    assert_eq!(text, "ReportRequest.progress: expected at most 64 leases, found 65");
    let fetch = proto::FetchRequest { blocks: vec![0; (1 << 15) + 1], wire: 1, ..Default::default() };
    let text = error::<FetchRequest, _>(fetch);
    assert_eq!(text, "FetchRequest.blocks: expected at most 32768 blocks, found 32769");
    let entries = |count| vec![proto::RosterEntry::default(); count];
    for (roster, expected) in [
        (
            proto::Roster { members: entries(4097), ..Default::default() },
            "members: expected at most 4096 workers",
        ),
        (
            proto::Roster { departed: entries(16385), ..Default::default() },
            "departed: expected at most 16384 workers",
        ),
        (
            proto::Roster { evaluations: vec![0; 17], ..Default::default() },
            "evaluations: expected at most 16 evaluations",
        ),
    ] {
        let text = error::<Roster, _>(roster);
        assert!(text.starts_with(&format!("Roster.{expected}")), "{text}");
    }
    let shards = vec![proto::ShardStatus::default(); (1 << 16) + 1];
    let text = error::<Vec<ShardStatus>, _>(proto::ShardStatuses { shards });
    assert_eq!(text, "ShardStatuses.shards: expected at most 65536 shards, found 65537");
    let ledger = proto::ShardLedger { samples: vec![0; (1 << 15) + 1], ..Default::default() };
    let text = error::<ShardLedger, _>(ledger);
    assert_eq!(text, "ShardLedger.samples: expected at most 32768 blocks, found 32769");
    let snapshot = proto::Snapshot { id: 1, hashes: vec!["a".into(); (1 << 16) + 1] };
    let text = error::<Snapshot, _>(snapshot);
    assert_eq!(text, "Snapshot.hashes: expected at most 65536 names, found 65537");
}

#[test]
fn a_request_has_a_bounded_number_of_pushes() {
    let block =
        proto::GradientBlock { version: Some(Version::default().into()), wire: 1, ..Default::default() };
    let request = proto::PushRequest {
        member: Some(Member { worker: 0, incarnation: 1, life: Life::default() }.into()),
        wire: proto::Wire::F32.into(),
        blocks: vec![block; 4096],
        ..Default::default()
    };
    let arrived: Vec<_> = arrived_blocks(request.clone()).map(|arrived| arrived.push.unwrap()).collect();
    // What a client sends at once is split by the same bound.
    let sent = push_requests(arrived.iter().chain(&arrived).cloned().collect(), Wire::F32);
    assert_eq!(sent.iter().map(|request| request.blocks.len()).collect::<Vec<_>>(), [4096, 4096]);
    let more = proto::PushRequest { blocks: [&request.blocks[..], &request.blocks[..1]].concat(), ..request };
    let refused: Vec<_> = arrived_blocks(more).map(|arrived| arrived.push.unwrap_err().to_string()).collect();
    assert_eq!(refused.len(), 4096);
    assert_eq!(refused[0], "PushRequest.blocks: expected at most 4096 blocks, found 4097");
}

/// A name goes into logs: it may not end the line and go on as another one.
#[test]
fn names_are_printable_and_short() {
    let data = |hash: &str, class: &str| proto::Data {
        images: 10,
        validation: 1,
        hash: hash.into(),
        classes: vec![class.into()],
    };
    let join = |name: &str, data: proto::Data| proto::JoinRequest {
        data: Some(data),
        name: name.into(),
        protocol: PROTOCOL_VERSION,
    };
    let good = data("5eed", "Vögel, Gänse (Anser) \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{1f468}\u{200d}\u{1f373}");
    assert!(JoinRequest::try_from(join(&"w".repeat(256), good.clone())).is_ok());
    let tensor = |name: &str| proto::Tensor {
        name: name.into(),
        initialiser: Some(proto::tensor::Initialiser::Constant(0.0)),
        ..Default::default()
    };
    for (name, found) in [
        ("", "0 bytes"),
        (&"w".repeat(257), "257 bytes"),
        (&"\u{e4}".repeat(129), "258 bytes"),
        ("w\n2026-01-01 ERROR the disk is full", r#""w\n2026-01-01 ERROR the disk is full""#),
        ("\u{1b}[31m red", r#""\u{1b}[31m red""#),
        ("\u{85}", r#""\u{85}""#),
        ("a\u{2028}b", r#""a\u{2028}b""#),
        ("a\u{202e}b", r#""a\u{202e}b""#),
        ("a\u{2066}b", r#""a\u{2066}b""#),
    ] {
        for (field, text) in [
            ("JoinRequest.name", error::<JoinRequest, _>(join(name, good.clone()))),
            ("Data.classes", error::<JoinRequest, _>(join("w", data("5eed", name)))),
            ("Data.hash", error::<JoinRequest, _>(join("w", data(name, "a")))),
            ("Tensor.name", error::<parameters::Tensor, _>(tensor(name))),
            (
                "RegisterRequest.address",
                error::<RegisterRequest, _>(proto::RegisterRequest {
                    address: name.into(),
                    ..Default::default()
                }),
            ),
        ] {
            assert_eq!(text, format!("{field}: expected a name of 1 to 256 printable bytes, found {found}"));
        }
    }
    // The name of a user's file is no reason to refuse a report: it is shown as far as it can be.
    let progress = proto::LeaseProgress {
        skipped: vec!["a\nb\u{202e}c.jpg: empty".into(), "\u{e4}".repeat(5000)],
        ..Default::default()
    };
    let skipped = LeaseProgress::try_from(progress).unwrap().skipped;
    assert_eq!(skipped, ["a\\u{a}b\\u{202e}c.jpg: empty".into(), "\u{e4}".repeat(512) + "…"]);
}

#[test]
fn numbers_of_a_report_are_finite_and_can_be_summed() {
    type Change<'a> = &'a dyn Fn(&mut proto::Metrics);
    let report = |change: Change| {
        let mut metrics = proto::Metrics::default();
        change(&mut metrics);
        let member = Some(Member { worker: 0, incarnation: 1, life: Life::default() }.into());
        proto::ReportRequest { member, metrics: Some(metrics), ..Default::default() }
    };
    assert!(<(Report, u64)>::try_from(report(&|_| {})).is_ok());
    let score = |name: &str, value| proto::Score { name: name.into(), value };
    let cases: [(Change, &str); 11] = [
        (&|m| m.steps = u64::MAX, "steps: expected at most 1099511627776, found 18446744073709551615"),
        (&|m| m.refused = 1 << 41, "refused: expected at most 1099511627776, found 2199023255552"),
        (&|m| m.main_loss = f64::NAN, "main_loss: expected a finite number, found NaN"),
        (&|m| m.wait_seconds = f64::INFINITY, "wait_seconds: expected a finite number, found inf"),
        (&|m| m.auxiliary_losses = vec![0.0; 17], "auxiliary_losses: expected at most 2 values, found 17"),
        (
            &|m| m.auxiliary_losses = vec![0.5, f64::NEG_INFINITY],
            "auxiliary_losses: expected a finite number, found -inf",
        ),
        (&|m| m.scores = vec![score("top1", f64::NAN)], "scores: expected a finite top1, found NaN"),
        (
            &|m| m.scores = vec![score("a", 1.0), score("a", 1.0)],
            "scores: expected each name once, found a twice",
        ),
        (
            &|m| m.scores = vec![score("a\nb", 1.0)],
            "scores: expected names of 1 to 64 letters a to z, digits and _, found a\\nb",
        ),
        (
            &|m| m.scores = vec![score("", 1.0)],
            "scores: expected names of 1 to 64 letters a to z, digits and _, found ",
        ),
        (&|m| m.scores = vec![score("a", 1.0); 17], "scores: expected at most 16 scores, found 17"),
    ];
    for (change, expected) in cases {
        assert_eq!(error::<(Report, u64), _>(report(change)), format!("Metrics.{expected}"));
    }

    let scores = |top1, top5, loss| {
        let scores = [("top1", top1), ("top5", top5), ("loss", loss)];
        let score = |(name, value): (&str, f64)| proto::Score { name: name.into(), value };
        Some(proto::Scores { scores: scores.map(score).into() })
    };
    let evaluation = |last_iterate| proto::Evaluation {
        average: scores(0.5, 1.0, f64::MAX),
        last_iterate,
        ..Default::default()
    };
    assert!(Evaluation::try_from(evaluation(scores(0.0, 1.0, 0.0))).is_ok());
    for (scores, expected) in [
        (scores(0.0, 1.0, f64::NAN), "Scores.scores: expected a finite loss, found NaN"),
        (scores(1.0, 2.5, 1.0), "Scores.scores: expected top5 of 0 to 1, found 2.5"),
        (scores(f64::NAN, 0.5, 1.0), "Scores.scores: expected a finite top1, found NaN"),
    ] {
        assert_eq!(error::<Evaluation, _>(evaluation(scores)), expected);
    }
}
