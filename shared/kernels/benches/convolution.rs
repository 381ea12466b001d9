//! The convolutions of GoogLeNet at batch 16, beside the arithmetic peak of the machine: operations a second,
//! where a multiply-add is two ("Gelem/s" reads as GFLOP/s).
//!
//! `cargo bench -p kernels --bench convolution -- 3x3` runs the lines whose name has "3x3".

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use kernels::peak::fma_peak;
use kernels::{
    Buffer, Context, Convolution, ConvolutionParameters, Epilogue, Isa, Map, MapMut, ParameterGradients,
    PlanarImages, Pool, Shape, Stem, Value, bf16,
};
use std::time::Duration;

const BATCH: usize = 16;

/// Segments of the input, output channels, kernel, side of the maps.
type Layer = (&'static [usize], usize, usize, usize);

/// One of each kind: large and small maps, few and many channels, a concatenated input, blocks with holes.
const LAYERS: [Layer; 10] = [
    (&[64], 64, 1, 56),
    (&[64], 192, 3, 56),
    (&[192], 96, 1, 28),
    (&[128], 192, 3, 28),
    (&[32], 96, 5, 28),
    (&[192, 208, 48, 64], 160, 1, 14),
    (&[160], 320, 3, 14),
    (&[24], 64, 5, 14),
    (&[256, 320, 128, 128], 384, 1, 7),
    (&[192], 384, 3, 7),
];

/// Memory of `len` values.
fn filled<T: Value>(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(T::floats(len));
    let values = T::of_mut(&mut buffer).iter_mut().enumerate();
    values.for_each(|(i, value)| *value = T::narrow((i * 7919 % 1009) as f32 / 500.0 - 1.0));
    buffer
}

fn layer<T: Value>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    isa: Isa,
    pool: &Pool,
    (inputs, outputs, kernel, side): Layer,
) {
    let conv = Convolution::new(inputs.to_vec(), outputs, kernel, [side; 2]);
    let shape = |blocks| Shape { batch: BATCH, blocks, height: side, width: side };
    let (from, to) = (shape(conv.input_blocks()), shape(conv.output_blocks()));
    let (mut x, mut y) = (filled::<T>(from.len()), filled::<T>(to.len()));
    let (x, y) = (&mut T::of_mut(&mut x)[..from.len()], &mut T::of_mut(&mut y)[..to.len()]);
    let (mut dw, mut db) = (filled::<f32>(conv.weights_len()), filled::<f32>(outputs));
    let [mut forward, mut backward] = [0, 1].map(|_| Buffer::zeroed(T::floats(conv.packed_len::<T>(isa))));
    let (forward, backward) = (T::of_mut(&mut forward), T::of_mut(&mut backward));
    conv.pack_forward(isa, pool, &dw, forward);
    conv.pack_backward(isa, pool, &dw, backward);
    let bias = db.clone();
    let mut scratch = Buffer::zeroed(conv.scratch_len::<T>(isa, pool));

    let channels: usize = inputs.iter().sum();
    let value = if size_of::<T>() == size_of::<f32>() { "f32" } else { "bf16" };
    let name = format!("{value} {} {channels}>{outputs} {side}x{side}", conv.kernel_name::<T>(isa));
    group.throughput(Throughput::Elements((2 * BATCH * side * side * conv.weights_len()) as u64));
    group.bench_function(format!("{name} forward"), |bencher| {
        bencher.iter(|| {
            let y = MapMut::whole(y, to);
            let context = Context { isa, pool, scratch: &mut scratch };
            conv.forward(
                context,
                Map::whole(x, from),
                ConvolutionParameters { packed: forward, bias: &bias },
                true,
                y,
            );
        });
    });
    group.bench_function(format!("{name} input gradient"), |bencher| {
        bencher.iter(|| {
            let x = MapMut::whole(x, from);
            let context = Context { isa, pool, scratch: &mut scratch };
            conv.backward_input(context, Map::whole(y, to), backward, Epilogue::default(), x);
        });
    });
    group.bench_function(format!("{name} weight gradient"), |bencher| {
        bencher.iter(|| {
            let (x, dy) = (Map::whole(x, from), Map::whole(y, to));
            let context = Context { isa, pool, scratch: &mut scratch };
            conv.backward_weights(context, x, dy, ParameterGradients { weights: &mut dw, bias: &mut db });
        });
    });
}

fn stem(group: &mut BenchmarkGroup<'_, WallTime>, isa: Isa, pool: &Pool) {
    const SIDE: usize = 224;
    let stem = Stem { input_channels: 3, output_channels: 64, kernel: 7, stride: 2, padding: 3 };
    let side = stem.output_size(SIDE);
    let shape = Shape { batch: BATCH, blocks: 4, height: side, width: side };
    let (x, mut y) = (filled::<f32>(BATCH * 3 * SIDE * SIDE), filled::<f32>(shape.len()));
    let (mut dw, mut db) = (filled::<f32>(stem.weights_len()), filled::<f32>(64));
    let (mut packed, bias) = (Buffer::zeroed(stem.packed_len::<f32>(isa)), db.clone());
    stem.pack_forward::<f32>(isa, &dw, &mut packed);
    let mut scratch = Buffer::zeroed(stem.scratch_len::<f32>(isa, pool, SIDE, SIDE));
    let images = PlanarImages { values: &x, batch: BATCH, height: SIDE, width: SIDE };
    group.throughput(Throughput::Elements((2 * BATCH * side * side * stem.weights_len()) as u64));
    group.bench_function("stem 7x7/2 forward", |bencher| {
        bencher.iter(|| {
            let y = MapMut::whole(&mut y, shape);
            let context = Context { isa, pool, scratch: &mut scratch };
            stem.forward(context, images, ConvolutionParameters { packed: &packed, bias: &bias }, true, y);
        });
    });
    group.bench_function("stem 7x7/2 weight gradient", |bencher| {
        bencher.iter(|| {
            let dy = Map::whole(&y, shape);
            let context = Context { isa, pool, scratch: &mut scratch };
            let gradients = ParameterGradients { weights: &mut dw, bias: &mut db };
            stem.backward_weights(context, images, dy, gradients);
        });
    });
}

fn convolution(criterion: &mut Criterion) {
    let isa = Isa::detect();
    let most = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    for threads in if most == 1 { vec![1] } else { vec![1, most] } {
        let pool = Pool::new(threads).expect("threads start");
        let peaks = [fma_peak::<f32>(isa, &pool), fma_peak::<bf16>(isa.with_bf16(), &pool)];
        println!(
            "peak of {} on {threads} threads: {:.1} GFLOP/s, bf16 {:.1}",
            isa.name(),
            peaks[0],
            peaks[1]
        );
        let mut group = criterion.benchmark_group(format!("{} on {threads} threads", isa.name()));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_secs(1));
        stem(&mut group, isa, &pool);
        for shape in LAYERS {
            layer::<f32>(&mut group, isa, &pool, shape);
        }
        for shape in LAYERS {
            layer::<bf16>(&mut group, isa.with_bf16(), &pool, shape);
        }
        group.finish();
    }
}

criterion_group!(benches, convolution);
criterion_main!(benches);
