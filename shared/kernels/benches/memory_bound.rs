//! The kernels that wait for memory, at the sizes of GoogLeNet's first layers and batch 16: bytes that must
//! at least be read and written, a second.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{
    AveragePool, Bits, Buffer, Context, Dense, DenseParameters, Isa, Lrn, Map, MapMut, MaxPool,
    ParameterGradients, Pool, Shape, Share, State, Update, blocks, cross_entropy, dequantise, dropout,
    from_bf16, largest, momentum_update_ahead, peak::triad, quantise, to_bf16,
};
use std::time::Duration;

const BATCH: usize = 16;

/// A measurement of `run`, which moves `bytes`.
fn measure(
    group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    bytes: usize,
    mut run: impl FnMut(),
) {
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(name, |bencher| bencher.iter(&mut run));
}

fn filled(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    buffer.iter_mut().enumerate().for_each(|(i, value)| *value = (i * 7919 % 1009) as f32 / 500.0 - 1.0);
    buffer
}

fn shape(channels: usize, side: usize) -> Shape {
    Shape { batch: BATCH, blocks: blocks(channels), height: side, width: side }
}

fn memory_bound(criterion: &mut Criterion) {
    let isa = Isa::detect();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let pool = Pool::new(threads).expect("threads start");
    let mut group = criterion.benchmark_group(format!("{} on {threads} threads", isa.name()));
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));

    let lrn = Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 };
    for channels in [64, 192] {
        let shape = shape(channels, 56);
        let (x, dy, mut out) = (filled(shape.len()), filled(shape.len()), Buffer::zeroed(shape.len()));
        let bytes = shape.len() * 4;
        let mut scratch = Buffer::zeroed(lrn.scratch_len(channels, &pool));
        measure(&mut group, &format!("lrn forward {channels}x56x56"), 2 * bytes, || {
            let context = Context { isa, pool: &pool, scratch: &mut scratch };
            lrn.forward(context, Map::whole(&x, shape), channels, MapMut::whole(&mut out, shape));
        });
        measure(&mut group, &format!("lrn backward {channels}x56x56"), 3 * bytes, || {
            let (x, dy) = (Map::whole(&x, shape), Map::whole(&dy, shape));
            let context = Context { isa, pool: &pool, scratch: &mut scratch };
            lrn.backward(context, x, dy, channels, true, MapMut::whole(&mut out, shape));
        });
    }

    let halve = MaxPool { kernel: 3, stride: 2, padding: 0, rectified: true };
    let branch = MaxPool { kernel: 3, stride: 1, padding: 1, rectified: true };
    for (what, max, channels, side) in
        [("3x3/2", halve, 64, 112), ("3x3/2", halve, 192, 56), ("3x3/1", branch, 256, 28)]
    {
        let from = shape(channels, side);
        let to = shape(channels, max.output_size(side));
        let (x, mut y, mut dx) = (filled(from.len()), filled(to.len()), Buffer::zeroed(from.len()));
        let mut indices = vec![0; to.len()];
        let bytes = 4 * from.len() + 5 * to.len();
        measure(&mut group, &format!("max pool {what} forward {channels}x{side}x{side}"), bytes, || {
            max.forward(
                Context { isa, pool: &pool, scratch: &mut [] },
                Map::whole(&x, from),
                MapMut::whole(&mut y, to),
                Some(&mut indices),
            );
        });
        measure(&mut group, &format!("max pool {what} backward {channels}x{side}x{side}"), bytes, || {
            let dy = Map::whole(&y, to);
            max.backward(
                Context { isa, pool: &pool, scratch: &mut [] },
                dy,
                &indices,
                false,
                MapMut::whole(&mut dx, from),
            );
        });
    }
    let average = AveragePool { kernel: 5, stride: 3 };
    let (from, to) = (shape(512, 14), shape(512, 4));
    let (x, mut y) = (filled(from.len()), Buffer::zeroed(to.len()));
    measure(&mut group, "average pool 5x5/3 forward 512x14x14", 4 * (from.len() + to.len()), || {
        average.forward(
            Context { isa, pool: &pool, scratch: &mut [] },
            Map::whole(&x, from),
            MapMut::whole(&mut y, to),
        );
    });

    let dense = Dense { inputs: 2048, outputs: 1024 };
    let (x, dy, w, bias) = (filled(BATCH * 2048), filled(BATCH * 1024), filled(2048 * 1024), filled(1024));
    let (mut y, mut dx) = (filled(BATCH * 1024), filled(BATCH * 2048));
    let (mut dw, mut db) = (filled(2048 * 1024), filled(1024));
    let bytes = 4 * w.len();
    let mut scratch = Buffer::zeroed(dense.scratch_len(&pool));
    measure(&mut group, "dense forward 2048x1024", bytes, || {
        let context = Context { isa, pool: &pool, scratch: &mut scratch };
        dense.forward(context, BATCH, &x, DenseParameters { weights: &w, bias: &bias }, true, &mut y);
    });
    measure(&mut group, "dense input gradient 2048x1024", bytes, || {
        let context = Context { isa, pool: &pool, scratch: &mut scratch };
        dense.backward_input(context, BATCH, &dy, &w, &mut dx);
    });
    measure(&mut group, "dense weight gradient 2048x1024", bytes, || {
        let context = Context { isa, pool: &pool, scratch: &mut scratch };
        dense.backward_weights(
            context,
            BATCH,
            &x,
            &dy,
            ParameterGradients { weights: &mut dw, bias: &mut db },
        );
    });

    const VALUES: usize = 4 << 20;
    // Values of a block of the parameters.
    const BLOCK: usize = 1 << 18;
    let (mut gradient, mut w) = (filled(VALUES), filled(VALUES));
    let (mut v, mut average) = (filled(VALUES), filled(VALUES));
    let update = Update { rate: 0.01, momentum: 0.9, decay: 2e-4 };
    measure(&mut group, "triad, one thread", 12 * VALUES, || triad(isa, 0.5, &gradient, &w, &mut v));
    measure(&mut group, "momentum update ahead, one thread", 32 * VALUES, || {
        let state = State { weights: &mut w, velocity: &mut v, average: &mut average };
        momentum_update_ahead(isa, &update, 1e-4, 0.01, &mut gradient, state);
    });
    let mut narrow = vec![half::bf16::ZERO; VALUES];
    measure(&mut group, "to bf16, one thread", 6 * VALUES, || to_bf16(isa, &gradient, &mut narrow));
    measure(&mut group, "from bf16, one thread", 6 * VALUES, || from_bf16(isa, &narrow, &mut w));
    for bits in [Bits::Eight, Bits::Four, Bits::One] {
        let mut codes = vec![0; bits.size(VALUES)];
        let moved = 4 * VALUES + codes.len();
        // As a worker does it: to what was left over a gradient is added, and the sum is coded.
        measure(&mut group, &format!("add and code, {bits:?}, one thread"), moved + 8 * VALUES, || {
            w.iter_mut().zip(gradient.iter()).for_each(|(rest, value)| *rest += value);
            quantise(isa, bits, &mut w, &mut codes);
        });
        measure(&mut group, &format!("decode, {bits:?}, one thread"), moved, || {
            dequantise(isa, bits, &codes, &mut v);
        });
    }
    for share in [Share::Percent, Share::Permille] {
        let mut codes = vec![Vec::new(); VALUES / BLOCK];
        measure(&mut group, &format!("add and code, {share:?}, one thread"), 16 * VALUES, || {
            w.iter_mut().zip(gradient.iter()).for_each(|(rest, value)| *rest += value);
            for (values, codes) in w.chunks_mut(BLOCK).zip(&mut codes) {
                codes.clear();
                largest::encode(isa, share, values, codes);
            }
        });
        let moved: usize = codes.iter().map(Vec::len).sum();
        measure(&mut group, &format!("decode, {share:?}, one thread"), moved + 4 * VALUES, || {
            codes.iter().zip(v.chunks_mut(BLOCK)).for_each(|(codes, to)| largest::decode(codes, to));
        });
        measure(&mut group, &format!("add decoded, {share:?}, one thread"), moved, || {
            codes.iter().zip(v.chunks_mut(BLOCK)).for_each(|(codes, to)| largest::add(codes, to));
        });
    }

    let mut rows = filled(BATCH * 1024);
    let seeds: Vec<u64> = (0..BATCH as u64).collect();
    measure(&mut group, "dropout of 16x1024", 8 * rows.len(), || dropout(isa, &seeds, 0.4, &mut rows));
    let (logits, labels) = (filled(BATCH * 1000), [1; BATCH]);
    let (mut losses, mut slope) = ([0.0; BATCH], filled(BATCH * 1000));
    measure(&mut group, "cross entropy of 16x1000", 8 * logits.len(), || {
        cross_entropy(isa, 1000, &logits, &labels, 1.0, &mut losses, &mut slope);
    });
    group.finish();
}

criterion_group!(benches, memory_bound);
criterion_main!(benches);
