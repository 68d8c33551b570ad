"""Distributions of the layers' outputs during training (Figs 1, 2, 6, 8, 9 of Santurkar et al., 2018).

A layer's output is that of its norm position at theta_t on the step's own batch: after gamma, beta and any noise,
before activation and pooling. This is what the paper's histograms show (they reach below 0) and where the paper
injects noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bncore.config.probes import Activations
from bncore.nets import LayeredNet
from bncore.nets.layer import Layer
from bncore.probes.base import Probe
from bncore.probes.module import ModuleView
from bncore.probes.view import StepView
from bncore.random import ProbeDraws, generator

SMALLEST_SPAN = 2.0**-16
"""Narrowest resolved range, relative to the largest value: float32 still resolves every bin edge."""


@dataclass(frozen=True, slots=True)
class Bins:
    """`count` bins of width 2^exponent; bin k holds the values in [(first + k) * width, (first + k + 1) * width).

    Two bins of one width make up one bin of the next, so any histogram can be converted to wider bins.
    """

    exponent: int
    first: int
    count: int

    @property
    def width(self) -> float:
        """Width of a bin, a power of two."""
        return math.ldexp(1.0, self.exponent)

    @property
    def low(self) -> float:
        """Left edge of the first bin."""
        return self.first * self.width

    def holds(self, smallest: float, largest: float) -> bool:
        """Whether every value between the two falls into one of the bins."""
        return self.first <= self.cell(smallest) and self.cell(largest) < self.first + self.count

    def cell(self, value: float) -> int:
        """Index of the grid cell that holds a value; cell 0 begins at the value 0."""
        return math.floor(value / self.width)

    @staticmethod
    def around(smallest: float, largest: float, count: int) -> Bins:
        """The narrowest bins that hold a range of values, with equal room on both sides.

        Raises:
            ValueError: `count` is less than 2.
        """
        if count < 2:
            raise ValueError(f"bins: {count}; expected at least 2")
        largest_size = max(abs(smallest), abs(largest))
        span = max(largest - smallest, SMALLEST_SPAN * largest_size) or 1.0
        return _centered(math.ceil(math.log2(span / count)), smallest, largest, count)

    def widened(self, smallest: float, largest: float) -> Bins:
        """These bins if they hold the range, else the narrowest wider bins that hold both."""
        if self.holds(smallest, largest):
            return self
        low = min(smallest, self.low)
        high = max(largest, self.low + (self.count - 1) * self.width)
        return _centered(self.exponent + 1, low, high, self.count)


def _centered(exponent: int, smallest: float, largest: float, count: int) -> Bins:
    while True:
        grid = Bins(exponent, 0, count)
        first, last = grid.cell(smallest), grid.cell(largest)
        if last - first < count:
            return Bins(exponent, first - (count - 1 - (last - first)) // 2, count)
        exponent += 1


@dataclass(frozen=True)
class Distribution:
    """Distribution of one layer's output over the batch (and positions)."""

    mean: Tensor  # (units,)
    variance: Tensor  # (units,), biased, within each unit
    dead: float | None  # share of units that are 0 after the activation on the whole batch; None: unknown
    bins: Bins
    counts: Tensor  # (bins.count,) int64, all units together


def distribution(layer: Layer | None, number: int, z: Tensor, bins: Bins | int) -> Distribution:
    """The distribution of z, [N, units] or [N, units, height, width].

    Arguments:
        layer: the layer whose output z is, for its activation; None: unknown.
        number: the layer's number, for error messages.
        bins: the bins of the last measurement, widened if z needs it, or the number of bins to fit to this z.

    Raises:
        ArithmeticError: z is not finite.
    """
    smallest, largest = (float(v) for v in torch.stack(z.aminmax()).tolist())
    if not np.isfinite([smallest, largest]).all():
        raise ArithmeticError(f"layer {number}'s output is not finite")
    if isinstance(bins, int):
        bins = Bins.around(smallest, largest, bins)
    widened = bins.widened(smallest, largest)
    dims = (0, *range(2, z.ndim))
    variance, mean = torch.var_mean(z, dims, correction=0)
    dead = None if layer is None else dead_share(z if layer.activation is None else layer.activation(z))
    return Distribution(mean, variance, dead, widened, histogram(z, widened))


def dead_share(active: Tensor) -> float:
    """Share of the units of `active`, [N, units] or [N, units, height, width], that are 0 everywhere."""
    dead = (active == 0).all(0) if active.ndim == 2 else (active == 0).all(0).flatten(1).all(1)
    return float(dead.double().mean())


def histogram(z: Tensor, bins: Bins) -> Tensor:
    """Number of values of z in each bin, (bins.count,) int64; exact, since the width is a power of two."""
    cells = (z / bins.width).floor_().sub_(bins.first).to(torch.int32)
    return torch.bincount(cells.flatten(), minlength=bins.count)


