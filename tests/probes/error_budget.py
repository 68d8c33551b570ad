"""What rounding does to every probe: its numbers beside those of the oracles, which are plain float64 autograd.

    PYTHONPATH=.:tests python -m probes.error_budget > budget.md

prints the tables of docs/explanation/numerics.md: the largest error over layers and step lengths, relative except
for cosines. An oracle starts from the probe's own parameters and batch, so that training adds no error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from oracles import activations, ics, landscape
from oracles.network import Layer, loss_of, parameters, trace, with_parameters
from oracles.objective import cross_entropy
from torch import Tensor

from bncore.config.model import VGG, ImageData, Init, Norm, Optim, Spec
from bncore.config.probes import Activations, Ics, Landscape, Sharpness
from bncore.data.resident import load
from bncore.probes.activations import ActivationsProbe
from bncore.probes.ics import IcsProbe
from bncore.probes.landscape import LandscapeProbe
from bncore.probes.sharpness import top_eigenvector
from bncore.probes.view import StepView
from bncore.train.state import TrainState

from .step import plain_layers

MULTIPLES = (0.5, 1.0, 2.0, 4.0)
STEPS = (0, 100)
RATES = (1e-1, 1e-3, 1e-5, 1e-7)
ICS = IcsProbe(Ics(floor_every=1))
LANDSCAPE = LandscapeProbe(Landscape(multiples=MULTIPLES, floor_every=0), Sharpness())
Errors = dict[str, float]


def relative(found: ArrayLike, expected: ArrayLike) -> float:
    """The largest |found - expected| / |expected|."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def absolute(found: ArrayLike, expected: ArrayLike) -> float:
    """The largest |found - expected|."""
    return float(np.max(np.abs(np.asarray(found, dtype=np.float64) - np.asarray(expected))))


def exact_layers(view: StepView) -> tuple[list[Layer], Tensor]:
    """The network of a view at theta_t as the oracles take it, and its inputs, both in float64."""
    plain = plain_layers(view)
    return with_parameters(plain, [p.double() for p in parameters(plain)]), view.inputs.double().contiguous()


def ics_errors(view: StepView) -> Errors:
    """ICS of every layer but the first, whose gradients are equal by definition. `floor`: the noise floor, in
    parts of the same ||G - G'||."""
    (old, x), (new, _) = exact_layers(view), exact_layers(replace(view, before=view.after))
    expected = ics.ics(old, new, x, view.targets, cross_entropy)[1:]
    found = ICS.measure(view)
    l2 = [e.l2 for e in expected]
    return {
        "ICS: cos(G, G′)": absolute(found["cosine"][1:], [e.cosine for e in expected]),
        "ICS: ‖G − G′‖": relative(found["l2"][1:], l2),
        "ICS: its noise floor, in parts of it": float(np.max(found["floor"][1:] / l2)),
    }


def landscape_errors(view: StepView) -> Errors:
    """Loss and gradient along the gradient, at the preset's multiples of the learning rate."""
    layers, x = exact_layers(view)
    expected = landscape.landscape(
        layers, x, view.targets, cross_entropy, lr=view.lr, multiples=MULTIPLES
    )  # fmt: skip
    found = LANDSCAPE.measure(view)
    return {
        "loss along the gradient": relative(found["loss"], expected.losses),
        "effective Lipschitz constant": relative(found["lipschitz"], expected.lipschitz),
        "gradient predictiveness ‖Δg‖": relative(found["grad_diff"], expected.changes),
        "the same, Σ‖Δgᵢ‖": relative(found["grad_diff_sum"], expected.summed_changes),
        "effective β": relative(found["beta"], expected.beta),
    }


def activation_errors(view: StepView) -> Errors:
    """Mean and variance of each layer's output, averaged over its units. A mean may be near 0, and is compared in
    parts of the layer's deviation."""
    layers, x = exact_layers(view)
    found = ActivationsProbe(Activations(bins=64)).measure(view)
    outputs = [trace(layers, x)[number - 1].noisy.detach() for number in found["layers"]]
    units = [activations.unit_moments(output) for output in outputs]
    variance = np.array([np.mean([unit.variance for unit in layer]) for layer in units])
    mean = np.array([np.mean([unit.mean for unit in layer]) for layer in units])
    return {
        "activations: mean, in parts of σ": absolute(
            found["mean"] / np.sqrt(variance), mean / np.sqrt(variance)
        ),
        "activations: variance": relative(found["variance"], variance),
    }


