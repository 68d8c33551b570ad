"""One step of somebody's own loop, while it is made: what is copied of it, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from bncore.external.checks import ObserveError, learning_rate, stability
from bncore.external.recomputed_step import CapturedStep
from bncore.probes.rng_state import RngState
from bncore.train.optimizer import grad_norm


class ObservedStep:
    """A context around everything that makes one update: forward pass, backward pass, the optimiser's step.

    At a step that is measured, parameters, buffers and generator states are copied at its beginning, gradients
    just before the update, which a hook of the optimiser reports; the hook is gone at its end.

    Arguments:
        net, optimizer: the loop's own.
        step, batch: the step's number, inputs and targets.
        measured: whether to copy what the probes need.
        logged: whether to compute what a `step` event says.
        done: called at the end, unless the step raised.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        step: int,
        batch: tuple[Any, Any],
        measured: bool,
        logged: bool,
        done: Callable[[ObservedStep], None],
    ) -> None:
        self.step = step
        self.measured = measured
        self.logged = logged
        self.accuracy: float | Tensor | None = None
        self.grad_norm: Tensor | None = None
        self.lr = self.stability = float("nan")
        self.modes: dict[nn.Module, bool] = {}
        """Which modules were in train mode at the update."""
        self._net = net
        self._optimizer = optimizer
        self._batch = batch
        self._done = done
        self._loss: Tensor | float | None = None
        self._updates = 0
        self._closure = self._scaled = self._autocast = False
        self._before: dict[str, Tensor] = {}
        self._changed = ""
        self._grads: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        self._draws: RngState | None = None

    def record(self, loss: Tensor | float, *, accuracy: Tensor | float | None = None) -> None:
        """Tell the step's loss, as `loss_fn` gave it, and the share of the batch that was classified rightly."""
        self._loss = loss.detach() if isinstance(loss, Tensor) else loss
        self.accuracy = accuracy.detach() if isinstance(accuracy, Tensor) else accuracy

    @property
    def loss(self) -> float | None:
        return None if self._loss is None else float(self._loss)

    def __enter__(self) -> ObservedStep:
        self._autocast = torch.is_autocast_enabled(next(self._net.parameters()).device.type)
        if self.measured:
            self._before = {name: p.detach().clone() for name, p in self._net.named_parameters()}
            self._buffers = {name: b.detach().clone() for name, b in self._net.named_buffers()}
            self._draws = RngState.now()
        self._hook = self._optimizer.register_step_pre_hook(self._before_update)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()
        if kind is None:
            self._done(self)

    def caught(self) -> CapturedStep:
        """What was copied.

        Raises:
            ObserveError: the step was not made as one update of one gradient.
        """
        for problem in self._problems():
            raise ObserveError(problem)
        inputs, targets = self._batch
        assert self._draws is not None and self.loss is not None
        return CapturedStep(
            self.step,
            inputs,
            targets,
            self.loss,
            self._before,
            self._grads,
            self._buffers,
            self._draws,
            self.lr,
            self.stability,
        )

    def _problems(self) -> Iterable[str]:
        if not isinstance(self._batch[0], Tensor):
            yield f"inputs: {type(self._batch[0]).__name__}; expected the tensor that the model is given"
        if self._loss is None:
            yield "loss: not recorded; expected step.record(loss) within the step"
        if self._updates == 0:
            yield (
                "update: none was made within the step; expected one: a gradient accumulated over several batches "
                "is not that of the batch that probes see, and a gradient scaler skips updates"
            )
        if self._updates > 1:
            yield f"update: {self._updates} were made within the step; expected one"
        if self._closure:
            yield "update: optimizer.step was given a closure; expected a backward pass before it"
        if self._scaled:
            yield "gradient: a scaler's, still scaled; expected scaler.unscale_(optimizer) before the update"
        if self._autocast:
            yield "autocast: on around the step; expected float32 or float64: probes compare gradients"
        if self._changed:
            yield (
                f"parameters: {self._changed} was changed within the step before the update; expected nothing to "
                "change but by the update: the gradient would be that of other parameters than those it updates"
            )
        if self._updates and not self._net.training:
            yield "model: in evaluation mode at the update; expected train mode"

    def _same(self, name: str, parameter: Tensor) -> bool:
        """Whether a parameter is what it was at the beginning of the step, to the bit but for NaN."""
        then = self._before.get(name)
        if then is None or then.shape != parameter.shape:
            return False
        return torch.equal(then, parameter) or bool(parameter.isnan().any() and then.isnan().any())

    def _before_update(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._updates += 1
        if self._updates > 1:
            return
        self._closure = any(callable(one) for one in (*args[1:], *kwargs.values()))
        self._scaled = getattr(optimizer, "grad_scale", None) is not None
        self.lr, self.stability = learning_rate(optimizer), stability(optimizer)
        updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = dict(self._net.named_parameters())
        reached = {name: p for name, p in named.items() if id(p) in updated and p.grad is not None}
        if self.logged and not self._closure:
            self.grad_norm = grad_norm(list(reached.values())) if reached else None
        if self.measured:
            self._changed = next((name for name, p in named.items() if not self._same(name, p)), "")
            self._grads = {name: p.grad.clone() for name, p in reached.items() if p.grad is not None}
            self.modes = {module: module.training for module in self._net.modules()}
