"""The laboratory: networks, norms, noise, probes and runs. It knows no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bncore.store.loaded import LoadedRun, load_run

__all__ = ["LoadedRun", "load_run"]


def __getattr__(name: str) -> Any:
    """Import on first use: `import bncore` itself stays light."""
    if name in __all__:
        from bncore.store import loaded  # noqa: PLC0415

        return getattr(loaded, name)
    raise AttributeError(f"module 'bncore' has no attribute {name!r}")
