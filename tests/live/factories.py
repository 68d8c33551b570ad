"""Runs to be watched, written by hand: journals with every instrument, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from store.factories import SMALL, empty_run

from bncore.config.model import Spec
from bncore.follow.run_view import RunFollower, RunView
from bncore.launch.slurm.state import Queue
from bncore.measures import MACHINE
from bncore.store.journal import Event, encode
from bncore.store.lineage import Lineage, write_lineage
from bncore.store.machine_log import MachineLog
from bncore.store.paths import RunDir
from bncore.store.status import Observer, State, Status, write_status
from bntui.live.sources import Runs, Source

STEPS = 40
BEGUN = 1_000_000.0
"""When made runs begin; each event is a second after the one before."""
LAYERS = (2, 3, 5)
BINS = 4


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Seconds:
    """Times of events: one a second."""

    def __init__(self, begun: float = BEGUN) -> None:
        self._next = begun

    def stamp(self, events: Sequence[Event]) -> list[Event]:
        found = []
        for event in events:
            found.append({"seq": len(found), "t": self._next, **event})
            self._next += 1
        return found


def events(
    steps: int = STEPS,
    *,
    first: int = 0,
    every: int = 10,
    loss: Any = None,
    head: Sequence[Event] = (),
) -> list[Event]:
    """A journal of `steps` updates with every instrument at each `every`-th, from step `first` on."""
    found: list[Event] = [{"type": "start", "step": first, "schema": 1, "data": "made"}, *head]
    for step in range(first, steps):
        if step % every == 0:
            found.append(
                {"type": "eval", "step": step, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 2.0,
                 "test_accuracy": step / 100}
            )  # fmt: skip
        value = 1 / (1 + step) if loss is None else loss
        found.append(
            {"type": "step", "step": step, "loss": value, "penalty": 0.1, "accuracy": 0.5, "lr": 0.1,
             "grad_norm": 2.0}
        )  # fmt: skip
        if step % every == 0:
            found += [{"type": "probe", "step": step, **probe} for probe in probes(step, value)]
    return found


def probes(step: int, value: Any = 1.0) -> list[Event]:
    """One measurement of every instrument."""
    layered = [float(step + n) for n in LAYERS]
    ics = {"name": "ics", "layers": list(LAYERS), "l2": layered, "cosine": [0.5] * 3, "relative": [0.25] * 3}
    if step % 20 == 0:
        ics["floor"] = [0.1, 0.2, 0.3]
    landscape = {
        "name": "landscape", "multiples": [0.5, 1.0, 2.0, 4.0], "grad_norm": 2.0, "loss": [value] * 4,
        "grad_diff": [0.5, 1.0, 2.0, 4.0], "relative": [0.25, 0.5, 1.0, 2.0], "loss_min": value, "loss_max": value,
        "grad_diff_min": 0.5, "grad_diff_max": 4.0, "lipschitz": 3.0, "beta": 10.0, "two_over_lr": 20.0,
        "one_over_a_min": 20.0,
    }  # fmt: skip
    if step % 20 == 0:
        landscape["floor"] = 0.01
    activations = {
        "name": "activations", "layers": list(LAYERS), "counts": [[0, 2, 2, 0]] * 3, "bin_low": [-2.0] * 3,
        "bin_width": [1.0] * 3, **dict.fromkeys(("mean", "variance", "mean_drift", "variance_drift"), layered),
        **dict.fromkeys(("unit_mean", "unit_variance", "dead"), [0.5] * 3),
    }  # fmt: skip
    if step:
        activations |= {"mean_step": [0.1] * 3, "variance_step": [0.2] * 3}
    theory = {
        "name": "theory", "layers": list(LAYERS),
        **dict.fromkeys(("lipschitz_left", "lipschitz_corrected"), [1.0] * 3), "lipschitz_scale": [4.0] * 3,
        **dict.fromkeys(("lipschitz_mean", "lipschitz_correlation", "lipschitz_printed"), [1.5] * 3),
        **dict.fromkeys(("lipschitz_error", "printed_fails", "hessian_error", "worst_actual"), [0.1] * 3),
        "worst_bound": [0.2] * 3,
    }  # fmt: skip
    sharpness = {
        "name": "sharpness", "eigenvalue": 15.0, "two_over_lr": 20.0,
        **dict.fromkeys(("layer_grad_norm", "weight_norm", "relative_update", "effective_lr"), [0.1] * 6),
    }  # fmt: skip
    fidelity = {
        "name": "fidelity",
        "deviation": 0.1,
        "tolerance": 1.0,
        "scale": 1.0,
        "precision_deviation": 0.01,
    }
    return [ics, landscape, activations, theory, sharpness, fidelity]


def request(step: int, changes: dict[str, Any], *, outcome: str = "applied", reason: str = "") -> Event:
    """An answered request to change settings."""
    ident = f"{step}-{'-'.join(changes)}"
    command = {"kind": "set", "at_step": None, "changes": changes}
    return {
        "type": "request", "step": step, "id": ident, "author": "somebody", "command": command,
        "outcome": outcome, "old": None, "new": changes, "reason": reason,
    }  # fmt: skip


def made_run(
    path: Path,
    journal: Sequence[Event] = (),
    *,
    state: State = "finished",
    step: int | None = None,
    spec: Spec = SMALL,
    begun: float = BEGUN,
    message: str = "",
) -> RunDir:
    """A run directory with this journal and heartbeat."""
    run = empty_run(path, spec)
    if journal:
        stamped = Seconds(begun).stamp(journal)
        run.journal_file.write_bytes(b"".join(encode(event) + b"\n" for event in stamped))
    reached = max((e["step"] + 1 for e in journal if e["type"] == "step"), default=0)
    write_status(run, Status(state, reached if step is None else step, STEPS, message=message))
    return run


def record_machine(run: RunDir, *, every: int = 10, gpu: bool = True) -> RunDir:
    """Write records of the machine at every so many steps; the run."""
    names = [measure.key for measure in MACHINE if gpu or not measure.key.startswith("gpu_")]
    log = MachineLog(run.machine_file)
    for step in range(1, STEPS, every):
        assert log.append(step, {name: (step + i) / 100 for i, name in enumerate(names)})
    log.close()
    return run


def forked_run(path: Path, parent: RunDir, at: int, **more: Any) -> RunDir:
    """A fork of `parent` that makes step `at` and later itself."""
    head = [{"type": "parent", "step": at, "run": f"../{parent.path.name}", "at": at}]
    head += more.pop("requests", [])
    run = made_run(path, events(first=at, head=head), **more)
    write_lineage(run, Lineage("fork", f"../{parent.path.name}", at, at))
    return run


def write_sweep(path: Path, queue: Sequence[str], **experiment: str) -> None:
    """What stands in sweep.toml."""
    (path / "sweep.toml").write_text(tomli_w.dumps({"queue": list(queue), "experiment": experiment}))


def view_of(run: RunDir, style: int = 0, name: str = "") -> RunView:
    """A run, read to its end."""
    return RunFollower(run, Observer(), Queue(), name=name or run.path.name, style=style).poll(None)


def watched(*places: Any) -> Source:
    """A source that has read everything."""
    source = Runs(*places)
    while not source.poll(1.0).complete:
        pass
    return source


@contextmanager
def quiet() -> Iterator[None]:
    """Any warning of numpy's is an error."""
    with np.errstate(all="raise"):
        yield
