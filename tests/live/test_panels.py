"""Every panel of every kind of run: a chart, or the reason why there is none; never an exception."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bncore.figure import ChartData
from bncore.follow.run_view import RunFollower, RunView
from bncore.launch.slurm.state import Queue
from bncore.store.lineage import Lineage, write_lineage
from bncore.store.status import Observer, State
from bntui.live.drawing import PanelState
from bntui.live.layers import (
    INSTRUMENTS,
    heat,
    heats,
    histogram,
    profile,
    theory_over_layers,
    theory_over_steps,
)
from bntui.live.panels import PANELS
from live.factories import (
    LAYERS,
    STEPS,
    events,
    forked_run,
    made_run,
    probes,
    record_machine,
    request,
    view_of,
)

NAMES = list(PANELS)
STATES = [PanelState(), PanelState(layer=3, step=15.0), PanelState(layer=99), PanelState(step=-5.0)]


def empty(path: Path) -> RunView:
    return view_of(made_run(path / "a-s0", state="queued"))


def one_point(path: Path) -> RunView:
    return view_of(made_run(path / "a-s0", events(1), state="running"))


def not_finite(path: Path) -> RunView:
    return view_of(made_run(path / "a-s0", [*events(20, loss="nan"), *events(30, first=21, loss="inf")[1:]]))


def nowhere_finite(path: Path) -> RunView:
    bad = [
        {k: [["nan"] * len(v)] * 1 if k == "counts" else ["inf"] * len(v) if isinstance(v, list) else "-inf"
         for k, v in probe.items() if k not in ("name", "layers")} | {"name": probe["name"]}
        for probe in probes(0)
    ]  # fmt: skip
    journal = [{"type": "start", "step": 0, "schema": 1}, *({"type": "probe", "step": 0, **p} for p in bad)]
    return view_of(made_run(path / "a-s0", journal))


def dead(path: Path) -> RunView:
    view = view_of(made_run(path / "a-s0", events(15), state="running"))
    assert view.state == "dead"
    return view


def finished(path: Path) -> RunView:
    return view_of(made_run(path / "a-s0", events()))


def diverged(path: Path) -> RunView:
    return view_of(made_run(path / "a-s0", events(12), state="diverged"))


def gone(path: Path) -> RunView:
    run = made_run(path / "a-s0", events(), state="running")
    follower = RunFollower(run, Observer(), Queue())
    follower.poll(None)
    shutil.rmtree(run.path)
    view = follower.poll(None)
    assert view.state == "gone"
    return view


def forked(path: Path) -> RunView:
    parent = made_run(path / "a-s0", events(30))
    return view_of(forked_run(path / "a-s0-fork-1", parent, 20))


def orphaned(path: Path) -> RunView:
    """A fork whose parent was removed."""
    view = forked_run(path / "a-s0-fork-1", made_run(path / "a-s0", events(30)), 20)
    shutil.rmtree(path / "a-s0")
    return view_of(view)


def of_another_shape(path: Path) -> RunView:
    """A journal whose fields are not what this program's probes write."""
    journal = events(1)[:1]
    for step, name in enumerate(("ics", "landscape", "activations", "theory", "sharpness")):
        journal += [
            {"type": "probe", "step": step, "name": name, **dict.fromkeys(fields, 1.0)}
            for fields in (
                ("l2", "loss_min", "beta", "multiples", "counts", "mean", "bin_low", "two_over_lr"),
            )
        ]
        journal.append(
            {"type": "probe", "step": step, "name": name, "l2": [], "layers": [], "grad_diff": [[1.0]]}
        )
    return view_of(made_run(path / "a-s0", [*journal, {"type": "step", "step": 9, "loss": "text"}]))


KINDS: dict[str, Callable[[Path], RunView]] = {
    made.__name__: made
    for made in (
        empty, one_point, not_finite, nowhere_finite, dead, finished, diverged, gone, forked, orphaned,
        of_another_shape,
    )
}  # fmt: skip


def assert_sound(chart: ChartData) -> None:
    """What a chart promises whoever draws it."""
    assert chart.title.isprintable()
    assert chart.curves or chart.note, f"{chart.title}: nothing drawn, and no reason given"
    for curve in chart.curves:
        assert len(curve.x) == len(curve.low) == len(curve.high) > 0
        assert curve.x.dtype == curve.low.dtype == curve.high.dtype == np.float64
        assert (np.diff(curve.x) > 0).all()
        assert curve.floor is None or len(curve.floor) == len(curve.x)


