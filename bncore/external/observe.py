"""`observe`: the instruments around a training loop that is somebody's own."""

from __future__ import annotations

import errno
import math
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import tomli_w
import torch
from torch import Tensor, nn

from bncore.config.model import Spec
from bncore.config.observed import Observed, check_probes, observed, observed_to_toml
from bncore.config.probes import Probes
from bncore.external.checks import PRECISIONS, ObserveError, check_layers, check_observable, unwrapped
from bncore.external.observed_step import ObservedStep
from bncore.external.ready_controls import Controls
from bncore.external.recomputed_step import Criterion, RecomputedStep, reproduced
from bncore.external.steering import OnCheckpoint, OnEvaluate, Steering, StopObserved
from bncore.probes.guard import undisturbed
from bncore.probes.layer_map import LayerMap
from bncore.probes.run import Measured, ProbeRunner
from bncore.store.errors import AlreadyOwnedError, StoreError
from bncore.store.files import replace_file
from bncore.store.journal import SCHEMA, Journal
from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.train.digest import params_sha256
from bncore.train.environment import environment
from bncore.train.heartbeat import Heartbeat

DEFAULT_PROBES: Mapping[str, Any] = {"landscape": {"every": 100}, "activations": {"every": 100}}


def observe(
    model: nn.Module,
    loss_fn: Criterion,
    optimizer: torch.optim.Optimizer,
    *,
    run: str | os.PathLike[str],
    probes: Mapping[str, Any] = DEFAULT_PROBES,
    steps: int = 0,
    log_every: int = 1,
    seed: int = 0,
    title: str = "",
    on_checkpoint: OnCheckpoint | None = None,
    on_evaluate: OnEvaluate | None = None,
) -> Observation:
    """Watch a training loop: journal its losses, measure with the probes, into a run directory.

    A context; each update is made within its `step`::

        with bncore.observe(model, loss_fn, optimizer, run="runs/mine/resnet") as watch:
            for inputs, targets in loader:
                with watch.step(inputs, targets) as step:
                    optimizer.zero_grad()
                    loss = loss_fn(model(inputs), targets)
                    loss.backward()
                    optimizer.step()
                    step.record(loss)

    The training stays as it is, bit by bit: parameters, buffers, gradients, optimiser state, modes, generators
    (torch's, Python's, numpy's), hooks. Dropout and the like meet the same draws in every pass of a probe as in
    the step. The first step, and each one that is measured, is recomputed from what was copied of it and compared:
    a loop whose gradient is another than that of the loss on the batch is refused at the first step, and later
    such a step is journaled as ``probe_failed``. An exception in the loop leaves the run `failed`, Ctrl-C
    `stopped`.

    Arguments:
        model: any module on one device, in float32 or float64.
        loss_fn: the data loss of the model's outputs and the targets, one number.
        optimizer: its learning rate is the unit of the landscape's step lengths.
        run: the run's directory, new or empty. Where its parent is new or empty too, it becomes a sweep's
            directory, which `bnrun ls` lists.
        probes: settings by name, as under ``[spec.probes]`` of an experiment; all but `theory`.
        steps: how many updates there will be; 0: not known.
        log_every: journal loss, learning rate and gradient's norm every so many steps; each waits for the device.
        seed: of what the probes draw.
        title: a heading.
        on_checkpoint: called with the step where a person requests a checkpoint; saves what the loop wants saved.
        on_evaluate: called where a person requests an evaluation; gives the numbers to be journaled, by name.

    Raises:
        ObserveError: the model, the optimiser or a probe cannot be observed rightly.
        SpecError: settings that make no sense.
        StoreError: the directory holds something, or cannot be written.
    """
    chosen = check_probes(probes)
    check_observable(model, optimizer, chosen)
    net = unwrapped(model)
    first = next(net.parameters())
    described = observed(
        title=title,
        model=type(net).__name__,
        loss=str(getattr(loss_fn, "__qualname__", None) or type(loss_fn).__name__),
        optimizer=_described(optimizer),
        parameters=sum(p.numel() for p in net.parameters() if p.requires_grad),
        precision=PRECISIONS[first.dtype],
        device=str(first.device),
        threads=torch.get_num_threads(),
        steps=steps,
        seed=seed,
        log_every=log_every,
        probes=chosen,
    )
    steering = Steering(RunDir(Path(run).resolve()), net, on_checkpoint, on_evaluate)
    return Observation(net, loss_fn, optimizer, described, steering)


