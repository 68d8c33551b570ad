"""Hand-written baseline: the same networks in plain torch.nn, and the shortest training loop.

The baseline of `bnrun bench`. It shares no code with the library it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

_VGG = {  # 0: max pooling
    "vgg11": (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
    "vgg16": (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0),
}


def vgg(kind: str, width: float, *, batch_norm: bool) -> nn.Module:
    """VGG for 32x32 images; like torchvision's, except for the linear head."""
    layers: list[nn.Module] = []
    channels = 3
    for entry in _VGG[kind]:
        if entry == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        out = max(1, round(entry * width))
        layers.append(nn.Conv2d(channels, out, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(out)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))


def dln(depth: int, width: int, *, batch_norm: bool) -> nn.Module:
    """Deep linear network in float64, with BatchNorm after every layer but the last if requested."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers.append(nn.Linear(width, width, bias=False))
        layers += [nn.BatchNorm1d(width)] if batch_norm and i < depth - 1 else []
    return nn.Sequential(*layers).double()


def training_loop(
    net: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], lr: float
) -> Callable[[Tensor, Tensor], float]:
    """The shortest honest loop body: a function that makes one SGD step and reads the loss back."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)

    def step(inputs: Tensor, targets: Tensor) -> float:
        optimizer.zero_grad()
        loss = criterion(net(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def graphed_loop(
    net: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], lr: float, batch: tuple[Tensor, Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The same step as one CUDA graph, as in PyTorch's documentation; returns the loss without synchronizing."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    inputs, targets = (tensor.clone(memory_format=torch.preserve_format) for tensor in batch)

    def eager() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            eager()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = eager()

    def step(new_inputs: Tensor, new_targets: Tensor) -> Tensor:
        inputs.copy_(new_inputs)
        targets.copy_(new_targets)
        graph.replay()
        return loss

    return step


def batches(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches of device-resident uint8 images, normalized."""
    mean = torch.tensor([0.4914, 0.4822, 0.4465], device=images.device).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616], device=images.device).view(3, 1, 1)
    while True:
        order = torch.randperm(len(images)).to(images.device)
        for chosen in torch.split(order, size)[:-1]:
            yield (images[chosen].float() / 255 - mean) / std, labels[chosen]