@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_draws_every_kind_of_run(kind: str, tmp_path: Path) -> None:
    views = [KINDS[kind](tmp_path)]
    for state in STATES:
        for panel in PANELS.values():
            assert_sound(panel.make(views, state))
        for key in INSTRUMENTS:
            assert_sound(profile(views, key, state))
            shown = heat(views[0], key)
            assert shown.values.shape == (len(shown.x), len(shown.rows))
            assert shown.note or len(shown.x)
        assert_sound(theory_over_steps(views[0], state))
        assert_sound(theory_over_layers(views[0], state))
        over_time = histogram(views[0], state)
        assert over_time.density.shape == (len(over_time.x), max(0, len(over_time.edges) - 1))
        assert over_time.note or len(over_time.x)


@pytest.mark.parametrize("key", NAMES)
def test_a_finished_run_has_every_curve_and_no_runs_have_none(key: str, tmp_path: Path) -> None:
    panel = PANELS[key]
    assert panel.measure.key == key
    view = view_of(record_machine(finished(tmp_path).run))
    assert [c.label for c in panel.make([view], PanelState()).curves] == ["a-s0"]
    assert panel.make([], PanelState()).note == "no runs"


def test_a_line_is_its_series_and_a_band_its_two(tmp_path: Path) -> None:
    view = finished(tmp_path)
    loss = PANELS["loss"].make([view], PanelState()).curves[0]
    assert loss.is_line
    assert loss.x.tolist() == list(range(STEPS))
    assert loss.low[3] == 0.25
    band = PANELS["gradient_predictiveness"].make([view], PanelState()).curves[0]
    assert not band.is_line
    assert (band.low.tolist(), band.high.tolist()) == ([0.5] * 4, [4.0] * 4)


def test_a_layer_is_chosen_by_its_number_and_the_middle_one_by_none(tmp_path: Path) -> None:
    view = finished(tmp_path)
    chosen = PANELS["ics_l2"].make([view], PanelState(layer=5))
    assert chosen.title.endswith("layer 5 of 6"), "sharpness knows of six"
    assert chosen.curves[0].low.tolist() == [5.0, 15.0, 25.0, 35.0]
    middle = PANELS["ics_l2"].make([view], PanelState())
    assert middle.title.endswith(f"layer {LAYERS[1]} of 6")
    lacking = PANELS["ics_l2"].make([view], PanelState(layer=4))
    assert (lacking.curves, lacking.note) == ((), "layer 4 was not measured, but 2, 3, 5")


def test_layers_without_numbers_count_from_one(tmp_path: Path) -> None:
    assert heat(finished(tmp_path), "weight_norm").rows == ("1", "2", "3", "4", "5", "6")
    assert heat(finished(tmp_path / "other"), "ics_l2").rows == ("2", "3", "5")


def test_a_noise_floor_holds_from_one_measurement_of_it_to_the_next(tmp_path: Path) -> None:
    journal = [e for e in events() if not (e.get("name") == "ics" and e["step"] == 0)]
    view = view_of(made_run(tmp_path / "a-s0", journal))
    floor = PANELS["ics_l2"].make([view], PanelState(layer=5)).curves[0].floor
    assert floor is not None
    np.testing.assert_array_equal(floor, [np.nan, 0.3, 0.3])


def test_the_floor_of_a_relative_difference_is_relative(tmp_path: Path) -> None:
    floor = PANELS["ics_relative"].make([finished(tmp_path)], PanelState(layer=2)).curves[0].floor
    assert floor is not None
    # ||G|| = l2 / relative: 2 / 0.25 at step 0, 22 / 0.25 at step 20
    np.testing.assert_allclose(floor, [0.1 / 8, 0.1 / 8, 0.1 / 88, 0.1 / 88])


def test_only_a_diverged_run_ends_in_a_cross(tmp_path: Path) -> None:
    views = [diverged(tmp_path / "x"), finished(tmp_path / "y"), dead(tmp_path / "z")]
    curves = PANELS["loss"].make(views, PanelState()).curves
    assert [curve.diverged for curve in curves] == [True, False, False]