class Observation(Controls):
    """A run that watches a loop; made by `observe`, which says what it does."""

    def __init__(
        self,
        net: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        described: Observed,
        steering: Steering,
    ) -> None:
        super().__init__(net, optimizer, steering, seed=described.seed)
        self.run = steering.run
        self.position = 0
        """Updates seen."""
        self._criterion = criterion
        self._described = described
        self._probes = ProbeRunner(Spec().model_copy(update={"probes": described.probes}))
        self._layer_map: LayerMap | None = None
        self._clipping_told = False
        self._measured: set[str] = set()  # probes that have measured, or failed to
        self._open = False
        self._entered = False

    def __enter__(self) -> Observation:
        _make_directory(self.run)
        with ExitStack() as opened:
            self._ownership = acquire(self.run)
            opened.callback(self._ownership.release)
            replace_file(self.run.spec_file, observed_to_toml(self._described).encode())
            self._write_meta()
            self._journal = Journal(self.run.journal_file, self._ownership.is_valid)
            opened.callback(self._journal.close)
            about = {"title": self._described.title, "data": "external training loop"}
            self._journal.append("start", 0, schema=SCHEMA, observed=True, **about)
            self._heartbeat = Heartbeat(self.run, self._ownership, steps=self._described.steps)
            self._heartbeat.start()
            self._steering.open(self._journal, self._heartbeat)
            opened.pop_all()
        self._open = self._entered = True
        return self

    def step(self, inputs: Tensor, targets: Any) -> ObservedStep:
        """A context around the making of one update on a batch, given as the model and `loss_fn` meet it.

        What a person has requested is answered first, and a pause waited for.

        Raises:
            ObserveError: the observation was never entered.
            StopObserved: a person has requested a stop.
        """
        if not self._entered:
            raise ObserveError(
                "observe: not entered; expected `with bncore.observe(...) as watch:` around a loop"
            )
        step = self.position
        self._unless_store_fails(lambda: self._steering.before_step(step))
        return ObservedStep(
            self._net,
            self._optimizer,
            step=step,
            batch=(inputs, targets),
            measured=self._open and (self._layer_map is None or bool(self._probes.due(step))),
            logged=self._open and step % self._described.log_every == 0,
            done=self._after,
        )

    def record_eval(
        self,
        *,
        train_loss: float | None = None,
        train_accuracy: float | None = None,
        test_loss: float | None = None,
        test_accuracy: float | None = None,
    ) -> None:
        """Journal an evaluation that the loop made of the model as it is now."""
        fields = _known(
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
        )
        self._unless_store_fails(lambda: self._journal.append("eval", self.position, **fields))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            self._unless_store_fails(lambda: self._end(kind, error))
        finally:
            if self._open:
                self._close()
        return kind is StopObserved

    def _after(self, step: ObservedStep) -> None:
        if step.step != self.position:
            raise ObserveError("step: made within another, or twice; expected one update after the other")
        self._unless_store_fails(lambda: self._tell(step))
        self.position += 1
        if self._open:
            self._heartbeat.step = self.position

    def _tell(self, step: ObservedStep) -> None:
        if step.logged:
            fields = _known(loss=step.loss, accuracy=step.accuracy, lr=step.lr, grad_norm=step.grad_norm)
            if math.isnan(step.lr):  # groups of parameters with rates of their own
                del fields["lr"]
            self._journal.append("step", step.step, **fields)
        if step.measured:
            self._measure(step)

    def _measure(self, step: ObservedStep) -> None:
        with undisturbed(self._net, step.modes):
            try:
                again = reproduced(
                    self._net,
                    self._criterion,
                    step.caught(),
                    seed=self._described.seed,
                    layer_map=self._layer_map,
                )
            except Exception as error:
                self._not_reproduced(step.step, error)
                return
            if self._layer_map is None:
                self._layer_map = again.view.layer_map
                check_layers(self._described.probes, len(again.view.weights))
                self._write_meta(layers=again.view.weights)
                for text in _announcements(self._net, self._described.probes, again):
                    self._journal.append("warning", step.step, text=text)
            elif again.scale < 1 and not self._clipping_told:
                self._journal.append("warning", step.step, text=_clipped(again))
            self._clipping_told = self._clipping_told or again.scale < 1
            for result in self._probes.measure(again.view):
                if isinstance(result, Measured):
                    self._journal.append("probe", step.step, name=result.name, **result.fields)
                else:
                    self._journal.append("probe_failed", step.step, **result.fields)
                    if result.name not in self._measured:
                        what = f"probe {result.name} failed at its first measurement, step {step.step}"
                        warnings.warn(f"{what}: {result.reason}", RuntimeWarning, stacklevel=6)
                self._measured.add(result.name)

    def _not_reproduced(self, step: int, error: Exception) -> None:
        """A loop that is not understood from the first is refused; later only the measurement is."""
        if self._layer_map is None:
            if isinstance(error, ObserveError):
                raise error
            why = f"{type(error).__name__}: {error}"
            raise ObserveError(f"the first step cannot be recomputed: {why}") from error
        for name in self._probes.due(step):
            reason = str(error) if isinstance(error, ObserveError) else f"{type(error).__name__}: {error}"
            self._journal.append("probe_failed", step, name=name, reason=reason)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if kind is None or kind is StopObserved:
            digest = params_sha256(self._net)
            state = self._steering.end(self.position, digest)
            self._journal.append("finished", self.position, state=state, params_sha256=digest)
            self._journal.sync()
            self._heartbeat.steps = self.position if state == "finished" else self._heartbeat.steps
            self._heartbeat.stop(state, "" if state == "finished" else "stopped by request")
        elif issubclass(kind, Exception):
            self._heartbeat.stop("failed", f"{kind.__name__}: {error}")
        else:
            self._heartbeat.stop("stopped", f"the loop was left by {kind.__name__}")

    def _unless_store_fails(self, work: Callable[[], object]) -> None:
        """`work()`; where the run directory can no longer be written, the training continues unobserved."""
        if not self._open:
            return
        try:
            work()
        except StoreError as error:
            warnings.warn(f"no longer observed: {error}", RuntimeWarning, stacklevel=4)
            if isinstance(error, AlreadyOwnedError):
                self._heartbeat.abandon()
            else:
                self._heartbeat.stop("failed", str(error))
            self._close()

    def _close(self) -> None:
        self._open = False
        self._steering.close()
        self._heartbeat.abandon()
        self._journal.close()
        self._ownership.release()

    def _write_meta(self, layers: list[str] | None = None) -> None:
        meta: dict[str, Any] = environment(torch.device(self._described.device))
        meta["data"] = {"source": "observed"}
        if layers is not None:
            meta["layers"] = layers
        replace_file(self.run.meta_file, orjson.dumps(meta, option=orjson.OPT_INDENT_2))


