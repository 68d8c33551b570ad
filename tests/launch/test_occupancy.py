"""What the driver's tool says of the GPUs, and what is made of an answer that makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncore.launch.devices import Occupancy, occupancy


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the driver's place, to be written by the test."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "nvidia-smi"


def write(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_gpus_are_summed_and_asked_for_by_name(tool: Path) -> None:
    requested = tool.with_name("requested")
    write(tool, f'echo "$@" > {requested}; echo "90, 1000, 80000"; echo "30, 3000, 80000"')
    assert occupancy(("0", "GPU-8932f937")) == Occupancy(busy=0.6, used=4000, total=160000)
    assert requested.read_text().split() == [
        "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits",
        "-i", "0,GPU-8932f937",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        "echo No devices were found; exit 6",
        'echo "90, 1000, 80000"; exit 1',
        'echo "[N/A], 1000, 80000"',
        'echo "90, 1000"',
        'echo "90, 1000, 80000"; echo "90, 1000"',
    ],
)
def test_an_answer_that_makes_no_sense_is_none(tool: Path, script: str) -> None:
    write(tool, script)
    assert occupancy(("0",)) is None


def test_without_the_tool_nothing_is_known(tool: Path) -> None:
    assert occupancy(("0",)) is None
