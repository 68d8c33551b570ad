"""Every test's explorer remembers things of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts that a person once chose on this machine are not shown."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
