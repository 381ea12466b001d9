//! What a member of the run can do to it: in its own name, and in another's whose join it does not know.

use parameters::Layout;
use protocol::{
    AdoptRequest, BlockPush, Coordinator as _, CoordinatorCalls as _, DataDescription, JoinRequest, Kind,
    LeaseProgress, Life, Member, PROTOCOL_VERSION, Refusal, Report, RunId, ShardCalls as _, StepMetrics,
};

use super::siege::{BATCH, Siege, TOTAL, report};
use crate::common::{data, layout};

/// Memberships of the honest worker as somebody may guess them who knows its number, and those of other runs
/// and lives.
fn guesses(honest: Member, attacker: Member) -> Vec<Member> {
    let incarnations =
        [0, 1, u64::MAX, attacker.incarnation, honest.incarnation ^ 1, honest.incarnation.wrapping_add(1)];
    let mut guesses: Vec<Member> =
        incarnations.map(|incarnation| Member { incarnation, ..honest }).into_iter().collect();
    for life in [
        Life::default(),
        Life { run: RunId(8), ..honest.life },
        Life { count: 1, ..honest.life },
        Life { nonce: honest.life.nonce ^ 1, ..honest.life },
    ] {
        guesses.push(Member { life, ..honest });
    }
    guesses
}

/// Asserts that a refusal is one of a caller who is not a member.
fn assert_fenced(what: &str, refusal: Option<&Refusal>) {
    assert!(matches!(refusal, Some(Refusal::Fenced(_))), "{what}: expected a fence, found {refusal:?}");
}

#[tokio::test(start_paused = true)]
async fn reports_in_anothers_name_are_fenced() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    let unreadable = LeaseProgress {
        lease: 1,
        skipped: (0..100).map(|number| format!("{number}: made up")).collect(),
        ..LeaseProgress::default()
    };
    let diverged = StepMetrics { steps: 1, diverged: true, ..StepMetrics::default() };
    let refused = StepMetrics { steps: 1000, refused: 1000, ..StepMetrics::default() };
    for guess in guesses(siege.honest.joined.member, attacker.member) {
        let error = attacker.coordinator.assign(guess).await.unwrap_err();
        assert_fenced("an assignment", error.refusal());
        for forged in [
            report(guess),
            Report { metrics: diverged.clone(), ..report(guess) },
            Report { metrics: refused.clone(), ..report(guess) },
            Report { progress: vec![unreadable.clone()], ..report(guess) },
        ] {
            let refusal = siege.coordinator.report(forged.clone(), u64::MAX).unwrap_err();
            assert_fenced(&format!("{forged:?}"), Some(&refusal));
        }
        // Whoever says to leave is not refused, since a worker may say it twice; it changes nothing.
        let leaving = Report { metrics: diverged.clone(), leaving: Some("asked to".into()), ..report(guess) };
        assert_eq!(siege.coordinator.report(leaving, u64::MAX), Ok(None));
    }
    assert_eq!(siege.honest.client.status().await.unwrap().workers, 2);
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn pushes_in_anothers_name_are_fenced() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    for guess in guesses(siege.honest.joined.member, attacker.member) {
        for step in [0, 3, u64::MAX] {
            let reply = attacker.send(BlockPush { member: guess, ..attacker.push(step, 2) }).await;
            assert_fenced("a push", reply.outcome.err().as_ref());
        }
        let request = AdoptRequest { shard: 0, member: guess, layout: layout() };
        assert_fenced("a layout", attacker.shards.adopt(request).await.unwrap_err().refusal());
    }
    // A number that nobody has yet is that of a worker whom the shards may not have heard of.
    let unknown = Member { worker: 1000, ..attacker.member };
    let refusal =
        attacker.send(BlockPush { member: unknown, ..attacker.push(1, 2) }).await.outcome.unwrap_err();
    assert!(matches!(refusal, Refusal::NotReady(_)), "{refusal}");
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_members_unusable_pushes_are_refused_and_change_nothing() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    let sound = || attacker.push(1, 2);
    let filled = |value: f32| BlockPush { gradient: vec![value; sound().gradient.len()].into(), ..sound() };
    let before = attacker.fetch(2, Kind::Parameters).await.unwrap();
    for (what, push) in [
        ("NaN", filled(f32::NAN)),
        ("infinity", filled(f32::NEG_INFINITY)),
        ("1e38", filled(1e38)),
        (
            "one value too few",
            BlockPush { gradient: vec![0.0; sound().gradient.len() - 1].into(), ..sound() },
        ),
        ("no values", BlockPush { gradient: Vec::new().into(), ..sound() }),
        ("0 samples", BlockPush { samples: 0, ..sound() }),
        ("an unknown block", BlockPush { block: 1_000_000, ..sound() }),
        ("another shard's block", BlockPush { shard: 1 - sound().shard, ..sound() }),
        ("an unknown shard", BlockPush { shard: 77, ..sound() }),
    ] {
        let refusal = attacker.send(push).await.outcome.unwrap_err();
        assert!(matches!(refusal, Refusal::Invalid(_)), "{what}: {refusal}");
    }
    assert_eq!(attacker.fetch(2, Kind::Parameters).await.unwrap(), before);
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_member_pushes_and_does_not_report_is_in_the_account() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    for step in 1..=5 {
        attacker.send(attacker.push(step, 2)).await.outcome.unwrap();
    }
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (0, 5 * i64::from(BATCH)));
}

