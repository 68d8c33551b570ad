"""A report as one HTML file that needs nothing else: no network, no script, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bncore.aggregate import COVERAGE
from bncore.config.check import value_at
from bncore.config.errors import escape_control
from bncore.config.toml import to_table
from bncore.figure import DARK_PALETTE, DASHES, PALETTE, ChartData, Floats, LegendEntry, dash_of, values_at
from bncore.report.claims.evidence import Verdict
from bncore.report.claims.judging import shown, shown_threshold
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.confounders import ControlTable
from bncore.report.document import SUMMARY, Report
from bncore.report.paper_runs import paper_measure, paper_said
from bncore.report.rank import PaperRank, RankSample, ReportPanel, ReportPicture
from bncore.report.render import PANEL_INCHES, SMALL_INCHES, panel_svg
from bncore.report.report_run import ReportRun
from bncore.report.statistics import ENOUGH_SEEDS, Estimate

FOLDER = Path(__file__).parent
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
"""Classes of `page.css`."""


def _dash_array(entry: LegendEntry) -> str:
    """As SVG has it, for a stroke half as wide again."""
    lengths = DASHES[dash_of(entry.style)]
    return " ".join(f"{1.5 * length:g}" for length in lengths) if len(lengths) > 1 else "none"


def page(document: Report) -> str:
    """The whole file: `page.html`, filled in with `parts.html`."""
    return _environment().get_template("page.html").render(document=document)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        effect=shown,
        threshold=shown_threshold,
        number=lambda value: "-" if value is None else f"{value:.4g}",
        percent=lambda value: "-" if value is None else f"{100 * value:.1f} %",
        toml=lambda settings: tomli_w.dumps(to_table(settings)),
        environment=_environment_of,
    )
    environment.globals.update(
        style=_style(),
        kinds=KINDS,
        words=WORDS,
        confidence=COVERAGE,
        enough_seeds=ENOUGH_SEEDS,
        palette_size=len(PALETTE),
        paper_measure=paper_measure,
        paper_said=paper_said,
        variant_table=_variant_table,
        control_rows=_control_rows,
        panel_table=panel_table,
        svg=_svg,
        dash_array=_dash_array,
        shares=_shares,
    )
    return environment


def _visible(content: object) -> object:
    """Text from outside with its control characters made visible; Jinja escapes its markup then."""
    if hasattr(content, "__html__"):
        return content
    return "\n".join(escape_control(line) for line in str(content).split("\n"))


def _style() -> str:
    def variables(palette: Sequence[str]) -> str:
        return "".join(f"--c{index}:{color};" for index, color in enumerate(palette))

    dark = f"@media (prefers-color-scheme: dark){{:root{{{variables(DARK_PALETTE)}}}}}"
    return f":root{{{variables(PALETTE)}}}{dark}{(FOLDER / 'page.css').read_text(encoding='utf-8')}"


def _svg(picture: ReportPicture, panel: ReportPanel, index: int) -> str:
    inches = PANEL_INCHES if picture.columns <= 3 else SMALL_INCHES
    return panel_svg(panel, f"{picture.name}-{index}", inches)


def _shares(rank: PaperRank) -> Iterator[str]:
    """``500: 35 %``; of bands and of several step lengths the least and the greatest."""
    steps: dict[float, list[RankSample]] = {}
    for sample in rank.looks:
        steps.setdefault(sample.step, []).append(sample)
    for step, looks in steps.items():
        shares = sorted({f"{100 * sample.rank:.0f}" for sample in looks}, key=float)
        yield f"{step:,.0f}: {shares[0]}{f'–{shares[-1]}' if len(shares) > 1 else ''} %"


def _variant_table(
    document: Report, setting: ComparisonGroup
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows; columns that no variant has anything in are left out."""
    variant_rows = document.variants(setting)
    columns = [i for i in range(len(SUMMARY)) if any(row.levels[i] is not None for row in variant_rows)]
    rows = [
        (
            row.label,
            f"{row.seeds}" + (f" ({row.diverged} diverged)" if row.diverged else ""),
            *(_level(row.levels[i], log=SUMMARY[i].log) for i in columns),
        )
        for row in variant_rows
    ]
    return ("variant", "seeds", *(SUMMARY[i].name for i in columns)), rows


def _control_rows(table: ControlTable) -> Iterator[tuple[str, ...]]:
    for name, cells in table.rows:
        levels = (_level(cell, log=table.quantity.log) for cell in cells)
        seeds = ("" if cell is None else f" ({cell.n} seed{'s' if cell.n > 1 else ''})" for cell in cells)
        yield name, *map(str.__add__, levels, seeds)


def _level(estimate: Estimate | None, *, log: bool) -> str:
    """Mean over seeds (of a logarithm the geometric one), and the interval where there are several."""
    if estimate is None:
        return "-"
    numbers = [estimate.mean, estimate.low, estimate.high]
    mean, low, high = (f"{10**number if log else number:.3g}" for number in numbers)
    return mean if estimate.n == 1 else f"{mean} [{low}, {high}]"


def _environment_of(run: ReportRun) -> Iterator[object]:
    meta = run.meta
    yield run.name
    yield meta.get("host", "-")
    yield meta.get("gpu") or f"{meta.get('device', '-')} {meta.get('cpu_capability', '')}"
    for path in (("threads",), ("python",), ("versions", "torch"), ("precision", "matmul")):
        yield value_at(meta, path) or "-"
    yield str(meta.get("revision") or "-")[:12]
    command = meta.get("command")
    yield " ".join(map(str, command)) if isinstance(command, list) else "-"


DATA_ROWS = 40
"""Most rows of a data table; of a longer one every so many are shown."""


@dataclass(frozen=True)
class PanelTable:
    """Rows of numbers."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    every: int = 1
    """One row in so many is there."""


def panel_table(plot: ChartData) -> PanelTable:
    """The curves of a panel at the steps of ours, or its ridges."""
    if plot.ridges:
        ridges = []
        for ridge in plot.ridges:
            mean = np.average((ridge.edges[1:] + ridge.edges[:-1]) / 2, weights=ridge.density)
            numbers = (f"{value:.4g}" for value in (ridge.edges[0], ridge.edges[-1], mean))
            ridges.append((ridge.label, *numbers))
        return PanelTable(("step", "from", "to", "mean"), ridges)
    curves = [curve for curve in plot.curves if curve.weight in ("main", "paper")]
    x = np.unique(np.concatenate([curve.x for curve in curves if curve.weight == "main"]))
    every = max(1, -(-len(x) // DATA_ROWS))
    sampled = x[::every]
    names = [
        f"{curve.label}{edge}"
        for curve in curves
        for edge in (("",) if curve.is_line else (", lower", ", upper"))
    ]
    columns = [
        _paper_at(sampled, curve.x, edge, plot)
        if curve.weight == "paper"
        else values_at(sampled, curve.x, edge)
        for curve in curves
        for edge in curve.edges
    ]
    rows = [
        (f"{value:.6g}", *("-" if np.isnan(one) else f"{one:.4g}" for one in values))
        for value, *values in zip(sampled, *columns, strict=True)
    ]
    return PanelTable((plot.x_name, *names), rows, every)


def _paper_at(x: Floats, points: Floats, y: Floats, plot: ChartData) -> Floats:
    """The paper's curve at x: between its points linearly on the axes as they are plotted."""
    with np.errstate(all="ignore"):
        x, points = (np.log(x), np.log(points)) if plot.log_x else (x, points)
        between = np.interp(x, points, np.log(y) if plot.log_y else y, left=np.nan, right=np.nan)
        return np.exp(between) if plot.log_y else between
