"""Requests to an observed loop, answered between two updates in the training thread."""

from __future__ import annotations

import sys
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
from bncore.external.warned import warn
from bncore.probes.guard import undisturbed
from bncore.store.commands import write_controls
from bncore.store.errors import StoreError
from bncore.store.journal import Journal, read_events
from bncore.store.lineage import Lineage
from bncore.store.paths import RunDir
from bncore.train.control import RunControl
from bncore.train.handlers import INTERRUPTIONS, UNCHANGED, Answer, Handler, RequestRefused, refusal
from bncore.train.heartbeat import Heartbeat
from bncore.train.request_source import Requests

SHOWN_EVERY_S = 2.0
"""Seconds between reports of values that the loop itself changes."""

TAKEN = frozenset({"seq", "t", "type", "step", "kind"})
"""Reserved names that logged and evaluated numbers cannot have."""

OnCheckpoint = Callable[[int], object]
OnEvaluate = Callable[[], Mapping[str, Any]]


class StopObserved(Exception):
    """Raised by `watch.step` if a stop was requested; ``with bncore.observe(...)`` suppresses it."""


class Steering:
    """What requests can see and do in an observed loop (`bncore.train.handlers.Interruptible`).

    Arguments:
        net: the loop's own model, restored after each evaluation.
        peers: the processes of the loop.
        on_checkpoint: called with the step; saves whatever the loop wants saved.
        on_evaluate: returns the numbers of an evaluation.
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
        """Whether the model is compiled, so that it calls no hooks added later."""
        self.last_started = -1
        """Number of the last step started; also counted when the loop is no longer observed."""
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
        """Set the journal and the heartbeat, once the run directory exists."""
        self.journal, self._heartbeat = journal, heartbeat

    def repeat(self, path: Path) -> None:
        """Replay the requests of another run at the steps where it applied them.

        Raises:
            ObserveError: the loop has started.
            StoreError: there is no journal, or it cannot be read.
        """
        if self.peers.rank:  # the first process forwards them
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
        """Answer waiting requests, and block while paused.

        Raises:
            StopObserved: a stop was requested.
            StoreError: the run directory can no longer be written, or has another owner.
        """
        try:
            requests, self.position = self._started_requests(), step
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
        finally:
            self.peers.send(stop=self.control.stopping)

    def follow(self, step: int) -> bool:
        """Carry out the commands of the first process; return whether it will send more.

        Raises:
            StopObserved: a stop was requested.
        """
        self.position = step
        while "command" in (message := self.peers.receive()):
            answer, reason = self._tried(message["command"])
            self.peers.acknowledge(reason)
            if self.peers.receive()["undo"] and not reason:
                self.panel.set_back(answer.old or {})
        if message.get("stop"):
            raise StopObserved(f"stopped by request at step {step}")
        return "stop" in message

    def together(self, command: dict[str, Any]) -> Answer:
        """Carry out a request in all processes or in none.

        Raises:
            RequestRefused: a process could not carry it out.
        """
        if self.peers.missing:
            raise RequestRefused(f"process {self.peers.missing[0]} of this loop does not call bncore.observe")
        self.peers.send(command=command)
        answer, reason = self._tried(command)
        refusals = [*filter(None, [reason]), *self.peers.refusals()]
        self.peers.send(undo=bool(refusals))
        if refusals and not reason:
            refusals += self.panel.set_back(answer.old or {})
        if refusals:
            raise RequestRefused("; ".join(refusals))
        return answer

    def _tried(self, command: dict[str, Any]) -> tuple[Answer, str]:
        """Try a command in this process; return its answer, and the reason if it failed."""
        try:
            return EVERYWHERE[command["kind"]](self, command), ""
        except RequestRefused as error:
            return UNCHANGED, str(error)
        except Exception as error:  # from the user's function
            return UNCHANGED, f"{type(error).__name__}: {error}"

    def stops_at(self, step: int) -> bool:
        """Whether a stop was requested."""
        waiting = self._requests if self.peers.count == 1 else None  # others cannot see it
        return self.control.stopping or (waiting is not None and waiting.stops_at(step))

    def end(self, step: int, digest: str) -> Literal["finished", "stopped"]:
        """Answer the requests that still wait after the last update; return the run's final state."""
        requests, self.position = self._started_requests(), step
        if self.peers.count == 1 and requests.stops_at(step):
            self._answer(requests)
        state: Literal["finished", "stopped"] = "stopped" if self.control.stopping else "finished"
        requests.reject_rest(step, f"the run has {state}")
        self._show(at_once=True)
        if self._lineage is not None:
            self._compare(self._lineage.run, step, digest)
        return state

    def _compare(self, original: str, step: int, digest: str) -> None:
        """Say whether this replay ended with the parameters of the run that it repeats."""
        steps = "1 step" if step == 1 else f"{step} steps"
        if self._digest is None:
            sys.stderr.write(f"replay of {original}: {steps}, not compared: that run has no end\n")
        elif self._digest == digest:
            sys.stderr.write(f"replay of {original}: the same parameters after {steps}\n")
        else:
            text = (
                f"replay of {original}: parameters after {steps} are others than those of the run repeated here: "
                f"digest {digest}, and {self._digest} there"
            )
            self.journal.append("warning", step, text=text)
            warn(text)

    def close(self) -> None:
        self.peers.send(closed=True)
        if self._requests is not None:
            self._requests.stop()

    def evaluate(self, _command: dict[str, Any]) -> Answer:
        """Have the loop evaluate its model; modes, buffers and random generators are restored afterwards."""
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
        return UNCHANGED

    def save_checkpoint(self, _command: dict[str, Any]) -> Answer:
        """Have the loop save whatever it wants saved."""
        if self._on_checkpoint is None:
            raise RequestRefused(
                "checkpoint: the loop gave no function for it; expected observe(on_checkpoint=...)"
            )
        self._on_checkpoint(self.position)
        return UNCHANGED

    def _started_requests(self) -> Requests:
        if self._requests is None:
            self._requests = Requests(self.run, self.journal, self._lineage, handlers=OBSERVED)
            self._requests.start()
        return self._requests

    def _answer(self, requests: Requests) -> None:
        for request in requests.requests_at(self.position):
            requests.apply(request, self, self.position)
        self._show_at = 0.0

    def _show(self, *, at_once: bool = False) -> None:
        """Publish the controls and their current values for other processes."""
        now = time.monotonic()
        if now < self._show_at and not at_once:
            return
        self._show_at = now + SHOWN_EVERY_S
        controls = self.panel.state()
        if controls != self._shown:
            published = {control.name for control in self._shown or ()}
            for control in controls:
                if control.name not in published:
                    declared = control.model_dump(exclude_defaults=True)
                    self.journal.append("control", self.position, control=declared)
            write_controls(self.run, controls)
            self._shown = controls


