"""The paper's own curves in the form of runs, so that the rules of every claim can be applied to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bncore.config.load import load_experiment
from bncore.config.measure import Measure
from bncore.config.model import Spec
from bncore.config.plan import plan
from bncore.figure import Floats
from bncore.follow.run_view import RunView
from bncore.measures import MEASURES
from bncore.report.claims.evidence import Claim, ClaimMeasure, Verdict
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.paper import FILES, LOGARITHMIC, PaperCurve, all_curves
from bncore.report.report_run import ReportRun, Variant, variant_of
from bncore.report.statistics import ENOUGH_SEEDS
from bncore.store.columns import Columns
from bncore.store.paths import RunDir
from bncore.store.status import Status

_Samples = dict[tuple[str, int], dict[str, dict[int, float]]]
"""Values by (table, step), field, and layer (0 for a field without layers)."""

TITLE = "the paper's own curves"
EVERY = {"vgg": 100, "dln": 50}
"""Steps between samples in the paper's figures."""
NETWORKS = {"vgg": "VGG", "dln": "linear network"}
DLN_FIGURES = frozenset({"3b", "5b", "10", "11b"})
APART = frozenset({"3a", "3b"})
"""Figures that show different runs from those that the other figures share."""


_UNDRAWN = frozenset({"test_accuracy", "mean_drift", "variance_drift", "difference_by_length"})
"""Panels that no rule uses, that show a single measurement, or that show changes not journaled in this form."""


@dataclass(frozen=True)
class _Source:
    """A panel of the paper that shows a journaled field."""

    key: str
    """Key of the panel, as in `bncore.report.paper.FILES`."""
    figure: str
    layers: tuple[int, ...]
    """Layer numbers; just 0 if the panel is not per layer."""
    measure: Measure

    @property
    def network(self) -> str:
        return "dln" if self.figure in DLN_FIGURES else "vgg"


def _sources() -> Iterator[_Source]:
    """The panels of the figures that show journaled fields. The paper draws no loss curve of its VGG: the lower
    edge of the loss along the gradient, weight penalty included, stands in for it. If that is missing too,
    progress is read from the accuracy."""
    for (key, figure), files in FILES.items():
        if key not in _UNDRAWN:
            layers = tuple(dict.fromkeys(file.layer or 0 for file in files))
            measure = MEASURES[key].in_paper or MEASURES[key]
            yield _Source(key, figure, layers, measure)
            if (key, figure) == ("loss_band", "4"):
                yield _Source(key, figure, layers, MEASURES["loss"])


@cache
def paper_settings(until: int | None = None) -> tuple[ComparisonGroup, ...]:
    """The paper's VGG and deep linear network as comparison groups, Fig 3 separately, cut off after step `until`.

    Each curve stands for `ENOUGH_SEEDS` equal seeds: what matters is the verdict of the rules on the curves, not
    the spread between seeds."""
    specs = {
        ("dln" if run.spec.net.kind == "dln" else "vgg", variant_of(run.spec)): run.spec
        for run in plan(load_experiment("paper"), profile="paper").runs
    }
    return tuple(_setting(network, specs, until, apart=apart) for network in EVERY for apart in (False, True))


@dataclass(frozen=True)
class PaperReading:
    """The verdict of one part of a claim on the paper's own curves."""

    network: str
    scope: str
    part: str
    verdict: Verdict
    measures: tuple[ClaimMeasure, ...]
    """Measures that the curves suffice for."""


@cache
def paper_readings(claim: Claim) -> tuple[PaperReading, ...]:
    """The verdicts of a claim's rules on the paper's own curves; empty if the curves do not suffice."""
    return tuple(
        PaperReading(setting.network, scope.title, part.title, part.verdict, part.measured)
        for setting in paper_settings()
        for scope in claim.scopes(setting)
        for part in scope.parts
        if part.measured
    )


def paper_measure(claim: Claim, network: str, scope: str, name: str) -> ClaimMeasure | None:
    """A claim's measure on the paper's curves of the same network and learning rate, or None."""
    readings = (r for r in paper_readings(claim) if (r.network, r.scope) == (network, scope))
    return next((m for reading in readings for m in reading.measures if m.name == name), None)


