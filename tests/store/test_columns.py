"""Columns say what a plain loop over the events says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.store.columns import SMALL_ROWS, Columns, Event

_numbers = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from(
    ["nan", "inf", "-inf"]
)
_tables = {"step": ("loss", "lr"), "eval": ("test_loss",), "probe:ics": ("relative",)}


def _event(table: str, step: int, fields: dict[str, Any]) -> Event:
    kind, _, name = table.partition(":")
    return {"type": kind, "step": step, **({"name": name} if name else {}), **fields}


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events by ascending step; some fields are absent now and then, as when a setting changes."""
    events: list[Event] = []
    for step in range(draw(st.integers(0, 12))):
        for table in draw(st.lists(st.sampled_from(sorted(_tables)), unique=True)):
            kept = [field for field in _tables[table] if draw(st.booleans())]
            events.append(_event(table, step, {field: draw(_numbers) for field in kept}))
        if draw(st.booleans()):
            events.append({"type": "note", "step": step, "text": str(step)})
    return events


def plainly(events: list[Event], table: str, field: str) -> list[tuple[int, float]]:
    kind, _, name = table.partition(":")
    return [
        (e["step"], float(e[field]))
        for e in events
        if e["type"] == kind and e.get("name", "") == name and field in e
    ]


@given(histories(), st.data())
def test_every_series_is_what_the_events_say(events: list[Event], data: st.DataObject) -> None:
    """Read in pieces: a tail, then pieces behind it and in front of it in any order."""
    marks = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    pieces = [events[a:b] for a, b in zip([0, *marks], [*marks, len(events)], strict=True)]
    first = data.draw(st.integers(0, len(pieces) - 1))
    older, newer = pieces[:first], pieces[first + 1 :]
    columns = Columns()
    columns.add(pieces[first], in_front=False)
    while older or newer:
        if older and (not newer or data.draw(st.booleans())):
            columns.add(older.pop(), in_front=True)
        else:
            columns.add(newer.pop(0), in_front=False)
        columns.series("step", "loss")  # looked at meanwhile: what was joined before must not be kept
    for table, fields in _tables.items():
        for field in fields:
            series = columns.series(table, field)
            expected = plainly(events, table, field)
            assert series.steps.tolist() == [step for step, _ in expected]
            np.testing.assert_array_equal(series.values, [value for _, value in expected])
    assert columns.events == [event for event in events if event["type"] == "note"]


def test_a_run_followed_row_by_row_is_kept_in_few_pieces() -> None:
    """Else each refresh of a day-old run would join a hundred thousand arrays."""
    columns = Columns()
    for step in range(20_000):
        columns.add([{"type": "step", "step": step, "loss": 2.0 * step}], in_front=False)
    series = columns.series("step", "loss")
    assert series.steps.tolist() == list(range(20_000))
    assert series.values.tolist() == [2.0 * step for step in range(20_000)]
    assert len(columns._chunks["step"]) <= 2 * 20_000 / SMALL_ROWS * 2 + 12


def test_every_number_is_in_memory_once() -> None:
    columns = Columns()
    for start in (300, 200, 100, 0):
        rows = [_event("step", step, {"loss": 1 / (1 + step)}) for step in range(start, start + 100)]
        columns.add(rows, in_front=True)
    series = columns.series("step", "loss")
    held = [chunk["loss"] for chunk in columns._chunks["step"]]
    assert len(held) == 4 and all(np.shares_memory(part, series.values) for part in held)
    before = series.values.copy()
    columns.add([_event("step", 400, {"loss": 2.0})], in_front=False)
    assert columns.series("step", "loss").values[-1] == 2.0
    np.testing.assert_array_equal(series.values, before, "what was handed out never changes")


@pytest.mark.parametrize("value", [0.1, 0.0, -0.0, "nan", "inf"])
def test_a_number_that_stays_the_same_is_kept_once(value: float | str) -> None:
    columns = Columns()
    columns.add([_event("step", step, {"lr": value}) for step in range(1000)], in_front=False)
    assert columns._chunks["step"][0]["lr"].strides == (0,)
    found = columns.series("step", "lr").values
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.full(1000, float(value)))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(np.full(1000, float(value))))


def test_zeros_of_both_signs_stay_apart() -> None:
    columns = Columns()
    columns.add([_event("step", i, {"loss": v}) for i, v in enumerate((0.0, -0.0, 0.0))], in_front=False)
    assert np.signbit(columns.series("step", "loss").values).tolist() == [False, True, False]


def test_pieces_of_other_widths_are_not_joined() -> None:
    columns = Columns()
    for step, width in enumerate([1, 1, 2, 2, 1]):
        columns.add([{"type": "probe", "name": "ics", "step": step, "l2": [0.5] * width}], in_front=False)
    assert [len(chunk["step"]) for chunk in columns._chunks["probe:ics"]] == [2, 2, 1]


def test_a_field_that_is_no_number_is_left_out() -> None:
    columns = Columns()
    columns.add([{"type": "eval", "step": 0, "why": "text", "loss": 1.0, "deep": {"a": 1}}], in_front=False)
    assert columns.fields("eval") == ["loss"]
    assert len(columns.series("eval", "why")) == 0
    assert len(columns.series("eval", "never there")) == 0


def test_per_layer_fields_are_matrices_and_rows_of_other_lengths_are_no_series() -> None:
    columns = Columns()
    columns.add(
        [{"type": "probe", "name": "ics", "step": s, "l2": [s, 2 * s]} for s in range(3)], in_front=False
    )
    assert columns.series("probe:ics", "l2").values.tolist() == [[0, 0], [1, 2], [2, 4]]
    columns.add([{"type": "probe", "name": "ics", "step": 3, "l2": [1, 2, 3]}], in_front=False)
    assert len(columns.series("probe:ics", "l2")) == 0


def test_the_newest_event_of_a_kind_is_found() -> None:
    columns = Columns()
    columns.add(
        [{"type": "note", "step": 1, "text": "a"}, {"type": "note", "step": 2, "text": "b"}], in_front=False
    )
    columns.add([{"type": "note", "step": 0, "text": "older"}], in_front=True)
    found = columns.last("note")
    assert found is not None
    assert found["text"] == "b"
    assert columns.last("finished") is None
