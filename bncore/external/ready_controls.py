"""Ready-made controls: for the optimizer, noise, norms, dropout and attributes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from bncore.config.controls import ANY_LP, Value
from bncore.config.errors import did_you_mean
from bncore.config.model import Noise
from bncore.external.checks import ObserveError
from bncore.external.control_panel import Get, Set
from bncore.external.steering import Steering
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.noise import NoiseSource
from bncore.nets.switchable import SWITCHABLE_KINDS, SwitchableNorm

OPTIMIZER = ("lr", "momentum", "weight_decay")
MOST_MOMENTUM = 0.99999
AMPLITUDES = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0}
"""Noise fields and their least values."""


class Controls:
    """The part of an observation that declares what can be changed in the loop while it trains.

    Each change is made between two updates, journaled with its old and new value, and shown in every chart.
    """

    position: int

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, steering: Steering, *, seed: int
    ) -> None:
        self._net = net
        self._optimizer = optimizer
        self._steering = steering
        self._seed = seed

    @property
    def should_stop(self) -> bool:
        """Whether a stop was requested. A loop that checks this after each update can end by itself; otherwise
        `step` raises `StopObserved`."""
        return self._steering.stops_at(self.position)

    def replay(self, run: str | os.PathLike[str]) -> None:
        """Replay the changes of another run of this script at the same steps, and make no others.

        Arguments:
            run: directory or journal of that run.

        Raises:
            ObserveError: the loop has started.
            StoreError: there is no journal.
        """
        self._steering.repeat(Path(run))

    def control(
        self,
        name: str,
        get: Get,
        set: Set,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Sequence[Value] = (),
    ) -> None:
        """Declare a hyperparameter.

        Arguments:
            name: name by which it is set: letters, digits, dots, dashes.
            get: returns the current value, a float, int, bool or str; its type is the type of every value.
            set: called with a new value; if it raises, the request is rejected with that error and the old value
                is restored.
            minimum: least value of a number.
            maximum: greatest value of a number.
            choices: the only accepted values.

        Raises:
            ObserveError: the name is taken or invalid, or the current value is not accepted.
        """
        self._steering.panel.declare(name, get, set, minimum=minimum, maximum=maximum, choices=tuple(choices))

    def control_attribute(self, owner: object, attribute: str, *, name: str = "", **limits: Any) -> None:
        """Declare an attribute of any object, under `name` or its own name; limits as for `control`."""
        get, set_ = partial(getattr, owner, attribute), partial(setattr, owner, attribute)
        self.control(name or attribute, get, set_, **limits)

    def control_optimizer(
        self, *what: str, optimizer: torch.optim.Optimizer | None = None, per_group: bool = False
    ) -> None:
        """Declare settings of an optimizer: `lr`, `momentum` (for Adam and similar the first beta) and
        `weight_decay`, or only those named; by default those that it has.

        A control's value is the largest of all parameter groups; the other groups keep their ratio to it. A
        scheduler that computes the learning rate from the step overwrites it at its next step.

        Arguments:
            optimizer: the optimizer; default: the observed one.
            per_group: declare one control per parameter group instead, `lr.0`, `lr.1` and so on.

        Raises:
            ObserveError: the optimizer has no such setting.
        """
        optimizer = optimizer or self._optimizer
        for one in what or OPTIMIZER:
            groups = [group for group in optimizer.param_groups if _has(group, one)]
            if one not in OPTIMIZER or (what and not groups):
                raise ObserveError(
                    f"control: {type(optimizer).__name__} has no {one}; expected lr, momentum or weight_decay"
                )
            named = {one: groups} if groups else {}
            if per_group:
                each = enumerate(optimizer.param_groups)
                named = {f"{one}.{number}": [group] for number, group in each if _has(group, one)}
            for name, controlled in named.items():
                ratios = _Ratios(controlled, one)
                maximum = MOST_MOMENTUM if one == "momentum" else None
                self.control(name, ratios.get, ratios.set, minimum=0.0, maximum=maximum)

    def control_noise(self, *modules: str, name: str = "noise", **amplitudes: float) -> None:
        """Declare noise on the outputs of modules, initially off: Algorithm 1 of Santurkar et al. (2018).

        Noise is added in training mode only. `noise` switches it; `noise.n_mu`, `noise.n_sigma`, `noise.r_mu` and
        `noise.r_sigma` are its amplitudes. Its draws depend only on the observation's seed, the step, the module
        and the shape, and leave other random generators untouched; all passes of a step get the same draws. Units
        are dimension 1.

        Arguments:
            modules: names as in `named_modules()`, or patterns such as ``"layer*.bn1"``.
            amplitudes: `n_mu` and so on, to replace the paper's values.

        Raises:
            ObserveError: no module matches, or the model is compiled and thus calls no hooks added later.
        """
        if not modules:
            raise ObserveError("control_noise: no modules; expected names, or patterns such as 'layer*.bn1'")
        named = self._modules(modules, nn.Module)
        if self._steering.compiled:
            raise ObserveError(
                "control_noise: the model is compiled; expected one that is not: it calls no new hooks"
            )
        seed = self._seed + self._steering.peers.rank
        noise = ModuleNoise(named, step=lambda: self._steering.last_started, seed=seed, **amplitudes)
        self.control(name, lambda: noise.on, noise.switch)
        for field, least in AMPLITUDES.items():
            self.control(
                f"{name}.{field}", partial(noise.get, field), partial(noise.set, field), minimum=least
            )

    def control_norm(self, *modules: str, name: str = "norm") -> None:
        """Declare the kind of all `SwitchableNorm` modules of the model, or of the named ones.

        Raises:
            ObserveError: there are none, or their kinds differ.
        """
        norms = self._modules(modules, SwitchableNorm)
        self._alike(name, [norm.setting.kind for norm in norms])

        def switch(kind: str) -> None:
            for norm in norms:  # check all before any of them changes
                norm.of_kind(kind)
            for norm in norms:
                norm.switch(kind)

        self.control(name, lambda: norms[0].setting.kind, switch, choices=(*SWITCHABLE_KINDS, ANY_LP))

    def control_dropout(self, *modules: str, name: str = "dropout") -> None:
        """Declare the probability of all dropout modules of the model, or of the named ones.

        Raises:
            ObserveError: there are none, or their probabilities differ.
        """
        dropouts = self._modules(modules, _DropoutNd)
        self._alike(name, [one.p for one in dropouts])

        def put(p: float) -> None:
            for one in dropouts:
                one.p = p

        self.control(name, lambda: float(dropouts[0].p), put, minimum=0.0, maximum=1.0)

    def _modules(self, patterns: Sequence[str], kind: type[Any]) -> list[Any]:
        named = dict(self._net.named_modules())
        matching = []
        for name, module in named.items():
            wanted = not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
            if wanted and name and isinstance(module, kind):
                matching.append(module)
        what = kind.__name__.lstrip("_")
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in named):
                hint = did_you_mean(pattern, list(named))
                raise ObserveError(
                    f"control: {pattern!r} names no module; expected one of named_modules(){hint}"
                )
        if not matching:
            raise ObserveError(f"control: the model has no {what} there; expected at least one")
        return matching

    @staticmethod
    def _alike(name: str, values: Sequence[object]) -> None:
        if len(set(values)) > 1:
            listed = ", ".join(map(str, dict.fromkeys(values)))
            raise ObserveError(
                f"control {name}: the modules differ ({listed}); expected a control for each value, by name="
            )


class ModuleNoise:
    """Noise on the outputs of modules; has no hooks while it is off."""

    def __init__(
        self, modules: Sequence[nn.Module], *, step: Callable[[], int], seed: int, **amplitudes: float
    ) -> None:
        self._modules = modules
        self._step = step
        self._seed = seed
        self._setting = Noise.model_validate({"on": True, **amplitudes})
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @property
    def on(self) -> bool:
        return bool(self._hooks)

    def switch(self, on: bool) -> None:
        """Turn the noise on or off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if on:
            self._hooks = [
                module.register_forward_hook(partial(self._noisy, layer))
                for layer, module in enumerate(self._modules, 1)
            ]

    def get(self, field: str) -> float:
        """Value of an amplitude."""
        return float(getattr(self._setting, field))

    def set(self, field: str, value: float) -> None:
        """Change an amplitude."""
        self._setting = Noise.model_validate({**self._setting.model_dump(), field: value})

    def _noisy(self, layer: int, module: nn.Module, _inputs: object, output: Any) -> Any:
        if not (
            module.training and isinstance(output, Tensor) and output.is_floating_point() and output.ndim > 1
        ):
            return output
        # A new source each time: draws of an earlier pass may still be needed for its backward pass.
        source = NoiseSource(self._setting, seed=self._seed, layer=layer)
        return source.apply(output, ForwardMode(noise_step=self._step()))


