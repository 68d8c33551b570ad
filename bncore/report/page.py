"""A report as one HTML file that needs nothing else: no network, no script, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tomli_w

from bncore.report.claims.evidence import Finding, Measure, Verdict, Weighed
from bncore.report.claims.weighing import shown, shown_threshold
from bncore.report.document import SUMMARY, Report, newest
from bncore.report.drawing import DARK_PALETTE, PALETTE, panel_svg
from bncore.report.markup import folded, listing, table, tag, text
from bncore.report.picture import Picture, Plot
from bncore.report.runs import ReportRun
from bncore.report.settings import Setting
from bncore.report.statistics import CONFIDENCE, ENOUGH_SEEDS, Estimate
from bncore.spec.toml import to_table

STYLE = Path(__file__).with_name("page.css")
DATA_ROWS = 40
"""Most rows of a data table; of a longer one every so many are shown."""

RULES = (
    f"Effects are differences between two variants of the same seed, averaged over seeds, with the "
    f"{CONFIDENCE:.0%} "
    f"percentile bootstrap interval over seeds. A verdict needs at least {ENOUGH_SEEDS} seeds and an interval "
    "wholly "
    "on one side of the value given; over so few seeds such intervals are rather too narrow. Runs that were "
    "steered, "
    "forked, replayed or did not come to their end are shown and never counted. A verdict holds for the "
    "networks, "
    "data and lengths of run named beside it."
)


def page(document: Report) -> str:
    """The whole file."""
    body = "".join(
        (
            _header(document),
            _verdicts(document),
            _runs(document),
            _variants(document),
            _figures(document.pictures),
            _claims(document),
            _specs(document),
        )
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(document.title)}: report</title><style>{_style()}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main>{body}</main></body></html>\n'


def _style() -> str:
    def variables(palette: Sequence[str]) -> str:
        return "".join(f"--c{index}:{colour};" for index, colour in enumerate(palette))

    dark = f"@media (prefers-color-scheme: dark){{:root{{{variables(DARK_PALETTE)}}}}}"
    return f":root{{{variables(PALETTE)}}}{dark}{STYLE.read_text(encoding='utf-8')}"


def _header(document: Report) -> str:
    counted = sum(run.counts for run in document.runs)
    synthetic = any(setting.synthetic for setting in document.settings)
    said = f"{len(document.runs)} runs, {counted} of them counted as evidence."
    warning = tag("p", "Some of these runs are on synthetic images: they settle nothing.", class_="warn")
    links = " · ".join(
        tag("a", text(name), href=f"#{anchor}")
        for name, anchor in (("verdicts", "verdicts"), ("runs", "runs"), ("variants", "variants"),
                             ("figures", "figures"), ("evidence", "evidence"), ("specs", "specs"))
    )  # fmt: skip
    return (
        tag("h1", text(document.title))
        + tag("p", text(f"How does normalisation help optimisation? {said}"))
        + (warning if synthetic else "")
        + tag("nav", links)
    )


def _verdicts(document: Report) -> str:
    rows = [
        (
            tag("a", text(weighed.claim.key), href=f"#{weighed.claim.key}"),
            tag("span", text(weighed.claim.text)) + tag("small", text(weighed.claim.place)),
            _badge(weighed.verdict),
            text(weighed.why),
        )
        for weighed in document.weighed
    ]
    return tag(
        "section",
        tag("h2", "Verdicts")
        + _cards(table(("", "claim", "verdict of these runs", "why"), rows))
        + tag("p", text(RULES), class_="fine"),
        id="verdicts",
    )


def _cards(inner: str) -> str:
    """A table whose rows become cards on a narrow screen."""
    return tag("div", inner, class_="cards")


def _badge(verdict: Verdict) -> str:
    kind = {Verdict.SUPPORTED: "yes", Verdict.CONTRADICTED: "no", Verdict.NOT_SETTLED: "open"}[verdict]
    return tag("span", text(verdict.value), class_=f"badge {kind}")


def _runs(document: Report) -> str:
    header = ("run", "state", "steps", "loss", "test accuracy", "data", "evidence")
    rows = [
        (
            text(run.name),
            text(run.state),
            f"{run.step:,}",
            text(_number(newest(run, "step", "loss"))),
            text(_percent(newest(run, "eval", "test_accuracy"))),
            text(run.data or "-"),
            "yes" if run.counts else tag("span", text(f"no: {run.exclusion}"), class_="warn"),
        )
        for run in document.runs
    ]
    return tag("section", tag("h2", "Runs") + table(header, rows, numbers=(2, 3, 4)), id="runs")


def _variants(document: Report) -> str:
    parts = []
    for setting in document.settings:
        known = document.variants(setting)
        columns = [i for i in range(len(SUMMARY)) if any(row.levels[i] is not None for row in known)]
        if not known:
            continue
        rows = [
            (
                text(row.label),
                f"{row.seeds}" + (f" ({row.diverged} diverged)" if row.diverged else ""),
                *(text(_level(row.levels[i], log=SUMMARY[i][2])) for i in columns),
            )
            for row in known
        ]
        header = ("variant", "seeds", *(SUMMARY[i][0] for i in columns))
        numbers = range(1, len(header))
        parts.append(tag("h3", text(setting.title)) + table(header, rows, numbers=numbers))
    if not parts:
        return ""
    note = tag(
        "p",
        text(
            "Means over seeds with their intervals; of logarithmic quantities the geometric mean. The last "
            "tenth of a "
            "run is its final value; the first fifth is early."
        ),
        class_="fine",
    )
    return tag("section", tag("h2", "Variants") + "".join(parts) + note, id="variants")


def _figures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return tag("section", tag("h2", "Figures") + tag("p", "Nothing was measured yet."), id="figures")
    return tag("section", tag("h2", "Figures") + "".join(map(_figure, pictures)), id="figures")


def _figure(picture: Picture) -> str:
    panels = "".join(
        tag(
            "div",
            panel_svg(plot, f"{picture.name}-{number}"),
            class_="panel",
            role="img",
            aria_label=plot.title,
        )
        for number, plot in enumerate(picture.plots, start=1)
    ).replace("aria_label=", "aria-label=")
    data = "".join(_data(plot) for plot in picture.plots)
    return tag(
        "figure",
        tag("h3", text(picture.title))
        + tag("p", text(picture.setting), class_="fine")
        + _legend(picture)
        + tag("div", panels, class_="panels")
        + tag("figcaption", listing(picture.notes))
        + folded("Data of these panels", data),
        id=picture.name,
    )


def _legend(picture: Picture) -> str:
    dashes = ("none", "6 3", "4 2 1 2", "1.5 2")
    entries = [
        _swatch(f"var(--c{key.style.colour % len(PALETTE)})", dashes[key.style.dash % len(dashes)])
        + text(key.label)
        for key in picture.keys
    ]
    if picture.has_paper:
        entries.append(_swatch("currentColor", "1.5 2.5") + text("dotted: the paper's own"))
    return tag("ul", "".join(tag("li", entry) for entry in entries), class_="legend")


def _swatch(colour: str, dash: str) -> str:
    line = f'<path d="M0 5H26" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}" fill="none"/>'
    return f'<svg class="swatch" width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">{line}</svg> '


def _data(plot: Plot) -> str:
    if plot.ridges:
        rows: list[tuple[str, ...]] = [
            (
                text(ridge.name),
                f"{ridge.edges[0]:.4g}",
                f"{ridge.edges[-1]:.4g}",
                f"{_centre(ridge.edges, ridge.density):.4g}",
            )
            for ridge in plot.ridges
        ]
        return tag("h4", text(plot.title)) + table(("step", "from", "to", "mean"), rows, numbers=range(4))
    curves = [curve for curve in plot.curves if curve.weight != "seed"]
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    kept = x[:: max(1, -(-len(x) // DATA_ROWS))]
    names = [name for curve in curves for name in _names(curve.label, curve.is_line)]
    columns = [
        dict(zip(curve.x.tolist(), edge.tolist(), strict=True))
        for curve in curves
        for edge in ((curve.low,) if curve.is_line else (curve.low, curve.high))
    ]
    rows = [(f"{value:.6g}", *(_number(column.get(value)) for column in columns)) for value in kept.tolist()]
    note = "" if len(kept) == len(x) else tag("p", f"Every {-(-len(x) // DATA_ROWS)}th row.", class_="fine")
    body = table((plot.x_name, *names), rows, numbers=range(len(names) + 1))
    return tag("h4", text(plot.title)) + note + body


def _names(label: str, is_line: bool) -> tuple[str, ...]:
    return (label,) if is_line else (f"{label}, lower", f"{label}, upper")


def _centre(
    edges: np.ndarray[tuple[int], np.dtype[np.float64]], density: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    return float(np.average((edges[1:] + edges[:-1]) / 2, weights=density))


def _claims(document: Report) -> str:
    return tag(
        "section",
        tag("h2", "Evidence, claim by claim")
        + "".join(_claim(document, weighed) for weighed in document.weighed),
        id="evidence",
    )


def _claim(document: Report, weighed: Weighed) -> str:
    claim, lacks = weighed.claim, document.missing(weighed)
    inner = tag("p", _badge(weighed.verdict) + " " + text(weighed.why))
    if lacks.lacks:
        inner += tag("p", tag("b", "Missing: ") + text("; ".join(lacks.lacks)))
    if lacks.command:
        inner += tag("p", tag("b", "Would test it: ") + tag("code", text(lacks.command)))
    inner += tag("p", tag("b", "To keep in mind")) + listing(claim.traps) if claim.traps else ""
    inner += "".join(_finding(finding) for finding in weighed.findings)
    heading = tag("h3", f"{text(claim.key)}: {text(claim.text)}")
    return tag("article", heading + inner, id=claim.key)


def _finding(finding: Finding) -> str:
    where = f"{finding.setting.title}{f', {finding.scope.title}' if finding.scope.title else ''}"
    rows = [
        (
            text(part.title) if first else "",
            text(measure.name) + (tag("small", text(measure.caveat)) if measure.caveat else ""),
            text(shown(measure)),
            str(measure.effect.n) if measure.effect else "0",
            text(shown_threshold(measure)) if measure.counts else "not counted",
            _outcome(measure, part.blocked),
        )
        for part in finding.scope.parts
        for first, measure in zip((True, *[False] * len(part.measures)), part.measures, strict=False)
    ]
    header = ("", "measured", "effect [interval]", "seeds", "claimed", "says")
    return folded(f"{where}: {finding.verdict.value}", tag("p", text(finding.why)) + table(header, rows))


def _outcome(measure: Measure, blocked: str) -> str:
    if not measure.counts:
        return text(measure.leaning) if measure.effect is None else ""
    return text(blocked) if blocked else _badge(measure.outcome)


def _specs(document: Report) -> str:
    parts = [_setting_spec(setting) for setting in document.settings]
    parts += [
        folded(
            f"{run.name}: what is known of the loop", tag("pre", text(tomli_w.dumps(to_table(run.observed))))
        )
        for run in document.runs
        if run.observed is not None
    ]
    return tag(
        "section",
        tag("h2", "Specs and environment")
        + "".join(parts)
        + folded("Environment of each run", _environment(document)),
        id="specs",
    )


def _setting_spec(setting: Setting) -> str:
    spec = next(run.spec for run in setting.runs if run.spec)
    variants = ", ".join(dict.fromkeys(f"{run.run.path.name}" for run in setting.runs))
    toml = tomli_w.dumps(to_table(spec))
    said = tag("p", text(f"As of {setting.runs[0].name}. Runs of this setting: {variants}."), class_="fine")
    return folded(f"Spec: {setting.title}", said + tag("pre", text(toml)))


def _environment(document: Report) -> str:
    header = (
        "run",
        "host",
        "device",
        "threads",
        "python",
        "torch",
        "precision of matrix products",
        "revision",
        "command",
    )
    return table(header, (tuple(map(text, _environment_of(run))) for run in document.runs))


def _environment_of(run: ReportRun) -> Iterator[object]:
    meta = run.meta
    versions, precision = meta.get("versions"), meta.get("precision")
    yield run.name
    yield meta.get("host", "-")
    yield meta.get("gpu") or f"{meta.get('device', '-')} {meta.get('cpu_capability', '')}"
    yield meta.get("threads", "-")
    yield meta.get("python", "-")
    yield versions.get("torch", "-") if isinstance(versions, dict) else "-"
    yield precision.get("matmul", "-") if isinstance(precision, dict) else "-"
    yield str(meta.get("revision") or "-")[:12]
    command = meta.get("command")
    yield " ".join(map(str, command)) if isinstance(command, list) else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _level(estimate: Estimate | None, *, log: bool) -> str:
    if estimate is None:
        return "-"
    numbers = [estimate.mean, estimate.low, estimate.high]
    mean, low, high = (f"{10**number if log else number:.3g}" for number in numbers)
    return mean if estimate.n == 1 else f"{mean} [{low}, {high}]"
