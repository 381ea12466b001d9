#!/usr/bin/env python3
"""Reads the event files of a run with TensorBoard's own reader, and compares them with the run's metrics file.

    python deploy/watch/read_events.py RUN

RUN is the output folder of `downpour --tensorboard --output RUN`. Needs the package tensorboard
(pip install tensorboard). Prints what was read; ends with exit code 1 if a number differs, or one is missing.
"""

import json
import math
import struct
import sys
from pathlib import Path

try:
    from tensorboard.backend.event_processing import event_accumulator
except ImportError:
    print("skipped: the package tensorboard is not there (pip install tensorboard)")
    sys.exit(0)


def read(folder):
    """Returns the reader of a folder, which has read all of it."""
    everything = {event_accumulator.TENSORS: 0, event_accumulator.IMAGES: 0, event_accumulator.SCALARS: 0}
    reader = event_accumulator.EventAccumulator(str(folder), size_guidance=everything)
    reader.Reload()
    return reader


def numbers(reader, tag):
    """Returns the numbers under a tag by step; of a step that was taken twice, as by a run that went back, the last."""
    return {event.step: event.value for event in reader.Scalars(tag)}


def as_float(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    reader = read(run / "tensorboard" / "numbers")
    tags = reader.Tags()
    compared, wrong = 0, []
    for kind, group, without in [
        ("train", "training", {"kind", "time"}),
        ("evaluation", "validation", {"kind", "time", "samples", "images", "unreadable", "last_iterate",
                                      "images_per_second", "learning_rate", "staleness_mean"}),
    ]:
        expected = {}
        for line in (line for line in lines if line["kind"] == kind):
            for name, value in line.items():
                if name in without or isinstance(value, list) or value is None:
                    continue
                expected.setdefault(f"{group}/{name}", {})[line["samples"]] = as_float(float(value))
        for tag, values in expected.items():
            found = numbers(reader, tag) if tag in tags["scalars"] else {}
            compared += len(values)
            for step, value in values.items():
                if not math.isclose(found.get(step, math.nan), value, rel_tol=1e-6, abs_tol=1e-30):
                    wrong.append(f"{tag} at {step}: {found.get(step)} in the event file, {value} in metrics.jsonl")
    texts = [tag for tag in tags["tensors"] if "settings" in tag]
    if not texts:
        wrong.append("the settings are not there as a text")
    samples = read(run / "tensorboard" / "samples")
    pictures = [(tag, picture.width, picture.height) for tag in samples.Tags()["images"] for picture in samples.Images(tag)]
    if not pictures:
        wrong.append("the training samples are not there as a picture")
    print(f"{compared} numbers under {len(tags['scalars'])} tags, texts: {', '.join(tags['tensors'])}, pictures: {pictures}")
    for text in wrong:
        print(text)
    return 1 if wrong or not compared else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
