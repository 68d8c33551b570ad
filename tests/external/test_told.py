"""What a loop tells of itself: numbers of its own, config and tags; in charts, tables, queries and exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from cli.factories import bnrun

import bncore
from bncore.follow.query import parse
from bncore.follow.run_view import RunView, view_runs
from bncore.store.paths import RunDir
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest
from bntui.chart.palette import ANSI
from bntui.cli.show import plots
from bntui.live.drawing import PanelState
from bntui.live.panels import PANELS, logged_keys
from bntui.live.sources import read_whole
from bntui.screens.spec import spec_table

from .kinds import pairs, perceptron, squared
from .loops import journal

CONFIG = {"model": {"width": 4, "kind": "tiny"}, "Warmup": True, "rate": 1e-3, "layers": [1, 2]}


def observed(run: Path, **settings: Any) -> Path:
    """Two steps, with a number logged before each and one after them."""
    torch.manual_seed(1)
    net = perceptron()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with bncore.observe(net, optimizer, loss_of=squared, run=run, probes={}, **settings) as watch:
        for number, (batch,) in enumerate(pairs()):
            watch.log(temperature=float(number), lag=torch.tensor(0.5))
            with watch.step(batch) as step:
                loss = squared(net, batch)
                loss.backward()
                optimizer.step()
                step.record(loss)
        watch.log({"val/Loss": 0.25})
    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, of which one has config and tags."""
    path = tmp_path_factory.mktemp("told")
    observed(path / "runs" / "mine" / "a", config=CONFIG, tags=["baseline", "first try"])
    observed(
        path / "runs" / "mine" / "b",
        config={**CONFIG, "rate": 2.0, "depth": np.int64(9), "clip": torch.tensor(0.5)},
    )
    return path


def runs(root: Path) -> list[RunDir]:
    return [RunDir(root / "runs" / "mine" / name) for name in "ab"]


def chosen(root: Path, text: str) -> list[str]:
    views: list[RunView] = list(view_runs(runs(root)))
    return [view.run.path.name for view in views if parse(text).matches(view)]


def test_logged_numbers_are_a_table_of_their_steps(root: Path) -> None:
    events = [e for e in journal(runs(root)[0].path) if e["type"] == "log"]
    told = [{k: v for k, v in e.items() if k not in ("seq", "t", "type")} for e in events]
    assert told == [
        {"step": 0, "temperature": 0.0, "lag": 0.5},
        {"step": 1, "temperature": 1.0, "lag": 0.5},
        {"step": 2, "val/Loss": 0.25},
    ]
    assert verify(runs(root)[0], step_and_digest) == []
    assert bncore.load_run(runs(root)[0].path).table("log")["temperature"].tolist()[:2] == [0.0, 1.0]


def test_each_logged_name_has_a_chart(root: Path) -> None:
    snapshot = read_whole(*runs(root))
    assert logged_keys(snapshot.runs) == ["log.temperature", "log.lag", "log.val/Loss"]
    assert PANELS["log.temperature"].make(snapshot.runs, PanelState()).title == "temperature"
    assert "log." not in PANELS
    drawn = "\n".join(plots(snapshot))
    assert all(name in drawn for name in ("temperature", "lag", "val/Loss"))


def test_exports_have_them_too(root: Path) -> None:
    done = bnrun("export", "mine/a", "--csv", "--out", "out", cwd=root)
    assert "log.csv" in done.stdout
    assert "temperature" in (root / "out" / "log.csv").read_text()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tag=baseline", ["a"]),
        ('tag="first try"', ["a"]),
        ("not tag=baseline", ["b"]),
        ("config.rate>1", ["b"]),
        ("config.model.width=4", ["a", "b"]),
        ("config.warmup=on config.rate<1", ["a"]),
        ("config.depth>8 config.clip<1", ["b"]),
        ("config.model.kind=tiny", ["a", "b"]),
        ("config.absent=1", []),
        ("log.temperature>=1", ["a", "b"]),
        ("log.val/loss<0.2", []),
    ],
)
def test_queries_know_them(root: Path, query: str, expected: list[str]) -> None:
    assert chosen(root, query) == expected


def test_ls_and_the_spec_page_show_them(root: Path) -> None:
    listed = bnrun("ls", "--columns", "run,config.rate,tag,log.lag", cwd=root).stdout
    assert "0.001" in listed
    assert "baseline" in listed
    table = spec_table(ANSI, list(read_whole(*runs(root)).runs), 120)
    rows = {row.key: row.text.plain for row in table.rows}
    assert rows["config.rate"].split() == ["config.rate", "0.001", "2"]
    assert "config.model.width" in rows
    assert "baseline" in rows["tags"]


def test_what_is_no_number_is_told_and_the_loop_goes_on(tmp_path: Path) -> None:
    net = perceptron()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with bncore.observe(net, optimizer, loss_of=squared, run=tmp_path / "run", probes={}) as watch:
        for values in ({"x": "high"}, {"step": 3}, {"x": torch.ones(2)}):
            with pytest.warns(RuntimeWarning, match=r"log: .*; expected"):
                watch.log(values)
    assert (
        orjson.loads((tmp_path / "run" / "journal.jsonl").read_bytes().splitlines()[-1])["type"] == "finished"
    )
