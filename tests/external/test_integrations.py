"""What callbacks say where their library is missing; the examples."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bncore.store.journal import read_events

from .factories import of_type

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("name", "library"), [("lightning", "lightning.pytorch"), ("transformers", "transformers")]
)
def test_a_missing_library_is_said_in_words(monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"bncore.integrations.{name}", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=rf"bncore\.integrations\.{name} needs .* pip install {name}"
    ):
        importlib.import_module(f"bncore.integrations.{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "library"),
    [("plain_loop", "torch"), ("lightning_fit", "lightning"), ("transformers_trainer", "transformers")],
)
def test_an_example_learns_and_is_faithful(tmp_path: Path, example: str, library: str) -> None:
    pytest.importorskip(library)
    command = [sys.executable, str(REPOSITORY / "examples" / f"{example}.py"), "runs/one/example"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    events = read_events(tmp_path / "runs" / "one" / "example" / "journal.jsonl")
    losses = [e["loss"] for e in of_type(events, "step")]
    assert losses[-1] < losses[0] / 3
    assert events[-1]["state"] == "finished"
    assert of_type(events, "probe_failed") == []
    assert all(e["faithful"] for e in of_type(events, "probe", "fidelity"))
