"""GoogLeNet in PyTorch from a model file (safetensors) of any variant, to run and to train on.

    import googlenet
    network, about = googlenet.load("model.safetensors")      # a torch.nn.Module in eval mode, and the file's metadata
    probabilities = network(images).softmax(1)                # N x 3 x S x S -> N x classes
    googlenet.save(network, about, "tuned.safetensors")       # downpour reads it again

Images are RGB, 0..255 minus about["mean"]; about["classes"] is a JSON list in the order of the outputs. The network returns
logits. In training mode it returns those of all heads, the main head's first, if the file has auxiliary heads.
"""
import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

STEM = "conv1/7x7_s2"
CLASSIFIER = "loss3/classifier"
MODULES = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
POOLED = ["3b", "4e"]                        # a max pool follows
HEADS = {"4a": "loss1", "4d": "loss2"}       # an auxiliary head reads the output
LOSS_WEIGHTS = [1.0, 0.3, 0.3]               # of the main head and of the auxiliary ones


def load(path):
    """The network of a model file, in eval mode and in float32, and the file's metadata."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    return GoogLeNet(tensors, json.loads(about.get("variant", '"table"'))).eval(), about


def save(network, about, path):
    """Writes a model file that downpour reads, with the metadata of the file that the network came from."""
    about = {**about, "auxiliary_heads": json.dumps("loss1/conv" in network.layers)}
    save_file(network.tensors(), path, about)


class GoogLeNet(nn.Module):
    """GoogLeNet with the shapes of the tensors LAYER/weights and LAYER/bias; its layers are called as they are."""

    def __init__(self, tensors, variant="table"):
        super().__init__()
        self.variant = variant
        self.layers = nn.ModuleDict()
        for name in sorted(tensors):
            layer, _, part = name.rpartition("/")
            if part == "weights":
                self.layers[layer] = make(layer, tensors[name], tensors[f"{layer}/bias"])
        self.dropout = nn.Dropout(0.4)
        self.auxiliary_dropout = nn.Dropout(0.7)

    def forward(self, images):
        x = lrn(pool(self.stem(images)))
        x = pool(lrn(self.convolution("conv2/3x3", self.convolution("conv2/3x3_reduce", x))))
        heads = []
        for module in MODULES:
            x = self.inception(f"inception_{module}", x)
            head = HEADS.get(module)
            if self.training and f"{head}/conv" in self.layers:
                heads.append(self.auxiliary(head, x))
            if module in POOLED:
                x = pool(x)
        logits = self.layers[CLASSIFIER](self.dropout(x.mean((2, 3))))
        return [logits] + heads if heads else logits

    def loss(self, images, classes):
        """The loss that training minimises: that of the main head, and in training mode 0.3 of each auxiliary head's."""
        logits = self(images)
        logits = logits if isinstance(logits, list) else [logits]
        return sum(weight * F.cross_entropy(head, classes) for weight, head in zip(LOSS_WEIGHTS, logits))

    def tensors(self):
        """All parameters by the names that they have in a model file."""
        parts = {"weight": "weights", "bias": "bias"}
        return {f"{name}/{ours}": getattr(layer, theirs).detach().contiguous()
                for name, layer in self.layers.items() for theirs, ours in parts.items()}

    def stem(self, images):
        if self.variant == "operations":  # the first of the two convolutions has no ReLU
            return self.convolution(f"{STEM}/pointwise", self.layers[f"{STEM}/depthwise"](images))
        return self.convolution(STEM, images)

    def inception(self, name, x):
        if self.variant == "naive":  # every branch reads the whole input
            branches = [self.convolution(f"{name}/{part}", x) for part in ["1x1", "3x3", "5x5"]]
            return torch.cat(branches + [pool(x, 1, 1)], 1)
        return torch.cat([
            self.convolution(f"{name}/1x1", x),
            self.convolution(f"{name}/3x3", self.convolution(f"{name}/3x3_reduce", x)),
            self.convolution(f"{name}/5x5", self.convolution(f"{name}/5x5_reduce", x)),
            self.convolution(f"{name}/pool_proj", pool(x, 1, 1)),
        ], 1)

    def auxiliary(self, name, x):
        x = self.convolution(f"{name}/conv", F.avg_pool2d(x, 5, 3, ceil_mode=True))
        x = self.auxiliary_dropout(F.relu(self.layers[f"{name}/fc"](x.flatten(1))))
        return self.layers[f"{name}/classifier"](x)

    def convolution(self, name, x):
        return F.relu(self.layers[name](x))


def make(name, weights, bias):
    """The layer of these weights: O x I x K x K of a convolution, O x I of a fully connected layer."""
    outputs, inputs, *kernel = weights.shape
    if kernel:
        groups = 3 if name == f"{STEM}/depthwise" else 1
        stride = 2 if kernel[0] == 7 else 1
        layer = nn.utils.skip_init(nn.Conv2d, inputs * groups, outputs, kernel[0], stride, kernel[0] // 2, groups=groups)
    else:
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    layer.weight, layer.bias = nn.Parameter(weights), nn.Parameter(bias)
    return layer


def pool(x, stride=2, padding=0):
    return F.max_pool2d(x, 3, stride, padding, ceil_mode=True)


def lrn(x):
    return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
