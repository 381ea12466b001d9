//! `worker train` as it is: GoogLeNet, narrow and small, on the synthetic set, against a server in this
//! process.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::altered::Altered;
use crate::server::{Server, small};
use ::process::{Exit, TokenFlags};
use dataset::Crops;
use kernels::Isa;
use models::evaluate::EvaluationResult;
use models::{Combine, EvaluateOptions, Evaluation, Part};
use parameters::checkpoint::Checkpoint;
use protocol::{Patience, RunState, RunStatus, ShardStatus};
use settings::{RunConfiguration, Sampling, Wire};
use setup::{ClassifierScores, Data, exit_of};
use worker::actor::Place;
use worker::replica::{self, ReplicaOptions};
use worker::workload::Workload;
use worker::{FetchOptions, ImageWork, PICTURE_CACHE, TrainOptions, fetch, train};

const DATA: Data = Data::Synthetic { images: 32, validation: 60 };

fn options(server: &Server) -> TrainOptions {
    options_at(server.address.clone())
}

fn options_at(coordinator: String) -> TrainOptions {
    TrainOptions {
        coordinator,
        name: None,
        data: Some(DATA),
        picture_cache: PICTURE_CACHE,
        threads: 1.into(),
        loader_threads: 1,
        isa: None,
        data_patience: Duration::from_secs(60),
        looked_at: false,
        token: TokenFlags::default(),
        patience: Patience::default(),
        http: None,
    }
}

async fn to_its_end(options: TrainOptions) -> anyhow::Result<Exit> {
    train(options, std::future::pending()).await
}

fn latest_loss(status: &RunStatus) -> Option<f64> {
    status.latest.as_ref().map(|line| line.loss)
}

/// Trains with two workers and two shard processes, 1,600 images; returns what the shards say at the end.
async fn trained_by_two(configuration: RunConfiguration) -> Vec<ShardStatus> {
    let server = Server::start(configuration, 2, 1).await;
    let workers = [(), ()].map(|()| tokio::spawn(to_its_end(options(&server))));
    for worker in workers {
        assert_eq!(worker.await.unwrap().unwrap(), Exit::Done);
    }
    let status = server.status();
    assert_eq!((status.state, status.samples), (RunState::Finished, 1_600));
    let shards = server.shards().await;
    assert!(shards.iter().all(|shard| shard.refused == 0), "{shards:?}");
    shards
}

