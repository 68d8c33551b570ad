"""Train a small ResNet in a plain loop, steer it from a terminal, and replay it with an identical digest.

python examples/steer_resnet.py runs/steered/first          # a minute on a CPU
bntui runs/steered/first                                    # meanwhile: keys l, n, p, S, Space, x
bnrun set runs/steered/first lr=0.01 noise=on
python examples/steer_resnet.py runs/steered/second --replay runs/steered/first
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bncore

CLASSES, SIZE, BATCH = 10, 16, 64


class Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = bncore.SwitchableNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = bncore.SwitchableNorm(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet() -> nn.Module:
    """A ResNet of 7 layers with 16 to 64 channels."""
    return nn.Sequential(
        Block(3, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, CLASSES),
    )  # fmt: skip


def batches(count: int, patterns: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of noisy images, one pattern per class."""
    drawn = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(CLASSES, (BATCH,), generator=drawn)
        yield patterns[labels] + 8 * torch.randn(BATCH, 3, SIZE, SIZE, generator=drawn), labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="directory of the run, new")
    parser.add_argument("--replay", metavar="RUN", help="make the changes of that run at the same steps")
    parser.add_argument("--steps", type=int, default=1500)
    chosen = parser.parse_args()

    torch.set_num_threads(1)  # the number of threads changes rounding, and thus the digest
    torch.manual_seed(0)
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    patterns = torch.randn(CLASSES, 3, SIZE, SIZE)

    def evaluate() -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            hits = [(model(x).argmax(1) == y).float().mean() for x, y in batches(4, patterns, seed=2)]
        return {"test_accuracy": float(torch.stack(hits).mean())}

    probes = {"landscape": {"every": 50}, "activations": {"every": 50}}
    with bncore.observe(
        model, F.cross_entropy, optimizer, run=chosen.run, probes=probes, steps=chosen.steps,
        title="A ResNet of somebody's own",
        on_evaluate=evaluate, on_checkpoint=lambda step: torch.save(model.state_dict(), f"resnet-{step}.pt"),
    ) as watch:  # fmt: skip
        watch.control_optimizer()
        watch.control_noise("*.norm1", "*.norm2")
        watch.control_norm()
        watch.control_dropout()
        if chosen.replay:
            watch.replay(chosen.replay)
        for inputs, labels in batches(chosen.steps, patterns, seed=1):
            with watch.step(inputs, labels) as step:
                optimizer.zero_grad()
                outputs = model(inputs)
                loss = F.cross_entropy(outputs, labels)
                loss.backward()
                optimizer.step()
                step.record(loss, accuracy=(outputs.argmax(1) == labels).float().mean())

    end = bncore.load_run(chosen.run).columns.last("finished") or {}
    print(f"{end.get('state')} at step {end.get('step')}: {end.get('params_sha256')}")


if __name__ == "__main__":
    main()
