"""What the reading commands make of odd directories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from typer.testing import CliRunner

from bncore.config.experiment import Experiment
from bncore.config.model import Spec
from bncore.config.plan import Plan, PlannedRun
from bncore.store.journal import Journal
from bncore.store.paths import SweepDir
from bncore.store.status import State
from bncore.store.sweep import create_sweep
from bntui.cli.main import app
from bntui.cli.show import plots
from bntui.cli.submit import print_summary
from bntui.live.sources import read_whole
from cli.factories import bnrun, clean_environment


def test_a_sweep_without_runs_is_said_to_be_one_and_can_be_removed(tmp_path: Path) -> None:
    sweep = tmp_path / "runs" / "junk"
    sweep.mkdir(parents=True)
    (sweep / "sweep.toml").write_text("")
    for command in (["show"], ["watch", "--plain"], ["logs"]):
        done = bnrun(*command, "junk", cwd=tmp_path)
        assert (done.returncode, "without runs" in done.stderr) == (3, True)
    assert bnrun("rm", "junk", "--yes", cwd=tmp_path).returncode == 0
    assert not sweep.exists()


def test_an_emptied_spec_is_refused_not_taken_for_the_defaults(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "s" / "a-s0"
    run.mkdir(parents=True)
    (run.parent / "sweep.toml").write_text("")
    (run / "spec.toml").write_text("")
    done = bnrun("resume", "s/a-s0", cwd=tmp_path)
    assert done.returncode == 1
    assert "data.source = 'auto': expected a value that was resolved" in done.stderr
    assert not (run / "journal.jsonl").exists()


def test_a_probe_that_found_no_layers_is_not_drawn(tmp_path: Path) -> None:
    plan = Plan(Experiment(name="odd"), "cpu", (PlannedRun("none-s0", "none", 0, Spec()),), ())
    (run,) = create_sweep(plan, root=tmp_path).runs()
    journal = Journal(run.journal_file)
    journal.append("start", 0, schema=1, data="nothing")
    journal.append("step", 0, loss=1.0)
    journal.append("probe", 0, name="theory", layers=[], lipschitz_error=[])
    journal.close()
    (picture,) = plots(read_whole(run))
    assert "Training loss on nothing" in picture


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_the_summary_of_a_sweep_says_how_to_continue_what_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], state: State
) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    for name in ("a-s0", "b-s0"):
        made_run(sweep.path / name, events(), state=state if name == "b-s0" else "finished")
    write_sweep(sweep.path, ["a-s0", "b-s0"], name="one")
    print_summary(sweep, as_json=False)
    said = capsys.readouterr().out
    assert "`bnrun show one-001` plots them" in said
    assert ("`bnrun resume one-001` continues" in said) == (state == "stopped")


def test_a_run_without_a_sweep_is_listed_shown_and_removed_by_its_name(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        made_run(tmp_path / "runs" / name, events())
    listed = json.loads(bnrun("ls", "--json", cwd=tmp_path).stdout)
    assert [run["run"] for run in listed] == ["runs/mine", "runs/other"]
    assert "Training loss" in bnrun("show", "mine", cwd=tmp_path).stdout
    assert bnrun("rm", "runs/mine", "--yes", "--root", "runs", cwd=tmp_path).returncode == 0
    assert bnrun("rm", "--where", "state=finished", "--yes", cwd=tmp_path).returncode == 0
    assert (tmp_path / "runs").is_dir()
    assert not list((tmp_path / "runs").iterdir())


def test_watch_says_that_no_run_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("batch-s0", "none-s0"):
        made_run(tmp_path / "one-001" / name, state="queued")
    write_sweep(tmp_path / "one-001", ["batch-s0", "none-s0"], name="one")

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bntui.cli.inspect._wait_unless_nobody_reads", interrupted)
    done = CliRunner().invoke(app, ["watch", "one", "--plain", "--root", str(tmp_path)])
    assert (done.stdout, done.stderr.splitlines()[0]) == ("", "2 runs queued; none has started")


def test_watch_ends_when_its_reader_goes_although_nothing_is_to_be_said(tmp_path: Path) -> None:
    made_run(tmp_path / "runs" / "one-001" / "batch-s0", events(), state="running")
    write_sweep(tmp_path / "runs" / "one-001", ["batch-s0"], name="one")
    shell = '"$0" -m bntui.cli.main watch one --plain | head -n 1'
    done = subprocess.run(
        ["bash", "-c", shell, sys.executable],
        cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("run=batch-s0")
    assert done.stderr == ""
