"""What a measure is: a field of the journal with everything that whoever draws or names it must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Band = Literal["interval", "range", "quartiles", "deviation", "envelope"]
"""What is drawn about the mean of a measure over several runs; `bncore.aggregate` says of each what it is."""


@dataclass(frozen=True)
class ReferenceLine:
    """A line to draw beside a measure, at another field of its table."""

    field: str
    label: str
    """What it is called; `stability_threshold` is called by its multiple of 1/lr, as the optimizer has it."""
    times_lr: bool = False
    """Whether it is the field times the learning rate."""


@dataclass(frozen=True)
class Measure:
    """A number, or one for each layer or step length, at every row of a table. Every chart, plot, tag and table
    of measures is made of these: `bncore.measures` collects them."""

    key: str
    """What it is requested by; unique."""
    title: str
    field: str = ""
    """Name in the journal; the key, where none is given."""
    table: str = ""
    """``step``, ``eval``, ``machine`` or ``probe:<name>``; of a measure that a probe declares that probe's."""
    symbol: str = ""
    unit: str = ""
    """Empty for a ratio."""
    per: Literal["", "layer", "length"] = ""
    """What it has a value for; ``length``: each of the step lengths that the field `multiples` tells."""
    high: str = ""
    """The field of the upper edge, of a band: `field` is its lower one."""
    over: str = ""
    """A field that it is divided by."""
    log: bool = False
    """Whether its axis is logarithmic."""
    floor: str = ""
    """The field of its noise floor."""
    floor_unit: str = ""
    """The field in whose unit the floor is, where it is not the measure's: it is scaled from one to the other."""
    lines: tuple[ReferenceLine, ...] = ()
    better: Literal["", "lower", "higher"] = ""
    """Which way is better, where one is."""
    source: str = ""
    """Where it is defined: of the paper, unless another is named."""
    detail: bool = False
    """Whether it is drawn only on request: not by `bnrun show` and the report's pictures of single runs."""
    in_paper: Measure | None = None
    """The same as the paper's figures draw it, where that is another field."""

    @property
    def per_layer(self) -> bool:
        """Whether it has a value for each layer."""
        return self.per == "layer"

    @property
    def tag(self) -> str:
        """Its name in event files, and the beginning of those of its layers."""
        return f"{self.table.removeprefix('probe:')}/{self.field}"
