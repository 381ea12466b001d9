//! A run that is stopped leaves its average as a model: at whatever moment, it scores what the run's own does.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::process::{Exit, RunFlags, TokenFlags};
use dataset::Crops;
use formats::model_file::{BEST_FILE, MODEL_FILE};
use kernels::Isa;
use models::{Combine, EvaluateOptions, Evaluation, Part};
use parameter_server::{Door, Options, Timing, snapshot};
use protocol::{CoordinatorCalls as _, CoordinatorClient, Patience};
use rand::RngExt;
use settings::random;
use setup::Data;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use worker::{PICTURE_CACHE, TrainOptions, train};

const DATA: Data = Data::Synthetic { images: 64, validation: 60 };
/// Number of times that the run is stopped.
const MOMENTS: usize = 10;

/// The server of the run in `home`, which goes on where it was stopped.
fn server(home: &Path) -> Options {
    let set = [("run.lease_batches", "2"), ("run.evaluate_epochs", "2")];
    let flags = RunFlags {
        recipe: Some("quick".into()),
        set: set.map(|(key, value)| (key.into(), value.into())).into(),
        images: Some(100_000),
        batch: Some(16),
        input_size: Some(32),
        width: Some(0.05),
        ..RunFlags::default()
    };
    Options {
        flags,
        default_recipe: "quick".into(),
        advertise: None,
        coordinator: None,
        shards: 2,
        processes: 1,
        snapshots: home.join("snapshots"),
        metrics: None,
        tensorboard: None,
        output: Some(home.into()),
        fresh: false,
        door: Door::Open,
        isa: Isa::detect(),
        connector: Patience::default().into(),
        http: None,
        lend: None,
        warnings: Default::default(),
        timing: Timing { snapshots: Duration::from_secs(3600), ..Timing::default() },
    }
}

/// Runs a server and a worker until the run has used `samples` and this time has passed since, and stops the
/// server; returns the number of samples used then.
async fn stopped(home: &Path, samples: u64, later: Duration) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let coordinator = listener.local_addr().unwrap().to_string();
    let (stop, asked) = oneshot::channel();
    let serving = tokio::spawn(parameter_server::run(server(home), listener, async { asked.await.unwrap() }));
    let options = TrainOptions {
        coordinator: coordinator.clone(),
        name: None,
        data: Some(DATA),
        picture_cache: PICTURE_CACHE,
        threads: 1.into(),
        loader_threads: 1,
        isa: None,
        data_patience: Duration::from_secs(60),
        looked_at: false,
        token: TokenFlags::default(),
        http: None,
        patience: Patience::default(),
    };
    let working = tokio::spawn(train(options, std::future::pending()));
    let client = CoordinatorClient::connect(&coordinator, Patience::default()).await.unwrap();
    while client.status().await.unwrap().samples < samples {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(later).await;
    stop.send(()).unwrap();
    assert_eq!(working.await.unwrap().unwrap(), Exit::Interrupted);
    assert_eq!(serving.await.unwrap().unwrap(), Exit::Interrupted);
    snapshot::newest(&home.join("snapshots")).unwrap().expect("taken at the end").run.progress.used
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_stopped_at_any_moment_leaves_its_average() {
    let home = tempfile::tempdir().unwrap();
    let (home, seed) = (home.path(), 1);
    let mut moments = random::stream(seed, "moments", &[]);
    let mut used = 0;
    for moment in 0..MOMENTS {
        let (more, later) = (moments.random_range(1..200), moments.random_range(0..20));
        used = stopped(home, used + more, Duration::from_millis(later)).await;
        let id = snapshot::newest(&home.join("snapshots")).unwrap().unwrap().id;
        let own = formats::read(&home.join(format!("snapshots/{id}"))).unwrap();
        let left = formats::read(&home.join(MODEL_FILE)).unwrap();
        assert!(left == own, "moment {moment} of seed {seed}, after {used} samples");
    }
    // Lives so short may all have been stopped within their evaluation.
    let newest = || snapshot::newest(&home.join("snapshots")).unwrap().unwrap();
    for _ in 0..MOMENTS {
        if newest().run.evaluations.is_empty() {
            used = stopped(home, used + 200, Duration::from_millis(500)).await;
        }
    }
    let id = newest().id;
    let scores = [home.join(MODEL_FILE), home.join(format!("snapshots/{id}"))].map(|model| {
        let options = EvaluateOptions {
            models: vec![model],
            labels: None,
            data: DATA,
            part: Part::Unseen,
            crops: vec![Crops::One],
            combine: Combine::Mean,
            output: home.join("evaluation"),
            tensorboard: None,
            threads: 1.into(),
            loader_threads: 1,
            isa: None,
        };
        match models::evaluate(&options, &AtomicBool::new(false)).unwrap() {
            Evaluation::Finished(result) => (result.images, result.top1, result.loss),
            Evaluation::Stopped(stopped) => panic!("nobody asked for it: {stopped}"),
        }
    });
    assert_eq!(scores[0], scores[1]);
    assert_eq!(scores[0].0, 60);
    // The run as a whole is named by its folder: its best evaluation.
    assert_eq!(formats::folder::named(home), home.join(BEST_FILE));
}