#[tokio::test(start_paused = true)]
async fn what_a_member_reports_and_does_not_push_is_in_the_account() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    let mut claimed = 0;
    for _ in 0..3 {
        let protocol::Assignment::Train(lease) = attacker.coordinator.assign(attacker.member).await.unwrap()
        else {
            panic!("there are samples left");
        };
        let used = lease.end - lease.start;
        claimed += used;
        let progress =
            LeaseProgress { lease: lease.id, used, consumed: used, closed: true, skipped: Vec::new() };
        let lie = Report { progress: vec![progress], ..report(attacker.member) };
        attacker.coordinator.report(lie).await.unwrap();
    }
    assert!(claimed > 0 && claimed < TOTAL);
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (-(claimed as i64), -(claimed as i64)));
}

#[tokio::test(start_paused = true)]
async fn a_members_numbers_out_of_range_are_refused() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    for (what, metrics) in [
        ("a loss of NaN", StepMetrics { main_loss: f64::NAN, ..StepMetrics::default() }),
        ("an endless loss", StepMetrics { main_loss: f64::INFINITY, ..StepMetrics::default() }),
        ("2^62 steps", StepMetrics { steps: 1 << 62, ..StepMetrics::default() }),
        ("2^62 images", StepMetrics { images: 1 << 62, ..StepMetrics::default() }),
        ("100 heads", StepMetrics { auxiliary_losses: vec![1.0; 100], ..StepMetrics::default() }),
    ] {
        let error = attacker.coordinator.report(Report { metrics, ..report(attacker.member) }).await;
        let error = error.unwrap_err();
        assert!(matches!(error.refusal(), Some(Refusal::Invalid(_))), "{what}: {error}");
    }
    // Progress with a lease of another, or of nobody, counts nothing.
    let other = LeaseProgress { lease: 1, used: 20, consumed: 20, closed: true, skipped: Vec::new() };
    let _ = attacker.coordinator.report(Report { progress: vec![other], ..report(attacker.member) }).await;
    assert_eq!(siege.honest.client.status().await.unwrap().samples, 2 * u64::from(BATCH));
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn joins_with_other_data_and_layouts_of_another_network_are_refused() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    let mut classes = data().classes;
    classes[3] = "x".into();
    for other in [
        DataDescription { images: 0, ..data() },
        DataDescription { images: u64::MAX, ..data() },
        DataDescription { validation: u64::MAX, ..data() },
        DataDescription { hash: "dead".into(), ..data() },
        DataDescription { hash: String::new(), ..data() },
        DataDescription { classes: Vec::new(), ..data() },
        DataDescription { classes: vec!["c".into(); 1_000], ..data() },
        DataDescription { classes, ..data() },
    ] {
        let request =
            JoinRequest { protocol: PROTOCOL_VERSION, name: "attacker".into(), data: other.clone() };
        let error = attacker.coordinator.join(request).await.unwrap_err();
        let refused = matches!(error.refusal(), Some(Refusal::Mismatch(_) | Refusal::Invalid(_)));
        assert!(refused, "{other:?}: {error}");
    }
    let mut huge = layout().tensors().to_vec();
    huge[0].shape = vec![1 << 27];
    for tensors in [Vec::new(), layout().tensors()[..2].to_vec(), huge] {
        let layout = Layout::new(tensors).unwrap();
        let request = AdoptRequest { shard: 0, member: attacker.member, layout };
        let error = attacker.shards.adopt(request).await.unwrap_err();
        assert!(matches!(error.refusal(), Some(Refusal::Mismatch(_) | Refusal::Invalid(_))), "{error}");
    }
    assert_eq!(siege.honest.client.status().await.unwrap().workers, 2);
    siege.withstand().await;
}

#[tokio::test(start_paused = true)]
async fn members_who_come_and_go_leave_nothing_behind() {
    let siege = Siege::begin().await;
    let attacker = siege.attacker().await;
    let count: u32 = 300;
    for number in 0..count {
        let request =
            JoinRequest { protocol: PROTOCOL_VERSION, name: format!("member {number}"), data: data() };
        let member = attacker.coordinator.join(request).await.unwrap().member;
        attacker.send(BlockPush { member, ..attacker.push(1, 2) }).await.outcome.unwrap();
        // Every other one falls silent.
        if number % 2 == 0 {
            let leaving = Report { leaving: Some("asked to".into()), ..report(member) };
            attacker.coordinator.report(leaving).await.unwrap();
        }
    }
    let balance = siege.withstand().await;
    assert_eq!((balance.least, balance.most), (0, i64::from(count * BATCH)));
}
