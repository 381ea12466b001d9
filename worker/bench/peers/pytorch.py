"""PyTorch's training step, or its forward pass: prints images a second. `against.py` runs it.

Channels last, the faster layout where it was tried (in bf16, by autocast, 32.1 images/s beside 24.7 on Zen 5); the allocator is
chosen by the environment.
"""
import torch
from common import MODULES, options, report
from torch import nn
from torch.nn import functional as F


def convolution(inputs, outputs, kernel, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU(inplace=True))


class Module(nn.Module):
    def __init__(self, inputs, one, reduce3, three, reduce5, five, projection):
        super().__init__()
        self.branches = nn.ModuleList([
            convolution(inputs, one, 1),
            nn.Sequential(convolution(inputs, reduce3, 1), convolution(reduce3, three, 3)),
            nn.Sequential(convolution(inputs, reduce5, 1), convolution(reduce5, five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(inputs, projection, 1)),
        ])

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class Auxiliary(nn.Sequential):
    def __init__(self, inputs):
        super().__init__(nn.AvgPool2d(5, 3), convolution(inputs, 128, 1), nn.Flatten(), nn.Linear(2048, 1024),
                         nn.ReLU(inplace=True), nn.Dropout(0.7), nn.Linear(1024, 1000))


def pool():
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def lrn():
    return nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        channels, modules = 192, {}
        self.stem = nn.Sequential(convolution(3, 64, 7, 2), pool(), lrn(), convolution(64, 64, 1),
                                  convolution(64, 192, 3), lrn(), pool())
        for name, (one, reduce3, three, reduce5, five, projection) in MODULES.items():
            modules[name] = Module(channels, one, reduce3, three, reduce5, five, projection)
            channels = one + three + five + projection
        self.part1 = nn.Sequential(modules["3a"], modules["3b"], pool(), modules["4a"])
        self.part2 = nn.Sequential(modules["4b"], modules["4c"], modules["4d"])
        self.part3 = nn.Sequential(modules["4e"], pool(), modules["5a"], modules["5b"], nn.AvgPool2d(7), nn.Flatten(),
                                   nn.Dropout(0.4), nn.Linear(1024, 1000))
        self.aux1, self.aux2 = Auxiliary(512), Auxiliary(528)

    def forward(self, x):
        a = self.part1(self.stem(x))
        d = self.part2(a)
        return self.part3(d), self.aux1(a), self.aux2(d)


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16")


def training(batch):
    net = Net().train().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            main, first, second = net(images)
            loss = F.cross_entropy(main, labels)
            loss = loss + 0.3 * (F.cross_entropy(first, labels) + F.cross_entropy(second, labels))
        loss.backward()
        optimizer.step()

    return step


def forward(batch):
    net = Net().eval().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)

    def step():
        with torch.inference_mode(), autocast():
            net.part3(net.part2(net.part1(net.stem(images))))

    return step


a = options()
torch.set_num_threads(a.threads)
torch.manual_seed(1)
report(a, torch.__version__, (forward if a.forward_only else training)(a.batch))
