"""From measures to a verdict: the rules that hold for every claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bncore.report.runs import Setting
from bncore.report.statistics import ENOUGH_SEEDS, Estimate
from bncore.spec.model import Spec

SPOKEN = 2
"""Most comparisons that the sentence beside a verdict tells of; the others are in the tables below."""


class Verdict(StrEnum):
    """What runs say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    NOT_SETTLED = "not settled by these runs"


@dataclass(frozen=True)
class Measure:
    """One measured effect, and on which side of which value it must lie for the claim."""

    name: str
    """What was measured of what, such as ``final accuracy, batch - none``."""
    effect: Estimate | None
    """None where these runs did not measure it."""
    side: Literal["above", "below"] = "above"
    threshold: float = 0.0
    counts: bool = True
    """Whether it bears on the verdict; the others are there to be read."""
    caveat: str = ""
    """A known trap in this measure."""
    ratio: bool = False
    """Whether the effect is a log10 of a ratio, to be shown as that ratio."""

    @property
    def outcome(self) -> Verdict:
        """Whether the interval lies wholly on one side of the threshold."""
        if self.effect is None or self.effect.n < ENOUGH_SEEDS:
            return Verdict.NOT_SETTLED
        above, below = self.effect.low > self.threshold, self.effect.high < self.threshold
        if self.side == "below":
            above, below = below, above
        return Verdict.SUPPORTED if above else Verdict.CONTRADICTED if below else Verdict.NOT_SETTLED

    @property
    def leaning(self) -> str:
        """Where the mean lies, for runs that are too few or too scattered to settle it."""
        if self.effect is None:
            return "not measured"
        toward = self.effect.mean > self.threshold
        return "towards the claim" if toward == (self.side == "above") else "against the claim"


@dataclass(frozen=True)
class Part:
    """One half of what a claim says; its measures must agree."""

    title: str
    measures: tuple[Measure, ...]
    blocked: str = ""
    """Why these runs cannot settle it, whatever was measured; empty where they can."""

    @property
    def verdict(self) -> Verdict:
        """What all the measures that count say; not settled where they disagree or one is open."""
        if self.blocked:
            return Verdict.NOT_SETTLED
        found = {measure.outcome for measure in self.measures if measure.counts}
        return found.pop() if len(found) == 1 else Verdict.NOT_SETTLED


@dataclass(frozen=True)
class Scope:
    """One comparison, such as none and batch at one learning rate, with what was measured in it."""

    title: str
    """Within its setting, such as ``lr 0.1``; empty where there is but one."""
    parts: tuple[Part, ...]
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
        return all_of if found and set(found) == {all_of} else Verdict.NOT_SETTLED

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Of every part."""
        return tuple(measure for part in self.parts for measure in part.measures)

    @property
    def measured(self) -> bool:
        """Whether anything was."""
        return any(measure.effect is not None for measure in self.measures)


@dataclass(frozen=True)
class Need:
    """Something without which a claim cannot be settled."""

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
    scopes: Callable[[Setting], tuple[Scope, ...]]
    """What a setting's runs say; nothing where the claim is not about such networks."""
    needs: tuple[Need, ...]
    traps: tuple[str, ...] = ()
    """What misleads here; shown whatever the verdict."""
    images_only: bool = False
    """Whether the paper claims it of networks on images."""
    settled_elsewhere: str = ""
    """For a claim that no run can settle: what does, and what it says."""


@dataclass(frozen=True)
class Finding:
    """What one scope of one setting says."""

    setting: Setting
    scope: Scope
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Weighed:
    """A claim with its verdict."""

    claim: Claim
    verdict: Verdict
    why: str
    """One or two sentences."""
    findings: tuple[Finding, ...]


def weigh(claim: Claim, settings: Sequence[Setting]) -> Weighed:
    """A claim's verdict by everything that these runs measured of it."""
    if claim.settled_elsewhere:
        return Weighed(claim, Verdict.NOT_SETTLED, claim.settled_elsewhere, ())
    findings = tuple(
        Finding(setting, scope, *_judged(setting, scope))
        for setting in settings
        for scope in claim.scopes(setting)
        if scope.measured
    )
    verdict, why = _together(claim, findings)
    return Weighed(claim, verdict, why, findings)


