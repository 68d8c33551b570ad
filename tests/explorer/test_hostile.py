"""Runs, journals and names as nobody should make them: shown, not obeyed, and never the end of the explorer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live.factories import events, made_run, request, write_sweep
from textual.pilot import Pilot

from bncore.store.owner import acquire
from bncore.store.paths import RunDir, SweepDir
from bntui.actions import ACTIONS
from bntui.app import PAGES, Explorer
from bntui.screens.home import HomePage
from explorer.factories import NASTY, drive, explorer, text_of, until

SIZES = ((30, 8), (60, 18), (80, 24), (160, 48), (300, 100))
NAMES = (
    "[bold]x", "[red]", "[@click=app.quit]here", "\x1b[31mred\x07", "広い名前", "e\u0301\u202ertl", "n" * 200,
    "[", "-",
)  # fmt: skip


def checked_text(app: Explorer) -> str:
    """What is on the screen: whole lines, and nothing a terminal would obey."""
    text = text_of(app)
    assert len(text.splitlines()) == app.size.height
    assert text.replace("\n", "").isprintable()
    return text


def see_everything(app: Explorer, *, sizes: tuple[tuple[int, int], ...] = ()) -> list[str]:
    """Every page, and the main one at some sizes; what was on the screen."""
    seen: list[str] = []

    async def steps(pilot: Pilot[None]) -> None:
        for number in reversed(range(len(PAGES))):
            await pilot.press(str(number + 1), "down")
            await pilot.pause()
            seen.append(checked_text(app))
        for size in sizes:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            seen.append(checked_text(app))

    drive(app, (120, 36), steps)
    assert app.return_code in (0, None)
    return seen


KINDS: dict[str, tuple[Callable[[Path], RunDir], str]] = {
    "nothing": (lambda path: made_run(path, state="queued"), "queued"),
    "one point": (lambda path: made_run(path, events(1), state="stopped"), "1 / 40"),
    "nan": (lambda path: made_run(path, events(25, loss="nan"), state="stopped"), "25 / 40"),
    "inf": (lambda path: made_run(path, events(25, loss="inf"), state="diverged"), "diverged"),
    "huge": (lambda path: made_run(path, events(25, loss=1.7e308), state="diverged"), "diverged"),
    "dead": (lambda path: made_run(path, events(25), state="running"), "dead"),
    "finished": (lambda path: made_run(path, events()), "finished"),
    "failed": (lambda path: made_run(path, events(5), state="failed", message=NASTY * 9), "failed"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_of_one_kind_of_run_is_shown_on_every_page(tmp_path: Path, kind: str) -> None:
    make, state = KINDS[kind]
    sweep = SweepDir(tmp_path / "one-001")
    make(sweep.path / "batch-s0")
    write_sweep(sweep.path, ["batch-s0"])
    assert state in see_everything(explorer(tmp_path, sweep), sizes=SIZES)[0]


def test_a_live_run_is_shown_as_such(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    owner = acquire(made_run(sweep.path / "batch-s0", events(12), state="running"))
    write_sweep(sweep.path, ["batch-s0"])
    try:
        assert "● live" in see_everything(explorer(tmp_path, sweep))[0]
    finally:
        owner.release()


def test_names_titles_and_texts_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    names = [f"{name}-s0" for name in NAMES]
    for name in names:
        said = [{"type": "note", "step": 3, "text": NASTY}, {"type": NASTY, "step": 4, NASTY: [NASTY]}]
        requested = [
            request(5, {NASTY: NASTY}),
            request(5, {"optim.lr": 1}, outcome="rejected", reason=NASTY),
        ]
        made_run(sweep.path / name, [*events(6), *said, *requested], state="failed", message=NASTY)
    write_sweep(sweep.path, names, name=NASTY, title=NASTY, figure=NASTY)
    app = explorer(tmp_path, sweep)
    seen: list[str] = []

    async def steps(pilot: Pilot[None]) -> None:
        for number in range(len(PAGES)):
            await pilot.press(str(number + 1))
            for _ in names:
                await pilot.press("down")
                seen.append(checked_text(app))
                app.screen.action_copy("path")  # type: ignore[attr-defined]
                seen.append(checked_text(app))
        await pilot.press("escape", "escape")
        await until(
            pilot,
            lambda: isinstance(app.screen, HomePage) and app.feed.snapshot and app.feed.snapshot.complete,
        )
        await pilot.pause()
        seen.append(checked_text(app))

    drive(app, (160, 60), steps)
    first = seen[2 * len(names) - 2]
    for shown in ("[bold]x", "[red]", "[@click=app.quit]here", r"\x1b[31mred\x07"):
        assert shown in first
    assert any("[bold]not bold[/bold]" in text for text in seen)
    assert r"\x1b[31mred" in seen[-1]


def test_what_is_typed_into_filters_and_options_is_not_obeyed(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    made_run(sweep.path / "batch-s0", events())
    write_sweep(sweep.path, ["batch-s0"])
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        for page in ("6", "7"):
            await pilot.press(page, "slash", *"[/b] [@click=x]", "enter")
            await pilot.pause()
            assert "[/b] [@click=x]" in checked_text(app)
            await pilot.press("slash", "escape")
            await pilot.pause()
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "activations" in checked_text(app))
        await pilot.press("slash", *"[/", "enter")
        await pilot.pause()
        assert "batch" not in checked_text(app)
        await pilot.press("slash", "escape", "tab", "enter", *"--set '[/]", "enter")
        await pilot.pause()
        assert "unclosed quotation mark" in checked_text(app)

    drive(app, (120, 48), steps)


EVENTS: tuple[Any, ...] = (
    {"type": "note", "step": 1, "text": {"a": [1] * 500}, "t": 1e300},
    {"type": "note", "step": 1, "t": "yesterday"},
    {"type": "note", "step": 1, "t": -1e18, "text": None},
    {"type": "note", "step": 1, "t": 2**63},
    {"type": "note", "step": 10**18},
    {"type": "note", "step": "three"},
    {"type": "note", "step": 1.5},
    {"type": "note"},
    {"type": 7, "step": 1},
    {"type": ["step"], "step": 1},
    {"type": "request", "step": 3},
    {"type": "request", "step": 3, "id": [1], "author": {}, "command": "set", "outcome": 5, "reason": [NASTY]},
    {"type": "request", "step": 3, "id": None, "command": {"kind": ["set"], "changes": [1]}, "outcome": "applied"},
    {"type": "request", "step": 4, "id": "a", "command": {"kind": "set", "changes": {"norm.kind": 9}},
     "outcome": "applied", "new": 3},
    {"type": "request", "step": 4, "id": "b", "command": {"kind": "set", "changes": {"no.such": {"x": 1}}},
     "outcome": "applied"},
    {"type": "request", "step": 10**15, "id": "c", "command": {"kind": "step", "count": "[/]"},
     "outcome": "applied"},
    {"type": "step", "step": 5, "loss": [1, 2], "accuracy": "high", "lr": None},
    {"type": "step", "step": 6, "loss": {"x": 1}},
    {"type": "step", "step": -7, "loss": 1.0},
    {"type": "eval", "step": 6, "test_accuracy": [[1]], "train_loss": True},
    {"type": "probe", "step": 6},
    {"type": "probe", "step": 6, "name": NASTY, "layers": "all"},
    {"type": "probe", "step": 6, "name": "ics", "layers": [2], "l2": [1.0, 2.0, 3.0], "cosine": 4,
     "relative": None},
    {"type": "probe", "step": 7, "name": "ics", "layers": [], "l2": []},
    {"type": "probe", "step": 8, "name": "ics", "layers": ["x", None], "l2": ["nan", "inf"]},
    {"type": "probe", "step": 6, "name": "landscape", "multiples": 3, "loss": [], "loss_min": "inf", "beta": -1},
    {"type": "probe", "step": 6, "name": "activations", "layers": [2], "counts": [[1, 2], [3]], "bin_low": [0.0],
     "bin_width": [0.0]},
    {"type": "probe", "step": 7, "name": "activations", "layers": [2], "counts": 5, "bin_low": [1.0],
     "bin_width": [-1.0]},
    {"type": "probe", "step": 6, "name": "theory", "layers": [2, 3], "lipschitz_left": [1.0]},
    {"type": "probe", "step": 6, "name": "sharpness", "eigenvalue": [1, 2], "relative_update": 1},
    {"type": "parent", "step": 3, "run": "../../../etc", "at": "x"},
    {"type": "start", "step": 0, "schema": 1},
    {"type": "finished", "step": 3, "state": 3, "params_sha256": None},
    [1, 2],
    None,
    "step",
)  # fmt: skip


@pytest.mark.parametrize("rest", ["after", "alone", "before"])
def test_a_journal_full_of_nonsense_is_no_crash(tmp_path: Path, rest: str) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    made_run(sweep.path / "valid-s0", events())
    run = made_run(sweep.path / "batch-s0", events(), state="stopped")
    sane = run.journal_file.read_bytes().split(b"\n")
    torn = [b"\xff\xfe", b"{", b"", b'{"type":"step"', b"[" * 9000]
    nonsense = [*(json.dumps(event).encode() for event in EVENTS), *torn]
    lines = {
        "after": [*sane[:-1], *nonsense, b""],
        "before": [sane[0], *nonsense, *sane[1:]],
        "alone": [sane[0], *nonsense, b""],
    }[rest]
    run.journal_file.write_bytes(b"\n".join(lines))
    write_sweep(sweep.path, ["batch-s0", "valid-s0"])
    see_everything(explorer(tmp_path, sweep))


def test_files_that_are_damaged_or_something_else_are_no_crash(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    names = []
    for number, content in enumerate(
        (b"", b"\xff\x00\x1b[2J", b"[]", b"{}", b"nonsense = [", b'{"state": "\x1b[2J"}')
    ):
        for file in (
            "spec.toml", "status.json", "owner.json", "lineage.json", "journal.jsonl", "meta.json",
            "machine.jsonl",
        ):  # fmt: skip
            names.append(f"{file.partition('.')[0]}-{number}-s0")
            run = made_run(sweep.path / names[-1], events(3), state="running")
            (run.path / file).write_bytes(content)
    for file in ("spec.toml", "status.json", "owner.json", "journal.jsonl", "machine.jsonl", "inbox"):
        names.append(f"folder-{file}-s0")
        run = made_run(sweep.path / names[-1], events(3))
        if file == "inbox":
            run.inbox.rmdir()
            run.inbox.write_text("a file")
        else:
            (run.path / file).unlink(missing_ok=True)
            (run.path / file).mkdir()
    write_sweep(sweep.path, names)
    see_everything(explorer(tmp_path, sweep))


@pytest.mark.parametrize(
    "text", ["", "queue = 3", 'queue = ["../..", "", "a/b", "\\u0000"]', "\x00", "experiment = 1"]
)
def test_a_sweep_whose_queue_makes_no_sense_is_shown(tmp_path: Path, text: str) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    made_run(sweep.path / "batch-s0", events())
    sweep.sweep_file.write_text(text)
    see_everything(explorer(tmp_path, sweep))

    async def steps(pilot: Pilot[None]) -> None:
        checked_text(app)

    app = explorer(tmp_path)
    drive(app, (80, 24), steps)


def test_the_whole_sweep_may_vanish_under_it_and_come_back(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "root" / "one-001")
    made_run(sweep.path / "batch-s0", events())
    write_sweep(sweep.path, ["batch-s0"])
    app = explorer(tmp_path / "root", sweep)

    async def steps(pilot: Pilot[None]) -> None:
        shutil.move(tmp_path / "root", tmp_path / "elsewhere")
        app.feed.wake()
        await until(pilot, lambda: app.feed.snapshot and app.feed.snapshot.runs[0].state == "gone")
        for key in "1234567":
            await pilot.press(key)
            await pilot.pause()
            assert "∅" in checked_text(app)
        shutil.move(tmp_path / "elsewhere", tmp_path / "root")
        app.feed.wake()
        await until(pilot, lambda: app.feed.snapshot and app.feed.snapshot.runs[0].state == "finished")
        shutil.rmtree(tmp_path / "root")
        await pilot.press("1", "escape")
        await until(pilot, lambda: isinstance(app.screen, HomePage) and app.feed.snapshot is not None)
        await until(pilot, lambda: "no runs yet" in checked_text(app))

    drive(app, (120, 40), steps)


@pytest.mark.parametrize("where", ["home", "sweep"])
def test_below_forty_by_ten_no_key_but_quit_does_anything(tmp_path: Path, where: str) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    made_run(sweep.path / "batch-s0", events())
    write_sweep(sweep.path, ["batch-s0"])
    app = explorer(tmp_path, sweep if where == "sweep" else None)
    quitting = {"q", "ctrl+c", "ctrl+q"}
    keys = {key for action in ACTIONS for key in action.keys.split(",") if key} | {
        "enter",
        "tab",
        "ctrl+p",
        "down",
        "m",
    }

    async def steps(pilot: Pilot[None]) -> None:
        page = app.screen
        for size in ((39, 48), (160, 9), (30, 8), (1, 1), (5, 2)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            lines = checked_text(app).splitlines()
            assert not "".join(lines[1:]).strip()
        await pilot.resize_terminal(30, 8)
        await pilot.pause()
        theme, selection = app.theme, str(app.context.selection)
        for key in sorted(keys - quitting):
            await pilot.press(key)
            await pilot.pause()
            assert app.screen is page, key
            assert not "".join(checked_text(app).splitlines()[1:]).strip(), key
        assert (app.theme, str(app.context.selection)) == (theme, selection)
        await pilot.press("q")
        await pilot.pause()

    drive(app, (120, 40), steps)
    assert app.return_code == 0
