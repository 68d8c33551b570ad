"""From measures to a verdict: the rules that hold for every claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bncore.config.model import Spec
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.statistics import ENOUGH_SEEDS, Estimate


class Verdict(StrEnum):
    """What runs say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    TOO_EARLY = "too early"


@dataclass(frozen=True)
class ClaimMeasure:
    """One measured effect, and on which side of which value it must lie for the claim."""

    name: str
    """What was measured of what, such as ``final accuracy, batch - none``."""
    effect: Estimate | None
    """None where these runs did not measure it."""
    side: Literal["above", "below"] = "above"
    threshold: float = 0.0
    counts: bool = True
    """Whether it counts for the verdict; the others are there to be read."""
    caveat: str = ""
    """A known trap in this measure."""
    ratio: bool = False
    """Whether the effect is a log10 of a ratio, to be shown as that ratio."""
    signed: bool = True
    """Whether it is a difference, to be shown with its sign."""

    @property
    def outcome(self) -> Verdict:
        """Whether the interval lies wholly on one side of the threshold."""
        if self.effect is None or self.effect.n < ENOUGH_SEEDS:
            return Verdict.INCONCLUSIVE
        above, below = self.effect.low > self.threshold, self.effect.high < self.threshold
        if self.side == "below":
            above, below = below, above
        return Verdict.SUPPORTED if above else Verdict.CONTRADICTED if below else Verdict.INCONCLUSIVE

    @property
    def leaning(self) -> str:
        """Where the mean lies, for runs that are too few or too scattered to decide."""
        if self.effect is None:
            return "not measured"
        toward = self.effect.mean > self.threshold
        return "in favor of the claim" if toward == (self.side == "above") else "against the claim"


@dataclass(frozen=True)
class ClaimPart:
    """One half of what a claim says; its measures must agree."""

    title: str
    measures: tuple[ClaimMeasure, ...]
    early: str = ""
    """Why these runs stand too early in training to tell, whatever was measured; empty where they do not."""
    blocked: str = ""
    """Why these runs cannot tell for another reason; empty where they can."""

    @property
    def verdict(self) -> Verdict:
        """What all the measures say that count and were taken; inconclusive where they disagree or one is open."""
        if self.early:
            return Verdict.TOO_EARLY
        found = {measure.outcome for measure in self.known}
        return found.pop() if len(found) == 1 and not self.blocked else Verdict.INCONCLUSIVE

    @property
    def known(self) -> tuple[ClaimMeasure, ...]:
        """The measures that count and were taken."""
        return tuple(measure for measure in self.measures if measure.counts and measure.effect is not None)


@dataclass(frozen=True)
class Scope:
    """One comparison, such as none and batch at one learning rate, with what was measured in it."""

    title: str
    """Within its setting, such as ``lr 0.1``; empty where there is but one."""
    parts: tuple[ClaimPart, ...]
    alternatives: bool = False
    """Whether one part is enough for the claim, all of them are needed against it; else the other way round."""

    @property
    def verdict(self) -> Verdict:
        """Of all parts together."""
        found = [part.verdict for part in self.parts]
        one, all_of = Verdict.CONTRADICTED, Verdict.SUPPORTED
        if self.alternatives:
            one, all_of = all_of, one
        if one in found:
            return one
        if found and set(found) == {all_of}:
            return all_of
        return Verdict.TOO_EARLY if Verdict.TOO_EARLY in found else Verdict.INCONCLUSIVE

    @property
    def measures(self) -> tuple[ClaimMeasure, ...]:
        """Of every part."""
        return tuple(measure for part in self.parts for measure in part.measures)

    @property
    def measured(self) -> bool:
        """Whether anything was, or could not yet be."""
        known = any(measure.effect is not None for measure in self.measures)
        return known or any(part.early for part in self.parts)


@dataclass(frozen=True)
class Need:
    """Something without which a claim cannot be decided."""

    text: str
    met: Callable[[Sequence[Spec]], bool]
    """By specs that may be compared: those of one setting."""
    option: str = ""
    """What to add to a preset's command line for it, where a preset could have it."""


@dataclass(frozen=True)
class Claim:
    """One row of the table."""

    key: str
    """``C1`` to ``C11``."""
    text: str
    place: str
    """Where in the paper."""
    scopes: Callable[[ComparisonGroup], tuple[Scope, ...]]
    """What a setting's runs say; nothing where the claim is not about such networks."""
    needs: tuple[Need, ...]
    traps: tuple[str, ...] = ()
    """What misleads here; shown whatever the verdict."""
    resolved_elsewhere: str = ""
    """For a claim that no run can decide: what does, and what it says."""
    short: str = ""
    """In at most 32 letters, for a summary; default: the whole text."""


@dataclass(frozen=True)
class Finding:
    """What one scope of one setting says."""

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
    """One or two sentences."""
    findings: tuple[Finding, ...]
