"""Loops of frameworks: they end as they do alone, and what is measured of them is plain autograd's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bncore.probes.landscape import LandscapeProbe
from bncore.store.commands import Pause
from bncore.store.paths import RunDir
from bncore.store.requests import send_request
from bncore.store.status import read_status
from bncore.train.checkpoint import params_sha256

from .factories import Event, of_type
from .frameworks import BATCHES, KINDS, LR, OBSERVED, PROBES, TOGETHER, framework, stop_at_two
from .loops import journal
from .plain import assert_landscapes, plain_landscapes

pytestmark = pytest.mark.filterwarnings("ignore")
TESTS = Path(__file__).parent.parent


@pytest.fixture(params=KINDS)
def loop(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip(request.param)
    return framework(request.param)


def expected(loop: Any, size: int, count: int = BATCHES) -> list[list[float]]:
    """The landscape of each update on `size` batches, by plain autograd."""
    data = [loop.double(batch) for batch in loop.batches()]
    updates = [data[i : i + size] for i in range(0, count, size)]
    return plain_landscapes(loop.initial(), loop.loss_of, updates, LR)


def assert_faithful(events: list[Event], updates: int) -> None:
    fidelity = of_type(events, "probe", "fidelity")
    assert len(fidelity) == updates
    assert all(e["faithful"] for e in fidelity)
    assert max(e["deviation"] for e in fidelity) < 1e-6
    assert of_type(events, "probe_failed") == []


@pytest.mark.parametrize(
    ("loop", "kind"), [(name, kind) for name in KINDS for kind in KINDS[name]], indirect=["loop"]
)
def test_observing_changes_nothing_and_is_faithful(loop: Any, kind: str, tmp_path: Path) -> None:
    options = KINDS[loop.NAME][kind]
    alone = loop.Training(None, **options).start()
    watched = loop.Training(tmp_path / "run", **options).start()
    events = journal(tmp_path / "run")
    assert params_sha256(alone.net) == params_sha256(watched.net) == events[-1]["params_sha256"]
    assert events[-1]["state"] == "finished"
    assert alone.reported == watched.reported
    assert_faithful(events, watched.updates)


def test_a_skipped_update_is_told_and_changes_nothing(loop: Any, tmp_path: Path) -> None:
    alone = loop.Training(None, scale=2.0**127).start()
    watched = loop.Training(tmp_path / "run", scale=2.0**127).start()
    assert params_sha256(alone.net) == params_sha256(watched.net)
    events = journal(tmp_path / "run")
    skipped = [e["step"] for e in of_type(events, "skipped")]
    assert skipped[:3] == [0, 1, 2]
    assert len(of_type(events, "step")) == BATCHES == watched.updates


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("exactly", [True, False])
def test_the_landscape_is_plain_autograd_s(loop: Any, tmp_path: Path, size: int, exactly: bool) -> None:
    accumulated = KINDS[loop.NAME]["accumulated"] if size == 2 else {}
    precision, rtol = loop.EXACTLY if exactly else ({}, 1e-5)
    loop.Training(tmp_path / "run", **accumulated, **precision).start()
    assert_landscapes(journal(tmp_path / "run"), expected(loop, size), rtol)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_under_autocast_the_first_landscape_is_that_of_float32(
    loop: Any, tmp_path: Path, precision: str
) -> None:
    loop.Training(tmp_path / "run", **KINDS[loop.NAME][precision]).start()
    events = journal(tmp_path / "run")
    assert_landscapes(events, expected(loop, 1, count=1), 1e-5)
    assert {e["precision"] for e in of_type(events, "probe", "fidelity")} == {"float32"}


def test_a_probe_that_fails_does_not_end_the_training(
    loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(LandscapeProbe, "measure", fail)
    with pytest.warns(RuntimeWarning, match="probe landscape failed"):
        watched = loop.Training(tmp_path / "run", {"probes": PROBES}).start()
    events = journal(tmp_path / "run")
    alone = loop.Training(None).start()
    assert params_sha256(watched.net) == params_sha256(alone.net) == events[-1]["params_sha256"]
    assert len(of_type(events, "probe_failed")) == BATCHES


def test_an_exception_in_the_training_ends_the_run(loop: Any, tmp_path: Path) -> None:
    training = loop.Training(tmp_path / "run", {"probes": {}})
    calls = iter([None, None, KeyError("gone")])

    def fail(*_: Any) -> None:
        if isinstance(error := next(calls), KeyError):
            raise error

    layer = next(module for module in training.net.modules() if isinstance(module, torch.nn.Dropout))
    layer.register_forward_pre_hook(fail)
    with pytest.raises(KeyError, match="gone"):
        training.start()
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state == "failed"
    assert "training_step" not in vars(training.trainer)


@pytest.mark.parametrize("paused", [False, True])
def test_a_person_s_stop_ends_the_training_quietly(loop: Any, tmp_path: Path, paused: bool) -> None:
    def request(watch: Any) -> None:
        if paused:
            send_request(watch.run, Pause(at_step=2))
        stop_at_two(watch)

    training = loop.Training(tmp_path / "run", {**OBSERVED, "probes": {}, "declare": request}).start()
    last = journal(tmp_path / "run")[-1]
    assert (last["type"], last["state"], last["step"]) == ("finished", "stopped", 2)
    assert training.updates == 2


@pytest.mark.slow
def test_two_processes_measure_on_the_joined_batch_end_as_they_do_alone_and_stop_together(
    loop: Any, tmp_path: Path
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    program = [*torchrun, "-m", "external.frameworks", loop.NAME, str(tmp_path)]
    subprocess.run(program, check=True, env=environment, timeout=280)
    ends = {
        batch: {(tmp_path / f"{batch}-{rank}.txt").read_text() for rank in range(2)} for batch in TOGETHER
    }
    assert ends["none"] == ends["local"] == ends["global"]
    assert len(ends["none"]) == 1
    events = {batch: journal(tmp_path / batch) for batch in TOGETHER[1:]}
    assert_faithful(events["global"], BATCHES // 2)
    assert_landscapes(events["global"], expected(loop, 2), 1e-5)
    told = {batch: of_type(events[batch], "probe", "fidelity") for batch in ("local", "global")}
    assert all(e["batch"] == batch for batch in told for e in told[batch])
    assert not any(e["faithful"] for e in told["local"])
    assert [end.split()[0] for end in ends["stopped"]] == ["2"]
    last = events["stopped"][-1]
    assert (last["type"], last["state"], last["step"]) == ("finished", "stopped", 2)
