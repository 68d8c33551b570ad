"""The controls for confounders that the review calls for. Each becomes a table if the runs cover its levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem

from bncore.config.model import Spec
from bncore.report.quantities import (
    Quantity,
    final_accuracy,
    final_log_loss,
    level,
    log_of,
    log_relative_at_lr,
    mean_of,
)
from bncore.report.report_run import ReportRun
from bncore.report.statistics import Estimate

ACCURACY = Quantity("final training accuracy", final_accuracy)
LOSS = Quantity("final training loss", final_log_loss, log=True)
ROUGHNESS = Quantity("‖Δg‖/‖g‖ at a ≈ lr", mean_of(log_relative_at_lr), log=True)
SHIFT = Quantity("ICS ‖G − G′‖/‖G‖", mean_of(log_of("probe:ics", "relative")), log=True)
BETA = Quantity("effective β-smoothness", mean_of(log_of("probe:landscape", "beta")), log=True)

Level = Callable[[Spec], str]


@dataclass(frozen=True)
class Confounder:
    """One confounder, and the settings that control or vary it."""

    key: str
    title: str
    question: str
    row: Level
    column: Level
    quantities: tuple[Quantity, ...]
    """Quantities shown in its tables; quantities that no run measured are left out."""
    free: tuple[str, ...] = ()
    """Dotted spec fields in which its runs may differ. Unless `noise` is listed, the same parts of the noise are
    enabled in all of them."""
    caveat: str = ""
    least_columns: int = 2
    least_rows: int = 1


@dataclass(frozen=True)
class ControlTable:
    """The table of one control, over runs that otherwise differ only in seed and instruments."""

    control: Confounder
    network: str
    quantity: Quantity
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Estimate | None, ...]], ...]


def _norm(spec: Spec) -> str:
    frozen = ", γ and β frozen" if spec.norm.affine == "frozen" else ""
    return f"{spec.norm.kind}{frozen}"


def _part(spec: Spec) -> str:
    """Which parts of Algorithm 1 are enabled, and how the noise amplitude is defined."""
    noise = spec.noise
    if not noise.on:
        return "no noise"
    parts = [
        name
        for name, on in (
            ("mean per step", noise.n_mu > 0),
            ("scale per step", noise.n_sigma > 1),
            ("per sample", noise.r_mu > 0 or noise.r_sigma > 0),
        )
        if on
    ]
    return f"{noise.position.replace('_', ' ')}: {', '.join(parts) or 'nothing'}, {noise.amplitude}"


def _update(spec: Spec) -> str:
    size = spec.optim.relative_update
    return f"‖ΔW‖/‖W‖ = {size:g}" if size else "as the optimizer made it"


def _rescale(spec: Spec) -> str:
    size = spec.probes.ics.rescale
    return f"moved by {size:g} of their length" if size else "moved as the optimizer moved them"


def _start(spec: Spec) -> str:
    warmup = spec.optim.schedule.warmup
    return f"{spec.init.scheme}{f', warm-up of {warmup} steps' if warmup else ''}"


CONTROLS: tuple[Confounder, ...] = (
    Confounder(
        "updates", "Norms at equal updates", "Is an advantage more than larger or better scaled updates?",
        _norm, _update, (ACCURACY, LOSS, ROUGHNESS), ("optim.relative_update",),
    ),
    Confounder(
        "rates", "Learning rates", "Which rates does each norm tolerate, and how far does it get at its best?",
        _norm, lambda spec: f"lr {spec.optim.lr:g}", (ACCURACY, LOSS), ("optim.lr",),
        "If the best rate is at the edge of those tried, a better one may be beyond.", least_columns=3,
    ),
    Confounder(
        "noise", "Noise, part by part", "Which part of the noise hurts, and is it the same amount without a norm?",
        _part, _norm, (ACCURACY, LOSS), ("noise",),
        "Absolute noise is a larger disturbance where activations are small; relative noise is matched.",
        least_rows=2,
    ),
    Confounder(
        "shift", "Internal covariate shift at equal updates", "Is it larger only because layers move further?",
        _norm, _rescale, (SHIFT,),
    ),
    Confounder(
        "direction", "Directions of the landscape", "Is the loss smoother, or only along the gradient?",
        _norm, lambda spec: spec.probes.landscape.direction, (BETA, ROUGHNESS),
        caveat="All directions are gone along to the same distances.",
    ),
    Confounder(
        "start", "Initialization and warm-up", "How much of it does a better initialization give without a norm?",
        _norm, _start, (ACCURACY, LOSS, ROUGHNESS), ("init", "optim.schedule"),
    ),
)  # fmt: skip
"""Controls in report order; add one by adding a row."""

ALWAYS_FREE = ("title", "seed", "norm", "probes", "eval", "checkpoint", "threads", "cuda_graphs", "log_every")
"""Spec fields in which the runs of every control may differ."""


def controls_of(runs: Sequence[ReportRun]) -> Iterator[ControlTable]:
    """The control tables that the counted runs suffice for."""
    counted = [run for run in runs if run.counts and run.spec is not None]
    for control in CONTROLS:
        for network, group in _alike(control, counted):
            columns = tuple(dict.fromkeys(control.column(spec) for spec, _ in group))
            rows: dict[str, set[str]] = {}
            for spec, _ in group:
                rows.setdefault(control.row(spec), set()).add(control.column(spec))
            if len(columns) < control.least_columns or len(rows) < control.least_rows:
                continue
            if max(map(len, rows.values())) < 2:  # nothing was varied
                continue
            for quantity in control.quantities:
                table = _table(control, network, quantity, columns, group)
                if table is not None:
                    yield table


Group = list[tuple[Spec, ReportRun]]


def _alike(control: Confounder, runs: Sequence[ReportRun]) -> Iterator[tuple[str, Group]]:
    """Groups of runs that differ only in the control's factors, seed and instruments."""
    groups: dict[str, Group] = {}
    for run in runs:
        assert run.spec is not None
        rest = run.spec.model_dump(mode="json")
        rest["noise"] = _part(run.spec)
        for path in (*ALWAYS_FREE, *control.free):
            *tables, name = path.split(".")
            del reduce(getitem, tables, rest)[name]
        groups.setdefault(repr(rest), []).append((run.spec, run))
    for group in groups.values():
        yield _network(group[0][0]), group


def _table(
    control: Confounder, network: str, quantity: Quantity, columns: tuple[str, ...], group: Group
) -> ControlTable | None:
    cells: dict[tuple[str, str], dict[int, list[ReportRun]]] = {}
    for spec, run in group:
        key = (control.row(spec), control.column(spec))
        cells.setdefault(key, {}).setdefault(run.seed, []).append(run)
    names = dict.fromkeys(row for row, _ in cells)
    rows = tuple(
        (name, tuple(level(quantity, cells.get((name, column), {})) for column in columns)) for name in names
    )
    if all(cell is None for _, row in rows for cell in row):
        return None
    return ControlTable(control, network, quantity, columns, rows)


def _network(spec: Spec) -> str:
    net = spec.net.model_dump()
    size = f" at width {net['width']:g}" if "width" in net else ""
    return f"{net['kind']}{size}, {spec.steps:,} steps, batches of {spec.batch_size}"
