"""What keys choose in the explorer, as options of `show` and `export`: charts, y range, facets, the reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from store.factories import SMALL
from typer.testing import CliRunner, Result

from bncore.store.paths import SweepDir
from bntui.cli.drawn import drawn, pinned_run
from bntui.cli.grouped import Grouped, grouping_of
from bntui.cli.main import app
from bntui.live.drawing import PanelState
from bntui.live.snapshot import Snapshot
from bntui.live.sources import read_whole

LOSSES = {"none": (1.0, 0.1), "batch": (10.0, 0.5), "l1": (100.0, 0.5)}
"""Of each variant, and its learning rate."""


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Three variants of two seeds, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    sweep = SweepDir(tmp_path / "runs" / "one-001")
    for variant, (loss, lr) in LOSSES.items():
        optim = SMALL.optim.model_copy(update={"lr": lr})
        for seed in range(2):
            spec = SMALL.model_copy(update={"optim": optim, "seed": seed})
            made_run(sweep.path / f"{variant}-s{seed}", events(loss=loss), spec=spec)
    write_sweep(sweep.path, [f"{variant}-s{seed}" for variant in LOSSES for seed in range(2)], name="one")
    return read_whole(sweep)


def bnrun(command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, "one-001", *arguments])


def state_of(snapshot: Snapshot, wanted: Grouped) -> PanelState:
    grouping = grouping_of(snapshot, wanted)
    groups = grouping.groups(snapshot.runs) if grouping else ()
    return PanelState(grouping=grouping, pinned=pinned_run(snapshot, groups, wanted.reference))


def test_facets_are_charts_over_one_range(snapshot: Snapshot) -> None:
    wanted = Grouped(facets="lr")
    charts = drawn("loss", snapshot, state_of(snapshot, wanted), wanted)
    names = {name: {c.label for c in data.curves if c.weight == "main"} for name, data in charts.items()}
    assert names == {"lr 0.1": {"none ×2"}, "lr 0.5": {"batch ×2", "l1 ×2"}}
    (span,) = {data.y_span for data in charts.values()}
    assert span is not None and span[0] <= 1.0 and span[1] >= 100.0
    assert all(span != data.y_span for data in drawn("loss", snapshot, PanelState(), Grouped()).values())


@pytest.mark.parametrize("name", ["batch", "batch-s1", "one-001/batch-s0"])
def test_the_reference_is_bold_and_in_every_facet(snapshot: Snapshot, name: str) -> None:
    wanted = Grouped(facets="variant", reference=name)
    charts = drawn("loss", snapshot, state_of(snapshot, wanted), wanted)
    assert [*charts] == ["none", "batch", "l1"]
    for facet, data in charts.items():
        bold = {curve.label: curve.bold for curve in data.curves if curve.weight == "main"}
        assert bold == {f"{facet} ×2": False, "batch ×2": True}


@pytest.mark.parametrize(("option", "single"), [((), "★ batch ×2"), (("--single-runs",), "★ batch-s0")])
def test_show_marks_the_reference_in_its_legend(
    snapshot: Snapshot, option: tuple[str, ...], single: str
) -> None:
    shown = bnrun("show", "--chart", "loss", "--reference", "batch-s0", *option).stdout
    assert re.findall(r"★ \S+(?: ×2)?", shown) == [single]


def test_runs_are_grouped_by_variant_and_setting_together(snapshot: Snapshot) -> None:
    grouping = grouping_of(snapshot, Grouped(by=["variant", "lr"]))
    assert grouping is not None
    names = [group.name for group in grouping.groups(snapshot.runs)]
    assert sorted(names) == ["batch, lr 0.5", "l1, lr 0.5", "none, lr 0.1"]


def test_a_range_is_of_the_charts_that_are_named(snapshot: Snapshot) -> None:
    shown = bnrun("show", "--chart", "accuracy", "--y-range", "0.4:0.8").stdout
    labels = [float(line.split("┤")[0]) for line in shown.splitlines() if "┤" in line]
    assert min(labels) >= 0.4 and max(labels) == 0.8, "accuracies are 0.5"
    assert "Training loss" not in shown
    done = bnrun("export", "--svg", "--chart", "accuracy", "--y-range", "0.4:0.8", "--out", "there")
    assert done.exit_code == 0
    assert "0.80" in Path("there/accuracy.svg").read_text()


def test_facets_are_panels_of_one_file(snapshot: Snapshot) -> None:
    assert bnrun("export", "--svg", "--chart", "loss", "--facets", "lr", "--out", "there").exit_code == 0
    assert [path.name for path in Path("there").iterdir()] == ["loss.svg"]
    text = Path("there/loss.svg").read_text()
    assert "lr 0.1" in text and "lr 0.5" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--y-range", "1:2"], "--chart"),
        (["--chart", "loss", "--y-range", "2:1"], "the smaller one first"),
        (["--chart", "loss", "--y-range", "0:1"], "logarithmic"),
        (["--chart", "los"], "did you mean 'loss'?"),
        (["--facets", "norm"], "does not vary among these runs; expected variant or one of lr"),
        (["--facets", "lrr"], "is no setting; expected variant or one of lr (did you mean 'lr'?)"),
        (["--by", "lrr"], "is no setting; expected variant or one of lr (did you mean 'lr'?)"),
        (["--reference", "bach"], "expected one of none, batch, l1 or a run (did you mean 'batch'?)"),
    ],
)
@pytest.mark.parametrize("command", [["show"], ["export", "--svg"]])
def test_what_makes_no_sense_is_refused(
    snapshot: Snapshot, command: list[str], arguments: list[str], said: str
) -> None:
    done = bnrun(*command, *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize("option", [("--y-range", "1:2"), ("--facets", "lr"), ("--reference", "batch")])
def test_tables_take_no_options_of_charts(snapshot: Snapshot, option: tuple[str, str]) -> None:
    for command in (["export", "--csv"], ["show", "--json"]):
        done = bnrun(*command, *option)
        assert done.exit_code == 2 and option[0] in done.stderr
