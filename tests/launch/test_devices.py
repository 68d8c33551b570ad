"""Where runs of a sweep go."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.config.model import Spec
from bncore.launch import devices


@pytest.mark.parametrize(
    ("listed", "driver", "visible"),
    [
        (None, 0, ()),
        (None, 3, ("0", "1", "2")),
        ("2,5", 2, ("2", "5")),
        ("GPU-8932f937, GPU-1e1b", 2, ("GPU-8932f937", "GPU-1e1b")),
        ("1,-1,2", 1, ("1",)),  # the driver ends at the first that it cannot use
        ("", 0, ()),
    ],
)
def test_visible_gpus_are_named_as_the_environment_names_them(
    monkeypatch: pytest.MonkeyPatch, listed: str | None, driver: int, visible: tuple[str, ...]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert devices.visible_gpus(driver) == visible


@given(st.lists(st.sampled_from(["start", "end"]), max_size=30), st.integers(1, 5))
def test_runs_are_spread_evenly_over_the_gpus(story: list[str], gpus: int) -> None:
    names = tuple(map(str, range(gpus)))
    placed: list[str] = []
    for event in story:
        if event == "start":
            placed.append(devices.least_loaded(names, placed))
            before = Counter(placed[:-1])
            assert before[placed[-1]] == min(before[name] for name in names)
        elif placed:
            placed.pop(0)


@pytest.mark.parametrize(
    ("device", "gpus", "runs", "jobs"),
    [("cpu", 4, 6, 2), ("cuda", 4, 6, 4), ("cuda", 4, 2, 2), ("cuda:1", 1, 3, 1), ("cuda", 0, 3, 1)],
)
def test_as_many_runs_at_once_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, runs: int, jobs: int
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    monkeypatch.setattr(devices, "cpu_count", lambda: 4)
    assert devices.default_jobs([Spec(device=device, threads=2)] * runs) == jobs
