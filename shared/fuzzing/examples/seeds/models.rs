//! Model files and labels.

use std::collections::BTreeMap;
use std::fs;

use formats::model_file::{self, About};
use ndarray::ArrayD;
use network::{Architecture, GoogLeNet};
use parameters::checkpoint::Checkpoint;
use settings::RunConfiguration;

use crate::protobuf::Message;
use crate::{Seed, seed};

/// A blob of a Caffe model, as files have it since 2014.
fn blob(shape: &[u64], values: usize) -> Message {
    let shape = shape.iter().fold(Message::default(), |all, &extent| all.varint(extent));
    let values: Vec<u8> = (0..values).flat_map(|at| (at as f32 / 8.0).to_le_bytes()).collect();
    Message::default().message(7, Message::default().bytes(1, shape.0)).bytes(5, values)
}

fn layer(name: &str, kind: &str, weights: Message, bias: Message) -> Message {
    Message::default().bytes(1, name).bytes(2, kind).message(7, weights).message(7, bias)
}

pub fn caffe() -> Vec<Seed> {
    let convolution = layer("conv1", "Convolution", blob(&[2, 3, 2, 2], 24), blob(&[2], 2));
    let dense = layer("fc", "InnerProduct", blob(&[3, 2], 6), blob(&[3], 3));
    let data = Message::default().bytes(1, "data").bytes(2, "Data");
    let new =
        Message::default().bytes(1, "net").message(100, data).message(100, convolution).message(100, dense);
    // Until 2014: four extents, values one by one.
    let old_blob = |outputs, inputs, values: usize| {
        let shape = Message::default().number(1, 1).number(2, 1).number(3, outputs).number(4, inputs);
        (0..values).fold(shape, |blob, at| blob.float(5, at as f32))
    };
    let old_layer = Message::default()
        .bytes(4, "fc")
        .number(5, 14)
        .message(6, old_blob(3, 2, 6))
        .message(6, old_blob(1, 3, 3));
    // NVIDIA's branch: bytes and, beside them, their number type; and a build of Caffe for doubles.
    let raw_blob = |shape: &[u64], raw: &[u8], number| {
        let shape = shape.iter().fold(Message::default(), |all, &extent| all.varint(extent));
        Message::default().message(7, Message::default().bytes(1, shape.0)).number(10, number).bytes(12, raw)
    };
    let halves =
        layer("conv1", "Convolution", raw_blob(&[1, 3, 1, 1], &[0; 6], 2), raw_blob(&[1], &[0; 2], 2));
    let unknown =
        layer("conv2", "Convolution", raw_blob(&[1, 1, 1, 1], &[0; 8], 3), raw_blob(&[1], &[0; 7], 0));
    let doubles = |shape: &[u64], values: usize| raw_blob(shape, &[], 0).bytes(8, vec![0; 8 * values]);
    let doubles = layer("fc", "InnerProduct", doubles(&[1, 2], 2), doubles(&[1], 1));
    let stored = Message::default().message(100, halves).message(100, doubles).message(100, unknown);
    // The product of the extents is 0, that of the others has no 64 bits.
    let huge = blob(&[0, 1 << 40, 1 << 40, 1], 0);
    vec![
        seed("two-layers", new.0.clone()),
        seed("two-layers-cut", &new.0[..new.0.len() / 2]),
        seed("halves-and-doubles", stored.0),
        seed("layers-of-2014", Message::default().message(2, old_layer).0),
        seed(
            "zero-extent",
            Message::default().message(100, layer("a", "Convolution", huge, blob(&[0], 0))).0,
        ),
        seed("announces-8-EiB", Message::default().varint(100 << 3 | 2).varint(u64::MAX >> 1).0),
    ]
}

/// A safetensors file of a header and of bytes behind it.
fn safetensors(header: &str, bytes: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), bytes].concat()
}

