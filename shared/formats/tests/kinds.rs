//! Files that are given for a model and are none: each is called what it is.

use std::fs;

use formats::Message;

/// Returns why the file is not taken, without its path.
fn refusal(content: &[u8]) -> String {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    fs::write(&path, content).unwrap();
    let error = formats::read(&path).unwrap_err();
    assert!(std::error::Error::source(&error).is_none(), "a cause would be printed twice: {error}");
    error.to_string().replacen(&format!("model file {} ", path.display()), "", 1)
}

fn archive(entry: &str) -> Vec<u8> {
    [b"PK\x03\x04", [0; 26].as_slice(), entry.as_bytes(), &[0x80, 2, 0xff]].concat()
}

fn solver_state() -> Message {
    let (mut state, mut history) = (Message::default(), Message::default());
    history.integer(1, 1).bytes(5, [0; 8]);
    state.integer(1, 4000).bytes(2, "snapshots/train_iter_4000.caffemodel").message(3, &history);
    state.integer(4, 0);
    state
}

#[test]
fn each_is_called_what_it_is() {
    let deploy = "name: \"GoogleNet\"\nlayer {\n  name: \"data\"\n  type: \"Input\"\n}\n";
    let solver = "net: \"train_val.prototxt\"\nbase_lr: 0.01\nsolver_mode: GPU\n";
    let (mut mean, mut onnx, mut graph) = (Message::default(), Message::default(), Message::default());
    mean.integer(1, 1).integer(2, 3).integer(3, 1).integer(4, 1).bytes(5, [0; 12]);
    onnx.integer(1, 8).bytes(2, "pytorch").bytes(7, "\x0a\x02").message(8, &Message::default());
    graph.bytes(1, "\x0a\x05input").bytes(1, "\x0a\x05conv1");
    let tar = [[b'a'; 257].as_slice(), b"ustar\x0000"].concat();
    let long_text = format!("{}\u{e9}", "x".repeat((64 << 10) - 1));
    for (content, expected) in [
        (b"".to_vec(), "(0 bytes) is empty"),
        (b"\r\n<!DOCTYPE html>\n<html><head><title>404</title>".to_vec(), "is an HTML page;"),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>".to_vec(), "is an XML document;"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n".to_vec(), "is a pointer of Git LFS;"),
        (deploy.into(), "is a prototxt, which describes a network without its weights;"),
        (deploy.replace("layer {", "layers{").into(), "is a prototxt, which"),
        (solver.into(), "is the prototxt of a solver;"),
        (b"{\"data\":{\"a\":1}}".to_vec(), "is a text;"),
        (long_text.into(), "is a text;"),
        (archive("archive/data.pkl"), "is a file of PyTorch (.pth, .pt);"),
        (archive("weights.npy"), "is a ZIP archive;"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), "is a file of PyTorch (.pth, .pt);"),
        (b"\x80\x04\x95\x00".to_vec(), "is a pickle of Python;"),
        (b"\x89HDF\r\n\x1a\n\x00".to_vec(), "is an HDF5 file"),
        (b"\x1f\x8b\x08\x00".to_vec(), "is a gzip archive;"),
        (tar, "is a tar archive;"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF".to_vec(), "is a picture;"),
        (solver_state().into_bytes(), "is the state of Caffe's solver (.solverstate);"),
        (mean.into_bytes(), "is a single blob of Caffe (.binaryproto), such as a mean;"),
        (onnx.into_bytes(), "is an ONNX model;"),
        (graph.into_bytes(), "is a graph of TensorFlow (.pb);"),
    ] {
        let text = refusal(&content);
        assert!(text.contains(expected), "{text}\nexpected {expected}");
        assert!(text.contains("expected a safetensors file or a caffe model of GoogLeNet: "), "{text}");
        assert!(text.starts_with(&format!("({} bytes) is ", content.len())), "{text}");
    }
}

#[test]
fn a_caffe_model_with_layers_that_googlenet_lacks_is_of_another_network() {
    let (mut blob, mut layer, mut net) = (Message::default(), Message::default(), Message::default());
    blob.integer(1, 1).bytes(5, [0; 4]);
    layer.bytes(1, "bn1").bytes(2, "BatchNorm").message(7, &blob).message(7, &blob).message(7, &blob);
    let text = refusal(&net.bytes(1, "ResNet-50").message(100, &layer).clone().into_bytes());
    assert_eq!(
        text,
        "is a caffe model of another network: layer bn1 is of type BatchNorm and has 3 blobs; expected convolutions and \
         inner products, each with weights and a bias; expected a model of GoogLeNet"
    );
}

#[test]
fn what_is_cut_or_unknown_is_told_by_the_place_of_the_fault() {
    let whole = solver_state().into_bytes();
    let text = refusal(&whole[..whole.len() - 4]);
    assert!(text.contains("is neither a safetensors file nor a whole caffe model: not a whole"), "{text}");
    assert_eq!(text.matches("at byte").count(), 1, "{text}");
}
