"""The journal: what is written is whole, numbered, exact, and compared when it is recomputed."""

from __future__ import annotations

import errno
import math
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bncore.store.errors import AlreadyOwnedError, Divergence, StoreError
from bncore.store.journal import SCHEMA, Journal, encode
from store.factories import lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def written(path: Path, count: int) -> bytes:
    """A journal of so many events; its content."""
    journal = Journal(path)
    for step in range(count):
        journal.append("step", step, loss=1.0 / (step + 1))
    journal.close()
    return path.read_bytes()


def test_events_are_numbered_timed_lines(path: Path) -> None:
    before = time.time()
    written(path, 3)
    events = lines(path)
    assert [(e["seq"], e["type"], e["step"], e["loss"]) for e in events] == [
        (0, "step", 0, 1.0), (1, "step", 1, 0.5), (2, "step", 2, 1 / 3),
    ]  # fmt: skip
    assert all(before <= e["t"] <= time.time() for e in events)


def test_a_clock_that_steps_backwards_does_no_harm(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    for t in (1000.0, 10.0, 2000.0):
        monkeypatch.setattr(time, "time", lambda t=t: t)
        journal.append("step", int(t))
    assert [(e["seq"], e["t"]) for e in lines(path)] == [(0, 1000.0), (1, 10.0), (2, 2000.0)]


def test_every_cut_of_the_last_line_is_mended(path: Path) -> None:
    whole = written(path, 3)
    kept = whole[: whole.rstrip(b"\n").rfind(b"\n") + 1]
    for size in range(len(kept), len(whole)):
        path.write_bytes(whole[:size])
        journal = Journal(path)
        assert path.read_bytes() == kept
        journal.append("step", 2, loss=1 / 3)
        journal.close()
        assert [e["seq"] for e in lines(path)] == [0, 1, 2]


@pytest.mark.parametrize(
    "junk",
    [b"junk", b"[1]", b'"type"', b"7", b'{"type": "step"}', b'{"type": 1, "step": 1}', b"\xff\xfe", b""],
)
def test_a_line_in_the_middle_that_is_no_event_is_named(path: Path, junk: bytes) -> None:
    whole = written(path, 2)
    path.write_bytes(whole + junk + b"\n" + whole)
    with pytest.raises(StoreError, match=r"journal\.jsonl: line 3 is no event"):
        Journal(path)


def test_numbers_that_are_not_finite_are_words(path: Path) -> None:
    journal = Journal(path)
    nan, inf = math.nan, math.inf
    journal.append("step", 0, a=nan, b=inf, c=-inf, d=np.float32("nan"), e=np.float64("-inf"), f=[1.0, nan],
                   g=np.array([1.0, np.nan]), h=np.array([[np.inf, 0.5]], dtype=np.float32),
                   i={"j": [inf]}, k=np.array(np.nan))  # fmt: skip
    (event,) = lines(path)
    expected = {
        "a": "nan", "b": "inf", "c": "-inf", "d": "nan", "e": "-inf", "f": [1.0, "nan"],
        "g": [1.0, "nan"], "h": [["inf", 0.5]], "i": {"j": ["inf"]}, "k": "nan",
    }  # fmt: skip
    assert {key: event[key] for key in expected} == expected


def test_float32_is_written_in_its_shortest_form_float64_in_full() -> None:
    tenth = 0.1
    assert encode({"a": np.array([tenth], dtype=np.float32)}) == b'{"a":[0.1]}'
    assert encode({"a": np.array([np.float32(tenth)], dtype=np.float64)}) == b'{"a":[0.10000000149011612]}'
    assert encode({"a": np.float32(tenth)}) == b'{"a":0.1}'
    # One number that is not finite must not change how its neighbours are written.
    assert encode({"a": np.array([tenth, np.nan], dtype=np.float32)}) == b'{"a":[0.1,"nan"]}'


def test_arrays_of_any_layout_are_written_as_they_are_indexed() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    assert orjson.loads(encode({"a": matrix.T}))["a"] == matrix.T.tolist()
    assert orjson.loads(encode({"a": matrix[:, ::2]}))["a"] == [[0.0, 2.0], [3.0, 5.0]]


def _dtypes() -> st.SearchStrategy[Any]:
    return st.sampled_from([np.float32, np.float64])


@given(arrays.arrays(_dtypes(), arrays.array_shapes(max_dims=2, max_side=4), elements=st.floats(width=32)))
def test_every_array_reads_back_bit_for_bit(array: np.ndarray[Any, Any]) -> None:
    read = np.array(orjson.loads(encode({"a": array}))["a"], dtype=np.float64).astype(array.dtype)
    np.testing.assert_array_equal(read, array)
    assert read.shape == array.shape


# --- a file system that refuses


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow over `size` bytes: writes come short, then fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("spare", range(0, 60, 7))
def test_a_write_that_comes_short_leaves_no_part_of_a_line(path: Path, spare: int) -> None:
    journal = Journal(path)
    journal.append("step", 0, loss=1.0)
    before = path.read_bytes()
    with file_size_limit(len(before) + spare), pytest.raises(StoreError, match="cannot be written"):
        journal.append("step", 1, loss=0.5)
    assert path.read_bytes() == before
    journal.append("step", 1, loss=0.5)  # there is room again
    assert [(e["seq"], e["step"]) for e in lines(path)] == [(0, 0), (1, 1)]


def test_a_full_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StoreError, match=r"journal\.jsonl: cannot be written: No space left on device"):
        journal.append("step", 0)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone/journal\.jsonl: cannot be opened for writing: No such file"):
        Journal(tmp_path / "gone" / "journal.jsonl")


