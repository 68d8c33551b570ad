"""Lightning's loops: they end as they do alone, and what is measured of them is plain autograd's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bncore.external.checks import ObserveError
from bncore.store.commands import Pause, Stop
from bncore.store.paths import RunDir
from bncore.store.requests import send_request
from bncore.store.status import read_status
from bncore.train.checkpoint import params_sha256

from .factories import of_type
from .loops import journal
from .plain import assert_landscapes, plain_landscapes

lightning = pytest.importorskip("lightning.pytorch")
torchmetrics = pytest.importorskip("torchmetrics")
pytestmark = pytest.mark.filterwarnings("ignore")

LR, BATCHES, SAMPLES = 0.05, 6, 8
PROBES = {"landscape": {"every": 1}, "activations": {"every": 2}}


class Module(lightning.LightningModule):  # type: ignore[name-defined,misc]
    """A perceptron that logs its loss, and counts its error in a metric."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))
        self.error = torchmetrics.MeanSquaredError()
        self.seen: list[float] = []
        self.calls = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.calls += 1
        x, y = batch
        outputs = self.net(x)
        self.error(outputs.float(), y.float())
        loss = F.mse_loss(outputs.to(y.dtype), y)
        self.log_dict({"train_loss": loss})
        self.log("train_error", self.error, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.mse_loss(self.net(batch[0]).to(batch[1].dtype), batch[1]))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(float(outputs["loss"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=LR)


class ByHand(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        optimizer = self.optimizers()
        loss = loss_of(self, batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


def loss_of(module: Any, batch: Any) -> Tensor:
    return F.mse_loss(module.net(batch[0]), batch[1])


def batches() -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(3)
    inputs = torch.randn(BATCHES, SAMPLES, 3, generator=source)
    return [(x, x[:, :2].sin()) for x in inputs]


def fit(run: Path | None, module: Any = None, *, callback: Any = None, **options: Any) -> Any:
    """The trained module; observed into a directory, or alone."""
    from bncore.integrations.lightning import Observe  # noqa: PLC0415

    torch.manual_seed(1)
    module = Module() if module is None else module()
    if run is not None:
        callback = callback or Observe(run, probes=PROBES, on_error="raise")
    torch.manual_seed(2)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[] if callback is None else [callback], **options,
    )  # fmt: skip
    x, y = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=SAMPLES)
    trainer.fit(module, loader, loader)
    return module


def initial() -> Any:
    torch.manual_seed(1)
    return Module()


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float64": {"precision": "64-true"},
    "bfloat16": {"precision": "bf16-mixed"},
    "accumulated": {"accumulate_grad_batches": 2},
    "an incomplete accumulation": {"accumulate_grad_batches": 4},
    "clipped": {"gradient_clip_val": 0.01},
    "dropout": {"module": lambda: Module(dropout=0.5)},
}


@pytest.mark.parametrize("name", KINDS)
def test_observing_changes_nothing_and_is_faithful(tmp_path: Path, name: str) -> None:
    alone, watched = fit(None, **KINDS[name]), fit(tmp_path / "run", **KINDS[name])
    events = journal(tmp_path / "run")
    assert params_sha256(alone) == params_sha256(watched) == events[-1]["params_sha256"]
    assert events[-1]["state"] == "finished"
    assert {metric: float(value) for metric, value in alone.trainer.callback_metrics.items()} == {
        metric: float(value) for metric, value in watched.trainer.callback_metrics.items()
    }
    fidelity = of_type(events, "probe", "fidelity")
    assert len(fidelity) == watched.trainer.global_step
    assert all(e["faithful"] for e in fidelity)
    assert max(e["deviation"] for e in fidelity) < 1e-6
    assert of_type(events, "probe_failed") == []
    assert watched.calls == BATCHES


@pytest.mark.parametrize("accumulated", [1, 2])
def test_its_losses_are_the_loop_s(tmp_path: Path, accumulated: int) -> None:
    module = fit(tmp_path / "run", accumulate_grad_batches=accumulated)
    told = [e["loss"] for e in of_type(journal(tmp_path / "run"), "step")]
    assert told == np.reshape(module.seen, (-1, accumulated)).sum(1).tolist()


@pytest.mark.parametrize(
    ("options", "rtol"),
    [
        ({"precision": "64-true"}, 1e-10),
        ({"precision": "64-true", "accumulate_grad_batches": 2}, 1e-10),
        ({}, 1e-5),
        ({"accumulate_grad_batches": 2}, 1e-5),
    ],
)
def test_the_landscape_is_plain_autograd_s(tmp_path: Path, options: Any, rtol: float) -> None:
    fit(tmp_path / "run", **options)
    size = options.get("accumulate_grad_batches", 1)
    data = [(x.double(), y.double()) for x, y in batches()]
    updates = [data[i : i + size] for i in range(0, BATCHES, size)]
    expected = plain_landscapes(initial(), loss_of, updates, LR)
    assert_landscapes(journal(tmp_path / "run"), expected, rtol)


def test_under_bfloat16_the_first_landscape_is_that_of_float32(tmp_path: Path) -> None:
    fit(tmp_path / "run", precision="bf16-mixed")
    events = journal(tmp_path / "run")
    data = [[(x.double(), y.double()) for x, y in batches()[:1]]]
    assert_landscapes(events, plain_landscapes(initial(), loss_of, data, LR), 1e-5)
    assert {e["precision"] for e in of_type(events, "probe", "fidelity")} == {"float32"}


def test_evaluations_and_hyperparameters_are_told(tmp_path: Path) -> None:
    module = fit(tmp_path / "run")
    (event,) = of_type(journal(tmp_path / "run"), "log")
    assert event["val_loss"] == float(module.trainer.callback_metrics["val_loss"])
    assert "dropout = 0.0" in (tmp_path / "run" / "spec.toml").read_text()


def test_updates_made_by_hand_need_a_loss(tmp_path: Path) -> None:
    from bncore.integrations.lightning import Observe  # noqa: PLC0415

    with pytest.raises(ObserveError, match="updates are made by hand"):
        fit(tmp_path / "refused", ByHand)
    callback = Observe(
        tmp_path / "run",
        probes=PROBES,
        on_error="raise",
        loss_of=lambda module, batch, _: loss_of(module, batch),
    )
    watched = fit(tmp_path / "run", ByHand, callback=callback)
    events = journal(tmp_path / "run")
    assert events[-1]["params_sha256"] == params_sha256(fit(None, ByHand))
    assert [e["loss"] for e in of_type(events, "step")] == watched.seen
    assert max(e["deviation"] for e in of_type(events, "probe", "fidelity")) == 0.0


def test_a_probe_that_fails_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bncore.integrations.lightning import Observe  # noqa: PLC0415
    from bncore.probes.landscape import LandscapeProbe  # noqa: PLC0415

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(LandscapeProbe, "measure", fail)
    with pytest.warns(RuntimeWarning, match="probe landscape failed"):
        watched = fit(tmp_path / "run", callback=Observe(tmp_path / "run", probes=PROBES))
    events = journal(tmp_path / "run")
    assert params_sha256(watched) == params_sha256(fit(None)) == events[-1]["params_sha256"]
    assert len(of_type(events, "probe_failed")) == BATCHES


def test_an_exception_in_the_training_ends_the_run(tmp_path: Path) -> None:
    class Broken(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            if batch_idx == 2:
                raise KeyError("gone")
            return super().training_step(batch, batch_idx)

    with pytest.raises(KeyError):
        fit(tmp_path / "run", Broken)
    assert read_status(RunDir(tmp_path / "run")).state == "failed"


@pytest.mark.parametrize("paused", [False, True])
def test_a_person_s_stop_ends_the_fit_quietly(tmp_path: Path, paused: bool) -> None:
    from bncore.integrations.lightning import Observe  # noqa: PLC0415

    def request(_: Any) -> None:
        if paused:
            send_request(RunDir(tmp_path / "run"), Pause(at_step=2))
        send_request(RunDir(tmp_path / "run"), Stop(at_step=2))

    module = fit(
        tmp_path / "run", callback=Observe(tmp_path / "run", probes={}, declare=request, on_error="raise")
    )
    events = journal(tmp_path / "run")
    assert (events[-1]["type"], events[-1]["state"], events[-1]["step"]) == ("finished", "stopped", 2)
    assert module.trainer.global_step == 2
