//! `downpour evaluate`: one model and several, by few crops and many, interrupted, and with what it refuses.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use dataset::{Dataset, Rules, Scene, Split};
use formats::model_file::{self, About};
use network::{Architecture, GoogLeNet};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Running, binary, signal, until};

const SIZE: usize = 32;
const SHAPES: usize = 10;

/// A folder of drawn pictures with `train/` and `val/`.
pub fn drawn(home: &Path, images: usize, validation: usize) -> PathBuf {
    let folder = home.join("shapes");
    Dataset::write_synthetic(images, validation, SIZE, Scene::Object, &folder).unwrap();
    folder
}

/// A folder with 20 pictures to measure on in `val/`, two of each class.
pub fn pictures(home: &Path) -> PathBuf {
    drawn(home, 10, 20)
}

/// A model file of an untrained network with these classes.
pub fn model(home: &Path, name: &str, seed: u64, classes: &[String]) -> PathBuf {
    trained_model(home, name, seed, classes, None)
}

/// Writes a model that says that it was trained on data of this hash, as these rules read them.
fn trained_model(
    home: &Path,
    name: &str,
    seed: u64,
    classes: &[String],
    data: Option<(Rules, &str)>,
) -> PathBuf {
    let mut configuration = settings::recipe("quick").unwrap();
    configuration.network.input_size = SIZE;
    configuration.network.width = 0.05;
    let architecture = Architecture {
        classes: classes.len(),
        input_size: SIZE,
        width: 0.05,
        auxiliary_heads: false,
        ..Architecture::paper()
    };
    let network = GoogLeNet::new(&architecture).unwrap();
    let path = home.join(name);
    configuration.run.data_rules = data.map(|(rules, _)| rules.number());
    let about = About {
        configuration: &configuration,
        classes,
        data: data.map(|(_, hash)| hash),
        values: "average",
        samples: 0,
        evaluation: None,
    };
    model_file::write(&path, network.layout(), &network.layout().initial(seed), &about).unwrap();
    path
}

pub fn shapes() -> Vec<String> {
    Dataset::synthetic(SHAPES, SHAPES, SIZE).classes().to_vec()
}

fn evaluate(words: &[&str]) -> Output {
    binary().arg("evaluate").args(words).output().unwrap()
}

