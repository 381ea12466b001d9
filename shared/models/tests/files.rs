//! Model files of every kind: opened, exported, classified with; and what is wrong with those that cannot be
//! used.

use std::fs;
use std::path::{Path, PathBuf};

use dataset::{Dataset, Scene};
use formats::Message;
use formats::model_file::{self, About};
use models::{ClassifyOptions, ExportOptions, Form, Format, classify, export};
use network::{Architecture, GoogLeNet};
use parameters::Layout;
use parameters::checkpoint::Checkpoint;

/// The layout of GoogLeNet without auxiliary heads.
fn layout(classes: usize, input_size: usize, width: f32) -> Layout {
    let architecture =
        Architecture { classes, input_size, width, auxiliary_heads: false, ..Architecture::paper() };
    GoogLeNet::new(&architecture).unwrap().layout().clone()
}

/// A narrow model of three classes, as a run writes it.
fn model(home: &Path) -> PathBuf {
    let mut configuration = settings::recipe("quick").unwrap();
    (configuration.network.input_size, configuration.network.width) = (32, 0.25);
    let layout = layout(3, 32, 0.25);
    let classes = ["rose", "tulip", "daisy"].map(String::from);
    let about = About {
        configuration: &configuration,
        classes: &classes,
        data: None,
        values: "average",
        samples: 7,
        evaluation: None,
    };
    let path = home.join("model.safetensors");
    model_file::write(&path, &layout, &layout.initial(5), &about).unwrap();
    path
}

fn exported(model: &Path, format: Format, labels: Option<PathBuf>) -> anyhow::Result<Vec<u8>> {
    let output = model.with_file_name("exported");
    export(&ExportOptions { model: model.into(), labels, format, output: output.clone() })?;
    Ok(fs::read(output)?)
}

fn reason(model: &Path) -> String {
    format!("{:#}", exported(model, Format::Safetensors, None).unwrap_err())
}

/// The layout's layers as a Caffe model.
fn caffe_model(layout: &Layout, values: &[f32]) -> Vec<u8> {
    caffe_model_with(layout, values, str::to_owned)
}

/// The layout's layers as a Caffe model, by other names.
fn caffe_model_with(layout: &Layout, values: &[f32], named: impl Fn(&str) -> String) -> Vec<u8> {
    let blob = |tensor: usize| {
        let (mut blob, mut shape) = (Message::default(), Message::default());
        for &extent in &layout.tensors()[tensor].shape {
            shape.integer(1, extent as i64);
        }
        let data: Vec<u8> = values[layout.range(tensor)].iter().flat_map(|v| v.to_le_bytes()).collect();
        blob.message(7, &shape).bytes(5, data);
        blob
    };
    let mut model = Message::default();
    for weights in (0..layout.tensors().len()).step_by(2) {
        let tensor = &layout.tensors()[weights];
        let kind = if tensor.shape.len() == 4 { "Convolution" } else { "InnerProduct" };
        let mut layer = Message::default();
        layer.bytes(1, named(tensor.name.strip_suffix("/weights").unwrap())).bytes(2, kind);
        layer.message(7, &blob(weights)).message(7, &blob(weights + 1));
        model.message(100, &layer);
    }
    model.into_bytes()
}

