//! Caffe models as other writers make them: values in doubles and halves, layers in another order, and a
//! classifier with a name of its own.

use formats::Message;
use formats::caffe::parse;
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;

/// The values of a blob, by the field and number type in which a writer keeps them.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Floats,
    Doubles,
    /// Doubles one by one, each with a key of its own.
    UnpackedDoubles,
    RawDoubles,
    RawFloats,
    RawHalves,
}

const ALL: [Stored; 6] = [
    Stored::Floats,
    Stored::Doubles,
    Stored::UnpackedDoubles,
    Stored::RawDoubles,
    Stored::RawFloats,
    Stored::RawHalves,
];

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn doubles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect()
}

/// Halves of values that halves can hold: the exponent has 5 bits, the fraction 10.
fn halves(values: &[f32]) -> Vec<u8> {
    let half = |value: f32| {
        let bits = value.to_bits();
        let exponent = ((bits >> 23 & 0xff) as i32 - 127 + 15) as u32;
        let rest = if value == 0.0 { 0 } else { exponent << 10 | bits >> 13 & 0x3ff };
        ((bits >> 16 & 0x8000) | rest) as u16
    };
    values.iter().flat_map(|&value| half(value).to_le_bytes()).collect()
}

fn blob(shape: &[usize], values: &[f32], stored: Stored) -> Vec<u8> {
    let (mut blob, mut extents) = (Message::default(), Message::default());
    shape.iter().for_each(|&extent| {
        extents.integer(1, extent as i64);
    });
    blob.message(7, &extents);
    match stored {
        Stored::Floats => blob.bytes(5, floats(values)),
        Stored::Doubles => blob.bytes(8, doubles(values)),
        Stored::UnpackedDoubles => {
            let one = |value: &[u8]| [&[8 << 3 | 1], value].concat();
            return [blob.into_bytes(), doubles(values).chunks(8).flat_map(one).collect()].concat();
        }
        Stored::RawDoubles => blob.bytes(12, doubles(values)),
        Stored::RawFloats => blob.integer(10, 1).bytes(12, floats(values)),
        // The bytes may come before their type.
        Stored::RawHalves => blob.bytes(12, halves(values)).integer(10, 2),
    };
    blob.into_bytes()
}

/// A layer that reads `bottom` and puts out `top`, with weights of the shape and a bias of zeros.
fn layer(name: &str, [bottom, top]: [&str; 2], shape: &[usize], values: &[f32], stored: Stored) -> Message {
    let kind = if shape.len() == 4 { "Convolution" } else { "InnerProduct" };
    let mut layer = Message::default();
    layer.bytes(1, name).bytes(2, kind);
    between(&mut layer, [bottom, top]);
    layer.bytes(7, blob(shape, values, stored));
    layer.bytes(7, blob(&shape[..1], &vec![0.0; shape[0]], stored));
    layer
}

/// A layer without weights.
fn plain(name: &str, [bottom, top]: [&str; 2]) -> Message {
    let mut layer = Message::default();
    layer.bytes(1, name).bytes(2, "ReLU");
    between(&mut layer, [bottom, top]);
    layer
}

/// Says what a layer reads and puts out; what has no name is left out, as some writers do.
fn between(layer: &mut Message, names: [&str; 2]) {
    (3..).zip(names).filter(|(_, name)| !name.is_empty()).for_each(|(field, name)| {
        layer.bytes(field, name);
    });
}

fn net(layers: &[Message]) -> Vec<u8> {
    let mut net = Message::default();
    net.bytes(1, "GoogleNet");
    layers.iter().for_each(|layer| {
        net.message(100, layer);
    });
    net.into_bytes()
}

/// Two filters of 1 x 1 on three colours.
const COLOURS: [f32; 6] = [0.5, -2.0, 3.0, 4.0, 1024.0, -0.0625];

fn small(stored: Stored) -> Vec<u8> {
    net(&[layer("conv1", ["data", "conv1"], &[2, 3, 1, 1], &COLOURS, stored)])
}

#[test]
fn values_are_read_from_every_field_and_number_type() {
    let expected = ArrayD::from_shape_vec(IxDyn(&[2, 3, 1, 1]), vec![3.0, -2.0, 0.5, -0.0625, 1024.0, 4.0]);
    let expected = expected.unwrap();
    for stored in ALL {
        let model = parse(&small(stored)).unwrap_or_else(|error| panic!("{stored:?}: {error}"));
        assert_eq!(model.tensors["conv1/weights"], expected, "{stored:?}");
        assert_eq!(model.tensors["conv1/bias"], ArrayD::<f32>::zeros(IxDyn(&[2])), "{stored:?}");
        assert_eq!(model.metadata["network"], "GoogleNet");
    }
}

