"""Runs that are drawn as one: which belong together, who leaves a mean, and what is drawn of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from store.factories import SMALL

from bncore.config.model import Spec
from bncore.data.synthetic import TRAIN
from bncore.figure import ChartData, Curve
from bncore.follow.groups import Group, departures, groups_of, members, newest, varying
from bncore.follow.run_view import RunView
from bncore.measures import MEASURES
from bncore.store.journal import Event
from bncore.store.paths import SweepDir
from bncore.store.status import State
from bntui.chart.export_chart import csv_text
from bntui.live.axes import AXES, TRAINING_IMAGES, unplaced
from bntui.live.compare import difference
from bntui.live.drawing import PanelState
from bntui.live.grouping import Grouping
from bntui.live.panels import PANELS
from bntui.live.snapshot import Snapshot
from bntui.live.sources import read_whole
from live.factories import STEPS, events, forked_run, made_run, quiet, record_machine, request, view_of

SAMPLES = SMALL.data.samples
"""Of a step: the batches are full."""
LOSS = MEASURES["loss"]


def seeds(
    folder: Path,
    variant: str,
    losses: Sequence[float],
    *,
    spec: Spec = SMALL,
    steps: Sequence[int] = (),
    **more: State,
) -> list[RunView]:
    """A run for each loss, which it keeps."""
    found = []
    for seed, loss in enumerate(losses):
        own = spec.model_copy(update={"seed": seed})
        count = steps[seed] if steps else STEPS
        run = made_run(folder / f"{variant}-s{seed}", events(count, loss=loss), spec=own, **more)  # type: ignore[arg-type]
        found.append(view_of(run, style=seed))
    return found


def with_changes(folder: Path, name: str, *changes: Event) -> RunView:
    """A run that requests changed."""
    journal = events(STEPS, loss=1.0)
    for change in changes:
        at = next(
            i
            for i, event in enumerate(journal)
            if event["type"] == "step" and event["step"] == change["step"]
        )
        journal.insert(at, change)
    return view_of(made_run(folder / name, journal))


def chart(views: Sequence[RunView], key: str = "loss", **more: object) -> ChartData:
    with quiet():
        return PANELS[key].make(views, PanelState(grouping=Grouping(**more)))  # type: ignore[arg-type]


def curve(data: ChartData, label: str, weight: str = "main") -> Curve:
    (found,) = [one for one in data.curves if one.label.startswith(label) and one.weight == weight]
    return found


def test_runs_of_a_variant_are_a_group(tmp_path: Path) -> None:
    views = [*seeds(tmp_path, "none", [1.0, 2.0]), *seeds(tmp_path, "batch", [1.0])]
    assert [(g.name, g.style, len(g.runs)) for g in groups_of(views)] == [("none", 0, 2), ("batch", 1, 1)]
    twice = [*views, *seeds(tmp_path / "other", "none", [1.0])]
    assert [g.name for g in groups_of(twice)] == [
        f"{tmp_path.name}/none",
        f"{tmp_path.name}/batch",
        "other/none",
    ]


def test_runs_that_agree_in_a_setting_are_a_group(tmp_path: Path) -> None:
    fast = SMALL.model_copy(update={"optim": SMALL.optim.model_copy(update={"lr": 0.5})})
    views = [*seeds(tmp_path, "a", [1.0, 2.0]), *seeds(tmp_path, "b", [3.0], spec=fast)]
    assert varying(views) == ("optim.lr",), "seeds are what a mean is over"
    assert [(g.name, len(g.runs)) for g in groups_of(views, ("optim.lr",))] == [("lr 0.1", 2), ("lr 0.5", 1)]


def test_groups_keep_name_and_style_where_others_are_hidden(tmp_path: Path) -> None:
    views = [*seeds(tmp_path, "a", [1.0, 2.0]), *seeds(tmp_path, "b", [3.0])]
    grouping = Grouping()
    grouping.choose(Snapshot(0.0, runs=tuple(views)), None, None)
    styles = {group.name: group.style for group in grouping.groups(views)}
    (shown,) = grouping.groups(views[2:])
    assert (shown.name, shown.style) == ("b", styles["b"])


def test_the_mean_is_geometric_on_a_logarithmic_axis(tmp_path: Path) -> None:
    data = chart(seeds(tmp_path, "none", [1.0, 10.0, 100.0]))
    mean, band = curve(data, "none ×3"), curve(data, "none", "spread")
    np.testing.assert_allclose(mean.low, 10.0)
    np.testing.assert_allclose([band.low, band.high], [[1.0] * STEPS, [100.0] * STEPS])
    assert "bootstrap" in band.label
    assert len([one for one in data.curves if one.weight == "faint"]) == 3, "the selected group's runs"


def test_the_runs_of_the_selected_group_alone_are_drawn(tmp_path: Path) -> None:
    views = [*seeds(tmp_path, "none", [1.0, 2.0]), *seeds(tmp_path, "batch", [3.0, 4.0])]
    faint = [one.label for one in chart(views).curves if one.weight == "faint"]
    assert faint == ["batch-s0", "batch-s1"], "the last run is the selected one"


def test_a_group_of_one_is_that_run(tmp_path: Path) -> None:
    (only,) = chart(seeds(tmp_path, "none", [1.0])).curves
    assert (only.label, only.weight) == ("none", "main")


@pytest.mark.parametrize("state", ["diverged", "failed", "stopped", "finished"])
def test_a_mean_goes_on_without_a_run_that_ended(tmp_path: Path, state: State) -> None:
    views = [
        *seeds(tmp_path, "none", [1.0, 1.0]),
        *seeds(tmp_path / "x", "none", [100.0], steps=[20], state=state),
    ]
    group = Group("none", 0, tuple(views))
    assert [(left.step, left.why) for left in departures(group)] == [(20, state)]
    data = PANELS["loss"].make(views, PanelState(grouping=Grouping(by=("net.kind",))))
    three, two = (one for one in data.curves if one.weight == "main")
    assert (three.label[-2:], two.label[-2:]) == ("×3", "×2"), "of how many each part is the mean"
    np.testing.assert_allclose(three.low, [100 ** (1 / 3)] * 20)
    np.testing.assert_allclose(two.low, [1.0] * (STEPS - 20))
    assert [line.text for line in data.vlines] == [f"none-s0 {state} @20"]
    found = newest(group, LOSS, "range")
    assert found is not None
    assert (found.runs, found.mean) == (2, pytest.approx(1.0)), "it is no part of the final mean"


def test_a_mean_goes_on_without_a_run_whose_directory_was_removed(tmp_path: Path) -> None:
    stays, gone = seeds(tmp_path, "none", [1.0, 100.0], steps=[STEPS, 20])
    data = chart([stays, replace(gone, state="gone", status=None)])
    np.testing.assert_allclose(curve(data, "none ×1").low, 1.0)
    assert [line.text for line in data.vlines] == ["none-s1 gone @20"]


def test_seeds_that_measure_at_other_steps_are_averaged_where_both_did(tmp_path: Path) -> None:
    """Every 10 steps and every 4."""
    runs = [made_run(tmp_path / f"none-s{i}", events(every=every)) for i, every in enumerate((10, 4))]
    data = chart([view_of(run) for run in runs], "beta")
    assert curve(data, "none ×2").x.tolist() == [0.0, 20.0]


def test_runs_on_their_way_are_waited_for(tmp_path: Path) -> None:
    views = seeds(tmp_path, "none", [1.0, 4.0], steps=[STEPS, 10])
    data = chart([replace(view, state="running") for view in views])
    np.testing.assert_allclose(curve(data, "none ×2").low, [2.0] * 10)
    later = next(one for one in data.curves if one.label == "none ×1")
    assert (later.weight, later.x[0], later.x[-1]) == ("faint", 10, STEPS - 1)
    np.testing.assert_allclose(later.low, 1.0)
    assert not data.vlines


def test_a_run_that_was_changed_alone_leaves_the_mean(tmp_path: Path) -> None:
    (other,) = seeds(tmp_path, "none", [1.0])
    changed = with_changes(tmp_path, "none-s1", request(15, {"norm.kind": "batch"}))
    group = Group("none", 0, (other, changed))
    assert [(left.run, left.step, left.why) for left in departures(group)] == [(changed, 15, "changed")]
    assert [len(one.x) for one in members(group, LOSS)] == [STEPS, 15]
    assert "none-s1 changed @15" in [line.text for line in chart([other, changed]).vlines]


def test_runs_that_were_changed_alike_stay(tmp_path: Path) -> None:
    views = [
        with_changes(tmp_path, f"none-s{i}", request(step, {"optim.lr": 0.5}))
        for i, step in enumerate((15, 17))
    ]
    assert departures(Group("none", 0, tuple(views))) == []


def test_what_only_observes_changes_no_mean(tmp_path: Path) -> None:
    (other,) = seeds(tmp_path, "none", [1.0])
    observed = with_changes(tmp_path, "none-s1", request(15, {"probes.ics.every": 5}))
    assert departures(Group("none", 0, (other, observed))) == []


def test_of_a_fork_its_own_part_is_in_the_mean(tmp_path: Path) -> None:
    parent = made_run(tmp_path / "none-s0", events(STEPS))
    forks = [view_of(forked_run(tmp_path / f"fork-s{i}", parent, 30)) for i in range(2)]
    (group,) = groups_of(forks)
    assert [one.x.tolist() for one in members(group, LOSS)] == [list(range(30, STEPS))] * 2


def test_values_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    data = chart(seeds(tmp_path, "none", ["nan", 4.0, 9.0], state="diverged"))  # type: ignore[list-item]
    np.testing.assert_allclose(curve(data, "none ×2").low, 6.0)


@pytest.mark.parametrize("key", sorted(PANELS))
def test_every_chart_of_groups(tmp_path: Path, key: str) -> None:
    views = [*seeds(tmp_path, "none", [1.0, 2.0, 3.0]), *seeds(tmp_path, "batch", [1.0, 2.0])]
    views = [view_of(record_machine(view.run), view.style) for view in views]
    data = chart(views, key)
    assert data.curves
    for one in data.curves:
        assert len(one.x) == len(one.low) == len(one.high)
        assert one.floor is None or len(one.floor) == len(one.x)


def test_what_was_computed_is_known_by_all_it_depends_on(tmp_path: Path) -> None:
    views = seeds(tmp_path, "none", [1.0, 2.0, 4.0, 8.0])
    grouping = Grouping()

    def band() -> list[float]:
        found = PANELS["loss"].make(views, PanelState(grouping=grouping))
        spread = next(one for one in found.curves if one.weight == "spread")
        return [float(spread.low[0]), float(spread.high[0])]

    first = band()
    grouping.band = "range"
    assert band() == pytest.approx([1.0, 8.0])
    grouping.band = "interval"
    assert band() == first
    grouping.by = ("net.kind",)
    assert band() == first


def test_a_sweep_says_how_its_runs_are_drawn(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "runs" / "one-001")
    seeds(sweep.path, "none", [1.0, 3.0])
    for text, by, band in (
        ({"group_by": ["norm.kind"], "band": "envelope"}, ("norm.kind",), "envelope"),
        ({"group_by": ["nothing.at.all"], "band": "wide"}, (), "interval"),
        ({"group_by": "norm.kind", "band": 3}, (), "interval"),
        ({"group_by": [["norm"], 3]}, (), "interval"),
    ):
        (sweep.path / "sweep.toml").write_text(tomli_w.dumps({"experiment": text}))
        snapshot = read_whole(sweep)
        grouping = Grouping()
        grouping.choose(snapshot, None, None)
        assert (grouping.by, grouping.band) == (by, band), text
        assert list(grouping.groups(snapshot.runs))


def test_an_envelope_is_a_band_without_a_mean(tmp_path: Path) -> None:
    (only,) = chart(seeds(tmp_path, "none", [1.0, 3.0]), band="envelope").curves
    assert (only.weight, only.low[0], only.high[0]) == ("main", 1.0, 3.0)


def test_differences_of_groups_are_taken_seed_by_seed(tmp_path: Path) -> None:
    """Each seed differs by 1 however far the seeds are apart; a mean of means would say the same, its band not."""
    none = seeds(tmp_path, "none", [2.0, 11.0, 101.0])
    batch = seeds(tmp_path, "batch", [1.0, 10.0, 100.0])
    state = PanelState(grouping=Grouping(band="range"))
    data = difference(PANELS["loss"], [*none, *batch], none[0], state)
    mean, band = curve(data, "batch ×3"), curve(data, "batch ×3", "spread")
    np.testing.assert_allclose([mean.low, band.low, band.high], -1.0)
    assert data.title.endswith("minus none")


def test_no_run_is_compared_with_one_that_failed(tmp_path: Path) -> None:
    none = [*seeds(tmp_path, "none", [2.0]), *seeds(tmp_path / "x", "none", [5.0, 9.0], state="failed")]
    batch = seeds(tmp_path, "batch", [1.0, 1.0])
    grouping = Grouping(by=("norm.kind",))
    by_norm = [replace(view, settings=with_norm(view, "none")) for view in none]
    by_norm += [replace(view, settings=with_norm(view, "batch")) for view in batch]
    data = difference(PANELS["loss"], by_norm, by_norm[0], PanelState(grouping=grouping))
    (mean,) = data.curves
    assert mean.label == "norm batch ×1", "seed 1 of the reference failed"
    np.testing.assert_allclose(mean.low, -1.0)
    alone = difference(PANELS["loss"], [none[1], *batch], none[1], PanelState())
    assert not alone.curves
    assert "failed" in alone.note


def with_norm(view: RunView, kind: str) -> Spec:
    spec = view.submitted
    assert spec is not None
    return spec.model_copy(update={"norm": spec.norm.model_copy(update={"kind": kind})})


@pytest.mark.parametrize(("head", "steps_per_epoch"), [({"train_samples": 11}, 3), ({}, 2)])
def test_an_epoch_is_as_many_steps_as_there_are_whole_batches(
    tmp_path: Path, head: Event, steps_per_epoch: int
) -> None:
    """Of the samples that the journal tells, else of those in the settings, which are 8."""
    journal = events()
    journal[0] |= head
    run = made_run(tmp_path / "none-s0", journal, spec=SMALL.model_copy(update={"batch_size": 3}))
    (only,) = PANELS["loss"].make([view_of(run)], PanelState(axis="epochs")).curves
    np.testing.assert_allclose(only.x, np.arange(STEPS) / steps_per_epoch)


def test_the_size_of_the_synthetic_training_set_is_known() -> None:
    assert TRAINING_IMAGES["synthetic"] == TRAIN


def test_on_the_axis_of_the_loss_a_step_lies_at_the_lowest_averaged_loss_so_far(tmp_path: Path) -> None:
    """Of a run of 200 steps, 1 % is two steps to either side; a loss above the first counts as the first."""
    losses = [9.0, 4.0, 3.0, 20.0, 1.0, 0.5, 0.5, 0.5, 0.5, 2.0]
    journal: list[Event] = [{"type": "start", "step": 0, "schema": 1}]
    journal += [{"type": "step", "step": i, "loss": loss} for i, loss in enumerate(losses)]
    view = view_of(made_run(tmp_path / "none-s0", journal))
    assert view.status is not None
    view = replace(view, status=replace(view.status, steps=200))
    data = PANELS["loss"].make([view], PanelState(axis="loss"))
    expected, lowest = [], np.inf
    for i in range(len(losses)):
        lowest = min(lowest, np.mean([min(loss, losses[0]) for loss in losses[max(0, i - 2) : i + 3]]))
        expected.append(lowest)
    np.testing.assert_allclose(data.x_written(data.curves[0].x), expected)
    assert csv_text(data).splitlines()[0] == "curve,training loss,low,high,floor"
    written = [float(row.split(",")[1]) for row in csv_text(data).splitlines()[1:]]
    np.testing.assert_allclose(written, expected)


@pytest.mark.parametrize("grouped", [True, False])
def test_curves_over_other_axes(tmp_path: Path, grouped: bool) -> None:
    """A made journal has an event a second, a batch of SMALL.batch_size, and `STEPS` to make."""
    views = seeds(tmp_path, "none", [1.0, 1.0])
    seconds = views[0].columns.series("step", "t").values - views[0].columns.start["t"]
    expected = {
        "step": np.arange(STEPS),
        "epochs": np.arange(STEPS),
        "samples": np.arange(STEPS) * SAMPLES,
        "relative": np.arange(STEPS) / STEPS,
        "minutes": seconds / 60,
        "loss": np.zeros(STEPS),
    }
    for axis, x in expected.items():
        state = PanelState(grouping=Grouping() if grouped else None, axis=axis)  # type: ignore[arg-type]
        data = PANELS["loss"].make(views, state)
        assert data.x_name == AXES[axis]  # type: ignore[index]
        for one in data.curves:
            np.testing.assert_allclose(one.x, x, err_msg=f"{axis} {one.label}")


def test_marks_are_where_they_happened_on_any_axis(tmp_path: Path) -> None:
    view = with_changes(tmp_path, "none-s0", request(20, {"optim.lr": 0.5}))
    for axis, place in (("step", 20.0), ("samples", 20.0 * SAMPLES), ("relative", 20 / STEPS)):
        (mark,) = PANELS["loss"].make([view], PanelState(axis=axis)).vlines  # type: ignore[arg-type]
        assert mark.x == place


def test_runs_that_have_no_place_on_an_axis_are_left_out(tmp_path: Path) -> None:
    (view,) = seeds(tmp_path, "none", [1.0])
    lost = replace(view, settings=None, status=None)
    data = PANELS["loss"].make([lost], PanelState(axis="samples"))
    assert not data.curves
    assert data.note == "samples: not known of any of these runs"
    assert unplaced([view, lost], "epochs") == "epochs: not known of 1 of 2 runs"
    assert not unplaced([view, lost], "minutes")
