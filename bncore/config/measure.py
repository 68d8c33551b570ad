"""Measures: fields of the journal with everything needed to plot or name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Band = Literal["interval", "range", "quartiles", "deviation", "envelope"]
"""Kinds of band around the mean of a measure over several runs; `bncore.aggregate` defines each."""


@dataclass(frozen=True)
class ReferenceLine:
    """A reference line in the chart of a measure, given by another field of its table."""

    field: str
    label: str
    """Label of the line; that of `stability_threshold` is its multiple of 1/lr, as given by the optimizer."""
    times_lr: bool = False
    """Whether the line is the field multiplied by the learning rate."""


@dataclass(frozen=True)
class Measure:
    """A number, or one number per layer or step size, in every row of a table.

    All charts, plots, tags and tables of measures are made from these; `bncore.measures` collects them.
    """

    key: str
    """Unique name by which it is requested."""
    title: str
    field: str = ""
    """Name in the journal; default: the key."""
    table: str = ""
    """``step``, ``eval``, ``machine`` or ``probe:<name>``; default for a probe's measure: the probe's table."""
    symbol: str = ""
    unit: str = ""
    """Unit; empty for a ratio."""
    per: Literal["", "layer", "length"] = ""
    """Dimension along which it has several values; ``length``: the step sizes in the field `multiples`."""
    high: str = ""
    """Field of a band's upper edge; `field` is then the lower edge."""
    over: str = ""
    """Field that it is divided by."""
    log: bool = False
    """Whether its axis is logarithmic."""
    floor: str = ""
    """Field of its noise floor."""
    floor_unit: str = ""
    """Field in whose unit the noise floor is given, if not the measure's; the floor is then rescaled."""
    lines: tuple[ReferenceLine, ...] = ()
    better: Literal["", "lower", "higher"] = ""
    """Direction of improvement, if there is one."""
    source: str = ""
    """Its definition, in the paper unless another source is named."""
    detail: bool = False
    """Whether it is shown only on request: not by `bnrun show`, nor in the report's figures of single runs."""
    in_paper: Measure | None = None
    """The variant drawn in the paper's figures, if it is another field."""

    @property
    def per_layer(self) -> bool:
        """Whether it has one value per layer."""
        return self.per == "layer"

    @property
    def tag(self) -> str:
        """Tag in event files; the tags of its layers start with it."""
        return f"{self.table.removeprefix('probe:')}/{self.field}"
