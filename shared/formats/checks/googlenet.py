"""GoogLeNet in PyTorch from a model file (safetensors): all that a loader needs.

    import googlenet
    network, about = googlenet.load("model.safetensors")      # a function of tensors, and the file's metadata
    probabilities = network(images)                           # N x 3 x S x S -> N x classes

Images are RGB, 0..255 minus about["mean"]; about["classes"] is a JSON list in the order of the outputs.
"""
import torch
from safetensors import safe_open
from torch.nn import functional as F


def load(path):
    with safe_open(path, "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}

    def convolution(name, x, stride=1):
        weights, bias = tensors[f"{name}/weights"], tensors[f"{name}/bias"]
        return F.relu(F.conv2d(x, weights, bias, stride, weights.shape[-1] // 2))

    def pool(x, stride=2, padding=0):
        return F.max_pool2d(x, 3, stride, padding, ceil_mode=True)

    def lrn(x):
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    def inception(name, x):
        part = lambda part, x: convolution(f"inception_{name}/{part}", x)
        return torch.cat([
            part("1x1", x),
            part("3x3", part("3x3_reduce", x)),
            part("5x5", part("5x5_reduce", x)),
            part("pool_proj", pool(x, 1, 1)),
        ], 1)

    @torch.no_grad()
    def network(x):
        x = lrn(pool(convolution("conv1/7x7_s2", x, 2)))
        x = pool(lrn(convolution("conv2/3x3", convolution("conv2/3x3_reduce", x))))
        x = pool(inception("3b", inception("3a", x)))
        for name in ["4a", "4b", "4c", "4d", "4e"]:
            x = inception(name, x)
        x = inception("5b", inception("5a", pool(x)))
        logits = F.linear(x.mean((2, 3)), tensors["loss3/classifier/weights"], tensors["loss3/classifier/bias"])
        return logits.softmax(1)

    return network, about
