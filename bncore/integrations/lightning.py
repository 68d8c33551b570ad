"""A callback for Lightning: ``Trainer(callbacks=[Observe("runs/mine/net")])``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from bncore.external.observe import Observation, ObservedStep, ObserveError, StopObserved, observe
from bncore.probes.batches import copied

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"bncore.integrations.lightning needs Lightning ({error}): pip install lightning"
    ) from error


class Observe(Callback):
    """Watches what `Trainer.fit` trains, as `bncore.observe` does.

    The loss of a batch is what `training_step` returns. For a probe it is called again, with `self.log` mute and
    metrics put back; what it does outside of the module is done again.

    Arguments:
        run: the run's directory, new or empty: each fit has its own.
        declare: called with the observation before the first step: `watch.control(...)`, `watch.replay(...)`.
        loss_of: the loss as a function of the module, a batch, and its index, instead of `training_step`; with
            it, a module with one optimizer may make its updates by hand.
        settings: others of `bncore.observe`.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        declare: Callable[[Observation], object] | None = None,
        loss_of: Callable[[Any, Any, int], Tensor] | None = None,
        **settings: Any,
    ) -> None:
        self._run, self._declare, self._loss_of, self._settings = run, declare, loss_of, settings
        self._opened = ExitStack()
        self._step: ObservedStep | None = None
        self._updates = 0
        self.watch: Observation | None = None

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
        model: Any = trainer.strategy.model
        watch = observe(
            model, trainer.optimizers[0], loss_of=of_given, run=self._run, **{**known, **self._settings}
        )
        self.watch = self._opened.enter_context(watch)
        if self._declare is not None:
            self._declare(watch)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert self.watch is not None
        if self._step is None:
            try:
                self._step = self.watch.step().begin()
            except StopObserved:
                trainer.should_stop = True
                raise StopIteration from None  # which ends the epoch
            self._updates = trainer.global_step
        self._step.batch((batch, batch_idx), weight=1 / trainer.accumulate_grad_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self.watch is not None and self._step is not None
        loss = outputs if isinstance(outputs, Tensor) else (outputs or {}).get("loss")
        if loss is not None:
            self._step.record(loss * trainer.accumulate_grad_batches)
        if trainer.global_step != self._updates:
            step, self._step = self._step, None
            step.end()
            trainer.should_stop = trainer.should_stop or self.watch.should_stop

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.watch is not None and not trainer.sanity_checking:
            self.watch.log(trainer.callback_metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave(None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._leave(exception)

    def _leave(self, error: BaseException | None) -> None:
        kind = None if error is None else type(error)
        if self._step is not None:
            self._step.__exit__(kind, error, None)
            self._step = None
        self._opened.__exit__(kind, error, None)


def _training_loss(module: Any, batch: Any, index: int) -> Tensor:
    parameters = inspect.signature(module.training_step).parameters
    output = module.training_step(*(batch, index)[: len(parameters)])
    return output if isinstance(output, Tensor) else output["loss"]


@contextmanager
def _unheard(module: Any) -> Iterator[None]:
    """Passes that log nothing and are not counted in metrics."""
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
