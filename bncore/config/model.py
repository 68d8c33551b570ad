"""The specification of a run: one frozen model with every field documented and nothing decided later.

A `Spec` is complete: the worker that trains it reads no other setting. Unknown keys are refused, and so is a
string such as ``"l1"`` where a table is expected: the short spellings that a user may type are listed once, in
`bncore.config.overrides.ALIASES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from bncore.config.single_value import single_value_conflicts
from bncore.config.tables import (
    CHOICES,
    DLN,
    MLP,
    VGG,
    VGG_SIDE,
    Checkpoints,
    Evaluation,
    GaussianData,
    ImageData,
    Init,
    Loss,
    Noise,
    Norm,
    Optim,
    Schedule,
    SpecFields,
)

__all__ = [
    "CHOICES",
    "DLN",
    "MLP",
    "VGG",
    "VGG_SIDE",
    "Checkpoints",
    "Evaluation",
    "GaussianData",
    "ImageData",
    "Init",
    "Loss",
    "Noise",
    "Norm",
    "Optim",
    "Schedule",
    "Spec",
    "conflicts",
]


class Spec(SpecFields):
    """One run, completely."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Spec:
        wrong = conflicts(self)
        if wrong:
            text = "; ".join(f"{field} = {value!r}: expected {accepted}" for field, value, accepted in wrong)
            raise PydanticCustomError("conflicts", "{text}", {"text": text, "found": wrong})
        return self


def conflicts(spec: SpecFields) -> list[tuple[str, object, str]]:
    """Conflicts between fields that are each valid: (dotted field, its value, what is accepted)."""
    problems: list[tuple[str, object, str]] = []
    data, loss, net, schedule = spec.data, spec.loss, spec.net, spec.optim.schedule
    because = f"because data.source is '{data.source}'"
    wanted = "squared_error" if isinstance(data, GaussianData) else "cross_entropy"
    if loss.kind != wanted:
        problems.append(("loss.kind", loss.kind, f"'{wanted}', {because}"))
    if isinstance(data, GaussianData):
        if isinstance(net, VGG):
            problems.append(("net.kind", net.kind, f"'dln' or 'mlp', {because}"))
        if spec.batch_size != "full" and spec.batch_size > data.samples:
            accepted = f"'full' or at most data.samples, which is {data.samples}"
            problems.append(("batch_size", spec.batch_size, accepted))
    elif data.source == "folder" and data.path is None:
        problems.append(("data.path", "", f"the folder of the images, {because}"))
    problems += _image_size_conflicts(spec)
    problems += single_value_conflicts(spec)
    count = net.layers
    for name in ("ics", "activations", "theory"):
        numbers = getattr(spec.probes, name).layers
        if any(number > count for number in numbers):
            accepted = f"numbers from 1 to {count}, the layers of a {net.kind}"
            problems.append((f"probes.{name}.layers", list(numbers), accepted))
    problems += _device_conflicts(spec)
    milestones = list(schedule.milestones)
    if schedule.kind == "step" and not milestones:
        accepted = "at least one step, because the kind is 'step'"
        problems.append(("optim.schedule.milestones", milestones, accepted))
    if any(later <= earlier for earlier, later in pairwise(milestones)):
        problems.append(("optim.schedule.milestones", milestones, "steps in ascending order, each once"))
    return problems


def _image_size_conflicts(spec: SpecFields) -> Iterator[tuple[str, object, str]]:
    side = spec.data.image_size if isinstance(spec.data, ImageData) else None
    if side in (None, VGG_SIDE):
        return
    if isinstance(spec.net, VGG):
        yield "data.image_size", side, f"{VGG_SIDE}, which is what a {spec.net.kind} takes"
    elif spec.data.source in ("cifar10", "synthetic"):
        yield "data.image_size", side, f"none, or {VGG_SIDE}: data.source '{spec.data.source}' has that size"


def _device_conflicts(spec: SpecFields) -> Iterator[tuple[str, object, str]]:
    if spec.precision == "tf32" and spec.device == "cpu":
        yield "precision", "tf32", "'float32' or another: a CPU has no TF32"
    if spec.norm.fused and spec.device == "cpu":
        yield "norm.fused", True, "false: the kernels are for a GPU"
    if spec.norm.fused and spec.memory_format == "contiguous" and isinstance(spec.net, VGG):
        because = "because memory_format is 'contiguous' and the kernels take images with channels innermost"
        yield "norm.fused", True, f"false, {because}"
