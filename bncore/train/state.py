"""The training state (network, data, optimizer) and its step. Reads and writes no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bncore.config.model import Spec
from bncore.config.single_value import single_value_conflicts
from bncore.config.stability import stability_threshold
from bncore.data.dataset import Dataset, Split
from bncore.nets import ForwardMode, LayeredNet, accuracy, build, criterion
from bncore.probes.guard import ieee_float32
from bncore.probes.view import Parameters, StepView
from bncore.train.optimizer import (
    build_optimizer,
    decayed,
    grad_norm,
    learning_rate,
    rate_on_device,
    set_learning_rate,
    step_by_relative_length,
    trained,
    weight_penalty,
)
from bncore.train.running_statistics import StatisticsBackup
from bncore.train.usage import Sections

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
"""Memory layouts of images and convolutions by `memory_format`, except auto."""
FASTEST = {"cuda": torch.channels_last}
"""The fastest layout by device type, unless it is contiguous."""
REDUCED = ("tf32", "bfloat16")
"""Precisions whose gradients are too coarse for differences: views recompute theirs in IEEE float32."""

Batch = tuple[Tensor, Tensor]
"""Inputs and targets."""


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Contents of one step's journal event, at theta_s and on the step's own batch.

    `loss` is the data loss, `penalty` the weight penalty (wd/2)*||theta||^2, `grad_norm` the norm of the data
    loss's gradient, and `accuracy` the fraction of the batch classified correctly (None for regression).
    """

    loss: float
    penalty: float
    accuracy: float | None
    lr: float
    grad_norm: float
    finite: bool = True
    """Whether the data loss and its gradient are finite; if not, the update was not made."""


@dataclass(frozen=True, slots=True)
class DeviceMetrics:
    """The numbers of a `StepMetrics` while they are still on the device."""

    tensors: tuple[Tensor, ...]
    """0-d tensors: the loss; if the step is recorded, also gradient norm, penalty and accuracy, the last two if
    they exist."""
    lr: float
    penalized: bool = False

    def record(self, values: Sequence[float], *, finite: bool = True) -> StepMetrics:
        """The `StepMetrics` made from the values of `tensors`."""
        loss, grad_norm, *rest = values
        penalty = rest.pop(0) if self.penalized else 0.0
        return StepMetrics(loss, penalty, rest[0] if rest else None, self.lr, grad_norm, finite)


