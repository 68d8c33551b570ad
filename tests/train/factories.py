"""Small runs to test with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bncore.config.model import DLN, MLP, Checkpoints, Evaluation, GaussianData, Loss, Norm, Optim, Spec
from bncore.data.resident import load
from bncore.train.state import TrainState


def dln_spec(**changes: Any) -> Spec:
    """A deep linear network of five 4x4 layers on 40 samples."""
    spec = Spec(
        steps=30,
        batch_size="full",
        precision="float64",
        device="cpu",
        threads=1,
        data=GaussianData(samples=40, features=4),
        net=DLN(depth=5, width=4),
        norm=Norm(kind="batch", bias=False),
        loss=Loss(kind="squared_error", reduction="half_sum"),
        optim=Optim(lr=1e-3),
        eval=Evaluation(every=10),
    )
    return spec.model_copy(update=changes)


def exploding_spec(**changes: Any) -> Spec:
    """The first update is of a size whose next loss overflows."""
    spec = Spec(
        steps=30,
        batch_size=16,
        device="cpu",
        threads=1,
        data=GaussianData(samples=64, features=4),
        net=MLP(hidden=(8, 8)),
        norm=Norm(kind="batch"),
        loss=Loss(kind="squared_error"),
        optim=Optim(lr=1e30),
        eval=Evaluation(every=0),
        checkpoint=Checkpoints(every_steps=1, every_minutes=0),
    )
    return spec.model_copy(update=changes)


def session(spec: Spec) -> TrainState:
    """A session on its data."""
    return TrainState(spec, load(spec))


TOGGLES: list[dict[str, Any]] = [
    {"norm__kind": "none"},
    {"norm__kind": "l1"},
    {"noise__on": False},
    {"noise__n_mu": 0.1},
    {"noise__position": "last_norm"},
    {"optim__lr": 0.001},
]
"""Changes in mid-run that a graph must follow; `__` stands for the dot."""


def settings_of(spec: Spec, names: Iterable[str]) -> dict[str, Any]:
    """What a spec has under such names."""
    found = {}
    for name in names:
        room, field = name.split("__")
        found[name] = getattr(getattr(spec, room), field)
    return found