def test_a_fork_follows_its_parent_faintly(tmp_path: Path) -> None:
    fork = forked(tmp_path)
    context, own = PANELS["loss"].make([fork], PanelState()).curves
    assert (context.faint, own.faint) == (True, False)
    assert (context.label, own.label) == ("a-s0", "a-s0-fork-1")
    assert context.style == own.style
    assert context.x.tolist() == list(range(20))
    assert own.x.tolist() == list(range(20, STEPS))


def test_a_parent_that_is_drawn_itself_is_not_drawn_twice(tmp_path: Path) -> None:
    fork = forked(tmp_path)
    parent = view_of(made_run(tmp_path / "again" / "a-s0", events()))
    real = RunFollower(type(fork.run)(tmp_path / "a-s0"), Observer(), Queue(), name="a").poll(None)
    curves = PANELS["loss"].make([real, fork], PanelState()).curves
    assert [(c.label, c.faint) for c in curves] == [("a", False), ("a-s0-fork-1", False)]
    curves = PANELS["loss"].make([parent, fork], PanelState()).curves
    assert [c.faint for c in curves] == [False, True, False], (
        "a run of that name in another sweep is no parent"
    )


def test_a_replay_is_no_fork(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events())
    write_lineage(run, Lineage("replay", "../b-s0"))
    assert view_of(run).parent is None


def test_applied_requests_are_marked_where_they_were_applied(tmp_path: Path) -> None:
    changes = [
        request(7, {"noise.on": True}),
        request(9, {"optim.lr": 0.05}, outcome="rejected", reason="no"),
        request(1240, {"norm.kind": "l1"}),
    ]
    views = [
        view_of(made_run(tmp_path / "a-s0", [*events(), *changes]), style=0),
        view_of(made_run(tmp_path / "b-s0", [*events(), changes[0]]), style=1),
    ]
    found = PANELS["loss"].make(views, PanelState()).vlines
    assert [(mark.x, mark.text, mark.style) for mark in found] == [
        (7.0, "noise on @7", None),
        (1240.0, "norm l1 @1,240", 0),
    ]


def test_beta_stands_beside_two_over_lr_and_one_over_a_min(tmp_path: Path) -> None:
    assert [(r.y, r.text) for r in PANELS["beta"].make([finished(tmp_path)], PanelState()).hlines] == [
        (20.0, "2/lr = 1/a_min")
    ]
    journal = events()
    for event in journal:
        if event.get("name") == "landscape":
            event["one_over_a_min"] = 100.0
    other = view_of(made_run(tmp_path / "b-s0", journal))
    rules = PANELS["beta"].make([other], PanelState()).hlines
    assert [(round(r.y, 6), r.text) for r in rules] == [(20.0, "2/lr"), (100.0, "1/a_min")]


def test_the_gradient_by_step_length_is_that_of_the_crosshair(tmp_path: Path) -> None:
    journal = events()
    for event in journal:
        if event.get("name") == "landscape":
            event["relative"] = [event["step"] / 10 + k for k in range(4)]
    view = view_of(made_run(tmp_path / "a-s0", journal))
    newest = PANELS["relative_by_length"].make([view], PanelState())
    np.testing.assert_allclose(newest.curves[0].x, [0.05, 0.1, 0.2, 0.4])
    assert newest.curves[0].low.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert newest.title.endswith("step 30")
    at = PANELS["relative_by_length"].make([view], PanelState(step=19.0))
    assert at.curves[0].low.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert at.title.endswith("step 10")
    assert (at.log_x, at.log_y, at.x_name) == (True, True, "step length")


def test_why_there_is_nothing_is_said(tmp_path: Path) -> None:
    view = empty(tmp_path)
    assert PANELS["loss"].make([view], PanelState()).note == "no steps yet"
    assert PANELS["test_loss"].make([view], PanelState()).note == "no evaluation yet"
    ended = replace(view, state="finished", spec=None)
    notes = [PANELS[key].make([ended], PanelState()).note for key in ("loss", "test_loss", "ics_l2")]
    assert notes == ["no steps recorded", "no evaluation recorded", "ics was not recorded"]
    off = PANELS["ics_l2"].make([view], PanelState()).note
    assert off == "ics is off: probes.ics.every=100 switches it on"
    failed = {"type": "probe_failed", "step": 3, "name": "ics", "reason": "a\x1b[31mgradient"}
    view = view_of(made_run(tmp_path / "b-s0", [*events(1)[:1], failed]))
    assert PANELS["ics_l2"].make([view], PanelState()).note == "ics failed at step 3: a\\x1b[31mgradient"


