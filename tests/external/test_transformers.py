"""The Trainer of Transformers, in what it has of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from .factories import of_type
from .loops import journal

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from .transformers_loop import Training

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("accumulated", [1, 2])
def test_its_losses_are_the_loop_s(tmp_path: Path, accumulated: int) -> None:
    training = Training(tmp_path / "run", gradient_accumulation_steps=accumulated).start()
    told = [e["loss"] for e in of_type(journal(tmp_path / "run"), "step")]
    assert told == pytest.approx(training.reported, rel=1e-6, abs=5.1e-5)


def test_evaluations_are_told(tmp_path: Path) -> None:
    training = Training(tmp_path / "run", eval_strategy="epoch").start()
    (event,) = of_type(journal(tmp_path / "run"), "log")
    (logged,) = [e["eval_loss"] for e in training.trainer.state.log_history if "eval_loss" in e]
    assert event["eval_loss"] == logged


def test_on_a_cpu_float16_is_float32(tmp_path: Path) -> None:
    """Therefore what is tested with a scaler sets what Accelerate sets on a GPU."""
    training = Training(None, fp16=True).start()
    assert training.trainer.accelerator.scaler is None
    assert training.reported == Training(None).start().reported
