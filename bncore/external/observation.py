"""A run that observes a training loop: its journal, its probes, and the handling of their failures."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor

from bncore.config.model import Spec
from bncore.config.observed import Observed, observed_to_toml
from bncore.external.checks import ObserveError, check_layers
from bncore.external.directory import make_directory, write_meta
from bncore.external.notices import announcements
from bncore.external.observed_step import ABSENT, NO_UPDATE, ObservedStep
from bncore.external.ready_controls import Controls
from bncore.external.recomputed_step import CapturedStep, Recomputation, RecomputedStep
from bncore.external.steering import Steering, StopObserved, numbers_of
from bncore.external.warned import warn
from bncore.probes.guard import undisturbed
from bncore.probes.layer_map import LayerMap
from bncore.probes.run import Measured, ProbeRunner
from bncore.store.errors import AlreadyOwnedError, StoreError
from bncore.store.files import replace_file
from bncore.store.journal import SCHEMA, Journal
from bncore.store.owner import acquire
from bncore.train.checkpoint import params_sha256
from bncore.train.heartbeat import Heartbeat
from bncore.train.usage import Machine, SectionName, Sections, find_gpu

OnError = Literal["warn", "raise"]
KNOWN_PARTS: tuple[SectionName, ...] = ("step", "probes")
"""Sections of a loop's time that its observer can tell apart."""