fn verdict(words: &[&str]) -> Value {
    let output = evaluate(words);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn an_ensemble_by_one_ten_and_144_crops_goes_on_where_it_was_interrupted() {
    let home = TempDir::new().unwrap();
    let [one, two] = [1, 2].map(|seed| model(home.path(), &format!("{seed}.safetensors"), seed, &shapes()));
    let data = pictures(home.path());
    std::fs::write(data.join("val").join(&shapes()[0]).join("damaged.png"), "nothing").unwrap();
    let [output, events] = ["evaluation", "events"].map(|name| home.path().join(name));
    let [one, two, data, output_text, events] =
        [&one, &two, &data, &output, &events].map(|path| path.to_str().unwrap());
    let words = [
        "--model",
        one,
        "--model",
        two,
        "--data",
        data,
        "--output",
        output_text,
        "--tensorboard",
        events,
        "--crops",
        "144,1,10",
        "--json",
        "--threads",
        "1",
    ];
    let whole = verdict(&words);
    assert_eq!((whole["images"].as_u64(), whole["unreadable"].as_u64()), (Some(20), Some(1)));
    let rows = whole["rows"].as_array().unwrap();
    let costs: Vec<_> = rows.iter().map(|row| row["cost"].as_u64().unwrap()).collect();
    assert_eq!(costs, [1, 10, 144, 2, 20, 288]);
    let last = &rows[5];
    assert_eq!(last["loss"], whole["loss"]);
    let error = last["top1_error"]["value"].as_f64().unwrap();
    assert!((error + whole["top1"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{whole}");
    assert!(rows[0]["top1_to_base"].is_null() && rows[3]["top1_to_base"]["standard_error"].is_number());
    assert_eq!(whole["members"].as_array().unwrap().len(), 6);

    let classes = whole["classes"].as_array().unwrap();
    let sum = |key: &str| classes.iter().map(|class| class[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((classes.len(), sum("images"), sum("predicted")), (SHAPES, 20, 20), "{classes:?}");
    assert_eq!(sum("right") as f64 / 20.0, whole["top1"].as_f64().unwrap());
    for file in ["errors.svg", "confusion.svg", "classes.csv", "mistakes.html", "evaluation.json"] {
        assert!(output.join(file).is_file(), "{file}");
    }
    let [file] = &std::fs::read_dir(events).unwrap().collect::<Vec<_>>()[..] else {
        panic!("one event file")
    };
    let shown = std::fs::read(file.as_ref().unwrap().path()).unwrap();
    assert!(String::from_utf8_lossy(&shown).contains("mistakes/01: "), "the worst mistake is shown");
    let listing = std::fs::read_to_string(output.join("predictions.csv")).unwrap();
    assert_eq!(listing.lines().count(), 1 + 20, "a head and a line for each picture that can be read");
    assert!(listing.lines().all(|line| line.split(',').count() == 3 + 2 * 5), "{listing}");

    // Half of what was kept is gone, in the middle of a row: the rest is computed anew, and all is as it was.
    for file in std::fs::read_dir(output.join("predictions")).unwrap() {
        let file = OpenOptions::new().write(true).open(file.unwrap().path()).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
    assert_eq!(verdict(&words), whole);
}

/// Whoever repairs what an evaluation complained about, or puts other pictures in the place of some, gets the
/// scores of the pictures that are there now, and of the others what was kept.
#[test]
fn kept_predictions_are_of_the_pictures_that_are_there_now() {
    let home = TempDir::new().unwrap();
    let model = model(home.path(), "model.safetensors", 1, &shapes()[..2]);
    let data = home.path().join("data");
    // Without compression, so that every file has the same length.
    let put = |class: usize, number: u8, value: u8| {
        let colour = image::Rgb([value, 255 - value, number * 20]);
        let file = data.join(&shapes()[class]).join(format!("{number}.bmp"));
        image::RgbImage::from_pixel(40, 40, colour).save(file).unwrap();
    };
    for class in 0..2 {
        std::fs::create_dir_all(data.join(&shapes()[class])).unwrap();
        (0..5).for_each(|number| put(class, number, 10 * (number + 1)));
    }
    let broken = data.join(&shapes()[0]).join("0.bmp");
    std::fs::write(&broken, "<html>not found</html>").unwrap();
    let evaluated = |name: &str| {
        let output = home.path().join(name);
        let [model, data, output_text] = [&model, &data, &output].map(|path| path.to_str().unwrap());
        let found = evaluate(&["--model", model, "--data", data, "--output", output_text, "--json"]);
        assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
        let log = String::from_utf8(found.stderr).unwrap();
        (std::fs::read_to_string(output.join("predictions.csv")).unwrap(), log)
    };
    let (first, log) = evaluated("kept");
    assert!(
        first.lines().count() == 1 + 9 && log.contains("cannot be read") && log.contains("0.bmp"),
        "{log}"
    );
    let (same, log) = evaluated("kept");
    assert_eq!(same, first);
    assert!(log.contains("1 crops of 1 images, 9 are done"), "what cannot be read is tried again: {log}");

    put(0, 0, 200);
    [3, 4].into_iter().for_each(|number| put(1, number, 240));
    let ((now, log), (fresh, _)) = (evaluated("kept"), evaluated("fresh"));
    assert!(log.contains("1 crops of 3 images, 7 are done"), "{log}");
    assert_eq!(now, fresh);
    let other = now.lines().filter(|line| !first.contains(line)).count();
    assert_eq!(other, 3, "{now}\n{first}");

    // A picture more moves the others on in the list; a folder more is another choice of images.
    put(0, 5, 77);
    let (_, log) = evaluated("kept");
    assert!(log.contains("1 crops of 1 images, 10 are done"), "{log}");
}

/// 144 crops of 1,000 pictures take a while.
#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_says_where_it_stopped_and_goes_on_from_there() {
    let home = TempDir::new().unwrap();
    let model = model(home.path(), "model.safetensors", 1, &shapes());
    let output = home.path().join("evaluation");
    let kept = || {
        let files = std::fs::read_dir(output.join("predictions")).into_iter().flatten();
        let lengths = files.map(|file| file.unwrap().metadata().unwrap().len());
        lengths.max().unwrap_or(0)
    };
    let mut done = 0;
    for _ in 0..2 {
        let mut command = binary();
        command.args(["evaluate", "--crops", "144", "--threads", "1", "--model"]).arg(&model);
        let before = kept();
        let running = Running::start(command.arg("--output").arg(&output));
        until("a few predictions", Duration::from_secs(60), || kept() > before + 300);
        signal(running.pid(), "INT");
        let ended = running.wait().expect(130).says(&[&format!("144 crops of {} images", 1000 - done)]);
        let last = ended.stderr.lines().last().unwrap();
        let told = last.strip_prefix("stopped after ").and_then(|rest| rest.split_once(" of 1000 "));
        let (number, rest) = told.unwrap_or_else(|| panic!("{last}"));
        assert_eq!(rest, "predictions; the same command goes on");
        let number: u64 = number.parse().unwrap();
        assert!(number > done, "{number} after {done}");
        done = number;
    }
}

#[test]
fn classes_without_a_label_are_predicted_and_listed_but_not_scored() {
    let home = TempDir::new().unwrap();
    let mut labels = shapes();
    labels[3] = "n00000003 something else".into();
    labels[4] = format!("n00000004 {}, another word", labels[4]);
    let model = model(home.path(), "model.safetensors", 1, &labels);
    let data = pictures(home.path()).join("val");
    let output = home.path().join("evaluation");
    let [model, data, output_text] = [&model, &data, &output].map(|path| path.to_str().unwrap());
    let found = verdict(&["--model", model, "--data", data, "--output", output_text, "--json"]);
    assert_eq!(found["images"].as_u64(), Some(18));
    assert_eq!(found["unscored"], serde_json::json!([shapes()[3]]));
    let listing = std::fs::read_to_string(output.join("predictions.csv")).unwrap();
    assert_eq!(listing.lines().count(), 1 + 20);
    // A folder without val/ is all of its images, unless only those are asked for that training holds out.
    let part = verdict(&["--model", model, "--data", data, "--output", output_text, "--json", "--held-out"]);
    assert!(part["images"].as_u64().unwrap() < 18, "{part}");
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_reason() {
    let home = TempDir::new().unwrap();
    let classes = shapes();
    let mut renamed = classes.clone();
    renamed[6] = "rose".into();
    let models = [
        model(home.path(), "a.safetensors", 1, &classes),
        model(home.path(), "renamed.safetensors", 2, &renamed),
        model(home.path(), "fewer.safetensors", 3, &classes[..9]),
    ];
    let [a, renamed, fewer] = models.each_ref().map(|path| path.to_str().unwrap());
    let labels = home.path().join("labels.txt");
    std::fs::write(&labels, "one\ntwo\n").unwrap();
    let cut = home.path().join("cut.safetensors");
    let bytes = std::fs::read(a).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let [labels, cut] = [&labels, &cut].map(|path| path.to_str().unwrap());
    let output = home.path().join("evaluation");
    let six = &classes[6];
    for (words, code, expected) in [
        (vec!["--crops", "9"], 2, "expected 1, 10 or 144 crops, found 9".to_owned()),
        (
            vec!["--model", a, "--model", renamed],
            3,
            format!(
                "must have the same classes in the same order: class 6 is \"{six}\" in {a}, \"rose\" in {renamed}"
            ),
        ),
        (
            vec!["--model", a, "--model", fewer],
            3,
            format!("must have the same classes: {a} has 10, {fewer} has 9"),
        ),
        (
            vec!["--model", a, "--labels", labels],
            3,
            format!("label file {labels} has 2 lines, the model has 10 classes"),
        ),
        (vec!["--model", cut], 3, cut.to_owned()),
        (vec!["--model", a, "--data", "/does/not/exist"], 3, "is not there".to_owned()),
    ] {
        let words: Vec<&str> = words.into_iter().chain(["--output", output.to_str().unwrap()]).collect();
        let found = evaluate(&words);
        let text = String::from_utf8_lossy(&found.stderr);
        assert_eq!(found.status.code(), Some(code), "{words:?}: {text}");
        assert!(text.contains(&expected), "{words:?}: expected {expected:?} in {text}");
    }
}

/// On the folder that a model was trained on, only the images held out then are scored, by whatever rules.
#[test]
fn of_the_folder_that_a_model_was_trained_on_what_was_held_out_is_scored() {
    let home = TempDir::new().unwrap();
    let root = home.path().join("shapes");
    Dataset::write_synthetic(60, 20, SIZE, Scene::Object, &root).unwrap();
    let folder = root.join("train");
    let evaluate = |models: &[&Path], data: &Path, more: &[&str]| {
        let output = home.path().join("evaluation");
        let mut words =
            vec!["--data", data.to_str().unwrap(), "--output", output.to_str().unwrap(), "--json"];
        models.iter().for_each(|model| words.extend(["--model", model.to_str().unwrap()]));
        words.extend(more);
        verdict(&words)
    };
    let mut models = Vec::new();
    for rules in [Rules::V1, Rules::V2] {
        let set = Dataset::open(&folder, rules).unwrap();
        let (aside, hash) = (set.len(Split::Validation) as u64, set.fingerprint().hash.clone());
        let name = format!("{}.safetensors", rules.number());
        let model = trained_model(home.path(), &name, 1, &shapes(), Some((rules, &hash)));
        let found = evaluate(&[&model], &folder, &[]);
        assert_eq!(
            (found["images"].as_u64(), found["held_out"].as_bool()),
            (Some(aside), Some(true)),
            "{found}"
        );
        assert!(
            found["note"].as_str().unwrap().contains("were held out when the model was trained"),
            "{found}"
        );
        let held_out = evaluate(&[&model], &folder, &["--held-out"]);
        assert_eq!(held_out["top1"], found["top1"]);
        // All are scored where that is asked for, and it is said loudly what they are.
        let all = evaluate(&[&model], &folder, &["--all"]);
        assert_eq!((all["images"].as_u64(), all["held_out"].as_bool()), (Some(60), Some(false)));
        let note = format!("{} of these 60 images were trained on: ", 60 - aside);
        assert!(all["note"].as_str().unwrap().starts_with(&note), "{all}");
        // Another folder is scored as a whole, without a word.
        let other = evaluate(&[&model], &root.join("val"), &[]);
        assert_eq!((other["images"].as_u64(), other["note"].as_str()), (Some(20), None), "{other}");
        models.push(model);
    }
    // No image was unseen by both.
    let both = [&models[0], &models[1]].map(|model| model.to_str().unwrap());
    let output = home.path().join("both");
    let refused = self::evaluate(&[
        "--model",
        both[0],
        "--model",
        both[1],
        "--data",
        folder.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no image was unseen by all"));
}

#[test]
fn scoring_what_was_learnt_is_said_loudly() {
    let home = TempDir::new().unwrap();
    let root = home.path().join("shapes");
    Dataset::write_synthetic(20, 12, SIZE, Scene::Object, &root).unwrap();
    let hash = Dataset::open(&root, Rules::V2).unwrap().fingerprint().hash.clone();
    let model = trained_model(home.path(), "model.safetensors", 1, &shapes(), Some((Rules::V2, &hash)));
    let output = home.path().join("evaluation");
    let note = |model: &Path, data: &Path| {
        let [model, data, output] = [model, data, &output].map(|path| path.to_str().unwrap());
        verdict(&["--model", model, "--data", data, "--output", output, "--json"])["note"].clone()
    };
    assert!(note(&model, &root).is_null());
    assert!(note(&model, &root.join("val")).is_null());
    let learnt = note(&model, &root.join("train"));
    assert!(learnt.as_str().unwrap().starts_with("all of these 20 images were trained on: "), "{learnt}");
    // A model of before models said what they were trained on.
    let old = self::model(home.path(), "old.safetensors", 1, &shapes());
    let unknown = note(&old, &root.join("train"));
    assert!(unknown.as_str().unwrap().contains("--held-out keeps to those that were held out"), "{unknown}");
}
