"""A run that comes to its end with numbers that are no result says so wherever it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resume.factories import events, make_run, train
from typer.testing import CliRunner

from bncore.config.model import Checkpoints, Optim
from bncore.report.report_run import gather
from bncore.store.journal import Journal
from bncore.store.paths import RunDir
from bncore.train.running_statistics import overflowed
from bntui.cli.main import app

from .factories import exploding_spec, session

SPEC = exploding_spec(steps=1, checkpoint=Checkpoints())
"""One finite loss; nobody trains with what its update makes."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    found = make_run(tmp_path_factory.mktemp("root") / "sweep" / "run", SPEC)
    found.sweep.sweep_file.write_text("")
    assert train(found) == 0, found.log_file.read_text()
    assert events(found)[-1]["state"] == "finished", "or nothing is tested"
    return found


def test_the_journal_warns_once_of_a_last_evaluation_that_is_not_finite(run: RunDir) -> None:
    (text,) = [event["text"] for event in events(run) if event["type"] == "warning"]
    assert text.startswith("the last evaluation is not finite: train_loss is ")
    assert "test_loss is " in text


def test_so_do_the_list_of_runs_and_the_report(run: RunDir) -> None:
    root = str(run.path.parent.parent)
    listed = CliRunner().invoke(app, ["ls", "--root", root])
    assert "sweep/run: the last evaluation is not finite" in listed.stderr
    as_json = CliRunner().invoke(app, ["ls", "--json", "--root", root])
    assert "the last evaluation is not finite" in as_json.stdout
    (reported,) = gather([run])
    assert reported.view.warning.startswith("the last evaluation is not finite")


def test_a_run_whose_evaluation_is_finite_has_no_such_warning(tmp_path: Path) -> None:
    run = make_run(tmp_path / "sweep" / "run", SPEC.model_copy(update={"optim": Optim(lr=0.1)}))
    assert train(run) == 0
    assert not [event for event in events(run) if event["type"] == "warning"]
    (reported,) = gather([run])
    assert reported.view.warning == ""


def test_statistics_that_have_overflowed_are_told_by_layer() -> None:
    one = session(SPEC)
    assert overflowed(one.net) == []
    with torch.no_grad():
        one.net.norms[1].running_var.fill_(float("inf"))
    assert overflowed(one.net) == [2]


def test_a_resumed_run_does_not_repeat_the_warning(tmp_path: Path, run: RunDir) -> None:
    """Killed after it has warned and before it has ended."""
    again = make_run(tmp_path / "sweep" / "run", SPEC)
    lines = run.journal_file.read_bytes().split(b"\n")
    kept = [line for line in lines if line and b'"checkpoint"' not in line and b'"finished"' not in line]
    again.journal_file.write_bytes(b"\n".join(kept) + b"\n")
    Journal(again.journal_file).close()
    assert train(again) == 0, again.log_file.read_text()
    assert len([event for event in events(again) if event["type"] == "warning"]) == 1
