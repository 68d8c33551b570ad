"""What is trained: network, data and optimiser, and one step of them. It reads and writes no file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bncore.data import Dataset, Split
from bncore.nets import LayeredNet, Pass, accuracy, build, criterion
from bncore.probes.view import Parameters, StepView
from bncore.spec.model import Spec
from bncore.train.optimiser import (
    build_optimiser,
    grad_norm,
    set_learning_rate,
    step_by_relative_length,
    trained,
    weight_penalty,
)
from bncore.train.schedule import learning_rate


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step's journal event says, at theta_s and on the step's own batch.

    `loss` is the data loss, `penalty` the weight penalty (wd/2)*||theta||^2, `grad_norm` the norm of the data
    loss's gradient, `accuracy` the share of the batch classified rightly (None for regression).
    """

    loss: float
    penalty: float
    accuracy: float | None
    lr: float
    grad_norm: float

    @property
    def finite(self) -> bool:
        """Whether the data loss is a number; if not, the update was not made."""
        return math.isfinite(self.loss)


class Session:
    """The state of one training run in memory, and the step that advances it.

    Arguments:
        spec: the resolved specification.
        data: its data, resident on the device that the network is to live on.
    """

    def __init__(self, spec: Spec, data: Dataset) -> None:
        self.spec = spec
        self.data = data
        net = build(spec, inputs=data.input_shape, outputs=data.outputs)
        self.net: LayeredNet = net.to(data.train_inputs.device)
        self.criterion = criterion(spec.loss)
        self.parameters = list(self.net.parameters())
        self.view: StepView | None = None
        """The view of the last step, if it was to be observed."""
        self.optimiser = build_optimiser(spec.optim, self.parameters)

    def change(self, spec: Spec) -> None:
        """Go on with another norm, noise or learning rate (`bncore.spec.change`); the rest of `spec` is the same.

        gamma, beta and the optimiser's state stay.

        Raises:
            ValueError: a layer that the norm does not fit; nothing has changed then.
        """
        if spec.norm != self.spec.norm:
            self.net.set_norm(spec.norm)
        if spec.noise != self.spec.noise:
            self.net.set_noise(spec.noise)
        self.spec = spec

    def step(self, step: int, *, record: bool = True, observe: bool = False) -> StepRecord | None:
        """Compute the gradient of step `step` and apply the optimiser's update.

        A loss that is not finite is recorded and *not* applied: the parameters stay theta_s.

        Arguments:
            record: whether to return a record.
            observe: whether to leave a `StepView` of this step in `self.view`, at the price of a copy of the
                parameters.

        Returns:
            The record, or None where `record` is false and the loss is finite.
        """
        before = self._frozen_state() if observe else None
        self.optimiser.zero_grad(set_to_none=True)
        inputs, targets = self.data.batch(step)
        outputs = self.net(inputs, self.train_pass(step))
        loss = self.criterion(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        finite = math.isfinite(loss.item())
        lr = learning_rate(self.spec.optim.schedule, self.spec.optim.lr, step, self.spec.steps)
        result = self._record(loss, outputs, targets, lr) if record or not finite else None
        if finite:
            set_learning_rate(self.optimiser, lr)
            self._update(lr)
        if before is not None:
            self.view = self._view(step, before=before, batch=(inputs, targets), loss=loss.item(), lr=lr)
        return result

    def _update(self, lr: float) -> None:
        optim = self.spec.optim
        if optim.relative_update and lr:
            weights = [layer.weight for layer in self.net.layers if layer.weight.grad is not None]
            step_by_relative_length(self.optimiser, weights, optim.relative_update * lr / optim.lr)
        else:
            self.optimiser.step()

    def _frozen_state(self) -> tuple[Parameters, Parameters]:
        """Copies of the parameters and buffers as they are now."""
        parameters = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        return parameters, {name: b.clone() for name, b in self.net.named_buffers()}

    def _view(
        self,
        step: int,
        *,
        before: tuple[Parameters, Parameters],
        batch: tuple[Tensor, Tensor],
        loss: float,
        lr: float,
    ) -> StepView:
        return StepView(
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
        )

    def train_pass(self, step: int) -> Pass:
        """The forward pass of training step `step`: batch statistics, running statistics tracked, keyed noise."""
        return Pass(training=True, track=True, noise_step=step)

    def _record(self, loss: Tensor, outputs: Tensor, targets: Tensor, lr: float) -> StepRecord:
        moved = trained(self.parameters)
        decay = self.spec.optim.weight_decay
        return StepRecord(
            loss=loss.item(),
            penalty=weight_penalty(moved, decay).item() if decay else 0.0,
            accuracy=accuracy(outputs, targets).item() if self.data.classes else None,
            lr=lr,
            grad_norm=grad_norm(moved).item(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on and that no spec, data or key determines.

        The tensors alias the live ones: write or clone them before the next step.
        """
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])


@torch.no_grad()
def evaluate(session: Session, step: int) -> dict[str, float]:
    """Losses and accuracies of theta_s over (a part of) the training set and the test set, in evaluation mode.

    Returns:
        train_loss, test_loss and, for classification, train_accuracy, test_accuracy. A mean reduction is the
        mean over the samples, a sum the sum over them.
    """
    spec = session.spec.eval
    how = Pass(training=False, noise_step=step)
    result: dict[str, float] = {}
    splits: tuple[tuple[Split, int], ...] = (("train", spec.train_samples), ("test", spec.test_samples))
    for split, samples in splits:
        total, right, seen = 0.0, 0.0, 0
        for inputs, targets in session.data.eval_batches(split, samples, spec.batch_size):
            outputs = session.net(inputs, how)
            n = len(inputs)
            weight = n if session.spec.loss.reduction == "mean" else 1
            total += session.criterion(outputs, targets).item() * weight
            right += accuracy(outputs, targets).item() * n if session.data.classes else 0.0
            seen += n
        result[f"{split}_loss"] = total / seen if session.spec.loss.reduction == "mean" else total
        if session.data.classes:
            result[f"{split}_accuracy"] = right / seen
    return result
