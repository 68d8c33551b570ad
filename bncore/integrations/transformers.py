"""A callback for the Trainer of Transformers: ``trainer.add_callback(Observe(trainer, "runs/mine/net"))``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from numbers import Real
from typing import Any

from torch import Tensor

from bncore.external.observe import Observation, ObservedStep, StopObserved, observe

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"bncore.integrations.transformers needs Transformers ({error}): pip install transformers accelerate"
    ) from error


class Observe(TrainerCallback):
    """Watches what `trainer.train` trains, as `bncore.observe` does.

    The loss of a batch is what `trainer.training_step` would go backward from. For a probe it is called again,
    without the backward pass.

    Arguments:
        trainer: whose `train` is wrapped, so that an exception ends the run too.
        run: the run's directory, new or empty: each training has its own.
        declare: called with the observation before the first step: `watch.control(...)`, `watch.replay(...)`.
        settings: others of `bncore.observe`.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: str | os.PathLike[str],
        *,
        declare: Callable[[Observation], object] | None = None,
        **settings: Any,
    ) -> None:
        self._trainer, self._run, self._declare, self._settings = trainer, run, declare, settings
        self._opened = ExitStack()
        self._step: ObservedStep | None = None
        self._begun = False
        self.watch: Observation | None = None
        train = trainer.train

        def observed(*args: Any, **kwargs: Any) -> Any:
            with self._opened:
                return train(*args, **kwargs)

        vars(trainer)["train"] = observed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        trainer = self._trainer
        training_step = trainer.training_step

        def loss_of(model: Any, given: Any) -> Tensor:
            inputs, items = given
            losses: list[Tensor] = []
            vars(trainer.accelerator)["backward"] = lambda loss, **_: losses.append(loss)
            try:
                training_step(model, inputs, items())
            finally:
                del vars(trainer.accelerator)["backward"]
            return losses[0]

        def observed_step(model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
            step = self._open_step()
            weight = 1 / trainer.accelerator.gradient_accumulation_steps
            step.batch((inputs, lambda: num_items_in_batch), weight=weight)
            loss: Tensor = training_step(model, inputs, num_items_in_batch)
            step.record(loss)
            return loss

        optimizer: Any = trainer.optimizer
        known = {"steps": state.max_steps - state.global_step}
        watch = observe(
            trainer.model_wrapped, optimizer, loss_of=loss_of, run=self._run, **{**known, **self._settings}
        )
        self.watch = self._opened.enter_context(watch)
        self._opened.callback(self._leave)
        vars(trainer)["training_step"] = observed_step
        if self._declare is not None:
            self._declare(watch)
        self._step = watch.step()

    def _open_step(self) -> ObservedStep:
        assert self._step is not None
        if not self._begun:
            self._step.begin()
            self._begun = True
        return self._step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        assert self.watch is not None and self._step is not None
        self._begun = False
        self._step.end()
        if not control.should_training_stop:
            try:
                self._step = self.watch.step()
            except StopObserved:
                control.should_training_stop = True

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **told: Any
    ) -> None:
        if self.watch is not None:
            numbers = {name: value for name, value in told["metrics"].items() if isinstance(value, Real)}
            self.watch.log(numbers)

    def _leave(self) -> None:
        del vars(self._trainer)["training_step"]
        if self._begun and self._step is not None:
            self._step.__exit__(RuntimeError, None, None)
        self._begun = False
