"""Runs that are steered, and the runs to compare them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resume.factories import DEEP_LINEAR, SLOW, events, events_so_far, make_run, train

from bncore.config.model import Spec
from bncore.config.probes import Activations, Ics, Landscape, Probes
from bncore.store import commands, requests
from bncore.store.paths import RunDir

OBSERVED = DEEP_LINEAR.model_copy(
    update={
        "probes": Probes(
            ics=Ics(every=10, floor_every=2),
            landscape=Landscape(every=15),
            activations=Activations(every=6, bins=8),
        )
    }
)
"""Sixty steps with probes at 0, 6, 10, 12, 15, ..., evaluations at tens, checkpoints at sevens."""

SLOW_OBSERVED = SLOW.model_copy(update={"probes": Probes(ics=Ics(every=25))})
"""Long enough to be met while it is under way."""

CHANGES: tuple[dict[str, Any], ...] = (
    {"norm.kind": "l1"},
    {"norm.kind": "none"},
    {"norm.kind": "linf", "norm.centred": True},
    {"norm.kind": "batch"},
    {"noise.on": True},
    {"noise.on": True, "noise.n_mu": 0.25, "noise.position": "before_norm"},
    {"noise.on": False},
    {"optim.lr": 0.002},
    {"optim.lr": 0.02, "noise.amplitude": "relative", "noise.on": True},
    {"probes.ics.every": 4},
    {"probes.ics.every": 0, "probes.landscape.every": 7},
    {"probes.activations.at": [11, 13], "norm.kind": "layer"},
)
"""What a person might ask for, one after another."""


def steered(path: Path, spec: Spec, requested: list[tuple[int, dict[str, Any]]]) -> RunDir:
    """A queued run that was requested changes at steps."""
    run = make_run(path, spec)
    for step, changes in requested:
        requests.send_request(run, commands.Set(changes=changes, at_step=step))
    return run


def finished(path: Path, spec: Spec, requested: list[tuple[int, dict[str, Any]]]) -> RunDir:
    """`steered`, and trained to its end."""
    run = steered(path, spec, requested)
    assert train(run) == 0, run.log_file.read_text()
    return run


def answers(run: RunDir) -> list[tuple[int, str, str]]:
    """(step, kind, outcome) of every request in the journal so far."""
    requested = [e for e in events_so_far(run) if e["type"] == "request"]
    return [(e["step"], e["command"]["kind"], e["outcome"]) for e in requested]


def events_of(run: RunDir, *kinds: str) -> list[dict[str, Any]]:
    """Events of these types without sequence number and time."""
    return [{k: v for k, v in e.items() if k not in ("seq", "t")} for e in events(run) if e["type"] in kinds]
