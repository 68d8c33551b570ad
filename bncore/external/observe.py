"""`observe`: the probes around an external training loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn

from bncore.config.observed import check_probes, observed
from bncore.external.checks import (
    PRECISIONS,
    ObserveError,
    check_observable,
    check_processes,
    unwrapped,
    wrapped_optimizer,
)
from bncore.external.observation import Companion, Observation, OnError
from bncore.external.observed_step import ObservedStep
from bncore.external.peers import Peers
from bncore.external.recomputed_step import Recomputation
from bncore.external.steering import OnCheckpoint, OnEvaluate, Steering, StopObserved
from bncore.probes.module import BatchLoss
from bncore.probes.processes import Processes
from bncore.store.paths import RunDir

DEFAULT_PROBES: Mapping[str, Any] = {"landscape": {"every": 100}, "activations": {"every": 100}}
Criterion = Callable[[Any, Any], Tensor]
"""Maps a model's outputs and the targets to the loss, a scalar."""


class Options(TypedDict, total=False):
    """Keyword arguments of `observe` other than the loss and the run."""

    probes: Mapping[str, Any]
    check: Literal["report", "strict"]
    on_error: OnError
    probe_autocast: bool
    batch: Literal["local", "global"]
    steps: int
    log_every: int
    seed: int
    title: str
    config: Mapping[str, Any] | None
    tags: Sequence[str]
    on_checkpoint: OnCheckpoint | None
    on_evaluate: OnEvaluate | None


@overload
def observe(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    loss_of: BatchLoss,
    run: str | os.PathLike[str],
    **options: Unpack[Options],
) -> Observation: ...


@overload
def observe(
    model: nn.Module,
    loss_fn: Criterion,
    optimizer: torch.optim.Optimizer,
    *,
    run: str | os.PathLike[str],
    **options: Unpack[Options],
) -> Observation: ...


