"""Lightning's loops, in what they have of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from bncore.external.checks import ObserveError
from bncore.train.checkpoint import params_sha256

from .factories import of_type
from .frameworks import BATCHES, OBSERVED
from .loops import journal

pytest.importorskip("lightning")
from .lightning_loop import Module, Training, loss_of

pytestmark = pytest.mark.filterwarnings("ignore")


class ByHand(Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__(dropout)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()
        loss = loss_of(self, batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


@pytest.mark.parametrize("accumulated", [1, 2])
def test_its_losses_are_the_loop_s(tmp_path: Path, accumulated: int) -> None:
    module = Training(tmp_path / "run", accumulate_grad_batches=accumulated).start().net
    told = [e["loss"] for e in of_type(journal(tmp_path / "run"), "step")]
    assert told == np.reshape(module.losses, (-1, accumulated)).sum(1).tolist()
    assert module.calls == BATCHES


def test_evaluations_and_hyperparameters_are_told(tmp_path: Path) -> None:
    training = Training(tmp_path / "run").start()
    (event,) = of_type(journal(tmp_path / "run"), "log")
    assert event["val_loss"] == training.reported["val_loss"]
    assert "dropout = 0.0" in (tmp_path / "run" / "spec.toml").read_text()


def test_updates_made_by_hand_need_a_loss(tmp_path: Path) -> None:
    with pytest.raises(ObserveError, match="manual optimization; expected Observe"):
        Training(tmp_path / "refused", module=ByHand).start()
    settings = {**OBSERVED, "loss_of": lambda module, batch, _: loss_of(module, batch)}
    watched = Training(tmp_path / "run", settings, module=ByHand).start()
    events = journal(tmp_path / "run")
    assert events[-1]["params_sha256"] == params_sha256(Training(None, module=ByHand).start().net)
    assert [e["loss"] for e in of_type(events, "step")] == watched.net.losses
    assert max(e["deviation"] for e in of_type(events, "probe", "fidelity")) == 0.0
