"""A run's numbers for analysis: numpy columns, and frames where pandas or polars is installed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.config.observed import Observed, observed_from_toml
from bncore.config.toml import not_runnable, resolved_spec_from_toml
from bncore.store.columns import Columns
from bncore.store.errors import NoSuchRun
from bncore.store.paths import RunDir, meta_of
from bncore.store.reader import read


@dataclass(frozen=True)
class LoadedRun:
    """Everything a run directory says."""

    run: RunDir
    settings: Spec | Observed
    """What its spec.toml says: the spec it was trained by, or what is known of the loop that it observed."""
    meta: dict[str, Any]
    columns: Columns

    @property
    def spec(self) -> Spec:
        """The spec it was trained by.

        Raises:
            SpecError: there is none: it observed a loop of somebody's own.
        """
        if isinstance(self.settings, Observed):
            raise SpecError([not_runnable(self.run.spec_file)])
        return self.settings

    @property
    def observed(self) -> Observed | None:
        """What is known of the loop that it observed; None where the run was trained by a spec."""
        return self.settings if isinstance(self.settings, Observed) else None

    @property
    def tables(self) -> list[str]:
        """Names of its tables: `step`, `eval`, ``probe:<name>``."""
        return self.columns.tables()

    def table(self, name: str) -> dict[str, NDArray[Any]]:
        """Columns of one table, all of one length.

        Returns:
            `step` (n,) int64, and every field as float64 (n,) or, per layer, (n, layers). Events without a
            field have NaN there.

        Raises:
            KeyError: no such table; the message lists those there are.
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
        """As `table`, per-layer fields taken apart: `l2.1` is layer 1, as the figures count."""
        flat: dict[str, NDArray[Any]] = {}
        for field, column in self.table(name).items():
            if column.ndim == 1:
                flat[field] = column
            else:
                parts = column.reshape(len(column), -1)
                flat.update({f"{field}.{i + 1}": parts[:, i] for i in range(parts.shape[1])})
        return flat

    def flat_tables(self) -> dict[str, dict[str, NDArray[Any]]]:
        """`flat_table` of each by its name."""
        return {name: self.flat_table(name) for name in self.tables}

    def frame(self, name: str) -> Any:
        """`flat_table` as a polars or, without polars, a pandas DataFrame.

        Raises:
            ImportError: neither is installed.
        """
        if find_spec("polars"):
            import polars  # noqa: PLC0415 - optional

            return polars.DataFrame(self.flat_table(name))
        if find_spec("pandas"):
            import pandas  # noqa: PLC0415 - optional

            return pandas.DataFrame(self.flat_table(name))
        raise ImportError("frames need polars or pandas: pip install polars")


def load_run(path: str | os.PathLike[str]) -> LoadedRun:
    """Read a run directory, whole.

    Raises:
        NoSuchRun: `path` is no run directory.
        SpecError: its spec.toml makes no sense.
        StoreError: its journal is of a newer schema.
    """
    run = RunDir(Path(path))
    settings = read_settings(run)
    return LoadedRun(run, settings, meta_of(run), read(run).advance())


def read_settings(run: RunDir) -> Spec | Observed:
    """What a run's spec.toml says.

    Raises:
        NoSuchRun: there is none.
        SpecError: it makes no sense.
    """
    if not run.spec_file.is_file():
        raise NoSuchRun(f"{run.path}: no run directory (it has no spec.toml)")
    try:
        return resolved_spec_from_toml(run.spec_file)
    except SpecError:
        observed = observed_from_toml(run.spec_file)
        if observed is None:
            raise
        return observed
