"""Check that the statistics of a run are computed over more than one value.

The mean of a single value is the value itself, and its scale is zero, so that the normalized layer outputs its
beta whatever the network's input. Training makes only full batches, and evaluation reads running statistics, so no
normalized batch is smaller than `batch_size`. A VGG's convolutions have at least 2x2 positions, so only the norms
of linear layers can have a single value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bncore.config.base import largest_divisor
from bncore.config.tables import SpecFields

FEWEST = 2
"""The smallest number of values that have a mean and a scale."""
OF_ONE_SAMPLE = frozenset({"layer", "group", "instance"})
"""Kinds whose statistics are computed per sample."""
WITHOUT = frozenset({"none", "weight"})
"""Kinds without statistics; all kinds in neither set compute theirs over the batch."""
CLASSES = {"cifar10": 10, "synthetic": 10}
"""Number of classes of the image sources for which it is known in advance."""

Conflict = tuple[str, object, str]
"""Dotted field, its value, what is accepted."""


class LinearNorm(NamedTuple):
    """A norm position after a linear layer."""

    layer: int
    """Layer number, from 1."""
    features: int


def single_value_conflicts(
    spec: SpecFields, *, samples: int | None = None, outputs: int | None = None
) -> Iterator[Conflict]:
    """Settings of a spec that would lead to statistics of fewer than two values.

    Arguments:
        samples: size of the training set, if known, for batch_size "full"; default: from the spec.
        outputs: number of network outputs; default: from the spec.
    """
    data = spec.data
    if data.source == "gaussian":
        samples, outputs = data.samples, data.features
    batch = samples if spec.batch_size == "full" else spec.batch_size
    norms = linear_norms(spec, CLASSES.get(data.source) if outputs is None else outputs)
    kind = spec.norm.kind
    for layer, features in norms if kind in OF_ONE_SAMPLE else ():
        if values_of_a_sample(kind, features, spec.norm.groups) < FEWEST:
            yield _starved_sample(spec, layer, features)
            break
    if batch is not None and batch < FEWEST:
        yield from _starved_batch(spec, norms)
    if norms and spec.noise.on and spec.noise.in_eval and spec.noise.amplitude == "relative":
        yield from _starved_evaluation(spec, samples)


def linear_norms(spec: SpecFields, outputs: int | None) -> list[LinearNorm]:
    """Norm positions after linear layers, the first of each width.

    Arguments:
        outputs: number of network outputs; None: unknown, and the last layer is left out.
    """
    net = spec.net
    if net.kind == "mlp":
        widths = list(net.hidden)
        return [LinearNorm(number, width) for number, width in enumerate(widths, start=1)]
    if net.kind == "dln":
        first = [LinearNorm(1, net.width)] if net.depth > 1 else []
        last = net.normalise_last and outputs is not None
        return [*first, LinearNorm(net.depth, outputs or 0)] if last else first
    convolutions = net.layers - len(net.head) - 1
    widths = [max(1, round(width * net.width)) for width in net.head]
    return [LinearNorm(number, width) for number, width in enumerate(widths, start=convolutions + 1)]


def values_of_a_sample(kind: str, features: int, groups: int) -> int:
    """Number of values per statistic after a linear layer, for kind layer, group or instance."""
    if kind == "group":
        return features // largest_divisor(features, groups)
    return features if kind == "layer" else 1


def _starved_sample(spec: SpecFields, layer: int, features: int) -> Conflict:
    kind = spec.norm.kind
    if kind == "group" and features > 1:
        accepted = f"fewer than the {features} features of layer {layer}: a group of one has no scale"
        return "norm.groups", spec.norm.groups, accepted
    why = "one feature" if kind != "instance" else "one value of each feature"
    accepted = f"another kind: layer {layer} is linear and has {why} a sample to normalize over"
    return "norm.kind", kind, accepted


def _starved_batch(spec: SpecFields, norms: list[LinearNorm]) -> Iterator[Conflict]:
    kind, noise = spec.norm.kind, spec.noise
    if not norms:
        return
    of_one = f"layer {norms[0].layer} is linear and has one value a feature in a batch of 1"
    at_least = f"with batch_size = {spec.batch_size!r}, or a batch_size of at least {FEWEST}"
    if kind not in OF_ONE_SAMPLE | WITHOUT:
        accepted = f"none, layer, group or weight {at_least}: {of_one}, nothing to normalize over"
        yield "norm.kind", kind, accepted
    relative = noise.on and noise.amplitude == "relative"
    if relative and (noise.position != "input" or spec.data.source == "gaussian"):
        accepted = f"'absolute' {at_least}: {of_one}, no deviation to be relative to"
        yield "noise.amplitude", "relative", accepted


def _starved_evaluation(spec: SpecFields, samples: int | None) -> Iterator[Conflict]:
    """Noise in evaluation is relative to the deviation of an evaluation batch, and the last batch may be short."""
    size, total = spec.eval.batch_size, samples or spec.eval.train_samples
    train = min(spec.eval.train_samples or total, total)
    if size < FEWEST or (train and train % size == 1):
        last = "" if size < FEWEST else f", the last of {train} training samples"
        accepted = (
            f"another: noise.in_eval is relative to a batch's deviation, and one of 1 sample{last} has none"
        )
        yield "eval.batch_size", size, accepted
