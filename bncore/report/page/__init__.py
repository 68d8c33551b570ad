"""A report as one HTML file that needs nothing else: no network, no script, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tomli_w

from bncore.config.toml import to_table
from bncore.figure import DARK_PALETTE, PALETTE
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.document import SUMMARY, Report, newest
from bncore.report.page.controls import controls
from bncore.report.page.evidence import badge, evidence
from bncore.report.page.figures import figures
from bncore.report.page.markup import details, number, table, tag, text
from bncore.report.page.ranks import fits
from bncore.report.report_run import ReportRun
from bncore.report.statistics import CONFIDENCE, ENOUGH_SEEDS, Estimate

STYLE = Path(__file__).with_name("page.css")
RULES = (
    "Effects are differences between two variants of the same seed, averaged over seeds, with the "
    f"{CONFIDENCE:.0%} percentile bootstrap interval over seeds. A verdict needs at least {ENOUGH_SEEDS} seeds "
    "and an interval wholly on one side of the value claimed; over so few seeds such intervals are rather "
    "too narrow. Runs that were steered, forked, replayed or did not come to their end are shown and never "
    "counted. A verdict holds for the networks, data and lengths of run named beside it."
)


def page(document: Report) -> str:
    """The whole file."""
    body = "".join(
        (
            _header(document),
            _verdicts(document),
            fits(document.fits),
            _runs(document),
            _variants(document),
            controls(document.controls),
            figures(document.pictures),
            evidence(document),
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
        return "".join(f"--c{index}:{color};" for index, color in enumerate(palette))

    dark = f"@media (prefers-color-scheme: dark){{:root{{{variables(DARK_PALETTE)}}}}}"
    return f":root{{{variables(PALETTE)}}}{dark}{STYLE.read_text(encoding='utf-8')}"


def _header(document: Report) -> str:
    counted = sum(run.counts for run in document.runs)
    synthetic = any(setting.synthetic for setting in document.settings)
    said = f"{len(document.runs)} runs, {counted} of them counted as evidence."
    warning = tag("p", "Some of these runs are on synthetic images: they decide nothing.", class_="warn")
    links = " · ".join(
        tag("a", text(name), href=f"#{anchor}")
        for name, anchor in (("verdicts", "verdicts"), ("the paper's run", "fit"), ("runs", "runs"),
                             ("variants", "variants"), ("controls", "controls"), ("figures", "figures"),
                             ("evidence", "evidence"), ("specs", "specs"))
        if {"controls": document.controls, "fit": document.fits}.get(anchor, True)
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
            tag("a", text(judged.claim.key), href=f"#{judged.claim.key}"),
            tag("span", text(judged.claim.text)) + tag("small", text(judged.claim.place)),
            badge(judged.verdict),
            text(judged.why),
        )
        for judged in document.judged
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


def _runs(document: Report) -> str:
    header = ("run", "state", "steps", "loss", "test accuracy", "data", "evidence")
    rows = [
        (
            text(run.name),
            text(run.state) + (tag("span", text(f": {run.warning}"), class_="warn") if run.warning else ""),
            f"{run.step:,}",
            text(number(newest(run, "step", "loss"))),
            text(_percent(newest(run, "eval", "test_accuracy"))),
            text(run.data or "-"),
            "yes" if run.counts else tag("span", text(f"no: {run.excluded_because}"), class_="warn"),
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
            "tenth of a run is its final value; the first fifth is early."
        ),
        class_="fine",
    )
    return tag("section", tag("h2", "Variants") + "".join(parts) + note, id="variants")


def _specs(document: Report) -> str:
    parts = [_setting_spec(setting) for setting in document.settings]
    parts += [
        details(
            f"{run.name}: what is known of the loop", tag("pre", text(tomli_w.dumps(to_table(run.observed))))
        )
        for run in document.runs
        if run.observed is not None
    ]
    return tag(
        "section",
        tag("h2", "Specs and environment")
        + "".join(parts)
        + details("Environment of each run", _environment(document)),
        id="specs",
    )


def _setting_spec(setting: ComparisonGroup) -> str:
    spec = next(run.spec for run in setting.runs if run.spec)
    variants = ", ".join(dict.fromkeys(f"{run.run.path.name}" for run in setting.runs))
    toml = tomli_w.dumps(to_table(spec))
    said = tag("p", text(f"As of {setting.runs[0].name}. Runs of this setting: {variants}."), class_="fine")
    return details(f"Spec: {setting.title}", said + tag("pre", text(toml)))


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


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _level(estimate: Estimate | None, *, log: bool) -> str:
    if estimate is None:
        return "-"
    numbers = [estimate.mean, estimate.low, estimate.high]
    mean, low, high = (f"{10**number if log else number:.3g}" for number in numbers)
    return mean if estimate.n == 1 else f"{mean} [{low}, {high}]"