def _known(**fields: float | Tensor | None) -> dict[str, float]:
    return {name: float(value) for name, value in fields.items() if value is not None}


def _announcements(net: nn.Module, probes: Probes, again: RecomputedStep) -> list[str]:
    """What is not as in a run of our own."""
    found, view = [], again.view
    if probes.ics.every:
        passes = len(probes.ics.layers or view.weights)
        found.append(
            f"ics: the network is none of bncore.nets, so it is measured layer by layer, at {passes} forward and "
            f"backward passes per measurement, every {probes.ics.every} steps"
        )
    if view.draws is not None:
        found.append(
            "the forward pass draws at random: probes make it with the step's own draws; there is no noise floor, "
            "because in another order the samples would meet each other's draws"
        )
    if again.scale < 1:
        found.append(_clipped(again))
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules()):
        found.append("the model has hooks of its own: the probes' passes call them too")
    return found


def _clipped(again: RecomputedStep) -> str:
    return (
        f"the gradient is clipped or scaled down before the update, here to {again.scale:.3g} of that of the "
        "loss: grad_norm is what is left of it, probes measure that of the loss"
    )


def _make_directory(run: RunDir) -> None:
    """Make the run's directory, and its parent a sweep's where nothing else is in it."""
    parent = run.path.parent
    try:
        fresh = not parent.exists() or not any(parent.iterdir())
        run.path.mkdir(parents=True, exist_ok=True)
        if any(run.path.iterdir()):
            raise FileExistsError(errno.EEXIST, "exists and is not an empty directory")
        run.inbox.mkdir()
        if fresh:
            run.sweep.sweep_file.write_text(
                tomli_w.dumps({"notes": ["observed training loops"], "queue": []})
            )
    except OSError as error:
        raise StoreError(f"{run.path}: cannot be written: {error.strerror}") from error


def _described(optimizer: torch.optim.Optimizer) -> str:
    """The class and its plain settings, ``SGD(lr=0.1, momentum=0.9, ...)``."""
    settings = []
    for name, value in optimizer.param_groups[0].items():
        plain: object = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if name != "params" and isinstance(plain, int | float | tuple | str) and plain is not False:
            with suppress(ValueError):
                settings.append(f"{name}={plain}")
    return f"{type(optimizer).__name__}({', '.join(settings)})"


__all__ = ["Observation", "ObserveError", "ObservedStep", "StopObserved", "observe"]
