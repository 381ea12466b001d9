#!/usr/bin/env python3
"""How much sooner N workers come to an accuracy than one, in virtual time, over several seeds.

    deploy/simulation/speedup.py [--workers 1,4,8,16] [--seeds 1,2,3,4,5] [--until 0.6,0.95] [-- FLAGS of downpour simulate]

Runs the recipe `quick` with a ramp of 2,000 images and an evaluation every 2,000, until two evaluations in a row reach the last accuracy, or
200,000 images. Machines deviate by 10 % from step to step; from 8 workers on one in eight takes twice as long. The speed-up of N workers
is S(N) = N x images of one worker / images of N workers. Prints a line for each run as it ends, then a table for each accuracy. Needs
Python 3.8 and a release build; a run takes one to three minutes on a core.
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


def list_of(kind):
    return lambda text: [kind(number) for number in text.split(",")]


def simulated(program, workers, seed, until, flags):
    """The evaluations of a run that ends once two in a row have the accuracy."""
    command = [program, "simulate", "--workers", str(workers), "--seed", str(seed), "--images", str(LENGTH), "--until", str(until)]
    command += ["--set", f"optimisation.ramp={RAMP / LENGTH}", "--evaluate-images", str(EVALUATE), "--threads", "1", "--json", *flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["evaluations"]


def images_to(points, accuracy):
    """Images after which two evaluations in a row had the accuracy; None if they never did."""
    return next((one["images"] for one, after in zip(points, points[1:]) if min(one["top1"], after["top1"]) >= accuracy), None)


def table(found, workers, seeds, accuracy):
    """The table of one accuracy, as lines of Markdown."""
    yield f"| workers | images to {100 * accuracy:g} %, mean | range | S(N) |\n|---:|---:|---:|---:|"
    alone = None
    for count in workers:
        images = [images_to(found[count, seed], accuracy) for seed in seeds]
        if None in images:
            yield f"| {count} | not reached by {images.count(None)} of {len(images)} seeds | | |"
            continue
        mean = statistics.mean(images)
        alone = mean if count == 1 else alone
        yield f"| {count} | {mean:,.0f} | {min(images):,} to {max(images):,} | {f'{count * alone / mean:.1f}' if alone else ''} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(Path(__file__).resolve().parents[2] / "target/release/downpour"))
    parser.add_argument("--workers", type=list_of(int), default=[1, 4, 8, 16])
    parser.add_argument("--seeds", type=list_of(int), default=[1, 2, 3, 4, 5])
    parser.add_argument("--until", type=list_of(float), default=[0.6, 0.95], help="accuracies; runs end at the largest")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("flags", nargs="*", help="further flags of downpour simulate, behind --")
    asked = parser.parse_args()
    found = {}

    def run(key):
        found[key] = simulated(asked.program, *key, max(asked.until), asked.flags)
        reached = ", ".join(f"{100 * accuracy:g} % after {images_to(found[key], accuracy)} images" for accuracy in asked.until)
        print(f"{key[0]} workers, seed {key[1]}: {reached}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(run, [(workers, seed) for workers in asked.workers for seed in asked.seeds]))
    for accuracy in asked.until:
        print("\n".join(table(found, asked.workers, asked.seeds, accuracy)), end="\n\n")


if __name__ == "__main__":
    main()