def is_noise(hook: object) -> bool:
    """Whether a module hook belongs to `ModuleNoise`."""
    return isinstance(hook, partial) and isinstance(getattr(hook.func, "__self__", None), ModuleNoise)


class _Ratios:
    """A setting of several parameter groups as one number, the largest; setting it keeps their ratios."""

    def __init__(self, groups: Sequence[dict[str, Any]], what: str) -> None:
        self._groups = groups
        self._what = what
        self._ratios = [1.0] * len(groups)

    def get(self) -> float:
        return max(_read(group, self._what) for group in self._groups)

    def set(self, value: float) -> None:
        largest = self.get()
        if largest:
            self._ratios = [_read(group, self._what) / largest for group in self._groups]
        for group, ratio in zip(self._groups, self._ratios, strict=True):
            _write(group, self._what, value * ratio)


def _has(group: dict[str, Any], what: str) -> bool:
    return what in group or (what == "momentum" and "betas" in group)


def _read(group: dict[str, Any], what: str) -> float:
    return float(group[what] if what in group else group["betas"][0])


@torch.no_grad()
def _write(group: dict[str, Any], what: str, value: float) -> None:
    if what not in group:
        first, *others = group["betas"]
        first.fill_(value) if isinstance(first, Tensor) else group.update(betas=(value, *others))
    elif isinstance(group[what], Tensor):
        group[what].fill_(value)
    else:
        group[what] = value
