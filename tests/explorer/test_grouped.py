"""Variants of several seeds: listed, drawn, selected and steered as one; single runs by a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from live.factories import events, made_run, request, write_sweep
from store.factories import SMALL
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from bntui.chart.widget import Chart
from bntui.screens.runs import RunsPage
from explorer.factories import drive, explorer, text_of
from explorer.steered_sweep import sentence


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Two variants of three seeds, of which one was changed by hand."""
    sweep = SweepDir(tmp_path / "runs" / "made-001")
    queue = []
    for lr, variant in ((0.1, "none"), (0.5, "batch")):
        spec = SMALL.model_copy(update={"optim": SMALL.optim.model_copy(update={"lr": lr})})
        for seed in range(3):
            head = [request(0, {"norm.kind": "l1"})] if (variant, seed) == ("batch", 2) else []
            queue.append(f"{variant}-s{seed}")
            own = spec.model_copy(update={"seed": seed})
            made_run(sweep.path / queue[-1], events(30, head=head), state="stopped", spec=own)
    write_sweep(sweep.path, queue, name="made")
    return sweep


@pytest.mark.parametrize("size", [(160, 48), (120, 30), (80, 24), (60, 18)])
def test_seeds_are_one_line_and_a_key_shows_single_runs(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        assert "none ×3" in text_of(app)
        assert "none-s1" not in text_of(app)
        await pilot.press("g")
        await pilot.pause()
        assert "none-s0" in text_of(app)
        assert "×3" not in text_of(app)
        await pilot.press("g")
        await pilot.pause()
        assert "none ×3" in text_of(app)

    drive(app, size, act)


def test_bands_and_groups_are_chosen_by_keys(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        for band in ("95 % interval", "min-max", "quartiles", "± 1 sd", "min-max", "95 % interval"):
            assert band in text_of(app)
            await pilot.press("b")
            await pilot.pause()
        assert "By variant" in text_of(app)
        await pilot.press("B", "escape")
        await pilot.pause()
        assert "By variant" in text_of(app)
        await pilot.press("B", *"lr", "enter")
        await pilot.pause()
        for said in ("By lr", "lr 0.1 ×3", "lr 0.5 ×3"):
            assert said in text_of(app)
        await pilot.press("B")
        await pilot.pause()
        assert "■ lr" in text_of(app)
        await pilot.press("up", "enter")
        await pilot.pause()
        assert "By variant" in text_of(app)

    drive(app, (160, 48), act)


def test_a_request_to_a_group_names_its_runs(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("space")
        await pilot.pause()
        assert "to the 3 runs of none (none-s0, none-s1, none-s2)" in sentence(app)
        await pilot.press("escape", "down", "space")
        await pilot.pause()
        assert "to the 3 runs of batch (batch-s0, batch-s1, batch-s2)" in sentence(app)
        await pilot.press("escape", "g", "space")
        await pilot.pause()
        assert "to run batch-s0" in sentence(app)

    drive(app, (160, 48), act)


def test_a_run_that_was_changed_alone_is_marked(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        assert "batch-s2 changed @0" in text_of(app)

    drive(app, (160, 48), act)


def test_hiding_and_marking_are_of_the_whole_group(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("v", "m")
        await pilot.pause()
        selection = app.context.selection
        assert {path.name for path in selection.hidden} == {f"none-s{seed}" for seed in range(3)}
        assert selection.marked == selection.hidden
        await pilot.press("v", "m")
        await pilot.pause()
        assert not selection.hidden | selection.marked

    drive(app, (160, 48), act)


def test_the_reference_is_pinned_drawn_boldly_and_never_hidden(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    def bold() -> set[str]:
        return {one.label for chart in app.screen.query(Chart) for one in chart.data.curves if one.bold}

    async def act(pilot: Pilot[None]) -> None:
        selection = app.context.selection
        await pilot.press("v", "r")
        await pilot.pause()
        assert selection.reference == sweep.path / "none-s0"
        assert bold() == {"none ×3"}, "hidden before, it is shown again"
        assert "★" in text_of(app)
        await pilot.press("v")
        await pilot.pause()
        assert not selection.hidden
        assert "r unpins it" in text_of(app)
        await pilot.press("g")
        await pilot.pause()
        assert bold() == {"none-s0"}
        await pilot.press("r")
        await pilot.pause()
        assert not bold()
        assert selection.reference is None

    drive(app, (160, 48), act)


def test_without_colors_the_selected_run_is_drawn_boldly(
    sweep: SweepDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        for keys, bold in ((("g",), "none-s0"), (("down",), "none-s1"), (("r", "down"), "none-s1")):
            await pilot.press(*keys)
            await pilot.pause()
            curves = [curve for chart in app.screen.query(Chart) for curve in chart.data.curves]
            assert {curve.label for curve in curves if curve.bold} == {bold}

    drive(app, (160, 48), act)


def test_what_the_crosshair_reads_stands_beside_the_charts_and_can_be_copied(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("Y")
        assert app.clipboard == ""
        await pilot.press("s", "c")
        await pilot.pause()
        assert "At 29: Training loss" in text_of(app)
        assert "none ×3" in text_of(app)
        assert "raw 0.03333" in text_of(app), "of a smoothed curve its own value too"
        assert " at 29 " in text_of(app).partition("none ×3 ")[2], "and where it is best"
        await pilot.press("Y")
        head, first, *_ = (line.split("\t") for line in app.clipboard.splitlines())
        assert head == ["curve", "step", "value", "low", "high", "smoothed", "best", "best at", "reached at"]
        assert first[5:] == [first[5], first[5], "29", "29"], (
            "the loss falls: best, smoothed, is the last one"
        )
        assert first[:2] == ["none ×3", "29"]
        assert [float(value) for value in first[2:5]] == pytest.approx([1 / 30] * 3)
        assert float(first[5]) > 1 / 30
        await pilot.press("c")
        await pilot.pause()
        assert "At 29" not in text_of(app)

    drive(app, (160, 48), act)


def test_paths_commands_and_tables_can_be_copied(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        page = app.screen
        assert isinstance(page, RunsPage)
        runs = [str(sweep.path / f"none-s{seed}") for seed in range(3)]
        for what, text, said in (
            ("path", "\n".join(runs), "3 paths"),
            ("resume", f"bnrun resume {' '.join(runs)}", "bnrun resume /"),
        ):
            page.action_copy(what)
            assert app.clipboard == text
            assert f"sent to the terminal's clipboard: {said}" in text_of(app)
        page.action_copy("table")
        head, *rows = (line.split("\t") for line in app.clipboard.splitlines())
        assert head[:4] == ["run", "state", "step", "loss"]
        assert [row[:3] for row in rows][:2] == [["none-s0", "stopped", "30"], ["none-s1", "stopped", "30"]]
        assert {len(row) for row in rows} == {len(head)}

    drive(app, (160, 48), act)


def test_a_key_shows_the_marked_groups_alone_and_all_again(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def act(pilot: Pilot[None]) -> None:
        selection = app.context.selection
        for keys, variant in (("V", "none"), ("jmkV", "batch")):
            await pilot.press(*keys)
            assert app.feed.snapshot is not None
            assert {view.variant for view in selection.drawn(app.feed.snapshot)} == {variant}
            await pilot.press("V")
            assert not selection.hidden

    drive(app, (160, 48), act)


@pytest.mark.parametrize("variants", [2, 12])
def test_all_runs_that_a_request_goes_to_are_named(tmp_path: Path, variants: int) -> None:
    names = [f"variant{v}-s{seed}" for v in range(variants) for seed in range(5)]
    path = tmp_path / "runs" / "made-001"
    for name in names:
        spec = SMALL.model_copy(update={"seed": int(name[-1])})
        made_run(path / name, state="queued", spec=spec)
    write_sweep(path, names)
    app = explorer(tmp_path / "runs", SweepDir(path))

    async def act(pilot: Pilot[None]) -> None:
        app.context.selection.marked.update(path / name for name in names[: 5 * variants - 1])
        await pilot.press("l")
        await pilot.pause()
        said = " ".join(line.strip("│ ") for line in text_of(app).splitlines())
        wanted = [f"variant{v} seeds 0-{3 if v == variants - 1 else 4}" for v in range(variants)]
        assert f"to {len(names) - 1} runs: {', '.join(wanted)} at the next step" in " ".join(said.split())

    drive(app, (80, 24), act)