pub fn checkpoint() -> Vec<Seed> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model.safetensors");
    let mut checkpoint = Checkpoint::default();
    checkpoint.tensors.insert("fc/weights".into(), ArrayD::from_elem(vec![2, 3], 0.5));
    checkpoint.tensors.insert("fc/bias".into(), ArrayD::from_elem(vec![2], -1.0));
    checkpoint.metadata.insert("classes".into(), "[\"cat\", \"dog\"]".into());
    checkpoint.write(&path).unwrap();
    let tensor = |shape, offsets| {
        format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let many: Vec<String> = (0..500)
        .map(|name| format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"))
        .collect();
    vec![
        seed("two-tensors", fs::read(&path).unwrap()),
        seed("no-tensors", safetensors("{}", b"")),
        seed(
            "halves",
            safetensors("{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", &[0; 4]),
        ),
        seed(
            "doubles",
            safetensors("{\"a\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}}", &[0x7f; 16]),
        ),
        seed("many-empty-tensors", safetensors(&format!("{{{}}}", many.join(",")), b"")),
        seed("zero-extent", safetensors(&tensor("[0,4611686018427387904,4]", "[0,0]"), b"")),
        seed("overflowing-shape", safetensors(&tensor("[4294967296,4294967296]", "[0,16]"), &[0; 16])),
        seed("backward-offsets", safetensors(&tensor("[1]", "[8,4]"), &[0; 8])),
        seed("nested-header", safetensors(&"[".repeat(5000), b"")),
        seed("announces-8-EiB", (u64::MAX >> 1).to_le_bytes()),
    ]
}

/// The file of a run of so small a network that it fits in a corpus.
fn tiny_model(configuration: &mut RunConfiguration) -> Vec<u8> {
    configuration.network.width = 0.05;
    configuration.network.input_size = 32;
    configuration.network.auxiliary_heads = false;
    let architecture = Architecture {
        classes: 2,
        input_size: 32,
        width: 0.05,
        auxiliary_heads: false,
        ..Architecture::paper()
    };
    let network = GoogLeNet::new(&architecture).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model.safetensors");
    let classes = ["cat".to_owned(), "dog".to_owned()];
    let about = About {
        configuration,
        classes: &classes,
        data: None,
        values: "average",
        samples: 100,
        evaluation: None,
    };
    model_file::write(&path, network.layout(), &network.layout().initial(1), &about).unwrap();
    fs::read(path).unwrap()
}

pub fn model() -> Vec<Seed> {
    let mut configuration = settings::recipe("quick").unwrap();
    let whole = tiny_model(&mut configuration);
    let Checkpoint { metadata, .. } = Checkpoint::parse(&whole, "model".as_ref()).unwrap();
    // What the file says of itself, changed, with no tensors behind it.
    let bare = |changes: &[(&str, &str)]| {
        let mut metadata: BTreeMap<&str, &str> =
            metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        metadata.extend(changes.iter().copied());
        let header = serde_json::json!({"__metadata__": metadata}).to_string();
        safetensors(&header, b"")
    };
    let classes = serde_json::to_string(&vec![""; 2000]).unwrap();
    vec![
        seed("tiny", whole.clone()),
        seed("no-tensors", bare(&[])),
        seed("largest-network", bare(&[("width", "8"), ("input_size", "2048")])),
        seed("width-of-1e38", bare(&[("width", "1e38")])),
        seed("negative-width", bare(&[("width", "-1"), ("variant", "\"operations\"")])),
        seed("many-classes", bare(&[("classes", &classes), ("variant", "\"naive\"")])),
        seed("huge-mean", bare(&[("mean", "[1e39,-1e39,0]")])),
        seed("a-caffe-model", caffe().swap_remove(0).1),
        seed("a-page", "<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"),
        seed("a-prototxt", "name: \"GoogleNet\"\nlayer {\n  name: \"data\"\n}\n"),
        seed(
            "a-solver-state",
            Message::default().number(1, 9).bytes(2, "a.caffemodel").message(3, blob(&[1], 1)).0,
        ),
        seed("an-archive", *b"PK\x03\x04archive/data.pkl"),
    ]
}

pub fn labels() -> Vec<Seed> {
    vec![
        seed("synsets", "n02119789 kit fox, Vulpes macrotis\nn02100735 English setter\n"),
        seed("windows", "tabby_cat\r\ndaisy\r\n"),
        seed("the-same-twice", "crane\ncrane\n\n\n"),
        seed("nothing", ""),
        seed("no-utf-8", *b"caf\xe9\nthe"),
        seed("byte-order-mark", "\u{feff}one\ntwo"),
        seed("growing-letters", "\u{130}\u{130}, \u{fb03}\n\u{df}\n"),
        seed("commas", ",".repeat(2000)),
    ]
}