def observe(  # type: ignore[misc]  # an optimizer as second argument is handled below
    model: nn.Module,
    loss_fn: Any = None,
    optimizer: Any = None,
    *,
    loss_of: BatchLoss | None = None,
    run: str | os.PathLike[str],
    probes: Mapping[str, Any] = DEFAULT_PROBES,
    check: Literal["report", "strict"] = "report",
    on_error: OnError = "warn",
    probe_autocast: bool = False,
    batch: Literal["local", "global"] = "local",
    steps: int = 0,
    log_every: int = 1,
    seed: int = 0,
    title: str = "",
    config: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    on_checkpoint: OnCheckpoint | None = None,
    on_evaluate: OnEvaluate | None = None,
) -> Observation:
    """Observe a training loop: journal its losses and measure with probes, into a run directory.

    The result is a context manager; each update is made within its `step`::

        def loss_of(model, batch):
            return F.cross_entropy(model(batch["image"]), batch["label"])

        with bncore.observe(model, optimizer, loss_of=loss_of, run="runs/mine/resnet") as watch:
            for batch in loader:
                with watch.step(batch) as step:
                    optimizer.zero_grad()
                    loss = loss_of(model, batch)
                    loss.backward()
                    optimizer.step()
                    step.record(loss)

    ``observe(model, loss_fn, optimizer, run=...)`` with ``watch.step(inputs, targets)`` is shorthand for the loss
    ``loss_fn(model(inputs), targets)``.

    The training stays the same bit for bit: parameters, buffers, gradients, optimizer state, modes, random
    generators (torch's, Python's, numpy's) and hooks. Dropout and other random modules draw the same numbers in
    every pass of a probe as in the step. The first step and each measured step are recomputed from copies, and
    their gradient is compared with the loop's own (docs/how-to/observe.md). An exception in the loop leaves the
    run `failed`, Ctrl-C leaves it `stopped`.

    Arguments:
        model: any module on one device, in float32 or float64.
        loss_of: the loss as a function of the model and a batch, a scalar. It may call the model more than once,
            read its parameters, and open autocast regions.
        loss_fn: alternative to `loss_of`: the loss as a function of the model's outputs and the targets.
        optimizer: the loop's optimizer; its learning rate is the unit of the landscape's step lengths.
        run: the run directory, new or empty. If its parent is new or empty too, the parent becomes a sweep
            directory, which `bnrun ls` lists.
        probes: probe settings by name, as under ``[spec.probes]`` of an experiment; every probe except `theory`.
        check: ``report`` journals how far the recomputed gradient deviates from the loop's own (the measure
            `fidelity`), and marks measurements where rounding does not explain the deviation; ``strict`` refuses
            such a loop at once.
        on_error: ``warn`` continues the training without whatever failed: a probe, all probes, or the run
            directory; ``raise`` stops it.
        probe_autocast: whether probes compute under the loop's autocast (around the step, and in regions that
            `loss_of` opens) instead of in IEEE float32.
        batch: for a model in DistributedDataParallel: ``local`` measures in the first process alone, on its own
            batch; ``global`` measures in all processes together, on their combined batch. Every process makes the
            same calls; the first one writes the run.
        steps: planned number of updates; 0: unknown.
        log_every: number of steps between journal entries of loss, learning rate and gradient norm; each entry
            synchronizes with the device.
        seed: seed of the probes' random draws.
        title: title of the run.
        config: further facts about the loop by name: numbers, text, or nested tables. Runs can be compared, listed
            and selected by them (``config.NAME``).
        tags: words by which runs can be selected (``tag=NAME``).
        on_checkpoint: called with the step when a checkpoint is requested; saves whatever the loop wants saved.
        on_evaluate: called when an evaluation is requested; returns the numbers to journal, by name.

    Raises:
        ObserveError: the model, the optimizer or a probe cannot be observed correctly.
        SpecError: a setting is invalid.
        StoreError: the directory is not empty, or cannot be written.
    """
    if optimizer is None and loss_of is not None:
        loss_fn, optimizer = None, loss_fn
    optimizer = wrapped_optimizer(optimizer)
    named, batch_loss = _loss(loss_fn, loss_of)
    for name, value, accepted in (
        ("check", check, ("report", "strict")),
        ("on_error", on_error, ("warn", "raise")),
        ("batch", batch, ("local", "global")),
    ):
        if value not in accepted:
            raise ObserveError(f"{name}: {value!r}; expected {' or '.join(map(repr, accepted))}")
    if not isinstance(config, Mapping | None):
        raise ObserveError(f"config: {type(config).__name__}; expected a mapping, such as vars(args)")
    chosen = check_probes(probes)
    check_observable(model, optimizer, chosen, strict=check == "strict")
    net = unwrapped(model)
    first = next(net.parameters())
    processes = Processes.now(joined=batch == "global", device=first.device)
    check_processes(model, processes, batch)
    described = observed(
        title=title,
        model=type(net).__name__,
        loss=named,
        optimizer=_described(optimizer),
        parameters=sum(p.numel() for p in net.parameters() if p.requires_grad),
        precision=PRECISIONS[first.dtype],
        device=str(first.device),
        threads=torch.get_num_threads(),
        steps=steps,
        seed=seed,
        log_every=log_every,
        probes=chosen,
        check=check,
        batch=processes.batch,
        tags=tags if isinstance(tags, str) else tuple(tags),  # a text alone is refused
        config=dict(_flat(config or {})),
    )
    recomputation = Recomputation(
        net, batch_loss, seed, strict=check == "strict", autocast=probe_autocast, processes=processes,
        traces=bool(chosen.ics.every),
    )  # fmt: skip
    steering = Steering(RunDir(Path(run).resolve()), net, Peers(processes), on_checkpoint, on_evaluate)
    steering.compiled = any(
        hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in model.modules()
    )
    kind = Observation if processes.rank == 0 else Companion
    return kind(recomputation, optimizer, described, steering, on_error=on_error)


def _loss(loss_fn: Criterion | None, loss_of: BatchLoss | None) -> tuple[str, BatchLoss]:
    """Name of the loss, and the loss as a function of model and batch."""
    given = loss_of if loss_fn is None else loss_fn
    if (loss_fn is None) == (loss_of is None) or not callable(given):
        raise ObserveError("loss: expected either loss_of(model, batch) or loss_fn(outputs, targets)")

    def of_outputs(model: nn.Module, batch: Any) -> Tensor:
        inputs, targets = batch
        return given(model(inputs), targets)

    name = str(getattr(given, "__qualname__", None) or type(given).__name__)
    return name, of_outputs if loss_of is None else loss_of


def _flat(table: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested tables to plain values by dotted name; values of other types become text."""
    for name, given in table.items():
        value = given.item() if getattr(given, "ndim", None) == 0 else given  # of numpy or torch
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float | str) else str(value)


def _described(optimizer: torch.optim.Optimizer) -> str:
    """The optimizer's class and plain settings, ``SGD(lr=0.1, momentum=0.9, ...)``."""
    settings = []
    for name, value in optimizer.param_groups[0].items():
        plain: object = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if name != "params" and isinstance(plain, int | float | tuple | str) and plain is not False:
            with suppress(ValueError):
                settings.append(f"{name}={plain}")
    return f"{type(optimizer).__name__}({', '.join(settings)})"


__all__ = ["Observation", "ObserveError", "ObservedStep", "StopObserved", "observe"]
