"""Measurements as CUDA graphs: a probe's kernels are captured once and then replayed with a single launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bncore.nets.noise import NoiseInPlace
from bncore.probes.base import Found, Measurement, Probe
from bncore.probes.view import StepView
from bncore.recorder import CaptureRefused, GraphCache, Recorder, first_line, same_to_the_bit


@dataclass
class _Graph:
    """A captured task and the memory that it reads."""

    task: Measurement
    replay: Callable[[], None]
    result: Tensor
    """All results, (k,) in float64, after each replay."""
    shapes: Mapping[str, torch.Size]
    noise: NoiseInPlace

    def fill(self, task: Measurement) -> bool:
        """Copy a step's inputs to the graph's memory; False if the noise has since changed buffers."""
        if not self.noise.draw(task.view.step):
            return False
        for own, new in zip(_tensors(self.task), _tensors(task), strict=True):
            torch._foreach_copy_(own, new)
        return True

    def found(self) -> Found:
        """The results of the latest replay."""
        parts = torch.split(self.result.clone(), [shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


class ProbeGraphs:
    """Measurements, replayed from graphs where possible.

    A graph is trusted once its first replay is bitwise equal to the measurement without it.

    Arguments:
        recorder: captures the graphs; None: no graphs are used.
        on_failure: called with the reason, once for each kind of measurement that cannot use a graph.
    """

    def __init__(
        self, recorder: Recorder | None = None, on_failure: Callable[[str], object] = lambda reason: None
    ) -> None:
        self._recorder = recorder
        self._on_failure = on_failure
        self._kept: GraphCache[_Graph] = GraphCache(recorder)
        self.replayed = 0
        """Number of measurements replayed from a graph so far."""

    def measure(self, name: str, probe: Probe, view: StepView) -> dict[str, Any]:
        """Same as `probe.measure`, with bitwise equal fields."""
        task = None if self._recorder is None else probe.task(view)
        if self._recorder is None or task is None:
            return probe.measure(view)
        key = (name, task.key, *_shapes(task))
        graph = self._kept.get(key)
        if graph is not None and graph.fill(task):
            graph.replay()
            self.replayed += 1
            return task.finish(graph.found())
        if self._kept.worth_recording(key):
            return task.finish(self._tried(key, self._recorder, task))
        return task.done()

    def forget(self) -> None:
        """Discard all graphs, because their operations are outdated or their memory is needed."""
        self._kept.forget()

    def _tried(self, key: object, recorder: Recorder, task: Measurement) -> Found:
        """Run a task, then capture and replay it; the graph is kept if both results agree."""
        self._kept.try_for(key)
        with recorder.aside():
            tensors = task.compute(task.view, task.given)
        try:
            own = _with_own_memory(task)
            noise = NoiseInPlace(task.view.net.noise_sources)
            replay, result = recorder.record(lambda: _flat(own.compute(own.view, own.given)))
            replay()
            if not same_to_the_bit([result], [_flat(tensors)]):
                raise CaptureRefused("the graph's measurement is not the same to the bit")
            shapes = {name: tensor.shape for name, tensor in tensors.items()}
            self._kept.keep(key, _Graph(own, replay, result, shapes, noise))
        except (RuntimeError, CaptureRefused) as error:  # RuntimeError includes running out of memory
            like = f"measurements like that of step {task.view.step}"
            self._on_failure(f"no CUDA graph for {like}: {first_line(error)}")
        return tensors


def _flat(tensors: Found) -> Tensor:
    return torch.cat([tensor.flatten().double() for tensor in tensors.values()])


def _tensors(task: Measurement) -> list[list[Tensor]]:
    """The tensors that a task reads, in lists of one data type each."""
    view = task.view
    static = [*view.before.values(), *view.grads.values()]
    return [[view.inputs], [view.targets], static, *([t] for t in (*view.buffers.values(), *task.given))]


def _shapes(task: Measurement) -> tuple[object, ...]:
    """Shapes of the inputs that differ between tasks of one network, and the names of the gradients."""
    given = tuple(tensor.shape for tensor in task.given)
    return task.view.inputs.shape, task.view.targets.shape, tuple(task.view.grads), given


@torch.no_grad()
def _with_own_memory(task: Measurement) -> Measurement:
    """The same task on copies of all tensors that it reads."""
    view = replace(
        task.view,
        inputs=_copied(task.view.inputs),
        targets=_copied(task.view.targets),
        before={name: _copied(tensor) for name, tensor in task.view.before.items()},
        buffers={name: _copied(tensor) for name, tensor in task.view.buffers.items()},
        grads={name: _copied(tensor) for name, tensor in task.view.grads.items()},
    )
    return replace(task, view=view, given=[_copied(tensor) for tensor in task.given])


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.preserve_format)
