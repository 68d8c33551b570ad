"""The filter of the list of runs: live, with the last query that made sense, an error at its word, and Tab."""

from __future__ import annotations

from pathlib import Path

from live.factories import events, made_run, write_sweep
from store.factories import SMALL
from textual.pilot import Pilot

from bncore.config.change import changed
from bntui.app import Explorer
from bntui.screens.home import HomePage
from bntui.screens.sweep import SweepPage
from bntui.widgets.filter import FilterHint, QueryFilter
from explorer.factories import drive, explorer, text_of, until


def two_norms(root: Path) -> None:
    """A sweep of a finished run with BatchNorm and a stopped one without."""
    for norm, state in (("batch", "finished"), ("none", "stopped")):
        spec = changed(SMALL, {"norm.kind": norm})
        made_run(root / "made-001" / f"{norm}-s0", events(), state=state, spec=spec)  # type: ignore[arg-type]
    write_sweep(root / "made-001", ["batch-s0", "none-s0"], title="Of two norms")


def shown(app: Explorer) -> list[str]:
    """The runs in the list."""
    return [name for name in ("batch", "none") if any(f" {name} " in line and "loss" in line
                                                      for line in text_of(app).splitlines())]  # fmt: skip


def keys(text: str) -> list[str]:
    return ["space" if c == " " else c for c in text]


def under(app: Explorer, word: str) -> str:
    """What stands in the line under the filter, at the place of the word and behind it."""
    lines = text_of(app).splitlines()
    place = next(i for i, line in enumerate(lines) if word in line and "Filter" not in line and i > 30)
    return lines[place + 1][lines[place].index(word) :].rstrip()


def test_a_query_selects_while_it_is_typed_and_the_last_that_made_sense_holds(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: shown(app) == ["batch", "none"])
        await pilot.press("slash", *keys("norm=batch"))
        await until(pilot, lambda: shown(app) == ["batch"])
        await pilot.press(*keys(" stat=finished"))
        await until(pilot, lambda: "^^^^ no such field" in text_of(app))
        assert under(app, "stat=finished") == "^^^^ no such field (did you mean 'state'?)"
        assert shown(app) == ["batch"], "the last query that made sense"
        await pilot.press(*["backspace"] * 9, *keys("e=stopped"))
        await until(pilot, lambda: "no run matches norm=batch state=stopped" in text_of(app))
        assert "^^" not in text_of(app)
        assert "no runs yet" not in text_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: shown(app) == ["batch", "none"])
        assert not app.screen.query_one(FilterHint).has_class("open")

    drive(app, (120, 40), steps)


def test_words_are_looked_for_in_all_that_rows_say_presets_among_them(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "activations" in text_of(app))
        await pilot.press("slash", *keys("two norms stopped"))
        await until(pilot, lambda: shown(app) == ["none"])
        assert "activations" not in text_of(app)
        await pilot.press("escape", "slash", *keys("seed=0"))
        await until(pilot, lambda: shown(app) == ["batch", "none"] and "activations" in text_of(app))

    drive(app, (120, 40), steps)


def test_tab_completes_fields_and_values_that_runs_have(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: shown(app) == ["batch", "none"])
        typed = app.screen.query_one(QueryFilter)
        await pilot.press("slash", *"vari", "tab")
        assert typed.value == "varian", "of variant and of variance"
        await pilot.press(*"t=b", "tab")
        assert typed.value == "variant=batch"
        await until(pilot, lambda: shown(app) == ["batch"])
        await pilot.press(*keys(" not st"), "tab")
        assert typed.value == "variant=batch not st"
        await until(pilot, lambda: "state  step  steps" in text_of(app))
        await pilot.press("a", "tab", *keys("=no_such"), "tab")
        assert typed.value == "variant=batch not state=no_such"
        await until(pilot, lambda: "expected one of queued, running" in text_of(app))
        assert typed.has_focus

    drive(app, (120, 40), steps)


def test_tab_takes_what_may_be_meant(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: shown(app) == ["batch", "none"])
        typed = app.screen.query_one(QueryFilter)
        await pilot.press("slash", *keys("nrom=batch test_accuracy>69"), "tab")
        assert typed.value == "norm=batch test_accuracy>69"
        await until(pilot, lambda: "^^ 1 is 100 % (did you mean '69%'?)" in text_of(app))
        await pilot.press("tab")
        assert typed.value == "norm=batch test_accuracy>69%"
        await until(pilot, lambda: "^^" not in text_of(app))

    drive(app, (120, 40), steps)


def test_the_list_says_what_it_is_filtered_by_and_how_many_runs_that_leaves(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "2 runs" in text_of(app))
        await pilot.press("slash", *keys("norm=batch"))
        await until(pilot, lambda: "1 of 2 runs" in text_of(app) and "Runs: norm=batch" in text_of(app))
        typed = app.screen.query_one(QueryFilter)
        before = typed.styles.background, typed.styles.text_style
        await pilot.press("enter")
        await until(pilot, lambda: not typed.has_focus)
        assert typed.styles.background != before[0] and typed.styles.text_style != before[1]
        await pilot.press("slash", "escape")
        await until(pilot, lambda: "of 2 runs" not in text_of(app) and "Runs: " not in text_of(app))

    drive(app, (120, 40), steps)


def test_the_mark_stays_in_view_where_there_is_little_room(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "made-001" in text_of(app))
        await pilot.press("slash", *keys("norm=batch or norm=none or (lr>0.1 and stat=finished"))
        await until(pilot, lambda: "^" in text_of(app))
        assert any("no such field" in line and "^^^^" in line for line in text_of(app).splitlines())

    drive(app, (60, 40), steps)


def test_the_filter_goes_along_into_a_sweep_and_back(tmp_path: Path) -> None:
    two_norms(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: shown(app) == ["batch", "none"])
        await pilot.press("slash", *keys("norm=batch"), "enter")
        await until(pilot, lambda: shown(app) == ["batch"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SweepPage) and app.feed.snapshot is not None)
        assert {path.name for path in app.context.selection.hidden} == {"none-s0"}
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, HomePage) and app.feed.snapshot is not None)
        await until(pilot, lambda: shown(app) == ["batch"])
        assert "norm=batch" in text_of(app)
        await pilot.press("slash", "escape")
        await until(pilot, lambda: shown(app) == ["batch", "none"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SweepPage))
        assert not app.context.selection.hidden

    drive(app, (120, 40), steps)