class Observation(Controls):
    """A run that observes a training loop, as created and documented by `bncore.observe`."""

    _writes = True
    """Whether this process writes the run."""

    def __init__(
        self,
        recomputation: Recomputation,
        optimizer: torch.optim.Optimizer,
        described: Observed,
        steering: Steering,
        *,
        on_error: OnError,
    ) -> None:
        super().__init__(recomputation.net, optimizer, steering, seed=described.seed)
        self.run = steering.run
        self.position = 0
        """Number of updates seen."""
        self._recomputation = recomputation
        self._described = described
        self._on_error = on_error
        self._probes = ProbeRunner(Spec().model_copy(update={"probes": described.probes}))
        self._measuring = recomputation.strict or any(part.every for _, part in described.probes)
        self._layer_map: LayerMap | None = None
        self._own: set[Tensor] = set()  # the network's known parameters
        self._warned: set[str] = set()  # warnings given
        self._given_up = False
        self._measured: set[str] = set()  # probes that have measured, or failed to
        self._open = False
        self._entered = False
        self._elsewhere = False  # whether a step was made in another thread
        self._thread = 0

    def __enter__(self) -> Observation:
        make_directory(self.run)
        with ExitStack() as opened:
            self._ownership = acquire(self.run)
            opened.callback(self._ownership.release)
            replace_file(self.run.spec_file, observed_to_toml(self._described).encode())
            write_meta(self.run, self._described.device)
            self._journal = Journal(self.run.journal_file, self._ownership.is_valid)
            opened.callback(self._journal.close)
            about = {"title": self._described.title, "data": "external training loop"}
            self._journal.append("start", 0, schema=SCHEMA, observed=True, **about)
            machine = Machine(self.run, KNOWN_PARTS)
            machine.gpu = find_gpu(torch.device(self._described.device))
            self._sections = machine.sections
            steps = self._described.steps
            self._heartbeat = Heartbeat(self.run, self._ownership, steps=steps, machine=machine)
            self._heartbeat.start()
            self._steering.open(self._journal, self._heartbeat)
            opened.pop_all()
        self._open = self._entered = True
        self._thread = threading.get_ident()
        return self

    def step(self, inputs: Any = ABSENT, targets: Any = ABSENT) -> ObservedStep:
        """A context around one update. The batch is given as the loss takes it: one batch of any structure, or
        inputs and targets. If several micro-batches make one update, pass each to `ObservedStep.batch` instead.
        Waiting requests are answered first; while paused, the call blocks.

        Raises:
            ObserveError: the observation was never entered.
            StopObserved: a stop was requested.
        """
        if not self._entered:
            raise ObserveError(
                "observe: not entered; expected `with bncore.observe(...) as watch:` around a loop"
            )
        ours = threading.get_ident() == self._thread
        if not ours:
            self._elsewhere = True
            self._refuse("step: in another thread than the observation; expected the one that entered it")
        step = self.position
        self._steering.last_started += 1
        self._guarded(lambda: self._answer_requests(step))
        return ObservedStep(
            self._net,
            self._optimizer,
            step=step,
            measured=ours and self._measures(step),
            logged=ours and self._open and self._writes and step % self._described.log_every == 0,
            section=partial(self._sections, "step") if ours else nullcontext,
            done=self._finish if ours else lambda _: None,
            guard=self._guarded,
            own=self._own,
            given=() if inputs is ABSENT else (inputs, targets),
        )

    def _measures(self, step: int) -> bool:
        """Whether to measure at this step; until a first step has been recomputed, every step is tried."""
        wanted = self._layer_map is None or bool(self._probes.due(step))
        return wanted and self._all_measure()

    def _all_measure(self) -> bool:
        """Whether every participating process still measures; otherwise one would wait for another forever."""
        if not self._given_up:
            self._given_up = not self._recomputation.processes.agree(self._open and self._measuring)
        return not self._given_up

    def _answer_requests(self, step: int) -> None:
        self._steering.before_step(step)

    def _write(self, kind: str, step: int, **fields: Any) -> None:
        """Journal an event."""
        if self._writes:
            self._journal.append(kind, step, **fields)

    def record_eval(
        self,
        *,
        train_loss: float | None = None,
        train_accuracy: float | None = None,
        test_loss: float | None = None,
        test_accuracy: float | None = None,
    ) -> None:
        """Journal an evaluation that the loop made of the current model."""
        fields = {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        self._guarded(lambda: self._write_numbers("eval", given))

    def log(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Journal the loop's own numbers; each name gets a chart. Use ``watch.log(val_loss=0.3)``, or a mapping
        for names such as ``val/loss``. Each tensor is read back, which synchronizes with its device."""
        self._guarded(lambda: self._write_numbers("log", {**(values or {}), **named}))

    def _write_numbers(self, kind: Literal["eval", "log"], values: Mapping[str, Any]) -> None:
        try:
            numbers = numbers_of(values, kind)
        except ValueError as error:
            self._refuse(str(error))
            return
        self._write(kind, self.position, **numbers)

    def _refuse(self, reason: str) -> None:
        """Handle an invalid call: warn, or raise if `on_error` is ``raise``."""
        if self._on_error == "raise":
            raise ObserveError(reason)
        warn(reason)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            self._guarded(lambda: self._end(kind, error))
        finally:
            if self._open:
                self._close()
        return kind is StopObserved

    def _finish(self, step: ObservedStep) -> None:
        measured = step.measured and self._all_measure()
        self._guarded(lambda: self._after(step, measured))

    def _after(self, step: ObservedStep, measured: bool) -> None:
        if step.step != self.position:
            raise ObserveError("step: made within another, or twice; expected one update after the other")
        self.position += 1
        with self._recomputation.processes.together() if measured else nullcontext():
            self._write_step(step)
        if measured and (self._recomputation.strict or not step.skipped):
            with self._sections("probes"):
                self._measure(step)
        if self._writes:
            self._heartbeat.step = self.position

    def _write_step(self, step: ObservedStep) -> None:
        if step.logged:
            fields = {
                "loss": step.loss,
                "accuracy": step.accuracy,
                "lr": None if math.isnan(step.lr) else step.lr,  # parameter groups may have different ones
                "grad_norm": step.grad_norm,
            }
            known = {name: float(value) for name, value in fields.items() if value is not None}
            self._write("step", step.step, **known)
        if step.skipped:
            self._write("skipped", step.step, reason=step.skipped)
        if step.skipped == NO_UPDATE:
            self._warn_once(NO_UPDATE)
        if step.updates > 1:
            self._warn_once(f"step: {step.updates} updates within one `with watch.step(...)`; expected one")

    def _measure(self, step: ObservedStep) -> None:
        with undisturbed(self._net, step.modes):
            try:
                with self._recomputation.processes.together():
                    captured, recomputed = self._recomputed(step)
                    self._describe(step, recomputed)
            except StoreError:
                raise
            except Exception as error:
                self._not_recomputed(step.step, error)
                return
            self._layer_map = recomputed.view.layer_map
            with self._recomputation.precision(captured):
                self._run_probes(recomputed)

    def _describe(self, step: ObservedStep, recomputed: RecomputedStep) -> None:
        if self._layer_map is None:
            check_layers(self._described.probes, len(recomputed.view.weights))
            if self._writes:
                write_meta(self.run, self._described.device, recomputed.view.weights)
        self._announce(step, recomputed)

    def _recomputed(self, step: ObservedStep) -> tuple[CapturedStep, RecomputedStep]:
        captured = step.captured()
        if self._recomputation.strict:
            for oddity in step.oddities():
                raise ObserveError(oddity)
        return captured, self._recomputation.of(captured, self._layer_map)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned and not self._recomputation.strict:  # strict: such a loop is refused
            self._warned.add(text)
            warn(text)

    def _announce(self, step: ObservedStep, recomputed: RecomputedStep) -> None:
        announced = [(text.partition(":")[0], text) for text in step.oddities()]
        announced += announcements(self._net, self._described.probes, recomputed).items()
        for key, text in announced:
            if key not in self._warned:
                self._warned.add(key)
                self._write("warning", step.step, text=text)

    def _run_probes(self, recomputed: RecomputedStep) -> None:
        step, fidelity = recomputed.view.step, recomputed.fidelity
        doubted: dict[str, Any] = {} if fidelity.faithful else {"faithful": False}
        results = list(self._probes.measure(recomputed.view))  # all passes first: other processes wait
        self._write("probe", step, name="fidelity", **fidelity.fields())
        for result in results:
            if isinstance(result, Measured):
                self._write("probe", step, name=result.name, **result.fields, **doubted)
            else:
                self._write("probe_failed", step, **result.fields)
                self._probe_failed(step, result.name, result.reason)
            self._measured.add(result.name)

    def _probe_failed(self, step: int, name: str, reason: str) -> None:
        if self._on_error == "raise":
            raise ObserveError(f"probe {name} failed at step {step}: {reason}")
        if name not in self._measured:
            what = f"probe {name} failed at its first measurement, step {step}"
            warn(f"{what}: {reason}")

    def _not_recomputed(self, step: int, error: Exception) -> None:
        """Handle a step that could not be recomputed: the loop is refused if none has been yet; otherwise only
        this measurement fails."""
        reason = str(error) if isinstance(error, ObserveError) else f"{type(error).__name__}: {error}"
        if self._layer_map is None:
            if isinstance(error, ObserveError):
                raise error
            raise ObserveError(f"the first step cannot be recomputed: {reason}") from error
        for name in self._probes.due(step):
            self._write("probe_failed", step, name=name, reason=reason)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if kind is None or kind is StopObserved:
            if not self.position:
                where = (
                    "in the thread that entered the observation" if self._elsewhere else "around each update"
                )
                self._write(
                    "warning", 0, text=f"no step was observed: expected `with watch.step(batch):` {where}"
                )
            digest = params_sha256(self._net)
            state = self._steering.end(self.position, digest)
            self._write("finished", self.position, state=state, params_sha256=digest)
            self._journal.sync()
            self._heartbeat.steps = self.position if state == "finished" else self._heartbeat.steps
            self._heartbeat.stop(state, "" if state == "finished" else "stopped by request")
        elif issubclass(kind, Exception):
            self._heartbeat.stop("failed", f"{kind.__name__}: {error}")
        else:
            self._heartbeat.stop("stopped", f"the loop was left by {kind.__name__}")

    def _guarded(self, work: Callable[[], object]) -> object:
        """Call `work()` unless the run is closed. If it fails, training continues without probes, or unobserved if
        the run directory can no longer be written. The error is raised instead if `on_error` is ``raise``."""
        if not self._open:
            return None
        try:
            return work()
        except StopObserved:
            raise
        except StoreError as error:
            self._unobserved(error)
        except Exception as error:
            self._without_probes(error)
        return None

    def _unobserved(self, error: StoreError) -> None:
        if isinstance(error, AlreadyOwnedError):
            self._heartbeat.abandon()
        else:
            self._heartbeat.stop("failed", str(error))
        self._close()
        if self._on_error == "raise":
            raise error
        warn(f"no longer observed: {error}")

    def _without_probes(self, error: Exception) -> None:
        if self._on_error == "raise":
            raise error
        self._measuring = False
        reason = str(error) if isinstance(error, ObserveError) else f"{type(error).__name__}: {error}"
        text = f"the probes are taken away: {reason}"
        if text not in self._warned:
            self._warned.add(text)
            warn(f"observed without probes from now on: {reason}")
            self._guarded(lambda: self._write("warning", self.position, text=text))

    def _close(self) -> None:
        self._open = False
        self._steering.close()
        self._heartbeat.abandon()
        self._journal.close()
        self._ownership.release()


class Companion(Observation):
    """The observation in every process but the first. It writes nothing, but takes part in measurements that all
    processes make together."""

    _writes = False

    def __enter__(self) -> Observation:
        self._open = self._entered = True
        self._measuring = self._measuring and self._recomputation.processes.joined
        self._listening = True
        self._steering.peers.announce()
        self._sections = Sections(KNOWN_PARTS)
        self._thread = threading.get_ident()
        return self

    def _answer_requests(self, step: int) -> None:
        self._listening = self._listening and self._steering.follow(step)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        pass

    def _close(self) -> None:
        self._open = False