class ActivationsProbe(Probe):
    """The activations probe. It remembers each layer's bins and the moments of the first and last measurements.

    Arguments:
        settings: its settings; the cadence is not read here.
    """

    def __init__(self, settings: Activations) -> None:
        self.layers = settings.layers
        self.count = settings.bins
        self._bins: dict[int, Bins] = {}
        self._start: dict[int, tuple[Tensor, Tensor]] = {}
        self._last: dict[int, tuple[Tensor, Tensor]] = {}

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields over the chosen layers, each (L,) unless noted otherwise:

        - `layers`: their numbers; `counts` (L, bins), `bin_low`, `bin_width`: bin k of a layer begins at
          bin_low + k * bin_width;
        - `mean`, `variance`: averages over the units j of mu_j and of sigma_j^2, the moments of unit j's output
          over the batch (and positions);
        - `mean_step`, `variance_step` (from the second measurement on): averages over the units of
          |mu_j - mu_j'| and |sigma_j^2 - sigma_j'^2|, where the prime denotes the previous measurement;
        - `mean_drift`, `variance_drift`: the same, relative to the first measurement;
        - `unit`, `unit_mean`, `unit_variance`: index (from 0) and moments of one example unit. Fig 8 draws such
          an example, with signs in its lower half: under noise its mean moves by up to 2 n_mu per step, which
          an average over a layer never does;
        - `dead`: share of units that are 0 after the activation on the whole batch; only for networks whose
          activations are known (`LayeredNet`).

        In other networks, a layer's output is defined by `bncore.probes.layer_map`.

        Raises:
            ValueError: a chosen layer has no norm position, or no output.
            ArithmeticError: an output is not finite.
        """
        with torch.no_grad():
            distributions = self._of_module(view) if isinstance(view, ModuleView) else self._of_layers(view)
        moments = {n: (d.mean.clone(), d.variance.clone()) for n, d in distributions.items()}
        fields = {**_histograms(distributions), **_averages(distributions), **_examples(view, distributions)}
        if self._last:
            fields |= {f"{k}_step": v for k, v in _distance(moments, self._last).items()}
        self._start = self._start or moments
        fields |= {f"{k}_drift": v for k, v in _distance(moments, self._start).items()}
        self._last, self._bins = moments, {n: d.bins for n, d in distributions.items()}
        return fields

    def state_dict(self) -> dict[str, Any]:
        """Bins and moments, as tensors and plain values."""
        return {
            "bins": {n: [b.exponent, b.first, b.count] for n, b in self._bins.items()},
            "start": {n: list(pair) for n, pair in self._start.items()},
            "last": {n: list(pair) for n, pair in self._last.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        self._bins = {int(n): Bins(*b) for n, b in state["bins"].items()}
        self._start = {int(n): (mean, var) for n, (mean, var) in state["start"].items()}
        self._last = {int(n): (mean, var) for n, (mean, var) in state["last"].items()}

    def _of_module(self, view: ModuleView) -> dict[int, Distribution]:
        distributions: dict[int, Distribution] = {}
        called: list[int] = []

        def see(number: int, z: Tensor) -> None:
            called.append(number)
            if not self.layers or number in self.layers:
                exact = z if z.dtype == torch.float64 else z.float()  # autocast outputs are half precision
                distributions[number] = distribution(None, number, exact, self._bins.get(number, self.count))

        view.layer_outputs(see)
        wrong = sorted({*self.layers} - {*distributions})
        if wrong or not distributions:
            accepted = f"layers whose module is called: {', '.join(map(str, sorted(called))) or 'none is'}"
            raise ValueError(f"probes.activations.layers: {wrong}; expected {accepted}")
        return dict(sorted(distributions.items()))

    def _of_layers(self, view: StepView) -> dict[int, Distribution]:
        normed = tuple(n for n, layer in enumerate(view.net.layers, start=1) if layer.norm is not None)
        chosen = self.layers or normed
        wrong = [n for n in chosen if n not in normed]
        if wrong:
            accepted = ", ".join(map(str, normed))
            raise ValueError(f"probes.activations.layers: {wrong}; expected layers with a norm: {accepted}")

        def run(net: LayeredNet) -> dict[int, Distribution]:
            distributions, x = {}, view.inputs
            for number, layer in enumerate(net.layers, start=1):
                if number > max(chosen, default=0):
                    break
                z = layer.normalize(layer.map(x, layer.weight, view.how), *layer.affine, view.how)
                if number in chosen:
                    distributions[number] = distribution(layer, number, z, self._bins.get(number, self.count))
                x = layer.activate(z)
            return distributions

        return view.at_theta_t(run)


def _histograms(distributions: Mapping[int, Distribution]) -> dict[str, Any]:
    return {
        "layers": np.array(list(distributions)),
        "counts": torch.stack([d.counts for d in distributions.values()]).cpu().numpy(),
        "bin_low": np.array([d.bins.low for d in distributions.values()]),
        "bin_width": np.array([d.bins.width for d in distributions.values()]),
    }


def _averages(distributions: Mapping[int, Distribution]) -> dict[str, Any]:
    dead = [d.dead for d in distributions.values()]
    return {
        "mean": _numbers([d.mean.mean() for d in distributions.values()]),
        "variance": _numbers([d.variance.mean() for d in distributions.values()]),
        **({} if None in dead else {"dead": np.array(dead)}),
    }


def _examples(view: StepView, distributions: Mapping[int, Distribution]) -> dict[str, Any]:
    """One unit per layer, drawn with the run's seed: the same at every step."""
    unit = {}
    for number, seen in distributions.items():
        source = generator(view.seed, "probe", layer=number, part=ProbeDraws.ACTIVATIONS)
        unit[number] = int(torch.randint(len(seen.mean), (), generator=source))
    return {
        "unit": np.array(list(unit.values())),
        "unit_mean": _numbers([distributions[n].mean[u] for n, u in unit.items()]),
        "unit_variance": _numbers([distributions[n].variance[u] for n, u in unit.items()]),
    }


def _distance(
    now: Mapping[int, tuple[Tensor, Tensor]], then: Mapping[int, tuple[Tensor, Tensor]]
) -> dict[str, Any]:
    return {
        name: _numbers([(now[n][i] - then[n][i].to(now[n][i])).abs().mean() for n in now])
        for i, name in enumerate(("mean", "variance"))
    }


def _numbers(values: Sequence[Tensor]) -> np.ndarray[Any, Any]:
    return np.asarray(torch.stack(list(values)).cpu().numpy())
