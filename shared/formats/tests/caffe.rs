//! Caffe models in every form that they come in, built byte by byte, and what is wrong with a file that is
//! none.

use std::fs;

use formats::FileFormat;
use ndarray::{ArrayD, IxDyn};

/// A field of the wire type for messages and text.
fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn integer(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn packed(values: &[f32]) -> Vec<u8> {
    bytes(5, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

fn unpacked(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| [varint(5 << 3 | 5), v.to_le_bytes().to_vec()].concat()).collect()
}

/// A blob of four dimensions, as in 2014.
fn old_blob(extents: [u64; 4], data: Vec<u8>) -> Vec<u8> {
    let extents: Vec<u8> = (1..).zip(extents).flat_map(|(field, extent)| integer(field, extent)).collect();
    [extents, data].concat()
}

/// A blob with a shape.
fn new_blob(shape: &[u64], data: Vec<u8>) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&extent| varint(extent)).collect();
    [data, bytes(7, &bytes(1, &dims))].concat()
}

/// V1LayerParameter.
fn old_layer(name: &str, kind: u64, blobs: &[Vec<u8>]) -> Vec<u8> {
    let blobs = blobs.iter().flat_map(|blob| bytes(6, blob)).collect();
    bytes(2, &[bytes(2, b"data"), bytes(4, name.as_bytes()), integer(5, kind), blobs].concat())
}

/// LayerParameter.
fn new_layer(name: &str, kind: &str, blobs: &[Vec<u8>]) -> Vec<u8> {
    let blobs = blobs.iter().flat_map(|blob| bytes(7, blob)).collect();
    bytes(100, &[bytes(1, name.as_bytes()), bytes(2, kind.as_bytes()), blobs].concat())
}

/// Two filters of 1 x 1 on three colours.
const CONVOLUTION: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
const DENSE: [f32; 6] = [7.0, 8.0, 9.0, 10.0, 11.0, 12.0];

fn old_model(floats: fn(&[f32]) -> Vec<u8>) -> Vec<u8> {
    [
        bytes(1, b"a net"),
        old_layer("data", 12, &[]),
        old_layer(
            "conv1",
            4,
            &[old_blob([2, 3, 1, 1], floats(&CONVOLUTION)), old_blob([1, 1, 1, 2], floats(&[0.5, 0.25]))],
        ),
        old_layer("relu1", 18, &[]),
        old_layer(
            "fc",
            14,
            &[old_blob([1, 1, 3, 2], floats(&DENSE)), old_blob([1, 1, 1, 3], floats(&[1.0, 2.0, 3.0]))],
        ),
    ]
    .concat()
}

fn new_model() -> Vec<u8> {
    [
        new_layer(
            "conv1",
            "Convolution",
            &[new_blob(&[2, 3, 1, 1], packed(&CONVOLUTION)), new_blob(&[2], packed(&[0.5, 0.25]))],
        ),
        new_layer("split", "Split", &[]),
        new_layer(
            "fc",
            "InnerProduct",
            &[new_blob(&[3, 2], packed(&DENSE)), new_blob(&[3], packed(&[1.0, 2.0, 3.0]))],
        ),
    ]
    .concat()
}

#[test]
fn old_and_new_layers_packed_and_unpacked_give_the_same_tensors() {
    let array =
        |shape: &[usize], values: &[f32]| ArrayD::from_shape_vec(IxDyn(shape), values.into()).unwrap();
    let home = tempfile::tempdir().unwrap();
    for (name, content) in
        [("old", old_model(packed)), ("old, unpacked", old_model(unpacked)), ("new", new_model())]
    {
        // The name of the file does not matter.
        let path = home.path().join(name);
        fs::write(&path, content).unwrap();
        let (kind, checkpoint) = formats::read(&path).unwrap();
        assert_eq!(kind, FileFormat::Caffe, "{name}");
        let names: Vec<_> = checkpoint.tensors.keys().map(String::as_str).collect();
        assert_eq!(names, ["conv1/bias", "conv1/weights", "fc/bias", "fc/weights"], "{name}");
        let tensor = |of: &str| &checkpoint.tensors[of];
        // Blue, green, red became red, green, blue.
        let turned = [3.0, 2.0, 1.0, 6.0, 5.0, 4.0];
        assert_eq!(tensor("conv1/weights"), array(&[2, 3, 1, 1], &turned), "{name}");
        assert!(tensor("conv1/weights").is_standard_layout());
        assert_eq!(tensor("conv1/bias"), array(&[2], &[0.5, 0.25]), "{name}");
        assert_eq!(tensor("fc/weights"), array(&[3, 2], &DENSE), "{name}");
        assert_eq!(tensor("fc/bias"), array(&[3], &[1.0, 2.0, 3.0]), "{name}");
    }
}