#[test]
fn a_model_of_a_run_is_exported_with_what_it_says_of_itself() {
    let home = tempfile::tempdir().unwrap();
    let path = model(home.path());
    let labels = home.path().join("labels.txt");
    fs::write(&labels, "red rose\ntulip\ndaisy\n").unwrap();
    let bytes = exported(&path, Format::Safetensors, Some(labels)).unwrap();
    let (before, after) =
        (Checkpoint::read(&path).unwrap(), Checkpoint::parse(&bytes, Path::new("exported")).unwrap());
    assert_eq!(after.tensors, before.tensors);
    for (key, expected) in [
        ("classes", "[\"red rose\",\"tulip\",\"daisy\"]"),
        ("input_size", "32"),
        ("width", "0.25"),
        ("architecture", "googlenet"),
        ("variant", "\"table\""),
        ("mean", "[123.0,117.0,104.0]"),
        ("recipe", "quick"),
        ("samples", "7"),
    ] {
        assert_eq!(after.metadata[key], expected, "{key}");
    }
    assert!(after.metadata["configuration"].contains("\"learning_rate\":0.012"));

    let onnx = exported(&path, Format::Onnx, None).unwrap();
    let has = |text: &str| onnx.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["Conv", "MaxPool", "LRN", "Concat", "GlobalAveragePool", "Gemm", "Softmax", "tulip"] {
        assert!(has(text), "{text}");
    }
    assert!(!has("Dropout"));
    let version = env!("CARGO_PKG_VERSION");
    let start =
        [b"\x08\x08\x12\x08downpour\x1a".as_slice(), &[version.len() as u8], version.as_bytes(), b"\x32"]
            .concat();
    assert!(onnx.starts_with(&start), "format, producer, version, description");
    assert!(has(
        "GoogLeNet for 3 classes. Input images: N x 3 x 32 x 32, RGB, 0..255 minus (123, 117, 104). Output probabilities: \
         N x 3, in the order of the metadata entry classes."
    ));
    let values = before.tensors.values().map(|tensor| tensor.len()).sum::<usize>();
    assert!(onnx.len() > 4 * values, "every tensor is in it");
}

#[test]
fn an_exported_safetensors_file_is_described_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let (path, folder) = (model(home.path()), home.path().join("rose's"));
    fs::create_dir(&folder).unwrap();
    let output = folder.join("flowers.safetensors");
    let options = ExportOptions { model: path, labels: None, format: Format::Safetensors, output };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    for _ in 0..2 {
        assert_eq!(export(&options).unwrap(), Vec::<PathBuf>::new(), "and written again");
    }
    let configuration: serde_json::Value = serde_json::from_str(&read("config.json")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected = serde_json::json!({
        "architectures": ["GoogLeNet"], "model_type": "googlenet", "model_file": "flowers.safetensors",
        "producer": format!("downpour {version}"), "variant": "table", "width": 0.25, "num_channels": 3,
        "image_size": 32, "image_mean": [123.0, 117.0, 104.0], "image_std": [1.0, 1.0, 1.0],
        "resize": "shorter side", "resize_to": 37, "id2label": {"0": "rose", "1": "tulip", "2": "daisy"},
    });
    assert_eq!(configuration, expected);
    let card = read("README.md");
    for text in [
        "# flowers.safetensors",
        "| images | the shorter side scaled to 37 pixels, the centre 32 x 32 cut out |",
        "| recipe | quick |",
        "| trained on images | 7 |",
        "- 2: daisy",
        "downpour classify --model flowers.safetensors photo.jpg",
    ] {
        assert!(card.contains(text), "{text}\n{card}");
    }

    // What is not of this export stays: a project's own files, and those of another model in this folder.
    let output = folder.join("others.safetensors");
    let others = ExportOptions { output, ..options };
    let both = ["config.json", "README.md"].map(|name| folder.join(name));
    assert_eq!(export(&others).unwrap(), both);
    assert_eq!(read("README.md"), card);
    fs::remove_file(&both[0]).unwrap();
    fs::write(&both[1], "# A project\n").unwrap();
    assert_eq!(export(&others).unwrap(), both[1..]);
    assert_eq!(read("README.md"), "# A project\n");
    assert!(read("config.json").contains("\"model_file\": \"others.safetensors\""));
}

#[test]
fn a_caffe_model_opens_by_itself_with_colours_turned() {
    let home = tempfile::tempdir().unwrap();
    let (layout, path) = (layout(4, 224, 1.0), home.path().join("a.caffemodel"));
    let values = layout.initial(3);
    fs::write(&path, caffe_model(&layout, &values)).unwrap();
    let bytes = exported(&path, Format::Safetensors, None).unwrap();
    let model = Checkpoint::parse(&bytes, &path).unwrap();
    assert_eq!(model.metadata["classes"], "[\"class 0\",\"class 1\",\"class 2\",\"class 3\"]");
    assert!(model.metadata["resize"].starts_with("both sides to "), "the whole image is squashed");
    let found = model.to_flat(&layout).unwrap();
    let stem = layout.range(0).end;
    assert_eq!(found[stem..], values[stem..]);
    let (filter, turned) = (&values[..3 * 49], &found[..3 * 49]);
    for colour in 0..3 {
        assert_eq!(turned[colour * 49..][..49], filter[(2 - colour) * 49..][..49], "colour {colour}");
    }
}