def _refuse_set(run: Steering, _command: dict[str, Any]) -> Answer:
    names = ", ".join(control.name for control in run.panel.state())
    raise RequestRefused(
        f"an observed loop has no settings; expected one of its controls: {names or 'it has none'}"
    )


EVERYWHERE: dict[str, Callable[[Steering, dict[str, Any]], Answer]] = {
    "control": lambda run, command: run.panel.change(command["changes"]),
    "checkpoint": Steering.save_checkpoint,
    "evaluate": Steering.evaluate,
}
"""Requests that every process of a loop carries out."""


def _journal_evaluation(run: Steering, _command: dict[str, Any]) -> None:
    run.journal.append("eval", run.position, **run.evaluation)


def _nothing(_run: Steering, _command: dict[str, Any]) -> None:
    pass


# Only the user's function can tell whether it carries out the request, so the answer comes from calling it.
OBSERVED: dict[str, Handler[Any]] = {
    **INTERRUPTIONS,
    # Nothing resumes the loop, and a replay ends there too.
    "stop": INTERRUPTIONS["stop"]._replace(replayed=True),
    "control": Handler(_nothing, replayed=True, answer=Steering.together),
    "checkpoint": Handler(_nothing, replayed=True, answer=Steering.together),
    "evaluate": Handler(_journal_evaluation, replayed=True, answer=Steering.together),
    "set": Handler(_nothing, replayed=False, answer=_refuse_set),
    "drop_request": refusal("an observed loop cannot be resumed"),
}
"""How an observed loop answers each kind of request."""


def _numbers(given: object) -> dict[str, float]:
    """The numbers that `on_evaluate` returned.

    Raises:
        RequestRefused: it is not a mapping of names to numbers.
    """
    if not isinstance(given, Mapping):
        raise RequestRefused(f"evaluate: on_evaluate gave {type(given).__name__}; expected a dict of numbers")
    try:
        return numbers_of(given, "evaluate")
    except ValueError as error:
        raise RequestRefused(str(error)) from None


def numbers_of(values: Mapping[Any, Any], what: str) -> dict[str, float]:
    """Numbers by name, checked and converted for the journal.

    Raises:
        ValueError: a value is not a number, or a name is reserved; the message begins with `what`.
    """
    numbers = {}
    for name, value in values.items():
        if name in TAKEN:
            raise ValueError(f"{what}: {name!r} is a name that every event has; expected another")
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise ValueError(f"{what}: {name} = {value!r}; expected a number") from None
    return numbers
