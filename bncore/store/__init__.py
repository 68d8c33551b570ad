"""The run directory: writing it, owning it, reading it. No torch."""

from bncore.store.errors import AlreadyOwnedError, Divergence, NoSuchRun, StoreError
from bncore.store.journal import Journal
from bncore.store.paths import RunDir, SweepDir
from bncore.store.reader import Reader, read

__all__ = [
    "AlreadyOwnedError",
    "Divergence",
    "Journal",
    "NoSuchRun",
    "Reader",
    "RunDir",
    "StoreError",
    "SweepDir",
    "read",
]
