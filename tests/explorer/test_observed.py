"""Steering an observed loop: the keys mean its own controls, and what is typed is held against them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from live.factories import Seconds, events, made_run, view_of
from textual.pilot import Pilot

from bncore.config.controls import Control
from bncore.config.observed import Observed, observed_to_toml
from bncore.store.commands import write_controls
from bncore.store.journal import encode
from bncore.store.owner import acquire
from bncore.store.paths import RunDir, SweepDir
from bncore.store.requests import waiting
from bntui.app import Explorer
from bntui.chart.palette import ANSI
from bntui.screens.spec import spec_table
from explorer.factories import drive, explorer, text_of, until
from explorer.steered_sweep import Act, sentence, steering_bar

CONTROLS = (
    Control(name="lr", kind="float", value=0.1, minimum=0.0, maximum=1.0),
    Control(name="noise", kind="bool", value=False),
    Control(name="noise.n_mu", kind="float", value=0.5, minimum=0.0),
    Control(name="norm", kind="str", value="batch", choices=("none", "batch", "l1", "lp:<p>")),
    Control(name="width", kind="int", value=4, minimum=1),
)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    """A loop at work."""
    with ExitStack() as held:
        run = made_run(tmp_path / "mine" / "net", events(12), state="running")
        SweepDir(run.path.parent).sweep_file.write_text("queue = []\n")
        described = Observed(
            model="Net",
            loss="loss",
            optimizer="SGD",
            parameters=9,
            precision="float32",
            device="cpu",
            threads=1,
        )
        run.spec_file.write_text(observed_to_toml(described))
        write_controls(run, CONTROLS)
        held.callback(acquire(run).release)
        yield run


def test_the_page_of_settings_shows_them_and_marks_what_was_changed(run: RunDir) -> None:
    declared = [{"type": "control", "step": 0, "control": one.model_dump()} for one in CONTROLS]
    journal = b"".join(encode(event) + b"\n" for event in Seconds().stamp([*events(3), *declared]))
    run.journal_file.write_bytes(journal)
    write_controls(run, (CONTROLS[0].model_copy(update={"value": 0.25}), *CONTROLS[1:]))
    rows = {row.key: row.text.plain.split() for row in spec_table(ANSI, [view_of(run)], 100).rows}
    assert rows["control.lr"] == ["control.lr", "0.25", "*"]
    assert rows["control.noise"] == ["control.noise", "off"]


def steer(run: RunDir, act: Act) -> None:
    app = explorer(run.path.parent.parent, run)

    async def steps(pilot: Pilot[None]) -> None:
        await act(pilot, app)

    drive(app, (140, 36), steps)


def sent(run: RunDir) -> list[dict[str, object]]:
    return [one.command.model_dump(exclude_none=True) for one in waiting(run)]


TYPED = (
    ("l", "", "lr 0.05", {"lr": 0.05}),
    ("l", "0.3", "lr 0.3", {"lr": 0.3}),
    ("l", "1", "lr 1.0", {"lr": 1.0}),
    ("n", "", "noise on", {"noise": True}),
    ("n", "noise=on noise.n_mu=2", "noise on, noise.n_mu 2.0", {"noise": True, "noise.n_mu": 2.0}),
    ("p", "l1", "norm l1", {"norm": "l1"}),
    ("p", "lp:3", "norm lp:3", {"norm": "lp:3"}),
    ("S", "width=8 lr=0.2", "width 8, lr 0.2", {"width": 8, "lr": 0.2}),
)


def test_the_keys_set_the_controls_that_the_loop_declared(run: RunDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        expected: list[dict[str, object]] = []
        for key, text, said, changes in TYPED:
            await pilot.press(key)
            if text:
                steering_bar(app).query_one("#typed").value = text  # type: ignore[attr-defined]
            await pilot.pause()
            assert f"→ {said}  to run net" in sentence(app), (key, text)
            await pilot.press("enter")
            expected.append({"kind": "control", "changes": changes})
            await until(pilot, lambda: sent(run) == expected)

    steer(run, act)


def test_what_no_control_accepts_is_never_sent(run: RunDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        for key, text, why in (
            ("l", "2", "lr = 2.0: expected a number from 0 to 1"),
            ("l", "fast", "lr = 'fast': expected a number from 0 to 1"),
            ("n", "maybe", "noise = 'maybe': expected on or off"),
            ("p", "l0", "norm = 'l0': expected one of none, batch, l1, lp:<p>"),
            ("S", "width=1.5", "width = '1.5': expected a whole number >= 1"),
            ("S", "0.1", "expected name=value"),
            ("S", "depth=3", "no such control; expected one of lr, noise, noise.n_mu, norm, width"),
            ("i", "probes.ics.every=3", "no such control"),
        ):
            await pilot.press(key)
            steering_bar(app).query_one("#typed").value = text  # type: ignore[attr-defined]
            await pilot.pause()
            assert sentence(app).startswith("✗ "), (key, text)
            assert why in sentence(app)
            await pilot.press("enter", "escape")
        assert not sent(run)

    steer(run, act)


def test_the_line_of_keys_leaves_out_what_the_loop_did_not_declare(run: RunDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        names = {action.name for action in app.screen.offered()}  # type: ignore[attr-defined]
        assert "steer('fork')" not in names and "steer('probes')" not in names
        assert {"steer('lr')", "steer('noise')", "steer('norm')", "steer('set')"} <= names
        write_controls(run, CONTROLS[:1])
        app.feed.wake()
        await until(pilot, lambda: "noise off" not in text_of(app))
        names = {action.name for action in app.screen.offered()}  # type: ignore[attr-defined]
        assert "steer('lr')" in names and not {"steer('noise')", "steer('norm')"} & names

    steer(run, act)


def test_all_controls_are_listed_with_what_holds_and_what_would_be_accepted(run: RunDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        assert "lr 0.1  noise off" in text_of(app), "beside the charts"
        await pilot.press("S")
        await pilot.pause()
        shown = text_of(app)
        assert "lr=0.1    noise=off    noise.n_mu=0.5    norm=batch    width=4" in shown
        assert "lr now 0.1 (a number from 0 to 1)" in shown
        await pilot.press("down", "down", "down")
        await pilot.pause()
        assert "norm now batch (one of none, batch, l1, lp:<p>)" in text_of(app)

    steer(run, act)


def test_a_change_is_marked_in_charts_and_its_value_shown(run: RunDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        command = {"kind": "control", "at_step": None, "changes": {"lr": 0.25}}
        answer = {
            "type": "request", "step": 7, "id": "a", "author": "me", "command": command, "outcome": "applied",
            "old": {"lr": 0.1}, "new": {"lr": 0.25}, "reason": "",
        }  # fmt: skip
        with run.journal_file.open("ab") as journal:
            journal.write(encode(Seconds().stamp([answer])[0]) + b"\n")
        write_controls(run, (CONTROLS[0].model_copy(update={"value": 0.25}), *CONTROLS[1:]))
        app.feed.wake()
        await until(pilot, lambda: "lr 0.25 @7" in text_of(app))
        assert "7 ✓ lr 0.25" in text_of(app)
        assert "lr 0.25  noise off" in text_of(app)

    steer(run, act)
