"""Text, signs and colors for runs: pure functions shared by all screens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.style import Style
from rich.text import Text
from textual.app import App

from bncore.config.controls import show_value
from bncore.figure import Curve
from bncore.follow.groups import Group
from bncore.follow.request_view import RequestView
from bncore.follow.run_view import RunView
from bncore.measures import SHOWN
from bntui.chart.palette import DARK, LIGHT, Palette, sample
from bntui.chart.plot import plain_palette
from bntui.live.snapshot import Snapshot

MUTED = Style(dim=True)
STRONG = Style(bold=True)

STATES: dict[str, tuple[str, str]] = {
    "queued": ("○", ""),
    "running": ("●", "green"),
    "paused": ("‖", "yellow"),
    "stopped": ("■", "yellow"),
    "finished": ("✓", ""),
    "diverged": ("✕", "magenta"),
    "failed": ("!", "red"),
    "dead": ("†", "red"),
    "gone": ("∅", "red"),
    "unknown": ("?", ""),
}
"""Sign and style of each run state."""

OUTCOMES: dict[str, tuple[str, str]] = {
    "pending": ("…", "yellow"),
    "applied": ("✓", "green"),
    "rejected": ("✗", "red"),
}
"""Sign and style of each outcome of a request."""

BLOCKS = "▁▂▃▄▅▆▇█"


def palette_of(app: App[object]) -> Palette:
    """Colors of the curves, for text on the screen's own background."""
    return plain_palette(app) or (DARK if app.current_theme.dark else LIGHT)


def color(palette: Palette, style: int) -> Style:
    """Text style in the color of a run."""
    return Style.parse(palette.css(style).removeprefix("ansi_"))


def badge(palette: Palette, style: int, width: int = 3) -> Text:
    """A sample of the line of a run or group."""
    return Text(sample(palette.dash(style), width), color(palette, style))


def state_sign(state: str) -> Text:
    sign, style = STATES.get(state, STATES["unknown"])
    return Text(sign, style or MUTED)


def state_word(state: str) -> Text:
    """A state's sign and name."""
    _, style = STATES.get(state, STATES["unknown"])
    return Text().append_text(state_sign(state)).append(f" {state}", style or MUTED)


def state_of_all(states: Iterable[str]) -> str:
    """Common state of several runs: that of the run with the most work remaining."""
    states = set(states)
    order = ("running", "paused", "queued", "dead", "failed", "stopped", "finished", "diverged", "unknown")
    first = next((state for state in order if state in states), "gone")
    return "finished" if first == "diverged" else first


def fraction_of(*views: RunView) -> float:
    """Share of the runs' steps that is done, from 0 to 1."""
    total = sum(view.steps for view in views)
    return sum(min(view.step, view.steps) for view in views) / total if total else 0.0


def ranges(numbers: Iterable[int]) -> str:
    """Sorted numbers, with consecutive ones as a range: ``0-4``, ``0, 2, 7-9``."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def part_of(shown: range, count: int, what: str = "run") -> str:
    """Which runs, or others of `what`, are shown, such as ``runs 1-6 of 10``; empty if all are."""
    if len(shown) == count:
        return ""
    which = f"{what} {shown.stop}" if len(shown) == 1 else f"{what}s {shown.start + 1}-{shown.stop}"
    return f"{which} of {count}"


def percent(fraction: float) -> str:
    """A fraction as a percentage, rounded down: never 100 % before everything is done."""
    return f"{math.floor(100 * fraction + 1e-9)} %"


def bar(fraction: float, width: int, style: Style | str = "") -> Text:
    """A progress bar."""
    done = max(0, min(width, round(fraction * width)))
    return Text("━" * done, style).append("─" * (width - done), MUTED)


def rate(per_second: float | None) -> str:
    """Steps per second, or per minute below one per second."""
    if per_second is None or not math.isfinite(per_second):
        return "-"
    if per_second >= 1 or per_second <= 0:
        return f"{per_second:,.3g}/s" if per_second < 100 else f"{per_second:,.0f}/s"
    return f"{60 * per_second:.3g}/min"


def short_count(number: int) -> str:
    """A count in at most five cells: ``640``, ``15k``, ``1.2M``."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if number >= 10 * size:
            return f"{number / size:.0f}{unit}"
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


