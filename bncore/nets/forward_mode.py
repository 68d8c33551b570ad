"""The mode of one forward pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForwardMode:
    """The mode of one forward pass; the network keeps no mode of its own.

    Raises:
        ValueError: fewer than one chain, or tracking where it is meaningless (evaluation, several chains).
    """

    training: bool = True
    """Normalize by the batch's statistics (True) or by the running statistics (False)."""
    track: bool = False
    """Update the running statistics: only in the actual training step, never in a probe."""
    noise_step: int | None = None
    """The step whose noise is applied; None: no noise, whatever the network's noise setting."""
    chains: int = 1
    """Number of equally sized chains interleaved in the batch: row i * chains + c is sample i of chain c.

    Statistics are computed per chain and every chain gets the same noise, as if each had been passed alone.
    """

    def __post_init__(self) -> None:
        if self.chains < 1:
            raise ValueError(f"chains: {self.chains}; expected at least 1")
        if self.track and (self.chains > 1 or not self.training):
            raise ValueError("track: True; expected only with training=True and chains=1")
