"""The experiments that come with the program, as a list shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PresetView:
    """One of them."""

    name: str
    figure: str
    title: str
    variants: tuple[str, ...]


def presets() -> tuple[PresetView, ...]:
    """All of them, by name; takes a moment: each file is read and checked."""
    from bncore.config.load import load_experiment, preset_names
    from bncore.config.plan import variant_names

    found = []
    for name in preset_names():
        experiment = load_experiment(name)
        found.append(PresetView(name, experiment.figure, experiment.title, variant_names(experiment)))
    return tuple(found)
