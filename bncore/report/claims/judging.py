"""From measurements to a verdict and the sentence that explains it, the same for every claim of the paper and of
its review."""

from __future__ import annotations

from collections.abc import Sequence

from bncore.report.claims import causes, noise, norms, shift, smoothness, theorems, training
from bncore.report.claims.evidence import (
    Claim,
    ClaimMeasure,
    ClaimPart,
    ClaimVerdict,
    Finding,
    Scope,
    Verdict,
)
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.statistics import ENOUGH_SEEDS

SPOKEN = 2
"""Most comparisons named in the sentence beside a verdict; the tables below show the others."""


def judge(claim: Claim, settings: Sequence[ComparisonGroup]) -> ClaimVerdict:
    """A claim's verdict from all relevant measurements of these runs."""
    if claim.resolved_elsewhere:
        return ClaimVerdict(claim, Verdict.INCONCLUSIVE, claim.resolved_elsewhere, ())
    findings = tuple(
        Finding(setting, scope, *_judged(setting, scope))
        for setting in settings
        for scope in claim.scopes(setting)
        if scope.measured
    )
    if not findings:
        return ClaimVerdict(claim, Verdict.INCONCLUSIVE, _nothing(settings), ())
    return ClaimVerdict(claim, *_together(findings, alone=len(settings) == 1), findings)


def _judged(setting: ComparisonGroup, scope: Scope) -> tuple[Verdict, str]:
    verdict = scope.verdict
    if setting.synthetic:
        return Verdict.INCONCLUSIVE, f"synthetic images are not evidence; on them: {_said(scope, verdict)}"
    return verdict, _said(scope, verdict)


def _said(scope: Scope, verdict: Verdict) -> str:
    """The explanation: the deciding parts; for an inconclusive verdict, the inconclusive parts and the verdicts of
    the others."""
    if verdict == Verdict.TOO_EARLY:
        return "; ".join(dict.fromkeys(part.early for part in scope.parts if part.verdict == verdict))
    sentences = [_part_said(part) for part in scope.parts if part.verdict == verdict]
    others = [part for part in scope.parts if part.verdict != verdict]
    if verdict == Verdict.INCONCLUSIVE:
        sentences += [f"{part.title}: {part.verdict.value}" for part in others]
    return "; ".join(sentences)


def _part_said(part: ClaimPart) -> str:
    """The part with its most telling measure: one with the part's own verdict, else the first."""
    if part.early or part.blocked:
        return f"{part.title}: {part.early or part.blocked}"
    measured = part.measured
    if not measured:
        uncounted = not any(measure.counts for measure in part.measures) and part.measures[0].caveat
        return f"{part.title}: {uncounted or 'not measured'}"
    outcomes = {measure.outcome for measure in measured}
    if part.verdict == Verdict.INCONCLUSIVE and Verdict.INCONCLUSIVE not in outcomes:
        return f"{part.title}: its measures disagree: {', '.join(map(_measure_said, measured))}"
    telling = next((m for m in measured if m.outcome == part.verdict), measured[0])
    others = len(measured) - 1
    more = f", and {others} other measure{'s' if others > 1 else ''}" if others else ""
    return f"{part.title}: {_measure_said(telling)}{more}"


def _measure_said(measure: ClaimMeasure) -> str:
    assert measure.effect is not None
    number = f"{measure.name} {shown(measure)} ({seeds(measure.effect.n)})"
    if measure.outcome != Verdict.INCONCLUSIVE:
        return number
    few = measure.effect.n < ENOUGH_SEEDS
    reason = f"fewer than {ENOUGH_SEEDS} seeds" if few else "the interval holds both"
    return f"{number}, {measure.leaning}, but {reason}"


def _nothing(settings: Sequence[ComparisonGroup]) -> str:
    """Why there is no finding, naming runs that do not count if there are any."""
    runs = [run for setting in settings for run in setting.runs]
    apart = [run for run in runs if not run.counts]
    if not apart:
        return "These runs have no measurement that counts."
    return (
        f"No run that counts measured it; {len(apart)} of {len(runs)} runs do not count, such as {apart[0].name} "
        f"({apart[0].excluded_because})."
    )


def _together(findings: Sequence[Finding], *, alone: bool) -> tuple[Verdict, str]:
    """Verdict and explanation over all findings; `alone`: the only comparison group need not be named."""
    verdicts = {finding.verdict for finding in findings}
    decided = verdicts & {Verdict.SUPPORTED, Verdict.CONTRADICTED}
    if len(decided) == 2:
        sides = [
            f"{verdict.value} by {_where([f for f in findings if f.verdict == verdict])}"
            for verdict in (Verdict.SUPPORTED, Verdict.CONTRADICTED)
        ]
        return Verdict.INCONCLUSIVE, f"The settings disagree: {'; '.join(sides)}."
    early = verdicts == {Verdict.TOO_EARLY}
    verdict = decided.pop() if decided else Verdict.TOO_EARLY if early else Verdict.INCONCLUSIVE
    speaking = [finding for finding in findings if finding.verdict == verdict]
    places = [_where([f]) if not alone else f.scope.title for f in speaking[:SPOKEN]]
    text = ". ".join(
        f"{place}: {f.why}" if place else f.why[:1].upper() + f.why[1:]
        for place, f in zip(places, speaking, strict=False)
    )
    text += "." if len(speaking) <= SPOKEN else f"; and {len(speaking) - SPOKEN} more below."
    open_ones = len(findings) - len(speaking)
    if open_ones:
        were = "s were" if open_ones > 1 else " was"
        text += f" {open_ones} other comparison{were} inconclusive or too early."
    return verdict, text


def _where(findings: Sequence[Finding]) -> str:
    return " and ".join(f"{f.setting.title}{f', {f.scope.title}' if f.scope.title else ''}" for f in findings)


def shown(measure: ClaimMeasure, *, interval: bool = True) -> str:
    """The effect with its interval, if it has one; the log10 of a ratio is shown as the ratio."""
    effect = measure.effect
    if effect is None:
        return "not measured"
    mean, low, high = (_number(measure, value) for value in (effect.mean, effect.low, effect.high))
    return f"{mean} [{low}, {high}]" if interval and effect.n > 1 else mean


def _number(measure: ClaimMeasure, value: float) -> str:
    if measure.ratio:
        return f"×{10**value:.3g}"
    return f"{value:+.3g}" if measure.signed else f"{value:.3g}"


def shown_threshold(measure: ClaimMeasure) -> str:
    """The threshold of a measure, such as ``> 0`` or ``< ×1``."""
    sign = ">" if measure.side == "above" else "<"
    return f"{sign} ×{10**measure.threshold:.3g}" if measure.ratio else f"{sign} {measure.threshold:g}"


def seeds(n: int) -> str:
    """A number of seeds in words: ``1 seed only``, ``5 seeds``."""
    return "1 seed only" if n == 1 else f"{n} seeds"


CLAIMS: tuple[Claim, ...] = (
    training.CLAIM,
    noise.CLAIM,
    shift.CLAIM,
    smoothness.LIPSCHITZ_CLAIM,
    smoothness.BETA_CLAIM,
    norms.CLAIM,
    theorems.LIPSCHITZ_CLAIM,
    theorems.HESSIAN_CLAIM,
    theorems.WORST_CASE_CLAIM,
    theorems.LEMMA_CLAIM,
    causes.CLAIM,
)
