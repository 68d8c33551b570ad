"""A probe that fails at its first measurement is reported once, wherever runs are followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from explorer.factories import drive, explorer, text_of
from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import RunDir, SweepDir
from bncore.store.problems import fidelity_problem, first_failures
from bncore.store.reader import read
from bntui.cli.progress import Progress

REASON = "NotImplementedError: the derivative \x1b[31mis missing"


def failed(path: Path, *, first: bool = True, state: Any = "finished") -> RunDir:
    """A run whose sharpness probe never worked, or worked at first."""
    journal = events()
    for event in journal:
        if event.get("name") == "sharpness" and (first or event["step"]):
            event |= {"type": "probe_failed", "reason": REASON}
            del event["eigenvalue"]
    return made_run(path, journal, state=state)


@pytest.mark.parametrize(("tolerance", "wrong"), [(None, False), (1.0, False), (0.01, True)])
def test_a_gradient_that_is_another_is_told_and_a_missing_tolerance_breaks_nothing(
    tmp_path: Path, tolerance: float | None, wrong: bool
) -> None:
    for event in (journal := events()):
        if event.get("name") == "fidelity":
            event["tolerance"] = tolerance
            if tolerance is None:
                del event["tolerance"]
    assert bool(fidelity_problem(read(made_run(tmp_path / "a-s0", journal)).advance())) == wrong


def test_only_the_first_measurement_counts(tmp_path: Path) -> None:
    (found,) = first_failures(read(failed(tmp_path / "a-s0")).advance())
    assert (found.probe, found.step) == ("sharpness", 0)
    assert str(found).startswith(
        "probe sharpness failed at its first measurement, step 0: NotImplementedError"
    )
    assert "\x1b" not in str(found)
    assert not first_failures(read(failed(tmp_path / "b-s0", first=False)).advance())
    assert not first_failures(read(made_run(tmp_path / "c-s0", events())).advance())


def test_progress_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = failed(tmp_path / "sweep" / "a-s0")
    with Progress([run], plain=True) as progress:
        for _ in range(3):
            progress._next = 0.0
            progress.tick()
    said = capsys.readouterr().err
    assert said.count("a-s0: probe sharpness failed at its first measurement") == 1
    assert "\x1b" not in said


def test_so_does_the_explorer(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "made-001")
    failed(sweep.path / "a-s0")
    write_sweep(sweep.path, ["a-s0"], name="made", title="One")
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        assert "probe sharpness failed at its first measurement" in text_of(app)
        assert len(app.context.warned) == 1

    drive(app, (140, 40), steps)
