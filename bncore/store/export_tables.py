"""Export of tables to files for other programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bncore.store.errors import StoreError

Tables = Mapping[str, Mapping[str, NDArray[Any]]]
"""For each table name, its columns by name."""


def export_paths(names: Iterable[str], folder: Path, kind: str) -> list[Path]:
    """Paths that `export_csv` (`kind` is ``csv``) or `export_parquet` writes for tables with these names."""
    plain = ["".join(c if c.isalnum() or c in "-_" else "-" for c in name) for name in names]
    return [folder / f"{name}.{kind}" for name in plain]


def export_csv(tables: Tables, folder: Path) -> list[Path]:
    """Write one CSV file per table into `folder`; returns their paths.

    Raises:
        StoreError: the folder cannot be written.
    """
    paths = export_paths(tables, folder, "csv")
    for columns, path in zip(tables.values(), paths, strict=True):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
    return paths


def export_parquet(tables: Tables, folder: Path) -> list[Path]:
    """Write one Parquet file per table into `folder`; returns their paths.

    Raises:
        StoreError: pyarrow is not installed, or the folder cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise StoreError("Parquet needs pyarrow: pip install pyarrow")
    import pyarrow  # noqa: PLC0415 - optional
    import pyarrow.parquet  # noqa: PLC0415 - optional

    paths = export_paths(tables, folder, "parquet")
    for columns, path in zip(tables.values(), paths, strict=True):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error}") from error
    return paths
