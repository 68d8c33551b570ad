"""Every page at the sizes of real terminals: what holds of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from live.factories import events, made_run, record_machine, request, write_sweep
from rich.cells import cell_len
from rich.text import Text
from store.factories import SMALL
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from bncore.follow.groups import styles_of
from bncore.store.paths import SweepDir
from bntui.actions import ACTIONS, page_keys
from bntui.app import PAGES, Explorer
from bntui.chart.widget import Chart
from bntui.live.layers import PARTS
from bntui.screens.dialog import Dialog, Leave
from bntui.screens.journal import JournalPage
from bntui.screens.start import PresetView, Start
from bntui.widgets.listing import Listing
from bntui.widgets.steering_bar import SteeringBar
from explorer.factories import checked_text, drive, explorer, until

SIZES = ((160, 48), (120, 30), (80, 24), (60, 18))
AT_EVERY_SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
VARIANTS = ("none", "batch", "l1")
KEYS = {page: page_keys()[page] for page in PAGES}
WINDOWS = ("question_mark", "slash", "B", "F", "W", "L", "R", "at", "number_sign")
REQUESTS = tuple("nplSifxN")
"""Keys of the sweep's page that open the bar of requests; above, those that open windows."""
LABELS = {word for action in ACTIONS for word in action.label.split()}
STATES_SAID = {"on", "off", "sweep:", "resume", "restart", "single", "runs"}
REASON = "too late because step 5 has passed and nothing changes before it"
KEYS_SAID = {key for action in ACTIONS for key in action.all_keys}


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Three variants of five seeds, with every instrument, requests and records of the machine."""
    sweep = SweepDir(tmp_path / "root" / "made-001")
    queue = []
    for variant, seed in product(VARIANTS, range(5)):
        spec = SMALL.model_copy(
            update={"seed": seed, "norm": SMALL.norm.model_copy(update={"kind": variant})}
        )
        rejected = request(9, {"norm.kind": "l2"}, outcome="rejected", reason=REASON)
        asked = [request(7, {"noise.on": True}), rejected]
        head = asked if (variant, seed) == ("batch", 0) else []
        queue.append(f"{variant}-s{seed}")
        record_machine(made_run(sweep.path / queue[-1], [*events(), *head], spec=spec))
    write_sweep(sweep.path, queue, name="made", title="Three norms on synthetic data", figure="4, 11a")
    return sweep


def assert_whole(text: str, size: tuple[int, int]) -> None:
    """The screen has a heading and a line of keys, and no word of that is cut."""
    lines = text.splitlines()
    assert len(lines) == size[1]
    assert all(cell_len(line) == size[0] for line in lines)
    assert lines[0].strip()
    foot = lines[-1].split()
    assert "…" not in foot
    assert {*foot} <= LABELS | STATES_SAID | KEYS_SAID, "whole words of the table of actions"
    assert lines[-1].endswith("? help  q quit ")


@AT_EVERY_SIZE
def test_every_page_has_a_heading_that_names_it_and_whole_keys(
    sweep: SweepDir, size: tuple[int, int]
) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        for page, key in KEYS.items():
            await pilot.press(key)
            await until(pilot, lambda page=page: getattr(app.screen, "TAB", "") == page)
            await pilot.pause()
            text = checked_text(app)
            assert_whole(text, size)
            assert f"{key} {page}" in text.splitlines()[0]
            assert all(re.search(rf"\b{variant} ×5", text) for variant in VARIANTS), "every group is named"

    drive(app, size, steps)


@AT_EVERY_SIZE
def test_where_not_all_runs_are_named_it_is_said_which_of_how_many(
    sweep: SweepDir, size: tuple[int, int]
) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("g", *["down"] * 7)
        await pilot.pause()
        assert re.search(r"batch-s2", checked_text(app))
        if size[0] < 110:
            assert "8 of 15" in checked_text(app).splitlines()[1]
            assert len(re.findall(r"\w-s\d", checked_text(app).splitlines()[1])) == size[0] // 22
        else:
            listed = app.screen.query_one("#runs", Listing).rows
            assert [row.key.rpartition("/")[2] for row in listed] == [run.path.name for run in sweep.runs()]

    drive(app, size, steps)


def test_the_colours_of_runs_are_those_of_the_groups_that_are_listed(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEYS["layers"])
        await until(pilot, lambda: app.screen.query("#profile"))
        profile = app.screen.query_one("#profile", Chart)
        await until(pilot, lambda: profile.data.curves)
        assert app.feed.snapshot is not None
        style_of = {
            view.name: style for view, style in styles_of(app.context.groups(app.feed.snapshot)).items()
        }
        assert {curve.label: curve.style for curve in profile.data.curves} == style_of
        assert len({*style_of.values()}) == len(VARIANTS)
        await pilot.press(KEYS["journal"])
        await until(
            pilot, lambda: isinstance(app.screen, JournalPage) and app.screen.query_one("#events").rows
        )
        rows = app.screen.query_one("#events", Listing).rows
        colors = {color for row in rows for name in style_of for color in colors_of(row.text, name)}
        assert len(colors) == len(VARIANTS)

    drive(app, (160, 48), steps)


def colors_of(text: Text, word: str) -> Iterator[str]:
    """The colours in which a text has a word."""
    for span in text.spans:
        if text.plain[span.start : span.end].strip() == word:
            yield str(span.style)


@pytest.mark.parametrize("size", [(120, 30), (60, 18)], ids=str)
def test_why_a_request_was_rejected_is_read_whole(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEYS["journal"])
        await until(pilot, lambda: "rejected" in checked_text(app))
        for name in ("#events", "#changes")[: 2 if size[0] > 110 else 1]:
            listing = app.screen.query_one(name, Listing)
            assert REASON in " ".join(" ".join(row.text.plain for row in listing.rows).split())
            assert all(row.text.cell_len <= listing.text_width for row in listing.rows)

    drive(app, size, steps)


@AT_EVERY_SIZE
def test_the_list_of_all_runs_has_whole_figures_below_each_other(
    sweep: SweepDir, size: tuple[int, int]
) -> None:
    app = explorer(sweep.path.parent)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "none-s0" in checked_text(app))
        listing = app.screen.query_one("#all-runs", Listing)
        rows = [row.text for row in listing.rows if row.key.endswith(("s0", "s1"))]
        assert all(row.cell_len <= listing.text_width + 2 for row in rows), "nothing is cut"
        said = [{word: row.plain.find(word) for word in ("finished", "loss", "test acc")} for row in rows]
        assert all(places == said[0] for places in said)
        assert (said[0]["test acc"] > 0) == (size[0] >= 80)

    drive(app, size, steps)


@AT_EVERY_SIZE
def test_the_terms_of_the_theorem_are_named(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEYS["theory"])
        await until(pilot, lambda: "scale part" in checked_text(app))
        assert all(part.title in checked_text(app) for part in PARTS)

    drive(app, size, steps)


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_what_keys_do_is_said_whole(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        listing = app.screen.query_one(Listing)
        await until(
            pilot, lambda: listing.rows and all(len(r.text) <= listing.text_width for r in listing.rows)
        )
        said = " ".join(" ".join(row.text.plain for row in listing.rows).split())
        assert all(action.help in said for action in ACTIONS if action.keys and action.scope == "sweep")

    drive(app, size, steps)


@AT_EVERY_SIZE
def test_every_window_is_whole_with_its_keys(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent, sweep)
    preset = PresetView("made", "4", "Three norms on synthetic data", VARIANTS)

    async def steps(pilot: Pilot[None]) -> None:
        assert app.feed.snapshot is not None
        for opened in (*WINDOWS, Leave(app.feed.snapshot.runs), Start(preset)):
            if isinstance(opened, str):
                await pilot.press(opened)
            else:
                app.push_screen(opened)
            await until(pilot, lambda: isinstance(app.screen, Dialog))
            await pilot.pause()
            window = app.screen.query_one(".window")
            assert_framed(app, window)
            assert all(window.content_region.contains_region(child.region) for child in window.children)
            assert window.query(Input) or window.query_one(Listing).has_focus
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, Dialog))

    drive(app, size, steps)


@AT_EVERY_SIZE
def test_what_would_be_sent_is_whole_above_the_keys_that_send_it(
    sweep: SweepDir, size: tuple[int, int]
) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        for key in REQUESTS:
            await pilot.press(key)
            await pilot.pause()
            bar = app.screen.query_one(SteeringBar)
            assert_framed(app, bar)
            said = bar.query_one("#proposal")
            assert bar.content_region.contains_region(said.region)
            assert checked_text(app).splitlines()[-1].split() == ["^q", "quit", "^p", "palette"]
            await pilot.press("escape")

    drive(app, size, steps)


def assert_framed(app: Explorer, window: Widget) -> None:
    """A window lies on the screen, and its border has its whole title and key hints."""
    assert app.screen.region.contains_region(window.region)
    lines = checked_text(app).splitlines()
    frame = slice(window.region.x, window.region.right)
    top, bottom = (lines[row][frame] for row in (window.region.y, window.region.bottom - 1))
    assert f" {window.border_title} " in top
    assert f" {window.border_subtitle} " in bottom or not window.border_subtitle


@AT_EVERY_SIZE
def test_a_filter_shows_its_own_keys_while_it_is_edited(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent)

    async def steps(pilot: Pilot[None]) -> None:
        before = checked_text(app).splitlines()[-1]
        await pilot.press("slash", *"batch")
        await pilot.pause()
        keys = "Tab complete  Enter keep  Esc clear  ^q quit  ^p palette"
        assert checked_text(app).splitlines()[-1].strip() == keys
        await pilot.press("enter")
        await pilot.pause()
        assert checked_text(app).splitlines()[-1] == before

    drive(app, size, steps)


def test_a_terminal_that_is_too_small_says_so_and_how_to_leave(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        assert re.sub(" +", " ", checked_text(app).splitlines()[0]) == " too small, min 40×10 q quit "
        await pilot.press("q")
        assert app.return_code == 0

    drive(app, (30, 8), steps)


def test_requests_that_no_run_accepts_are_not_in_the_line_of_keys(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        keys = checked_text(app).splitlines()[-1]
        assert "f fork" in keys
        assert not {"noise", "norm", "pause", "step", "stop", "whole"} & {*keys.split()}
        await pilot.press("n")
        await pilot.pause()
        assert "no run can accept this (finished)" in checked_text(app)
        assert "Enter send" not in checked_text(app)
        await pilot.press("escape", "f")
        await pilot.pause()
        assert "Enter send" in checked_text(app)

    drive(app, (120, 30), steps)


def test_no_style_goes_beyond_the_words_that_it_is_meant_for(sweep: SweepDir) -> None:
    """As the style that a text begins with would: a rejection would be as faint as the time before it."""
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        for key in ("question_mark", "escape", KEYS["journal"]):
            await pilot.press(key)
            await pilot.pause()
            for listing in app.screen.query(Listing).results(Listing):
                assert not [row.text.plain for row in listing.rows if row.text.style and row.text.spans]

    drive(app, (160, 48), steps)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dark", "light", "ansi", "NO_COLOR"])
@AT_EVERY_SIZE
def test_every_page_can_be_read_in_every_colour_mode(
    sweep: SweepDir, size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    app = explorer(sweep.path.parent, sweep, theme="dark" if mode == "NO_COLOR" else mode)

    async def steps(pilot: Pilot[None]) -> None:
        for page, key in KEYS.items():
            await pilot.press(key)
            await until(pilot, lambda page=page: getattr(app.screen, "TAB", "") == page)
            await pilot.pause()
            assert_whole(checked_text(app), size)
            for text, ink, ground in inks(app):
                if mode == "NO_COLOR":
                    assert len({*ink}) == len({*ground}) == 1, f"{page}: {text!r} has a colour"
                assert contrast(ink, ground) >= 2.5, f"{page}: {text!r} in {ink} on {ground}"

    drive(app, size, steps)


def inks(app: Explorer) -> Iterator[tuple[str, tuple[int, int, int], tuple[int, int, int]]]:
    """Words on the screen with their colour and the one behind it, of those that have colours of their own."""
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if style is None or style.color is None or style.bgcolor is None:
                continue
            ink, ground = style.color.triplet, style.bgcolor.triplet
            if style.reverse:
                ink, ground = ground, ink
            if ink and ground and re.search(r"\w", segment.text) and not re.search("[⠀-⣿]", segment.text):
                yield segment.text, tuple(ink), tuple(ground)


def contrast(ink: tuple[int, int, int], ground: tuple[int, int, int]) -> float:
    """As the Web Content Accessibility Guidelines define it, from 1 to 21."""
    linear = [((np.array(color) / 255 + 0.055) / 1.055) ** 2.4 for color in (ink, ground)]
    low, high = sorted(float(one @ (0.2126, 0.7152, 0.0722)) for one in linear)
    return (high + 0.05) / (low + 0.05)
