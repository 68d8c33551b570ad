"""Run directories to train, and real worker processes to train and kill them.

Workers are forked from the server of `forked`.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import orjson
from forked import server

from bncore.config.model import DLN, Checkpoints, Evaluation, GaussianData, Loss, Norm, Optim, Schedule, Spec
from bncore.config.toml import spec_to_toml
from bncore.store.journal import REPLAYED_EVENTS
from bncore.store.owner import Ownership
from bncore.store.paths import RunDir, list_checkpoints
from bncore.store.status import Status, read_status, write_status

PATIENCE_S = 60.0

Updates = Literal["", "fused", "graphs"]
"""How a worker makes its updates: as on a CPU, by fused kernels as on a GPU, or by those and by graphs."""

DEEP_LINEAR = Spec(
    steps=60,
    seed=3,
    batch_size=16,
    precision="float64",
    device="cpu",
    threads=1,
    data=GaussianData(samples=48, features=4),
    net=DLN(depth=3, width=5),
    norm=Norm(kind="batch"),
    loss=Loss(kind="squared_error"),
    optim=Optim(lr=0.01, momentum=0.9),
    log_every=1,
    eval=Evaluation(every=10, train_samples=0),
    checkpoint=Checkpoints(every_steps=7, every_minutes=0),
)
"""About a tenth of a second; checkpoints at 7, 14, ..., 56."""

SPARSE = DEEP_LINEAR.model_copy(
    update={
        "precision": "float32",
        "log_every": 3,
        "optim": Optim(kind="adam", lr=0.01, weight_decay=0.01, schedule=Schedule(kind="cosine")),
    }
)
"""A journal with gaps, and an optimizer that remembers more."""

SLOW = DEEP_LINEAR.model_copy(
    update={
        "steps": 300,
        "batch_size": "full",
        "data": GaussianData(samples=512, features=32),
        "net": DLN(depth=12, width=32),
        "optim": Optim(lr=1e-4),
        "eval": Evaluation(every=50),
        "checkpoint": Checkpoints(every_steps=20, every_minutes=0),
    }
)
"""A run long enough to be met while it is under way."""


def make_run(path: Path, spec: Spec) -> RunDir:
    """A queued run directory."""
    run = RunDir(path)
    run.inbox.mkdir(parents=True)
    run.checkpoints.mkdir()
    run.spec_file.write_text(spec_to_toml(spec))
    write_status(run, Status("queued", steps=spec.steps))
    return run


def start(
    run: RunDir,
    *,
    failpoint: str = "",
    force: bool = False,
    log: Path | None = None,
    freeze_at: int = 0,
    ahead: int = 1,
    updates: Updates = "",
) -> ForkServerProcess:
    """A worker process on `run`, killed at the fault point ``name:count`` if one is given, or stopped right after
    it has made sure for the `freeze_at`-th time that the run is its own; it makes up to `ahead` steps before it
    fetches their numbers, and its updates, as on a GPU."""
    arguments = [str(run.path), *(["--force"] if force else [])]
    process = server.Process(
        target=_work,
        args=(arguments, failpoint, str(log or run.log_file)),
        kwargs={"freeze_at": freeze_at, "ahead": ahead, "updates": updates},
        daemon=True,
    )
    process.start()
    return process


def end(process: ForkServerProcess) -> int:
    """Wait for the end of a worker; its exit code, negative where a signal killed it."""
    process.join(PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the worker did not end")
    return process.exitcode


def train(
    run: RunDir,
    *,
    failpoint: str = "",
    force: bool = False,
    log: Path | None = None,
    ahead: int = 1,
    updates: Updates = "",
) -> int:
    """Run a worker to its end; its exit code."""
    return end(start(run, failpoint=failpoint, force=force, log=log, ahead=ahead, updates=updates))


def _work(
    arguments: list[str], failpoint: str, log: str, *, freeze_at: int, ahead: int, updates: Updates
) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from bncore.store import failpoints  # noqa: PLC0415 - in the child only
    from bncore.train import worker  # noqa: PLC0415 - torch, already imported by the server
    from bncore.train.async_steps import STEPS_AHEAD  # noqa: PLC0415 - torch, too

    os.environ["BNRUN_FAULT"] = failpoint
    importlib.reload(failpoints)  # its functions, wherever they are imported, look at the renewed module
    STEPS_AHEAD.update(cpu=ahead, cuda=ahead)
    if freeze_at:
        _freeze(freeze_at)
    if updates:
        _update_as_on_a_gpu(by_graphs=updates == "graphs")
    code = worker.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _update_as_on_a_gpu(*, by_graphs: bool) -> None:
    from train.tape import Taping  # noqa: PLC0415 - torch, already imported by the server

    from bncore.train import optimizer, worker  # noqa: PLC0415 - torch, too
    from bncore.train.step_graphs import StepGraphs  # noqa: PLC0415 - torch, too

    optimizer.FUSED.add("cpu")
    if by_graphs:
        worker.graphs_of = lambda session, tell: StepGraphs(session, Taping(session), tell)


def _freeze(at: int) -> None:
    is_valid, requested = Ownership.is_valid, itertools.count(1)

    def asked_too_early(self: Ownership) -> bool:
        answer = is_valid(self)
        if next(requested) == at:
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    Ownership.is_valid = asked_too_early  # type: ignore[method-assign]


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Wait until something is true."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.01)


@contextmanager
def held_still(pid: int) -> Iterator[None]:
    """A worker stopped meanwhile: however slow the machine is, it does not end before all is done that is to be
    done to it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def wait_for_state(run: RunDir, state: str, step: int) -> None:
    """Wait until the heartbeat says so."""
    wait_until(
        lambda: (s := read_status(run)) is not None and (s.state, s.step) == (state, step),
        f"{state} at {step}",
    )


