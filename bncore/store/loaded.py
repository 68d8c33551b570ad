"""A run's numbers for analysis: numpy columns, and data frames if pandas or polars is installed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.config.observed import Observed, observed_from_toml
from bncore.config.toml import not_runnable, resolved_spec_from_toml
from bncore.plain_files import exists
from bncore.store.columns import Columns
from bncore.store.errors import NoSuchRun
from bncore.store.paths import RunDir, meta_of
from bncore.store.reader import read


@dataclass(frozen=True)
class LoadedRun:
    """The contents of a run directory."""

    run: RunDir
    settings: Spec | Observed
    """Contents of spec.toml: the spec of a trained run, or what is known about an observed loop."""
    meta: dict[str, Any]
    columns: Columns

    @property
    def spec(self) -> Spec:
        """The spec of a trained run.

        Raises:
            SpecError: there is none, because the run observed an external training loop.
        """
        if isinstance(self.settings, Observed):
            raise SpecError([not_runnable(self.run.spec_file)])
        return self.settings

    @property
    def observed(self) -> Observed | None:
        """What is known about the observed loop; None if the run was trained by a spec."""
        return self.settings if isinstance(self.settings, Observed) else None

    @property
    def tables(self) -> list[str]:
        """Names of the run's tables: `step`, `eval`, ``probe:<name>``."""
        return self.columns.tables()

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """Columns of one table, all of the same length.

        Returns:
            `step` (n,) int64, and every field as float64 (n,) or, if it is per layer, (n, layers). Events that
            lack a field have NaN there.

        Raises:
            KeyError: no such table; the message lists the existing ones.
        """
        if name not in self.tables:
            raise KeyError(f"{name}: no such table; the run has {', '.join(self.tables) or 'none'}")
        series = {field: self.columns.series(name, field) for field in self.columns.fields(name)}
        steps = np.unique(self.columns.series(name, "step").steps)
        result: dict[str, NDArray[Any]] = {"step": steps}
        for field, one in series.items():
            if len(one):
                column = np.full((len(steps), *one.values.shape[1:]), np.nan)
                column[np.searchsorted(steps, one.steps)] = one.values
                result[field] = column
        return result

    def flat_table(self, name: str) -> dict[str, NDArray[Any]]:
        """As `table`, with per-layer fields split into one column per layer: `l2.1` is layer 1, as in the
        figures."""
        flat: dict[str, NDArray[Any]] = {}
        for field, column in self.table(name).items():
            if column.ndim == 1:
                flat[field] = column
            else:
                parts = column.reshape(len(column), -1)
                flat.update({f"{field}.{i + 1}": parts[:, i] for i in range(parts.shape[1])})
        return flat

    def flat_tables(self) -> dict[str, dict[str, NDArray[Any]]]:
        """`flat_table` of every table, by table name."""
        return {name: self.flat_table(name) for name in self.tables}

    def frame(self, name: str) -> Any:
        """`flat_table` as a polars DataFrame or, if polars is not installed, a pandas DataFrame.

        Raises:
            ImportError: neither is installed.
        """
        for library in ("polars", "pandas"):
            if find_spec(library):
                return import_module(library).DataFrame(self.flat_table(name))
        raise ImportError("frames need polars or pandas: pip install polars")


def load_run(path: str | os.PathLike[str]) -> LoadedRun:
    """Read a complete run directory.

    Raises:
        NoSuchRun: `path` is not a run directory.
        SpecError: its spec.toml is invalid.
        StoreError: its journal has a newer schema or cannot be read.
    """
    run = RunDir(Path(path))
    settings = read_settings(run)
    return LoadedRun(run, settings, meta_of(run), read(run).advance())


def read_settings(run: RunDir) -> Spec | Observed:
    """Parse a run's spec.toml.

    Raises:
        NoSuchRun: there is none, or it is out of reach.
        SpecError: it is invalid.
    """
    if not exists(run.spec_file):
        raise NoSuchRun(f"{run.path}: no run directory (it has no spec.toml)")
    try:
        return resolved_spec_from_toml(run.spec_file)
    except SpecError:
        observed = observed_from_toml(run.spec_file)
        if observed is None:
            raise
        return observed