def sharpness_errors(view: StepView) -> Errors:
    """The largest eigenvalue as the probe finds it by default, against the Rayleigh quotient of its eigenvector
    (rounding alone) and against the true one (rounding, and an iteration that was stopped)."""
    layers, x = exact_layers(view)
    product = exact_product(layers, x, view.targets)
    top = top_eigenvector(view, iterations=30, tolerance=1e-3)
    own = torch.cat([top.vector[name].double().flatten() for name in oracle_order(view)])
    quotient = float(own @ product(own) / (own @ own))
    return {
        "sharpness: vᵀHv of its own eigenvector": relative(top.value, quotient),
        "sharpness λ_max": relative(top.value, largest_eigenvalue(product, own)),
    }


def oracle_order(view: StepView) -> list[str]:
    """Names of the parameters in the order in which the oracles list them."""
    own = ("weight", "bias", "norm.weight", "norm.bias")
    names = [f"layers.{i}.{name}" for i in range(len(view.net.layers)) for name in own]
    return [name for name in names if name in view.grads]


def exact_product(layers: Sequence[Layer], x: Tensor, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """v -> Hv by differentiating the gradient, in float64."""
    leaves = [p.detach().clone().requires_grad_() for p in parameters(layers)]
    loss = loss_of(with_parameters(layers, leaves), x, targets, cross_entropy)
    slopes = torch.cat([g.flatten() for g in torch.autograd.grad(loss, leaves, create_graph=True)])

    def product(vector: Tensor) -> Tensor:
        found = torch.autograd.grad(slopes, leaves, vector, retain_graph=True)
        return torch.cat([part.flatten() for part in found])

    return product


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor, products: int = 40) -> float:
    """The largest eigenvalue by Lanczos with every vector kept orthogonal to all before it."""
    basis = [start / start.norm()]
    images: list[Tensor] = []
    for _ in range(products):
        images.append(product(basis[-1]))
        rest = images[-1]
        for _ in range(2):
            rest = rest - sum((v @ rest) * v for v in basis)
        basis.append(rest / rest.norm())
    small = torch.stack(basis[:-1]) @ torch.stack(images).T
    return float(torch.linalg.eigvalsh((small + small.T) / 2)[-1])


def views(norm: str, precision: str, lr: float = 0.1, steps: Sequence[int] = STEPS) -> Iterator[StepView]:
    """Steps of a reduced VGG-11 on synthetic images, as the CPU profiles train it."""
    spec = Spec(
        steps=max(steps) + 1, batch_size=64, precision=precision, device="cpu", threads=1,
        data=ImageData(source="synthetic", background="by_class", standardize="image"),
        net=VGG(kind="vgg11", width=0.125, head=(512,)), norm=Norm(kind=norm), optim=Optim(lr=lr), init=Init(),
    )  # fmt: skip
    state = TrainState(spec, load(spec, "cpu"))
    for step in range(max(steps) + 1):
        state.step(step, record=False, observe=step in steps)
        if step in steps:
            assert state.view is not None
            yield state.view


def table(title: str, columns: dict[str, Errors]) -> Iterator[str]:
    yield f"| {title} | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name in next(iter(columns.values())):
        yield f"| {name} | " + " | ".join(f"{errors[name]:.0e}" for errors in columns.values()) + " |"


PROBES = (ics_errors, landscape_errors, activation_errors, sharpness_errors)


def main() -> None:
    torch.set_num_threads(1)
    columns = {
        f"{precision}, {norm}, step {view.step}": {
            name: error for probe in PROBES for name, error in probe(view).items()
        }
        for precision in ("float32", "float64")
        for norm in ("none", "batch")
        for view in views(norm, precision)
    }
    small = {
        f"lr {lr:g}": {**ics_errors(view), **landscape_errors(view)}
        for lr in RATES
        for view in views("batch", "float32", lr, steps=(0,))
    }
    lines = (*table("error of", columns), "", *table("float32, batch, step 0", small))
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
