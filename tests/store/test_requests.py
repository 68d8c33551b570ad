"""The inbox: valid requests in their order, everything else set aside, and never a crash."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.plain_files import read_plain
from bncore.store.commands import Checkpoint, Command, Note, Pause, Resume, Step, Stop
from bncore.store.errors import StoreError
from bncore.store.paths import RunDir
from bncore.store.requests import LARGEST, pending, send_request
from store.factories import empty_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return empty_run(tmp_path / "run-s0")


def put(run: RunDir, name: str, content: object) -> Path:
    path = run.inbox / name
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return path


def rejected(run: RunDir) -> list[str]:
    folder = run.inbox / "rejected"
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    aside = [name for name in names if not name.endswith(".reason")]
    assert names == sorted(aside + [f"{name}.reason" for name in aside]), "each with its reason"
    return aside


def reason(run: RunDir, name: str) -> str:
    return (run.inbox / "rejected" / f"{name}.reason").read_text()


COMMANDS: list[Command] = [
    Stop(),
    Pause(at_step=7),
    Resume(),
    Step(count=3),
    Checkpoint(),
    Note(text="¡hm! \x1b[31m"),
]


def test_what_is_dropped_is_pending_in_its_order(run: RunDir) -> None:
    ids = [
        send_request(run, command) for command in COMMANDS * 3
    ]  # more than nine: numbers, not digits, are compared
    found = pending(run)
    assert [request.id for request in found] == ids
    assert [request.command for request in found] == COMMANDS * 3
    assert rejected(run) == []


def test_looking_takes_nothing(run: RunDir) -> None:
    send_request(run, Stop())
    assert [r.id for r in pending(run)] == [r.id for r in pending(run)]


def test_the_author_is_who_owns_the_file_whatever_it_says(run: RunDir) -> None:
    put(run, "000000001-a.json", {"id": "a", "author": "somebody else", "command": {"kind": "stop"}})
    (request,) = pending(run)
    assert request.author == pwd.getpwuid(os.getuid()).pw_name


def test_an_author_whom_this_host_does_not_know_is_a_number(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    send_request(run, Stop())
    (request,) = pending(run)
    assert request.author == str(os.getuid())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[]", b"7", b'"stop"', b"\xff\xfe", b"[" * 10_000,
        {}, {"id": "a"}, {"command": {"kind": "stop"}}, {"id": 7, "command": {"kind": "stop"}},
        {"id": "a", "command": "stop"}, {"id": "a", "command": None}, {"id": "a", "command": {}},
        {"id": "a", "command": {"kind": "format the disk"}},
        {"id": "a", "command": {"kind": "stop", "force": True}},
        {"id": "a", "command": {"kind": "step", "count": 0}},
        {"id": "a", "command": {"kind": "step", "count": "3"}},
        {"id": "a", "command": {"kind": "step", "count": True}},
        {"id": "a", "command": {"kind": "stop", "at_step": -1}},
        {"id": "a", "command": {"kind": "stop", "at_step": 1.5}},
        {"id": "a", "command": {"kind": "note"}},
        {"id": "a", "command": {"kind": "note", "text": "x" * 4097}},
    ],
    ids=lambda content: repr(content)[:60],
)  # fmt: skip
def test_what_is_no_request_is_set_aside_and_the_others_are_read(run: RunDir, content: object) -> None:
    put(run, "000000001-bad.json", content)
    ident = send_request(run, Stop())
    assert [request.id for request in pending(run)] == [ident]
    assert rejected(run) == ["000000001-bad.json"]
    assert [request.id for request in pending(run)] == [ident]


def test_a_file_too_large_for_a_request_is_set_aside_unread(run: RunDir) -> None:
    valid = orjson.dumps({"id": "a", "command": {"kind": "stop"}})
    put(run, "000000001-fits.json", valid + b" " * (LARGEST - len(valid)))
    put(run, "000000002-large.json", valid + b" " * (LARGEST + 1 - len(valid)))
    with (run.inbox / "000000003-huge.json").open("wb") as file:
        file.truncate(2**40)  # reading it would take all memory
    assert [request.id for request in pending(run)] == ["a"]
    assert rejected(run) == ["000000002-large.json", "000000003-huge.json"]


def test_links_pipes_and_folders_are_set_aside(run: RunDir, tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_bytes(orjson.dumps({"id": "a", "command": {"kind": "stop"}}))
    (run.inbox / "000000001-link.json").symlink_to(target)
    (run.inbox / "000000002-dangling.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(run.inbox / "000000003-pipe.json")  # reading it would wait for ever
    (run.inbox / "000000004-folder.json").mkdir()
    assert pending(run) == []
    assert len(rejected(run)) == 4
    assert target.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "unexpected end of data: line 1 column 2"),
        ([], "not an object with an id"),
        (
            {"id": "a", "command": {"kind": "step", "count": 0}},
            "command.step.count: .* greater than or equal to 1",
        ),
        ({"id": "a", "command": {"kind": "stop", "\x1b[31m": 1}}, r"command.stop.\\x1b\[31m: Extra inputs"),
        (
            {"id": "a", "command": {"kind": "set", "changes": {"steps": 3}}},
            "command.set.changes: 'steps' cannot change",
        ),
        ({"id": "a", "command": {"kind": "explode"}}, "command: .*'explode'.*does not match any of .*'stop'"),
        (b" " * (LARGEST + 1), f"{LARGEST + 1} bytes; a request has at most {LARGEST}"),
    ],
)
def test_why_it_was_set_aside_stands_beside_it(run: RunDir, content: object, why: str) -> None:
    put(run, "000000001-bad.json", content)
    assert pending(run) == []
    assert re.match(why, reason(run, "000000001-bad.json"))
    assert reason(run, "000000001-bad.json").rstrip("\n").isprintable()


def test_what_is_not_called_a_request_is_let_be(run: RunDir) -> None:
    put(run, "README.txt", b"hello")
    put(run, ".000000001-a.json.123", b"half writ")
    put(run, ".hidden.json", b"half writ")
    assert pending(run) == []
    assert rejected(run) == []
    assert len(list(run.inbox.iterdir())) == 3


def test_a_file_that_cannot_be_set_aside_hides_no_other(run: RunDir) -> None:
    put(run, "rejected", b"a file where the folder should be")
    put(run, "000000001-bad.json", b"junk")
    ident = send_request(run, Stop())
    assert [request.id for request in pending(run)] == [ident]


def test_a_file_that_vanishes_while_it_is_read_hides_no_other(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = send_request(run, Stop()), send_request(run, Pause())

    def taken_meanwhile(path: Path) -> bytes:
        if first in path.name:
            path.unlink()
        return read_plain(path)

    monkeypatch.setattr("bncore.store.requests.read_plain", taken_meanwhile)
    assert [request.id for request in pending(run)] == [second]


@pytest.mark.parametrize(
    "name", ["²-a.json", "٣-a.json", "9" * 200 + "-a.json", "-.json", "999999999-a.json", "x.json"]
)
def test_foreign_names_stop_nobody_from_sending(run: RunDir, name: str) -> None:
    put(run, name, b"junk")
    idents = [send_request(run, Stop()) for _ in range(2)]
    assert sorted(request.id for request in pending(run)) == sorted(idents)


def test_without_an_inbox_nothing_is_pending_and_nothing_can_be_sent(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert pending(run) == []
    with pytest.raises(StoreError, match=r"inbox/\d{20}-.*\.json: cannot be written: No such file"):
        send_request(run, Stop())


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_kinds = st.sampled_from(["stop", "pause", "resume", "step", "checkpoint", "note"])
_commands = st.fixed_dictionaries(
    {"kind": _kinds | _json}, optional={"at_step": _json, "count": _json, "text": _json}
)


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate
        return b"{"


_contents = (
    st.binary(max_size=60)
    | _json.map(_dumped)
    | st.fixed_dictionaries({"id": st.text(max_size=4) | _json, "command": _commands | _json}).map(_dumped)
)


@given(st.lists(_contents, max_size=4))
def test_whatever_the_inbox_holds_each_file_is_a_request_or_set_aside(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    run = RunDir(tmp_path_factory.mktemp("fuzz"))
    run.inbox.mkdir()
    for number, content in enumerate(contents):
        put(run, f"{number:09d}-x.json", content)
    found = pending(run)
    assert len(found) + len(rejected(run)) == len(contents)
    for request in found:
        journaled: Any = orjson.loads(orjson.dumps(request.command.model_dump(mode="json")))
        assert type(request.command).model_validate(journaled) == request.command
