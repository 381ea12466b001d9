"""Writes sgd.json: ten steps of torch.optim.SGD in float64 on a reduced GoogLeNet with both heads, no dropout.

    python make_sgd.py

Weight decay is on weights only. Step s takes the images and labels of seed s.
"""

import torch

import reference

CLASSES, SIZE, WIDTH, BATCH, SCALE, STEPS, SEED = 8, 128, 0.25, 4, 1, 10, 1
RATE, MOMENTUM, DECAY = 0.001, 0.9, 2e-4


def main():
    tensors = {}
    for index, (name, shape) in enumerate(reference.layers(CLASSES, SIZE, WIDTH, True).items()):
        weights, bias = reference.parameters(name, index, shape, SEED, SCALE)
        tensors[f"{name}/weights"] = weights.double().requires_grad_()
        tensors[f"{name}/bias"] = bias.double().requires_grad_()
    weights = [tensor for tensor in tensors.values() if tensor.dim() > 1]
    biases = [tensor for tensor in tensors.values() if tensor.dim() == 1]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": biases, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    totals = []
    for step in range(1, STEPS + 1):
        logits = reference.forward(reference.images(step, BATCH, SIZE, SCALE).double(), tensors, True)
        _, total = reference.losses(logits, reference.labels(step, BATCH, CLASSES))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
        print(f"step {step}: loss {totals[-1]:.6f}")
    golden = {
        "seed": SEED,
        "losses": totals,
        "tensors": [reference.statistics(name, tensor) for name, tensor in tensors.items()],
    }
    reference.write("sgd.json", golden)


if __name__ == "__main__":
    main()
