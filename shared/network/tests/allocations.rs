//! After the first step nothing is allocated: an engine has all its memory from the start.

use std::alloc::System;
use std::sync::Arc;

use kernels::{Isa, Pool};
use ndarray::Array4;
use network::{Architecture, Engine, GoogLeNet, Precision};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test alone: the counter counts for the whole process.
#[test]
fn steps_allocate_nothing() {
    let architecture = Architecture { classes: 7, input_size: 80, width: 0.25, ..Architecture::paper() };
    let network = Arc::new(GoogLeNet::new(&architecture).unwrap());
    let parameters = network.layout().initial(1);
    let mut gradients = vec![0.0; parameters.len()];
    let images = Array4::from_shape_fn((3, 3, 80, 80), |(n, c, y, x)| ((n + 2 * c + 3 * y + x) % 11) as f32);
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::scalar()) {
        for (threads, precision) in [(1, Precision::F32), (2, Precision::F32), (2, Precision::Bf16)] {
            let pool = Arc::new(Pool::new(threads).unwrap());
            let mut engine = Engine::new(network.clone(), 3, precision, isa, pool);
            let mut step = || {
                engine.load(&parameters);
                engine.train(images.view(), &[0, 3, 6], Some(&[1, 2, 3]), &mut gradients, &mut |_, _| {});
            };
            step();
            let region = Region::new(ALLOCATOR);
            step();
            step();
            let change = region.change();
            assert_eq!(
                (change.allocations, change.reallocations),
                (0, 0),
                "two steps on {threads} threads, {precision:?}, {}: {change:?}",
                isa.name()
            );
        }
    }
}