#[test]
fn images_are_classified_and_those_that_cannot_be_read_counted() {
    let home = tempfile::tempdir().unwrap();
    let pictures = home.path().join("pictures");
    Dataset::write_synthetic(10, 10, 32, Scene::Object, &pictures).unwrap();
    let folder = fs::read_dir(pictures.join("val")).unwrap().next().unwrap().unwrap().path();
    let picture = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let missing = home.path().join("missing.jpg");
    let options = |images: &[&PathBuf], labels: Option<PathBuf>| ClassifyOptions {
        model: model(home.path()),
        labels,
        images: images.iter().map(|&image| image.clone()).collect(),
        form: Form::Json,
        threads: 1.into(),
        isa: None,
    };
    classify(&options(&[&picture], None)).unwrap();
    let text = classify(&options(&[&missing, &picture], None)).unwrap_err().to_string();
    assert_eq!(text, "1 of 2 images cannot be read; the lines above name them");
    let labels = home.path().join("labels.txt");
    fs::write(&labels, "rose\n").unwrap();
    let text = classify(&options(&[&picture], Some(labels.clone()))).unwrap_err().to_string();
    let expected = format!(
        "label file {} has 1 lines, the model has 3 classes: expected one label a line, in the order of the classes",
        labels.display()
    );
    assert_eq!(text, expected);
}

/// A good model but for one value.
fn spoilt(home: &Path, tensor: &str, place: usize, value: f32) -> PathBuf {
    let path = model(home);
    let mut checkpoint = Checkpoint::read(&path).unwrap();
    checkpoint.tensors.get_mut(tensor).unwrap().as_slice_mut().unwrap()[place] = value;
    checkpoint.write(&path).unwrap();
    path
}

#[test]
fn a_model_with_one_nan_is_refused_by_tensor() {
    let home = tempfile::tempdir().unwrap();
    let path = spoilt(home.path(), "conv1/7x7_s2/bias", 12, f32::NAN);
    let model = path.display().to_string();
    let text = reason(&path);
    let found = "tensor conv1/7x7_s2/bias holds 1 value that is not finite (NaN or infinite), the first at 12: NaN; training";
    assert!(text.contains(&format!("{model}: {found}")), "{text}");
    assert!(!home.path().join("exported").exists());

    let layout = layout(4, 224, 1.0);
    let mut values = layout.initial(3);
    values[layout.range(layout.find("loss3/classifier/bias").unwrap()).start + 3] = f32::INFINITY;
    fs::write(&path, caffe_model(&layout, &values)).unwrap();
    let found = "tensor loss3/classifier/bias holds 1 value that is not finite (NaN or infinite), the first at 3: inf;";
    let text = reason(&path);
    assert!(text.starts_with(&format!("{model}: {found}")), "{text}");
}

#[test]
fn a_model_with_values_that_are_not_finite_is_not_written() {
    let home = tempfile::tempdir().unwrap();
    let before = fs::read(model(home.path())).unwrap();
    let layout = layout(3, 32, 0.25);
    let configuration = settings::recipe("quick").unwrap();
    let about = About {
        configuration: &configuration,
        classes: &[],
        data: None,
        values: "average",
        samples: 0,
        evaluation: None,
    };
    let mut values = layout.initial(5);
    let bias = layout.range(layout.find("conv2/3x3/bias").unwrap());
    values[bias.start + 5..bias.start + 8].fill(f32::NEG_INFINITY);
    let (path, folder) = (home.path().join("model.safetensors"), home.path().join("new/model.safetensors"));
    for path in [&path, &folder] {
        let text = format!("{:#}", model_file::write(path, &layout, &values, &about).unwrap_err());
        let expected = format!(
            "{} is not written: training has diverged, start it again with a lower --learning-rate: tensor conv2/3x3/bias \
             holds 3 values that are not finite (NaN or infinite), the first at 5: -inf",
            path.display()
        );
        assert_eq!(text, expected);
    }
    assert_eq!(fs::read(path).unwrap(), before, "what was there stays");
    assert!(!home.path().join("new").exists());
}

