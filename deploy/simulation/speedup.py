#!/usr/bin/env python3
"""How much sooner N workers come to an accuracy than one, in virtual time or in processes, over several seeds.

    deploy/simulation/speedup.py [--workers 1,4,8,16] [--seeds 1,2,3,4,5] [--until 0.6,0.95] [--processes] [-- FLAGS of downpour simulate]

Runs the recipe `quick` with a ramp of 2,000 images and an evaluation every 2,000, until two evaluations in a row reach the last accuracy, or
200,000 images (`--images`). In virtual time machines deviate by 10 % from step to step, and from 8 workers on one in eight takes twice as
long. With `--processes` the runs are real ones, of worker processes with one thread each on this machine. The speed-up of N workers is
S(N) = N x images of one worker / images of N workers. Prints a line for each run as it ends, then a table for each accuracy;
`--picture FILE` draws the time to the last of them. Needs Python 3.8 and a release build; a run takes one to three minutes on a core.
"""
import argparse
import json
import math
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RAMP = 2_000
EVALUATE = 2_000
EPOCH = 20_000


def list_of(kind):
    return lambda text: [kind(number) for number in text.split(",")]


def the_run(asked, workers, seed):
    """Flags that a simulated and a real run have in common."""
    ramp = f"optimisation.ramp={RAMP / asked.images}"
    return ["--workers", str(workers), "--seed", str(seed), "--images", str(asked.images), "--set", ramp, "--threads", "1", *asked.flags]


def simulated(asked, workers, seed):
    """The evaluations of a simulated run that ends once two in a row have the accuracy."""
    command = [asked.program, "simulate", *the_run(asked, workers, seed)]
    command += ["--until", str(max(asked.until)), "--evaluate-images", str(EVALUATE), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}; what it says is above")
    return json.loads(done.stdout.splitlines()[-1])["evaluations"]


def real(asked, workers, seed):
    """The evaluations of a run of processes, which is stopped once two in a row have the accuracy."""
    with tempfile.TemporaryDirectory() as home:
        command = [asked.program, "--output", f"{home}/run", "--shards", "1", *the_run(asked, workers, seed)]
        command += ["--set", f"run.evaluate_epochs={EVALUATE / EPOCH}"]
        begin, points = time.time(), []
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while run.poll() is None:
                time.sleep(0.2)
                metrics = Path(f"{home}/run/metrics.jsonl")
                text = metrics.read_text() if metrics.exists() else ""
                # The last line may be half written.
                lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
                found = [line for line in lines if line["kind"] == "evaluation"]
                for line in found[len(points) :]:
                    points.append({"images": line["samples"], "top1": line["top1"], "seconds": time.time() - begin})
                if images_to(points, max(asked.until)):
                    run.send_signal(signal.SIGINT)
                    run.wait()
        return points


def first_at(points, accuracy):
    """The first of two evaluations in a row that have the accuracy; None if there are none."""
    return next((one for one, after in zip(points, points[1:]) if min(one["top1"], after["top1"]) >= accuracy), None)


def images_to(points, accuracy):
    """Images behind the first of two evaluations in a row that have the accuracy, to whole thousands; None if there are none."""
    point = first_at(points, accuracy)
    return point and round(point["images"], -3)


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


