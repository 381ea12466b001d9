//! `downpour classify` and `downpour export`, and model files that every command refuses.

use std::fs;

use crate::support::{binary, run, text};
use crate::tools::evaluate::{model, pictures, shapes};

#[test]
fn images_are_classified_as_text_and_as_json() {
    let home = tempfile::tempdir().unwrap();
    let model = model(home.path(), "model.safetensors", 1, &shapes());
    let class = pictures(home.path()).join("val").join(&shapes()[0]);
    let image = fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    let classify = |more: &[&str]| {
        let mut command = binary();
        command.args(["classify", "--threads", "1", "--model", text(&model), text(&image)]).args(more);
        run(&mut command)
    };
    let shown = classify(&[]).expect(0).stdout;
    assert_eq!((shown.lines().count(), shown.lines().next()), (6, Some(text(&image))), "{shown}");
    let found = classify(&["--json"]).expect(0).json();
    assert_eq!(found["image"].as_str(), Some(text(&image)));
    assert_eq!(found["top"].as_array().unwrap().len(), 5);
    let ended = classify(&["missing.jpg"]).expect(3);
    assert_eq!(ended.stdout, shown);
    ended.says(&[
        "missing.jpg",
        "failed to classify: 1 of 2 images cannot be read; the lines above name them",
    ]);
}

#[test]
fn of_a_folder_the_pictures_in_it_are_classified() {
    let home = tempfile::tempdir().unwrap();
    let model = model(home.path(), "model.safetensors", 1, &shapes());
    let folder = pictures(home.path()).join("val").join(&shapes()[0]);
    fs::create_dir(folder.join("@eaDir")).unwrap();
    for passed_over in ["notes.txt", ".hidden.png", "@eaDir/thumbnail.jpg"] {
        fs::write(folder.join(passed_over), "mine").unwrap();
    }
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let classify = |given| run(binary().args(["classify", "--json", "--model", text(&model), text(given)]));
    let shown = classify(&folder).expect(0).stdout;
    let files = fs::read_dir(&folder).unwrap().count() - 3;
    assert!(files > 0 && shown.lines().count() == files && !shown.contains("eaDir"), "{shown}");
    classify(&empty).expect(3).says(&["empty has no pictures: expected image files in it"]);

    // The same as a table, in which a comma in a name ends no cell.
    fs::rename(&folder, home.path().join("one, two")).unwrap();
    let mut command = binary();
    command.args(["classify", "--csv", "--model", text(&model), text(&home.path().join("one, two"))]);
    let table = run(&mut command).expect(0).stdout;
    let mut lines = table.lines();
    let head = lines.next().unwrap();
    assert!(
        head.starts_with("image,guess 1,probability 1,") && head.ends_with("guess 5,probability 5"),
        "{head}"
    );
    assert_eq!(lines.clone().count(), files, "{table}");
    for (line, object) in lines.zip(shown.lines()) {
        let (image, guesses) = line.strip_prefix('"').unwrap().split_once("\",").unwrap();
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        assert!(image.contains("/one, two/"), "{image}");
        assert_eq!(guesses.split(',').next(), object["top"][0]["label"].as_str(), "{line}");
        assert_eq!(guesses.split(',').count(), 2 * 5, "{line}");
    }
    run(command.arg("--json")).expect(2).says(&["'--csv'", "'--json'"]);
}

#[test]
fn a_model_is_exported_in_both_formats() {
    let home = tempfile::tempdir().unwrap();
    let model = model(home.path(), "model.safetensors", 1, &shapes());
    for format in ["onnx", "safetensors"] {
        let output = home.path().join("exported");
        let mut command = binary();
        command.args(["export", "--format", format, "--model", text(&model), "--output", text(&output)]);
        let shown = run(&mut command).expect(0).stdout;
        assert_eq!(shown, format!("wrote {}\n", output.display()));
        assert!(fs::metadata(output).unwrap().len() > 1000);
    }
}

#[test]
fn every_command_refuses_a_model_with_one_nan_by_tensor() {
    let home = tempfile::tempdir().unwrap();
    let path = model(home.path(), "model.safetensors", 1, &shapes());
    let mut checkpoint = parameters::checkpoint::Checkpoint::read(&path).unwrap();
    checkpoint.tensors.get_mut("conv1/7x7_s2/bias").unwrap().as_slice_mut().unwrap()[6] = f32::NAN;
    checkpoint.write(&path).unwrap();
    let [model, pictures, exported] = [path.clone(), pictures(home.path()), home.path().join("exported")]
        .map(|path| path.display().to_string());
    let picture = format!("{pictures}/none.jpg");
    let commands: [&[&str]; 4] = [
        &["evaluate", "--model", &model, "--data", &pictures],
        &["classify", "--model", &model, &picture],
        &["export", "--format", "onnx", "--model", &model, "--output", &exported],
        &["export", "--format", "safetensors", "--model", &model, "--output", &exported],
    ];
    let expected = format!(
        "{model}: tensor conv1/7x7_s2/bias holds 1 value that is not finite (NaN or infinite), the first at 6: NaN; \
         training diverged before it was written, or the file is damaged: use an earlier one, or get it again"
    );
    for words in commands {
        run(binary().args(words).current_dir(home.path())).expect(3).says(&[&expected]);
    }
    assert!(!std::path::Path::new(&exported).exists());
}