/// What a case does to a good model.
type Change<'a> = &'a dyn Fn(&mut Checkpoint);

/// What the metadata of a file claim is the file's: another exit code than that of a wrong flag.
#[test]
fn metadata_of_a_network_that_cannot_be_built_are_the_files_fault() {
    let home = tempfile::tempdir().unwrap();
    let path = model(home.path());
    let whole = Checkpoint::read(&path).unwrap();
    for (key, value, expected) in [
        ("input_size", "1000000000", "expected an input side of 32 to 2048 pixels, found 1000000000"),
        ("width", "1e30", "expected a width multiplier of 0.05 to 4, found 1"),
        ("classes", "[]", "expected 2 to 100000 classes, found 0"),
        ("input_size", "18446744073709551616", "metadata input_size: expected what a run writes there"),
        ("mean", "[1]", "metadata mean: expected what a run writes there"),
        ("architecture", "resnet", "metadata architecture: expected googlenet, found resnet"),
    ] {
        let mut claimed = whole.clone();
        claimed.metadata.insert(key.into(), value.into());
        claimed.write(&path).unwrap();
        let error = exported(&path, Format::Safetensors, None).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(expected) && text.contains(path.to_str().unwrap()), "{text}");
        assert_eq!(setup::exit_of(&error), process::Exit::BadInput, "{text}");
    }
}

#[test]
fn a_model_that_is_cut_or_of_another_network_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = model(home.path());
    let shown = path.display();
    let whole = Checkpoint::read(&path).unwrap();
    let changed = |change: Change| {
        let mut checkpoint = whole.clone();
        change(&mut checkpoint);
        checkpoint.write(&path).unwrap();
        reason(&path)
    };
    let cases: [(Change, String); 5] = [
        (
            &|checkpoint| drop(checkpoint.metadata.insert("width".into(), "0.5".into())),
            format!(
                "load model {shown}: tensor conv1/7x7_s2/weights: expected shape [32, 3, 7, 7], found [16, 3, 7, 7] in \
                 the checkpoint"
            ),
        ),
        (
            &|checkpoint| drop(checkpoint.tensors.remove("conv2/3x3/bias")),
            format!(
                "load model {shown}: tensor conv2/3x3/bias [48] is missing among the checkpoint's 115; use the network \
                 that it was trained with"
            ),
        ),
        (
            &|checkpoint| drop(checkpoint.metadata.insert("resize".into(), "none".into())),
            format!("model file {shown}: metadata resize: expected \"shorter side to"),
        ),
        (
            &|checkpoint| drop(checkpoint.metadata.insert("mean".into(), "[123.0,1e39,104.0]".into())),
            format!(
                "model file {shown}: metadata mean: expected what a run writes there, found [123.0,1e39,104.0]"
            ),
        ),
        (
            &|checkpoint| checkpoint.metadata.clear(),
            format!(
                "model file {shown} is a safetensors file with 116 tensors, as conv1/7x7_s2/bias, whose metadata name no \
                 network (architecture): use a file that a run, `downpour fetch` or `downpour export` wrote"
            ),
        ),
    ];
    for (change, expected) in cases {
        let text = changed(change);
        assert!(text.starts_with(&expected), "{text}\nexpected {expected}");
    }

    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let text = reason(&path);
    let expected = format!("checkpoint {shown} ({} bytes) is not a whole safetensors file", bytes.len() / 2);
    assert!(text.starts_with(&expected), "{text}");

    let layout = layout(4, 32, 0.25);
    let caffe = caffe_model(&layout, &layout.initial(1));
    fs::write(&path, &caffe[..caffe.len() - 3]).unwrap();
    let text = reason(&path);
    assert!(
        text.contains("is neither a safetensors file nor a whole caffe model: not a whole protocol"),
        "{text}"
    );
    // Cut behind a layer it is a whole message; what is missing is named.
    let last = layout.tensors().len() - 2;
    let kept = caffe.len() - (4 * (layout.len() - layout.range(last).start) + 200);
    let cut = (kept..caffe.len()).find(|&end| formats::caffe::parse(&caffe[..end]).is_ok()).unwrap();
    fs::write(&path, &caffe[..cut]).unwrap();
    assert_eq!(
        reason(&path),
        format!(
            "model file {shown} has 114 of the 114 tensors in front of GoogLeNet's classifier, but no layer \
             loss3/classifier, nor one other fully connected layer of 1024 inputs in its place; get or write it again"
        )
    );
}

