"""Comparisons that several claims share: one variant with another, at each common learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncore.config.model import ImageData, Spec
from bncore.report.claims.evidence import ClaimMeasure, ClaimPart, Need, Scope
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.progress import LATEST_START, LEFT, LEVELS, Pair
from bncore.report.quantities import Quantity, Trace, as_in_the_paper, difference, in_training, values_of
from bncore.report.report_run import ReportRun, variant_of
from bncore.report.statistics import ratio_of_means

NONE, BATCH = ("none", ""), ("batch", "")
"""The two networks that most claims compare, as (norm, noise)."""

MOST_OF_IT = 0.5
"""A variant that keeps more than this share of BatchNorm's gain is nearer to BatchNorm than to the plain network.
Over the whole training, the noise costs 0.30 of the gain (paper's Fig 2) and the l_p norms none (Fig 5a)."""

AT_EQUAL_STEPS, AT_EQUAL_LOSS = "at equal steps", "at equal training loss"
SELDOM = "measured too seldom"


def common_rates(setting: ComparisonGroup, *variants: tuple[str, str]) -> list[float]:
    """Learning rates at which all variants, given as (norm, noise), were run."""
    rates = [set(setting.rates(*variant)) for variant in variants]
    return sorted(set.intersection(*rates)) if rates else []


def usual_rate(setting: ComparisonGroup, rates: Sequence[float]) -> float:
    """The smallest of the rates at which the plain network leaves its start in time; if there is none, the
    smallest rate."""
    return next((lr for lr in rates if not AtRate(setting, lr).too_early(NONE)), rates[0])


@dataclass(frozen=True)
class AtRate:
    """The runs of a comparison group at one learning rate. Variants are given as (norm, noise)."""

    setting: ComparisonGroup
    lr: float

    @property
    def title(self) -> str:
        """Title of the rate, such as ``lr 0.1``."""
        return rate_title(self.lr)

    def of(self, variant: tuple[str, str]) -> dict[int, list[ReportRun]]:
        """The runs of a variant by seed."""
        return self.setting.of(*variant, self.lr)

    def compare(
        self, quantity: Quantity, ours: tuple[str, str], theirs: tuple[str, str], **more: Any
    ) -> ClaimMeasure:
        """A quantity of one variant minus that of another, paired by seed; `more` holds `ClaimMeasure` fields."""
        effect = difference(quantity, self.of(ours), self.of(theirs))
        return ClaimMeasure(f"{quantity.name}, {_pair_named(ours, theirs, more)}", effect, **more)

    def compare_in_training(
        self, trace: Trace, *, until: float = 1.0, **more: Any
    ) -> tuple[ClaimMeasure, ClaimMeasure]:
        """A trace with BatchNorm minus that of the plain network while both train, paired by seed: at equal steps
        (within the first `until` share of the run), and at equal training loss."""
        mine, others = self.of(BATCH), self.of(NONE)
        name = f"{trace.name}, {_pair_named(BATCH, NONE, more)}"
        steps = in_training(trace, mine, others, lambda pair, a, b: pair.at_equal_steps(a, b, until=until))
        progress = in_training(trace, mine, others, Pair.at_equal_progress)
        measured = (trace.first(runs) for runs in (*mine.values(), *others.values()))
        fewest = min((len(trace_of_seed[1].steps) for trace_of_seed in measured if trace_of_seed), default=0)
        if progress is None and 0 < fewest < LEVELS:
            more |= {"caveat": f"{SELDOM} ({fewest} times) to be compared at the same training losses"}
        return (
            ClaimMeasure(f"{name}, {AT_EQUAL_STEPS}", steps, **more),
            ClaimMeasure(f"{name}, {AT_EQUAL_LOSS}", progress, **more),
        )

    def share_of_gain(self, quantity: Quantity, ours: tuple[str, str]) -> ClaimMeasure:
        """The share of BatchNorm's gain over the plain network that another variant loses: (batch - ours) /
        (batch - none), with means over the seeds common to all three."""
        mine, batch, none = (values_of(quantity, self.of(variant)) for variant in (ours, BATCH, NONE))
        seeds = sorted(mine.keys() & batch.keys() & none.keys())
        gain = {seed: batch[seed] - none[seed] for seed in seeds}
        effect = ratio_of_means({seed: batch[seed] - mine[seed] for seed in seeds}, gain)
        name = f"share of BatchNorm's gain that {_named(ours)} loses, {quantity.name}"
        caveat = "BatchNorm gains nothing here that could be lost" if gain and effect is None else ""
        return ClaimMeasure(name, effect, "below", MOST_OF_IT, signed=False, caveat=caveat)

    def part_in_training(self, title: str, measures: Sequence[ClaimMeasure]) -> ClaimPart:
        """A part whose measures compare BatchNorm with the plain network while both train, at equal steps and at
        equal training loss. If only the former was possible, it is too early, or measurements were too rare."""
        early = self.too_early(NONE, BATCH)
        counted = [measure for measure in measures if measure.counts]
        steps, losses = (
            any(measure.effect for measure in counted if measure.name.endswith(name))
            for name in (AT_EQUAL_STEPS, AT_EQUAL_LOSS)
        )
        if early or not steps or losses:
            return ClaimPart(title, tuple(measures), early)
        seldom = next((measure.caveat for measure in counted if measure.caveat.startswith(SELDOM)), "")
        apart = "" if seldom else "the networks have not yet passed the same training losses"
        return ClaimPart(title, tuple(measures), apart, blocked=seldom)

    def too_early(self, *variants: tuple[str, str]) -> str:
        """Why the runs are too early in training for statements about it: in more than half of the seeds, one of
        the variants has not left its start within the first tenth of the run. Empty if all have, or none was
        run."""
        return "; ".join(reason for variant in variants if (reason := self._too_early(variant, variants)))

    def _too_early(self, variant: tuple[str, str], variants: Sequence[tuple[str, str]]) -> str:
        left: list[float] = []
        for seed, runs in self.of(variant).items():
            if all(run.diverged for run in runs):  # divergence is a result, not a matter of time
                continue
            beside = [run for one in variants for run in self.of(one).get(seed, [])]
            curves = [run.training for run in beside if run.training]
            mine = next((run.training for run in runs if run.training), None)
            if mine is not None:
                start = min(curve.first for curve in curves if curve.of == mine.of)
                step = mine.below(LEFT * start)
                left.append(np.inf if step is None else step)
        late = [step for step in left if step >= LATEST_START * self.setting.steps]
        if 2 * len(late) <= len(left):
            return ""
        plain = {"none": "the plain network", "batch": "the network with BatchNorm"}
        name = plain.get(_named(variant), _named(variant))
        step = float(np.median(left))
        if np.isinf(step):
            return f"{name} has not left its initial plateau"
        return f"{name} has left its initial plateau only at step {step:,.0f} of {self.setting.steps:,}"


def at_each(
    rates: Callable[[ComparisonGroup], Iterable[float]], *parts: Callable[[AtRate], ClaimPart]
) -> Callable[[ComparisonGroup], tuple[Scope, ...]]:
    """The scopes of a claim that is judged separately at each of these learning rates."""

    def scopes(setting: ComparisonGroup) -> tuple[Scope, ...]:
        comparisons = (AtRate(setting, lr) for lr in rates(setting))
        return tuple(Scope(at.title, tuple(part(at) for part in parts)) for at in comparisons)

    return scopes


def rates_measured(table: str) -> Callable[[ComparisonGroup], list[float]]:
    """Learning rates at which both the plain network and the one with BatchNorm were run, and at which some run
    measured a probe's table as in the paper."""

    def rates(setting: ComparisonGroup) -> list[float]:
        runs = (run for run in setting.counted if table in run.columns.tables())
        measured = {run.variant.lr for run in runs if as_in_the_paper(run, table)}
        return [lr for lr in common_rates(setting, NONE, BATCH) if lr in measured]

    return rates


def rate_title(lr: float) -> str:
    """Title of a learning rate, such as ``lr 0.1``."""
    return f"lr {lr:g}"


def has(
    *wanted: tuple[str, str], rates: int = 1, images: bool | None = None
) -> Callable[[Sequence[Spec]], bool]:
    """A predicate: whether specs contain all the variants, given as (norm, noise), at `rates` common learning
    rates or more."""

    def met(specs: Sequence[Spec]) -> bool:
        seen: dict[tuple[str, str], set[float]] = {}
        for spec in specs:
            if images is None or isinstance(spec.data, ImageData) == images:
                variant = variant_of(spec)
                seen.setdefault((variant.norm, variant.noise), set()).add(variant.lr)
        rates_of = [seen.get(variant, set()) for variant in wanted]
        return len(set.intersection(*rates_of)) >= rates

    return met


def probe_need(probe: str, name: str, norms: Iterable[str] = ("none", "batch")) -> Need:
    """The need for a probe in networks of each of these norms; its option can be added to any preset."""

    def met(specs: Sequence[Spec]) -> bool:
        return set(norms) <= {spec.norm.kind for spec in specs if getattr(spec.probes, probe).every}

    return Need(f"{name} measured", met, f"--set probes.{probe}.every=100")


def _pair_named(ours: tuple[str, str], theirs: tuple[str, str], more: dict[str, Any]) -> str:
    return f"{_named(ours)} {'/' if more.get('ratio') else '−'} {_named(theirs)}"


def _named(variant: tuple[str, str]) -> str:
    return " + ".join(part for part in variant if part)
