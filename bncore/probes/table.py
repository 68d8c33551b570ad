"""Every instrument by its name. Adding one is a file, a row here and its settings in `bncore.config.probes`."""

from __future__ import annotations

from collections.abc import Callable

from bncore.config.model import Spec
from bncore.probes.activations import Activations
from bncore.probes.base import Probe
from bncore.probes.ics import Ics
from bncore.probes.landscape import Curvature, Landscape
from bncore.probes.sharpness import Sharpness
from bncore.probes.theory import Theory


def _ics(spec: Spec) -> Probe:
    chosen = spec.probes.ics
    return Ics(
        layers=chosen.layers,
        group=chosen.group,
        floor_every=chosen.floor_every,
        penalty=chosen.penalty,
        rescale=chosen.rescale,
        loss=spec.loss,
    )


def _landscape(spec: Spec) -> Probe:
    chosen, search = spec.probes.landscape, spec.probes.sharpness
    return Landscape(
        multiples=chosen.multiples,
        loss_multiples=chosen.loss_multiples,
        direction=chosen.direction,
        floor_every=chosen.floor_every,
        curvature=Curvature(search.iterations, search.tolerance),
        penalty=chosen.penalty,
    )


def _activations(spec: Spec) -> Probe:
    chosen = spec.probes.activations
    return Activations(layers=chosen.layers, bins=chosen.bins)


def _theory(spec: Spec) -> Probe:
    chosen = spec.probes.theory
    return Theory(layers=chosen.layers, neurons=chosen.neurons)


def _sharpness(spec: Spec) -> Probe:
    chosen = spec.probes.sharpness
    return Sharpness(iterations=chosen.iterations, tolerance=chosen.tolerance)


PROBES: dict[str, Callable[[Spec], Probe]] = {
    "ics": _ics,
    "landscape": _landscape,
    "activations": _activations,
    "theory": _theory,
    "sharpness": _sharpness,
}
"""Builders by the name of the settings in `spec.probes`, which is the `name` of the journal's events."""
