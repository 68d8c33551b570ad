"""A report: everything shown about a set of runs, independent of the output format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from bncore.report.claims import shift, smoothness
from bncore.report.claims.evidence import Claim, ClaimMeasure, ClaimPart, ClaimVerdict, Finding
from bncore.report.claims.judging import CLAIMS, judge, shown
from bncore.report.comparison_group import PLAIN, ComparisonGroup, Presentation, settings_of
from bncore.report.confounders import ControlTable, controls_of
from bncore.report.figures import figures_of, overviews
from bncore.report.missing import Missing, missing
from bncore.report.paper_fit import PaperFit, paper_fit
from bncore.report.paper_runs import paper_measure, paper_said
from bncore.report.quantities import (
    EARLY,
    Quantity,
    final_accuracy,
    final_log_loss,
    final_test_accuracy,
    late_reading,
    level,
    log_of,
    mean_of,
)
from bncore.report.rank import ReportPicture
from bncore.report.report_run import ReportRun, Variant
from bncore.report.statistics import Estimate
from bncore.store.journal import in_json

SUMMARY: tuple[Quantity, ...] = (
    Quantity("training accuracy", final_accuracy),
    Quantity("test accuracy", final_test_accuracy),
    Quantity("training loss", final_log_loss, log=True),
    Quantity("‖Δg‖/‖g‖ at a ≈ lr", mean_of(smoothness.RELATIVE.of), log=True),
    Quantity("β, early", mean_of(smoothness.BETA.of, last=EARLY), log=True),
    Quantity("β on 2/lr or 1/a_min, later", late_reading),
    Quantity("ICS ‖G − G′‖/‖G‖", mean_of(shift.RELATIVE.of), log=True),
    Quantity("‖ΔW‖/‖W‖", mean_of(log_of("probe:sharpness", "relative_update")), log=True),
)
"""Columns of the variants table."""


@dataclass(frozen=True)
class VariantRow:
    """One variant of a comparison group."""

    variant: Variant
    label: str
    seeds: int
    diverged: int
    levels: tuple[Estimate | None, ...]
    """Values in the order of `SUMMARY`."""


@dataclass(frozen=True)
class Report:
    """The results of a set of runs."""

    runs: tuple[ReportRun, ...]
    settings: tuple[ComparisonGroup, ...]
    judged: tuple[ClaimVerdict, ...]
    presentation: Presentation = PLAIN

    @property
    def title(self) -> str:
        """Names of the sweeps that contain the runs."""
        return ", ".join(dict.fromkeys(run.run.sweep.name for run in self.runs))

    @cached_property
    def pictures(self) -> tuple[ReportPicture, ...]:
        """The paper's figures that the runs cover, then the overviews of the remaining runs."""
        figures = tuple(figures_of(self.settings))
        covered = {picture.setting for picture in figures}
        others = [run for run in self.runs if run.spec is None and run.columns.tables()]
        return _numbered((*figures, *overviews(self.settings, others, covered, self.presentation)))

    @cached_property
    def fits(self) -> tuple[PaperFit, ...]:
        """How the paper's curves compare with the seeds, for each group that the paper has curves for."""
        return tuple(fit for fit in map(paper_fit, self.settings) if fit.text)

    def standing(self, judged: ClaimVerdict) -> str:
        """Whether the runs behind a verdict are the paper's experiment and reproduce its curves."""
        deciding = [f.setting for f in judged.findings if f.verdict == judged.verdict]
        return " ".join(fit.text for fit in self.fits if fit.setting in deciding)

    @cached_property
    def controls(self) -> tuple[ControlTable, ...]:
        """Tables of the confounder controls that the runs cover."""
        return tuple(controls_of(self.runs))

    def missing(self, judged: ClaimVerdict) -> Missing:
        """The missing evidence that would decide a claim."""
        return missing(judged, self.settings)

    def variants(self, setting: ComparisonGroup) -> tuple[VariantRow, ...]:
        """Summary rows of a group's counted runs, one per variant."""
        return tuple(
            VariantRow(
                variant,
                setting.label(variant),
                len(runs),
                sum(ones[0].diverged for ones in runs.values()),
                tuple(level(quantity, runs) for quantity in SUMMARY),
            )
            for variant, runs in setting.by_variant.items()
        )


def report_of(runs: tuple[ReportRun, ...], presentation: Presentation = PLAIN) -> Report:
    """Judge the claims by these runs.

    Arguments:
        presentation: how the runs are drawn.
    """
    presentation = presentation.of(runs)
    settings = settings_of(runs, presentation)
    judged = tuple(judge(claim, settings) for claim in CLAIMS)
    return Report(runs, settings, judged, presentation)


