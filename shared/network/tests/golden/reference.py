"""GoogLeNet in PyTorch's functional form, and the inputs and statistics that the golden files are made of.

Weights and images come from an integer hash that tests/golden/files.rs writes the same way, so that a golden file holds
results only.
"""

import json
import pathlib

import numpy
import torch
import torch.nn.functional as functional

GOLDEN = numpy.uint64(0x9E3779B97F4A7C15)
PROJECTIONS = 64
SAMPLES = 64
IMAGE_STREAM = 1_000_000
LABEL_STREAM = 2_000_000
PROJECTION_STREAM = 3_000_000
SAMPLE_STREAM = 4_000_000

MODULES = {
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}
HEADS = {"inception_4a": "loss1", "inception_4d": "loss2"}
POOLED = ("inception_3b", "inception_4e")


def mix(value):
    """The finaliser of splitmix64, on arrays of uint64."""
    value = (value ^ (value >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return value ^ (value >> numpy.uint64(31))


def bits(seed, stream, positions):
    """64 hashed bits for each position of a stream."""
    with numpy.errstate(over="ignore"):
        key = mix(mix(numpy.array([seed], numpy.uint64) + GOLDEN) + numpy.array([stream], numpy.uint64))
        return mix(key + positions.astype(numpy.uint64) * GOLDEN)


def uniform(seed, stream, positions):
    """float32 values in (-1, 1), each an odd multiple of 2^-24."""
    top = (bits(seed, stream, positions) >> numpy.uint64(40)).astype(numpy.int64)
    return ((2 * top + 1 - 2**24) / 2**24).astype(numpy.float32)


def images(seed, batch, size, scale):
    """Pixels between -scale and scale: patches of 32 pixels with noise on top, as N x 3 x size x size float32."""
    n, c, y, x = numpy.indices((batch, 3, size, size)).reshape(4, -1)
    patch = ((n * 3 + c) * 1000 + y // 32) * 1000 + x // 32
    pixel = numpy.arange(n.size)
    values = numpy.float32(0.75 * scale) * uniform(seed, IMAGE_STREAM, patch)
    values += numpy.float32(0.25 * scale) * uniform(seed, IMAGE_STREAM + 1, pixel)
    return torch.from_numpy(values.reshape(batch, 3, size, size))


def labels(seed, batch, classes):
    """A class for each image."""
    drawn = bits(seed, LABEL_STREAM, numpy.arange(batch)) % numpy.uint64(classes)
    return torch.from_numpy(drawn.astype(numpy.int64))


def layers(classes, size, width, heads):
    """Name -> shape of the weights, in the order of the layout; the bias has the first entry of the shape."""

    def scaled(count):
        return max(1, int(count * width / 8 + 0.5)) * 8

    shapes = {"conv1/7x7_s2": (scaled(64), 3, 7, 7)}
    shapes["conv2/3x3_reduce"] = (scaled(64), scaled(64), 1, 1)
    shapes["conv2/3x3"] = (scaled(192), scaled(64), 3, 3)
    channels = scaled(192)
    side = (size + 1) // 2 // 2 // 2 // 2
    pooled = -(-(side - 5) // 3) + 1
    for name, filters in MODULES.items():
        one, three_reduce, three, five_reduce, five, projection = map(scaled, filters)
        shapes[f"{name}/1x1"] = (one, channels, 1, 1)
        shapes[f"{name}/3x3_reduce"] = (three_reduce, channels, 1, 1)
        shapes[f"{name}/3x3"] = (three, three_reduce, 3, 3)
        shapes[f"{name}/5x5_reduce"] = (five_reduce, channels, 1, 1)
        shapes[f"{name}/5x5"] = (five, five_reduce, 5, 5)
        shapes[f"{name}/pool_proj"] = (projection, channels, 1, 1)
        channels = one + three + five + projection
        if heads and name in HEADS:
            head = HEADS[name]
            shapes[f"{head}/conv"] = (scaled(128), channels, 1, 1)
            shapes[f"{head}/fc"] = (scaled(1024), scaled(128) * pooled**2)
            shapes[f"{head}/classifier"] = (classes, scaled(1024))
    shapes["loss3/classifier"] = (classes, channels)
    return shapes


def parameters(layer, index, shape, seed, scale):
    """Weights with variance 2 / fan_in and biases up to scale / 32, for images of that scale; classifiers 1/64 of both,
    so that no softmax saturates."""
    fan_in = int(numpy.prod(shape[1:]))
    shrink = 1 / 64 if layer.endswith("classifier") else 1.0
    bound = numpy.float32(numpy.sqrt(6.0 / fan_in) * shrink)
    weights = bound * uniform(seed, 2 * index, numpy.arange(int(numpy.prod(shape))))
    bias = numpy.float32(scale / 32 * shrink) * uniform(seed, 2 * index + 1, numpy.arange(shape[0]))
    return torch.from_numpy(weights.reshape(shape)), torch.from_numpy(bias)


def normalise(x):
    return functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)


def pool(x):
    return functional.max_pool2d(x, 3, 2, ceil_mode=True)


def pool_inside(x):
    return functional.max_pool2d(x, 3, 1, padding=1)


def network(x, layer, heads):
    """Logits of loss1, loss2 (with heads) and loss3. `layer(name, x)` convolves or multiplies, and rectifies."""
    logits = []
    x = normalise(pool(layer("conv1/7x7_s2", x)))
    x = pool(normalise(layer("conv2/3x3", layer("conv2/3x3_reduce", x))))
    for name in MODULES:
        x = torch.cat(
            [
                layer(f"{name}/1x1", x),
                layer(f"{name}/3x3", layer(f"{name}/3x3_reduce", x)),
                layer(f"{name}/5x5", layer(f"{name}/5x5_reduce", x)),
                layer(f"{name}/pool_proj", pool_inside(x)),
            ],
            1,
        )
        if heads and name in HEADS:
            head = HEADS[name]
            y = functional.avg_pool2d(x, 5, 3, ceil_mode=True, count_include_pad=False)
            y = layer(f"{head}/conv", y).flatten(1)
            logits.append(layer(f"{head}/classifier", layer(f"{head}/fc", y)))
        if name in POOLED:
            x = pool(x)
    logits.append(layer("loss3/classifier", x.mean((2, 3))))
    return logits


def apply(name, x, weights, bias):
    """One layer before its ReLU."""
    if weights.dim() == 2:
        return functional.linear(x, weights, bias)
    stride = 2 if name == "conv1/7x7_s2" else 1
    return functional.conv2d(x, weights, bias, stride, weights.shape[-1] // 2)


def forward(x, tensors, heads):
    """Logits from a dictionary of parameters."""

    def layer(name, x):
        x = apply(name, x, tensors[f"{name}/weights"], tensors[f"{name}/bias"])
        return x if name.endswith("classifier") else torch.relu(x)

    return network(x, layer, heads)


def losses(logits, targets):
    """[loss1, loss2,] loss3, and the total."""
    each = [functional.cross_entropy(head, targets) for head in logits]
    return each, each[-1] + 0.3 * sum(each[:-1])


def statistics(name, tensor):
    """Norm, projections on random signs and sampled entries of a tensor; all that a golden file keeps of it."""
    values = tensor.detach().double().numpy().ravel()
    signs = bits(0, PROJECTION_STREAM, numpy.arange(values.size))
    projections = []
    for projection in range(PROJECTIONS):
        negative = (signs >> numpy.uint64(projection)) & numpy.uint64(1)
        projections.append(float(values.sum() - 2 * values[negative.astype(bool)].sum()))
    places = bits(0, SAMPLE_STREAM, numpy.arange(SAMPLES)) % numpy.uint64(values.size)
    rounded = lambda numbers: [float(f"{number:.10g}") for number in numbers]
    return {
        "name": name,
        "norm": rounded([numpy.linalg.norm(values)])[0],
        "projections": rounded(projections),
        "samples": rounded(values[places.astype(numpy.int64)]),
    }


def write(name, golden):
    """Writes a golden file beside this one, with a line for each tensor."""
    path = pathlib.Path(__file__).with_name(name)
    path.write_text(json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")
