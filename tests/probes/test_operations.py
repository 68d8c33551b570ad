"""Each probe makes the products that its definition needs and no more: counted as they are dispatched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bncore.bench import probes as bench
from bncore.bench.timing import products_per_second
from bncore.config.model import DLN, MLP, VGG, GaussianData, ImageData, Loss, Norm, Optim, Spec
from bncore.config.probes import Ics, Landscape, Sharpness
from bncore.data.resident import load
from bncore.probes.ics import IcsProbe
from bncore.probes.landscape import LandscapeProbe
from bncore.probes.moments import with_few_samples

NETS = {
    "vgg": {"net": VGG(kind="vgg11", width=0.0625), "data": ImageData(source="synthetic")},
    "mlp": {"net": MLP(hidden=(12, 20, 9)), "data": ImageData(source="synthetic")},
    "dln": {
        "net": DLN(depth=5, width=4), "data": GaussianData(samples=40, features=4), "batch_size": "full",
        "loss": Loss(kind="squared_error", reduction="half_sum"), "precision": "float64",
    },
}  # fmt: skip


def spec_of(name: str, norm: str) -> Spec:
    spec = Spec(batch_size=8, norm=Norm(kind=norm), optim=Optim(lr=1e-3), device="cpu", threads=1)
    return Spec.model_validate({**spec.model_dump(), **NETS[name]})


def multiplications(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("norm", ["batch", "none", "l1"])
@pytest.mark.parametrize("name", NETS)
def test_step_ics_and_landscape_make_the_products_that_the_bench_counts(name: str, norm: str) -> None:
    spec = spec_of(name, norm)
    session, view = bench.observed(spec)
    samples, step = len(view.inputs), bench.step_products(view.net)
    assert multiplications(lambda: session.step(1)) == samples * step

    ics = IcsProbe(Ics(floor_every=0))
    wanted = samples * step * bench.operations(view.net)
    assert multiplications(lambda: ics.measure(view)) == pytest.approx(wanted, rel=1e-12)

    landscape = LandscapeProbe(Landscape(multiples=(0.5, 1.0, 2.0), floor_every=0), Sharpness())
    assert multiplications(lambda: landscape.measure(view)) == 3 * samples * step


def test_by_moments_ics_makes_them_for_a_few_samples_only() -> None:
    spec = spec_of("dln", "batch")
    _, view = bench.observed(spec)
    ics = IcsProbe(Ics(floor_every=0), spec.loss)
    few = len(with_few_samples(view, spec.loss).inputs)
    assert few < len(view.inputs) / 4
    wanted = few * bench.step_products(view.net) * bench.operations(view.net)
    stand_ins = 200 * few  # d x d, not d^3 for each layer
    assert multiplications(lambda: ics.measure(view)) == pytest.approx(wanted, abs=stand_ins)


def test_a_rate_of_products_is_measured() -> None:
    rates = [products_per_second(dtype) for dtype in (torch.float32, torch.float64)]
    assert all(0 < rate < 1e15 for rate in rates)


def test_every_network_of_the_bench_is_counted() -> None:
    for kind in bench.KINDS:
        spec = bench.spec_of(kind, "batch", "cpu")
        net = bench.TrainState(spec, load(spec)).net
        assert 2 < bench.operations(net) < len(net.layers)
