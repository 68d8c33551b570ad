"""How one forward pass is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForwardMode:
    """The modes of one forward pass; nothing about a pass is kept in the network.

    Raises:
        ValueError: fewer than one chain, or tracking where it has no meaning (evaluation, several chains).
    """

    training: bool = True
    """Normalize by the batch's own statistics (True) or by the running ones."""
    track: bool = False
    """Write the running statistics: in the one real training step only, never in a probe."""
    noise_step: int | None = None
    """The step whose noise is drawn; None: no noise, whatever the network's noise setting."""
    chains: int = 1
    """The batch holds this many equal-sized chains, sample by sample: row i * chains + c is sample i of chain
    c. Statistics are taken per chain and every chain meets the same noise, as if each had been passed alone."""

    def __post_init__(self) -> None:
        if self.chains < 1:
            raise ValueError(f"chains: {self.chains}; expected at least 1")
        if self.track and (self.chains > 1 or not self.training):
            raise ValueError("track: True; expected only with training=True and chains=1")
