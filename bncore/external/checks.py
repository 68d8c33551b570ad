"""Checks before the first step that a training loop can be observed without wrong numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bncore.config.probes import Probes
from bncore.config.stability import sgd_threshold
from bncore.probes.layer_map import parametrized
from bncore.probes.processes import Processes

PARALLEL = frozenset({"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"})
"""Names of classes that spread a batch or the parameters over devices. Only the outermost module may be one of
them, and only a DistributedDataParallel."""
WHOLE = (
    "expected parameters that are whole in every process, as in DistributedDataParallel: probes compute at other "
    "parameters than those that are sharded; observe a smaller model in that way"
)
PRECISIONS: dict[torch.dtype, Literal["float32", "float64"]] = {
    torch.float32: "float32",
    torch.float64: "float64",
}


class ObserveError(ValueError):
    """Raised for a loop that cannot be observed as it is; the message says why and what would be accepted."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside any wrappers of `torch.compile` or DistributedDataParallel: probes run the original
    module."""
    distributed = isinstance(model, nn.parallel.DistributedDataParallel)
    inner = model.module if distributed else getattr(model, "_orig_mod", model)
    return unwrapped(inner) if isinstance(inner, nn.Module) and inner is not model else model


def wrapped_optimizer(optimizer: object) -> Any:
    """The optimizer that makes the updates, inside any wrappers such as Accelerate's."""
    inner = getattr(optimizer, "optimizer", None)
    return wrapped_optimizer(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer


def check_processes(model: nn.Module, processes: Processes, batch: str) -> None:
    """Check that this process can measure without the other processes, or that they take part.

    Raises:
        ObserveError: neither is the case.
    """
    joint = isinstance(model, nn.parallel.DistributedDataParallel) or processes.count > 1
    if batch == "global" and not joint:
        raise ObserveError("batch: 'global'; expected 'local' in a loop of one process")
    synchronized = [name for name, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)]
    if synchronized and processes.count > 1 and not processes.joined:
        raise ObserveError(
            f"model: SyncBatchNorm at {synchronized[0]} waits for the other processes, which make no pass for a "
            "probe; expected batch='global'"
        )


def check_observable(model: object, optimizer: object, probes: Probes, *, strict: bool) -> None:
    """Check that model, optimizer and probes can be observed together.

    Raises:
        ObserveError: the first problem found.
    """
    for problem in _problems(model, optimizer, probes, strict=strict):
        raise ObserveError(problem)


def check_layers(probes: Probes, count: int) -> None:
    """Check that the model has the requested layers.

    Raises:
        ObserveError: a layer does not exist.
    """
    for name in ("ics", "activations"):
        beyond = [number for number in getattr(probes, name).layers if number > count]
        if getattr(probes, name).every and beyond:
            raise ObserveError(f"probes.{name}.layers: {beyond[0]}; expected numbers from 1 to {count}")


def rates_of(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate of each updated parameter by name; NaN if its group has none."""
    by_id = {
        id(p): float(group.get("lr", "nan")) for group in optimizer.param_groups for p in group["params"]
    }
    return {name: by_id[id(p)] for name, p in net.named_parameters() if id(p) in by_id}


def learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """The common learning rate of all parameter groups that have one; NaN if they differ."""
    rates = {float(group["lr"]) for group in optimizer.param_groups if "lr" in group}
    return rates.pop() if len(rates) == 1 else float("nan")


def stability(optimizer: torch.optim.Optimizer) -> float:
    """The optimizer's stability threshold (`bncore.config.stability`) on the Hessian of the data loss; NaN if it
    has none or parameter groups differ."""
    if type(optimizer) is not torch.optim.SGD or any(group["maximize"] for group in optimizer.param_groups):
        return float("nan")
    names = ("momentum", "dampening", "nesterov", "weight_decay")
    thresholds = {
        sgd_threshold(float(group["lr"]), **{name: group[name] for name in names})
        for group in optimizer.param_groups
    }
    return thresholds.pop() if len(thresholds) == 1 else float("nan")


def _problems(model: object, optimizer: object, probes: Probes, *, strict: bool) -> Iterator[str]:
    if not isinstance(model, nn.Module):
        yield f"model: {type(model).__name__}; expected a torch.nn.Module"
        return
    yield from _model_problems(model)
    if not isinstance(optimizer, torch.optim.Optimizer):
        yield f"optimizer: {type(optimizer).__name__}; expected a torch.optim.Optimizer"
        return
    if strict and isinstance(optimizer, torch.optim.LBFGS):
        yield "optimizer: LBFGS; expected one that makes one update of one gradient, not one with a closure"
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in updated for p in model.parameters()):
        yield "optimizer: it updates none of the model's parameters"
    yield from _probe_problems(model, probes)


def _model_problems(model: nn.Module) -> Iterator[str]:
    for name, module in unwrapped(model).named_modules():
        kinds = sorted(PARALLEL & {kind.__name__ for kind in type(module).__mro__})
        if kinds and kinds[0].startswith(("FSDP", "Fully")):
            yield f"model: {kinds[0]} at {name or 'the top'}; {WHOLE}"
        elif kinds:
            yield (
                f"model: {kinds[0]} at {name or 'the top'}; expected a module on one device, at most within a "
                "DistributedDataParallel of its own: its gradient is not that of the batch one process sees"
            )
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    lazy = [name for name, tensor in tensors.items() if is_lazy(tensor)]
    if lazy:
        yield f"model: {lazy[0]} has no shape yet; expected a model that has made one forward pass"
        return
    yield from _tensor_problems(tensors)


def _tensor_problems(tensors: dict[str, Tensor]) -> Iterator[str]:
    for name, tensor in tensors.items():
        if type(tensor).__name__ == "DTensor":
            yield f"model: {name} is spread over processes; {WHOLE}"
        if (tensor.is_floating_point() or tensor.requires_grad) and tensor.dtype not in PRECISIONS:
            dtype = str(tensor.dtype).removeprefix("torch.")
            yield (
                f"model: {name} is {dtype}; expected float32 or float64: gradients' differences would be rounding"
            )
    devices = {str(tensor.device) for tensor in tensors.values()}
    if len(devices) > 1:
        yield f"model: on several devices ({', '.join(sorted(devices))}); expected one"
    if devices and next(iter(devices)).partition(":")[0] not in ("cpu", "cuda"):
        yield f"model: on {devices.pop()}; expected cpu or cuda, whose generators can be put back"


def _probe_problems(model: nn.Module, probes: Probes) -> Iterator[str]:
    if probes.theory.every:
        yield "probes.theory: needs a network of bncore.nets, which names its norms; expected it to be off"
    weight = parametrized(unwrapped(model))
    per_weight = [name for name in ("ics", "sharpness") if getattr(probes, name).every]
    if weight is not None and per_weight:
        yield (
            f"probes.{per_weight[0]}: the weight of {weight} is computed from other parameters, and its layer has "
            "no weight of its own; expected the probe to be off"
        )
    for name in ("ics", "landscape"):
        if getattr(probes, name).every and getattr(probes, name).penalty:
            yield (
                f"probes.{name}.penalty: true; expected false: which part of a weight penalty the optimizer "
                "applies is unknown in an external training loop"
            )
