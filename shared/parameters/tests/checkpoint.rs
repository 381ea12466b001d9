//! Checkpoints: what is written is read again, and what is broken is told.

use std::{collections::BTreeMap, fs};

use parameters::{
    Initialiser, Layout, Tensor,
    checkpoint::{Checkpoint, CheckpointError},
};
use proptest::prelude::*;

fn layout(shapes: &[Vec<usize>]) -> Layout {
    let tensor = |(index, shape): (usize, &Vec<usize>)| Tensor {
        name: format!("layer{index}/weights"),
        shape: shape.clone(),
        initialiser: Initialiser::Normal { deviation: 1.0 },
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    Layout::new(shapes.iter().enumerate().map(tensor).collect()).unwrap()
}

fn checkpoint(shapes: &[Vec<usize>], seed: u64) -> (Layout, Vec<f32>, Checkpoint) {
    let layout = layout(shapes);
    let values = layout.initial(seed);
    let metadata = BTreeMap::from([("step".into(), seed.to_string()), ("name".into(), "a \"b\" ü".into())]);
    let checkpoint = Checkpoint::from_flat(&layout, &values, metadata);
    (layout, values, checkpoint)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read_again(
        shapes in prop::collection::vec(prop::collection::vec(1usize..6, 1..5), 0..5),
        seed: u64,
    ) {
        let (layout, values, written) = checkpoint(&shapes, seed);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        written.write(&path).unwrap();
        let read = Checkpoint::read(&path).unwrap();
        prop_assert_eq!(&read, &written);
        prop_assert_eq!(read.to_flat(&layout).unwrap(), values);
        let once = fs::read(&path).unwrap();
        read.write(&path).unwrap();
        prop_assert_eq!(fs::read(&path).unwrap(), once);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_told_and_not_read() {
    let (_, _, written) = checkpoint(&[vec![3, 2], vec![5]], 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    written.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Malformed { .. }), "{length}: {error}");
        let text = error.to_string();
        assert!(text.contains("model.safetensors") && text.contains(&format!("({length} bytes)")), "{text}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    fs::write(&path, longer).unwrap();
    assert!(matches!(Checkpoint::read(&path), Err(CheckpointError::Malformed { .. })));
}

/// What a header may claim: a length beyond the file, extents whose product wraps or is 0 beside others that
/// overflow, places outside of the values, values that are not there.
#[test]
fn claims_of_a_header_are_checked_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let with_header = |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let tensor = |shape: &str, offsets: &str| {
        with_header(&format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#))
    };
    let long = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    for bytes in [
        long(u64::MAX),
        long(1 << 62),
        long(100_000_001),
        tensor("[4611686018427387904,4]", "[0,0]"),
        tensor("[4294967296,4294967296]", "[0,0]"),
        tensor("[0,1099511627776,1099511627776]", "[0,0]"),
        tensor("[1099511627776,0,1099511627776]", "[0,0]"),
        tensor("[1073741824]", "[0,4294967296]"),
        tensor("[1]", "[18446744073709551612,0]"),
        tensor("[1]", "[4,0]"),
        tensor("[-1]", "[0,4]"),
        with_header(&format!(r#"{{"__metadata__":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000))),
    ] {
        fs::write(&path, &bytes).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Malformed { .. }), "{error}");
    }
    if fs::File::create(&path).unwrap().set_len(3 << 40).is_ok() {
        let text = Checkpoint::read(&path).unwrap_err().to_string();
        let expected =
            format!("cannot read checkpoint {}: expected at most 48 GiB, it has 3,072 GiB", path.display());
        assert_eq!(text, expected);
    }
}

#[test]
fn special_values_keep_their_bits() {
    let layout = layout(&[vec![6]]);
    let values = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, -1.5];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    Checkpoint::from_flat(&layout, &values, BTreeMap::new()).write(&path).unwrap();
    let read = Checkpoint::read(&path).unwrap().to_flat(&layout).unwrap();
    assert_eq!(read.map_bits(), values.to_vec().map_bits());
}

#[test]
fn a_checkpoint_with_values_that_are_not_finite_is_named_with_its_tensor() {
    let (_, values, good) = checkpoint(&[vec![2, 3], vec![4]], 1);
    let path = std::path::Path::new("model.safetensors");
    assert_eq!(good.clone().finite(path).unwrap(), good);
    let mut bad = values;
    (bad[7], bad[9]) = (f32::INFINITY, f32::NAN);
    let bad = Checkpoint::from_flat(&layout(&[vec![2, 3], vec![4]]), &bad, BTreeMap::new());
    assert_eq!(
        bad.finite(path).unwrap_err().to_string(),
        "model.safetensors: tensor layer1/weights holds 2 values that are not finite (NaN or infinite), the first at 1: \
         inf; training diverged before it was written, or the file is damaged: use an earlier one, or get it again"
    );
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|value| value.to_bits()).collect()
    }
}

