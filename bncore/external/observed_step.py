"""One step of an external training loop while it runs: what is copied from it, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from bncore.external.checks import ObserveError, learning_rate, rates_of, stability
from bncore.external.recomputed_step import CapturedStep
from bncore.probes.batches import MicroBatch, RngState, copied
from bncore.probes.guard import Autocast

ABSENT: Any = object()
"""Marks an argument that was not given."""
NO_UPDATE = "no update was made within the step: is optimizer.step() inside the `with watch.step(...)` block?"
Guard = Callable[[Callable[[], object]], object]
"""Runs work of the observer and shields the loop from its errors."""


class ObservedStep:
    """A context around everything that makes one update: forward pass, backward pass, and optimizer step.

    In a measured step, parameters, buffers and generator states are copied at its start, and gradients just before
    the update, which an optimizer hook reports; the hook is removed at the end. If a context does not fit a loop,
    use `begin` and `end` instead.

    Arguments:
        net, optimizer: the loop's own.
        step: number of the step.
        measured: whether to copy what the probes need.
        logged: whether to compute the fields of a `step` event.
        section: makes the context that counts the time until the end.
        done: called at the end, unless the step raised.
        guard: wrapper around all work of the observer.
        own: the network's known parameters, shared by all steps; refreshed if the optimizer has others.
        given: inputs and targets of a step on one batch.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        step: int,
        measured: bool,
        logged: bool,
        section: Callable[[], AbstractContextManager[None]],
        done: Callable[[ObservedStep], None],
        guard: Guard,
        own: set[Tensor],
        given: tuple[Any, ...] = (),
    ) -> None:
        self.step = step
        self.measured = measured
        self.logged = logged
        self.accuracy: float | Tensor | None = None
        self.lr = float("nan")
        self.modes: dict[nn.Module, bool] = {}
        """Whether each module was in train mode at the update."""
        self.updates = 0
        """Number of optimizer steps made."""
        self._net = net
        self._optimizer = optimizer
        self._section = section
        self._done = done
        self._guard = guard
        self._own = own
        self._given = given
        self._captured = CapturedStep(step)
        self._losses: list[Tensor | float] = []
        self._closure = self._scaled = False
        self._found_inf: Tensor | None = None
        self._norms: Tensor | None = None  # of each parameter's gradient
        self._changed = ""
        self._contexts = ExitStack()  # entered by the step

    def batch(self, inputs: Any, targets: Any = ABSENT, *, weight: float = 1.0) -> None:
        """Report the next micro-batch before its forward pass, if gradients are accumulated::

            with watch.step() as step:
                for batch in micro_batches:
                    step.batch(batch, weight=1 / len(micro_batches))
                    loss = loss_of(model, batch) / len(micro_batches)
                    loss.backward()
                optimizer.step()

        Arguments:
            inputs, targets: as for `Observation.step`.
            weight: factor of this batch's loss in the backward pass.
        """
        if self.measured:
            given = inputs if targets is ABSENT else (inputs, targets)
            self._guard(
                lambda: self._captured.micro_batches.append(MicroBatch(copied(given), weight, RngState.now()))
            )
        elif self.logged:
            self._captured.micro_batches.append(MicroBatch(None, weight))

    def record(self, loss: Tensor | float, *, accuracy: Tensor | float | None = None) -> None:
        """Record the step's loss, as the loss function returned it, and the share of the batch that was classified
        correctly. If called once per micro-batch, the step's loss is their weighted sum."""
        self._guard(lambda: self._record(loss, accuracy))

    def _record(self, loss: Tensor | float, accuracy: Tensor | float | None) -> None:
        self._losses.append(_one_number("loss", loss))
        self.accuracy = None if accuracy is None else _one_number("accuracy", accuracy)

    @property
    def loss(self) -> float | None:
        if len(self._losses) > 1 and len(self._losses) == len(self._captured.micro_batches):
            pairs = zip(self._captured.micro_batches, self._losses, strict=True)
            return sum(micro.weight * float(loss) for micro, loss in pairs)
        return float(self._losses[-1]) if self._losses else None

    @property
    def grad_norm(self) -> float | None:
        return None if self._norms is None else math.hypot(*self._norms.tolist())

    @property
    def skipped(self) -> str:
        """Why no update was made; empty if one was."""
        if self.updates and not (self._found_inf is not None and bool(self._found_inf)):
            return ""
        grads = [p.grad for p in self._net.parameters() if p.grad is not None]
        if self.updates or any(not bool(g.isfinite().all()) for g in grads):
            return "the gradient is not finite: the gradient scaler skipped the update"
        return NO_UPDATE

    def begin(self) -> ObservedStep:
        """Enter the step."""
        self._contexts.enter_context(self._section())
        self._guard(self._begin)
        if self._given:
            self.batch(*self._given)
        return self

    def end(self) -> None:
        """Leave the step after its update."""
        with self._contexts:
            self._done(self)
        self._captured = CapturedStep(self.step)  # frees the copies

    __enter__ = begin

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
            return
        self._contexts.close()

    def _begin(self) -> None:
        self._contexts.enter_context(self._optimizer.register_step_pre_hook(self._before_update))
        if self.measured:
            self._captured.autocast = Autocast.now(next(self._net.parameters()).device.type)
            self._captured.before = {name: p.detach().clone() for name, p in self._net.named_parameters()}
            self._captured.buffers = {name: b.detach().clone() for name, b in self._net.named_buffers()}

    def captured(self) -> CapturedStep:
        """What was copied from the step.

        Raises:
            ObserveError: no batch was given, or no update was made.
        """
        if not self._captured.micro_batches:
            raise ObserveError(
                "batch: none was given; expected watch.step(batch), or step.batch(batch) before each pass"
            )
        if self.updates == 0:
            raise ObserveError(
                "update: none was made within the step; expected one: accumulated gradients are one step with "
                "several batches (step.batch), and a gradient scaler skips updates"
            )
        self._captured.loss = self.loss
        return self._captured

    def oddities(self) -> Iterator[str]:
        """How the step differs from that of a plain loop; the strict check refuses any difference."""
        if not self._losses:
            yield "loss: not recorded; expected step.record(loss) within the step"
        if self.updates > 1:
            yield f"update: {self.updates} were made within the step; expected one"
        if self._closure:
            yield "update: optimizer.step was given a closure; expected a backward pass before it"
        if self._scaled:
            yield "gradient: a scaler's, still scaled; expected scaler.unscale_(optimizer) before the update"
        if self._captured.autocast.dtype is not None:
            yield "autocast: on around the step; expected float32 or float64: probes compare gradients"
        if self._changed:
            yield (
                f"parameters: {self._changed} was changed within the step before the update; expected nothing to "
                "change but by the update: the gradient would be that of other parameters than those it updates"
            )
        if self.updates and not self._net.training:
            yield "model: in evaluation mode at the update; expected train mode"

    def _same(self, name: str, parameter: Tensor) -> bool:
        """Whether a parameter is unchanged since the start of the step; NaN in both counts as unchanged."""
        then = self._captured.before.get(name)
        if then is None or then.shape != parameter.shape:
            return False
        return torch.equal(then, parameter) or bool(parameter.isnan().any() and then.isnan().any())

    def _before_update(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self.updates += 1
        if self.updates > 1 or not (self.measured or self.logged):
            return None
        closure = next((one for one in (*args[1:], *kwargs.values()) if callable(one)), None)
        if closure is None:
            self._guard(lambda: self._capture(optimizer))
            return None
        self._closure = True
        wrapped = self._capturing(closure, optimizer)
        replaced = tuple(wrapped if one is closure else one for one in args)
        return replaced, {name: wrapped if one is closure else one for name, one in kwargs.items()}

    def _capturing(self, closure: Callable[..., Any], optimizer: torch.optim.Optimizer) -> Callable[..., Any]:
        """The closure, wrapped to capture the step's gradient after its first call."""
        calls = 0

        def evaluate(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            loss = closure(*args, **kwargs)
            calls += 1
            if calls == 1:
                if not self._losses and isinstance(loss, Tensor | float):
                    self.record(loss)
                self._guard(lambda: self._capture(optimizer))
            return loss

        return evaluate

    @torch.no_grad()
    def _capture(self, optimizer: torch.optim.Optimizer) -> None:
        """Capture gradients and rates between the backward pass and the update."""
        self.lr = learning_rate(optimizer)
        scale = getattr(optimizer, "grad_scale", None)  # set by a scaler if the optimizer unscales itself
        self._scaled = scale is not None
        self._found_inf = getattr(optimizer, "found_inf", None)
        updated = [p for group in optimizer.param_groups for p in group["params"]]
        if self.measured or not self._own.issuperset(updated):
            self._own.clear()
            self._own.update(self._net.parameters())
        grads = {p: p.grad for p in updated if p in self._own and p.grad is not None}
        if scale is not None:
            grads = {p: g / scale for p, g in grads.items()}
        if self.logged and grads:
            dense = [g.coalesce().values() if g.is_sparse else g for g in grads.values()]
            self._norms = torch.stack(torch._foreach_norm(dense))
        if self.measured:
            named = dict(self._net.named_parameters())
            self._captured.stability = stability(optimizer)
            self._captured.rates = rates_of(self._net, optimizer)
            self._changed = next((name for name, p in named.items() if not self._same(name, p)), "")
            by_name = {name: grads[p] for name, p in named.items() if p in grads}
            self._captured.grads = {name: g if self._scaled else g.clone() for name, g in by_name.items()}
            self.modes = {module: module.training for module in self._net.modules()}


def _one_number(what: str, value: Tensor | float) -> Tensor | float:
    """A recorded number; a tensor is not read back.

    Raises:
        ObserveError: it is not one number.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach()
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise ObserveError(f"{what}: {type(value).__name__}{shape}; expected one number") from None
