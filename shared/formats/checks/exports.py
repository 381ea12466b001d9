"""Exports of a model beside `downpour classify`: ONNX Runtime and PyTorch must agree with it to 1e-4.

    cargo build --release
    pip install numpy pillow onnx onnxruntime safetensors torch
    python shared/formats/checks/exports.py MODEL [--labels FILE] [--downpour target/release/downpour]

MODEL is any file that downpour opens. It is exported both ways; noise images of the input's size before its crop are
classified by all three, so that nobody has to resize.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image

import googlenet

TOLERANCE = 1e-4
IMAGES = 8


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model")
    options.add_argument("--labels")
    options.add_argument("--downpour", default="target/release/downpour")
    options = options.parse_args()
    labels = ["--labels", options.labels] if options.labels else []

    with tempfile.TemporaryDirectory() as home:
        written = {}
        for form in ["onnx", "safetensors"]:
            written[form] = os.path.join(home, f"model.{form}")
            subprocess.run([options.downpour, "export", "--format", form, "--model", options.model,
                            "--output", written[form]] + labels, check=True, stdout=subprocess.DEVNULL)
        onnx.checker.check_model(written["onnx"], full_check=True)
        network, about = googlenet.load(written["safetensors"])
        size, mean = int(about["input_size"]), np.array(json.loads(about["mean"]), np.float32)
        classes = json.loads(about["classes"])

        scale = round(size * 256 / 224)
        margin = (scale - size) // 2
        random = np.random.default_rng(1)
        files, inputs = [], []
        for number in range(IMAGES):
            # Blocks of colour: something for every layer to see.
            blocks = random.integers(0, 256, (8, 8, 3), np.uint8)
            image = Image.fromarray(blocks).resize((scale, scale), Image.Resampling.BICUBIC)
            files.append(os.path.join(home, f"{number}.png"))
            image.save(files[-1])
            crop = np.asarray(image, np.float32)[margin:margin + size, margin:margin + size] - mean
            inputs.append(crop.transpose(2, 0, 1))
        inputs = np.stack(inputs)

        told = subprocess.run([options.downpour, "classify", "--model", options.model, "--json"] + labels + files,
                              check=True, capture_output=True, text=True)
        ours = [json.loads(line)["top"] for line in told.stdout.splitlines()]

        session = onnxruntime.InferenceSession(written["onnx"], providers=["CPUExecutionProvider"])
        theirs = {
            "ONNX Runtime " + onnxruntime.__version__: session.run(None, {"images": inputs})[0],
            "PyTorch " + torch.__version__: network(torch.from_numpy(inputs)).numpy(),
        }
        worst = 0.0
        for name, probabilities in theirs.items():
            assert probabilities.shape == (IMAGES, len(classes)), probabilities.shape
            difference = max(abs(float(row[guess["class"]]) - guess["probability"])
                             for row, guesses in zip(probabilities, ours) for guess in guesses)
            print(f"{name}: largest difference of {IMAGES} x {len(ours[0])} probabilities {difference:.1e}")
            worst = max(worst, difference)
        among = float(np.abs(np.subtract(*theirs.values())).max())
        print(f"between the two, all classes: {among:.1e}")
        return 0 if max(worst, among) <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
