"""A callback for Lightning: ``Trainer(callbacks=[Observe("runs/mine/net")])``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from bncore.external.callback import ObservingCallback
from bncore.external.observe import ObserveError
from bncore.probes.batches import copied

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torchmetrics import Metric
except ModuleNotFoundError as error:
    text = f"bncore.integrations.lightning needs Lightning ({error}): pip install lightning"
    raise ModuleNotFoundError(text) from error


class Observe(ObservingCallback, Callback):
    """Observes `Trainer.fit`. The loss of a batch is what `training_step` returns, or ``loss_of(module, batch,
    batch_idx)``, if given; further arguments as for `ObservingCallback`."""

    def __init__(self, run: Any, *, loss_of: Callable[..., Tensor] | None = None, **settings: Any) -> None:
        super().__init__(run, **settings)
        self._loss_of = loss_of

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._loss_of is None and not pl_module.automatic_optimization:
            raise ObserveError("model: manual optimization; expected Observe(loss_of=...)")
        if len(trainer.optimizers) != 1:
            raise ObserveError(f"optimizer: {len(trainer.optimizers)} of them; expected one")

        def loss_of(module: Any, args: Any) -> Tensor:
            _mute(module)
            with trainer.precision_plugin.train_step_context():
                return (self._loss_of or _training_loss)(module, *args)

        remaining = trainer.estimated_stepping_batches - trainer.global_step
        steps, config = int(remaining) if remaining < float("inf") else 0, dict(pl_module.hparams)
        self._observe(trainer.strategy.model, trainer.optimizers[0], loss_of, steps=steps, config=config)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self._wanted():
            trainer.should_stop = True
            raise StopIteration  # ends the epoch
        self._updates = trainer.global_step
        self._batch((batch, batch_idx), trainer.accumulate_grad_batches)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if "loss" in outputs:
            self._record(outputs["loss"] * trainer.accumulate_grad_batches)
        if trainer.global_step != self._updates:
            trainer.should_stop = self._updated() or trainer.should_stop

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self.watch is not None:
            self.watch.log(trainer.callback_metrics)

    def on_train_end(self, *_: Any) -> None:
        self.__exit__(None, None, None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.__exit__(type(exception), exception, None)


def _training_loss(module: Any, *args: Any) -> Tensor:
    output = module.training_step(*args[: len(inspect.signature(module.training_step).parameters)])
    return output if isinstance(output, Tensor) else output["loss"]


def _mute(module: Any) -> None:
    """Have the module log nothing and count in copies of its metrics, until its attributes are restored."""
    vars(module)["log"] = lambda *_, **__: None
    for part in module.modules():
        if isinstance(part, Metric):
            vars(part).update(copied(part.metric_state))