def sparkline(values: Sequence[float], width: int) -> str:
    """The values as a line of block characters, each showing the mean of its part of them; a part without finite
    values is blank."""
    if not len(values) or width <= 0:
        return ""
    count = len(values)
    ends = [max(count * (i + 1) // width, count * i // width + 1) for i in range(width)]
    shares = [_mean(values[count * i // width : end]) for i, end in enumerate(ends)]
    finite = [share for share in shares if share is not None]
    if not finite:
        return ""
    low = min(finite)
    half = max(finite) / 2 - low / 2  # the full span may overflow
    return "".join(
        " " if share is None else BLOCKS[min(7, int(8 * ((share / 2 - low / 2) / half))) if half > 0 else 0]
        for share in shares
    )


def _mean(values: Sequence[float]) -> float | None:
    finite = [float(value) for value in values if math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else None


def held(views: Sequence[RunView], width: int) -> list[Text]:
    """Current settings of some runs, or an observed loop's controls, in lines of at most `width` cells."""
    controls = views[0].controls
    if controls is None:
        return [settings(*views), *cadences(views[0], width)]
    named = sorted(controls, key=lambda one: "." in one.name)  # dotted names, such as amplitudes, last
    return pairs_in_lines(((one.name, show_value(one.value)) for one in named), width) if named else []


def settings(*views: RunView) -> Text:
    """Current norm, noise and learning rate of some runs; more than two values are replaced by their number."""
    specs = [view.spec for view in views if view.spec is not None]
    if not specs:
        return Text("settings unknown", MUTED)
    values = {
        "norm": dict.fromkeys(spec.norm.kind for spec in specs),
        "noise": dict.fromkeys("on" if spec.noise.on else "off" for spec in specs),
        "lr": dict.fromkeys(f"{spec.optim.lr:g}" for spec in specs),
    }
    return pairs_of((n, "/".join(v) if len(v) < 3 else f"{len(v)} values") for n, v in values.items())


def cadences(view: RunView, width: int) -> list[Text]:
    """Active probes and their cadences, in lines of at most `width` cells."""
    if view.spec is None:
        return []
    probes = view.spec.probes
    cadence_of = {name: getattr(probes, name).every for name in type(probes).model_fields}
    pairs = [(name, f"{every}") for name, every in cadence_of.items() if every]
    return pairs_in_lines(pairs, width) if pairs else [Text("no probes", MUTED)]


def pairs_in_lines(pairs: Iterable[tuple[str, str]], width: int) -> list[Text]:
    """As `pairs_of`, in lines of at most `width` cells, broken only between pairs."""
    return in_lines((pairs_of([pair]) for pair in pairs), width)


def legend(palette: Palette, curves: Iterable[Curve], width: int) -> list[Text]:
    """Names of curves, each after a sample of its line, in lines of at most `width` cells."""
    names = (badge(palette, one.style).append(f" {one.label}", color(palette, one.style)) for one in curves)
    return in_lines(names, width)


def in_lines(parts: Iterable[Text], width: int) -> list[Text]:
    """Parts side by side, in lines of at most `width` cells that break between two of them."""
    lines = [Text()]
    for part in parts:
        if lines[-1] and lines[-1].cell_len + 2 + part.cell_len > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(part)
    return lines


def pairs_of(pairs: Iterable[tuple[str, str]]) -> Text:
    """``name value`` pairs with dimmed names."""
    text = Text()
    for name, value in pairs:
        text.append("  " if text else "").append(f"{name} ", MUTED).append(value)
    return text


def request_line(request: RequestView, targets_text: str, targets_style: Style | str = "") -> Text:
    """A request as the list of changes shows it."""
    sign, style = OUTCOMES[request.outcome]
    when = "now" if request.step is None else f"{request.step:,}"
    text = Text().append(f"{when:>7} ", MUTED).append(f"{sign} ", style).append(request.summary)
    text.append(f"  {targets_text}", targets_style or MUTED)
    if request.outcome != "applied":
        text.append(f"  {request.outcome}", style)
    return text.append(f": {request.reason}") if request.reason else text


def changes(snapshot: Snapshot) -> list[tuple[RequestView, tuple[RunView, ...]]]:
    """All runs' requests by step, pending ones last; a request sent to several runs appears once."""
    grouped: dict[tuple[str, str, str, str], tuple[RequestView, list[RunView]]] = {}
    for view in snapshot.runs:
        for request in view.requests:
            step = "" if request.step is None else str(request.step)
            key = (request.summary, request.outcome, request.reason, step)
            if request.outcome == "rejected":
                key = (*key[:2], request.reason or request.id, step)
            views = grouped.setdefault(key, (request, []))[1]
            if view not in views:  # a run may have been sent the same request twice
                views.append(view)
    requests = [(request, tuple(views)) for request, views in grouped.values()]
    return sorted(requests, key=lambda one: (one[0].outcome == "pending", one[0].step or 0))


def targets_text(views: Sequence[RunView], groups: Sequence[Group]) -> str:
    """Short name for a subset of the groups' runs."""
    if len(views) == 1:
        return views[0].name
    if len(views) == sum(len(one.runs) for one in groups):
        return "all"
    group = next((one for one in groups if {*one.runs} == {*views}), None)
    return f"{group.name} ×{len(views)}" if group else f"{len(views)} runs"


def targets_sentence(views: Sequence[RunView], groups: Sequence[Group]) -> str:
    """The target runs of a request, worded so that a name cannot be mistaken for a word: ``run none``, ``the 5
    runs of none (none seeds 0-4)``."""
    if len(views) == 1:
        return f"run {views[0].name}"
    paths = {view.run.path for view in views}
    group = next((one for one in groups if {view.run.path for view in one.runs} == paths), None)
    if group is not None:
        return f"the {len(views)} runs of {group.name} ({run_names(views)})"
    if len(views) == sum(len(one.runs) for one in groups):
        return f"all {len(views)} runs"
    return f"{len(views)} runs: {run_names(views)}"


def table_of(views: Sequence[RunView]) -> str:
    """Tab-separated table of the newest measured values, with a header and a line per run."""
    tables = {(m.table, m.field): m.key for m in SHOWN if not m.per and not m.high}
    measured = [at for at in tables if any(view.newest(*at) is not None for view in views)]
    rows = [["run", "state", "step", *(tables[at] for at in measured)]]
    for view in views:
        values = [view.newest(*at) for at in measured]
        rows.append(
            [view.name, view.state, str(view.step), *("" if v is None else f"{v:.10g}" for v in values)]
        )
    return "\n".join("\t".join(row) for row in rows)


def run_names(views: Sequence[RunView], most: int = 4) -> str:
    """Names of runs; of more than `most`, those that differ only in the seed are merged: ``none seeds 0-29``."""
    same: dict[str, list[RunView]] = {}
    for view in views:
        stem = view.name.removesuffix(f"-s{view.seed}") if len(views) > most else view.name
        same.setdefault(stem, []).append(view)
    return ", ".join(
        own[0].name if len(own) == 1 else f"{stem} seeds {ranges(view.seed for view in own)}"
        for stem, own in same.items()
    )


def fitted(text: str, width: int) -> str:
    """`text` padded or cut, with an ellipsis, to exactly `width` cells."""
    line = Text(text)
    line.truncate(width, overflow="ellipsis", pad=True)
    return line.plain if width > 0 else ""
