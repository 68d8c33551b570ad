"""The Hessian of the data loss: products, largest eigenvalue, curvature along the gradient, lengths per layer."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import objective, sharpness
from torch import Tensor, nn

from bncore.config.model import Noise
from bncore.config.probes import Sharpness
from bncore.probes.hessian import CYCLE, HessianProduct, largest_eigenpair, require_hessian
from bncore.probes.sharpness import SharpnessProbe, layer_lengths, top_eigenvector
from bncore.probes.view import StepView

from .step import drawn, frozen, plain_layers, small_step

KINDS = ["none", "batch", "l1", "l2", "linf", "lp:3", "layer", "group", "variance_only"]
NOISE = Noise(on=True)


def dense(view: StepView) -> Tensor:
    """The Hessian by torch.autograd.functional, ordered as the probe's vectors."""
    names = list(view.grads)

    def loss_of(*values: Tensor) -> Tensor:
        return view.loss_at({**view.before, **dict(zip(names, values, strict=True))})

    blocks = torch.autograd.functional.hessian(loss_of, tuple(view.before[n] for n in names))
    sizes = [view.before[n].numel() for n in names]
    rows = [torch.cat([b.reshape(size, -1) for b in row], 1) for row, size in zip(blocks, sizes, strict=True)]
    return torch.cat(rows)


def matrix_of(product: HessianProduct) -> Tensor:
    unit = torch.eye(len(product.gradient), dtype=torch.float64)
    return torch.stack([product(e) for e in unit])


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_dense_hessian_through_every_norm_and_max_pooling(
    kind: str, pictures: bool
) -> None:
    view = small_step(kind, pictures=pictures)
    torch.testing.assert_close(matrix_of(HessianProduct(view)), dense(view), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["batch", "linf", "l1"])
def test_products_are_slopes_of_the_gradient(kind: str) -> None:
    view = small_step(kind, NOISE, pictures=True)
    product = HessianProduct(view)
    vector = drawn(len(product.gradient), seed=5)
    h = 1e-6
    slopes = []
    for sign in (1, -1):
        moved = {name: view.before[name] + sign * h * part for name, part in product.named(vector).items()}
        _, gradient = view.gradient_at({**view.before, **moved})
        slopes.append(product.flat(gradient))
    torch.testing.assert_close(product(vector), (slopes[0] - slopes[1]) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["none", "batch", "linf", "group"])
def test_the_eigenvalue_and_the_curvature_agree_with_the_oracle(kind: str) -> None:
    view = small_step(kind)
    layers, loss = plain_layers(view), objective.half_sum
    top = top_eigenvector(view, iterations=60, tolerance=1e-9)
    spectrum = sharpness.eigenvalues(layers, view.inputs, view.targets, loss)
    assert top.value == pytest.approx(float(spectrum[-1]), rel=1e-8)
    curvature = sharpness.gradient_curvature(layers, view.inputs, view.targets, loss)
    assert top.gradient_curvature == pytest.approx(curvature, rel=1e-8)


def test_the_vector_is_of_length_one_and_its_residual_is_true() -> None:
    view = small_step("batch")
    top = top_eigenvector(view, iterations=4, tolerance=0.0)
    product = HessianProduct(view)
    vector = product.flat(top.vector)
    assert float(vector.norm()) == pytest.approx(1)
    assert float(vector @ product(vector)) == pytest.approx(top.value)
    residual = float((product(vector) - top.value * vector).norm()) / abs(top.value)
    assert residual > 1e-3
    assert top.residual == pytest.approx(residual, rel=1e-6)
    assert top.products == 4


@settings(max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9), st.integers(0, 1000))
def test_the_algebraically_largest_eigenvalue_is_found_whatever_the_spectrum(
    spectrum: list[float], seed: int
) -> None:
    q, _ = torch.linalg.qr(drawn(len(spectrum), len(spectrum), seed=seed))
    matrix = q @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ q.T
    found = largest_eigenpair(
        lambda v: matrix @ v, drawn(len(spectrum), seed=seed + 1), iterations=3 * CYCLE, tolerance=1e-10
    )
    assert found.value == pytest.approx(max(spectrum), abs=1e-6 * max(1.0, *map(abs, spectrum)))


def test_a_negative_eigenvalue_of_larger_size_is_not_mistaken_for_the_top() -> None:
    diagonal = torch.tensor([-10.0, 1.0, 0.5, 0.0], dtype=torch.float64)
    found = largest_eigenpair(lambda v: diagonal * v, torch.ones(4).double(), iterations=10, tolerance=1e-12)
    assert found.value == pytest.approx(1)


def test_a_zero_hessian_has_eigenvalue_zero_and_no_residual() -> None:
    found = largest_eigenpair(torch.zeros_like, torch.ones(5).double(), iterations=10, tolerance=1e-3)
    assert (found.value, found.residual) == (0, 0)


def test_products_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="not finite"):
        largest_eigenpair(lambda v: v * math.nan, torch.ones(3).double(), iterations=3, tolerance=1e-3)


def test_a_restart_goes_on_where_the_cycle_ended() -> None:
    diagonal = torch.linspace(0, 1, 400, dtype=torch.float64)
    start = torch.ones(400).double()
    residuals = [
        largest_eigenpair(lambda v: diagonal * v, start, iterations=k * CYCLE, tolerance=0.0).residual
        for k in (1, 3, 9)
    ]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[2] < residuals[0] / 20


