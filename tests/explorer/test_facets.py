"""Small multiples: one chart for each variant, or for each value of a setting."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from store.factories import SMALL
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from bntui.app import Explorer
from bntui.chart.widget import Chart
from bntui.widgets.charts import ChartGrid
from explorer.factories import drive, explorer, text_of, until

VARIANTS = ("F", "enter")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Three variants of two seeds; two of them have the same rate, and each another loss."""
    sweep = SweepDir(tmp_path / "runs" / "made-001")
    queue = []
    for loss, lr, variant in ((1.0, 0.1, "none"), (10.0, 0.5, "batch"), (100.0, 0.5, "l1")):
        optim = SMALL.optim.model_copy(update={"lr": lr})
        for seed in range(2):
            queue.append(f"{variant}-s{seed}")
            spec = SMALL.model_copy(update={"optim": optim, "seed": seed})
            made_run(sweep.path / queue[-1], events(30, loss=loss), state="stopped", spec=spec)
    write_sweep(sweep.path, queue, name="made")
    return sweep


def charts(app: Explorer) -> list[Chart]:
    return [chart for chart in app.screen.query_one(ChartGrid).children if isinstance(chart, Chart)]


def titles(app: Explorer) -> list[str]:
    return [chart.data.title for chart in charts(app)]


def means(chart: Chart) -> list[tuple[str, int]]:
    return [(one.label, one.style) for one in chart.data.curves if one.weight == "main"]


async def press(pilot: Pilot[None], app: Explorer, keys: tuple[str, ...], shown: int) -> None:
    await pilot.press(*keys)
    await until(pilot, lambda: len(charts(app)) == shown and all(t for t in titles(app)))
    await pilot.pause()


def test_facets_of_the_current_chart_go_by_variant_then_by_setting_and_away(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        before = titles(app)
        await press(pilot, app, VARIANTS, 3)
        assert [title.partition(" · ")[0] for title in titles(app)] == ["none", "batch", "l1"]
        assert {title.partition(" · ")[2] for title in titles(app)} == {before[0]}
        assert [means(chart) for chart in charts(app)] == [
            [("none ×2", 0)],
            [("batch ×2", 1)],
            [("l1 ×2", 4)],
        ]
        await press(pilot, app, ("F",), len(before))
        assert titles(app) == before
        await press(pilot, app, ("F", *"lr", "enter"), 2)
        assert [title.partition(" · ")[0] for title in titles(app)] == ["lr 0.1", "lr 0.5"]
        assert sorted(means(charts(app)[1])) == [("batch ×2", 1), ("l1 ×2", 4)]
        await press(pilot, app, ("F",), len(before))
        assert titles(app) == before

    drive(app, (160, 48), act)


def test_settings_with_one_value_among_the_runs_shown_are_not_offered(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("v", "F")
        await until(pilot, lambda: "A chart for each" in text_of(app))
        assert "optim.lr" not in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert len({title.partition(" · ")[2] for title in titles(app)}) == 1

    drive(app, (160, 48), act)


def test_facets_share_both_ranges_and_what_is_chosen_for_one(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, app, VARIANTS, 3)
        (span,) = {chart.data.y_span for chart in charts(app)}
        assert span is not None
        assert span[0] <= 1.0 and span[1] >= 100.0
        assert len({chart.data.least for chart in charts(app)}) == 1
        await pilot.press("y", "s")
        await pilot.pause()
        assert {(chart.log_y, chart.smoothing) for chart in charts(app)} == {(False, 0.9)}
        await pilot.press("R", *"2", "space", *"20", "enter")
        await pilot.pause()
        assert {chart.view.y for chart in charts(app)} == {(2.0, 20.0)}
        assert text_of(app).count("30 points beyond") == 2

    drive(app, (160, 48), act)


def test_the_reference_is_in_every_facet_and_what_is_hidden_in_none(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("r", "j", "v")
        await press(pilot, app, VARIANTS, 2)
        assert [sorted(means(chart)) for chart in charts(app)] == [
            [("none ×2", 0)],
            [("l1 ×2", 4), ("none ×2", 0)],
        ]
        await press(pilot, app, ("v",), 3)

    drive(app, (160, 48), act)


def test_runs_that_come_and_go_while_groups_and_facets_are_shown(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    def labels() -> list[str]:
        return [label for chart in charts(app) for label, _ in means(chart)]

    async def act(pilot: Pilot[None]) -> None:
        await press(pilot, app, VARIANTS, 3)
        made_run(sweep.path / "none-s2", events(30, loss=2.0), state="stopped")
        await until(pilot, lambda: "none ×3" in labels())
        made_run(sweep.path / "linf-s0", events(20, loss=3.0), state="running")
        await until(pilot, lambda: "linf" in labels())
        assert titles(app)[-1].startswith("linf · ")
        for name in ("none-s2", "linf-s0"):
            shutil.rmtree(sweep.path / name)
        await until(pilot, lambda: text_of(app).count("gone") >= 1)
        assert {"none ×3", "linf"} <= set(labels()), "what was read of them stays"

    drive(app, (160, 48), act)