def as_json(document: Report) -> dict[str, Any]:
    """The report without the pictures' data points, for other programs."""
    return {
        "runs": [_run_json(run) for run in document.runs],
        "claims": [_claim_json(document, judged) for judged in document.judged],
        "variants": [
            {"setting": setting.title, **_variant_json(row)}
            for setting in document.settings
            for row in document.variants(setting)
        ],
        "controls": [_control_json(table) for table in document.controls],
        "paper_fit": [_fit_json(fit) for fit in document.fits],
        "figures": [
            {
                **_named(picture, "name", "title", "setting"),
                "panels": [plot.title for plot in picture.panels],
                "notes": list(picture.notes),
                "paper": [
                    asdict(rank) | {"words": rank.words, "outside": rank.outside} for rank in picture.ranks
                ],
            }
            for picture in document.pictures
        ],
    }


def _fit_json(fit: PaperFit) -> dict[str, Any]:
    return {
        "setting": fit.setting.title,
        "text": fit.text,
        "differs": list(fit.differs),
        "seeds": fit.seeds,
        "curves": len(fit.ranks),
        "outside": len(fit.outside),
        "outside_by_chance": fit.by_chance,
    }


def _control_json(table: ControlTable) -> dict[str, Any]:
    return {
        "control": table.control.key,
        "network": table.network,
        "quantity": table.quantity.name,
        "log10": table.quantity.log,
        "levels": [
            {"row": name, "column": column, "mean": cell and cell.mean, "seeds": cell.n if cell else 0}
            for name, cells in table.rows
            for column, cell in zip(table.columns, cells, strict=True)
        ],
    }


def _run_json(run: ReportRun) -> dict[str, Any]:
    return {
        "run": run.name,
        "path": str(run.run.path),
        "variant": run.variant.label,
        "lr": run.variant.lr if run.spec else None,
        **_named(run, "seed", "data"),
        **_named(run.view, "state", "step"),
        "counts": run.counts,
        "why_not": run.excluded_because,
        "message": run.message,
        "warning": run.view.warning,
        "loss": in_json(run.view.newest("step", "loss")),
        "test_accuracy": in_json(run.view.newest("eval", "test_accuracy")),
    }


def _claim_json(document: Report, judged: ClaimVerdict) -> dict[str, Any]:
    lacks = document.missing(judged)
    return {
        "claim": judged.claim.key,
        **_named(judged.claim, "text", "place"),
        **_named(judged, "verdict", "why"),
        "standing": document.standing(judged),
        "paper_curves": paper_said(judged.claim),
        "traps": list(judged.claim.traps),
        "missing": list(lacks.lacks),
        "command": lacks.command,
        "findings": [_finding_json(judged.claim, finding) for finding in judged.findings],
    }


def _finding_json(claim: Claim, finding: Finding) -> dict[str, Any]:
    return {
        "setting": finding.setting.title,
        "scope": finding.scope.title,
        **_named(finding, "verdict", "why"),
        "parts": [_part_json(claim, finding, part) for part in finding.scope.parts],
    }


def _part_json(claim: Claim, finding: Finding, part: ClaimPart) -> dict[str, Any]:
    measures = [_measure_json(claim, finding, measure) for measure in part.measures]
    return {**_named(part, "title", "verdict", "early", "blocked"), "measures": measures}


def _measure_json(claim: Claim, finding: Finding, measure: ClaimMeasure) -> dict[str, Any]:
    theirs = paper_measure(claim, finding.setting.network, finding.scope.title, measure.name)
    return {
        "name": measure.name,
        "effect": _estimate_json(measure.effect),
        "shown": shown(measure),
        "paper": shown(theirs, interval=False) if theirs else None,
        "log10": measure.ratio,
        **_named(measure, "side", "threshold", "counts", "outcome", "caveat"),
    }


def _variant_json(row: VariantRow) -> dict[str, Any]:
    levels = {
        quantity.name: {"log10": quantity.log, **(_estimate_json(one) or {})}
        for quantity, one in zip(SUMMARY, row.levels, strict=True)
        if one is not None
    }
    return {"variant": asdict(row.variant), **_named(row, "seeds", "diverged"), "levels": levels}


def _named(one: object, *names: str) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


def _estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    by_seed = {str(seed): value for seed, value in estimate.values}
    return {**_named(estimate, "mean", "low", "high", "n"), "by_seed": by_seed}


def _numbered(pictures: Sequence[ReportPicture]) -> tuple[ReportPicture, ...]:
    """Pictures with unique names: a figure covered by several groups becomes ``fig1``, ``fig1-2``."""

    seen: Counter[str] = Counter()
    numbered = []
    for picture in pictures:
        seen[picture.name] += 1
        number = f"-{seen[picture.name]}" if seen[picture.name] > 1 else ""
        numbered.append(replace(picture, name=f"{picture.name}{number}"))
    return tuple(numbered)
