"""What is entered in a line: a y range, a layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from bncore.figure import Span
from bntui.chart.view import span_of
from bntui.chart.widget import Chart
from explorer.factories import drive, every_kind, explorer, text_of, until


@pytest.mark.parametrize(
    ("text", "span"), [("0.1 10", (0.1, 10.0)), (" -1,\t1e3 ", (-1.0, 1e3)), ("", None), ("  ", None)]
)
def test_a_range_is_read(text: str, span: Span | None) -> None:
    assert span_of(text, log=False) == span


@pytest.mark.parametrize("text", ["1", "1 2 3", "a b", "2 1", "1 1", "nan 1", "0 inf", "1..2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected two"):
        span_of(text, log=False)


def test_a_logarithmic_axis_has_nothing_below_0() -> None:
    with pytest.raises(ValueError, match="logarithmic"):
        span_of("0 1", log=True)


@pytest.mark.parametrize("page", ["1", "5"])
def test_it_is_of_the_current_chart_and_can_be_taken_back(tmp_path: Path, page: str) -> None:
    sweep = every_kind(tmp_path)
    app = explorer(tmp_path, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press(page, "R", *"2", "enter")
        await pilot.pause()
        assert "expected two numbers" in text_of(app)
        await pilot.press("space", *"3", "enter")
        await pilot.pause()
        chart = app.screen.focused
        assert isinstance(chart, Chart)
        assert chart.view.y == (2.0, 3.0)
        assert "beyond" in text_of(app)
        assert [one.view.y for one in app.screen.query(Chart)].count(None) == len(app.screen.query(Chart)) - 1
        await pilot.press("R", "backspace", "backspace", "backspace", "enter")
        await pilot.pause()
        assert chart.view.y is None

    drive(app, (160, 48), act)


def test_a_layer_is_entered_by_its_number(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("number_sign", "9", "enter")
        await until(pilot, lambda: "expected a number from 1 to 6" in text_of(app))
        await pilot.press("backspace", "5", "enter")
        await until(pilot, lambda: app.context.selection.layer == 5)
        await until(pilot, lambda: "G′‖, layer 5 ─" in text_of(app))

    drive(app, (160, 48), act)
