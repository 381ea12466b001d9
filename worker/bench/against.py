"""Our step beside another program's on the same machine: alternating pairs, the median ratio.

    cargo build --release
    python worker/bench/against.py pytorch|tensorflow|onnxruntime|openvino [--forward-only]
        [--pairs 5] [--batch 16] [--threads 2] [--seconds 10] [--isa avx2] [--precision bf16] [--python PYTHON] [--onnx FILE]

Each side is a fresh process. The peer runs by --python (this one), which must have its package, in the fastest setting that
we know of: PyTorch channels_last with jemalloc on huge pages where libjemalloc is found (--jemalloc PATH names another
place), TensorFlow in one function with the C library's allocator. A training step is 224x224, 1000 classes, both auxiliary heads,
dropout, three losses, backward, momentum 0.9; --forward-only is the main network alone. ONNX Runtime and OpenVINO only infer,
from --onnx FILE, a model of full size that `downpour export --format onnx` wrote. --precision bf16 has both sides compute in bf16
(PyTorch by autocast, OpenVINO by its hint); `ours` as the peer sets our bf16 beside our f32.

Beside each of our figures stand the arithmetic peak and the round trip between the threads, measured in that process: where
two threads get one core's peak, the pair says nothing about two.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def run(words, environment=None):
    """The object in the last line that a program prints."""
    result = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["pytorch", "tensorflow", "onnxruntime", "openvino", "ours"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--forward-only", action="store_true")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--isa", default="", help="our instruction set; with avx2 PyTorch is held to it as well")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peer's package")
    parser.add_argument("--onnx", default="", help="the model for onnxruntime and openvino")
    parser.add_argument("--jemalloc", default=next(iter(glob.glob("/usr/lib/*/libjemalloc.so.2")), ""))
    a = parser.parse_args()
    infers = a.peer in ("onnxruntime", "openvino")
    if a.precision == "bf16" and a.peer in ("tensorflow", "onnxruntime"):
        parser.error(f"{a.peer} is only measured in f32: expected pytorch, openvino or ours with --precision bf16")
    if infers and not (a.forward_only and a.onnx):
        parser.error(f"{a.peer} only infers: expected --forward-only and --onnx FILE")

    environment = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    if a.jemalloc and a.peer == "pytorch":
        environment.update(LD_PRELOAD=a.jemalloc, MALLOC_CONF="thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1")
    if a.isa == "avx2":
        environment.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2")
    shape = ["--batch", str(a.batch), "--threads", str(a.threads), "--seconds", str(a.seconds)]
    shape += ["--forward-only"] if a.forward_only else []
    bench = [os.path.join(ROOT, "target/release/downpour"), "bench", "--json", *shape]
    bench += ["--isa", a.isa] if a.isa else []
    script = [a.python, os.path.join(HERE, "peers", a.peer + ".py"), *shape, "--precision", a.precision]
    ours = bench + ["--precision", a.precision]
    theirs = bench if a.peer == "ours" else script + (["--onnx", a.onnx] if infers else [])
    ratios, speeds = [], []
    for pair in range(1, a.pairs + 1):
        own, peer = run(ours), run(theirs, environment)
        speeds.append((own["images_per_second"], peer["images_per_second"]))
        ratios.append(speeds[-1][0] / speeds[-1][1])
        trip = own["round_trip_ns"]
        print(f"pair {pair}: ours {speeds[-1][0]:.2f} images/s, {a.peer} {peer.get('version', 'in f32')} {speeds[-1][1]:.2f}, "
              f"ratio {ratios[-1]:.2f}; peak {own['fma_peak_gflops']:.0f} GFLOP/s"
              + (f", round trip {trip:.0f} ns" if trip else ""), flush=True)
    median = statistics.median
    print(json.dumps({
        "peer": a.peer, "batch": a.batch, "threads": a.threads, "forward_only": a.forward_only, "isa": own["isa"],
        "precision": a.precision,
        "ratio_median": round(median(ratios), 3), "ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3),
        "ours_median": round(median(own for own, _ in speeds), 2),
        "peer_median": round(median(peer for _, peer in speeds), 2), "pairs": a.pairs}))


if __name__ == "__main__":
    main()
