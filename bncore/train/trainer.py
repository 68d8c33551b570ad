"""The training loop: requests, evaluation, step, probes, checkpoint, in this order at every step.

Event s describes theta_s, before update s; a request at s takes effect before update s. A resumed run follows the
same path from its newest checkpoint: events already journaled are compared with the recomputed ones
(architecture.md, invariant 2), and requests at steps already journaled come from the journal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
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
from bncore.train.request_source import START, Requests, ResumePoint
from bncore.train.running_statistics import overflowed
from bncore.train.state import StepMetrics, TrainState, evaluate
from bncore.train.step_graphs import StepGraphs

End = Literal["finished", "diverged", "stopped", "interrupted"]


class Trainer:
    """Trains one run from its present step to its end.

    Arguments:
        run: the run directory; the caller owns it (`bncore.store.owner`).
        session: the training state, at the point that `resume_point` describes.
        probes: the probes.
        resume_point: where the run resumes.
        until: number of updates after which the run stops, if fewer than the spec's steps.
        graphs: makes the asynchronous steps; default: without graphs.
        ahead: how many steps may be made before the numbers of the first are fetched from the device; 1: wait for
            each step's numbers. Does not affect what is computed or journaled.
        journal, requests, heartbeat, signals: the channels that the run writes to and listens to.
    """

    def __init__(
        self,
        run: RunDir,
        session: TrainState,
        probes: ProbeRunner,
        resume_point: ResumePoint = START,
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
        self.position = resume_point.step
        self._changes = dict(resume_point.changes)
        self._until = until
        self._evaluated = resume_point.step if resume_point.evaluated else -1
        self._saved = resume_point.step
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
        """The settings in force: the run's spec with all changes made so far."""
        return self.session.spec

    def run(self) -> End:
        """Train until the last step, a non-finite loss or gradient, a request to stop, or a signal."""
        while self.position < self.spec.steps:
            if self._ahead.pending and self._boundary_is_idle():
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
        """Make one update with its evaluation and probes; False if a step is not finite and so not applied."""
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
        """Journal the asynchronous steps; False if one is not finite, which takes the run back to that step."""
        with self._sections("step"):
            return all(self._journal_step(step, record) for step, record in self._ahead.flush())

    def save_checkpoint(self, *, requested: bool = False) -> None:
        """Write a checkpoint of the state before the next update, journal it, and prune old ones."""
        with self._sections("checkpoints"):
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
        """Raise ValueError if the network does not accept these settings at this step; changes nothing."""
        self.session.try_change(after, self.position)

    def change(self, changes: Changes) -> None:
        """Change settings from the next update on.

        Raises:
            SpecError: the changes do not fit the spec.
        """
        after = changed(self.spec, changes)
        self.session.change(after)
        self.probes.change(after)
        self._changes |= values_at(after, changes)

    def evaluate(self) -> None:
        """Evaluate theta at this step and journal the result; at most once per step."""
        if self._evaluated == self.position:
            return
        self._evaluated = self.position
        with self._sections("evaluation"):
            numbers = evaluate(self.session, self.position)
        self.journal.append_or_verify("eval", self.position, **numbers)
        if problem := not_finite(numbers):
            which = "the last" if self.position == self.spec.steps else "an"
            self._warn(f"{which} evaluation is not finite: {problem}")
        if layers := overflowed(self.session.net):
            self._warn(
                f"layer {', '.join(map(str, layers))}: the running statistics are not finite: an activation has "
                "overflowed in training, and evaluation normalizes by them"
            )

    def _warn(self, text: str) -> None:
        """Journal a warning, at most once in the life of the run."""
        journaled = {event.get("text") for event in self.journal.events if event["type"] == "warning"}
        if text not in journaled | self._warned:
            self._warned.add(text)
            self.journal.append("warning", self.position, text=text)

    def _boundary_is_idle(self) -> bool:
        """Whether nothing at this boundary or in the next step requires the asynchronous steps to be flushed."""
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
        """Save a checkpoint if one is due, and apply requests until the run may make its next update (True) or
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
        """Journal a step if it has a record; returns whether training may continue."""
        if record is None:
            return True
        fields = {k: v for k, v in asdict(record).items() if k != "finite" and v is not None}
        self.journal.append_or_verify("step", step, **fields)
        if not record.finite:
            self.position = self.heartbeat.step = step
        return record.finite

    def _finish(self, state: Literal["finished", "diverged"]) -> End:
        self.requests.reject_rest(self.position, f"the run has {state}")
        self.save_checkpoint()  # `bnrun verify` checks the digest against it
        self.journal.append_or_verify(
            "finished", self.position, state=state, params_sha256=params_sha256(self.session.net)
        )
        self.journal.sync()
        return state

    def _measure(self, step: int) -> None:
        """Run the probes due at this step, journal their results, and release the step's view."""
        view, self.session.view = self.session.view, None
        unseen, self.session.unseen = self.session.unseen, None
        results: Iterator[Measured | Failed]
        if view is not None:
            results = self.probes.measure(view, self.journal.expected_probes(step))
        elif unseen is not None:
            results = self.probes.without_memory(step, unseen)
        else:
            return
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
