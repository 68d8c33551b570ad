"""Safeguards around a measurement: its precision, and undoing what a failed probe may have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from bncore.probes.batches import RngState


class RandomSnapshot:
    """A copy of parameters, buffers, gradients and generator states.

    Arguments:
        net: the live network.
    """

    def __init__(self, net: nn.Module) -> None:
        self._grads = [(p, p.grad) for p in net.parameters()]
        grads = (grad for _, grad in self._grads if grad is not None)
        tensors = (*net.parameters(), *net.buffers(), *grads)
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self._extra = [
            (module, module.get_extra_state())
            for module in net.modules()
            if type(module).get_extra_state is not nn.Module.get_extra_state
        ]
        self._draws = RngState.now()

    @torch.no_grad()
    def restore(self) -> None:
        """Restore everything bitwise, by copying."""
        for live, then in self._tensors:
            live.copy_(then)
        for parameter, grad in self._grads:
            parameter.grad = grad
        for module, state in self._extra:
            module.set_extra_state(state)
        self._draws.restore()


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error means that memory ran out, on a GPU or the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@dataclass(frozen=True)
class Autocast:
    """The autocast state at some point of a program."""

    device_type: str = "cpu"
    dtype: torch.dtype | None = None
    """The dtype it casts to; None: autocast is off."""

    @staticmethod
    def now(device_type: str) -> Autocast:
        """The current autocast state."""
        on = torch.is_autocast_enabled(device_type)
        return Autocast(device_type, torch.get_autocast_dtype(device_type) if on else None)

    def region(self) -> torch.autocast:
        """A context that restores this state."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Compute convolutions and products in IEEE float32; cuDNN's default, TF32, swamps differences."""
    backends = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]  # torch sets it unseen
    precisions = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, precisions, strict=True):
            backend.fp32_precision = precision


@contextmanager
def undisturbed(net: nn.Module, modes: Mapping[nn.Module, bool]) -> Iterator[None]:
    """Leave a user's module unchanged by the forward passes inside this context.

    Generators continue where they were, and the modules' attributes that a forward pass writes to are restored.
    (Parameters and buffers are temporary copies.)

    Arguments:
        modes: the modules' train mode inside the context.
    """
    draws = RngState.now()
    attributes = [(module, dict(vars(module))) for module in net.modules()]
    try:
        for module, training in modes.items():
            module.training = training
        yield
    finally:
        for module, saved in attributes:
            for name in vars(module).keys() - saved.keys():
                del vars(module)[name]
            vars(module).update(saved)
        draws.restore()
