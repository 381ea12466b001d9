//! Whole runs of server processes and workers, in one test process and over real connections.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use crate::common::{Process, Worker, coordinator, data, flags, layout, options, until};
use formats::model_file::MODEL_FILE;
use parameter_server::{
    Options, Timing,
    shard::file as shard_file,
    snapshot::{self, Manifest},
};
use parameters::{Layout, checkpoint::Checkpoint};
use process::{Exit, RunFlags};
use protocol::{
    AdoptRequest, Assignment, CoordinatorCalls as _, DataDescription, Ending, JoinRequest, Kind,
    LeaseProgress, PROTOCOL_VERSION, Patience, Report, RunState, ShardCalls as _, ShardClient, StepMetrics,
};

fn newest(folder: &Path) -> Option<Manifest> {
    snapshot::newest(folder).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_and_two_workers_train_to_the_end() {
    let home = tempfile::tempdir().unwrap();
    let (folder, metrics) = (home.path().join("snapshots"), home.path().join("metrics.jsonl"));
    let leader =
        Process::start(Options { processes: 2, metrics: Some(metrics.clone()), ..options(&folder) }).await;
    let address = leader.address.clone();
    let early = tokio::spawn({
        let address = address.clone();
        async move { Worker::join(&address, "early").await.work().await }
    });
    let waiting = until(&address, |_| true).await;
    assert_eq!(
        (waiting.state, waiting.detail.as_str()),
        (RunState::Waiting, "1 of 2 server processes to register")
    );
    let follower = Process::start(Options { coordinator: Some(address.clone()), ..options(&folder) }).await;
    let mut late = Worker::join(&address, "late").await;
    let start = late.distance(Kind::Average { evaluation: 0 }).await;
    assert_eq!(late.work().await, Ending::Completed);
    assert_eq!(early.await.unwrap(), Ending::Completed);
    assert_eq!(leader.end().await.unwrap(), Exit::Done);
    assert_eq!(follower.end().await.unwrap(), Exit::Done);

    let manifest = newest(&folder).unwrap();
    assert!(
        manifest.finished() && manifest.shards.len() == 4 && manifest.shards.iter().all(|shard| shard.here)
    );
    assert_eq!(
        (manifest.run.progress.used, manifest.run.progress.leased, manifest.run.steps),
        (300, 300, 30)
    );
    let last = manifest.evaluation().unwrap();
    assert_eq!(last.samples, 300);
    let loss = last.last_iterate.as_ref().unwrap().get("loss").unwrap();
    assert!(loss < start / 2.0, "from {start} to {loss}");

    let text = fs::read_to_string(metrics).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let (train, evaluations) = (of("train"), of("evaluation"));
    assert_eq!(train.last().unwrap()["samples"], 300);
    assert_eq!(train.last().unwrap()["step"], 30);
    assert!(train.iter().all(|line| line["loss"] == 2.0));
    assert!(train.iter().map(|line| line["bytes_in"].as_u64().unwrap()).sum::<u64>() > 0);
    for key in ["samples", "loss", "top1", "images_per_second", "learning_rate", "staleness_mean"] {
        let mut both = train.iter().chain(&evaluations);
        assert!(both.all(|line| line[key].is_number()), "{key} is missing in {text}");
    }
    assert!(lines.iter().all(|line| line["time"].as_f64().unwrap() > 1.7e9), "{text}");
    let mut account = lines.last().unwrap().clone();
    account["time"] = 0.into();
    let expected = serde_json::json!({
        "kind": "account", "time": 0, "used": 300, "surplus_least": 0, "surplus_most": 0, "mismatch": null
    });
    assert_eq!(account, expected);
    assert_eq!(evaluations.last().unwrap()["samples"], 300);
    assert_eq!(evaluations.last().unwrap()["last_iterate"]["loss"], loss);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("output");
    let mut server = Process::start(Options { output: Some(output.clone()), ..options(home.path()) }).await;
    let mut worker = Worker::join(&server.address, "first").await;
    worker.pause = Duration::from_millis(5);
    let address = server.address.clone();
    let working = tokio::spawn(async move {
        let ending = worker.work().await;
        (ending, worker.fetch(Kind::Parameters).await)
    });
    until(&address, |status| status.samples >= 50).await;
    server.stop();
    let (ending, before) = working.await.unwrap();
    assert_eq!(ending, Ending::Interrupted);
    assert_eq!(server.end().await.unwrap(), Exit::Interrupted);
    let manifest = newest(home.path()).unwrap();
    let used = manifest.run.progress.used;
    assert!((50..300).contains(&used) && !manifest.finished(), "{used} samples used");

    // The average as it was is a model, the same that the snapshot holds.
    let model = formats::read(&output.join(MODEL_FILE)).unwrap();
    assert!(model == formats::read(&home.path().join(manifest.id.to_string())).unwrap());
    assert_eq!(model.1.metadata["samples"], used.to_string());
    assert_eq!(model.1.to_flat(&layout()).unwrap().len(), layout().len());

    let refused = |options| async { Process::start(options).await.end().await.unwrap_err() };
    let other = RunFlags { seed: Some(99), ..flags() };
    let text = format!("{:#}", refused(Options { flags: other, ..options(home.path()) }).await);
    assert!(
        text.ends_with(
            "the snapshot is of another run: run.seed is 1 there, and 99 is asked for; \
         give the same, or --fresh to start anew (it removes the snapshots)"
        ),
        "{text}"
    );
    let text = refused(Options { shards: 3, ..options(home.path()) }).await.to_string();
    assert!(
        text.contains("was written by 2 shards, this server has 3: give --shards and --servers"),
        "{text}"
    );

    // Stopped before anything was done, it takes no snapshot.
    let mut idle = Process::start(Options { flags: RunFlags::default(), ..options(home.path()) }).await;
    idle.stop();
    assert_eq!(idle.end().await.unwrap(), Exit::Interrupted);
    assert_eq!(newest(home.path()).unwrap().id, manifest.id);

    let resumed = Process::start(Options { flags: RunFlags::default(), ..options(home.path()) }).await;
    let mut worker = Worker::join(&resumed.address, "second").await;
    assert_eq!(until(&resumed.address, |_| true).await.samples, used);
    let after = worker.fetch(Kind::Parameters).await;
    for (before, after) in before.iter().zip(&after) {
        assert!(before.values == after.values, "block {} changed over the restart", before.block);
        assert_eq!(before.version.counter, after.version.counter);
        assert!(after.version.generation > before.version.generation);
    }
    assert_eq!(worker.work().await, Ending::Completed);
    let end = worker.fetch(Kind::Parameters).await;
    assert!(end.iter().all(|block| block.version.counter == 30), "30 minibatches, each applied once");
    assert_eq!(resumed.end().await.unwrap(), Exit::Done);

    // A finished run ends at once and waits for no worker.
    let finished = Process::start(options(home.path())).await;
    assert_eq!(finished.end().await.unwrap(), Exit::Done);
    let mut anew = Process::start(Options { fresh: true, ..options(home.path()) }).await;
    assert_eq!(until(&anew.address, |_| true).await.samples, 0);
    assert!(newest(home.path()).is_none());
    anew.stop();
    assert_eq!(anew.end().await.unwrap(), Exit::Interrupted);
}

/// A worker with the wrong folder came first, brought its network, and left: the right ones are let in.
#[tokio::test(flavor = "multi_thread")]
async fn data_and_layout_that_did_no_work_are_replaced_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let server = Process::start(options(home.path())).await;
    let client = coordinator(&server.address).await;
    let wrong = DataDescription { images: 70, classes: vec!["a".into(), "b".into()], ..data() };
    let request = |data| JoinRequest { protocol: PROTOCOL_VERSION, name: "by hand".into(), data };
    let joined = client.join(request(wrong.clone())).await.unwrap();
    let shard = ShardClient::connect(&server.address, Patience::default()).await.unwrap();
    let other = Layout::new(layout().tensors()[..2].to_vec()).unwrap();
    for number in 0..2 {
        let adopted = AdoptRequest { shard: number, member: joined.member, layout: other.clone() };
        shard.adopt(adopted).await.unwrap();
    }
    // While it is there, others are refused.
    let text = client.join(request(data())).await.unwrap_err().to_string();
    assert!(text.contains("training images: expected 70, found 100"), "{text}");
    let leave = Report {
        member: joined.member,
        progress: Vec::new(),
        metrics: StepMetrics::default(),
        evaluation: None,
        leaving: Some("asked to".into()),
        sends_largest: false,
    };
    client.report(leave).await.unwrap();

    let mut right = Worker::join(&server.address, "right").await;
    assert!(right.joined.member.worker > joined.member.worker);
    assert_eq!(right.joined.configuration.network.classes, Some(10));
    // Now its data have done work.
    until(&server.address, |status| status.total_samples == 300).await;
    let working = tokio::spawn(async move { right.work().await });
    until(&server.address, |status| status.samples > 0).await;
    let text = client.join(request(wrong)).await.unwrap_err().to_string();
    assert!(text.contains("training images: expected 100, found 70"), "{text}");
    assert_eq!(working.await.unwrap(), Ending::Completed);
    assert_eq!(server.end().await.unwrap(), Exit::Done);
    assert_eq!(newest(home.path()).unwrap().run.progress.used, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let home = tempfile::tempdir().unwrap();
    let often = Timing { snapshots: Duration::from_millis(50), ..Timing::default() };
    let mut server = Process::start(Options { timing: often, ..options(home.path()) }).await;
    let mut worker = Worker::join(&server.address, "first").await;
    worker.pause = Duration::from_millis(40);
    let address = server.address.clone();
    let working = tokio::spawn(async move { worker.work().await });
    until(&address, |status| status.samples >= 150).await;
    server.stop();
    working.await.unwrap();
    assert_eq!(server.end().await.unwrap(), Exit::Interrupted);

    let last = newest(home.path()).unwrap();
    let complete = fs::read_dir(home.path()).unwrap().flatten();
    let complete = complete.filter(|entry| entry.path().join("manifest.json").exists()).count();
    assert_eq!(complete, snapshot::KEPT);
    let file = parameter_server::shard::file::path(home.path(), last.id, 1);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let older = newest(home.path()).unwrap();
    assert!(older.id < last.id && older.run.progress.used <= last.run.progress.used);

    let resumed = Process::start(options(home.path())).await;
    let mut worker = Worker::join(&resumed.address, "second").await;
    assert_eq!(until(&resumed.address, |_| true).await.samples, older.run.progress.used);
    assert_eq!(worker.work().await, Ending::Completed);
    assert_eq!(resumed.end().await.unwrap(), Exit::Done);
    let finished = newest(home.path()).unwrap();
    assert!(finished.finished() && finished.id > last.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_vanishes_does_not_hold_the_run() {
    let home = tempfile::tempdir().unwrap();
    let timing = Timing {
        lease: Duration::from_millis(700),
        farewell: Duration::from_secs(2),
        ..options(home.path()).timing
    };
    let server = Process::start(Options { timing, ..options(home.path()) }).await;
    let vanished = Worker::join(&server.address, "vanishes").await;
    let assignment = vanished.client.assign(vanished.joined.member).await.unwrap();
    assert!(matches!(assignment, Assignment::Train(_)), "{assignment:?}");
    let mut worker = Worker::join(&server.address, "stays").await;
    assert_eq!(worker.work().await, Ending::Completed);
    assert_eq!(server.end().await.unwrap(), Exit::Done);
    let run = newest(home.path()).unwrap().run;
    assert_eq!((run.progress.used, run.steps), (300, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn divergence_and_unreadable_data_end_with_their_own_codes() {
    let home = tempfile::tempdir().unwrap();
    let server = Process::start(options(home.path())).await;
    let worker = Worker::join(&server.address, "diverges").await;
    let ending = worker.report(|report| report.metrics.diverged = true).await;
    let text = "training diverged after 0 samples at learning rate 0.05: a loss is not finite, or above 1e12; \
                try --learning-rate 0.025 --fresh";
    assert_eq!(ending, Some(Ending::Diverged(text.into())));
    worker.report(|report| report.leaving = Some("asked to".into())).await;
    assert_eq!(server.end().await.unwrap(), Exit::Diverged);
    assert!(newest(home.path()).is_none(), "a diverged state is not kept");

    let server = Process::start(options(home.path())).await;
    let worker = Worker::join(&server.address, "cannot read").await;
    let Assignment::Train(lease) = worker.client.assign(worker.joined.member).await.unwrap() else {
        panic!("expected a lease");
    };
    let skipped = (0..6).map(|i| format!("{i}.png: not an image")).collect();
    let progress = LeaseProgress { lease: lease.id, used: 0, consumed: 6, closed: false, skipped };
    let ending = worker.report(|report| report.progress = vec![progress]).await;
    assert!(matches!(ending, Some(Ending::Failed(_))), "{ending:?}");
    worker.report(|report| report.leaving = Some("asked to".into())).await;
    assert_eq!(server.end().await.unwrap(), Exit::BadInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_too_many_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut leader = Process::start(options(&home.path().join("leader"))).await;
    let coordinator = Some(leader.address.clone());
    let follower = Process::start(Options { coordinator, ..options(&home.path().join("follower")) }).await;
    let own = follower.address.clone();
    let text = format!("{:#}", follower.end().await.unwrap_err());
    let expected = format!(
        "register with the leader: process {own} is one too many: {} are the server; \
         raise --servers at the coordinator or stop one of them",
        leader.address
    );
    assert_eq!(text, expected);
    leader.stop();
    assert_eq!(leader.end().await.unwrap(), Exit::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_start_is_recorded_and_resumed_without_its_file() {
    let home = tempfile::tempdir().unwrap();
    let (snapshots, file) = (home.path().join("snapshots"), home.path().join("model.safetensors"));
    let layout = layout();
    let values: Vec<f32> = (0..layout.len()).map(|i| i as f32).collect();
    Checkpoint::from_flat(&layout, &values, BTreeMap::new()).write(&file).unwrap();
    let from = RunFlags { init_from: Some(file.display().to_string()), ..flags() };
    let warm = || Options { flags: from.clone(), ..options(&snapshots) };

    let mut server = Process::start(warm()).await;
    let mut worker = Worker::join(&server.address, "first").await;
    for block in worker.fetch(Kind::Parameters).await {
        let range = layout.blocks()[block.block as usize].range.clone();
        assert_eq!(block.values.to_vec(), values[range], "block {} starts as in the file", block.block);
    }
    worker.pause = Duration::from_millis(5);
    let address = server.address.clone();
    let working = tokio::spawn(async move { worker.work().await });
    until(&address, |status| status.samples >= 50).await;
    server.stop();
    assert_eq!(working.await.unwrap(), Ending::Interrupted);
    assert_eq!(server.end().await.unwrap(), Exit::Interrupted);
    let run = newest(&snapshots).unwrap().run.configuration.run;
    assert_eq!(run.init_from, from.init_from);
    assert_eq!(run.init_sha256.map(|hash| hash.len()), Some(64));

    fs::remove_file(&file).unwrap();
    let resumed = Process::start(warm()).await;
    assert_eq!(Worker::join(&resumed.address, "second").await.work().await, Ending::Completed);
    assert_eq!(resumed.end().await.unwrap(), Exit::Done);

    let text =
        format!("{:#}", Process::start(Options { fresh: true, ..warm() }).await.end().await.unwrap_err());
    let expected = format!("start from a model (--init-from): cannot read model file {}: ", file.display());
    assert!(text.starts_with(&expected), "{text}");
}

/// What its shards have learnt is not lost, though the leader goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_alone_gets_a_snapshot_first() {
    let home = tempfile::tempdir().unwrap();
    let mut leader = Process::start(Options { processes: 2, ..options(home.path()) }).await;
    let mut follower = Process::start(Options {
        coordinator: Some(leader.address.clone()),
        ..options(&home.path().join("follower"))
    })
    .await;
    let mut worker = Worker::join(&leader.address, "only").await;
    let Assignment::Train(lease) = worker.client.assign(worker.joined.member).await.unwrap() else {
        panic!("the run has just begun");
    };
    assert_eq!(worker.train(&lease).await, None);
    worker.report(|_| {}).await;
    assert_eq!(newest(home.path()), None);
    follower.stop();
    assert_eq!(follower.end().await.unwrap(), Exit::Interrupted);
    let manifest = newest(home.path()).unwrap();
    assert_eq!(manifest.run.progress.used, lease.end - lease.start);
    for shard in [2, 3] {
        let file = shard_file::path(&home.path().join("follower"), manifest.id, shard);
        assert!(file.exists(), "{}", file.display());
    }
    leader.stop();
    assert_eq!(leader.end().await.unwrap(), Exit::Interrupted);
}
