"""The loop: requests, evaluation, step, probes, checkpoint, in this order at every step.

Event s describes theta_s, before update s; a request at s takes effect before update s. A resumed run walks the
same path from its newest checkpoint: events it has already written are compared with what it recomputes
(architecture.md, invariant 2), requests come from the journal wherever the journal already speaks of that
step.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Literal

from bncore.config.change import Changes, changed, values_at
from bncore.config.model import Spec
from bncore.probes.run import Failed, Measured, ProbeRunner
from bncore.store.journal import Journal
from bncore.store.paths import RunDir
from bncore.store.problems import not_finite
from bncore.train import checkpoint
from bncore.train.async_steps import AsyncSteps
from bncore.train.checkpoint import params_sha256
from bncore.train.control import RunControl, Signals
from bncore.train.heartbeat import Heartbeat
from bncore.train.requests import START, Requests, ResumePoint
from bncore.train.running_statistics import overflowed
from bncore.train.state import StepMetrics, TrainState, evaluate
from bncore.train.step_graphs import StepGraphs

End = Literal["finished", "diverged", "stopped", "interrupted"]


class Trainer:
    """One run from its present step to its end.

    Arguments:
        run: the run directory; the caller owns it (`bncore.store.owner`).
        session: what is trained, at the state that `begun` describes.
        probes: the instruments.
        begun: where the run continues.
        until: how many updates to make, where that is fewer than the spec's steps.
        graphs: make the steps that are made ahead; default: none of them by a graph.
        ahead: how many steps may be made before the numbers of the first of them are fetched from the device; 1:
            each step's numbers are waited for. It changes nothing that is computed or journaled.
        journal, requests, heartbeat, signals: what it writes to and listens to.
    """

    def __init__(
        self,
        run: RunDir,
        session: TrainState,
        probes: ProbeRunner,
        begun: ResumePoint = START,
        *,
        until: int | None = None,
        ahead: int = 1,
        graphs: StepGraphs | None = None,
        journal: Journal,
        requests: Requests,
        heartbeat: Heartbeat,
        signals: Signals,
    ) -> None:
        self.run_dir = run
        self.session = session
        self._sections = session.sections
        self.probes = probes
        self.position = begun.step
        self._changes = dict(begun.changes)
        self._until = until
        self._evaluated = begun.step if begun.evaluated else -1
        self._saved = begun.step
        self._ahead = AsyncSteps(session, ahead, graphs or StepGraphs(session))
        self.journal = journal
        self.requests = requests
        self.heartbeat = heartbeat
        self.signals = signals
        self.control = RunControl()
        self._warned: set[str] = set()
        self._checkpoint_due = self._next_timed_checkpoint()

    @property
    def spec(self) -> Spec:
        """What holds now: the run's spec with every change made so far."""
        return self.session.spec

    def run(self) -> End:
        """Train until the last step, a loss or gradient that is not finite, a request to stop, or a signal."""
        while self.position < self.spec.steps:
            if self._ahead.begun and self._boundary_is_idle():
                pass
            elif not self.flush_steps():
                return self._finish("diverged")
            elif not self._boundary():
                self.save_checkpoint()
                return "interrupted" if self.signals.received else "stopped"
            if not self.advance():
                return self._finish("diverged")
        self.evaluate()
        return self._finish("finished")

    def advance(self) -> bool:
        """Make one update and everything that belongs to its step; False where a step is refused."""
        step, last = self.position, self.position == self.spec.steps - 1
        record = last or step % self.spec.log_every == 0
        observe = bool(self.probes.due(step))
        evaluation = self._evaluation_due()
        if (evaluation or self._ahead.full) and not self.flush_steps():
            return False
        if evaluation:
            self.evaluate()
        with self._sections("step"):
            if not (observe or last) and self._ahead.ready():
                self._ahead.step(step, record=record)
            elif not self.flush_steps() or not self._journal_step(
                step, self.session.step(step, record=record, observe=observe)
            ):
                return False
        self._measure(step)
        self.position = self.heartbeat.step = step + 1
        return True

    def flush_steps(self) -> bool:
        """Journal the steps that were made ahead; False where one is refused: the run is then back at it."""
        with self._sections("step"):
            return all(self._journal_step(step, record) for step, record in self._ahead.flush())

    def save_checkpoint(self, *, requested: bool = False) -> None:
        """Write the state before the next update, journal it, and drop the oldest."""
        with self._sections("checkpoints"):
            self._save_checkpoint(requested=requested)

    def _save_checkpoint(self, *, requested: bool) -> None:
        self.journal.check_owned()
        self.journal.sync()
        state = {
            **self.session.state_dict(),
            "probes": self.probes.state_dict(),
            "changes": self._changes,
            "requests": self.requests.applied_ids(self.position),
            "evaluated": self._evaluated == self.position,
        }
        path = checkpoint.save(self.run_dir.checkpoints, self.position, state, requested=requested)
        self.journal.append("checkpoint", self.position, path=f"checkpoints/{path.name}")
        checkpoint.prune(self.run_dir.checkpoints, self.spec.checkpoint.keep)
        self._saved = self.position
        self._checkpoint_due = self._next_timed_checkpoint()

    def try_change(self, after: Spec) -> None:
        """Raise ValueError where the network cannot take these settings here; nothing is changed."""
        self.session.try_change(after, self.position)

    def change(self, changes: Changes) -> None:
        """Continue with other settings, from the next update on.

        Raises:
            SpecError: they do not fit.
        """
        after = changed(self.spec, changes)
        self.session.change(after)
        self.probes.change(after)
        self._changes |= values_at(after, changes)

    def evaluate(self) -> None:
        """Journal an evaluation of theta at this step, once, however often it is requested."""
        if self._evaluated == self.position:
            return
        self._evaluated = self.position
        with self._sections("evaluation"):
            found = evaluate(self.session, self.position)
        self.journal.append_or_verify("eval", self.position, **found)
        if said := not_finite(found):
            which = "the last" if self.position == self.spec.steps else "an"
            self._warn(f"{which} evaluation is not finite: {said}")
        if layers := overflowed(self.session.net):
            self._warn(
                f"layer {', '.join(map(str, layers))}: the running statistics are not finite: an activation has "
                "overflowed in training, and evaluation normalizes by them"
            )

    def _warn(self, text: str) -> None:
        """Journal a warning, once in the life of the run."""
        known = {event.get("text") for event in self.journal.events if event["type"] == "warning"}
        if text not in known | self._warned:
            self._warned.add(text)
            self.journal.append("warning", self.position, text=text)

    def _boundary_is_idle(self) -> bool:
        """Whether nothing happens at this boundary or in the next step that needs what was made ahead to be
        journaled before it."""
        step = self.position
        return not (
            self._evaluation_due()
            or self.probes.due(step)
            or self._wants_checkpoint()
            or self.requests.has_due(step)
            or self.signals.received
            or step == self._until
            or self.control.paused
        )

    def _boundary(self) -> bool:
        """Save a checkpoint where one is due, and take requests until the run may make its next update (True) or
        must end here (False)."""
        if self._wants_checkpoint():
            self.save_checkpoint()
        while True:
            for request in self.requests.requests_at(self.position):
                self.requests.apply(request, self, self.position)
            if self.control.stopping or self.signals.received or self.position == self._until:
                return False
            if self.control.may_step():
                self.heartbeat.set_state("running")
                return True
            self.journal.check_owned()
            self.heartbeat.set_state("paused")
            self.requests.wait()

    def _journal_step(self, step: int, record: StepMetrics | None) -> bool:
        """Journal what is known of a step; whether training may continue after it."""
        if record is None:
            return True
        fields = {k: v for k, v in asdict(record).items() if k != "finite" and v is not None}
        self.journal.append_or_verify("step", step, **fields)
        if not record.finite:
            self.position = self.heartbeat.step = step
        return record.finite

    def _finish(self, state: Literal["finished", "diverged"]) -> End:
        self.requests.reject_rest(self.position, f"the run has {state}")
        self.save_checkpoint()  # what `bnrun verify` checks the digest against
        self.journal.append_or_verify(
            "finished", self.position, state=state, params_sha256=params_sha256(self.session.net)
        )
        self.journal.sync()
        return state

    def _measure(self, step: int) -> None:
        """Journal what the probes due at this step measure; the view goes with it."""
        view, self.session.view = self.session.view, None
        unseen, self.session.unseen = self.session.unseen, None
        if view is not None:
            self._journal_probes(step, self.probes.measure(view, self.journal.expected_probes(step)))
        elif unseen is not None:
            self._journal_probes(step, self.probes.without_memory(step, unseen))

    def _journal_probes(self, step: int, results: Iterable[Measured | Failed]) -> None:
        with self._sections("probes"):
            for result in results:
                if isinstance(result, Measured):
                    self.journal.append_or_verify("probe", step, name=result.name, **result.fields)
                else:
                    self.journal.append_or_verify("probe_failed", step, **result.fields)

    def _evaluation_due(self) -> bool:
        every = self.spec.eval.every
        return bool(every and self.position % every == 0)

    def _wants_checkpoint(self) -> bool:
        every = self.spec.checkpoint.every_steps
        if self._saved == self.position:
            return False
        return bool(every and self.position % every == 0) or time.monotonic() >= self._checkpoint_due

    def _next_timed_checkpoint(self) -> float:
        minutes = self.spec.checkpoint.every_minutes
        return time.monotonic() + 60 * minutes if minutes else float("inf")