/// Gradients keep their format as momentum moves from the shards to the workers, when the second joins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gradients_travel_in_few_bits_and_parameters_in_all() {
    let mut configuration = small(1_600);
    configuration.run.gradient_wire = Some(Wire::Bits1);
    for shard in trained_by_two(configuration).await {
        // The replies to pushes, and what was fetched besides; at the end each worker sends once, whole, what was left over.
        assert!(shard.bytes_out > 10 * shard.bytes_in, "{} out, {} in", shard.bytes_out, shard.bytes_in);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_travel_as_differences_in_few_bits() {
    let mut configuration = small(1_600);
    configuration.run.wire = Some(Wire::Bits4);
    for shard in trained_by_two(configuration).await {
        // Whole parameters, in reply to gradients of 4 bits, would be eight times as many.
        assert!(shard.bytes_out < 4 * shard.bytes_in, "{} out, {} in", shard.bytes_out, shard.bytes_in);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_and_two_shard_processes_train_and_evaluate() {
    // So few images, always cropped the same, are learnt by heart in a few steps.
    let mut configuration = small(16_000);
    configuration.network.width = 0.25;
    configuration.sampling =
        Sampling { area: [1.0, 1.0], aspect: [1.0, 1.0], mirror: false, ..configuration.sampling };
    configuration.optimisation.learning_rate = 0.002;
    configuration.optimisation.ramp = 0.1;
    configuration.run.evaluate_epochs = 80.0;
    let server = Server::start(configuration, 2, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let workers = [(), ()].map(|()| tokio::spawn(to_its_end(options(&server))));
    for worker in workers {
        assert_eq!(worker.await.unwrap().unwrap(), Exit::Done);
    }
    let status = server.status();
    assert_eq!((status.state, status.samples), (RunState::Finished, 16_000));
    let chance = 10f64.ln();
    let loss = latest_loss(&status).unwrap();
    assert!(loss < chance - 0.3, "the loss at the end is {loss}, at the start {chance}");
    assert!(status.evaluations.len() >= 2, "one on the way and the last: {:?}", status.evaluations);
    let last = status.evaluations.last().unwrap();
    assert_eq!((last.images, last.samples), (60, 16_000));
    let average = ClassifierScores::from(&last.average);
    assert!(average.top5 >= average.top1 && average.top5 > 0.0, "{last:?}");

    // From anywhere, what the last evaluation scored: the average does not move any more.
    let file = folder.path().join("fetched.safetensors");
    let mut from = FetchOptions {
        coordinator: server.address.clone(),
        output: file.clone(),
        last_iterate: false,
        connector: Patience::default().into(),
    };
    fetch(from.clone()).await.unwrap();
    let model = Checkpoint::read(&file).unwrap();
    let layout = status.layout.clone().unwrap();
    assert_eq!(model.to_flat(&layout).unwrap().len(), layout.len());
    assert_eq!(model.metadata["input_size"], "32");
    let classes: Vec<String> = serde_json::from_str(&model.metadata["classes"]).unwrap();
    assert_eq!(classes, status.classes);
    assert!(model.metadata["evaluation"].contains("\"top1\""));

    // The file alone scores what the run said.
    let alone = EvaluateOptions {
        models: vec![file.clone()],
        labels: None,
        data: DATA,
        part: Part::Unseen,
        crops: vec![Crops::One],
        combine: Combine::Mean,
        output: folder.path().join("evaluation"),
        tensorboard: None,
        threads: 1.into(),
        loader_threads: 1,
        isa: None,
    };
    let scores = evaluated(&alone).unwrap();
    assert_eq!((scores.images, scores.top1, scores.top5), (60, average.top1, average.top5));
    assert!((scores.loss - average.loss).abs() < 1e-4, "{scores:?}, in the run {last:?}");

    from.last_iterate = true;
    fetch(from).await.unwrap();
    let last = Checkpoint::read(&file).unwrap();
    assert_eq!(last.metadata["parameters"], "last iterate");
    assert!(last.tensors != model.tensors);

    refuses_other_data_and_files(&alone, model, folder.path());
}

fn evaluated(options: &EvaluateOptions) -> anyhow::Result<EvaluationResult> {
    match models::evaluate(options, &AtomicBool::new(false))? {
        Evaluation::Finished(result) => Ok(*result),
        Evaluation::Stopped(stopped) => panic!("nobody asked for it: {stopped}"),
    }
}

/// Other classes are named, and a file without a description is no model.
fn refuses_other_data_and_files(alone: &EvaluateOptions, model: Checkpoint, folder: &Path) {
    let photographs = folder.join("photographs");
    for class in ["train/daisy", "train/rose", "val/daisy", "val/rose"] {
        std::fs::create_dir_all(photographs.join(class)).unwrap();
        std::fs::write(photographs.join(class).join("a.jpg"), "never read").unwrap();
    }
    let on_photographs = EvaluateOptions { data: Data::Folder(photographs), ..alone.clone() };
    let text = evaluated(&on_photographs).unwrap_err().to_string();
    assert!(text.starts_with("none of the 2 class folders is one of the model's 10 labels"), "{text}");
    let other = folder.join("other.safetensors");
    Checkpoint { metadata: [].into(), ..model }.write(&other).unwrap();
    let text = evaluated(&EvaluateOptions { models: vec![other], ..alone.clone() }).unwrap_err().to_string();
    assert!(text.contains("whose metadata name no network (architecture)"), "{text}");
}

/// Runs a worker that trains, and `other` beside it, which is to be refused with `texts`.
async fn refused_beside_another(
    server: Server,
    other: impl Future<Output = anyhow::Result<Exit>>,
    texts: &[&str],
) {
    let (leave, leaving) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn(train(options(&server), async { drop(leaving.await) }));
    server.until(|status| status.samples > 0).await;
    let error = other.await.unwrap_err();
    let found = format!("{error:#}");
    for text in texts {
        assert!(found.contains(text), "expected {text:?} in {found}");
    }
    assert_eq!(exit_of(&error), Exit::BadInput);
    leave.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Exit::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_another_network_is_refused_by_the_first_tensor() {
    let server = Server::start(small(100_000), 1, 1).await;
    let options = options(&server);
    // Another release might make a wider network of a run's configuration.
    let model = |work: &ImageWork, configuration: &RunConfiguration| {
        let mut wider = configuration.clone();
        wider.network.width = 0.25;
        work.model(&wider)
    };
    let work = Altered { inner: ImageWork::new(&options, Isa::detect()).unwrap(), model };
    let replica = ReplicaOptions {
        coordinator: options.coordinator,
        name: "wider".into(),
        connector: options.patience.into(),
        place: Place::Thread,
        telemetry: None,
    };
    let texts =
        ["tensor 0: expected conv1/7x7_s2/weights [8, 3, 7, 7]", "found conv1/7x7_s2/weights [16, 3, 7, 7]"];
    refused_beside_another(server, replica::run(&work, &replica, std::future::pending()), &texts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_other_data_is_refused_with_both_values() {
    let server = Server::start(small(100_000), 1, 1).await;
    let data = Data::Synthetic { images: 31, validation: 60 };
    let other = to_its_end(TrainOptions { data: Some(data), ..options(&server) });
    refused_beside_another(server, other, &["training images: expected 32, found 31"]).await;
}

/// Other systems do not tell how much memory they have.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_the_memory_for_the_run_never_was_a_member() {
    let mut configuration = small(100_000);
    (configuration.run.batch, configuration.network.input_size) = (4096, 2048);
    let server = Server::start(configuration, 1, 1).await;
    let text = format!("{:#}", to_its_end(options(&server)).await.unwrap_err());
    assert!(text.contains("training with a batch of 4096 needs "), "{text}");
    let status = server.status();
    assert_eq!((status.workers, status.total_samples, status.data_hash.as_str()), (0, 0, ""), "no run began");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn divergence_ends_the_run_and_says_which_rate_to_try() {
    let mut configuration = small(100_000);
    configuration.optimisation.learning_rate = 10.0;
    let server = Server::start(configuration, 1, 1).await;
    assert_eq!(to_its_end(options(&server)).await.unwrap(), Exit::Diverged);
    let status = server.status();
    assert_eq!(status.state, RunState::Diverged);
    assert!(status.detail.contains("at learning rate 10: "), "{}", status.detail);
    assert!(status.detail.contains("try --learning-rate 5"), "{}", status.detail);
}

#[tokio::test]
async fn an_unreachable_server_is_waited_for_and_then_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let coordinator = listener.local_addr().unwrap().to_string();
    drop(listener);
    let patience = Patience { give_up_after: Duration::from_secs(1), ..Patience::default() };
    let options = TrainOptions { patience, ..options_at(coordinator.clone()) };
    let start = std::time::Instant::now();
    let error = to_its_end(options).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(&format!("cannot reach {coordinator}: tried for 1 s")), "{text}");
    assert!(text.contains("check that the server runs there"), "{text}");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(exit_of(&error), Exit::BadInput);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_the_coordinator_gives_out_in_error_is_named_as_its_own() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let server = Server::start_advertised(&nobody, small(100_000)).await;
    let patience = Patience { give_up_after: Duration::from_secs(1), ..Patience::default() };
    let error = to_its_end(TrainOptions { patience, ..options(&server) }).await.unwrap_err();
    let text = format!("{error:#}");
    let expected =
        format!("the coordinator gave out {nobody} as the address of a server process (its --advertise)");
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_may_start_before_its_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (leave, leaving) = tokio::sync::oneshot::channel::<()>();
    let early = options_at(address.clone());
    let early = tokio::spawn(train(early, async { drop(leaving.await) }));
    // The worker has knocked, and nobody was there.
    drop(tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap());
    let server = Server::start_at(&address, small(100_000), 1, 1).await;
    server.until(|status| status.samples > 0).await;
    leave.send(()).unwrap();
    assert_eq!(early.await.unwrap().unwrap(), Exit::Done);
    assert_eq!(server.status().workers, 0);
}
