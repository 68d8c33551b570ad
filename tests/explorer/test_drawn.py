"""Word for word: the lines of the explorer as a person reads them, and the pictures it saves."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from live.factories import STEPS, events, made_run, request, view_of, write_sweep
from textual.pilot import Pilot

from bncore.follow.groups import Group
from bncore.follow.query import Query
from bncore.follow.run_view import RunView
from bncore.store.commands import Set
from bncore.store.paths import SweepDir
from bncore.store.requests import send_request
from bncore.store.status import Status
from bntui.actions import EVERYWHERE, RUNS, SWEEP, actions_of, page_keys
from bntui.chart.palette import DARK, LIGHT
from bntui.context import Selection
from bntui.live.snapshot import Snapshot, SweepView
from bntui.screens.home import preset_rows, root_rows
from bntui.screens.journal import event_rows
from bntui.screens.page import heading
from bntui.screens.spec import spec_table
from bntui.screens.start import PresetView
from bntui.widgets.line import KeyLine, fit
from bntui.widgets.sidebar import change_rows, details, row_of
from explorer.factories import drive, explorer, text_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def views(tmp_path: Path) -> tuple[RunView, ...]:
    """Three runs: at work, waiting, and failed."""
    sweep = tmp_path / "vgg_noisy-001"
    requested = [
        request(7, {"noise.on": True}),
        request(9, {"norm.kind": "l1"}),
        request(11, {"optim.lr": 50.0}, outcome="rejected", reason="too large"),
    ]
    batch = made_run(sweep / "batch-s0", [*events(12), *requested], state="running")
    none = made_run(sweep / "none-s0", state="queued")
    both = made_run(
        sweep / "batch_noise-s1", [*events(5), requested[0]], state="failed", message="out of memory"
    )
    send_request(none, Set(changes={"optim.lr": 0.05}))
    write_sweep(sweep, ["batch-s0", "none-s0", "batch_noise-s1"], figure="2")
    found = (view_of(batch, 0, "batch"), view_of(none, 1, "none"), view_of(both, 2, "batch + noise"))
    return (
        replace(found[0], state="running", status=Status("running", 12345, 30000, 41.237, 428.0)),
        *found[1:],
    )


@pytest.fixture
def snapshot(views: tuple[RunView, ...]) -> Snapshot:
    sweep = SweepDir(views[0].run.path.parent)
    return Snapshot(
        0.0, (SweepView(sweep, "vgg_noisy-001", "With noise", "vgg_noisy", "2", "running"),), views, True
    )


def alone(view: RunView) -> Group:
    return Group(view.name, view.style, (view,))


def words_of(line: str) -> list[str]:
    """What stands in a line, however far apart."""
    return re.split(" {2,}", line.strip())


def lines(rows: object) -> list[str]:
    return [getattr(row, "text", row).plain.rstrip() for row in rows]  # type: ignore[attr-defined]


def test_the_list_of_runs(views: tuple[RunView, ...]) -> None:
    selection = Selection(marked={views[0].run.path}, hidden={views[1].run.path})
    assert [row_of(DARK, alone(view), selection, 34).plain for view in views] == [
        "◆ ⠶⠶⠶ batch           ●   12k  41%",
        "  ⠶⠶⠶ none            ○     queued",
        "  ⠶⠶⠶ batch + noise   !     5  12%",
    ]
    long = Group("batch-slow-and-long", 0, (views[1],))
    assert row_of(DARK, long, selection, 34).plain == "  ⠶⠶⠶ batch-slow-and… ○     queued"


def test_a_group_says_how_many_of_its_runs_are_shown(views: tuple[RunView, ...]) -> None:
    group, paths = Group("batch", 0, views), [view.run.path for view in views]
    for hidden, name in ((0, "batch ×3 "), (1, "batch ×2/3 "), (2, "batch ×1/3 "), (3, "batch ×3 ")):
        row = row_of(DARK, group, Selection(hidden=set(paths[:hidden])), 34)
        assert name in row.plain
        assert any("strike" in str(span.style) for span in row.spans) is (hidden == 3)


def test_the_rate_of_a_group_is_that_of_its_running_runs(views: tuple[RunView, ...]) -> None:
    running = views[0]
    assert running.status is not None
    ended = replace(running, state="finished", status=replace(running.status, rate=100.0, eta_s=None))
    for others in ((running, ended), (ended, running, ended)):
        assert "rate 41.2/s  ETA 7 min" in lines(details(Group("batch", 0, others)))


def test_what_is_said_of_the_selected_run(views: tuple[RunView, ...]) -> None:
    assert lines(details(alone(views[0]))) == [
        "● running  seed 0",
        "12,345 / 30,000  41 %",
        "━" * 13 + "─" * 19,
        "rate 41.2/s  ETA 7 min",
        "norm l1  noise on  lr 0.1",
        "no probes",
    ]
    assert lines(details(alone(views[2])))[-1] == "out of memory"


def test_the_list_of_changes(snapshot: Snapshot) -> None:
    assert lines(change_rows(DARK, snapshot, Selection(), [alone(view) for view in snapshot.runs])) == [
        "      7 ✓ noise on  2 runs",
        "      9 ✓ norm l1  batch",
        "     11 ✗ lr 50.0  batch  rejected: too large",
        "    now … lr 0.05  none  pending",
    ]


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (180, "vgg_noisy-001  Fig 2   1 sweep   2 layers   3 activations   4 theory   5 compare   6 journal"
              "   7 spec   8 machine   9 log   read-only  ● live  41 %  ETA 7 min  1 queued  cpu"),
        (150, "bntui  vgg_noisy-001  Fig 2   1  2 layers  3  4  5  6  7  8  9   read-only"
              "  ● live  12,350 / 30,080  41 %  ETA 7 min  1 queued  cpu"),
        (100, "vgg_noisy-001   1  2 layers  3  4  5  6  7  8  9   read-only  ● live  41 %  ETA 7 min  1 queued"),
        (60, "vgg_noisy-001   2 layers   read-only  ● live  41 %  ETA 7 min"),
        (40, "2 layers   read-only  ● live  41 %"),
        (30, "read-only  ● live  41 %"),
        (12, "41 %"),
    ],
)  # fmt: skip
def test_the_heading_drops_what_matters_least(snapshot: Snapshot, width: int, said: str) -> None:
    line = fit(*heading(snapshot, "layers", width, ["read-only"], page_keys()), width)
    assert line.cell_len == width
    assert words_of(line.plain) == words_of(said)


def test_the_heading_says_that_runs_are_still_being_read(snapshot: Snapshot) -> None:
    line = fit(*heading(replace(snapshot, complete=False), "layers", 60, [], page_keys()), 60)
    assert words_of(line.plain) == words_of("vgg_noisy-001   2 layers   reading …  ● live  41 %  ETA 7 min")


def test_the_journal(views: tuple[RunView, ...]) -> None:
    said = [re.sub(r"^\S+ \d+ [\d:]+ |^[\d:]+ ", "", line) for line in lines(event_rows(DARK, views[:1]))]
    assert [line.strip() for line in said] == [
        "0  batch  start  data made",
        "7  batch  ✓ noise on  by somebody",
        "9  batch  ✓ norm l1  by somebody",
        "11  batch  ✗ lr 50.0  by somebody  rejected: too large",
    ]


def test_the_specs_side_by_side(views: tuple[RunView, ...]) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in lines(spec_table(DARK, views, 110).rows)}
    assert rows["norm.kind"] == ["l1", "*", "batch", "batch"]
    assert rows["noise.on"] == ["on", "*", "off", "on", "*"]
    assert rows["seed"] == ["0", "0", "0"]
    different = lines(spec_table(DARK, views, 110, only_differences=True).rows)
    assert [line.split()[0] for line in different] == ["norm.kind", "noise.on"]
    assert lines(spec_table(DARK, views[:1], 110, only_differences=True).rows) == ["nothing differs"]


def test_the_list_of_all_runs(snapshot: Snapshot) -> None:
    found = lines(root_rows(DARK, snapshot, {snapshot.runs[1].run.path}, Query(), 100))
    assert found[0] == "vgg_noisy-001  Fig 2  0 of 3 finished  With noise"
    assert re.sub(" {2,}", "  ", found[1]) == (
        "  ⠶⠶⠶ batch  ● running  12k  41 %  ██▄▃▂▂▂▁▁▁▁▁▁▁▁▁  loss 0.0833  test acc  10.0 %  ETA 7 min"
    )
    assert re.sub(" {2,}", "  ", found[2]) == " ◆ ⠶⠶⠶ none  ○ queued  0  0 %"
    assert found[3].endswith("out of memory")


def test_the_list_of_presets() -> None:
    preset = PresetView("vgg_noisy", "2", "Noise after BatchNorm", ("none", "batch"))
    assert lines(preset_rows([preset], Query(), 80)) == [
        "vgg_noisy            Fig 2        Noise after BatchNorm"
    ]
    assert lines(preset_rows([preset], Query(), 120))[0].endswith("Noise after BatchNorm   none batch")


def test_the_line_of_keys(tmp_path: Path) -> None:
    keys, live = KeyLine(), explorer(tmp_path).context.offered()
    labels = {"whole_sweep": "whole sweep: off", "steer('pause')": "pause"}
    keys.offer(actions_of((SWEEP, RUNS, EVERYWHERE), live), labels)
    line = fit(*keys._parts, 174).plain.strip()
    assert words_of(line) == words_of(
        "n noise  p norm  l lr  Space pause  / charts  . step  f fork  x stop  w whole sweep: off  [ ] layer"
        "  z maximize  S set  i probes  N note  m mark  g groups   ? help  q quit"
    )
    short = fit(*keys._parts, 60).plain.strip()
    assert "n noise" in short
    assert short.endswith("q quit")


def test_the_screen_and_a_chart_are_saved_as_pictures_and_never_over_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    sweep = SweepDir(tmp_path / "one-001")
    for name, loss in (("none", None), ("batch", 0.5)):
        made_run(sweep.path / f"{name}-s0", [*events(loss=loss), request(9, {"noise.on": True})])
    write_sweep(sweep.path, ["none-s0", "batch-s0"])
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "saved bntui-screen.svg" in text_of(app)
        await pilot.press("ctrl+s")
        for kind in ("svg", "csv"):
            await app.run_action(f"save_chart('{kind}')", app.screen)
        await pilot.pause()
        assert "saved bntui-training-loss.csv" in text_of(app)

    drive(app, (140, 40), steps)
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == [
        "bntui-screen-2.svg",
        "bntui-screen.svg",
        "bntui-training-loss.csv",
        "bntui-training-loss.svg",
    ]

    screen = ET.parse("bntui-screen.svg").getroot()
    assert screen.tag == f"{SVG}svg"
    said = "".join(screen.itertext()).replace("\xa0", " ")
    for text in ("one-001", "Training loss", "Effective β", "noise on @9", "norm batch"):
        assert text in said

    chart = ET.parse("bntui-training-loss.svg").getroot()
    assert chart.tag == f"{SVG}svg"
    written = " ".join(chart.itertext())
    for text in ("Training loss", "one-001", "none", "batch", "noise on @9"):
        assert text in written
    drawn = "".join(path.get("style", "") for path in chart.iter(f"{SVG}path"))
    for style in (0, 1):
        assert f"stroke: {LIGHT.css(style).lower()}" in drawn, (
            "each run has the colour it has in the explorer"
        )

    table = [line.split(",") for line in Path("bntui-training-loss.csv").read_text().splitlines()]
    assert table[0] == ["curve", "step", "low", "high", "floor"]
    assert [row[:4] for row in table if row[1] == "1"] in (
        [["none", "1", "0.5", "0.5"], ["batch", "1", "0.5", "0.5"]],
        [["batch", "1", "0.5", "0.5"], ["none", "1", "0.5", "0.5"]],
    )
    assert len(table) == 1 + 2 * STEPS
