//! Workers without the photographs of their run, which get them from the server; that a lost server is waited for
//! is tested with the program that starts it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::process::{Exit, TokenFlags};
use dataset::{Dataset, Rules, Scene, Split};
use parameter_server::coordinator::Mistakes;
use protocol::{Patience, RunState};
use settings::RunConfiguration;
use setup::{Data, exit_of};
use tempfile::TempDir;
use tokio::sync::oneshot;
use worker::{PICTURE_CACHE, TrainOptions, train};

use crate::server::{Server, small};

/// Training and validation photographs of ten classes, one of each split damaged.
const IMAGES: (usize, usize) = (80, 30);

fn photographs(home: &TempDir) -> PathBuf {
    let folder = home.path().join("photographs");
    Dataset::write_synthetic(IMAGES.0, IMAGES.1, 32, Scene::Object, &folder).unwrap();
    let set = Dataset::open(&folder, Rules::NEWEST).unwrap();
    for (split, index) in [(Split::Train, 17), (Split::Validation, 3)] {
        fs::write(folder.join(set.name(split, index)), "damaged").unwrap();
    }
    folder
}

fn options(coordinator: &str, data: Option<&Path>) -> TrainOptions {
    TrainOptions {
        coordinator: coordinator.into(),
        name: None,
        data: data.map(|folder| Data::Folder(folder.into())),
        picture_cache: PICTURE_CACHE,
        threads: 1.into(),
        loader_threads: 2,
        isa: None,
        data_patience: Duration::from_secs(60),
        looked_at: true,
        token: TokenFlags::default(),
        patience: Patience::default(),
        http: None,
    }
}

async fn to_its_end(options: TrainOptions) -> anyhow::Result<Exit> {
    train(options, std::future::pending()).await
}

/// Four epochs with an evaluation after each of them.
fn configuration() -> RunConfiguration {
    let mut configuration = small(320);
    configuration.run.evaluate_epochs = 1.0;
    configuration
}

/// With one worker a run repeats bit for bit: any other sample, crop or order would be another model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_worker_makes_the_same_model_without_the_photographs() {
    let home = tempfile::tempdir().unwrap();
    let folder = photographs(&home);
    let mut runs = Vec::new();
    // With a cache of a few pictures too, of which most come again in each epoch.
    for (data, cache) in [(Some(&*folder), 0), (None, PICTURE_CACHE), (None, 20_000)] {
        let server = Server::lending(&folder, configuration()).await;
        let worker = TrainOptions { picture_cache: cache, ..options(&server.address, data) };
        assert_eq!(to_its_end(worker).await.unwrap(), Exit::Done);
        let status = server.status();
        assert_eq!((status.state, status.unreadable), (RunState::Finished, 1), "{}", status.detail);
        assert_eq!(status.evaluations.last().unwrap().unreadable, 1);
        assert!(status.evaluations.len() > 1, "{:?}", status.evaluations);
        // At which sample an evaluation on the way is ordered depends on the reports before it.
        let last = status.evaluations.last().cloned();
        let Mistakes { evaluation, mistakes, .. } = server.mistakes();
        assert_eq!(evaluation, status.evaluations.last().unwrap().id);
        assert!(!mistakes.is_empty() && mistakes.len() <= 12, "{mistakes:?}");
        for shown in &mistakes {
            assert!(
                shown.said != shown.right && shown.probability_said >= shown.probability_right,
                "{shown:?}"
            );
            assert!(shown.image < IMAGES.1 as u64 && shown.image != 3, "{shown:?}");
            assert!(shown.picture.starts_with(&[0xff, 0xd8, 0xff]), "no JPEG file: {shown:?}");
        }
        runs.push((server.average().await, status.samples, last, status.data_hash));
    }
    for run in &runs[1..] {
        assert_eq!((run.1, &run.2, &run.3), (runs[0].1, &runs[0].2, &runs[0].3));
        assert!(run.0 == runs[0].0, "the model is another one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_with_and_without_the_photographs_train_one_run() {
    let home = tempfile::tempdir().unwrap();
    let folder = photographs(&home);
    let server = Server::lending(&folder, configuration()).await;
    let workers =
        [Some(&*folder), None, None].map(|data| tokio::spawn(to_its_end(options(&server.address, data))));
    for worker in workers {
        assert_eq!(worker.await.unwrap().unwrap(), Exit::Done);
    }
    let status = server.status();
    assert_eq!((status.state, status.unreadable), (RunState::Finished, 1), "{}", status.detail);
    let last = status.evaluations.last().unwrap();
    assert_eq!((last.images, last.unreadable), (IMAGES.1 as u64 - 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_lends_a_worker_without_the_photographs_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("photographs");
    for class in ["train/daisy", "train/rose", "val/daisy", "val/rose"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        fs::write(folder.join(class).join("a.png"), "never read to the end").unwrap();
    }
    let server = Server::start(small(100_000), 1, 1).await;
    let (leave, leaving) = oneshot::channel::<()>();
    let first = train(options(&server.address, Some(&folder)), async { drop(leaving.await) });
    let first = tokio::spawn(first);
    server.until(|status| status.workers > 0).await;
    let error = to_its_end(options(&server.address, None)).await.unwrap_err();
    let text = format!("{error:#}");
    let expected = format!("the server at {} lends none of the run's 2 classes (daisy, ...)", server.address);
    assert!(text.contains(&expected) && text.contains("--data"), "{text}");
    assert_eq!(exit_of(&error), Exit::BadInput);
    // The run may have ended for its pictures.
    let _ = leave.send(());
    drop(first.await);

    // What is lent cannot be used.
    let server = Server::lending(Path::new("/does/not/exist"), small(100_000)).await;
    let text = format!("{:#}", to_its_end(options(&server.address, None)).await.unwrap_err());
    assert!(text.contains("the server cannot lend its photographs: data folder /does/not/exist"), "{text}");
}
