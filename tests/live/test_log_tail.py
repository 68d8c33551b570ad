"""The end of a log: whole lines, from wherever it is read, and nothing that a terminal obeys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bntui.screens.log import read_tail

LINES = st.lists(st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",))), min_size=1)


@given(lines=LINES, size=st.integers(1, 200))
def test_a_tail_is_the_last_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.txt"
    whole = ("\n".join(lines) + "\n").encode()
    path.write_bytes(whole)
    tail = read_tail(path, size)
    begins = [begin for begin, _ in tail.lines]
    longer_than_all = len(lines[-1].encode()) + 1 > size
    assert tail.before == begins[0]
    assert len(whole) - tail.before <= size
    assert longer_than_all or all(begin == 0 or whole[begin - 1 : begin] == b"\n" for begin in begins)
    assert len(tail.lines) == whole[tail.before :].count(b"\n")
    if size >= len(whole):
        assert begins == [sum(len(line.encode()) + 1 for line in lines[:i]) for i in range(len(lines))]
    assert all(text.isprintable() for _, text in tail.lines)


def test_no_log_and_no_plain_file_are_said(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "log.txt").problem == "no log.txt"
    os.mkfifo(tmp_path / "log.txt")
    assert "not a plain file" in read_tail(tmp_path / "log.txt").problem


def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "log.txt").touch()
    assert read_tail(tmp_path / "log.txt").lines == ()


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("one\ntwo\n")
    tail = read_tail(path)
    assert read_tail(path, previous=tail) is tail
    assert read_tail(path, 4, tail).lines == ((4, "two"),)
    with path.open("a") as log:
        log.write("three\n")
    assert [text for _, text in read_tail(path, previous=tail).lines] == ["one", "two", "three"]
