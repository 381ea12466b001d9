//! Layouts, blocks, placement and initial values for arbitrary tensors.

use parameters::{BLOCK_VALUES, Fingerprint, Initialiser, Layout, LayoutError, Tensor, assign};
use proptest::prelude::*;

fn tensor(name: impl Into<String>, shape: &[usize], initialiser: Initialiser) -> Tensor {
    Tensor {
        name: name.into(),
        shape: shape.to_vec(),
        initialiser,
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    }
}

fn initialiser() -> impl Strategy<Value = Initialiser> {
    prop_oneof![
        (-2.0f32..2.0).prop_map(Initialiser::Constant),
        (0.0f32..2.0).prop_map(|bound| Initialiser::Uniform { bound }),
        (0.0f32..2.0).prop_map(|deviation| Initialiser::Normal { deviation }),
    ]
}

/// Small tensors, and a few that need several blocks or end exactly at a block's end.
fn layout() -> impl Strategy<Value = Layout> {
    let shape = prop_oneof![
        6 => prop::collection::vec(1usize..12, 1..5),
        1 => (BLOCK_VALUES - 1..BLOCK_VALUES + 2).prop_map(|values| vec![values]),
        1 => (1usize..4).prop_map(|blocks| vec![blocks, BLOCK_VALUES / 2]),
    ];
    prop::collection::vec((shape, initialiser()), 0..8).prop_map(|tensors| {
        let tensors = tensors.iter().enumerate().map(|(index, (shape, initialiser))| {
            tensor(format!("layer{index}/weights"), shape, *initialiser)
        });
        Layout::new(tensors.collect()).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn blocks_cover_the_vector_exactly_and_never_cross_a_tensor(layout in layout()) {
        let mut end = 0;
        for (index, block) in layout.blocks().iter().enumerate() {
            prop_assert_eq!(block.index as usize, index);
            prop_assert_eq!(block.range.start, end);
            prop_assert!((1..=BLOCK_VALUES).contains(&block.range.len()));
            let tensor = layout.range(block.tensor);
            prop_assert!(tensor.start <= block.range.start && block.range.end <= tensor.end);
            end = block.range.end;
        }
        prop_assert_eq!(end, layout.len());
        for tensor in 0..layout.tensors().len() {
            let pieces = &layout.blocks()[layout.blocks_of(tensor)];
            prop_assert!(pieces.iter().all(|block| block.tensor == tensor));
            let values: usize = pieces.iter().map(|block| block.range.len()).sum();
            prop_assert_eq!(values, layout.range(tensor).len());
        }
    }

    #[test]
    fn every_block_has_one_shard_and_no_two_shards_differ_by_more_than_a_block(layout in layout(), shards in 1usize..9) {
        let placed = assign(&layout, shards);
        prop_assert_eq!(placed.len(), layout.blocks().len());
        let mut loads = vec![0; shards];
        for (block, &shard) in layout.blocks().iter().zip(&placed) {
            loads[shard as usize] += block.range.len();
        }
        let largest = layout.blocks().iter().map(|block| block.range.len()).max().unwrap_or(0);
        let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        prop_assert!(most - least <= largest, "{loads:?}");
        prop_assert_eq!(placed, assign(&layout, shards));
    }

    #[test]
    fn a_block_alone_starts_with_the_values_of_the_whole(layout in layout(), seed: u64) {
        let whole = layout.initial(seed);
        prop_assert_eq!(whole.len(), layout.len());
        for block in layout.blocks() {
            prop_assert_eq!(&layout.initial_values(block, seed)[..], &whole[block.range.clone()]);
        }
    }

    #[test]
    fn serialised_and_read_again_it_is_the_same(layout in layout()) {
        let text = serde_json::to_string(&layout).unwrap();
        let read: Layout = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read.fingerprint(), layout.fingerprint());
        prop_assert_eq!(read, layout);
    }
}

#[test]
fn values_depend_on_seed_and_name_and_not_on_the_neighbours() {
    let uniform = Initialiser::Uniform { bound: 1.0 };
    let alone = Layout::new(vec![tensor("b", &[100], uniform)]).unwrap();
    let behind = Layout::new(vec![tensor("a", &[7], uniform), tensor("b", &[100], uniform)]).unwrap();
    assert_eq!(alone.initial(3)[..], behind.initial(3)[7..]);
    assert_ne!(alone.initial(3), alone.initial(4));
    assert_ne!(behind.initial(3)[..7], behind.initial(3)[7..14]);
}

#[test]
fn values_are_pinned() {
    // Worked out apart from this crate, from the definitions of SHA-256, ChaCha8 and Box-Muller. Other values
    // would mean that every run of every seed changes.
    let layout = Layout::new(vec![
        tensor("u", &[2], Initialiser::Uniform { bound: 0.5 }),
        tensor("n", &[2], Initialiser::Normal { deviation: 0.5 }),
        tensor("c", &[1], Initialiser::Constant(0.2)),
    ])
    .unwrap();
    assert_eq!(layout.initial(1), [0.38661328, -0.4467494, -0.114981264, -0.45879713, 0.2]);
}

#[test]
fn draws_have_the_moments_asked_for() {
    let count = 200_000;
    let moments = |initialiser| {
        let values = Layout::new(vec![tensor("t", &[count], initialiser)]).unwrap().initial(7);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count as f64;
        let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count as f64;
        let fourth = values.iter().map(|&v| f64::from(v).powi(4)).sum::<f64>() / count as f64;
        (mean, square, fourth / square.powi(2), values)
    };
    let (mean, square, kurtosis, values) = moments(Initialiser::Uniform { bound: 0.3 });
    assert!(mean.abs() < 2e-3 && (square / 0.03 - 1.0).abs() < 0.01 && (kurtosis - 1.8).abs() < 0.02);
    assert!(values.iter().all(|v| v.abs() <= 0.3));
    let (mean, square, kurtosis, _) = moments(Initialiser::Normal { deviation: 0.1 });
    assert!(mean.abs() < 1e-3 && (square / 0.01 - 1.0).abs() < 0.02 && (kurtosis - 3.0).abs() < 0.1);
}

#[test]
fn a_fingerprint_sees_every_property() {
    let base = tensor("a", &[2, 3], Initialiser::Uniform { bound: 1.0 });
    let variants = [
        Tensor { name: "b".into(), ..base.clone() },
        Tensor { shape: vec![3, 2], ..base.clone() },
        Tensor { initialiser: Initialiser::Normal { deviation: 1.0 }, ..base.clone() },
        Tensor { initialiser: Initialiser::Uniform { bound: 1.5 }, ..base.clone() },
        Tensor { rate_multiplier: 2.0, ..base.clone() },
        Tensor { decay_multiplier: 0.0, ..base.clone() },
    ];
    let of = |tensor: &Tensor| Layout::new(vec![tensor.clone()]).unwrap().fingerprint();
    for variant in &variants {
        assert_ne!(of(variant), of(&base), "{variant:?}");
    }
}

#[test]
fn a_fingerprint_is_shown_short_and_travels_whole() {
    let fingerprint = Layout::new(vec![tensor("a", &[2], Initialiser::Constant(0.0))]).unwrap().fingerprint();
    let shown = fingerprint.to_string();
    assert_eq!(shown.len(), 16);
    assert!(fingerprint.to_hex().starts_with(&shown));
    assert_eq!(Fingerprint::try_from(&fingerprint.as_bytes()[..]), Ok(fingerprint));
    let json = serde_json::to_string(&fingerprint).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    let text = Fingerprint::try_from(&[1, 2, 3][..]).unwrap_err().to_string();
    assert_eq!(text, "fingerprint: expected 32 bytes, found 3 bytes");
    // Two bytes a letter: a cut between digits would fall inside a character.
    let text = Fingerprint::try_from("é".repeat(32)).unwrap_err().to_string();
    assert!(text.starts_with("fingerprint: expected 64 hexadecimal digits, found"), "{text}");
}

#[test]
fn the_first_difference_shows_both_sides() {
    let constant = Initialiser::Constant(0.0);
    let layout = |tensors: &[Tensor]| Layout::new(tensors.to_vec()).unwrap();
    let conv1 = tensor("conv1/weights", &[64, 3, 7, 7], constant);
    let conv2 = tensor("conv2/weights", &[64, 64, 1, 1], constant);
    let wider = Tensor { shape: vec![96, 64, 1, 1], ..conv2.clone() };
    let still = Tensor { rate_multiplier: 0.0, ..conv2.clone() };
    let expected = layout(&[conv1.clone(), conv2.clone()]);
    assert_eq!(expected.first_difference(&expected), None);
    let text = |found: &[Tensor]| expected.first_difference(&layout(found)).unwrap().to_string();
    assert_eq!(
        text(&[conv1.clone(), wider]),
        "tensor 1: expected conv2/weights [64, 64, 1, 1], found conv2/weights [96, 64, 1, 1]"
    );
    assert_eq!(
        text(std::slice::from_ref(&conv1)),
        "tensor 1: expected conv2/weights [64, 64, 1, 1], found none"
    );
    assert_eq!(
        text(&[conv1, still]),
        "tensor 1: expected conv2/weights [64, 64, 1, 1] (constant 0, rate multiplier 1, decay multiplier 1), \
         found conv2/weights [64, 64, 1, 1] (constant 0, rate multiplier 0, decay multiplier 1)"
    );
}

#[test]
fn unusable_tensors_are_named() {
    let constant = Initialiser::Constant(0.0);
    let text = |tensors: &[Tensor]| Layout::new(tensors.to_vec()).unwrap_err().to_string();
    let good = tensor("a", &[2], constant);
    assert_eq!(
        text(&[good.clone(), good.clone()]),
        "tensors 0 and 1 are both named a; expected unique names"
    );
    assert_eq!(
        text(&[good.clone(), tensor("b", &[2, 0], constant)]),
        "tensor 1 (b): shape is [2, 0]; expected at least one dimension, each at least 1"
    );
    assert!(text(&[tensor("b", &[], constant)]).contains("shape is []"));
    assert!(text(&[tensor("", &[1], constant)]).contains("name is an empty one"));
    assert!(text(&[tensor("b", &[1], Initialiser::Uniform { bound: f32::NAN })]).contains("uniform NaN"));
    assert!(
        text(&[Tensor { rate_multiplier: -1.0, ..good.clone() }]).contains("rate multiplier is -1"),
        "negative"
    );
    for shape in [[1 << 20, 1 << 20], [usize::MAX, 2]] {
        let error = Layout::new(vec![good.clone(), tensor("b", &shape, constant)]).unwrap_err();
        assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
    }
    let json = serde_json::to_string(&[&good, &good]).unwrap();
    let text = serde_json::from_str::<Layout>(&json).unwrap_err().to_string();
    assert!(text.contains("both named a"), "{text}");
}
