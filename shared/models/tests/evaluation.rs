//! Evaluations of whole models on drawn pictures: ensembles with a model twice, and what the last line says of the
//! images.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use dataset::{Crops, Dataset, Scene};
use formats::model_file::{self, About, BEST_FILE};
use models::evaluate::EvaluationResult;
use models::{Combine, EvaluateOptions, Evaluation, Part, evaluate};
use network::{Architecture, GoogLeNet};
use setup::Data;

const SIZE: usize = 32;

/// A folder of drawn pictures with `train/` and `val/`, of which the latter has 20.
fn drawn(home: &Path) -> PathBuf {
    let folder = home.join("shapes");
    Dataset::write_synthetic(10, 20, SIZE, Scene::Object, &folder).unwrap();
    folder
}

/// The best model of a run in the folder `name`, of an untrained network.
fn run(home: &Path, name: &str, seed: u64) -> PathBuf {
    let mut configuration = settings::recipe("quick").unwrap();
    (configuration.network.input_size, configuration.network.width) = (SIZE, 0.05);
    let set = Dataset::synthetic(10, 10, SIZE);
    let architecture = Architecture::of(&configuration.network, set.classes().len());
    let network = GoogLeNet::new(&architecture).unwrap();
    let about = About {
        configuration: &configuration,
        classes: set.classes(),
        data: Some("another"),
        values: "average",
        samples: 0,
        evaluation: None,
    };
    let folder = home.join(name);
    let layout = network.layout();
    model_file::write(&folder.join(BEST_FILE), layout, &layout.initial(seed), &about).unwrap();
    folder
}

fn evaluated(models: &[&PathBuf], data: Data, part: Part, output: PathBuf) -> EvaluationResult {
    let options = EvaluateOptions {
        models: models.iter().map(|&path| path.clone()).collect(),
        labels: None,
        data,
        part,
        crops: vec![Crops::One],
        combine: Combine::Mean,
        output,
        tensorboard: None,
        threads: 1.into(),
        loader_threads: 1,
        isa: None,
    };
    match evaluate(&options, &AtomicBool::new(false)).unwrap() {
        Evaluation::Finished(result) => *result,
        Evaluation::Stopped(stopped) => panic!("{stopped}"),
    }
}

#[test]
fn a_model_that_is_there_twice_is_predicted_once_and_counts_twice() {
    let home = tempfile::tempdir().unwrap();
    let [one, copy, other] =
        [("one", 1), ("copy", 1), ("other", 2)].map(|(name, seed)| run(home.path(), name, seed));
    let folder = drawn(home.path());
    let scored = |models: &[&PathBuf], name: &str| {
        let result = evaluated(models, Data::Folder(folder.clone()), Part::Unseen, home.path().join(name));
        let kept = fs::read_dir(home.path().join(name).join("predictions")).unwrap();
        let files =
            kept.filter(|entry| entry.as_ref().unwrap().path().extension() == Some("rows".as_ref())).count();
        (result, files)
    };
    let (alone, _) = scored(&[&one], "alone");
    for models in [[&one, &one], [&one, &copy]] {
        let (twice, files) = scored(&models, "twice");
        assert_eq!((files, twice.members.len(), twice.rows[1].cost), (1, 2, 2));
        assert!(twice.members.iter().all(|member| member.loss == alone.loss), "{:?}", twice.members);
        assert!((twice.loss - alone.loss).abs() < 1e-6 && twice.top1 == alone.top1, "{twice:?}");
    }
    // Two votes of three are the model's that is there twice.
    let (three, files) = scored(&[&one, &other, &copy], "three");
    let (two, _) = scored(&[&one, &other], "two");
    assert_eq!((files, three.members.len()), (2, 3));
    assert_eq!((three.members[0].loss, three.members[1].loss), (two.members[0].loss, two.members[1].loss));
    assert_eq!(three.members[2].loss, three.members[0].loss);
    assert_ne!(three.loss, two.loss);
}

#[test]
fn only_images_for_validation_are_called_so() {
    let home = tempfile::tempdir().unwrap();
    let (model, folder) = (run(home.path(), "run", 1), drawn(home.path()));
    let last = |data: Data, part: Part| {
        let text = evaluated(&[&model], data, part, home.path().join("evaluation")).text();
        let line = text.lines().rev().find(|line| line.starts_with("top-1 ")).unwrap().to_owned();
        line.split_once(" on ").unwrap().1.to_owned()
    };
    let plain = || Data::Folder(folder.join("val"));
    assert_eq!(last(Data::Folder(folder.clone()), Part::Unseen), "20 validation images");
    assert_eq!(last(Data::Folder(folder.clone()), Part::All), "20 validation images");
    assert_eq!(last(plain(), Part::Unseen), "20 images");
    assert_eq!(last(plain(), Part::All), "20 images");
    let held_out = last(plain(), Part::HeldOut);
    assert!(held_out.ends_with(" validation images") && !held_out.starts_with("20 "), "{held_out}");
    assert_eq!(last(Data::Synthetic { images: 10, validation: 10 }, Part::Unseen), "10 validation images");
}
