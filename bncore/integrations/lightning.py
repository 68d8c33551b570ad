"""A callback for Lightning: ``Trainer(callbacks=[Observe("runs/mine/net")])``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from bncore.external.callback import ObservingCallback
from bncore.external.observe import ObserveError
from bncore.probes.batches import copied

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"bncore.integrations.lightning needs Lightning ({error}): pip install lightning"
    ) from error


class Observe(ObservingCallback, Callback):
    """Observes the training of `Trainer.fit`, as `bncore.observe` does.

    The loss of a batch is the return value of `training_step`. Probes call it again, with `self.log` muted and
    metrics restored afterwards; any side effects outside the module are repeated.

    Arguments:
        loss_of: the loss as a function of the module, a batch, and the batch index, used instead of
            `training_step`; with it, a module with one optimizer may use manual optimization.
        run, settings: as for `ObservingCallback`.
    """

    def __init__(
        self, run: Any, *, loss_of: Callable[[Any, Any, int], Tensor] | None = None, **settings: Any
    ) -> None:
        super().__init__(run, **settings)
        self._loss_of, self._updates = loss_of, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._loss_of is None and not pl_module.automatic_optimization:
            raise ObserveError("model: manual optimization; expected Observe(loss_of=...)")
        if len(trainer.optimizers) != 1:
            raise ObserveError(f"optimizer: {len(trainer.optimizers)} of them; expected one")
        loss_of = self._loss_of or _training_loss

        def of_given(module: Any, given: Any) -> Tensor:
            with trainer.precision_plugin.train_step_context(), _unheard(module):
                return loss_of(module, *given)

        steps = trainer.estimated_stepping_batches - trainer.global_step
        known = {"steps": int(steps) if steps < float("inf") else 0, "config": dict(pl_module.hparams)}
        self._observe(trainer.strategy.model, trainer.optimizers[0], of_given, **known)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._wanted():
            trainer.should_stop = True
            raise StopIteration  # ends the epoch
        if not self._begun:
            self._updates = trainer.global_step
        self._batch((batch, batch_idx), trainer.accumulate_grad_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs if isinstance(outputs, Tensor) else (outputs or {}).get("loss")
        if loss is not None:
            self._record(loss * trainer.accumulate_grad_batches)
        if trainer.global_step != self._updates:
            trainer.should_stop = self._updated() or trainer.should_stop

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.watch is not None and not trainer.sanity_checking:
            self.watch.log(trainer.callback_metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.__exit__(None, None, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.__exit__(type(exception), exception, None)


def _training_loss(module: Any, batch: Any, index: int) -> Tensor:
    parameters = inspect.signature(module.training_step).parameters
    output = module.training_step(*(batch, index)[: len(parameters)])
    return output if isinstance(output, Tensor) else output["loss"]


@contextmanager
def _unheard(module: Any) -> Iterator[None]:
    """Within the context, forward passes log nothing and do not count in metrics."""
    metrics = [(part, dict(vars(part))) for part in module.modules() if isinstance(part, Metric)]
    for metric, _ in metrics:
        vars(metric).update(copied(metric.metric_state))
    vars(module)["log"] = lambda *_, **__: None
    try:
        yield
    finally:
        del vars(module)["log"]
        for metric, before in metrics:
            vars(metric).update(before)
