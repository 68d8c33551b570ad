"""The Trainer of Transformers: it ends as it does alone, and what is measured of it is plain autograd's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bncore.store.commands import Pause, Stop
from bncore.store.paths import RunDir
from bncore.store.requests import send_request
from bncore.store.status import read_status
from bncore.train.checkpoint import params_sha256

from .factories import Event, of_type
from .loops import journal
from .plain import assert_landscapes, plain_landscapes

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")

LR, BATCHES, SAMPLES = 0.05, 6, 4
PROBES = {"landscape": {"every": 1}, "activations": {"every": 2}}


def model(*, dropout: float = 0.0) -> Any:
    """A language model of two layers, of random weights."""
    torch.manual_seed(1)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0,
            resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, attn_implementation="eager",
        )
    )  # fmt: skip


def tokens() -> Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randint(11, (BATCHES * SAMPLES, 8), generator=source)


def example(row: Tensor) -> dict[str, Tensor]:
    """Its first token, which nothing predicts, is no label: the Trainer divides by the number of labels."""
    labels = row.clone()
    labels[0] = -100
    return {"input_ids": row, "labels": labels}


class InOrder(transformers.Trainer):  # type: ignore[name-defined,misc]
    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Told(transformers.TrainerCallback):  # type: ignore[name-defined,misc]
    """What the Trainer says of its losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])


def trainer(folder: Path, net: Any = None, **options: Any) -> Any:
    chosen: dict[str, Any] = {
        "per_device_train_batch_size": SAMPLES, "num_train_epochs": 1, "learning_rate": LR, "optim": "sgd",
        "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "logging_steps": 1, "save_strategy": "no",
        "report_to": [], "use_cpu": True, "disable_tqdm": True, **options,
    }  # fmt: skip
    made = InOrder(
        model=net or model(),
        args=transformers.TrainingArguments(output_dir=str(folder / "out"), **chosen),
        train_dataset=[example(row) for row in tokens()],
        eval_dataset=[example(row) for row in tokens()[:4]],
    )
    made.add_callback(Told())
    return made


def train(run: Path | None, folder: Path, net: Any = None, **options: Any) -> Any:
    """A trainer after it has trained; observed into a directory, or alone."""
    from bncore.integrations.transformers import Observe  # noqa: PLC0415

    made = trainer(folder, net, **options)
    if run is not None:
        made.add_callback(Observe(made, run, probes=PROBES, on_error="raise"))
    torch.manual_seed(2)
    made.train()
    return made


def told(made: Any) -> list[float]:
    (callback,) = [c for c in made.callback_handler.callbacks if isinstance(c, Told)]
    return callback.losses


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "AdamW, clipped, on a schedule": {
        "optim": "adamw_torch",
        "max_grad_norm": 0.1,
        "lr_scheduler_type": "linear",
    },
    "bfloat16": {"bf16": True},
    "accumulated": {"gradient_accumulation_steps": 2},
    "an incomplete accumulation": {"gradient_accumulation_steps": 4},
    "label smoothing": {"label_smoothing_factor": 0.1},
    "gradient checkpointing": {
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    },
}


@pytest.mark.parametrize("name", KINDS)
def test_observing_changes_nothing_and_is_faithful(tmp_path: Path, name: str) -> None:
    alone = train(None, tmp_path, **KINDS[name])
    watched = train(tmp_path / "run", tmp_path, **KINDS[name])
    events = journal(tmp_path / "run")
    assert params_sha256(alone.model) == params_sha256(watched.model) == events[-1]["params_sha256"]
    assert events[-1]["state"] == "finished"
    assert told(alone) == told(watched)
    assert [e["loss"] for e in of_type(events, "step")] == pytest.approx(told(watched), rel=1e-6, abs=5.1e-5)
    assert_faithful(events, watched.state.global_step)


def assert_faithful(events: list[Event], steps: int) -> None:
    fidelity = of_type(events, "probe", "fidelity")
    assert len(fidelity) == steps
    assert all(e["faithful"] for e in fidelity)
    assert max(e["deviation"] for e in fidelity) < 1e-6
    assert of_type(events, "probe_failed") == []


