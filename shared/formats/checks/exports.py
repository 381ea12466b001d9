"""Exports of a model beside `downpour classify`: ONNX Runtime and PyTorch must agree with it to 1e-4, and PyTorch trains on.

    cargo build --release
    pip install numpy pillow onnx onnxruntime safetensors torch
    python shared/formats/checks/exports.py MODEL [--labels FILE] [--downpour target/release/downpour]

MODEL is any file that downpour opens. It is exported both ways; noise images of the input's size before its crop are
classified by all three, so that nobody has to resize. Then PyTorch trains a few steps on them, which must lower the loss, and
downpour must read what it saves and agree with it.
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
STEPS = 5


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

        def classify(model, labels):
            told = subprocess.run([options.downpour, "classify", "--model", model, "--json"] + labels + files,
                                  check=True, capture_output=True, text=True)
            return [json.loads(line)["top"] for line in told.stdout.splitlines()]

        def difference(probabilities, ours):
            return max(abs(float(row[guess["class"]]) - guess["probability"])
                       for row, guesses in zip(probabilities, ours) for guess in guesses)

        def pytorch():
            with torch.no_grad():
                return network.eval()(torch.from_numpy(inputs)).softmax(1).numpy()

        ours = classify(options.model, labels)

        session = onnxruntime.InferenceSession(written["onnx"], providers=["CPUExecutionProvider"])
        theirs = {
            "ONNX Runtime " + onnxruntime.__version__: session.run(None, {"images": inputs})[0],
            "PyTorch " + torch.__version__: pytorch(),
        }
        worst = 0.0
        for name, probabilities in theirs.items():
            assert probabilities.shape == (IMAGES, len(classes)), probabilities.shape
            found = difference(probabilities, ours)
            print(f"{name}: largest difference of {IMAGES} x {len(ours[0])} probabilities {found:.1e}")
            worst = max(worst, found)
        among = float(np.abs(np.subtract(*theirs.values())).max())
        print(f"between the two, all classes: {among:.1e}")

        batch, right = torch.from_numpy(inputs), torch.arange(IMAGES) % len(classes)
        optimizer = torch.optim.SGD(network.parameters(), 1e-3)
        torch.manual_seed(1)

        def loss_now():
            with torch.no_grad():
                return float(network.eval().loss(batch, right))

        before = loss_now()
        for _ in range(STEPS):
            optimizer.zero_grad()
            network.train().loss(batch, right).backward()
            # Inputs up to 255 make first gradients of any size.
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        after = loss_now()
        tuned = os.path.join(home, "tuned.safetensors")
        googlenet.save(network, about, tuned)
        saved = difference(pytorch(), classify(tuned, []))
        print(f"{STEPS} steps of PyTorch: loss from {before:.4f} to {after:.4f}, difference of what it saves {saved:.1e}")
        return 0 if max(worst, among, saved) <= TOLERANCE and after < before else 1


if __name__ == "__main__":
    sys.exit(main())