@pytest.mark.parametrize("state", ["running", "finished"])
def test_what_a_run_does_not_record_is_not_awaited(tmp_path: Path, state: State) -> None:
    for event in (journal := events(21)):
        event.pop("accuracy", None)
        event.pop("test_accuracy", None)
    view = view_of(made_run(tmp_path / "a-s0", journal, state=state))
    for key in ("accuracy", "test_accuracy"):
        assert PANELS[key].make([view], PanelState()).note == "not recorded"
    other = view_of(made_run(tmp_path / "b-s0", events(21)))
    assert PANELS["accuracy"].make([view, other], PanelState()).curves


def test_a_run_without_batch_norm_for_a_while_keeps_its_theory(tmp_path: Path) -> None:
    """At kind none the probe journals an empty list of layers."""
    journal = [
        {"type": "probe", "step": e["step"], "name": "theory", "layers": []}
        if e.get("name") == "theory" and e["step"] < 20
        else e
        for e in events()
    ]
    view = view_of(made_run(tmp_path / "a-s0", journal))
    assert PANELS["theory_reduction"].make([view], PanelState(layer=3)).curves[0].x.tolist() == [20.0, 30.0]
    assert len(theory_over_steps(view, PanelState(layer=3)).curves) == 6
    none = [e for e in journal if e["step"] < 20]
    bare = view_of(made_run(tmp_path / "b-s0", none))
    assert theory_over_steps(bare, PanelState()).note == "no layer has batch normalization"


def test_the_parts_of_the_theorem_add_up(tmp_path: Path) -> None:
    curves = {c.label: c.low for c in theory_over_layers(finished(tmp_path), PanelState()).curves}
    rest = curves["scale part"] - curves["mean part"] - curves["correlation part"]
    np.testing.assert_allclose(rest, curves["‖∇L̂‖², left side"])


def test_histograms_of_narrower_bins_are_counted_in_the_newest(tmp_path: Path) -> None:
    journal = events(21)
    for event in journal:
        if event.get("name") == "activations" and event["step"] < 20:
            event |= {"counts": [[1, 2, 3, 4]] * 3, "bin_low": [-0.5] * 3, "bin_width": [0.25] * 3}
    shown = histogram(view_of(made_run(tmp_path / "a-s0", journal)), PanelState(layer=3))
    assert shown.edges.tolist() == [-1.0, 0.0, 1.0]
    # [-0.5, 0) held 1 + 2 of 10, [0, 0.5) held 3 + 4
    np.testing.assert_allclose(shown.density, [[0.3, 0.7], [0.3, 0.7], [0.5, 0.5]])


def test_histograms_begun_anew_far_away_cost_no_memory(tmp_path: Path) -> None:
    journal = events(21)
    for event in journal:
        if event.get("name") == "activations" and event["step"] < 20:
            event |= {"bin_low": [1e9] * 3, "bin_width": [2.0**-10] * 3}
    shown = histogram(view_of(made_run(tmp_path / "a-s0", journal)), PanelState(layer=3))
    assert shown.density.shape[1] <= 5000
    np.testing.assert_allclose((shown.density * np.diff(shown.edges)).sum(axis=1), 1.0)


def test_a_profile_is_a_row_of_the_heat_map(tmp_path: Path) -> None:
    view = finished(tmp_path)
    shown = heat(view, "ics_l2")
    assert shown.x.tolist() == [0.0, 10.0, 20.0, 30.0]
    curve = profile([view], "ics_l2", PanelState(step=25.0)).curves[0]
    assert curve.x.tolist() == list(LAYERS)
    np.testing.assert_array_equal(curve.low, shown.values[2])


def test_colours_of_heat_maps_beside_each_other_mean_the_same(tmp_path: Path) -> None:
    small = view_of(made_run(tmp_path / "a-s0", events(10)))
    large = view_of(made_run(tmp_path / "b-s0", events(40)))
    silent = view_of(made_run(tmp_path / "c-s0"))
    shown = heats([small, large, silent], "ics_l2")
    assert shown[small].span == shown[large].span == (2.0, 35.0)
    assert shown[silent].span is None
    assert np.array_equal(shown[small].values, heat(small, "ics_l2").values)
