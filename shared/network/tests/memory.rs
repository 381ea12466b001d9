//! The memory that an engine says it takes is the memory that it takes.

use std::alloc::System;
use std::sync::{Arc, Barrier};

use kernels::{Isa, Pool};
use network::{Architecture, Engine, GoogLeNet, Precision, Variant};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What an engine has besides its buffers: lists of them, places in the arena, times of the layers.
const BOOKS: u64 = 64 << 10;

/// A pool whose threads have all started. A thread takes and frees memory of its own as it starts and as it ends, at any
/// time, so that pools are started before anything is measured and live as long as the test.
fn started_pool(threads: usize) -> Arc<Pool> {
    let pool = Pool::new(threads).unwrap();
    let all = Barrier::new(threads);
    pool.run(threads, |_| {
        all.wait();
    });
    Arc::new(pool)
}

/// One test alone: the counter counts for the whole process.
#[test]
fn an_engine_takes_the_bytes_that_were_planned() {
    let paper = Architecture::paper();
    let pools = [1, 2, 3].map(started_pool);
    let mut cases = 0;
    for (variant, input_size, width, classes, auxiliary_heads) in [
        (Variant::Table, 224, 1.0, 1000, true),
        (Variant::Table, 32, 0.25, 2, false),
        (Variant::Operations, 97, 0.5, 10, true),
        (Variant::Naive, 80, 0.25, 7, true),
    ] {
        let architecture =
            Architecture { variant, input_size, width, classes, auxiliary_heads, ..paper.clone() };
        let network = Arc::new(GoogLeNet::new(&architecture).unwrap());
        for (batch, pool) in [1, 2, 5].into_iter().zip(&pools) {
            let threads = pool.threads();
            for isa in Isa::available() {
                for precision in [Precision::F32, Precision::Bf16] {
                    let region = Region::new(ALLOCATOR);
                    let planned = Engine::training_bytes(&network, batch, precision, isa, pool);
                    let planning = region.change();
                    let held = |change: stats_alloc::Stats| {
                        change.bytes_allocated.saturating_sub(change.bytes_deallocated) as u64
                    };
                    let most = planning.bytes_allocated as u64;
                    assert!(held(planning) == 0 && most < BOOKS, "planning took {most} bytes");
                    let forward = Engine::forward_bytes(&network, batch, precision, isa, pool);
                    type Make = fn(Arc<GoogLeNet>, usize, Precision, Isa, Arc<Pool>) -> Engine;
                    for (make, planned) in [(Engine::new as Make, planned), (Engine::forward_only, forward)] {
                        let region = Region::new(ALLOCATOR);
                        let engine = make(network.clone(), batch, precision, isa, pool.clone());
                        let taken = held(region.change());
                        drop(engine);
                        assert!(
                            (planned..planned + BOOKS).contains(&taken),
                            "{architecture:?}, batch {batch}, {threads} threads, {precision:?}, {}: planned {planned}, \
                             taken {taken}",
                            isa.name()
                        );
                        cases += 1;
                    }
                    assert!(forward < planned);
                }
            }
        }
    }
    assert!(cases >= 4 * 3 * 2 * 2);
}