/// A file of one tensor `a` with two values.
fn of_type(number: &str, values: &[u8]) -> Vec<u8> {
    let end = values.len();
    let header = format!(r#"{{"a":{{"dtype":"{number}","shape":[2],"data_offsets":[0,{end}]}}}}"#);
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat()
}

#[test]
fn halves_and_doubles_become_f32_and_are_written_as_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let doubles = [1.5f64, -2.0].map(f64::to_le_bytes).concat();
    for (number, values) in [
        ("F16", vec![0x00, 0x3e, 0x00, 0xc0]),
        ("BF16", vec![0xc0, 0x3f, 0x00, 0xc0]),
        ("F32", [1.5f32, -2.0].map(f32::to_le_bytes).concat()),
        ("F64", doubles),
    ] {
        let read = Checkpoint::parse(&of_type(number, &values), &path).unwrap();
        assert_eq!(read.tensors["a"].iter().copied().collect::<Vec<_>>(), [1.5, -2.0], "{number}");
        read.write(&path).unwrap();
        assert!(fs::read(&path).unwrap().windows(5).any(|part| part == b"\"F32\""), "{number}");
        assert_eq!(Checkpoint::read(&path).unwrap(), read);
        for cut in 0..values.len() {
            let error = Checkpoint::parse(&of_type(number, &values[..cut]), &path).unwrap_err();
            assert!(matches!(error, CheckpointError::Malformed { .. }), "{number}, {cut}: {error}");
        }
    }
}

#[test]
fn another_type_a_missing_tensor_and_another_shape_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, of_type("I64", &[0; 16])).unwrap();
    let text = Checkpoint::read(&path).unwrap_err().to_string();
    let expected = "tensor a has type I64; expected F32, F16, BF16 or F64: use a model of GoogLeNet, or convert the file";
    assert!(text.ends_with(expected), "{text}");

    let (_, _, small) = checkpoint(&[vec![2, 3]], 1);
    let text = small.to_flat(&layout(&[vec![2, 3], vec![4]])).unwrap_err().to_string();
    assert!(text.starts_with("tensor layer1/weights [4] is missing among the checkpoint's 1;"), "{text}");
    let text = small.to_flat(&layout(&[vec![3, 2]])).unwrap_err().to_string();
    assert_eq!(text, "tensor layer0/weights: expected shape [3, 2], found [2, 3] in the checkpoint");

    let text = Checkpoint::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(text.starts_with("cannot read checkpoint ") && text.contains("none: "), "{text}");
    let text = small.write(&folder.path().join("no/folder")).unwrap_err().to_string();
    assert!(text.starts_with("cannot write checkpoint ") && text.contains("folder: "), "{text}");
}

#[test]
fn tensors_beyond_the_layout_are_left_out() {
    let (_, values, large) = checkpoint(&[vec![2, 3], vec![4]], 1);
    assert_eq!(large.to_flat(&layout(&[vec![2, 3]])).unwrap(), values[..6]);
}
