//! Tests of the dense layer: every instruction set against the reference, and equal bits on any number of
//! threads.

use super::*;
use crate::Isa;
use crate::testing::shapes::{Computation, Drawn, MUCH, Operand, layers};
use crate::testing::{Guarded, assert_close, context, random, vector_isas};
use proptest::prelude::*;

/// A layer's operands.
struct Case {
    dense: Dense,
    batch: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(inputs: usize, outputs: usize, batch: usize, seed: u64) -> Case {
        Case {
            dense: Dense { inputs, outputs },
            batch,
            x: random(batch * inputs, seed),
            w: random(inputs * outputs, seed ^ 1 << 20),
            bias: random(outputs, seed ^ 2 << 20),
            dy: random(batch * outputs, seed ^ 3 << 20),
        }
    }

    /// Runs all passes and returns `y`, `dx`, `dw`, `db`.
    fn run(&self, isa: Isa, threads: usize, relu: bool) -> [Vec<f32>; 4] {
        let Case { dense, batch, x, w, bias, dy } = self;
        let pool = Pool::new(threads).unwrap();
        let mut results =
            [dy.len(), x.len(), w.len(), bias.len()].map(|len| Guarded::<f32>::new(len, f32::NAN));
        let [y, dx, dw, db] = &mut results;
        let parameters = DenseParameters { weights: w, bias };
        dense.forward(context(isa, &pool, &mut []), *batch, x, parameters, relu, y.values());
        let mut scratch = Guarded::<f32>::new(dense.scratch_len(&pool), f32::NAN);
        dense.backward_input(context(isa, &pool, scratch.values()), *batch, dy, w, dx.values());
        let gradients = ParameterGradients { weights: dw.values(), bias: db.values() };
        dense.backward_weights(context(isa, &pool, scratch.values()), *batch, x, dy, gradients);
        scratch.check(isa.name());
        results.map(|mut result| {
            result.check(isa.name());
            result.values().to_vec()
        })
    }
}

/// Sizes around a vector, a tile, a task and a packed panel.
fn edges() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..20usize,
        prop::sample::select(vec![15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 145])
    ]
}

/// Panics unless every instruction set computes what the reference does.
fn check(inputs: usize, outputs: usize, batch: usize, relu: bool, seed: u64, threads: usize) {
    let case = Case::new(inputs, outputs, batch, seed);
    let expected = case.run(Isa::scalar(), 1, relu);
    // Sums of many terms are compared on their own scale.
    let floors = [inputs, outputs, batch, batch].map(|terms| (terms as f32 / 9.0).sqrt().max(1.0));
    for isa in vector_isas::<f32>() {
        let found = case.run(isa, threads, relu);
        for (index, what) in ["y", "dx", "dw", "db"].iter().enumerate() {
            let name = format!("{what} of dense {inputs} -> {outputs}, batch {batch}, {}", isa.name());
            assert_close(&name, &found[index], &expected[index], 3e-5, floors[index]);
        }
    }
}

proptest! {
    #[test]
    fn products_are_those_of_the_reference(
        inputs in edges(), outputs in edges(), batch in prop_oneof![0..14usize, Just(130usize)],
        relu: bool, seed: u16, threads in 1..3usize,
    ) {
        check(inputs, outputs, batch, relu, seed.into(), threads);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_of_networks_are_those_of_the_reference(
        drawn in layers(|computation| matches!(computation, Computation::Dense), MUCH),
        relu: bool, seed: u16, threads in 1..3usize,
    ) {
        let Drawn { layer, batch } = drawn;
        let (Operand::Row { width: inputs }, Operand::Row { width: outputs }) = (layer.input, layer.output) else {
            panic!("a dense layer reads and writes rows");
        };
        check(inputs, outputs, batch, relu, seed.into(), threads);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = Case::new(300, 200, 7, 1);
    for isa in vector_isas::<f32>() {
        let [one, three] = [1, 3].map(|threads| case.run(isa, threads, true));
        assert_eq!(one, three, "{}", isa.name());
    }
}

#[test]
fn a_layer_by_hand() {
    // Two rows of three inputs, two outputs.
    let dense = Dense { inputs: 3, outputs: 2 };
    let (x, w, bias) = ([1.0, 2.0, 3.0, -1.0, 0.0, 1.0], [1.0, 0.0, -1.0, 2.0, 1.0, 0.5], [0.5, -1.0]);
    let dy = [1.0, 2.0, -1.0, 0.5];
    let pool = Pool::new(1).unwrap();
    for isa in crate::testing::all_isas::<f32>() {
        let (mut y, mut dx, mut dw, mut db) = ([9.0; 4], [9.0; 6], [9.0; 6], [9.0; 2]);
        let parameters = DenseParameters { weights: &w, bias: &bias };
        dense.forward(context(isa, &pool, &mut []), 2, &x, parameters, false, &mut y);
        assert_eq!(y, [-1.5, 4.5, -1.5, -2.5], "{}", isa.name());
        dense.forward(context(isa, &pool, &mut []), 2, &x, parameters, true, &mut y);
        assert_eq!(y, [0.0, 4.5, 0.0, 0.0], "{}", isa.name());
        let mut scratch = vec![f32::NAN; dense.scratch_len(&pool)];
        dense.backward_input(context(isa, &pool, &mut scratch), 2, &dy, &w, &mut dx);
        assert_eq!(dx, [5.0, 2.0, 0.0, 0.0, 0.5, 1.25], "{}", isa.name());
        let gradients = ParameterGradients { weights: &mut dw, bias: &mut db };
        dense.backward_weights(context(isa, &pool, &mut scratch), 2, &x, &dy, gradients);
        assert_eq!(dw, [2.0, 2.0, 2.0, 1.5, 4.0, 6.5], "{}", isa.name());
        assert_eq!(db, [0.0, 2.5], "{}", isa.name());
    }
}
