"""A worker with its server on the same cores beside the bare training step: alternating pairs, the median ratio.

    cargo build --release
    python worker/bench/with_server.py [--pairs 5] [--batch 16] [--threads 2] [--seconds 30] [--precision bf16]

A run is `downpour` with one worker and one shard, recipe bvlc at 224x224 on the synthetic set: images are drawn and cropped, every
gradient goes to the shard and every parameter comes back over loopback, in f32. It is stopped after --seconds of progress; its
rate is that between the first and the last line of its log that tell how many samples were used, but those of the first
seconds. The bare step is `downpour bench` with as many classes.
"""
import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(ROOT, "target/release")
# Lines of the first seconds count memory that is touched for the first time.
WARM_UP = 5


def run(shape, seconds):
    """Images a second of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        words = [os.path.join(PROGRAMS, "downpour"), "--recipe", "bvlc", "--input-size", "224", "--workers", "1",
                 "--shards", "1", "--images", "1000000", "--output", os.path.join(folder, "run"), *shape]
        program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        first = last = warm = None
        for line in program.stdout:
            found = re.search(r"INFO (\d+)/\d+ samples", line)
            if not found:
                continue
            last = (time.monotonic(), int(found[1]))
            warm = warm or last[0] + WARM_UP
            if first is None and last[0] >= warm:
                first = last
            if first is not None and last[0] >= first[0] + seconds:
                break
        program.send_signal(signal.SIGINT)
        program.communicate()
    if first is None or last[0] == first[0]:
        raise SystemExit(f"expected progress for {WARM_UP + seconds} seconds, the run ended before: {' '.join(words)}")
    return (last[1] - first[1]) / (last[0] - first[0])


def bare(shape):
    """What `downpour bench` measured."""
    words = [os.path.join(PROGRAMS, "downpour"), "bench", "--json", "--classes", "10", *shape]
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    a = parser.parse_args()
    shape = ["--batch", str(a.batch), "--threads", str(a.threads), "--precision", a.precision]
    pairs = []
    for pair in range(1, a.pairs + 1):
        ours, step = run(shape, a.seconds), bare(shape)
        pairs.append((ours, step["images_per_second"], ours / step["images_per_second"]))
        trip = step["round_trip_ns"]
        print(f"pair {pair}: with server {pairs[-1][0]:.2f} images/s, bare step {pairs[-1][1]:.2f}, ratio {pairs[-1][2]:.2f}; "
              f"peak {step['fma_peak_gflops']:.0f} GFLOP/s" + (f", round trip {trip:.0f} ns" if trip else ""), flush=True)
    ours, steps, ratios = zip(*pairs)
    median = statistics.median
    print(json.dumps({
        "batch": a.batch, "threads": a.threads, "precision": a.precision, "ratio_median": round(median(ratios), 3),
        "ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3), "with_server_median": round(median(ours), 2),
        "step_median": round(median(steps), 2), "pairs": a.pairs}))


if __name__ == "__main__":
    main()
