"""What the peers share: the table of the network, the options, the clock."""
import argparse
import json
import statistics
import time

# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--forward-only", action="store_true")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--onnx", help="the model that the peers which only infer are given")
    return parser.parse_args()


def report(options, version, step):
    """Prints images a second by the median over the steps of `seconds`, two left out."""
    step()
    step()
    times, end = [], time.perf_counter() + options.seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"images_per_second": options.batch / statistics.median(times), "version": version}))
