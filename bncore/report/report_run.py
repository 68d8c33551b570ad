"""The runs of a report: what each run is, and whether it counts as evidence for its variant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bncore.config.errors import escape_control
from bncore.config.model import Spec
from bncore.follow.run_view import RunFollower, RunView
from bncore.launch.slurm.state import Queue
from bncore.report.progress import TrainingCurve, training_curve
from bncore.store.columns import Columns
from bncore.store.dropped_requests import changes_of, in_effect
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.journal import Event
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir, SweepDir, meta_of
from bncore.store.status import Observer

COUNTED_STATES = frozenset({"finished", "diverged"})
"""End states that count as results; divergence is a result."""


@dataclass(frozen=True, order=True)
class Variant:
    """What the paper compares: everything that may differ between two compared runs."""

    norm: str = "none"
    """The norm's kind with any non-default setting, such as ``l1 centred``."""
    noise: str = ""
    """Empty without noise; ``noise`` for Algorithm 1 with the paper's constants, followed by any differences."""
    lr: float = 0.0

    @property
    def label(self) -> str:
        return f"{self.norm} + {self.noise}" if self.noise else self.norm


@dataclass(frozen=True, eq=False)
class ReportRun:
    """One run, read to the end of its journal."""

    view: RunView
    meta: dict[str, Any] = field(default_factory=dict)
    excluded_because: str = ""
    """Why the run is not evidence for its variant; empty if it is."""
    unfinished: bool = False
    """Whether the only reason is that the run has not ended."""

    @property
    def run(self) -> RunDir:
        """The run directory."""
        return self.view.run

    @property
    def message(self) -> str:
        """The reason for the state, or for a file that cannot be read; escaped."""
        return self.view.settings_problem or self.view.message

    @property
    def columns(self) -> Columns:
        """The run's journal; empty if the journal or the spec cannot be read."""
        return self.view.columns

    @property
    def spec(self) -> Spec | None:
        """The spec as submitted; None if spec.toml is invalid or the run observed an external training loop."""
        return self.view.submitted

    @property
    def name(self) -> str:
        """``<sweep>/<run>``, escaped."""
        return self.run.name

    @property
    def counts(self) -> bool:
        """Whether the run is evidence for its variant."""
        return not self.excluded_because

    @cached_property
    def variant(self) -> Variant:
        """The run's variant; for a run without a spec, named after its directory."""
        return Variant(escape_control(self.run.path.name)) if self.spec is None else variant_of(self.spec)

    @property
    def seed(self) -> int:
        """The seed; 0 if unknown."""
        return self.spec.seed if self.spec else 0

    @property
    def data(self) -> str:
        """Description of the training data, from the journal; escaped."""
        return escape_control(str(self.columns.start.get("data", "")))

    @property
    def steps(self) -> int:
        """Planned number of updates; for a run without a spec, the number made."""
        return self.spec.steps if self.spec else max(self.view.step, 1)

    @cached_property
    def training(self) -> TrainingCurve | None:
        """The run's progress at each step; None if neither loss nor accuracy was journaled."""
        return training_curve(self.columns, self.steps)

    @property
    def diverged(self) -> bool:
        """Whether the run stopped at a non-finite loss."""
        return self.view.state == "diverged"


def gather(places: Iterable[RunDir | SweepDir]) -> tuple[ReportRun, ...]:
    """The given runs and all runs of the given sweeps, each once.

    Raises:
        NoSuchRun: a sweep has no runs.
    """
    runs: dict[object, RunDir] = {}
    for place in places:
        of_place = place.runs()
        if not of_place:
            raise NoSuchRun(f"{place.path}: a sweep without runs")
        runs.update((run.path.resolve(), run) for run in of_place)
    observer, queue = Observer(), Queue()
    return tuple(report_run(RunFollower(run, observer, queue).poll(None)) for run in runs.values())


def report_run(view: RunView) -> ReportRun:
    """A fully read run, with the decision whether it is evidence. Read errors are reported in the result, not
    raised."""
    problem = view.settings_problem or view.problem
    if problem:
        view = replace(view, columns=Columns())
    last = view.columns.last_step("step")
    excluded_because = problem or _excluded_because(view)
    ended = view.state in COUNTED_STATES
    return ReportRun(
        view,
        meta_of(view.run) if not problem else {},
        excluded_because or ("" if ended else f"{view.state} at step {0 if last is None else last + 1:,}"),
        unfinished=not excluded_because and not ended,
    )


def variant_of(spec: Spec) -> Variant:
    """The variant that a spec trains."""
    norm = spec.norm.kind
    if norm == "group" and spec.norm.groups != type(spec.norm)().groups:
        norm += f" {spec.norm.groups} groups"
    norm += " centred" if spec.norm.centred else ""
    norm += " frozen" if spec.norm.affine == "frozen" else ""
    return Variant(norm, _noise(spec), spec.optim.lr)


def steered(columns: Columns) -> list[Event]:
    """Requests that changed the training; requests that changed only probes are left out."""
    return [
        event
        for event in in_effect(columns.events)
        if any(not path.startswith("probes.") for path in changes_of(event))
    ]


def _excluded_because(view: RunView) -> str:
    """Why a run is not evidence for the variant in its spec, regardless of how it ended."""
    if view.submitted is None:
        return "observes an external training loop"
    try:
        lineage = read_lineage(view.run)
    except StoreError as error:
        return escape_control(str(error))
    if view.columns.parent is not None or (lineage is not None and lineage.kind == "fork"):
        return "a fork: it begins as another run"
    if lineage is not None:
        return "a replay of another run"
    changed = steered(view.columns)
    if changed:
        return f"steered: settings were changed by request at step {changed[0]['step']:,}"
    return ""


def _noise(spec: Spec) -> str:
    """``noise``, followed by any differences from Algorithm 1 as the paper states it."""
    if not spec.noise.on:
        return ""
    usual = type(spec.noise)(on=True)
    given = spec.noise.model_dump()
    other = [_shown(name, given[name]) for name, value in usual.model_dump().items() if given[name] != value]
    return " ".join(["noise", *other])


def _shown(name: str, value: object) -> str:
    return str(value) if isinstance(value, str) else f"{name} {value:g}" if isinstance(value, float) else name
