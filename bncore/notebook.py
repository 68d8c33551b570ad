"""Runs and sweeps for analysis in Python and Jupyter: numbers, data frames, figures. Does not import torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncore.aggregate import BANDS
from bncore.config.errors import did_you_mean
from bncore.config.fields import dotted, leaves
from bncore.config.measure import Band
from bncore.config.overrides import ALIASES, suggestion
from bncore.figure import ChartData, LegendEntry, Picture, variant_styles
from bncore.follow.groups import VARIANT, Group, group_curves, groups_of
from bncore.follow.run_view import RunFollower, RunView
from bncore.launch.slurm.state import Queue
from bncore.measures import MEASURES, measure_of
from bncore.store.errors import NoSuchRun
from bncore.store.find import find
from bncore.store.loaded import LoadedRun
from bncore.store.loaded import load_run as read_run
from bncore.store.measured import best_of, layers_of, middle_layer, take
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Observer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("run", "state", "step", "loss", "test accuracy", "best test accuracy")


@dataclass(frozen=True)
class Run(LoadedRun):
    """All data of a run directory. A notebook displays it as a table."""

    def plot(self, measure: str = "loss", *, layer: int | None = None) -> Figure:
        """Plot a measure over steps.

        Arguments:
            measure: key of a measure (see ``bncore.measures``), such as ``ics_l2``.
            layer: layer number, from 1, of a per-layer measure; default: the middle layer.

        Raises:
            KeyError: there is no such measure or layer; the message lists what exists.
        """
        return _figure([Group(self.run.path.name, 0, tuple(_views([self.run])))], measure, layer, "interval")

    def _repr_html_(self) -> str:
        return _table(_views([self.run]))


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep. A notebook displays it as a table."""

    sweep: SweepDir

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Runs by the names of their directories."""
        return {run.path.name: _loaded(run) for run in self.sweep.runs()}

    def __getitem__(self, name: str) -> Run:
        return self.runs[name]

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs.values())

    def __len__(self) -> int:
        return len(self.runs)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.runs)

    def frame(self, table: str) -> Any:
        """A data frame of a table over all runs that have it, like `LoadedRun.frame`, with a first column ``run``.

        Raises:
            ImportError: neither polars nor pandas is installed.
            KeyError: no run has such a table.
        """
        frames = {name: run.frame(table) for name, run in self.runs.items() if table in run.tables}
        if not frames:
            names = ", ".join(sorted({name for run in self.runs.values() for name in run.tables})) or "none"
            raise KeyError(f"{table}: no such table in {self.sweep.path.name}; expected one of {names}")
        if find_spec("polars"):
            import polars  # noqa: PLC0415 - optional

            named = [
                frame.select(polars.lit(name).alias("run"), polars.all()) for name, frame in frames.items()
            ]
            return polars.concat(named, how="diagonal")
        import pandas  # noqa: PLC0415 - optional

        return pandas.concat(frames, names=["run"]).reset_index(level=0).reset_index(drop=True)

    def plot(
        self,
        measure: str = "loss",
        *,
        layer: int | None = None,
        by: Sequence[str] = (),
        band: Band = "interval",
        single_runs: bool = False,
    ) -> Figure:
        """Plot a measure over steps: the mean of each group of runs, with a band.

        Arguments:
            measure: as for `Run.plot`.
            layer: as for `Run.plot`.
            by: settings that the runs of a group share, such as ``optim.lr``; empty: group the seeds of a variant.
            band: kind of band around a mean (docs/how-to/groups.md).
            single_runs: draw each run separately.

        Raises:
            KeyError: there is no such measure, layer, setting or band; the message says what is meant or exists.
        """
        if band not in BANDS:
            raise KeyError(f"{band}: no such band; expected one of {', '.join(BANDS)}")
        paths = {name: ALIASES.get(name, name) for name in by}
        for name, path in paths.items():
            if path not in (VARIANT, *map(dotted, leaves())):
                raise KeyError(f"{name}: no such setting{suggestion(name, [VARIANT])}")
        views = _views(self.sweep.runs())
        alone = tuple(Group(view.name, view.style, (view,)) for view in views)
        return _figure(
            alone if single_runs else groups_of(views, tuple(paths.values())), measure, layer, band
        )

    def _repr_html_(self) -> str:
        return _table(_views(self.sweep.runs()))


def load_run(path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> Run:
    """Read a complete run.

    Arguments:
        path: the run's directory, or, as on the command line, ``sweep/run``, a unique prefix, or ``@last`` for
            the newest sweep's only run.
        root: sweep root directory; default: ``$BNRUN_ROOT``, else ``./runs``.

    Raises:
        NoSuchRun: no run, or more than one, has that name.
        SpecError: its spec.toml is invalid.
        StoreError: its journal has a newer schema.
    """
    run_or_sweep = _find(path, root)
    if isinstance(run_or_sweep, SweepDir):
        runs = run_or_sweep.runs()
        if len(runs) != 1:
            names = ", ".join(run.path.name for run in runs) or "none"
            raise NoSuchRun(f"{path}: a sweep; expected one of its runs ({names}), or load_sweep")
        (run_or_sweep,) = runs
    return _loaded(run_or_sweep)


def load_sweep(path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> Sweep:
    """Read the runs of a sweep.

    Arguments:
        path: its directory, its name, a unique prefix, or ``@last``.
        root: sweep root directory; default: ``$BNRUN_ROOT``, else ``./runs``.

    Raises:
        NoSuchRun: no sweep, or more than one, has that name.
    """
    run_or_sweep = _find(path, root)
    if isinstance(run_or_sweep, RunDir):
        raise NoSuchRun(f"{path}: a run; expected a sweep, or load_run")
    return Sweep(run_or_sweep)


def _find(path: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> RunDir | SweepDir:
    if not isinstance(path, str | os.PathLike):
        raise NoSuchRun(f"{path!r}; expected a directory, or a name as `bnrun ls` shows it")
    if (Path(path) / "spec.toml").is_file():
        return RunDir(Path(path))
    return find(Path(root or os.environ.get("BNRUN_ROOT") or "runs"), os.fspath(path))


def _loaded(run: RunDir) -> Run:
    return Run(**vars(read_run(run.path)))


def _views(runs: Sequence[RunDir]) -> list[RunView]:
    """Views of the runs with everything that was journaled."""
    observer, queue = Observer(), Queue()
    views = [RunFollower(run, observer, queue, name=run.path.name).poll(None) for run in runs]
    styles = variant_styles([view.variant for view in views])
    return [replace(view, style=style) for view, style in zip(views, styles, strict=True)]


def _figure(groups: Sequence[Group], key: str, layer: int | None, band: Band) -> Figure:
    from bncore.report.render import figure_of  # noqa: PLC0415 - importing matplotlib takes a second

    measure = measure_of(key)
    if measure is None:
        hint = did_you_mean(key, list(MEASURES))
        raise KeyError(f"{key}: no such measure; expected one of {', '.join(MEASURES)}{hint}")
    columns = [view.columns for group in groups for view in group.runs]
    if layer is None and measure.per == "layer":
        layer = middle_layer(columns, measure)
    elif layer is not None:
        measured = sorted({one for run in columns for one in layers_of(run, measure)})
        if layer not in measured:
            numbers = ", ".join(map(str, measured))
            expected = f"one of {numbers}" if measured else "none, of which there are no layers"
            raise KeyError(f"layer {layer} of {key}: expected {expected}")
    curves = tuple(curve for group in groups for curve in group_curves(group, measure, layer, band))
    title = f"{measure.title}, layer {layer}" if measure.per == "layer" else measure.title
    chart = ChartData(
        title, curves, log_y=measure.log, y_name=measure.symbol or measure.unit, note="not recorded"
    )
    legend = tuple(LegendEntry(group.name, group.style) for group in groups)
    return figure_of(Picture(key, "", "", (chart,), legend, columns=1))


def _table(views: Sequence[RunView]) -> str:
    """The newest values of runs, as an HTML table."""
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    lines = []
    for view in views:
        loss, accuracy = view.newest("step", "loss"), view.newest("eval", "test_accuracy")
        best = best_of(take(view.columns, MEASURES["test_accuracy"]), MEASURES["test_accuracy"])
        cells = (
            view.run.path.name,
            view.state,
            f"{view.step:,} / {view.steps:,}" if view.steps else f"{view.step:,}",
            "" if loss is None else f"{loss:.4g}",
            "" if accuracy is None else f"{accuracy:.1%}",
            "" if best is None else f"{best.value:.1%} at step {best.step:,}",
        )
        lines.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
