"""Small runs to test with."""

from __future__ import annotations

from typing import Any

from bncore.data import load
from bncore.spec.model import DLN, Evaluation, GaussianData, Loss, Norm, Optim, Spec
from bncore.train.session import Session


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


def session(spec: Spec) -> Session:
    """A session on its data."""
    return Session(spec, load(spec))
