"""From measures to a verdict: the rules that apply to every claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bncore.config.model import Spec
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.statistics import ENOUGH_SEEDS, Estimate


class Verdict(StrEnum):
    """What runs say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    TOO_EARLY = "too early"


@dataclass(frozen=True)
class ClaimMeasure:
    """One measured effect, and the side of a threshold on which it supports the claim."""

    name: str
    """Quantity and compared variants, such as ``final accuracy, batch - none``."""
    effect: Estimate | None
    """None if these runs did not measure it."""
    side: Literal["above", "below"] = "above"
    threshold: float = 0.0
    counts: bool = True
    """Whether it counts toward the verdict; other measures are for information only."""
    caveat: str = ""
    """A known trap in this measure."""
    ratio: bool = False
    """Whether the effect is the log10 of a ratio, shown as that ratio."""
    signed: bool = True
    """Whether the effect is a difference, shown with its sign."""

    @property
    def outcome(self) -> Verdict:
        """The verdict of this measure alone: decided if the interval lies wholly on one side of the threshold."""
        if self.effect is None or self.effect.n < ENOUGH_SEEDS:
            return Verdict.INCONCLUSIVE
        above, below = self.effect.low > self.threshold, self.effect.high < self.threshold
        if self.side == "below":
            above, below = below, above
        return Verdict.SUPPORTED if above else Verdict.CONTRADICTED if below else Verdict.INCONCLUSIVE

    @property
    def leaning(self) -> str:
        """The side on which the mean lies, for runs that are too few or too scattered to decide."""
        if self.effect is None:
            return "not measured"
        toward = self.effect.mean > self.threshold
        return "in favor of the claim" if toward == (self.side == "above") else "against the claim"


@dataclass(frozen=True)
class ClaimPart:
    """One part of a claim's statement; its measures must agree."""

    title: str
    measures: tuple[ClaimMeasure, ...]
    early: str = ""
    """Why these runs are too early in training to tell, whatever they measured; empty if they are not."""
    blocked: str = ""
    """Why these runs cannot tell for any other reason; empty if they can."""

    @property
    def verdict(self) -> Verdict:
        """The common verdict of all known measures; inconclusive if they disagree or one is inconclusive."""
        if self.early:
            return Verdict.TOO_EARLY
        verdicts = {measure.outcome for measure in self.measured}
        return verdicts.pop() if len(verdicts) == 1 and not self.blocked else Verdict.INCONCLUSIVE

    @property
    def measured(self) -> tuple[ClaimMeasure, ...]:
        """Measures that count and have an effect."""
        return tuple(measure for measure in self.measures if measure.counts and measure.effect is not None)


@dataclass(frozen=True)
class Scope:
    """One comparison, such as none and batch at one learning rate, with its measures."""

    title: str
    """Name within its comparison group, such as ``lr 0.1``; empty if there is only one scope."""
    parts: tuple[ClaimPart, ...]
    alternatives: bool = False
    """If true, one supported part supports the claim and all parts must contradict to contradict it; otherwise the
    reverse."""

    @property
    def verdict(self) -> Verdict:
        """The verdict of all parts together."""
        verdicts = [part.verdict for part in self.parts]
        one, all_of = Verdict.CONTRADICTED, Verdict.SUPPORTED
        if self.alternatives:
            one, all_of = all_of, one
        if one in verdicts:
            return one
        if verdicts and set(verdicts) == {all_of}:
            return all_of
        return Verdict.TOO_EARLY if Verdict.TOO_EARLY in verdicts else Verdict.INCONCLUSIVE

    @property
    def measures(self) -> tuple[ClaimMeasure, ...]:
        """The measures of every part."""
        return tuple(measure for part in self.parts for measure in part.measures)

    @property
    def measured(self) -> bool:
        """Whether anything was measured, or the runs are too early."""
        return any(measure.effect for measure in self.measures) or any(part.early for part in self.parts)


@dataclass(frozen=True)
class Need:
    """Something without which a claim cannot be decided."""

    text: str
    met: Callable[[Sequence[Spec]], bool]
    """Whether comparable specs, those of one comparison group, meet the need."""
    option: str = ""
    """Option that makes a preset meet the need; empty if no option does."""


@dataclass(frozen=True)
class Claim:
    """One claim: a row of `judging.CLAIMS`."""

    key: str
    """``C1`` to ``C11``."""
    text: str
    place: str
    """Place in the paper."""
    scopes: Callable[[ComparisonGroup], tuple[Scope, ...]]
    """The scopes of the claim in a comparison group; empty if the claim is not about such networks."""
    needs: tuple[Need, ...]
    traps: tuple[str, ...] = ()
    """Known pitfalls, shown whatever the verdict."""
    resolved_elsewhere: str = ""
    """For a claim that no run can decide: what decides it instead, and its result."""
    short: str = ""
    """Summary in at most 32 characters; default: the whole text."""


@dataclass(frozen=True)
class Finding:
    """The verdict in one scope of one comparison group."""

    setting: ComparisonGroup
    scope: Scope
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim with its verdict."""

    claim: Claim
    verdict: Verdict
    why: str
    """Explanation in one or two sentences."""
    findings: tuple[Finding, ...]
