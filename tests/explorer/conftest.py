"""Every test's explorer remembers things of its own; and a sweep whose runs accept requests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bncore.store.paths import SweepDir
from explorer.steered_sweep import sweep_at_work


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts that a person once chose on this machine are not shown, nor preferences heard."""
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[SweepDir]:
    """A sweep at work, with a run in every state that matters to steering."""
    with sweep_at_work(tmp_path) as sweep:
        yield sweep


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands that would have been started."""
    lines: list[tuple[str, ...]] = []

    def bnrun(*arguments: str) -> subprocess.CompletedProcess[str]:
        lines.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, "{}", "")

    monkeypatch.setattr("bntui.steering.send.bnrun", bnrun)
    return lines
