"""A callback for the Trainer of Transformers: ``trainer.add_callback(Observe(trainer, "runs/mine/net"))``."""

from __future__ import annotations

from numbers import Real
from typing import Any

from torch import Tensor

from bncore.external.callback import ObservingCallback
from bncore.external.observe import StopObserved

try:
    from transformers import Trainer, TrainerCallback
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"bncore.integrations.transformers needs Transformers ({error}): pip install transformers accelerate"
    ) from error


class Observe(ObservingCallback, TrainerCallback):
    """Observes the training of `trainer.train`, as `bncore.observe` does.

    The loss of a batch is the one on which `trainer.training_step` calls backward. Probes call it again, without
    the backward pass.

    Arguments:
        trainer: the trainer; its `train` is wrapped, so that an exception also ends the run.
        run, settings: as for `ObservingCallback`.
    """

    def __init__(self, trainer: Trainer, run: Any, **settings: Any) -> None:
        super().__init__(run, **settings)
        self._trainer, self._training_step, train = trainer, trainer.training_step, trainer.train

        def observed(*args: Any, **kwargs: Any) -> Any:
            vars(trainer)["training_step"] = self._observed_step
            try:
                with self:
                    return train(*args, **kwargs)
            finally:
                del vars(trainer)["training_step"]

        vars(trainer)["train"] = observed

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._observe(
            self._trainer.model_wrapped, self._trainer.optimizer, self._loss_of,
            steps=state.max_steps - state.global_step,
        )  # fmt: skip
        if not self._wanted():
            raise StopObserved

    def _loss_of(self, model: Any, given: Any) -> Tensor:
        inputs, items = given
        losses: list[Tensor] = []
        vars(self._trainer.accelerator)["backward"] = lambda loss, **_: losses.append(loss)
        try:
            self._training_step(model, inputs, items())
        finally:
            del vars(self._trainer.accelerator)["backward"]
        return losses[0]

    def _observed_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        given = inputs, lambda: num_items_in_batch  # a function, since the count is not per-sample data
        self._batch(given, self._trainer.accelerator.gradient_accumulation_steps)
        loss: Tensor = self._training_step(model, inputs, num_items_in_batch)
        self._record(loss)
        return loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._updated()
        control.should_training_stop = control.should_training_stop or not self._wanted()

    def on_evaluate(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        if self.watch is not None:
            numbers = {name: value for name, value in told["metrics"].items() if isinstance(value, Real)}
            self.watch.log(numbers)
