"""Every instrument by its name. Adding one is a file, a row here and its settings in `bncore.config.probes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bncore.config.model import Spec
from bncore.config.probes import Cadence
from bncore.probes.activations import ActivationsProbe
from bncore.probes.base import Probe
from bncore.probes.ics import IcsProbe
from bncore.probes.landscape import Curvature, LandscapeProbe
from bncore.probes.sharpness import SharpnessProbe
from bncore.probes.theory.probe import TheoryProbe


def _settings(chosen: Cadence) -> dict[str, Any]:
    """What a probe is built with: its settings without its cadence."""
    return {name: value for name, value in chosen if name not in Cadence.model_fields}


def _landscape(spec: Spec) -> Probe:
    search = spec.probes.sharpness
    curvature = Curvature(search.iterations, search.tolerance)
    return LandscapeProbe(**_settings(spec.probes.landscape), curvature=curvature)


PROBES: dict[str, Callable[[Spec], Probe]] = {
    "ics": lambda spec: IcsProbe(**_settings(spec.probes.ics), loss=spec.loss),
    "landscape": _landscape,
    "activations": lambda spec: ActivationsProbe(**_settings(spec.probes.activations)),
    "theory": lambda spec: TheoryProbe(**_settings(spec.probes.theory)),
    "sharpness": lambda spec: SharpnessProbe(**_settings(spec.probes.sharpness)),
}
"""Builders by the name of the settings in `spec.probes`, which is the `name` of the journal's events."""