def picture(found, workers, seeds, accuracy, title):
    """Time to an accuracy against workers, both in powers of two, as SVG: a dot for each run, and the line of a perfect speed-up."""
    points = {count: [first_at(found[count, seed], accuracy) for seed in seeds] for count in workers}
    times = {count: [point["seconds"] for point in of_count if point] for count, of_count in points.items() if any(of_count)}
    if not times:
        sys.exit(f"no run reached {100 * accuracy:g} %: there is nothing to draw")
    longest, shortest = max(map(max, times.values())), min(map(min, times.values()))
    left, top, width, height = 70, 40, 520, 300
    across, down = math.log2(max(workers)) or 1, math.log2(longest / shortest) or 1
    x = lambda count: left + width * math.log2(count) / across
    y = lambda seconds: top + height * math.log2(longest / seconds) / down
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" height="{top + height + 60}" font-family="sans-serif" font-size="13">']
    lines += ['<rect width="100%" height="100%" fill="white"/>']
    lines += [f'<text x="{left}" y="22" font-size="15">{title}</text>']
    for count in workers:
        lines += [f'<line x1="{x(count):.0f}" x2="{x(count):.0f}" y1="{top}" y2="{top + height}" stroke="#ddd"/>']
        lines += [f'<text x="{x(count):.0f}" y="{top + height + 20}" text-anchor="middle">{count}</text>']
    for power in range(math.ceil(math.log2(shortest)), math.floor(math.log2(longest)) + 1):
        at = y(2**power)
        lines += [f'<line x1="{left}" x2="{left + width}" y1="{at:.0f}" y2="{at:.0f}" stroke="#ddd"/>']
        lines += [f'<text x="{left - 8}" y="{at + 4:.0f}" text-anchor="end">{2**power}</text>']
    fewest = min(times)
    alone = statistics.mean(times[fewest]) * fewest
    most = min(max(workers), alone / shortest)
    lines += [f'<line x1="{x(fewest):.0f}" y1="{y(alone / fewest):.0f}" x2="{x(most):.0f}" y2="{y(alone / most):.0f}" stroke="#999" stroke-dasharray="5 4"/>']
    lines += [f'<text x="{x(most) + 8:.0f}" y="{y(alone / most) + 4:.0f}" fill="#777">N times sooner</text>']
    means = " ".join(f"{x(count):.0f},{y(statistics.mean(seconds)):.0f}" for count, seconds in times.items())
    lines += [f'<polyline points="{means}" fill="none" stroke="#1f77b4" stroke-width="2"/>']
    lines += [f'<circle cx="{x(count):.0f}" cy="{y(seconds):.0f}" r="3.5" fill="#1f77b4"/>' for count, of_count in times.items() for seconds in of_count]
    lines += [f'<text x="{left + width / 2:.0f}" y="{top + height + 44}" text-anchor="middle">workers</text>', "</svg>", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(Path(__file__).resolve().parents[2] / "target/release/downpour"))
    parser.add_argument("--workers", type=list_of(int), default=[1, 4, 8, 16])
    parser.add_argument("--seeds", type=list_of(int), default=[1, 2, 3, 4, 5])
    parser.add_argument("--until", type=list_of(float), default=[0.6, 0.95], help="accuracies; runs end at the largest")
    parser.add_argument("--images", type=int, default=200_000, help="length of a run, unless it reaches the accuracy before")
    parser.add_argument("--processes", action="store_true", help="real runs in place of simulated ones")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--picture", type=Path, help="SVG file to draw the time to the last accuracy into")
    parser.add_argument("flags", nargs="*", help="further flags of downpour simulate, behind --")
    asked = parser.parse_args()
    if asked.images < RAMP:
        parser.error(f"--images {asked.images}: expected at least {RAMP}, the images over which the learning rate rises")
    if not shutil.which(asked.program):
        parser.error(f"--program {asked.program}: there is no such program; make it by cargo build --release, or name another")
    found = {}

    def run(key):
        found[key] = (real if asked.processes else simulated)(asked, *key)
        points = [(accuracy, first_at(found[key], accuracy)) for accuracy in asked.until]
        reached = ", ".join(
            f"{100 * accuracy:g} % " + (f"after {point['images']} images, {point['seconds']:.0f} s" if point else "not reached")
            for accuracy, point in points
        )
        print(f"{key[0]} workers, seed {key[1]}: {reached}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(run, [(workers, seed) for workers in asked.workers for seed in asked.seeds]))
    for accuracy in asked.until:
        print("\n".join(table(found, asked.workers, asked.seeds, accuracy)), end="\n\n")
    if asked.picture:
        accuracy = max(asked.until)
        unit = "Seconds" if asked.processes else "Virtual seconds (a step of a worker takes one)"
        asked.picture.write_text(picture(found, asked.workers, asked.seeds, accuracy, f"{unit} to {100 * accuracy:g} % top-1"))


if __name__ == "__main__":
    main()
