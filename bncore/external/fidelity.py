"""How faithfully a step of an external loop is recomputed: its recomputed gradient against the loop's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bncore.external.checks import ObserveError
from bncore.probes.compare import length, whole

EXPECTED = "expected the gradient of the loss on this one batch"

Gradient = Mapping[str, Tensor]


@dataclass(frozen=True)
class Fidelity:
    """Comparison of the loop's gradient g at its update with the loss's gradient g', recomputed in the loop's own
    precision."""

    deviation: float
    """|| g' ||g|| / ||g'|| - g || / ||g||: deviation in direction, independent of scale."""
    scale: float
    """||g|| / ||g'||: below 1 if the loop clips."""
    loss_deviation: float
    """|L' - L| / |L|; NaN if the loop recorded no loss."""
    tolerance: float
    """The deviation that rounding may explain."""
    precision: str = ""
    """The precision in which the probes compute."""
    batch: str = ""
    """``local`` or ``global`` if several processes make an update together, else empty."""
    precision_deviation: float = math.nan
    """Deviation of the gradient that the probes start from, if they compute in another precision; else NaN."""

    @property
    def faithful(self) -> bool:
        """Whether the recomputed gradient equals the loop's up to scale and rounding."""
        return self.deviation <= self.tolerance

    def fields(self) -> dict[str, Any]:
        """The journal fields."""
        fields: dict[str, Any] = {
            "deviation": self.deviation,
            "scale": self.scale,
            "tolerance": self.tolerance,
            "faithful": self.faithful,
            "precision": self.precision,
        }
        if self.batch:
            fields["batch"] = self.batch
        for name in ("loss_deviation", "precision_deviation"):
            if not math.isnan(getattr(self, name)):
                fields[name] = getattr(self, name)
        return fields


def tolerance(precision: torch.dtype) -> float:
    """Largest relative deviation from the loop's own numbers that counts as rounding. Kernels that sum in a
    different order each time stay well within it; half precision does not."""
    return float(torch.finfo(precision).eps ** 0.5)


def fidelity(
    captured: Gradient, recomputed: Gradient, *, recorded: float | None, loss: float, allowed: float
) -> Fidelity:
    """Compare the loop's gradient and loss with the recomputed ones.

    Raises:
        ObserveError: there is no gradient, or it is sparse.
        ArithmeticError: a gradient is not finite.
    """
    if not any(name in recomputed for name in captured):
        raise ObserveError(f"gradient: no parameter has one at the update; {EXPECTED}")
    if any(g.layout != torch.strided for g in captured.values()):
        raise ObserveError("gradient: sparse; expected a dense one (an embedding's sparse=False)")
    deviation, scale = compared(captured, recomputed)
    loss_error = math.nan if recorded is None else abs(loss - recorded)
    relative = loss_error / abs(recorded) if recorded and loss_error else loss_error
    return Fidelity(deviation, scale, relative, allowed)


def compared(captured: Gradient, recomputed: Gradient) -> tuple[float, float]:
    """Deviation in direction between two gradients, and the length of the first divided by that of the second.

    Raises:
        ArithmeticError: one of them is not finite.
    """
    there = [recomputed[name] if name in recomputed else torch.zeros_like(g) for name, g in captured.items()]
    both = whole(there, [g.to(a.dtype) for g, a in zip(captured.values(), there, strict=True)])
    size, other, apart = float(both.length), float(length(list(captured.values()))), float(both.l2)
    if not (math.isfinite(size) and math.isfinite(apart)):
        raise ArithmeticError("the gradient is not finite")
    if size == other == 0:
        return 0.0, 1.0
    if size == 0 or other == 0:
        return 1.0, other / size if size else math.inf
    scale = 1.0 if apart <= 1e-12 * size else other / size
    return math.sqrt(2 * float(both.one_minus_cosine)), scale


def require_same(
    captured: Gradient, recomputed: Gradient, measured: Fidelity, *, recorded: float | None, loss: float
) -> None:
    """Check, for ``check="strict"``, that the recomputed loss and gradient match the loop's; the loop's gradient
    may be shorter.

    Raises:
        ObserveError: they do not match.
    """
    allowed = measured.tolerance
    logged = math.nan if recorded is None else recorded
    if not (abs(logged - loss) <= allowed * max(abs(logged), abs(loss)) or math.isnan(logged + loss)):
        raise ObserveError(
            f"loss: {logged:.6g} was recorded, the loss on the batch is {loss:.6g}; expected "
            "the same: a loss that is scaled, divided for accumulation or holds a penalty, autocast, a batch that "
            "was changed on its way to the model, and a module with a generator of its own make it another"
        )
    idle = [name for name in captured if name not in recomputed and bool(captured[name].any())]
    if idle:
        raise ObserveError(
            f"gradient: {idle[0]}.grad is not 0, though the loss does not depend on it; {EXPECTED}"
        )
    if measured.deviation > allowed:
        raise ObserveError(
            f"gradient: at the update it is {measured.deviation:.3g} of its length away from that of the loss; "
            f"{EXPECTED}: accumulation over batches, autocast, averaging over processes, activation "
            "checkpointing, hooks and clipping by value make it another"
        )
    if measured.scale > 1 + allowed:
        raise ObserveError(
            f"gradient: at the update it is {measured.scale:.6g} times that of the loss; {EXPECTED}: a gradient "
            "scaler has to be unscaled before the update"
        )
