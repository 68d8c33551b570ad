"""Runs and sweeps in Python and in notebooks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live.factories import events, made_run, write_sweep

import bncore
from bncore.aggregate import Member, aggregate
from bncore.notebook import Sweep, load_run, load_sweep
from bncore.store.errors import NoSuchRun

RUNS = ("none-s0", "none-s1", "batch-s0", "batch-s1")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    for number, name in enumerate(RUNS):
        made_run(tmp_path / "one-001" / name, events(loss=1.0 + number))
    write_sweep(tmp_path / "one-001", list(RUNS), name="one")
    return load_sweep("@last", root=tmp_path)


def test_a_sweep_has_its_runs_by_name(sweep: Sweep) -> None:
    assert list(sweep.runs) == list(RUNS)
    assert len(sweep) == len(RUNS)
    assert sweep["none-s1"].table("step")["loss"][0] == 2.0
    assert sweep._ipython_key_completions_() == list(RUNS)


def test_a_run_goes_by_path_name_and_prefix(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    root = sweep.sweep.path.parent
    path = root / "one-001" / "batch-s0"
    monkeypatch.setenv("BNRUN_ROOT", str(root))
    for name in (path, str(path), "one-001/batch-s0", "one/batch-s0"):
        assert load_run(name).run.path == path


def test_what_is_no_single_run_is_refused_in_words(sweep: Sweep) -> None:
    root = sweep.sweep.path.parent
    with pytest.raises(NoSuchRun, match=r"@last: a sweep; expected one of its runs \(none-s0, "):
        load_run("@last", root=root)
    with pytest.raises(NoSuchRun, match="a run; expected a sweep"):
        load_sweep("one-001/none-s0", root=root)
    with pytest.raises(NoSuchRun):
        load_sweep("nothing", root=root)
    with pytest.raises(NoSuchRun, match="None; expected a directory, or a name"):
        load_run(None)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="nope: no such table in one-001; expected one of eval, "):
        sweep.frame("nope")
    with pytest.raises(KeyError, match="layer 99 of loss: expected none"):
        sweep["none-s0"].plot(layer=99)


def test_a_figure_of_a_sweep_is_the_mean_of_each_variant_in_its_band(sweep: Sweep) -> None:
    axes = sweep.plot("loss", band="range").axes[0]
    drawn = [np.asarray(line.get_ydata(), float) for line in axes.get_lines() if len(line.get_xdata()) > 2]
    for pair in (RUNS[:2], RUNS[2:]):
        tables = [sweep[name].table("step") for name in pair]
        expected = aggregate([Member(t["step"].astype(float), t["loss"]) for t in tables], "range", log=True)
        assert any(len(one) == len(expected.mean) and np.allclose(one, expected.mean) for one in drawn)
    assert len(axes.collections) >= 2


def test_a_figure_of_single_runs_and_of_one_run(sweep: Sweep) -> None:
    lines = sweep.plot("loss", single_runs=True).axes[0].get_lines()
    assert len([line for line in lines if len(line.get_xdata()) > 2]) == len(RUNS)
    (line,) = (one for one in sweep["none-s0"].plot().axes[0].get_lines() if len(one.get_xdata()) > 2)
    np.testing.assert_array_equal(line.get_ydata(), sweep["none-s0"].table("step")["loss"])


@pytest.mark.parametrize(("key", "meant"), [("ics", "ics_l2"), ("bta", "beta")])
def test_an_unknown_measure_names_all_and_the_nearest(sweep: Sweep, key: str, meant: str) -> None:
    said = rf"{key}: no such measure; expected one of loss, .*dead.* \(did you mean '{meant}'\?\)"
    with pytest.raises(KeyError, match=said):
        sweep["none-s0"].plot(key)


def test_an_unknown_setting_or_band_is_refused(sweep: Sweep) -> None:
    with pytest.raises(KeyError, match=r"optim\.lrr: no such setting \(did you mean 'optim\.lr'\?\)"):
        sweep.plot(by=("optim.lrr",))
    with pytest.raises(KeyError, match="rnge: no such band; expected one of interval, range, "):
        sweep.plot(band="rnge")  # type: ignore[arg-type]


def test_a_setting_may_be_named_by_its_alias(sweep: Sweep) -> None:
    legends = [sweep.plot(by=by).legends[0].get_texts() for by in (["norm"], ["norm.kind"])]
    assert [text.get_text() for text in legends[0]] == [text.get_text() for text in legends[1]]


def test_a_notebook_shows_runs_and_figures(sweep: Sweep) -> None:
    table = sweep._repr_html_()
    assert re.findall(r"<tr><td>([^<]+)</td>", table) == list(RUNS)
    assert "<td>none-s0</td>" in sweep["none-s0"]._repr_html_()
    assert sweep.plot()._repr_svg_().startswith("<svg")  # type: ignore[attr-defined]


def test_names_from_outside_are_no_markup(tmp_path: Path) -> None:
    run = made_run(tmp_path / "s-001" / "<b>x-s0", events())
    assert "<b>" not in load_run(run.path)._repr_html_()


def test_frames_of_all_runs_have_a_column_for_the_run(sweep: Sweep) -> None:
    frames = pytest.importorskip("pandas", reason="polars or pandas")
    frame = sweep.frame("step")
    assert isinstance(frame, frames.DataFrame)
    assert list(dict.fromkeys(frame["run"])) == list(RUNS)


def test_only_what_is_public_is_completed_and_nothing_heavy_is_imported() -> None:
    assert dir(bncore) == sorted(bncore.__all__)
    assert all(getattr(bncore, name) is not None for name in bncore.__all__)
    script = (
        "import sys, bncore; bncore.load_sweep; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
