"""Every instrument by its name. Adding one is a file, a row here and its settings in `bncore.spec.probes`."""

from __future__ import annotations

from collections.abc import Callable

from bncore.probes.activations import Activations
from bncore.probes.base import Probe
from bncore.probes.sharpness import Sharpness
from bncore.spec.model import Spec


def _activations(spec: Spec) -> Probe:
    chosen = spec.probes.activations
    return Activations(layers=chosen.layers, bins=chosen.bins)


def _sharpness(spec: Spec) -> Probe:
    chosen = spec.probes.sharpness
    return Sharpness(iterations=chosen.iterations, tolerance=chosen.tolerance)


PROBES: dict[str, Callable[[Spec], Probe]] = {
    "activations": _activations,
    "sharpness": _sharpness,
}
"""Builders by the name of the settings in `spec.probes`, which is the `name` of the journal's events."""
