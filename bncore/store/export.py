"""A run's tables as files for other programs."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

from bncore.store.errors import StoreError
from bncore.store.loaded import LoadedRun


def export_paths(loaded: LoadedRun, folder: Path, kind: str) -> list[Path]:
    """The files that `export_csv` (kind ``csv``) or `export_parquet` would write."""
    return [folder / f"{_file_name(name)}.{kind}" for name in loaded.tables]


def export_csv(loaded: LoadedRun, folder: Path) -> list[Path]:
    """Write one CSV file a table into `folder`; the files.

    Raises:
        StoreError: the folder cannot be written.
    """
    paths = []
    for name in loaded.tables:
        path = folder / f"{_file_name(name)}.csv"
        columns = loaded.flat_table(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
        paths.append(path)
    return paths


def export_parquet(loaded: LoadedRun, folder: Path) -> list[Path]:
    """Write one Parquet file a table into `folder`; the files.

    Raises:
        StoreError: pyarrow is not installed, or the folder cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise StoreError("Parquet needs pyarrow: pip install 'bnrun[parquet]'")
    import pyarrow  # noqa: PLC0415 - optional
    import pyarrow.parquet  # noqa: PLC0415 - optional

    paths = []
    for name in loaded.tables:
        path = folder / f"{_file_name(name)}.parquet"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(pyarrow.table(loaded.flat_table(name)), path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error}") from error
        paths.append(path)
    return paths


def _file_name(table: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in table)