#[test]
fn values_that_cannot_be_read_are_named_with_their_field() {
    let reason = |weights: &mut Message| {
        let mut layer = Message::default();
        layer.bytes(1, "conv1").bytes(2, "Convolution").message(7, weights).message(7, weights);
        parse(&net(&[layer])).unwrap_err().to_string()
    };
    let mut integers = Message::default();
    integers.integer(10, 3).bytes(12, [0; 24]);
    let mut odd = Message::default();
    odd.integer(10, 2).bytes(12, [0; 5]);
    let mut twice = Message::default();
    twice.bytes(5, floats(&COLOURS)).bytes(8, doubles(&COLOURS));
    for (blob, expected) in [
        (&mut integers, "its raw_data is of type 3; expected 0 (double), 1 (float) or 2 (half)"),
        (&mut odd, "its raw_data has 5 bytes, which values of 2 bytes do not fill"),
        (&mut twice, "more than one of data, double_data and raw_data holds values"),
    ] {
        assert_eq!(reason(blob), format!("layer conv1, blob 0: {expected}"));
    }
    let mut cut = Message::default();
    let text = reason(cut.bytes(8, [0; 15]));
    assert!(text.ends_with("packed numbers do not fill a multiple of 8 bytes"), "{text}");
}

#[test]
fn the_layer_with_three_inputs_reads_the_images_wherever_it_stands() {
    let inner = [1.0, 2.0, 3.0, 4.0];
    let model = parse(&net(&[
        layer("conv2", ["conv1", "conv2"], &[2, 2, 1, 1], &inner, Stored::Floats),
        layer("conv1", ["data", "conv1"], &[2, 3, 1, 1], &COLOURS, Stored::Floats),
    ]))
    .unwrap();
    let values = |name: &str| model.tensors[name].iter().copied().collect::<Vec<_>>();
    assert_eq!(values("conv1/weights"), [3.0, -2.0, 0.5, -0.0625, 1024.0, 4.0]);
    assert_eq!(values("conv2/weights"), inner);
}

/// The three heads as `caffe train` writes them: ReLU and dropout of a head in place. `names` are those of
/// the three classifiers.
fn heads(names: [&str; 3], [fc, pool]: [&str; 2]) -> Vec<u8> {
    let dense = |name: &str, bottom: &str, inputs: usize, value: f32| {
        layer(name, [bottom, name], &[2, inputs], &vec![value; 2 * inputs], Stored::RawHalves)
    };
    net(&[
        dense("loss1/fc", "loss1/conv", 2048, 0.0),
        plain("loss1/relu_fc", ["loss1/fc", fc]),
        dense(names[0], fc, 1024, 1.0),
        dense("loss2/fc", "loss2/conv", 2048, 0.0),
        plain("loss2/relu_fc", ["loss2/fc", fc]),
        dense(names[1], fc, 1024, 2.0),
        plain("pool5/drop", ["pool5/7x7_s1", pool]),
        dense(names[2], pool, 1024, 3.0),
    ])
}

#[test]
fn a_classifier_with_a_new_name_is_found_by_its_place() {
    let places = [["loss1/fc", "pool5/7x7_s1"], ["dropped", "pooled"]];
    let published = ["loss1/classifier", "loss2/classifier", "loss3/classifier"];
    for (names, place) in [
        (published, places[0]),
        (["loss1/classifier", "loss2/classifier", "flowers"], places[0]),
        (["loss1/flowers", "loss2/flowers", "loss3/flowers"], places[0]),
        (["loss1/flowers", "loss2/flowers", "loss3/flowers"], places[1]),
        // Only the place of two auxiliary classifiers is told by their names.
        (["loss1/classifier", "loss2/classifier", "flowers"], ["", ""]),
    ] {
        let model = parse(&heads(names, place)).unwrap();
        let classifier = &model.tensors["loss3/classifier/weights"];
        assert!(classifier.iter().all(|&value| value == 3.0), "{names:?} {place:?}");
        assert!(model.tensors.contains_key("loss3/classifier/bias"));
        assert!(names[2] == published[2] || !model.tensors.contains_key(&format!("{}/weights", names[2])));
        assert_eq!(model.tensors.len(), 10, "{names:?}");
    }
}

#[test]
fn a_classifier_that_is_not_the_only_one_of_its_place_keeps_its_name() {
    let model = parse(&heads(["one", "two", "three"], ["", ""])).unwrap();
    assert!(!model.tensors.contains_key("loss3/classifier/weights"));
    assert!(["one", "two", "three"].iter().all(|name| model.tensors.contains_key(&format!("{name}/bias"))));
    let narrow = net(&[layer("fc", ["data", "fc"], &[1, 1000], &[0.5; 1000], Stored::Floats)]);
    assert!(parse(&narrow).unwrap().tensors.contains_key("fc/weights"));
}

#[test]
fn a_network_whose_name_is_in_another_encoding_is_read() {
    let named = [b"\x0a\x02\xb7\xd6".as_slice(), &small(Stored::Floats)[11..]].concat();
    assert_eq!(parse(&named).unwrap().metadata["network"], "\u{fffd}\u{fffd}");
}

proptest! {
    /// A file that is cut or damaged is a model or is refused: the reader does not panic.
    #[test]
    fn what_is_damaged_is_read_or_refused(
        stored in prop::sample::select(ALL.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut model = small(stored);
        for (place, value) in damage {
            let place = place.index(model.len());
            model[place] = value;
        }
        for bytes in [&model[..], &model[..cut.index(model.len())]] {
            match parse(bytes) {
                Ok(found) => prop_assert!(!found.tensors.is_empty()),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
            let _ = formats::Other::of(bytes);
        }
    }
}
