"""Our training step beside PyTorch's on the same machine: alternating pairs, the median ratio.

    cargo build --release -p worker
    python worker/bench/against_pytorch.py [--pairs 5] [--batch 16] [--threads 2] [--seconds 10]

Needs PyTorch. Each side is a fresh process; PyTorch runs channels_last, and with jemalloc on huge pages where
libjemalloc is found (its best setting on CPUs that we know of; --jemalloc PATH names another place). Both compute one step of the whole network:
224x224, 1000 classes, both auxiliary heads, dropout, three losses, backward, momentum 0.9.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def torch_step(batch, threads, seconds):
    """Images a second of PyTorch's training step: the median over the steps of `seconds`."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)

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

    net = Net().train().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        main, first, second = net(images)
        loss = F.cross_entropy(main, labels) + 0.3 * (F.cross_entropy(first, labels) + F.cross_entropy(second, labels))
        loss.backward()
        optimizer.step()

    step()
    step()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


def last_object(text):
    return json.loads(text.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--isa", default="", help="our instruction set; PyTorch then runs the same one")
    parser.add_argument("--jemalloc", default=next(iter(glob.glob("/usr/lib/*/libjemalloc.so.2")), ""))
    parser.add_argument("--torch-side", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.torch_side:
        print(json.dumps({"images_per_second": torch_step(a.batch, a.threads, a.seconds)}))
        return

    environment = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    if a.jemalloc:
        environment.update(LD_PRELOAD=a.jemalloc, MALLOC_CONF="thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1")
    if a.isa == "avx2":
        environment.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2")
    shape = ["--batch", str(a.batch), "--threads", str(a.threads), "--seconds", str(a.seconds)]
    theirs = [sys.executable, os.path.abspath(__file__), "--torch-side", *shape]
    ours = [os.path.join(ROOT, "target/release/worker"), "bench", "--json", *shape] + (["--isa", a.isa] if a.isa else [])
    print(f"batch {a.batch}, {a.threads} threads, PyTorch with {a.jemalloc or 'the default allocator'}")
    ratios = []
    for pair in range(a.pairs):
        run = lambda words, env=None: last_object(subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout)
        own, peer = run(ours)["images_per_second"], run(theirs, environment)["images_per_second"]
        ratios.append(own / peer)
        print(f"pair {pair + 1}: ours {own:.2f} images/s, PyTorch {peer:.2f}, ratio {own / peer:.2f}", flush=True)
    print(json.dumps({"ratio_median": round(statistics.median(ratios), 3), "ratio_min": round(min(ratios), 3),
                      "ratio_max": round(max(ratios), 3), "pairs": a.pairs, "batch": a.batch, "threads": a.threads}))


if __name__ == "__main__":
    main()
