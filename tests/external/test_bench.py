"""`bnrun bench observe` compares the loops that it says."""

from __future__ import annotations

import math

import pytest

from bncore.bench import observe
from bncore.train.checkpoint import params_sha256


def test_each_row_is_a_comparison_and_both_loops_end_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "STEPS", 1)
    loops: list[observe.Loop] = []

    class Kept(observe.Loop):
        def __init__(self, device: str) -> None:
            super().__init__(device, batch_size=4)
            loops.append(self)

    monkeypatch.setattr(observe, "Loop", Kept)
    rows = list(observe.bench_observe(repeats=1))
    assert [row.what.split(", ")[-1] for row in rows[:2]] == ["log_every=1", "log_every=10"]
    assert all(math.isfinite(row.ratio) and row.ours > 0 and row.theirs > 0 for row in rows)
    bare, watched = (params_sha256(loop.net) for loop in loops)
    assert bare == watched
