//! Numbers, names and requests of a member beyond what any worker sends: each is bounded, and what is beyond
//! is refused and changes nothing.

use protocol::{
    Assignment, BlockPush, Coordinator as _, CoordinatorCalls as _, EvaluationOrder, EvaluationPart,
    JoinRequest, Kind, Member, PROTOCOL_VERSION, Refusal, Report, Scores, Version,
};

use super::siege::{Attacker, BATCH, Siege, report};
use crate::common::{data, scored};

/// Largest lead of the number of a call over that of the call before.
const CALLS_AHEAD: u64 = 1024;
/// Largest lead of a push's step over that of the push before.
const STEPS_AHEAD: u64 = 1 << 20;
/// Most leases of one worker at a time.
const MOST_LEASES: usize = 8;
/// Most members of a run at a time.
const MOST_MEMBERS: usize = 4096;

/// Asserts that a refusal is one of unusable values.
fn assert_invalid(what: &str, refusal: Option<&Refusal>) {
    assert!(matches!(refusal, Some(Refusal::Invalid(_))), "{what}: expected it refused, found {refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_far_ahead_is_refused_and_the_next_one_counts() {
    let siege = Siege::begin().await;
    let Attacker { member, .. } = siege.attacker().await;
    let server = &siege.coordinator;
    for call in [u64::MAX, CALLS_AHEAD + 1] {
        assert_invalid("a report", server.report(report(member), call).err().as_ref());
        assert_invalid("an assignment", server.assign(member, call).err().as_ref());
    }
    assert!(matches!(server.assign(member, 1), Ok(Assignment::Train(_))));
    assert!(matches!(server.assign(member, 1 + CALLS_AHEAD), Ok(Assignment::Train(_))));
    assert_eq!(server.report(report(member), CALLS_AHEAD), Ok(None));
    let refusal = server.report(report(member), 2 * CALLS_AHEAD + 2).unwrap_err();
    assert_invalid("a report", Some(&refusal));
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn pushes_beyond_the_run_are_refused() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    attacker.send(attacker.push(1, 2)).await.outcome.unwrap();
    let version = attacker.fetch(2, Kind::Parameters).await.unwrap().version;
    let sound = || BlockPush { version, ..attacker.push(2, 2) };
    let Version { generation, counter } = version;
    for (what, push) in [
        ("a batch and a sample", BlockPush { samples: BATCH + 1, ..sound() }),
        ("2^32 - 1 samples", BlockPush { samples: u32::MAX, ..sound() }),
        ("the next version", BlockPush { version: Version { generation, counter: counter + 1 }, ..sound() }),
        ("a far version", BlockPush { version: Version { generation, counter: u64::MAX }, ..sound() }),
        (
            "a generation ahead",
            BlockPush { version: Version { generation: generation + 1, counter: 0 }, ..sound() },
        ),
        ("step 2^64 - 1", BlockPush { step: u64::MAX, ..sound() }),
        ("a step too far", BlockPush { step: 1 + STEPS_AHEAD + 1, ..sound() }),
    ] {
        assert_invalid(what, attacker.send(push).await.outcome.err().as_ref());
    }
    assert_eq!(attacker.fetch(2, Kind::Parameters).await.unwrap().version, version);
    attacker.send(sound()).await.outcome.unwrap();
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (0, 2 * i64::from(BATCH)));
}