class TrainState:
    """The in-memory state of one training run, and the step that advances it.

    Arguments:
        spec: the resolved specification.
        data: the data, resident on the device that the network is to use.
        sections: measures the time of each part; default: a private one.

    Raises:
        ValueError: a norm's statistic would be computed from a single value.
    """

    def __init__(self, spec: Spec, data: Dataset, sections: Sections | None = None) -> None:
        _refuse_single_values(spec, data)
        self.spec = spec
        self.data = data
        self.sections = sections or Sections()
        net = build(spec, inputs=data.input_shape, outputs=data.outputs)
        device = data.train_inputs.device
        self.layout = layout_of(spec.memory_format, device)
        """Memory layout of images and convolutions."""
        self.net: LayeredNet = net.to(device).to(memory_format=self.layout)
        self.criterion = criterion(spec.loss)
        self.parameters = list(self.net.parameters())
        self.view: StepView | None = None
        """The view of the last step, if that was observed."""
        self.unseen: Exception | None = None
        """Why the last step has no view although it should have been observed."""
        self.optimizer = build_optimizer(spec.optim, self.parameters)
        self._statistics = StatisticsBackup(self.net)
        self.generation = 0
        """Incremented whenever the step becomes a different computation, or uses different memory."""

    def change(self, spec: Spec) -> None:
        """Change norm, noise or learning rate (`bncore.config.change`); the rest of `spec` must be the same.

        gamma, beta and the optimizer's state are kept.

        Raises:
            ValueError: the norm does not fit a layer; nothing has changed.
        """
        if spec.norm != self.spec.norm:
            self.net.set_norm(spec.norm)
        if spec.noise != self.spec.noise:
            self.net.set_noise(spec.noise)
        self.generation += (spec.norm, spec.noise) != (self.spec.norm, self.spec.noise)
        self.spec = spec

    def try_change(self, spec: Spec, step: int) -> None:
        """Check that step `step` is possible with the norm and noise of `spec`, by a forward and backward pass on
        its batch that leaves the state unchanged.

        Raises:
            ValueError, RuntimeError: it is not possible; the error is that of torch or of the norm.
        """
        if (spec.norm, spec.noise) == (self.spec.norm, self.spec.noise):
            return
        _refuse_single_values(spec, self.data)
        with self.net.with_settings(spec.norm, spec.noise):
            inputs, targets = self.data.batch(step)
            loss = self.criterion(self.outputs(inputs, ForwardMode(noise_step=step)), targets)
            torch.autograd.grad(loss, self.parameters, allow_unused=True)

    def step(self, step: int, *, record: bool = True, observe: bool = False) -> StepMetrics | None:
        """Compute the gradient of step `step` and apply the optimizer's update.

        A step whose loss or gradient is not finite is recorded but *not* applied: parameters, running statistics
        and the optimizer's state stay those of theta_s.

        Arguments:
            record: whether to return a record.
            observe: whether to store a `StepView` of this step in `self.view`, which costs a copy of the
                parameters and buffers.

        Returns:
            The record, or None if `record` is False and the update was made.
        """
        before, self.unseen = None, None
        if observe:
            try:
                before = self._frozen_state()
            except Exception as error:
                self.unseen = error
        batch, lr = self.prepare(step)
        self._statistics.save()
        outputs, loss = self._gradient(batch, step)
        data_loss, overflow = torch.stack((loss.detach(), self._overflow())).tolist()
        finite = math.isfinite(data_loss) and not overflow
        result = None
        if record or not finite:
            numbers = self._numbers(loss, outputs, batch[1], lr)
            result = numbers.record([tensor.item() for tensor in numbers.tensors], finite=finite)
        if finite:
            self._update(lr)
        else:
            self._statistics.restore()
        if before is not None:
            self.view = self._view(step, before=before, batch=batch, loss=data_loss, lr=lr)
        return result

    def update(self, step: int, *, record: bool) -> DeviceMetrics:
        """As `step`, without waiting for the device: the update is made whether or not the loss is finite, and the
        numbers stay on the device."""
        batch, lr = self.prepare(step)
        return self.make(batch, step, lr, record=record)

    def prepare(self, step: int) -> tuple[Batch, float]:
        """The batch and the learning rate of a step; the latter is also set in the optimizer."""
        lr = learning_rate(self.spec.optim.schedule, self.spec.optim.lr, step, self.spec.steps)
        set_learning_rate(self.optimizer, lr)
        with self.sections("data"):
            inputs, targets = self.data.batch(step)
            return (self._laid_out(inputs), targets), lr

    def make(self, batch: Batch, step: int, lr: float, *, record: bool) -> DeviceMetrics:
        """The step itself, given the results of `prepare`; runs entirely on the device."""
        outputs, loss = self._gradient(batch, step)
        numbers = DeviceMetrics((loss.detach(),), lr)
        if record:
            numbers = self._numbers(loss, outputs, batch[1], lr)
        self._update(lr)
        return numbers

    @property
    def capturable(self) -> bool:
        """Whether the next step has the same operations and constants as later ones, until `generation` changes;
        False while the momentum of running statistics still varies after a restart of their averaging."""
        return all(norm.constant_momentum for norm in self.net.norms)

    def fixed_rate(self, lr: float) -> float | None:
        """The learning rate if it is a constant in the step's operations; None if they read it from memory."""
        return None if rate_on_device(self.optimizer) and not self.spec.optim.relative_update else lr

    def _gradient(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Outputs and loss on the batch; stores the gradient in the parameters' `grad`."""
        self.optimizer.zero_grad(set_to_none=True)
        how = ForwardMode(training=True, track=True, noise_step=step)
        outputs = self.outputs(batch[0], how)
        loss = self.criterion(outputs, batch[1])
        loss.backward()
        return outputs, loss

    def _laid_out(self, inputs: Tensor) -> Tensor:
        return inputs.contiguous(memory_format=self.layout) if inputs.ndim == 4 else inputs

    def outputs(self, inputs: Tensor, how: ForwardMode) -> Tensor:
        """The network's outputs, computed in the run's precision but returned in that of the parameters."""
        inputs = self._laid_out(inputs)
        if self.spec.precision != "bfloat16":
            return self.net.forward(inputs, how)
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return self.net.forward(inputs, how).float()

    def _update(self, lr: float) -> None:
        optim = self.spec.optim
        if optim.relative_update and lr:
            weights = [layer.weight for layer in self.net.layers if layer.weight.grad is not None]
            step_by_relative_length(self.optimizer, weights, optim.relative_update * lr / optim.lr)
        else:
            self.optimizer.step()

    def _frozen_state(self) -> tuple[Parameters, Parameters]:
        """Copies of the present parameters and buffers."""
        parameters = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        return parameters, {name: b.clone() for name, b in self.net.named_buffers()}

    def _view(
        self,
        step: int,
        *,
        before: tuple[Parameters, Parameters],
        batch: Batch,
        loss: float,
        lr: float,
    ) -> StepView:
        view = StepView(
            step=step,
            seed=self.spec.seed,
            net=self.net,
            criterion=self.criterion,
            inputs=batch[0],
            targets=batch[1],
            before=before[0],
            buffers=before[1],
            grads={name: p.grad for name, p in self.net.named_parameters() if p.grad is not None},
            loss=loss,
            lr=lr,
            weight_decay=self.spec.optim.weight_decay,
            decay=self.spec.optim.decay,
            stability=stability_threshold(self.spec.optim, lr, penalized=True),
        )
        if self.spec.precision not in REDUCED:
            return view
        with ieee_float32():
            exact, grads = view.gradient_at(view.before)
        return replace(view, loss=exact.item(), grads=grads)

    @torch.no_grad()
    def _overflow(self) -> Tensor:
        """1 if any element of the gradient is not finite, else 0. Uses torch's check for gradient scalers: one
        launch on a GPU, half a percent of a deep linear network's step on a CPU."""
        grads = [p.grad for p in trained(self.parameters) if p.grad is not None]
        overflow = grads[0].new_zeros(1, dtype=torch.float32)
        torch._amp_foreach_non_finite_check_and_unscale_(grads, overflow, torch.ones_like(overflow))
        return overflow[0]

    @torch.no_grad()
    def _numbers(self, loss: Tensor, outputs: Tensor, targets: Tensor, lr: float) -> DeviceMetrics:
        moved = trained(self.parameters)
        optim = self.spec.optim
        numbers = [loss.detach(), grad_norm(moved)]
        numbers += [weight_penalty(decayed(optim, moved), optim.weight_decay)] if optim.weight_decay else []
        numbers += [accuracy(outputs, targets)] if self.data.classes else []
        return DeviceMetrics(tuple(numbers), lr, penalized=bool(optim.weight_decay))

    @torch.no_grad()
    def largest(self) -> Tensor:
        """The largest absolute value of any parameter, a 0-d tensor. After an update with a non-finite gradient it
        is not finite either."""
        return torch.stack(torch._foreach_norm([p.detach() for p in self.parameters], float("inf"))).max()

    def state_dict(self) -> dict[str, Any]:
        """Everything on which the next step depends and that is not determined by spec, data or random keys.

        The tensors alias the live ones: write or clone them before the next step.
        """
        return {"net": self.net.state_dict(), "optimiser": self.optimizer.state_dict()}

    def tensors(self) -> list[Tensor]:
        """All tensors that a step changes: parameters, statistics and the optimizer's state."""
        states = (state.values() for state in self.optimizer.state.values())
        moments = [value for values in states for value in values if isinstance(value, Tensor)]
        return [*self.parameters, *self.net.buffers(), *moments]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.net.load_state_dict(state["net"])
        own = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimiser"])
        for group, lr in zip(self.optimizer.param_groups, own, strict=True):
            if isinstance(lr, Tensor):
                group["lr"] = lr.fill_(float(group["lr"]))
        self.generation += 1


def _refuse_single_values(spec: Spec, data: Dataset) -> None:
    """Raise ValueError if a norm's statistic would be computed from a single value."""
    conflicts = single_value_conflicts(spec, samples=len(data.train_inputs), outputs=data.outputs)
    for field, value, accepted in conflicts:
        raise ValueError(f"{field}: {value!r}; expected {accepted}")


def layout_of(memory_format: str, device: torch.device) -> torch.memory_format:
    """The memory layout for a spec's `memory_format` on a device."""
    return LAYOUTS.get(memory_format) or FASTEST.get(device.type, torch.contiguous_format)


@torch.no_grad()
def evaluate(session: TrainState, step: int) -> dict[str, float]:
    """Losses and accuracies of theta_s over (a part of) the training set and the test set, in evaluation mode.

    Returns:
        train_loss, test_loss and, for classification, train_accuracy, test_accuracy. With a mean reduction the
        loss is the mean over all samples, with a sum reduction their sum.
    """
    spec = session.spec.eval
    how = ForwardMode(training=False, noise_step=step)
    mean = session.spec.loss.reduction == "mean"
    result: dict[str, float] = {}
    splits: tuple[tuple[Split, int], ...] = (("train", spec.train_samples), ("test", spec.test_samples))
    for split, samples in splits:
        sizes, losses, shares = [], [], []
        for inputs, targets in session.data.eval_batches(split, samples, spec.batch_size):
            outputs = session.outputs(inputs, how)
            sizes.append(len(inputs))
            losses.append(session.criterion(outputs, targets))
            shares += [accuracy(outputs, targets)] if session.data.classes else []
        seen = sum(sizes)
        fetched = torch.stack(losses + shares).tolist()  # waits for the device once per split, not per batch
        total = sum(loss * (n if mean else 1) for loss, n in zip(fetched, sizes, strict=False))
        result[f"{split}_loss"] = total / seen if mean else total
        if shares:
            right = sum(share * n for share, n in zip(fetched[len(losses) :], sizes, strict=True))
            result[f"{split}_accuracy"] = right / seen
    return result
