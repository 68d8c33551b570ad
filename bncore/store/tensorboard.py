"""Export of a run as a TensorBoard event file: scalars of every table, and histograms of activations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bncore.config.errors import escape_control
from bncore.measures import MEASURES
from bncore.store.columns import Columns
from bncore.store.errors import StoreError
from bncore.store.loaded import LoadedRun
from bncore.store.measured import HISTOGRAMS, layer_histograms, layers_of

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

NO_SCALARS = frozenset(
    {"step", "seq", "t", "layers", "multiples", "loss_multiples", "unit", "counts", "bin_low", "bin_width"}
)
"""Fields that position or label others and are not scalars themselves."""

LENGTHS = {"loss_between": "loss_multiples"}
"""Landscape fields whose entries are not at `multiples`, with the field that gives their positions."""

DESCRIPTIONS = {m.tag: f"{m.title}: {m.source}" if m.source else m.title for m in MEASURES.values()}
"""Description of each measure on its TensorBoard card, by tag."""

Values = dict[int, list["Summary.Value"]]


def export_tensorboard(loaded: LoadedRun, folder: Path) -> list[Path]:
    """Write one event file into `folder`; returns its path.

    Tags are, for example, ``step/loss``, ``eval/test_accuracy``, ``ics/l2/layer_03``,
    ``landscape/grad_diff/a_0.5_lr`` and, for histograms, ``activations/output/layer_03``. Measures have
    descriptions. Wall times are those of the journal. TensorBoard stores numbers in float32. A histogram's sum and
    sum of squares are computed from the bin centers.

    Raises:
        StoreError: tensorboard is not installed, the folder already has an event file (TensorBoard would draw two
            over each other), or the folder cannot be written.
    """
    if find_spec("tensorboard") is None:
        raise StoreError("event files need tensorboard: pip install tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - optional
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - optional
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415 - optional

    try:
        if any(folder.glob("*tfevents*")):
            raise StoreError(f"{folder}: holds an event file already; expected a new folder")
        writer = EventFileWriter(str(folder))
        try:
            for table in loaded.tables:
                times = _by_step(loaded.columns, table, "t")
                for step, values in sorted(_values(loaded.columns, table).items()):
                    event = Event(
                        step=step, wall_time=float(times.get(step, 0.0)), summary=Summary(value=values)
                    )
                    writer.add_event(event)
        finally:
            writer.close()
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return sorted(folder.glob("*tfevents*"))


def _values(columns: Columns, table: str) -> Values:
    """The summary values of a table, by step."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - optional

    values: Values = defaultdict(list)
    name = escape_control(table.removeprefix("probe:"))
    for field in columns.fields(table):
        series = columns.series(table, field)
        if field in NO_SCALARS or not len(series):
            continue
        labelled_by = LENGTHS.get(field, "multiples") if table == "probe:landscape" else "layers"
        labels = _by_step(columns, table, labelled_by)
        tag = f"{name}/{escape_control(field)}"
        for step, value in zip(series.steps.tolist(), series.values, strict=True):
            for suffix, one in _entries(np.asarray(value), labels.get(step), table):
                values[step].append(Summary.Value(tag=f"{tag}{suffix}", simple_value=one))
                if tag in DESCRIPTIONS and step == series.steps[0]:
                    values[step][-1].metadata.summary_description = DESCRIPTIONS[tag]
                    values[step][-1].metadata.plugin_data.plugin_name = "scalars"
    for layer in layers_of(columns, MEASURES["mean"]) if table == HISTOGRAMS else ():
        for step, *bins in zip(*layer_histograms(columns, layer), strict=True):
            tag, histogram = f"{name}/output/layer_{layer:02d}", histogram_of(*bins)
            values[int(step)].append(Summary.Value(tag=tag, histo=histogram))
    return values


def _by_step(columns: Columns, table: str, field: str) -> dict[int, Any]:
    series = columns.series(table, field)
    return dict(zip(series.steps.tolist(), series.values, strict=True))


def _entries(value: NDArray[Any], labels: Any, table: str) -> Iterator[tuple[str, float]]:
    """The numbers of a field at one step, each with its tag suffix; unnumbered layers count from 1."""
    if value.ndim == 0:
        yield "", float(value)
        return
    layers = labels if np.shape(labels) == value.shape[:1] else range(1, len(value) + 1)
    for label, entry in zip(layers, value, strict=True):
        suffix = f"a_{label:g}_lr" if table == "probe:landscape" else f"layer_{label:02g}"
        for rest, one in np.ndenumerate(entry):
            yield "".join([f"/{suffix}", *(f"/{i + 1}" for i in rest)]), float(one)


def histogram_of(counts: NDArray[np.float64], low: float, width: float) -> Any:
    """TensorBoard histogram of bins of equal width, from the first to the last non-empty one."""
    from tensorboard.compat.proto.summary_pb2 import HistogramProto  # noqa: PLC0415 - optional

    filled = np.flatnonzero(counts)
    first, end = int(filled[0]), int(filled[-1]) + 1
    occupied, edges = counts[first:end], low + width * np.arange(first, end + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    return HistogramProto(
        min=edges[0],
        max=edges[-1],
        num=occupied.sum(),
        sum=occupied @ centers,
        sum_squares=occupied @ centers**2,
        bucket_limit=edges[1:].tolist(),
        bucket=occupied.tolist(),
    )
