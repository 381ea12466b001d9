//! Data that did no work: the next that fit take their place.

use super::*;

/// The right worker comes second, and the first one leaves without a trace.
#[tokio::test(start_paused = true)]
async fn data_that_did_no_work_are_replaced_and_used_ones_are_not() {
    let coordinator = coordinator(1);
    let wrong = coordinator.join(join(300)).unwrap().member;
    assert!(matches!(coordinator.join(join(100)), Err(Refusal::Mismatch(_))), "somebody has them");
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(wrong) }, call()).unwrap();
    let right = coordinator.join(join(100)).unwrap().member;
    assert_eq!((right.worker, coordinator.status().total_samples), (1, 300));
    let refused = coordinator.assign(wrong, call()).unwrap_err().to_string();
    assert!(refused.contains("belongs to another life 0 of the server: the run began again"), "{refused}");
    let lease = trained(&coordinator, right);
    coordinator.report(Report { leaving: Some("asked to".into()), ..whole(right, &lease) }, call()).unwrap();
    assert!(matches!(coordinator.join(join(300)), Err(Refusal::Mismatch(_))), "these did some");
}

/// The shards of the other process go back to the start before anybody pushes.
#[tokio::test(start_paused = true)]
async fn other_processes_register_anew_before_a_worker_with_other_data_is_let_in() {
    let coordinator = coordinator(2);
    let register = |holds| {
        let request = RegisterRequest {
            protocol: PROTOCOL_VERSION,
            address: "b:1".into(),
            shards: 2,
            holds,
            files: None,
            stopping: false,
        };
        coordinator.register(request).unwrap()
    };
    let holding = |life| Some(Holding { first_shard: 2, life });
    assert_eq!(register(None).life, LIFE);
    let wrong = coordinator.join(join(300)).unwrap().member;
    assert_eq!(register(holding(LIFE)).rule.unwrap().total_samples, 900);
    coordinator.report(Report { leaving: Some("asked to".into()), ..report(wrong) }, call()).unwrap();
    let waiting = Err(Refusal::NotReady("waiting for 1 of 2 server processes to register".into()));
    for _ in 0..2 {
        assert_eq!(coordinator.join(join(100)).map(drop), waiting);
    }
    // Whoever brings others meanwhile waits too, and is refused then.
    assert_eq!(coordinator.join(join(500)).map(drop), waiting);
    let again = register(holding(LIFE));
    assert_eq!((again.first_shard, again.restore, again.life.count), (2, None, 0));
    assert_ne!(again.life, LIFE, "its shards begin anew");
    assert_eq!(again.rule.unwrap().total_samples, 300);
    assert_eq!(coordinator.join(join(100)).map(drop), waiting, "they have not gone back yet");
    register(holding(again.life));
    let right = coordinator.join(join(100)).unwrap().member;
    assert_eq!((right.life, coordinator.roster().0), (again.life, again.life));
    trained(&coordinator, right);
    assert!(matches!(coordinator.join(join(500)), Err(Refusal::Mismatch(_))));
}
