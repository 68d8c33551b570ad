"""A run's tables as files for other programs."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

from bncore.store.errors import StoreError
from bncore.store.loaded import LoadedRun


def export_paths(loaded: LoadedRun, folder: Path, kind: str) -> list[Path]:
    """The files that `export_csv` (kind ``csv``) or `export_parquet` would write."""
    plain = ["".join(c if c.isalnum() or c in "-_" else "-" for c in name) for name in loaded.tables]
    return [folder / f"{name}.{kind}" for name in plain]


def export_csv(loaded: LoadedRun, folder: Path) -> list[Path]:
    """Write one CSV file per table into `folder`; the files.

    Raises:
        StoreError: the folder cannot be written.
    """
    paths = export_paths(loaded, folder, "csv")
    for name, path in zip(loaded.tables, paths, strict=True):
        columns = loaded.flat_table(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
    return paths


def export_parquet(loaded: LoadedRun, folder: Path) -> list[Path]:
    """Write one Parquet file per table into `folder`; the files.

    Raises:
        StoreError: pyarrow is not installed, or the folder cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise StoreError("Parquet needs pyarrow: pip install 'bnrun[parquet]'")
    import pyarrow  # noqa: PLC0415 - optional
    import pyarrow.parquet  # noqa: PLC0415 - optional

    paths = export_paths(loaded, folder, "parquet")
    for name, path in zip(loaded.tables, paths, strict=True):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(loaded.flat_table(name)), path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error}") from error
    return paths
