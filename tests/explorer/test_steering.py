"""Steering by keys: everything is shown before it is sent, and what is sent is what was shown."""

from __future__ import annotations

from typing import Any

import pytest
from live.factories import Seconds, request
from textual.pilot import Pilot

from bncore.store.journal import encode
from bncore.store.paths import SweepDir
from bncore.store.requests import waiting
from bntui.app import Explorer
from bntui.chart.widget import Chart
from explorer.factories import text_of, until
from explorer.steered_sweep import inbox_requests, run_named, select, sentence, steer, steering_bar

pytestmark = pytest.mark.usefixtures("started")

KEYS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("n", "first", "noise on", {"kind": "set", "changes": {"noise.on": True}}),
    ("p", "first", "norm none", {"kind": "set", "changes": {"norm.kind": "none"}}),
    ("l", "second", "lr 0.05", {"kind": "set", "changes": {"optim.lr": 0.05}}),
    ("space", "first", "pause", {"kind": "pause"}),
    ("space", "halted", "resume", {"kind": "resume"}),
    ("full_stop", "halted", "step 1", {"kind": "step", "count": 1}),
    ("x", "second", "stop", {"kind": "stop"}),
    ("C", "first", "checkpoint", {"kind": "checkpoint"}),
    ("E", "halted", "evaluate", {"kind": "evaluate"}),
    ("n", "waits", "noise on", {"kind": "set", "changes": {"noise.on": True}}),
)


def test_a_key_shows_what_it_would_send_escape_sends_nothing_and_enter_sends_it(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        expected: dict[str, list[dict[str, Any]]] = {}
        for key, name, said, command in KEYS:
            await select(pilot, app, name)
            await pilot.press(key)
            await pilot.pause()
            assert steering_bar(app).is_open
            assert f"→ {said}  to run {name}" in sentence(app)
            await pilot.press("escape")
            await pilot.pause()
            assert not steering_bar(app).is_open
            assert inbox_requests(sweep) == expected, f"{key} and Escape"
            await pilot.press(key)
            await pilot.pause()
            assert inbox_requests(sweep) == expected, f"{key} alone"
            await pilot.press("enter")
            expected.setdefault(name, []).append(command)
            await until(pilot, lambda: inbox_requests(sweep) == expected)
            assert not steering_bar(app).is_open

    steer(sweep, act)


def test_one_enter_sends_one_request(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press("n", "enter", "enter", "enter")
        await until(pilot, lambda: "first" in inbox_requests(sweep))
        await pilot.pause(0.2)
        assert [len(found) for found in inbox_requests(sweep).values()] == [1]

    steer(sweep, act)


BAD = (
    ("n", "noise=maybe"),
    ("p", "norm=l0"),
    ("p", "norm=lp:0.5"),
    ("l", "lr=-1"),
    ("l", "lr=nan"),
    ("l", "steps=3"),
    ("l", ""),
    ("l", "lr=0.1 @soon"),
    ("l", "0.1 0.2"),
    ("l", "fast"),
    ("p", "l0"),
    ("i", "50"),
    ("full_stop", "0"),
    ("full_stop", "many"),
    ("full_stop", "-3"),
    ("N", ""),
    ("i", "probes.ics.every=-1"),
    ("i", "probes.nothing.every=1"),
    ("x", "please"),
    ("l", "lr=[bold]0.1[/]"),
    ("p", "=" * 40),
)


def test_what_makes_no_sense_is_complained_about_and_never_sent(
    sweep: SweepDir, started: list[tuple[str, ...]]
) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        for key, text in BAD:
            await pilot.press(key)
            steering_bar(app).query_one("#typed").value = text  # type: ignore[attr-defined]
            await pilot.pause()
            assert sentence(app).startswith("✗ "), (key, text)
            await pilot.press("enter")
            await pilot.pause()
            assert steering_bar(app).is_open, (key, text)
            await pilot.press("escape")
        assert not inbox_requests(sweep)
        assert not started

    steer(sweep, act)


def test_what_is_typed_is_what_is_sent_at_the_step_named(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press("l")
        await pilot.press(*"lr=0.01 noise=on", "space", "@", *"5000")
        await pilot.pause()
        assert "→ lr 0.01, noise on  to run first" in sentence(app)
        assert "at step 5,000" in sentence(app)
        await pilot.press("enter")
        changes = {"optim.lr": 0.01, "noise.on": True}
        await until(
            pilot,
            lambda: (
                inbox_requests(sweep) == {"first": [{"kind": "set", "at_step": 5000, "changes": changes}]}
            ),
        )
        await pilot.press("N", *"now, ", *"[bold]q w[/]", "enter")
        note = {"kind": "note", "text": "now, [bold]q w[/]"}
        await until(pilot, lambda: inbox_requests(sweep)["first"][1:] == [note])
        await until(pilot, lambda: "note: now, [bold]q w[/]" in text_of(app))

    steer(sweep, act)


TYPED: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("l", ("1",), "1", "lr 1"),
    ("l", tuple("0.3"), "0.3", "lr 0.3"),
    ("l", tuple("lr=0.3"), "lr=0.3", "lr 0.3"),
    ("l", ("down", *"2e-3"), "2e-3", "lr 0.002"),
    ("l", ("end", "1"), "lr=0.051", "lr 0.051"),
    ("l", ("right", "1"), "lr=0.051", "lr 0.051"),
    ("l", ("right", "left", "1"), "lr=0.015", "lr 0.015"),
    ("l", ("backspace", "2"), "2", "lr 2"),
    ("l", ("space", *"noise=on"), "lr=0.05 noise=on", "lr 0.05, noise on"),
    ("p", ("l", "1"), "l1", "norm l1"),
    ("p", tuple("lp:3"), "lp:3", "norm lp:3"),
    ("p", tuple("lp:3 "), "lp:3 ", "norm lp:3"),
    ("n", tuple("off"), "off", "noise off"),
    ("i", tuple("none"), "none", "ics every 0, landscape every 0"),
    ("full_stop", ("7",), "7", "step 7"),
)


def test_what_is_typed_takes_the_place_of_what_was_offered_and_needs_no_name(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        for key, typed, text, said in TYPED:
            await pilot.press(key, *("space" if one == " " else one for one in typed))
            await pilot.pause()
            assert steering_bar(app).query_one("#typed").value == text  # type: ignore[attr-defined]
            assert f"→ {said}" in sentence(app), (key, typed)
            await pilot.press("escape")
        await pilot.press("l", "1", "enter")
        await until(
            pilot, lambda: inbox_requests(sweep) == {"first": [{"kind": "set", "changes": {"optim.lr": 1.0}}]}
        )

    steer(sweep, act)


def test_a_step_typed_at_once_belongs_to_what_was_offered(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press("p", "@", "7")
        await pilot.pause()
        assert "→ norm none  to run first  at step 7" in sentence(app)
        await pilot.press("escape", "space", "@", "7")
        await pilot.pause()
        assert "→ pause  to run first  at step 7" in sentence(app)

    steer(sweep, act)


def test_forks_and_restarts_are_commands_for_the_runs_shown(
    sweep: SweepDir, started: list[tuple[str, ...]]
) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await select(pilot, app, "over")
        await pilot.press("f")
        await pilot.pause()
        assert "→ fork with norm none  to run over" in sentence(app)
        assert not started
        await pilot.press("space", "@", "7", "enter")
        over = str(run_named(sweep, "over").path)
        await until(pilot, lambda: started == [("fork", over, "--at", "7", "--detach", "norm=none")])
        await select(pilot, app, "ended")
        await pilot.press("space")
        await pilot.pause()
        assert "→ restart where it stopped  to run ended" in sentence(app)
        await pilot.press("enter")
        ended = str(run_named(sweep, "ended").path)
        await until(pilot, lambda: started[1:] == [("resume", ended, "--detach")])
        assert not inbox_requests(sweep)

    steer(sweep, act)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"read_only": True}, "read-only: no requests are sent"),
        ({"demo": True}, "a playback cannot be steered"),
    ],
)
def test_read_only_and_recordings_send_nothing(
    sweep: SweepDir, started: list[tuple[str, ...]], settings: dict[str, Any], why: str
) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        for key in ("n", "p", "l", "i", "space", "full_stop", "x", "f", "C", "E", "N"):
            await pilot.press("escape" if steering_bar(app).is_open else "m", key)
            await pilot.pause()
            assert not steering_bar(app).is_open, key
            assert why in text_of(app), key
            await pilot.press("enter")
        await pilot.press("q")
        await pilot.pause()
        assert not inbox_requests(sweep)
        assert not started
        assert app.return_code == 0, "no question whether to stop runs that cannot be stopped"

    steer(sweep, act, **settings)