def paper_said(claim: Claim) -> str:
    """The verdicts on the paper's own curves in one line, such as ``more predictive gradients: supported (VGG, lr
    0.1)``; empty if the curves suffice for none."""
    places_of: dict[str, list[str]] = {}
    for reading in paper_readings(claim):
        where = ", ".join(filter(None, (NETWORKS[reading.network], reading.scope)))
        places_of.setdefault(f"{reading.part}: {reading.verdict.value}", []).append(where)
    return "; ".join(
        f"{sentence} ({'; '.join(dict.fromkeys(places))})" for sentence, places in places_of.items()
    )


def _setting(
    network: str, specs: dict[tuple[str, Variant], Spec], until: int | None, *, apart: bool
) -> ComparisonGroup:
    samples: dict[Variant, _Samples] = {}
    for source in _sources():
        if source.network == network and (source.figure in APART) == apart:
            _collect(source, until, samples)
    runs = [run for variant, drawn in samples.items() for run in _runs(specs[network, variant], drawn, until)]
    return ComparisonGroup(TITLE, network, network == "vgg", False, runs[0].steps, tuple(runs))


def _runs(spec: Spec, samples: _Samples, until: int | None) -> Iterator[ReportRun]:
    columns = Columns()
    columns.add((_event(*key, samples[key]) for key in sorted(samples)), in_front=False)
    steps = spec.steps if until is None else min(until, spec.steps)
    for seed in range(ENOUGH_SEEDS):
        own = spec.model_copy(update={"seed": seed, "steps": steps})
        run = RunDir(Path(TITLE) / f"{variant_of(spec).label}-s{seed}")
        yield ReportRun(RunView(run, "finished", Status("finished", steps, steps), columns, settings=own))


def _collect(source: _Source, until: int | None, samples: dict[Variant, _Samples]) -> None:
    """Add the samples of a source's panel to those of its variants."""
    measure = source.measure
    for layer in source.layers:
        for curve in all_curves(source.key, source.figure, layer=layer or None):
            of = samples.setdefault(curve.variant(source.figure), {})
            for step, low, high in _drawn(curve, source, until):
                fields = {measure.field: low} | ({measure.high: high} if measure.high else {})
                fields |= {"one_minus_cosine": 1 - low} if measure.field == "cosine" else {}
                for name, value in fields.items():
                    of.setdefault((measure.table, step), {}).setdefault(name, {})[layer] = value


def _event(table: str, step: int, fields: dict[str, dict[int, float]]) -> dict[str, Any]:
    """A journal event; a field drawn for fewer layers than another is NaN in the others."""
    kind, _, name = table.partition(":")
    event: dict[str, Any] = {"type": kind, "step": step} | ({"name": name} if name else {})
    layers = sorted({layer for values in fields.values() for layer in values})
    if layers == [0]:
        return event | {field: values[0] for field, values in fields.items()}
    rows = {field: [values.get(layer, np.nan) for layer in layers] for field, values in fields.items()}
    return event | {"layers": layers} | rows


def _drawn(curve: PaperCurve, source: _Source, until: int | None) -> Iterator[tuple[int, float, float]]:
    """Step, low and high of the paper's samples, including those that path simplification had removed."""
    every = EVERY[source.network]
    last = min(curve.x[-1], np.inf if until is None else until)
    steps = np.arange(np.ceil(curve.x[0] / every), np.floor(last / every) + 1) * every
    log = (source.key, source.figure) in LOGARITHMIC  # lost samples lie on the straight lines drawn
    edges = [_on_lines(values, curve.x, steps, log=log) for values in (curve.low, curve.high)]
    return zip(steps.astype(int).tolist(), *(edge.tolist() for edge in edges), strict=True)


def _on_lines(values: Floats, x: Floats, steps: Floats, *, log: bool) -> Floats:
    drawn: Floats = np.exp(np.interp(steps, x, np.log(values))) if log else np.interp(steps, x, values)
    return drawn
