"""The laboratory: networks, norms, noise, probes and runs. It knows no terminal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bncore.external.observe import ObserveError, StopObserved, observe
    from bncore.nets.switchable import SwitchableNorm
    from bncore.notebook import Run, Sweep, load_run, load_sweep

_HOMES = {
    "LoadedRun": "bncore.store.loaded",
    "Run": "bncore.notebook",
    "Sweep": "bncore.notebook",
    "load_run": "bncore.notebook",
    "load_sweep": "bncore.notebook",
    "ObserveError": "bncore.external.observe",
    "StopObserved": "bncore.external.observe",
    "observe": "bncore.external.observe",
    "SwitchableNorm": "bncore.nets.switchable",
}

__all__ = [
    "ObserveError",
    "Run",
    "StopObserved",
    "Sweep",
    "SwitchableNorm",
    "load_run",
    "load_sweep",
    "observe",
]


def __getattr__(name: str) -> Any:
    """Import on first use: `import bncore` itself stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bncore' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is public."""
    return __all__