def events(run: RunDir) -> list[dict[str, Any]]:
    """The journal, every line of it whole."""
    content = run.journal_file.read_bytes()
    assert not content or content.endswith(b"\n")
    return [orjson.loads(line) for line in content.split(b"\n")[:-1]]


def steps_of(run: RunDir, kind: str) -> list[int]:
    """The steps of the events of one type."""
    return [event["step"] for event in events(run) if event["type"] == kind]


def events_so_far(run: RunDir) -> list[dict[str, Any]]:
    """The journal of a run that is being trained: its whole lines. A file that another process appends to may
    be read in the middle of a write."""
    content = run.journal_file.read_bytes() if run.journal_file.exists() else b""
    return [orjson.loads(line) for line in content.split(b"\n")[:-1]]


def steps_so_far(run: RunDir, kind: str) -> list[int]:
    """The steps of the events of one type, of a run that is being trained."""
    return [event["step"] for event in events_so_far(run) if event["type"] == kind]


def story(run: RunDir) -> list[dict[str, Any]]:
    """What an undisturbed run and a resumed one must tell alike: every event that the state determines, and the
    requests; without sequence number, time, and what names a request."""
    passing = ("seq", "t", "id", "author")
    reported = [event for event in events(run) if event["type"] in REPLAYED_EVENTS | {"request"}]
    return [{key: value for key, value in event.items() if key not in passing} for event in reported]


def digest(run: RunDir) -> str:
    """params_sha256 of a finished run."""
    (finished,) = (event for event in events(run) if event["type"] == "finished")
    found: str = finished["params_sha256"]
    return found


def states(run: RunDir) -> dict[int, str]:
    """Digests of all that the checkpoints hold, by step; without what names a request."""
    from bncore.train import checkpoint  # noqa: PLC0415 - torch

    found = {}
    for one in list_checkpoints(run.checkpoints):
        step, state = checkpoint.load(one.path)
        found[step] = checkpoint.content_sha256(state | {"requests": len(state["requests"])})
    return found
