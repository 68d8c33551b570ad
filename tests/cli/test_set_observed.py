"""`bnrun set` of an observed loop: its controls are listed, and what they do not accept is never sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from typer.testing import CliRunner

from bncore.config.controls import Control
from bncore.store.commands import write_controls
from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.store.requests import waiting
from bntui.cli.main import app
from cli import factories

CONTROLS = (
    Control(name="lr", kind="float", value=0.1, minimum=0.0),
    Control(name="noise", kind="bool", value=False),
    Control(name="mode", kind="str", value="a", choices=("a", "b")),
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    """A loop at work, beside a run of our own that is paused."""
    run = made_run(tmp_path / "mine" / "net", events(12), state="running")
    made_run(tmp_path / "mine" / "ours", events(12), state="paused")
    write_sweep(tmp_path / "mine", ["net", "ours"])
    write_controls(run, CONTROLS)
    owners = [acquire(RunDir(tmp_path / "mine" / name)) for name in ("net", "ours")]
    yield run
    for owner in owners:
        owner.release()


def bnrun(run: RunDir, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(
        app, [*arguments, "--root", str(run.path.parent.parent)], env={"COLUMNS": "200"}
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def sent(run: RunDir) -> list[dict[str, object]]:
    return [one.command.model_dump(exclude_none=True) for one in waiting(run)]


def test_without_a_change_what_can_be_set_is_listed(run: RunDir) -> None:
    code, out, _ = bnrun(run, "set", "mine/net")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "mine/net lr 0.1 a number >= 0" in rows
    assert "mine/net noise off on or off" in rows
    assert "mine/net mode a one of a, b" in rows
    _, ours, _ = bnrun(run, "set", "mine/ours")
    assert any(line.split()[:2] == ["mine/ours", "optim.lr"] for line in ours.splitlines())
    assert not sent(run)


@pytest.mark.parametrize(
    ("typed", "changes"),
    [
        (["lr=0.05"], {"lr": 0.05}),
        (["lr=1", "noise=on"], {"lr": 1.0, "noise": True}),
        (["noise=false", "mode=b"], {"noise": False, "mode": "b"}),
    ],
)
def test_what_is_accepted_is_sent(run: RunDir, typed: list[str], changes: dict[str, object]) -> None:
    code, _, err = bnrun(run, "set", "mine/net", *typed, "--at-step", "20")
    assert (code, err) == (0, "mine/net: request sent: set\n")
    assert sent(run) == [{"kind": "control", "at_step": 20, "changes": changes}]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["lr=-1"], "lr = -1.0: expected a number >= 0"),
        (["lr=nan"], "lr = nan: expected a number >= 0"),
        (["lr=fast"], "lr = 'fast': expected a number >= 0"),
        (["noise=2"], "noise = '2': expected on or off"),
        (["mode=c"], "mode = 'c': expected one of a, b"),
        (["optim.lr=0.1"], "optim.lr = '0.1': no such control; expected one of lr, noise, mode"),
        (["nois=on"], "(did you mean 'noise'?)"),
        (["lr=0.1", "noise"], "noise: expected name=value"),
    ],
)
def test_what_is_not_accepted_is_refused_and_not_sent(run: RunDir, typed: list[str], why: str) -> None:
    root = run.path.parent.parent
    done = factories.bnrun("set", "mine/net", *typed, cwd=root, BNRUN_ROOT=str(root))
    assert done.returncode == 2
    assert why in done.stderr
    assert not sent(run)


def test_each_run_of_a_sweep_is_asked_in_its_own_words(run: RunDir) -> None:
    code, _, err = bnrun(run, "set", "mine", "lr=0.05")
    assert code == 0, err
    ours = RunDir(run.path.parent / "ours")
    assert [sent(run), sent(ours)] == [
        [{"kind": "control", "changes": {"lr": 0.05}}],
        [{"kind": "set", "changes": {"optim.lr": 0.05}}],
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("lr=0.1 noise=off", ["mine/net", "mine/ours"]),
        ("control.mode=a", ["mine/net"]),
        ("control.mode=b", []),
        ("control.lr>1", []),
        ("lr>0", ["mine/net", "mine/ours"]),
    ],
)
def test_queries_know_what_holds(run: RunDir, query: str, found: list[str]) -> None:
    _, out, _ = bnrun(run, "ls", "--json", "-w", query)
    assert [row["run"] for row in json.loads(out)] == found