#[test]
fn a_key_that_a_models_metadata_lack_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = model(home.path());
    let whole = Checkpoint::read(&path).unwrap();
    for (missing, named) in [
        (&["classes"][..], "classes"),
        (&["input_size"], "input_size"),
        (&["width"], "width"),
        (&["mean"], "mean"),
        (&["resize"], "resize"),
        (&["mean", "width"], "width and mean"),
    ] {
        let mut checkpoint = whole.clone();
        missing.iter().for_each(|key| drop(checkpoint.metadata.remove(*key)));
        checkpoint.write(&path).unwrap();
        let expected = format!(
            "model file {}: its metadata lack {named}: expected architecture, classes, input_size, width, mean, resize, as a \
             run writes them; use the file of a run, or one that `downpour fetch` or `downpour export` wrote",
            path.display()
        );
        assert_eq!(reason(&path), expected);
    }
}

#[test]
fn a_model_that_is_not_there_is_told_with_its_flag() {
    let home = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "run/snapshots/9"] {
        let path = home.path().join(name);
        let error = exported(&path, Format::Onnx, None).unwrap_err();
        let expected = format!(
            "there is no model {}: expected a model file, the folder of a run, or that of a snapshot; name it by --model, as \
             --model downpour-run or --model downpour-run/snapshots/7",
            path.display()
        );
        assert_eq!(format!("{error:#}"), expected);
        assert_eq!(setup::exit_of(&error), process::Exit::BadInput);
        fs::create_dir_all(home.path().join("run/snapshots")).unwrap();
    }
}

#[test]
fn a_caffe_model_of_another_network_is_called_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("caffenet.caffemodel");
    let (mut layer, mut weights, mut bias, mut net) =
        (Message::default(), Message::default(), Message::default(), Message::default());
    weights.integer(1, 1).integer(2, 3).integer(3, 2).integer(4, 1).bytes(5, [0; 24]);
    bias.integer(4, 1).bytes(5, [0; 4]);
    layer.bytes(1, "conv1").bytes(2, "Convolution").message(7, &weights).message(7, &bias);
    net.bytes(1, "CaffeNet").message(100, &layer);
    fs::write(&path, net.into_bytes()).unwrap();
    let expected = format!(
        "model file {} is a caffe model of another network (CaffeNet) than GoogLeNet: it has 2 tensors, as conv1/bias, \
         and none of GoogLeNet, as conv1/7x7_s2/weights; use a model of GoogLeNet",
        path.display()
    );
    assert_eq!(reason(&path), expected);
}

#[test]
fn a_caffe_model_whose_classifier_has_a_new_name_opens() {
    let home = tempfile::tempdir().unwrap();
    let (layout, path) = (layout(4, 224, 1.0), home.path().join("flowers.caffemodel"));
    let values = layout.initial(3);
    let renamed = |name: &str| name.replace("loss3/classifier", "loss3/classifier_flowers");
    fs::write(&path, caffe_model_with(&layout, &values, renamed)).unwrap();
    let bytes = exported(&path, Format::Safetensors, None).unwrap();
    let found = Checkpoint::parse(&bytes, &path).unwrap().to_flat(&layout).unwrap();
    let stem = layout.range(0).end;
    assert_eq!(found[stem..], values[stem..]);
}
