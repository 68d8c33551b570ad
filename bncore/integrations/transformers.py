"""A callback for the Trainer of Transformers: ``trainer.add_callback(Observe(trainer, "runs/mine/net"))``."""

from __future__ import annotations

from numbers import Real
from typing import Any

from torch import Tensor

from bncore.external.callback import ObservingCallback

try:
    from transformers import Trainer, TrainerCallback
except ModuleNotFoundError as error:
    text = (
        f"bncore.integrations.transformers needs Transformers ({error}): pip install transformers accelerate"
    )
    raise ModuleNotFoundError(text) from error


class Observe(ObservingCallback, TrainerCallback):
    """Observes `trainer.train`. The loss of a batch is the one on which `trainer.training_step` calls backward;
    further arguments as for `ObservingCallback`."""

    def __init__(self, trainer: Trainer, run: Any, **settings: Any) -> None:
        super().__init__(run, **settings)
        self._trainer, self._training_step, train = trainer, trainer.training_step, trainer.train

        def observed(*args: Any, **kwargs: Any) -> Any:
            with self:  # an exception also ends the run
                return train(*args, **kwargs)

        trainer.train = observed

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        own, steps = vars(self._trainer), state.max_steps - state.global_step
        own["training_step"] = self._observed_step
        self._opened.callback(own.pop, "training_step")
        watch = self._observe(
            self._trainer.model_wrapped, self._trainer.optimizer, self._loss_of, steps=steps
        )
        self._step = watch.step()

    def _loss_of(self, model: Any, batch: Any) -> Tensor:
        inputs, items = batch
        losses: list[Tensor] = []
        vars(self._trainer.accelerator)["backward"] = lambda loss, **_: losses.append(loss)
        try:
            self._training_step(model, inputs, items())
        finally:
            del vars(self._trainer.accelerator)["backward"]
        return losses[0]

    def _observed_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        batch = inputs, lambda: num_items_in_batch  # a function, since the count is not per-sample data
        self._batch(batch, self._trainer.accelerator.gradient_accumulation_steps)
        loss: Tensor = self._training_step(model, inputs, num_items_in_batch)
        self._record(loss)
        return loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._updated()
        control.should_training_stop = control.should_training_stop or not self._wanted()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        if self.watch is not None:
            self.watch.log({name: value for name, value in metrics.items() if isinstance(value, Real)})
