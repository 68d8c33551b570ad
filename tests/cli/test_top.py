"""`bnrun top`: the live runs under a root, what they take of their machines, and nothing of what is over."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pytest
from live.factories import events, made_run, write_sweep
from typer.testing import CliRunner

from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.store.status import Status, write_status
from bntui.cli.main import app
from bntui.live.usage_table import COLUMNS
from cli.factories import clean_environment

SHARES = {
    "time_data": 0.02, "time_step": 0.6, "time_probes": 0.23, "time_evaluation": 0.1, "time_checkpoints": 0.0,
}  # fmt: skip
FIGURES = {
    "batch-s0": {"cpu": 0.5, "rss": 775.4, "os_threads": 4.0, **SHARES},
    "none-s0": {
        "cpu": 1.75, "rss": 20_480.0, "os_threads": 9.0, **SHARES,
        "gpu_use": 0.97, "gpu_memory": 5_000.0, "gpu_power": 250.4, "gpu_temperature": 61.0,
    },
    "old-s0": {},
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Three live runs, one of them of a program that recorded nothing, and two that are no more."""
    sweep = tmp_path / "one-001"
    with ExitStack() as held:
        for name, figures in FIGURES.items():
            run = made_run(sweep / name, events(20), state="running")
            status = Status("paused" if name == "old-s0" else "running", 20, 40, 2.5, 8.0, machine=figures)
            write_status(run, status)
            held.callback(acquire(run).release)
        made_run(sweep / "dead-s0", events(20), state="running")
        made_run(sweep / "over-s0", events(20))
        write_sweep(sweep, [*FIGURES, "dead-s0", "over-s0"])
        yield tmp_path


def top(root: Path, *arguments: str) -> tuple[str, str]:
    """Standard output and standard error."""
    done = CliRunner().invoke(app, ["top", *arguments, "--root", str(root)])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def table(root: Path, *arguments: str) -> dict[str, dict[str, str]]:
    """The table as printed: by run, its cells by their titles."""
    header, _, *lines = (line for line in top(root, *arguments)[0].splitlines() if line.strip())
    titles, *rows = (re.split(r" {2,}", line.strip()) for line in (header, *lines))
    return {row[0]: dict(zip(titles, row, strict=True)) for row in rows}


def test_every_live_run_has_a_row_and_nobody_else(root: Path) -> None:
    found = table(root)
    assert list(found) == ["one-001/batch-s0", "one-001/none-s0", "one-001/old-s0"]
    assert list(found["one-001/none-s0"].items()) == [
        ("run", "one-001/none-s0"), ("state", "running"), ("steps", "20/40"), ("steps/s", "2.5"), ("ETA", "8 s"),
        ("CPU", "175 %"), ("RSS", "20.0 G"), ("threads", "9"), ("GPU", "97 %"), ("GPU mem", "5,000 M"),
        ("power", "250 W"), ("temp", "61 °C"), ("data %", "2"), ("step %", "60"), ("probes %", "23"),
        ("eval %", "10"), ("ckpt %", "0"),
    ]  # fmt: skip


def test_what_is_not_known_is_no_zero(root: Path) -> None:
    found = table(root)
    assert {found["one-001/batch-s0"][title] for title in ("GPU", "GPU mem", "power", "temp")} == {"-"}
    old, told = found["one-001/old-s0"], ("run", "state", "steps", "steps/s", "ETA")
    assert {value for title, value in old.items() if title not in told} == {"-"}


def test_without_gpus_there_are_no_columns_of_theirs(root: Path) -> None:
    found = table(root, "-w", "batch-s0")["one-001/batch-s0"]
    assert list(found) == [title for title in COLUMNS if title not in ("GPU", "GPU mem", "power", "temp")]


def test_rows_are_sorted_and_selected_as_requested(root: Path) -> None:
    assert list(table(root, "--sort", "-cpu")) == ["one-001/none-s0", "one-001/batch-s0", "one-001/old-s0"]
    assert list(table(root, "--sort", "cpu")) == ["one-001/batch-s0", "one-001/none-s0", "one-001/old-s0"]
    assert list(table(root, "--where", "gpu_use>0.5")) == ["one-001/none-s0"]
    assert list(table(root, "--where", "state:paused")) == ["one-001/old-s0"]
    assert list(table(root, "--where", "loss<1 rss>1000")) == ["one-001/none-s0"]


def test_programs_get_what_is_known_and_no_more(root: Path) -> None:
    rows = {row["run"]: row for row in json.loads(top(root, "--json")[0])}
    assert {name.partition("/")[2]: row["machine"] for name, row in rows.items()} == FIGURES
    assert rows["one-001/none-s0"] | {"machine": {}} == {
        "run": "one-001/none-s0", "path": str(root / "one-001" / "none-s0"), "state": "running",
        "step": 20, "steps": 40, "rate": 2.5, "eta_s": 8.0, "machine": {},
    }  # fmt: skip


def test_where_no_run_lives_that_is_said(root: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert top(tmp_path / "none") == ("", f"no live runs under {tmp_path / 'none'}\n")
    assert top(root, "-w", "cpu>500%") == ("", f"no run under {root} matches cpu>500%\n")
    assert json.loads(top(tmp_path / "none", "--json")[0]) == []


def test_in_a_terminal_the_table_follows_and_fits(root: Path) -> None:
    arguments = ["-m", "bntui.cli.main", "top", "--root", str(root)]
    environment = {**clean_environment(root), "TERM": "xterm"}
    environment.pop("COLUMNS")
    with pexpect.spawn(
        sys.executable, arguments, env=environment, dimensions=(12, 70), encoding="utf-8", timeout=30
    ) as screen:
        screen.expect("one-001/none-s0")
        screen.expect("175 %")
        assert "threads" not in screen.before
        none = RunDir(root / "one-001" / "none-s0")
        write_status(none, Status("running", 30, 40, machine={"cpu": 0.33}))
        screen.expect("33 %")
        write_status(none, Status("finished", 40, 40))
        screen.expect(r"run +")
        screen.sendintr()
        screen.expect(pexpect.EOF)
    assert screen.exitstatus == 130
