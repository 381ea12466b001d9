#!/usr/bin/env python3
"""How much sooner N workers come to an accuracy than one, in virtual time, over several seeds.

    deploy/simulation/speedup.py [--workers 1,4,8,16] [--seeds 1,2,3,4,5] [--until 0.95] [-- FLAGS of downpour simulate]

Runs the recipe `quick` with a ramp of 2,000 images and an evaluation every 2,000, until two evaluations in a row reach the accuracy, or
200,000 images. Machines deviate by 10 % from step to step; from 8 workers on one in eight takes twice as long. The speed-up of N workers
is S(N) = N x images of one worker / images of N workers. Prints a line for each run as it ends, then the table. Needs Python 3.8 and a
release build; a run takes one to three minutes on a core.
"""
import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LENGTH = 200_000
RAMP = 2_000
EVALUATE = 2_000


def numbers(text):
    return [int(number) for number in text.split(",")]


def images_to(program, workers, seed, until, flags):
    """Images after which two evaluations in a row had the accuracy; None if they never did."""
    command = [program, "simulate", "--workers", str(workers), "--seed", str(seed), "--images", str(LENGTH), "--until", str(until)]
    command += ["--set", f"optimisation.ramp={RAMP / LENGTH}", "--evaluate-images", str(EVALUATE), "--threads", "1", "--json", *flags]
    if workers < 8:
        command += ["--slow", "0"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    points = json.loads(done.stdout.splitlines()[-1])["evaluations"]
    reached = [one["images"] for one, next in zip(points, points[1:]) if min(one["top1"], next["top1"]) >= until]
    return reached[0] if reached else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(Path(__file__).resolve().parents[2] / "target/release/downpour"))
    parser.add_argument("--workers", type=numbers, default=[1, 4, 8, 16])
    parser.add_argument("--seeds", type=numbers, default=[1, 2, 3, 4, 5])
    parser.add_argument("--until", type=float, default=0.95)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("flags", nargs="*", help="further flags of downpour simulate, behind --")
    asked = parser.parse_args()
    runs = [(workers, seed) for workers in asked.workers for seed in asked.seeds]
    found = {}

    def run(key):
        found[key] = images_to(asked.program, *key, asked.until, asked.flags)
        print(f"{key[0]} workers, seed {key[1]}: {found[key] or f'not within {LENGTH}'} images", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(run, runs))
    print(f"| workers | images to {100 * asked.until:g} %, mean | range | S(N) |\n|---:|---:|---:|---:|")
    mean_alone = None
    for workers in asked.workers:
        images = [found[workers, seed] for seed in asked.seeds]
        if None in images:
            print(f"| {workers} | not reached by {images.count(None)} of {len(images)} seeds | | |")
            continue
        mean = statistics.mean(images)
        mean_alone = mean if workers == 1 else mean_alone
        speedup = f"{workers * mean_alone / mean:.1f}" if mean_alone else ""
        print(f"| {workers} | {mean:,.0f} | {min(images):,} to {max(images):,} | {speedup} |")


if __name__ == "__main__":
    main()
