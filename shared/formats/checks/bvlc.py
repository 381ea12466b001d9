"""`downpour classify` with the public BVLC weights beside what an independent forward pass expects.

    cargo build --release
    python shared/formats/checks/bvlc.py BVLC PHOTOS [--downpour target/release/downpour]

BVLC is a folder with bvlc_googlenet.caffemodel, synset_words.txt and expected_top5.tsv (lines of an image's path and
"class:probability" five times); PHOTOS the folder that those paths are in, which has val/daisy too. Passes if the first
class agrees for at least 38 of 40 images with a median difference of its probability of at most 0.03, and at least 70 % of
the daisies come out as class 985.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

DAISY = 985


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("bvlc")
    options.add_argument("photos")
    options.add_argument("--downpour", default="target/release/downpour")
    options = options.parse_args()

    def classify(files):
        told = subprocess.run(
            [options.downpour, "classify", "--model", os.path.join(options.bvlc, "bvlc_googlenet.caffemodel"),
             "--labels", os.path.join(options.bvlc, "synset_words.txt"), "--json"] + files,
            check=True, capture_output=True, text=True)
        return [json.loads(line)["top"] for line in told.stdout.splitlines()]

    expected = []
    with open(os.path.join(options.bvlc, "expected_top5.tsv")) as lines:
        for line in lines:
            if not line.startswith("#"):
                image, first = line.split("\t")[:2]
                number, probability = first.split(":")
                expected.append((image, int(number), float(probability)))
    found = classify([os.path.join(options.photos, image) for image, _, _ in expected])
    agree = sum(top[0]["class"] == number for top, (_, number, _) in zip(found, expected))
    difference = statistics.median(
        abs(next((guess["probability"] for guess in top if guess["class"] == number), 0.0) - probability)
        for top, (_, number, probability) in zip(found, expected))
    print(f"first class: {agree} of {len(expected)} agree, median difference of its probability {difference:.4f}")

    folder = os.path.join(options.photos, "val", "daisy")
    daisies = classify([os.path.join(folder, name) for name in sorted(os.listdir(folder))])
    right = sum(top[0]["class"] == DAISY for top in daisies)
    print(f"daisies: {right} of {len(daisies)} ({100 * right / len(daisies):.1f} %) come out as class {DAISY}")
    ok = len(expected) - agree <= 2 and difference <= 0.03 and right >= 0.7 * len(daisies)
    print("holds" if ok else "does not hold")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
