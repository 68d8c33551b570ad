"""Requests to an observed loop: answered between two updates, in the thread that trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bncore.config.controls import Control
from bncore.external.checks import ObserveError
from bncore.external.control_panel import ControlPanel
from bncore.external.peers import Peers
from bncore.probes.guard import undisturbed
from bncore.store.commands import write_controls
from bncore.store.errors import StoreError
from bncore.store.journal import Journal, read_events
from bncore.store.lineage import Lineage
from bncore.store.paths import RunDir
from bncore.train.commands import INTERRUPTIONS, UNCHANGED, Answer, Handler, RequestRefused, refusal
from bncore.train.control import RunControl
from bncore.train.heartbeat import Heartbeat
from bncore.train.requests import Requests

SHOWN_EVERY_S = 2.0
"""How often values that the loop itself changes are told."""

TAKEN = frozenset({"seq", "t", "type", "step", "kind"})
"""Names that numbers of an evaluation cannot have."""

OnCheckpoint = Callable[[int], object]
OnEvaluate = Callable[[], Mapping[str, Any]]


class StopObserved(Exception):
    """Raised by `watch.step` where a person requested a stop; ``with bncore.observe(...)`` ends by it quietly."""


class Steering:
    """What a request may see of an observed loop and do to it (`bncore.train.commands.Interruptible`).

    Arguments:
        net: the loop's own model, evaluated as it is requested.
        peers: the processes that make the loop.
        on_checkpoint: called with the step; saves what the loop wants saved.
        on_evaluate: gives the numbers of an evaluation.
    """

    def __init__(
        self,
        run: RunDir,
        net: nn.Module,
        peers: Peers,
        on_checkpoint: OnCheckpoint | None = None,
        on_evaluate: OnEvaluate | None = None,
    ) -> None:
        self.compiled = False
        """Whether the model calls no hooks that are added later."""
        self.begun = -1
        """Number of the step that was begun last; counted in a loop that is no longer observed too."""
        self.position = 0
        self.control = RunControl()
        self.panel = ControlPanel()
        self.evaluation: dict[str, float] = {}
        self.journal: Journal
        self.run = run
        self.peers = peers
        self._net = net
        self._on_checkpoint = on_checkpoint
        self._on_evaluate = on_evaluate
        self._lineage: Lineage | None = None
        self._digest: str | None = None
        self._heartbeat: Heartbeat
        self._requests: Requests | None = None
        self._shown: tuple[Control, ...] | None = None
        self._show_at = 0.0

    def open(self, journal: Journal, heartbeat: Heartbeat) -> None:
        """The run directory is there."""
        self.journal, self._heartbeat = journal, heartbeat

    def repeat(self, path: Path) -> None:
        """Take the requests of another run at the steps where it took them.

        Raises:
            ObserveError: the loop has begun.
            StoreError: there is no journal, or it cannot be read.
        """
        if self.peers.rank:  # which the first tells
            return
        if self._requests is not None:
            raise ObserveError("replay: the loop has begun; expected before the first step")
        events = read_events(path / "journal.jsonl" if path.is_dir() else path)
        if not events:
            raise StoreError(f"{path}: no journal; expected a run's directory, or its journal")
        requests = tuple(event for event in events if event["type"] == "request")
        self._lineage = Lineage("replay", str(path), requests=requests)
        self._digest = next((e.get("params_sha256") for e in events if e["type"] == "finished"), None)

    def before_step(self, step: int) -> None:
        """Answer what waits, and wait while paused.

        Raises:
            StopObserved: a person wants the loop to end.
            StoreError: the run directory can no longer be written, or is somebody else's.
        """
        try:
            self._before_step(step)
        finally:
            self.peers.tell(stop=self.control.stopping)

    def _before_step(self, step: int) -> None:
        requests = self._begun()
        self.position = step
        while True:
            if requests.has_due(step):
                self._answer(requests)
            self._show()
            if self.control.stopping:
                raise StopObserved(f"stopped by request at step {step}")
            if self.control.may_step():
                self._heartbeat.set_state("running")
                return
            self.journal.check_owned()
            self._heartbeat.set_state("paused")
            requests.wait()

    def follow(self, step: int) -> bool:
        """Do what the first process tells this one to do; whether it will tell more.

        Raises:
            StopObserved: a person wants the loop to end.
        """
        self.position = step
        while "command" in (told := self.peers.hear()):
            answer, reason = self._tried(told["command"])
            self.peers.answer(reason)
            if self.peers.hear()["undo"] and not reason:
                self.panel.set_back(answer.old or {})
        if told.get("stop"):
            raise StopObserved(f"stopped by request at step {step}")
        return "stop" in told

    def together(self, command: dict[str, Any]) -> Answer:
        """Do what is requested, in all processes or in none.

        Raises:
            RequestRefused: one of them could not.
        """
        if self.peers.missing:
            raise RequestRefused(f"process {self.peers.missing[0]} of this loop does not call bncore.observe")
        self.peers.tell(command=command)
        answer, reason = self._tried(command)
        refusals = [*filter(None, [reason]), *self.peers.refusals()]
        self.peers.tell(undo=bool(refusals))
        if refusals and not reason:
            refusals += self.panel.set_back(answer.old or {})
        if refusals:
            raise RequestRefused("; ".join(refusals))
        return answer

    def _tried(self, command: dict[str, Any]) -> tuple[Answer, str]:
        """What changed in this process, and why it could not."""
        try:
            return EVERYWHERE[command["kind"]](self, command), ""
        except Exception as error:  # of somebody else's function
            return UNCHANGED, str(error) if isinstance(
                error, RequestRefused
            ) else f"{type(error).__name__}: {error}"

    def stops_at(self, step: int) -> bool:
        """Whether a person wants no further update."""
        waiting = self._requests if self.peers.count == 1 else None  # others could not know of it
        return self.control.stopping or (waiting is not None and waiting.stops_at(step))

    def end(self, step: int, digest: str) -> Literal["finished", "stopped"]:
        """Answer what still waits after the last update; the state that the run ends in."""
        requests, self.position = self._begun(), step
        if self.peers.count == 1 and requests.stops_at(step):
            self._answer(requests)
        state: Literal["finished", "stopped"] = "stopped" if self.control.stopping else "finished"
        requests.reject_rest(step, f"the run has {state}")
        self._show(at_once=True)
        if self._digest not in (None, digest):
            text = f"parameters at the end are others than those of the run repeated here: {self._digest}"
            self.journal.append("warning", step, text=text)
        return state

    def close(self) -> None:
        self.peers.tell(closed=True)
        if self._requests is not None:
            self._requests.stop()

    def evaluate(self) -> None:
        """Have the loop evaluate its model, which stays as it is: modes, buffers and generators included."""
        if self._on_evaluate is None:
            raise RequestRefused(
                "evaluate: the loop gave no function for it; expected observe(on_evaluate=...)"
            )
        buffers = [(buffer, buffer.clone()) for buffer in self._net.buffers()]
        with undisturbed(self._net, {}):
            try:
                self.evaluation = _numbers(self._on_evaluate())
            finally:
                with torch.no_grad():
                    for buffer, before in buffers:
                        buffer.copy_(before)

    def save_checkpoint(self) -> None:
        """Have the loop save what it wants saved."""
        if self._on_checkpoint is None:
            raise RequestRefused(
                "checkpoint: the loop gave no function for it; expected observe(on_checkpoint=...)"
            )
        self._on_checkpoint(self.position)

    def _begun(self) -> Requests:
        if self._requests is None:
            self._requests = Requests(self.run, self.journal, self._lineage, handlers=OBSERVED)
            self._requests.start()
        return self._requests

    def _answer(self, requests: Requests) -> None:
        for request in requests.requests_at(self.position):
            requests.apply(request, self, self.position)
        self._show_at = 0.0

    def _show(self, *, at_once: bool = False) -> None:
        """Tell other processes what can be changed, and what holds."""
        now = time.monotonic()
        if now < self._show_at and not at_once:
            return
        self._show_at = now + SHOWN_EVERY_S
        controls = self.panel.state()
        if controls != self._shown:
            known = {control.name for control in self._shown or ()}
            for control in controls:
                if control.name not in known:
                    declared = control.model_dump(exclude_defaults=True)
                    self.journal.append("control", self.position, control=declared)
            write_controls(self.run, controls)
            self._shown = controls


def _refuse_set(run: Steering, _command: dict[str, Any]) -> Answer:
    names = ", ".join(control.name for control in run.panel.state())
    raise RequestRefused(
        f"an observed loop has no settings; expected one of its controls: {names or 'it has none'}"
    )


def _evaluate(run: Steering, _command: dict[str, Any]) -> Answer:
    run.evaluate()
    return UNCHANGED


def _save(run: Steering, _command: dict[str, Any]) -> Answer:
    run.save_checkpoint()
    return UNCHANGED


EVERYWHERE: dict[str, Callable[[Steering, dict[str, Any]], Answer]] = {
    "control": lambda run, command: run.panel.change(command["changes"]),
    "checkpoint": _save,
    "evaluate": _evaluate,
}
"""Requests that every process of a loop answers."""


def _journal_evaluation(run: Steering, _command: dict[str, Any]) -> None:
    run.journal.append("eval", run.position, **run.evaluation)


def _nothing(_run: Steering, _command: dict[str, Any]) -> None:
    pass


# Only somebody else's function can tell whether it does what is requested: it is called for the answer.
OBSERVED: dict[str, Handler[Any]] = {
    **INTERRUPTIONS,
    "stop": INTERRUPTIONS["stop"]._replace(
        replayed=True
    ),  # nothing resumes the loop; a replay ends there too
    "control": Handler(_nothing, replayed=True, answer=Steering.together),
    "checkpoint": Handler(_nothing, replayed=True, answer=Steering.together),
    "evaluate": Handler(_journal_evaluation, replayed=True, answer=Steering.together),
    "set": Handler(_nothing, replayed=False, answer=_refuse_set),
    "drop_request": refusal("an observed loop cannot be resumed"),
}
"""Every request by its kind, as an observed loop answers it."""


def _numbers(found: object) -> dict[str, float]:
    """What `on_evaluate` gave.

    Raises:
        RequestRefused: no mapping of names to numbers.
    """
    if not isinstance(found, Mapping):
        raise RequestRefused(f"evaluate: on_evaluate gave {type(found).__name__}; expected a dict of numbers")
    try:
        return numbers_of(found, "evaluate")
    except ValueError as error:
        raise RequestRefused(str(error)) from None


def numbers_of(values: Mapping[Any, Any], what: str) -> dict[str, float]:
    """Numbers by name, as a journal takes them.

    Raises:
        ValueError: a value is no number, or a name is taken; the message begins with `what`.
    """
    numbers = {}
    for name, value in values.items():
        if name in TAKEN:
            raise ValueError(f"{what}: {name!r} is a name that every event has; expected another")
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{what}: {name} = {value!r}; expected a number") from None
    return numbers


__all__ = ["OBSERVED", "Steering", "StopObserved", "numbers_of"]
