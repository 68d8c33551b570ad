"""Base class of the callbacks for third-party trainers (`bncore.integrations`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from torch import Tensor

from bncore.external.observe import Observation, ObservedStep, StopObserved, observe


class ObservingCallback:
    """The observation of one training, with a step that stays open from its first micro-batch to its update.

    Arguments:
        run: the run directory, new or empty; each training needs its own.
        declare: called with the observation before the first step: `watch.control(...)`, `watch.replay(...)`.
        settings: further arguments of `bncore.observe`.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        declare: Callable[[Observation], object] = lambda _: None,
        **settings: Any,
    ) -> None:
        self.watch: Observation | None = None
        self._run, self._declare, self._settings = run, declare, settings
        self._opened = ExitStack()
        self._step: ObservedStep | None = None
        self._started = False

    def __enter__(self) -> None:
        """Start of the training; it is observed from `_observe` on."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._step is not None and self._started:  # the open step gets no update
            self._step.__exit__(kind or RuntimeError, error, trace)
        self._step, self._started = None, False
        return self._opened.__exit__(kind, error, trace)

    def _observe(
        self, model: Any, optimizer: Any, loss_of: Callable[..., Tensor], **defaults: Any
    ) -> Observation:
        chosen: Any = {**defaults, **self._settings}
        self.watch = observe(model, optimizer, loss_of=loss_of, run=self._run, **chosen)
        self._opened.enter_context(self.watch)
        self._declare(self.watch)
        return self.watch

    def _wanted(self) -> bool:
        """Apply pending requests; return whether training continues."""
        assert self.watch is not None
        try:
            self._step = self._step or self.watch.step()
        except StopObserved:
            return False
        return True

    def _batch(self, batch: Any, micro_batches: int) -> None:
        """Report a micro-batch before its forward pass; `micro_batches` of them make one update."""
        assert self._step is not None
        if not self._started:
            self._step.begin()
            self._started = True
        self._step.batch(batch, weight=1 / micro_batches)

    def _record(self, loss: Tensor) -> None:
        assert self._step is not None
        self._step.record(loss)

    def _updated(self) -> bool:
        """End the step after its update; return whether a stop was requested."""
        assert self._step is not None and self.watch is not None
        step, self._step, self._started = self._step, None, False
        step.end()
        return self.watch.should_stop
