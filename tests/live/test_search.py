"""What the end of a long journal does not tell: the list of all runs and queries know it all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.factories import SMALL

from bncore.follow import run_view
from bncore.follow.query import parse
from bncore.follow.run_view import RunView, view_runs
from bncore.store import reader
from bncore.store.paths import RunDir
from bncore.store.reader import speaks_of
from bntui.live import sources
from bntui.live.sources import Root
from live.factories import Clock, events, made_run, request, write_sweep

SHORT = 2048
"""Bytes of a journal's end, in place of 256 KiB."""


@pytest.fixture(autouse=True)
def short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "TAIL_BYTES", SHORT)
    monkeypatch.setattr(reader, "BLOCK_BYTES", SHORT)
    monkeypatch.setattr(run_view, "BUDGET_S", 1e-9)
    monkeypatch.setattr(sources, "PIECE_S", 1e-9)


def long_run(path: Path, *changes: object) -> RunDir:
    """A run that measured all but sharpness at its beginning, was then steered, and went on for long."""
    begin = [event for event in events(15) if event.get("name") != "sharpness"]
    steps = [{"type": "step", "step": step, "loss": 1.0, "lr": 0.1, "ms": 1.0} for step in range(20, 400)]
    changed = [request(15, {"norm.kind": "l1"})] if changes else []
    return made_run(path, [*begin, *changed, *steps], spec=SMALL)


@given(st.lists(st.binary(max_size=6), max_size=6), st.binary(min_size=1, max_size=3))
def test_a_text_is_found_wherever_it_comes_to_stand(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], text: bytes
) -> None:
    file = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    head = bytes(reader.HEAD)
    file.write_bytes(head)
    for piece in pieces:
        with file.open("ab") as opened:
            opened.write(piece)
        assert speaks_of(file, text) is (text in file.read_bytes())


def test_what_is_another_journal_or_a_shorter_one_is_looked_through_again(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    assert not speaks_of(file, b'"ics"')
    for content in (b"a" * 900, b'"ics"' + b"b" * 900, b"c" * 2000, b"c" * 300 + b'"ics"', b""):
        file.write_bytes(content)
        assert speaks_of(file, b'"ics"') is (b'"ics"' in content)


def test_the_list_of_all_runs_knows_settings_that_were_changed_long_ago(tmp_path: Path) -> None:
    for name, changes in (("steered-s0", ["norm"]), ("plain-s0", [])):
        long_run(tmp_path / "one-001" / name, *changes)
    write_sweep(tmp_path / "one-001", ["steered-s0", "plain-s0"])
    views = all_read(Root(tmp_path))
    assert [view.spec.norm.kind for view in views if view.spec] == ["l1", SMALL.norm.kind]
    assert [view.columns.complete for view in views] == [True, False], "no more is read than is needed"


@pytest.mark.parametrize(
    ("query", "selects", "whole"),
    [("has:ics", True, False), ("not has:ics", False, False), ("has:sharpness", False, False),
     ("not has:sharpness", True, False), ("ics_l2>0", True, False), ("loss>0", True, False)],
)  # fmt: skip
def test_queries_need_no_more_than_the_newest_of_what_they_are_about(
    tmp_path: Path, query: str, selects: bool, whole: bool
) -> None:
    run = long_run(tmp_path / "one-001" / "a-s0")
    write_sweep(tmp_path / "one-001", ["a-s0"])
    parsed, root = parse(query), Root(tmp_path)
    root.enough = parsed.enough
    (listed,) = all_read(root)
    (viewed,) = view_runs([run], settings=parsed.settings, enough=parsed.enough)
    assert parsed.matches(listed) is parsed.matches(viewed) is selects
    assert listed.columns.complete is viewed.columns.complete is whole


def all_read(root: Root) -> tuple[RunView, ...]:
    while not (snapshot := root.poll(0.05)).complete:
        pass
    return snapshot.runs


def test_without_time_nothing_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_run(tmp_path / "one-001" / "a-s0", "norm")
    write_sweep(tmp_path / "one-001", ["a-s0"])
    monkeypatch.setattr(sources, "was_steered", pytest.fail)
    root = Root(tmp_path, clock=Clock())
    assert not root.poll(0.0).complete
    assert not root.poll(0.0).complete