def test_dropout_is_repeated(tmp_path: Path) -> None:
    alone = train(None, tmp_path, model(dropout=0.3))
    watched = train(tmp_path / "run", tmp_path, model(dropout=0.3))
    assert params_sha256(alone.model) == params_sha256(watched.model)
    assert_faithful(journal(tmp_path / "run"), BATCHES)


def loss_of(net: Any, rows: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(
        net(input_ids=rows).logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
    )


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_landscape_is_plain_autograd_s(tmp_path: Path, accumulated: int) -> None:
    train(tmp_path / "run", tmp_path, model().double(), gradient_accumulation_steps=accumulated)
    batches = tokens().split(SAMPLES)
    updates = [batches[i : i + accumulated] for i in range(0, BATCHES, accumulated)]
    expected = plain_landscapes(model(), loss_of, updates, LR)
    assert_landscapes(journal(tmp_path / "run"), expected, 1e-6)  # Transformers computes the loss in float32


def test_under_bfloat16_the_first_landscape_is_that_of_float32(tmp_path: Path) -> None:
    train(tmp_path / "run", tmp_path, bf16=True)
    events = journal(tmp_path / "run")
    assert_landscapes(events, plain_landscapes(model(), loss_of, [tokens().split(SAMPLES)[:1]], LR), 1e-5)
    assert {e["precision"] for e in of_type(events, "probe", "fidelity")} == {"float32"}


def test_evaluations_are_told(tmp_path: Path) -> None:
    made = train(tmp_path / "run", tmp_path, eval_strategy="epoch")
    (event,) = of_type(journal(tmp_path / "run"), "log")
    (logged,) = [entry["eval_loss"] for entry in made.state.log_history if "eval_loss" in entry]
    assert event["eval_loss"] == logged


def test_a_probe_that_fails_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bncore.integrations.transformers import Observe  # noqa: PLC0415
    from bncore.probes.landscape import LandscapeProbe  # noqa: PLC0415

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(LandscapeProbe, "measure", fail)
    made = trainer(tmp_path)
    made.add_callback(Observe(made, tmp_path / "run", probes=PROBES))
    torch.manual_seed(2)
    with pytest.warns(RuntimeWarning, match="probe landscape failed"):
        made.train()
    events = journal(tmp_path / "run")
    alone = train(None, tmp_path)
    assert params_sha256(made.model) == params_sha256(alone.model) == events[-1]["params_sha256"]
    assert len(of_type(events, "probe_failed")) == BATCHES


def test_an_exception_in_the_training_ends_the_run_and_leaves_the_trainer_as_it_was(tmp_path: Path) -> None:
    from bncore.integrations.transformers import Observe  # noqa: PLC0415

    class Broken(transformers.TrainerCallback):  # type: ignore[name-defined,misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                raise KeyError("gone")

    made = trainer(tmp_path)
    made.add_callback(Observe(made, tmp_path / "run", probes={}))
    made.add_callback(Broken())
    with pytest.raises(KeyError):
        made.train()
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state == "failed"
    assert "training_step" not in vars(made)
    assert made.optimizer.optimizer._optimizer_step_pre_hooks == {}


@pytest.mark.parametrize("paused", [False, True])
def test_a_person_s_stop_ends_the_training_quietly(tmp_path: Path, paused: bool) -> None:
    from bncore.integrations.transformers import Observe  # noqa: PLC0415

    def request(_: Any) -> None:
        if paused:
            send_request(RunDir(tmp_path / "run"), Pause(at_step=2))
        send_request(RunDir(tmp_path / "run"), Stop(at_step=2))

    made = trainer(tmp_path)
    made.add_callback(Observe(made, tmp_path / "run", probes={}, declare=request, on_error="raise"))
    made.train()
    events = journal(tmp_path / "run")
    assert (events[-1]["type"], events[-1]["state"], events[-1]["step"]) == ("finished", "stopped", 2)
    assert made.state.global_step == 2