def test_a_request_is_shown_as_pending_then_as_the_run_answers_it(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        await pilot.press("n", "enter")
        await pilot.press("l", "enter")
        await until(pilot, lambda: text_of(app).count("pending") == 2)
        run = run_named(sweep, "first")
        answers = [
            request(12, {"noise.on": True}),
            request(12, {"optim.lr": 0.05}, outcome="rejected", reason="no"),
        ]
        idents = [one.id for one in waiting(run)]
        with run.journal_file.open("ab") as journal:
            for ident, answer in zip(idents, answers, strict=True):
                journal.write(encode(Seconds().stamp([answer | {"id": ident}])[0]) + b"\n")
        app.feed.wake()
        await until(pilot, lambda: "pending" not in text_of(app))
        for one in waiting(run):
            one.path.unlink()
        app.feed.wake()
        text = text_of(app)
        assert "12 ✓ noise on" in text
        assert "noise on @12" in text, "the mark in the charts"
        assert "12 ✗ lr 0.05" in text
        assert "noise on" in text.split("norm batch")[1].splitlines()[0], "what holds now"

    steer(sweep, act)


@pytest.mark.parametrize(("chart", "at", "step"), [("loss", 5.0, 5.0), ("difference_by_length", 4e-4, None)])
def test_a_crosshair_chooses_a_step_only_where_steps_are(
    sweep: SweepDir, chart: str, at: float, step: float | None
) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        page = app.screen
        page.lay_out((chart,))
        await until(pilot, lambda: [one.id for one in page.query(Chart)] != [] and page.grid.keys == (chart,))
        page.query(Chart).first()._point_at(at)
        await pilot.pause()
        assert app.context.selection.step == step

    steer(sweep, act)
