"""All measures: those of training, evaluation and the machine, and those that each probe declares beside its
settings (`bncore.config.probes`). ``python -m bncore.measures`` prints docs/reference/measures.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from bncore.config.errors import escape_control
from bncore.config.measure import Measure, ReferenceLine
from bncore.config.probes import Probes

_BATCH = "the step's own batch, before the update"

TRAINING = (
    Measure("loss", "Training loss", symbol="L", unit="loss", log=True, better="lower", source=_BATCH),
    Measure(
        "accuracy", "Training accuracy", symbol="accuracy", unit="fraction", better="higher",
        source=f"{_BATCH}; Figs 1a, 2, 3, 5a",
    ),
    Measure("grad_norm", "‖g‖", symbol="‖g‖", unit="loss/θ", log=True, source=_BATCH, detail=True),
    Measure("penalty", "Weight penalty", unit="loss", source="weight decay as a term of the loss", detail=True),
    Measure("lr", "Learning rate", symbol="lr", detail=True),
)  # fmt: skip
EVALUATION = (
    Measure("test_loss", "Test loss", symbol="L", unit="loss", log=True, better="lower"),
    Measure(
        "test_accuracy", "Test accuracy", symbol="accuracy", unit="fraction", better="higher", source="Fig 1b"
    ),
    Measure(
        "train_loss", "Loss on training samples", symbol="L", unit="loss", log=True, better="lower",
        source="in evaluation mode", detail=True,
    ),
    Measure(
        "train_accuracy", "Accuracy on training samples", symbol="accuracy", unit="fraction", better="higher",
        source="in evaluation mode", detail=True,
    ),
)  # fmt: skip
_SHARE = "share of the time since the record before, by the host's clock"
MACHINE = (
    Measure(
        "gpu_use", "GPU use", unit="fraction", source="of the whole GPU, as reported by NVML", detail=True
    ),
    Measure("gpu_memory", "GPU memory, MiB", unit="MiB", source="taken by whoever uses the GPU", detail=True),
    Measure("gpu_power", "GPU power, W", unit="W", detail=True),
    Measure("gpu_temperature", "GPU temperature, °C", unit="°C", detail=True),
    Measure("cpu", "CPU use", unit="fraction", source="processors that the process kept busy", detail=True),
    Measure("rss", "Resident memory, MiB", unit="MiB", source="of the process", detail=True),
    Measure("os_threads", "Threads of the process", detail=True),
    Measure("steps_per_second", "Steps per second", unit="1/s", detail=True),
    Measure("time_data", "Time in data", unit="fraction", source=f"{_SHARE}; loading, batches", detail=True),
    Measure("time_step", "Time in steps", unit="fraction", source=_SHARE, detail=True),
    Measure("time_probes", "Time in probes", unit="fraction", source=_SHARE, detail=True),
    Measure("time_evaluation", "Time in evaluation", unit="fraction", source=_SHARE, detail=True),
    Measure("time_checkpoints", "Time in checkpoints", unit="fraction", source=_SHARE, detail=True),
)

FIDELITY = (
    Measure(
        "fidelity", "Deviation of the recomputed gradient", "deviation", symbol="‖g′ − g‖/‖g‖",
        lines=(ReferenceLine("tolerance", "explained by rounding"),), better="lower",
        source="an observed loop's gradient g, and the loss's g′ at the length of g",
    ),
    Measure(
        "fidelity_scale", "Scale of the loop's gradient", "scale", symbol="‖g‖/‖g′‖",
        source="below 1 where an observed loop clips", detail=True,
    ),
    Measure(
        "fidelity_precision", "Deviation by the probes' precision", "precision_deviation", symbol="‖g″ − g‖/‖g‖",
        better="lower", source="g″: the gradient that the probes start from", detail=True,
    ),
)  # fmt: skip


def _declared() -> Iterator[tuple[str, tuple[Measure, ...]]]:
    """Measures by table."""
    yield "step", TRAINING
    yield "eval", EVALUATION
    for name, probe in Probes():
        yield f"probe:{name}", probe.measures
    yield "probe:fidelity", FIDELITY
    yield "machine", MACHINE


def _in_table(measure: Measure, table: str) -> Measure:
    paper = measure.in_paper and _in_table(measure.in_paper, table)
    return replace(measure, table=table, field=measure.field or measure.key, in_paper=paper)


_ALL = [_in_table(measure, table) for table, measures in _declared() for measure in measures]

MEASURES: dict[str, Measure] = {m.key: m for m in sorted(_ALL, key=lambda m: m.detail)}
"""Measures by key, in the order in which they are listed and drawn, details last."""
SHOWN = tuple(m for m in MEASURES.values() if not m.detail and m.per != "length")
"""Measures drawn over steps by default."""

LOG = "log"
"""Table of the numbers that a loop logs with `watch.log`."""


def logged(name: str) -> Measure:
    """The measure of a number that a loop logged under `name`; its key is ``log.NAME``."""
    return Measure(f"{LOG}.{name}", escape_control(name), name, LOG, source="logged by an observed loop")


def measure_of(key: str) -> Measure | None:
    """The measure with this key, or None."""
    prefix, _, name = key.partition(".")
    return logged(name) if prefix == LOG and name else MEASURES.get(key)


_HEADER = """\
# Measures

All measures that `bnrun show`, the explorer, `bnrun export --svg` and the report can draw. Written by
`python -m bncore.measures > docs/reference/measures.md`; a measure is declared in `bncore/measures.py`, or beside
the settings of the probe that journals it, in `bncore/config/probes.py`; the table `machine` is
[beside the journal](../how-to/machine.md). Sources are of Santurkar et al. (2018),
unless another is named.

| key | measure | symbol | unit | table | of each | axis | drawn beside it | better | source |
|---|---|---|---|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The documentation page docs/reference/measures.md."""
    return _HEADER + "".join(map(_row, MEASURES.values()))


def _row(measure: Measure) -> str:
    fields = " … ".join(filter(None, (measure.field, measure.high)))
    paper = f" ({measure.in_paper.symbol} in the paper's figures)" if measure.in_paper else ""
    beside = [line.label for line in measure.lines] + ["noise floor"] * bool(measure.floor)
    cells = (
        f"`{measure.key}`",
        measure.title,
        f"{measure.symbol}{paper}",
        measure.unit,
        f"`{measure.table}` {fields}{f' / {measure.over}' if measure.over else ''}",
        {"layer": "layer", "length": "step length"}.get(measure.per, ""),
        "log" if measure.log else "",
        ", ".join(beside),
        measure.better,
        measure.source,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