fn reason(content: &[u8]) -> String {
    formats::caffe::parse(content).unwrap_err().to_string()
}

#[test]
fn a_truncated_model_is_refused_wherever_it_is_cut() {
    let model = old_model(packed);
    let mut whole_layers = 0;
    for end in 0..model.len() {
        match formats::caffe::parse(&model[..end]) {
            // Cut between two layers, a file is a model of fewer layers; the network will miss their tensors.
            Ok(checkpoint) => whole_layers += usize::from(checkpoint.tensors.len() < 4),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert_eq!(whole_layers, 2, "behind conv1 and behind relu1");
    assert_eq!(
        reason(&model[..model.len() - 4]),
        format!(
            "not a whole protocol buffer, at byte {}: a value of 72 bytes is announced, the data ends after 68",
            model.len() - 72
        )
    );
}

#[test]
fn a_file_of_another_kind_is_named_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("noise");
    fs::write(&path, [0xff; 21]).unwrap();
    let expected = format!(
        "model file {} (21 bytes) is neither a safetensors file nor a whole caffe model: not a whole protocol buffer, at \
         byte 0: a number of more than 64 bits; get or write it again",
        path.display()
    );
    assert_eq!(formats::read(&path).unwrap_err().to_string(), expected);
    fs::write(&path, old_layer("data", 12, &[])).unwrap();
    let text = formats::read(&path).unwrap_err().to_string();
    assert!(text.contains("no layer with weights is in it"), "{text}");
    let missing = home.path().join("missing");
    let text = formats::read(&missing).unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot read model file {}: ", missing.display())), "{text}");
}

#[test]
fn a_truncated_safetensors_file_says_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model.safetensors");
    let (_, checkpoint) = {
        let caffe = home.path().join("caffe");
        fs::write(&caffe, new_model()).unwrap();
        formats::read(&caffe).unwrap()
    };
    checkpoint.write(&path).unwrap();
    assert_eq!(formats::read(&path).unwrap(), (FileFormat::Safetensors, checkpoint));
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 9]).unwrap();
    let text = formats::read(&path).unwrap_err().to_string();
    let start = format!(
        "checkpoint {} ({} bytes) is not a whole safetensors file: ",
        path.display(),
        content.len() - 9
    );
    assert!(text.starts_with(&start) && text.ends_with("; get or write it again"), "{text}");
}

/// Extents whose product is 0, or wraps to the number of values, though others of them overflow; a shape, and
/// a number of blobs, that would take many times the memory of the file.
#[test]
fn extents_and_counts_are_bounded_before_memory_is_taken() {
    let none = || packed(&[]);
    let bias = || new_blob(&[0], none());
    let layer = |blobs: &[Vec<u8>]| reason(&new_layer("a", "Convolution", blobs));
    let hostile = new_layer(
        "a",
        "Convolution",
        &[
            bytes(7, &bytes(1, &[0, 1 << 40, 1 << 40, 1].map(varint).concat())),
            bytes(7, &bytes(1, &varint(0))),
        ],
    );
    assert_eq!(hostile.len(), 46);
    assert_eq!(
        reason(&hostile),
        "layer a, blob 0: expected extents of at least 1, found shape [0, 1099511627776, 1099511627776, 1]"
    );
    for shape in [[0, 1, 1, 1], [1 << 40, 1 << 40, 0, 1], [u64::MAX, 1, 1, 0]] {
        let text = layer(&[new_blob(&shape, none()), bias()]);
        assert_eq!(text, format!("layer a, blob 0: expected extents of at least 1, found shape {shape:?}"));
    }
    for shape in [[1 << 32, 1 << 32, 1, 1], [1 << 63, 2, 1, 1], [u64::MAX; 4], [1 << 40, 1, 1, 1]] {
        let text = layer(&[new_blob(&shape, none()), bias()]);
        assert_eq!(text, format!("layer a, blob 0: its shape is {shape:?}, which 0 values do not fill"));
    }
    let unpacked = |count: usize| bytes(7, &integer(1, 1).repeat(count));
    for blob in [new_blob(&[1; 33], none()), unpacked(33), new_blob(&[1; 1_000_000], none())] {
        let text = layer(&[blob, bias()]);
        assert!(text.ends_with("a shape of more than 32 dimensions, as no blob has"), "{text}");
    }
    assert!(layer(&[unpacked(32), bias()]).contains("its shape is [1, 1, 1, "));
    let text = layer(&vec![Vec::new(); 100_000]);
    assert!(text.contains("is of type Convolution and has 100000 blobs"), "{text}");
}

