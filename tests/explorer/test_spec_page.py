"""The table of settings: what differs, whatever wrote it, and a way to every run."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from live.factories import events, made_run, view_of, write_sweep
from textual.pilot import Pilot

from bncore.config.observed import Observed, observed_to_toml
from bncore.follow.groups import groups_of
from bncore.store.paths import SweepDir
from bntui.chart.palette import DARK
from bntui.live.sources import read_whole
from bntui.screens.spec import _that_fit, spec_table
from explorer.factories import checked_text, drive, explorer, until


def seeds(root: Path, count: int) -> SweepDir:
    sweep = SweepDir(root / "made-001")
    names = [f"a-s{seed}" for seed in range(count)]
    for seed, name in enumerate(names):
        run = made_run(sweep.path / name, events(2))
        run.spec_file.write_text(run.spec_file.read_text().replace("seed = 0", f"seed = {seed}"))
    write_sweep(sweep.path, names)
    return sweep


@given(st.lists(st.integers(1, 40), max_size=12), st.integers(0, 120), st.integers(-3, 20))
def test_columns_that_fit_are_beside_each_other_and_every_one_can_be_reached(
    widths: list[int], room: int, first: int
) -> None:
    shown = _that_fit(widths, room, first)
    taken = sum(widths[i] + 2 for i in shown)
    assert len(shown) == min(1, len(widths)) or taken <= room
    if shown:
        assert shown.stop == len(widths) or taken + widths[shown.stop] + 2 > room, "no room is left"
        assert shown.start == max(0, min(first, _that_fit(widths, room, len(widths)).start))
        assert _that_fit(widths, room, len(widths)).stop == len(widths)


def test_seeds_differ_and_all_runs_are_reached_by_arrows(tmp_path: Path) -> None:
    app = explorer(tmp_path, seeds(tmp_path, 12))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("g", "7", "d")
        await until(pilot, lambda: "Settings that differ" in checked_text(app))
        text = checked_text(app)
        assert " seed " in text
        assert "a-s0" in text
        assert "a-s11" not in text
        assert "runs 1-" in text
        await pilot.press(*["right"] * 12)
        await until(pilot, lambda: "-12 of 12" in checked_text(app))
        assert "a-s11" in checked_text(app)
        await pilot.press(*["left"] * 12, "d")
        await until(pilot, lambda: "runs 1-" in checked_text(app))
        await pilot.press("end")
        await until(pilot, lambda: "probes." in checked_text(app))
        assert "a-s0" in checked_text(app), "the names stay above"

    drive(app, (80, 24), steps)


def test_seeds_of_a_group_share_a_column_unless_something_else_differs(tmp_path: Path) -> None:
    sweep = seeds(tmp_path, 5)
    spec = sweep.runs()[3].spec_file
    spec.write_text(spec.read_text().replace('kind = "batch"', 'kind = "l1"'))
    views = read_whole(*sweep.runs()).runs
    table = spec_table(DARK, views, 100, groups=groups_of(views))
    assert table.head.plain.split() == ["a", "a-s3"]
    rows = {row.key: row.text.plain.split()[1:] for row in table.rows}
    assert rows["seed"] == ["0-2,", "4", "3"]
    assert rows["norm.kind"] == ["batch", "l1"]
    alone = spec_table(DARK, views[:3], 100, only_differences=True, groups=groups_of(views))
    assert [row.text.plain for row in alone.rows] == ["nothing differs"]
    assert spec_table(DARK, views, 100).count == 5


def test_marked_runs_alone_are_compared(tmp_path: Path) -> None:
    app = explorer(tmp_path, seeds(tmp_path, 3))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("g", "m", "down", "m", "7", "d")
        await until(pilot, lambda: "Settings that differ of the marked runs" in checked_text(app))
        row = next(
            line for line in checked_text(app).splitlines() if " seed " in line and "seeds" not in line
        )
        assert row.partition("seed")[2].split()[:2] == ["0", "1"]
        assert "2" not in row.partition("seed")[2]

    drive(app, (160, 48), steps)


def test_external_loops_show_their_model_and_optimizer(tmp_path: Path) -> None:
    views = []
    for index, optimizer in enumerate(("SGD(lr=0.1)", "Adam(lr=0.001)")):
        run = made_run(tmp_path / f"{optimizer[:3]}-s0", events(2))
        loop = Observed(
            model="Net",
            loss="mse",
            optimizer=optimizer,
            parameters=1,
            precision="float32",
            device="cpu",
            threads=1,
        )
        run.spec_file.write_text(observed_to_toml(loop))
        views.append(view_of(run, index))
    rows = {row.key: row.text.plain.split()[1:] for row in spec_table(DARK, views, 100).rows}
    assert rows["model"] == ["Net", "Net"]
    differing = spec_table(DARK, views, 100, only_differences=True).rows
    assert [row.text.plain.split() for row in differing] == [["optimizer", "SGD(lr=0.1)", "Adam(lr=0.001)"]]
