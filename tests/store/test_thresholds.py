"""The threshold at every measurement, of new journals and of those that tell 2/lr alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from live.factories import SMALL, events, made_run, view_of

from bncore.config.model import Optim, Spec
from bncore.measures import MEASURES
from bncore.report.quantities import late_reading
from bncore.report.report_run import gather
from bncore.store.columns import Columns
from bncore.store.measured import take, thresholds
from bntui.live.drawing import PanelState
from bntui.live.panels import PANELS

TABLES = ("probe:landscape", "probe:sharpness")
MOMENTUM = SMALL.model_copy(update={"optim": Optim(lr=0.1, momentum=0.9)})
ADAM = SMALL.model_copy(update={"optim": Optim(kind="adam", lr=0.1)})


def journal(reported: float | str | None, *, start: int = 0, beta: float = 10.0) -> list[dict[str, object]]:
    """Events whose measurements from step `start` on tell this threshold."""
    found = events()
    for event in found:
        if (
            event.get("name") in ("landscape", "sharpness")
            and event["step"] >= start
            and reported is not None
        ):
            event["stability_threshold"] = reported
        if event.get("name") == "landscape":
            event |= {"beta": beta, "one_over_a_min": 200.0}
    return found


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("spec", "expected"), [(SMALL, 20.0), (MOMENTUM, 38.0), (ADAM, math.nan), (None, 20.0)]
)
def test_an_old_journal_is_read_with_its_spec(
    tmp_path: Path, table: str, spec: Spec | None, expected: float
) -> None:
    view = view_of(made_run(tmp_path / "a-s0", journal(None), spec=spec or SMALL))
    steps, values = thresholds(view.columns, table, spec)
    assert len(steps) == len(values) > 1
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_what_a_journal_tells_goes_before(tmp_path: Path) -> None:
    view = view_of(made_run(tmp_path / "a-s0", journal(27.0, start=20), spec=MOMENTUM))
    steps, values = thresholds(view.columns, "probe:landscape", MOMENTUM)
    np.testing.assert_allclose(values, np.where(steps >= 20, 27.0, 38.0))


@pytest.mark.parametrize(
    ("spec", "reported", "beta", "sharpness"),
    [
        (SMALL, 20.0, [(20.0, "2/lr"), (200.0, "1/a_min")], [(20.0, "2/lr")]),
        (MOMENTUM, 38.0, [(38.0, "3.8/lr"), (200.0, "1/a_min")], [(38.0, "3.8/lr")]),
        (MOMENTUM, None, [(38.0, "3.8/lr"), (200.0, "1/a_min")], [(38.0, "3.8/lr")]),
        (ADAM, "nan", [(200.0, "1/a_min")], []),
        (ADAM, None, [(200.0, "1/a_min")], []),
    ],
)
def test_the_explorer_draws_the_optimizer_s_own_line(
    tmp_path: Path,
    spec: Spec,
    reported: float | str | None,
    beta: list[tuple[float, str]],
    sharpness: list[tuple[float, str]],
) -> None:
    view = view_of(made_run(tmp_path / "a-s0", journal(reported), spec=spec))
    for panel, expected in (("beta", beta), ("sharpness", sharpness)):
        rules = PANELS[panel].make([view], PanelState()).hlines
        assert [(round(rule.y, 6), rule.text) for rule in rules] == expected
    by_length = PANELS["relative_by_length"].make([view], PanelState()).hlines
    edge = {SMALL: "2, ", MOMENTUM: "3.8, "}.get(spec)
    assert [rule.text for rule in by_length] == ([f"{edge}at a = lr the edge of stability"] if edge else [])


@pytest.mark.parametrize(
    ("spec", "beta", "share"),
    [(SMALL, 20.0, 1.0), (MOMENTUM, 20.0, 0.0), (MOMENTUM, 38.0, 1.0), (ADAM, 20.0, 0.0)],
)
def test_the_report_s_late_reading_is_of_that_line(
    tmp_path: Path, spec: Spec, beta: float, share: float
) -> None:
    run = made_run(tmp_path / "a-s0", journal(None, beta=beta), spec=spec)
    assert late_reading(gather([run])[0]) == share


def test_measurements_at_a_learning_rate_of_0_read_nothing_back(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", journal("inf", beta=math.inf))
    assert late_reading(gather([run])[0]) == 0.0


def test_a_share_of_what_was_not_journaled_is_no_measure() -> None:
    columns = Columns()
    event = {"type": "probe", "name": "theory", "step": 0, "layers": [1, 2], "worst_actual": [1.0, 2.0]}
    columns.add([event], in_front=False)
    assert len(take(columns, MEASURES["theory_44"], layer=1).x) == 0
