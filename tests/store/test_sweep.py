"""A sweep's directory is made whole or not at all, under a number of its own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from bncore.config.load import load_experiment
from bncore.config.plan import Plan, plan
from bncore.config.toml import spec_from_toml
from bncore.store import sweep as sweep_module
from bncore.store.errors import StoreError
from bncore.store.paths import read_sweep
from bncore.store.status import Status, read_status
from bncore.store.sweep import create_sweep


@pytest.fixture(scope="module")
def planned() -> Plan:
    """`dln_bn`, of three runs or more."""
    requested = plan(load_experiment("dln_bn"), profile="cpu", seeds=(0, 1))
    return requested.resolved(data=None, device="cpu", threads=1)


def test_every_run_is_there_and_queued(tmp_path: Path, planned: Plan) -> None:
    made = create_sweep(planned, root=tmp_path / "new" / "root")
    assert made.path == tmp_path / "new" / "root" / "dln_bn-001"
    assert [run.path.name for run in made.runs()] == [run.name for run in planned.runs]
    for run, wanted in zip(made.runs(), planned.runs, strict=True):
        assert spec_from_toml(run.spec_file) == wanted.spec
        status = read_status(run)
        assert status is not None
        assert (status.state, status.step, status.steps) == ("queued", 0, wanted.spec.steps)
        assert sorted(p.name for p in run.path.iterdir()) == [
            "checkpoints",
            "inbox",
            "spec.toml",
            "status.json",
        ]
    assert (made.path / "inbox").is_dir()
    assert read_sweep(made)["experiment"]["name"] == "dln_bn"


def test_numbers_go_on_after_the_highest(tmp_path: Path, planned: Plan) -> None:
    for name in ("dln_bn-002", "dln_bn-011", "dln_bn-x", "dln_lp-099", "dln_bn-7-old"):
        (tmp_path / name).mkdir()
    assert create_sweep(planned, root=tmp_path).name == "dln_bn-012"
    assert create_sweep(planned, root=tmp_path).name == "dln_bn-013"
    (tmp_path / "dln_bn-999").mkdir()
    assert create_sweep(planned, root=tmp_path).name == "dln_bn-1000"


def test_a_path_that_goes_up_leaves_no_folder_on_its_way(tmp_path: Path, planned: Plan) -> None:
    out = tmp_path / "a" / "b" / ".." / ".." / "mine"
    assert create_sweep(planned, root=tmp_path / "root", out=out).path == (tmp_path / "mine").resolve()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
def test_out_may_be_new_or_empty(tmp_path: Path, planned: Plan, there: str) -> None:
    out = tmp_path / "mine"
    if there != "nothing":
        out.mkdir()
    assert create_sweep(planned, root=tmp_path / "root", out=out).path == out
    assert len(list(out.glob("*/spec.toml"))) == len(planned.runs)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("there", ["a file", "a folder with a file", "a folder with a hidden file"])
def test_out_may_hold_nothing(tmp_path: Path, planned: Plan, there: str) -> None:
    out = tmp_path / "mine"
    if there == "a file":
        out.write_text("precious")
    else:
        out.mkdir()
        (out / (".hidden" if "hidden" in there else "thesis.tex")).write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match="mine: cannot be written: exists and is not an empty directory"):
        create_sweep(planned, root=tmp_path, out=out)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_nothing(
    tmp_path: Path, planned: Plan, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    made = 0

    def fails_at_the_third(run: object, status: Status) -> None:
        nonlocal made
        made += 1
        if made == 3:
            raise error

    monkeypatch.setattr(sweep_module, "write_status", fails_at_the_third)
    with pytest.raises((StoreError, KeyboardInterrupt)):
        create_sweep(planned, root=tmp_path)
    assert made == 3
    assert list(tmp_path.iterdir()) == []


def test_sweeps_made_at_once_get_numbers_of_their_own(tmp_path: Path, planned: Plan) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)

    def make() -> None:
        barrier.wait()
        for _ in range(5):
            create_sweep(planned, root=tmp_path)

    makers = [context.Process(target=make) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0] * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"dln_bn-{n:03d}" for n in range(1, 21)]
    assert all(len(list(p.glob("*/spec.toml"))) == len(planned.runs) for p in tmp_path.iterdir())