#[tokio::test(start_paused = true)]
async fn averages_are_frozen_for_evaluations_that_were_ordered_alone() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    for evaluation in [1, 2, 77, u64::MAX] {
        let error = attacker.fetch(2, Kind::Average { evaluation }).await.unwrap_err();
        // One that may be ordered yet is to be asked for again.
        let refused = matches!(error.refusal(), Some(Refusal::Invalid(_) | Refusal::NotReady(_)));
        assert!(refused, "evaluation {evaluation}: {error}");
    }
    attacker.fetch(2, Kind::Average { evaluation: 0 }).await.unwrap();
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn names_are_short_and_can_be_printed() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    let join = |name: &str| {
        let request = JoinRequest { protocol: PROTOCOL_VERSION, name: name.into(), data: data() };
        attacker.coordinator.join(request)
    };
    let long = "n".repeat(257);
    for name in ["", &long, &"n".repeat(3 << 20), "two\nlines", "\x1b[31m red", "\0", "\x7f"] {
        let error = join(name).await.unwrap_err();
        assert_invalid(&format!("a name of {} bytes", name.len()), error.refusal());
    }
    assert_eq!(siege.honest.client.status().await.unwrap().workers, 2);
    join(&long[1..]).await.unwrap();
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_holds_eight_leases_at_most() {
    let mut siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    for _ in 0..MOST_LEASES {
        let assignment = attacker.coordinator.assign(attacker.member).await.unwrap();
        assert!(matches!(assignment, Assignment::Train(_)), "{assignment:?}");
    }
    let more = attacker.coordinator.assign(attacker.member).await;
    assert!(!matches!(more, Ok(Assignment::Train(_))), "{more:?}");
    let Assignment::Train(lease) = siege.honest.client.assign(siege.honest.joined.member).await.unwrap()
    else {
        panic!("there are samples left for others");
    };
    assert_eq!(siege.honest.train(&lease).await, None);
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn so_many_members_have_a_place_and_no_more() {
    let siege = Siege::begin().await;
    let join = |number: usize| {
        let name = format!("attacker {number}");
        siege.coordinator.join(JoinRequest { protocol: PROTOCOL_VERSION, name, data: data() })
    };
    let joined: Vec<Member> =
        (1..MOST_MEMBERS).map(|number| join(number).expect("a place is left").member).collect();
    let refusal = join(MOST_MEMBERS).unwrap_err();
    assert!(!matches!(refusal, Refusal::Internal(_)), "{refusal}");
    // The place of one that leaves is free.
    let leaving = Report { leaving: Some("asked to".into()), ..report(joined[7]) };
    assert_eq!(siege.coordinator.report(leaving, 1), Ok(None));
    join(MOST_MEMBERS).unwrap();
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn scores_that_no_evaluation_of_the_validation_set_has_are_refused() {
    let whole = data().validation;
    for (what, images, top1) in [
        ("no image", 0, 1.0),
        ("all but one", whole - 1, 1.0),
        ("one too many", whole + 1, 1.0),
        ("more than all right", whole, 2.5),
        ("an accuracy of NaN", whole, f64::NAN),
    ] {
        let mut siege = Siege::begin().await;
        let attacker = siege.attacker().await;
        let order = evaluation(&mut siege, &attacker).await;
        let sums = Scores::new([("top1", top1 * images as f64), ("loss", 0.1)]);
        let forged = EvaluationPart { images, ..scored(&order, |_| sums.clone()) };
        let forged = Report { evaluation: Some(forged), ..report(attacker.member) };
        let error = attacker.coordinator.report(forged).await.unwrap_err();
        assert_invalid(what, error.refusal());
        assert_eq!(siege.honest.client.status().await.unwrap().evaluations, []);
        siege.withstand().await;
    }
}

/// Has the honest worker train until an evaluation is due, which the attacker gets.
async fn evaluation(siege: &mut Siege, attacker: &Attacker) -> EvaluationOrder {
    while siege.honest.client.status().await.unwrap().samples < data().images {
        let Assignment::Train(lease) = siege.honest.client.assign(siege.honest.joined.member).await.unwrap()
        else {
            panic!("no evaluation is due before the end of the epoch");
        };
        assert_eq!(siege.honest.train(&lease).await, None);
    }
    match attacker.coordinator.assign(attacker.member).await.unwrap() {
        Assignment::Evaluate(order) => order,
        other => panic!("expected an evaluation, found {other:?}"),
    }
}
