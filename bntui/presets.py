"""The experiments that come with the program, as a list shows them."""

from __future__ import annotations

from dataclasses import dataclass

from bncore.config.load import load_experiment, preset_names
from bncore.config.plan import variant_names


@dataclass(frozen=True, slots=True)
class PresetView:
    """One of them."""

    name: str
    figure: str
    title: str
    variants: tuple[str, ...]


def presets() -> tuple[PresetView, ...]:
    """All of them, by name; takes a moment: each file is read and checked."""
    experiments = ((name, load_experiment(name)) for name in preset_names())
    return tuple(PresetView(name, one.figure, one.title, variant_names(one)) for name, one in experiments)