def test_nothing_is_written_without_the_right_to(path: Path) -> None:
    journal = Journal(path, may_write=lambda: False)
    with pytest.raises(AlreadyOwnedError, match="another process has taken this run over"):
        journal.append("step", 0)
    assert path.read_bytes() == b""
    path.unlink()
    with pytest.raises(
        AlreadyOwnedError, match="No such file or directory: moved or removed under its writer"
    ):
        journal.append("step", 0)


def test_a_fence_leaves_the_former_writer_a_file_that_is_gone(path: Path) -> None:
    former = Journal(path)
    former.append("step", 0)
    successor = Journal(path, fence=True)
    former.append("step", 1, loss="late")
    successor.append("step", 1, loss="right")
    assert [e.get("loss") for e in lines(path)] == [None, "right"]


# --- recomputed


@pytest.fixture
def again(path: Path) -> Journal:
    """A journal of five events, from step 1 on to be recomputed."""
    journal = Journal(path)
    journal.append("start", 0, schema=1)
    journal.append("step", 0, loss=1.0)
    journal.append("step", 1, loss=0.5, grads=[1.0, math.nan])
    journal.append("request", 2, id="x")
    journal.append("eval", 2, test_loss=0.25)
    journal.close()
    resumed = Journal(path)
    resumed.expect(e for e in resumed.events if e["step"] >= 1)
    return resumed


def test_equal_events_are_not_written_twice_and_new_ones_are(path: Path, again: Journal) -> None:
    before = path.read_bytes()
    again.append_or_verify("step", 1, loss=0.5, grads=np.array([1.0, np.nan]))
    again.append_or_verify("eval", 2, test_loss=np.float64(0.25))
    assert path.read_bytes() == before
    again.append_or_verify("step", 2, loss=0.125)
    assert lines(path)[-1]["seq"] == 5


@pytest.mark.parametrize(
    ("kind", "step", "fields", "message"),
    [
        ("step", 1, {"loss": 0.75, "grads": [1.0, math.nan]}, "loss was 0.5, recomputed as 0.75"),
        (
            "step",
            1,
            {"loss": 0.5, "grads": [1.0, 2.0]},
            r"grads was \[1.0, 'nan'\], recomputed as \[1.0, 2.0\]",
        ),
        ("step", 1, {"loss": 0.75, "grads": [2.0]}, r"grads was \[1.0, 'nan'\]"),  # the first by name
        ("step", 1, {"grads": [1.0, math.nan]}, "loss was 0.5, recomputed as None"),
        ("step", 1, {"loss": 0.5, "grads": [1.0, math.nan], "lr": 1.0}, "lr was None, recomputed as 1.0"),
        ("step", 2, {"loss": 0.5}, "recomputed as step of step 2"),
        ("eval", 1, {"loss": 0.5}, "recomputed as eval of step 1"),
    ],
)
def test_a_different_event_is_a_divergence_that_names_the_field(
    again: Journal, kind: str, step: int, fields: dict[str, Any], message: str
) -> None:
    before = again.path.read_bytes()
    with pytest.raises(Divergence, match=rf"event 2 \(step of step 1\): {message}"):
        again.append_or_verify(kind, step, **fields)
    assert again.path.read_bytes() == before


def test_a_measurement_of_a_later_program_may_say_more_but_nothing_else(path: Path) -> None:
    """A run of an earlier program is resumed: what its journal says must come out, new fields may."""
    journal = Journal(path)
    journal.append("start", 0, schema=1)
    journal.append("probe", 0, name="landscape", beta=2.0)
    journal.append("probe", 1, name="landscape", beta=3.0)
    journal.close()
    before = path.read_bytes()
    again = Journal(path)
    again.expect(again.events)
    again.append_or_verify("probe", 0, name="landscape", beta=2.0, grad_diff_sum=[1.0])
    with pytest.raises(Divergence, match=r"beta was 3\.0, recomputed as 4\.0"):
        again.append_or_verify("probe", 1, name="landscape", beta=4.0, a_new_field=[1.0])
    assert path.read_bytes() == before


def test_a_measurement_that_says_less_is_a_divergence(path: Path) -> None:
    journal = Journal(path)
    journal.append("start", 0, schema=1)
    journal.append("probe", 0, name="landscape", beta=2.0, floor=1.0)
    journal.close()
    again = Journal(path)
    again.expect(again.events)
    with pytest.raises(Divergence, match=r"floor was 1\.0, recomputed as None"):
        again.append_or_verify("probe", 0, name="landscape", beta=2.0)


@pytest.mark.parametrize("number", [3.5, np.nan, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_without_axes_is_a_number(number: float, dtype: Any) -> None:
    assert encode({"a": np.array(number, dtype)}) == encode({"a": dtype(number)}) == encode({"a": number})


def test_a_journal_of_the_future_is_not_written(path: Path) -> None:
    content = orjson.dumps({"seq": 0, "type": "start", "step": 0, "schema": SCHEMA + 1}) + b"\ntorn"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"schema {SCHEMA + 1}; this program reads up to {SCHEMA}"):
        Journal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b'{"seq":0,"type":"start","step":0,"schema":99}\n', b"junk\n{}\n"])
def test_a_journal_that_is_refused_is_closed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError):
        Journal(path)
    held = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert path not in held


@given(st.binary(max_size=200))
def test_whatever_the_file_holds_it_opens_or_says_why(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "journal.jsonl"
    path.write_bytes(junk)
    try:
        journal = Journal(path)
    except StoreError as error:
        assert "is no event" in str(error)
        assert path.read_bytes() == junk
    else:
        journal.close()
