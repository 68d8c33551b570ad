"""Every page at the sizes of real terminals: what holds of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from live.factories import events, made_run, record_machine, request, write_sweep
from rich.text import Text
from store.factories import SMALL
from textual.pilot import Pilot

from bncore.follow.groups import styles_of
from bncore.store.paths import SweepDir
from bntui.actions import ACTIONS, page_keys
from bntui.app import PAGES
from bntui.chart.widget import Chart
from bntui.screens.journal import JournalPage
from bntui.widgets.listing import Listing
from explorer.factories import checked_text, drive, explorer, until

SIZES = ((160, 48), (120, 30), (80, 24), (60, 18))
AT_EVERY_SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
VARIANTS = ("none", "batch", "l1")
KEYS = {page: page_keys()[page] for page in PAGES}
WINDOWS = (
    "question_mark",
    "slash",
    "B",
    "F",
    "W",
    "L",
    "R",
    "n",
    "p",
    "l",
    "S",
    "i",
    "f",
    "x",
    "N",
    "ctrl+p",
)
"""Keys of the sweep's page that open something over it."""
LABELS = {word for action in ACTIONS for word in action.label.split()}
STATES_SAID = {"on", "off", "sweep:", "resume", "restart"}
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
    assert all(len(line) == size[0] for line in lines)
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
