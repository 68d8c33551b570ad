"""A probe of one's own, whose settings declare two measures: as in README, but put into `Probes` from outside."""

from __future__ import annotations

from typing import ClassVar

from pydantic import create_model

from bncore.config import probes
from bncore.config.measure import Measure


class Rank(probes.Cadence):
    """The stable rank of the weights."""

    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("stable_rank", "Stable rank", symbol="‖W‖_F²/‖W‖²", per="layer", log=True, source="nobody's"),
        Measure("rank_spread", "Spread of the ranks", "spread"),
    )


probes.Probes = create_model("Probes", __base__=probes.Probes, rank=(Rank, Rank()))  # type: ignore[misc]