#[test]
fn a_model_with_values_that_are_not_finite_is_refused_by_tensor_in_either_format() {
    let home = tempfile::tempdir().unwrap();
    let content = new_model();
    let good = formats::caffe::parse(&content).unwrap();
    // The last value of the last bias, and two more in the safetensors file.
    let place = content.windows(4).rposition(|bytes| bytes == 3f32.to_le_bytes()).unwrap();
    let mut bad = content;
    bad[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let caffe = home.path().join("a.caffemodel");
    fs::write(&caffe, bad).unwrap();
    let safetensors = home.path().join("model.safetensors");
    let mut checkpoint = good;
    checkpoint.tensors.get_mut("fc/bias").unwrap().fill(f32::NEG_INFINITY);
    checkpoint.write(&safetensors).unwrap();
    for (path, found) in [
        (caffe, "1 value that is not finite (NaN or infinite), the first at 2: NaN"),
        (safetensors, "3 values that are not finite (NaN or infinite), the first at 0: -inf"),
    ] {
        let expected = format!(
            "{}: tensor fc/bias holds {found}; training diverged before it was written, or the file is damaged: use an \
             earlier one, or get it again",
            path.display()
        );
        assert_eq!(formats::read(&path).unwrap_err().to_string(), expected);
    }
}

#[test]
fn layers_and_blobs_that_contradict_themselves_are_named() {
    let weights = old_blob([1, 1, 3, 2], packed(&DENSE));
    let cases = [
        (
            new_layer("bn1", "BatchNorm", &[new_blob(&[1], packed(&[1.0]))]),
            "layer bn1 is of type BatchNorm and has 1 blobs; expected convolutions and inner products, each with weights \
             and a bias",
        ),
        (
            old_layer("fc", 14, std::slice::from_ref(&weights)),
            "layer fc is of type 14 and has 1 blobs; expected convolutions and inner products, each with weights and a \
             bias",
        ),
        (
            old_layer("fc", 14, &[weights.clone(), old_blob([1, 1, 1, 2], packed(&[1.0, 2.0]))]),
            "layer fc, blob 1: expected a value for each of 3 outputs, found 2",
        ),
        (
            old_layer("fc", 14, &[old_blob([1, 1, 3, 2], packed(&DENSE[..5])), weights.clone()]),
            "layer fc, blob 0: its shape is [1, 1, 3, 2], which 5 values do not fill",
        ),
        (
            old_layer("fc", 14, &[old_blob([u64::MAX, u64::MAX, 3, 2], vec![]), weights.clone()]),
            "layer fc, blob 0: expected 2 dimensions, found shape [18446744073709551615, 18446744073709551615, 3, 2]",
        ),
        (
            old_layer("conv", 4, &[new_blob(&[3, 2], packed(&DENSE)), weights]),
            "layer conv, blob 0: expected 4 dimensions, found shape [3, 2]",
        ),
        (
            new_layer("bn1", "BatchNorm", &vec![new_blob(&[1], packed(&[1.0])); 3]),
            "layer bn1 is of type BatchNorm and has 3 blobs; expected convolutions and inner products, each with weights \
             and a bias",
        ),
        ([new_model(), new_model()].concat(), "two layers are named conv1"),
    ];
    for (content, expected) in cases {
        assert_eq!(reason(&content), expected);
    }
}