def _judged(setting: Setting, scope: Scope) -> tuple[Verdict, str]:
    verdict = scope.verdict
    if setting.synthetic:
        return Verdict.NOT_SETTLED, f"synthetic images settle nothing; there {_said(scope, verdict)}"
    return verdict, _said(scope, verdict)


def _said(scope: Scope, verdict: Verdict) -> str:
    """Why: the parts that decide, else all that were measured."""
    parts = [part for part in scope.parts if part.verdict == verdict]
    return "; ".join(_part_said(part) for part in parts)


def _part_said(part: Part) -> str:
    """The part with the measure that tells most: of an open part one that is open, else the first."""
    if part.blocked:
        return f"{part.title}: {part.blocked}"
    known = [measure for measure in part.measures if measure.counts and measure.effect is not None]
    if not known:
        seen = [
            measure for measure in part.measures if not measure.counts and measure.effect and measure.caveat
        ]
        return f"{part.title}: {seen[0].caveat if seen else 'not measured'}"
    outcomes = {measure.outcome for measure in known}
    if part.verdict == Verdict.NOT_SETTLED and Verdict.NOT_SETTLED not in outcomes:
        return f"{part.title}: its measures disagree: {', '.join(map(_measure_said, known))}"
    telling = next((m for m in known if m.outcome == part.verdict), known[0])
    others = len(known) - 1
    more = f", and {others} other measure{'s' if others > 1 else ''}" if others else ""
    return f"{part.title}: {_measure_said(telling)}{more}"


def _measure_said(measure: Measure) -> str:
    assert measure.effect is not None
    number = f"{measure.name} {shown(measure)} ({seeds(measure.effect.n)})"
    if measure.outcome != Verdict.NOT_SETTLED:
        return number
    few = measure.effect.n < ENOUGH_SEEDS
    reason = f"fewer than {ENOUGH_SEEDS} seeds" if few else "the interval holds both"
    return f"{number}, {measure.leaning}, but {reason}"


def _together(claim: Claim, findings: Sequence[Finding]) -> tuple[Verdict, str]:
    if not findings:
        return Verdict.NOT_SETTLED, "These runs measured nothing that bears on it."
    said = {finding.verdict for finding in findings}
    decided = said - {Verdict.NOT_SETTLED}
    if len(decided) == 2:
        sides = [
            f"{verdict.value} by {_where([f for f in findings if f.verdict == verdict])}"
            for verdict in (Verdict.SUPPORTED, Verdict.CONTRADICTED)
        ]
        return Verdict.NOT_SETTLED, f"The settings disagree: {'; '.join(sides)}."
    verdict = decided.pop() if decided else Verdict.NOT_SETTLED
    speaking = [finding for finding in findings if finding.verdict == verdict]
    text = ". ".join(f"{_where([finding])}: {finding.why}" for finding in speaking[:SPOKEN])
    text += "." if len(speaking) <= SPOKEN else f"; and {len(speaking) - SPOKEN} more below."
    open_ones = len(findings) - len(speaking)
    if open_ones:
        text += f" {open_ones} other comparison{'s' if open_ones > 1 else ''} did not settle it."
    return verdict, text


def _where(findings: Sequence[Finding]) -> str:
    return " and ".join(f"{f.setting.title}{f', {f.scope.title}' if f.scope.title else ''}" for f in findings)


def shown(measure: Measure) -> str:
    """The effect with its interval, as a ratio where it is the log10 of one."""
    effect = measure.effect
    if effect is None:
        return "not measured"
    numbers = [effect.mean, effect.low, effect.high]
    if measure.ratio:
        mean, low, high = (f"×{_ratio(10**number)}" for number in numbers)
    else:
        mean, low, high = (f"{number:+.3g}" for number in numbers)
    return mean if effect.n == 1 else f"{mean} [{low}, {high}]"


def shown_threshold(measure: Measure) -> str:
    """``> 0``, ``< ×1``."""
    sign = ">" if measure.side == "above" else "<"
    return f"{sign} ×{_ratio(10**measure.threshold)}" if measure.ratio else f"{sign} {measure.threshold:g}"


def seeds(n: int) -> str:
    """``1 seed``, ``5 seeds``."""
    return "1 seed only" if n == 1 else f"{n} seeds"


def _ratio(value: float) -> str:
    return f"{value:.3g}"
