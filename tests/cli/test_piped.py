"""Whatever is printed, a reader that leaves early, as `| head` does, is no failure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep

import bntui.main
from bntui.cli import main
from bntui.cli.commands import COMMANDS
from cli.factories import tiny_experiment

PRINTING = {
    "ls": "ls --json", "show": "show one-001", "report": "report one-001", "presets": "presets",
    "claims": "claims",
    "schema": "schema", "verify": "verify one-001", "watch": "watch --plain one-001", "logs": "logs one-001",
    "preset": "preset quick --headless --dry-run", "run": "run tiny.toml --headless --dry-run",
    "export": "export one-001 --csv --out there",
}  # fmt: skip
"""A line that prints, for each command that only prints, or can be made to."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("batch-s0", "none-s0"):
        run = made_run(tmp_path / "runs" / "one-001" / name, events())
        run.log_file.write_text("a line\n")
    write_sweep(tmp_path / "runs" / "one-001", ["batch-s0", "none-s0"], name="one")
    tiny_experiment(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BNRUN_ROOT", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def code_without_reader(
    line: str, program: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> int:
    """Exit code where nobody reads standard output; nothing is said about it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        patched.setattr(sys, "argv", line.split())
        try:
            code: object = program()
        except SystemExit as ended:
            code = ended.code
        assert stdout.fileno() == writing
        assert "null" in str(Path(f"/proc/self/fd/{writing}").readlink()), "it printed"
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "cannot be written" not in said
    return int(str(code or 0))


@pytest.mark.parametrize(
    "line", ["--help", "--version", *(f"{name} --help" for name in COMMANDS), *PRINTING.values()]
)
def test_bnrun(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert code_without_reader(f"bnrun {line}", main.main, monkeypatch, capfd) == 0


@pytest.mark.parametrize(
    "line", ["--help", "--version", "config", "config --help", "config --keys", "config --path"]
)
def test_bntui(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert code_without_reader(f"bntui {line}", bntui.main.main, monkeypatch, capfd) == 0