def test_a_warm_start_saves_products_and_notices_another_eigenvector() -> None:
    view = small_step("batch")
    probe = SharpnessProbe(Sharpness(iterations=60, tolerance=1e-2))
    cold = probe.measure(view)
    warm = probe.measure(replace(view, step=8))
    assert warm["products"] <= cold["products"]
    assert warm["eigenvalue"] == pytest.approx(cold["eigenvalue"], rel=1e-2)
    # An exact eigenvector of another eigenvalue as the start: the random part finds the way out.
    _, vectors = torch.linalg.eigh(dense(view))
    wrong = HessianProduct(view).named(vectors[:, 0])
    found = top_eigenvector(view, iterations=60, tolerance=1e-6, start=wrong)
    assert found.value == pytest.approx(cold["eigenvalue"], rel=1e-2)


def test_few_products_a_measurement_add_up_over_the_measurements() -> None:
    view = small_step("batch")
    exact = top_eigenvector(view, iterations=60, tolerance=1e-9).value
    cold, warm = (SharpnessProbe(Sharpness(iterations=3, tolerance=1e-9)) for _ in range(2))
    for step in range(8, 15):
        found = warm.measure(replace(view, step=step))["eigenvalue"]
    assert found == pytest.approx(exact, rel=1e-3)
    assert cold.measure(replace(view, step=14))["eigenvalue"] < 0.95 * exact


def test_the_warm_start_survives_a_checkpoint_and_is_dropped_with_the_parameters_it_fits() -> None:
    view = small_step("batch")
    first, second = (SharpnessProbe(Sharpness(iterations=3, tolerance=1e-9)) for _ in range(2))
    first.measure(view)
    second.load_state_dict(first.state_dict())
    later = replace(view, step=9)
    assert second.measure(later)["eigenvalue"] == first.measure(later)["eigenvalue"]
    other = small_step("none")  # without gammas
    fresh = SharpnessProbe(Sharpness(iterations=3, tolerance=1e-9))
    assert second.measure(other)["eigenvalue"] == fresh.measure(other)["eigenvalue"]


def test_measuring_again_gives_the_same_numbers_and_touches_nothing() -> None:
    view = small_step("batch", NOISE, pictures=True)
    as_found = frozen(view)
    first, second = (SharpnessProbe(Sharpness(iterations=5, tolerance=1e-9)).measure(view) for _ in range(2))
    assert [first[name] for name in ("eigenvalue", "residual")] == [
        second[name] for name in ("eigenvalue", "residual")
    ]
    for name, value in frozen(view).items():
        assert torch.equal(value, as_found[name]), name
    assert all(p.grad is None for p in view.net.parameters())


def test_lengths_of_layers_by_hand() -> None:
    view = small_step("batch")
    lengths = layer_lengths(view)
    for i, layer in enumerate(view.net.layers):
        old, new = view.before[f"layers.{i}.weight"], layer.weight.detach()
        size = math.sqrt(sum(v * v for v in old.flatten().tolist()))
        change = math.sqrt(sum(v * v for v in (new - old).flatten().tolist()))
        slope = math.sqrt(sum(v * v for v in view.grads[f"layers.{i}.weight"].flatten().tolist()))
        assert float(lengths["weight_norm"][i]) == pytest.approx(size)
        assert float(lengths["layer_grad_norm"][i]) == pytest.approx(slope)
        assert float(lengths["relative_update"][i]) == pytest.approx(change / size)
        assert float(lengths["effective_lr"][i]) == pytest.approx(0.1 / size**2)
        assert change == pytest.approx(0.1 * slope)


@pytest.mark.parametrize("kind", ["lp:1.5", "lp:1.01", "lp:1.99"])
def test_norms_without_second_derivatives_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ValueError, match=f"norm.kind: '{kind}' at layer 1; expected a norm with second"):
        HessianProduct(small_step(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_all_other_norms_are_not(kind: str) -> None:
    require_hessian(small_step(kind).net)


class AtThetaT(nn.Module):
    """The network of a view at theta_t, making the step's own pass."""

    def __init__(self, view: StepView) -> None:
        super().__init__()
        self.net = copy.deepcopy(view.net)
        self.net.load_state_dict({**view.before, **view.buffers}, strict=False)
        self.how = view.how

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x, self.how)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["none", "l2", "linf"])
def test_products_agree_with_curvlinops(kind: str) -> None:
    # Not with kind batch: curvlinops 3.0 differentiates forwards over backwards, where torch's batch_norm loses
    # a part of gamma's rows (its matrix comes out unsymmetric).
    curvlinops = pytest.importorskip("curvlinops")
    view = small_step(kind)
    model = AtThetaT(view)
    chosen = [dict(model.net.named_parameters())[name] for name in view.grads]
    loss = nn.MSELoss(reduction="sum")
    theirs = curvlinops.HessianLinearOperator(model, loss, chosen, [(view.inputs, view.targets)])
    product = HessianProduct(view)
    vector = drawn(len(product.gradient), seed=6)
    torch.testing.assert_close((theirs @ vector) / 2, product(vector), rtol=1e-9, atol=1e-9)
