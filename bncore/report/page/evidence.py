"""The evidence of a page, claim by claim."""

from __future__ import annotations

from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, ClaimVerdict, Finding, Verdict
from bncore.report.claims.judging import shown, shown_threshold
from bncore.report.document import Report
from bncore.report.page.markup import details, table, tag, text, unordered_list
from bncore.report.paper_runs import paper_measure, paper_said

WORDS = {
    Verdict.SUPPORTED: "for it",
    Verdict.CONTRADICTED: "against it",
    Verdict.INCONCLUSIVE: "open",
    Verdict.TOO_EARLY: "too early",
}
"""What a single measure says."""
KINDS = {
    Verdict.SUPPORTED: "yes",
    Verdict.CONTRADICTED: "no",
    Verdict.INCONCLUSIVE: "open",
    Verdict.TOO_EARLY: "open",
}


def evidence(document: Report) -> str:
    """The section that lists, claim by claim, what was compared and what came out."""
    return tag(
        "section",
        tag("h2", "Evidence, claim by claim")
        + "".join(_claim(document, judged) for judged in document.judged),
        id="evidence",
    )


def _claim(document: Report, judged: ClaimVerdict) -> str:
    claim, lacks = judged.claim, document.missing(judged)
    inner = tag("p", badge(judged.verdict) + " " + text(judged.why))
    standing = document.standing(judged)
    inner += tag("p", tag("small", text(standing))) if standing else ""
    if lacks.lacks:
        inner += tag("p", tag("b", "Missing: ") + text("; ".join(lacks.lacks)))
    if lacks.command:
        inner += tag("p", tag("b", "Would test it: ") + tag("code", text(lacks.command)))
    said = paper_said(claim)
    inner += tag("p", tag("b", "The paper's own curves under the same rules: ") + text(said)) if said else ""
    inner += tag("p", tag("b", "To keep in mind")) + unordered_list(claim.traps) if claim.traps else ""
    inner += "".join(_finding(claim, finding) for finding in judged.findings)
    heading = tag("h3", f"{text(claim.key)}: {text(claim.text)}")
    return tag("article", heading + inner, id=claim.key)


def _finding(claim: Claim, finding: Finding) -> str:
    where = f"{finding.setting.title}{f', {finding.scope.title}' if finding.scope.title else ''}"
    rows = [
        row
        for part in finding.scope.parts
        for row in (_part_row(part), *(_measure_row(claim, finding, measure) for measure in part.measures))
    ]
    header = ("", "effect [interval]", "seeds", "claimed", "says", "paper's curves")
    return details(f"{where}: {finding.verdict.value}", tag("p", text(finding.why)) + table(header, rows))


def _part_row(part: ClaimPart) -> tuple[str, ...]:
    reason = part.early or part.blocked
    said = tag("b", text(part.title)) + (tag("small", text(reason)) if reason else "")
    return said, "", "", "", badge(part.verdict, WORDS[part.verdict]), ""


def _measure_row(claim: Claim, finding: Finding, measure: ClaimMeasure) -> tuple[str, ...]:
    theirs = paper_measure(claim, finding.setting.network, finding.scope.title, measure.name)
    return (
        text(measure.name) + (tag("small", text(measure.caveat)) if measure.caveat else ""),
        text(shown(measure)),
        str(measure.effect.n) if measure.effect else "0",
        text(shown_threshold(measure)) if measure.counts else "not counted",
        text(WORDS[measure.outcome]) if measure.counts else "",
        text(shown(theirs, interval=False)) if theirs else "",
    )


def badge(verdict: Verdict, said: str = "") -> str:
    """A verdict as a coloured label, in other words where it stands for less than a claim."""
    return tag("span", text(said or verdict.value), class_=f"badge {KINDS[verdict]}")
