"""Theorems 4.1, 4.2 and 4.4 and Lemma 4.5, on networks and by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import objective, theory
from torch import Tensor

from bncore.config.model import Noise, Norm
from bncore.config.probes import Theory
from bncore.probes.theory.identities import Standardized, correction_42, direction_at_z, lemma_45, theorem_41
from bncore.probes.theory.probe import (
    TheoryProbe,
    batch_norm_layers,
    input_norm,
    lipschitz_of_layers,
    predictiveness,
    tapped_pass,
)
from bncore.probes.theory.table import INPUTS, OPTIMUM, TARGETS, counter_example, theory_table
from bncore.probes.view import StepView

from .step import HALF_SUM, drawn, frozen, plain_layers, small_net, small_step, step_of

NO_EPS = 1e-30
"""Small enough to stand for 0, which torch's batch_norm does not take."""


def oracle(view: StepView, index: int) -> theory.LayerView:
    loss = objective.cross_entropy if view.inputs.ndim == 4 else objective.half_sum
    return theory.layer_view(plain_layers(view), index, view.inputs, view.targets, loss)


def findings(view: StepView):  # type: ignore[no-untyped-def]
    loss, taps = tapped_pass(view, batch_norm_layers(view.net))
    return loss, taps, lipschitz_of_layers(loss, taps)


@pytest.mark.parametrize("noise", [Noise(), Noise(on=True)])
@pytest.mark.parametrize("eps", [1e-5, 0.7])
@pytest.mark.parametrize("pictures", [False, True])
def test_every_part_of_theorem_41_is_the_oracles(pictures: bool, eps: float, noise: Noise) -> None:
    view = small_step("batch", noise, eps=eps, pictures=pictures)
    _, _, found = findings(view)
    for layer in found:
        expected = theory.thm41_layer(oracle(view, layer.number - 1))
        seen = layer.lipschitz
        for name, theirs in (
            ("left", "left"),
            ("scale", "scale"),
            ("plain", "norm"),
            ("mean_part", "mean_part"),
            ("correlation_part", "correlation_part"),
            ("printed_correlation_part", "printed_correlation_part"),
            ("corrected", "corrected"),
            ("printed", "printed"),
        ):
            ours = getattr(seen, name).tolist()
            wanted = [getattr(unit, theirs) for unit in expected]
            assert ours == pytest.approx(wanted, rel=1e-8, abs=1e-10), name


def test_taps_leave_the_loss_as_it_is() -> None:
    for noise in (
        Noise(),
        Noise(on=True),
        Noise(on=True, position="before_norm"),
        Noise(on=True, position="input"),
    ):
        view = small_step("batch", noise)
        loss, _, _ = findings(view)
        assert float(loss.detach()) == pytest.approx(view.loss, rel=1e-12)


@pytest.mark.parametrize("position", ["after_norm", "before_norm", "input", "last_norm"])
def test_theorems_41_and_42_are_equalities_wherever_the_noise_is(position: str) -> None:
    view = small_step("batch", Noise(on=True, position=position), eps=0.01)
    _, taps, found = findings(view)
    for tap, layer in zip(taps, found, strict=True):
        torch.testing.assert_close(layer.lipschitz.left, layer.lipschitz.corrected, rtol=1e-9, atol=1e-12)
        seen = predictiveness(tap, layer)
        assert seen.left == pytest.approx(seen.right, rel=1e-9)


@pytest.mark.parametrize("pictures", [False, True])
def test_theorem_42_is_the_oracles_dense_hessian(pictures: bool) -> None:
    view = small_step("batch", eps=NO_EPS, pictures=pictures, samples=3 if pictures else 6)
    _, taps, found = findings(view)
    for tap, layer in zip(taps, found, strict=True):
        expected = theory.thm42(oracle(view, layer.number - 1))
        whole = predictiveness(tap, layer)
        assert whole.left == pytest.approx(expected.left, rel=1e-7)
        assert whole.quadratic == pytest.approx(expected.quadratic, rel=1e-7)
        assert whole.correction == pytest.approx(expected.correction, rel=1e-7)
        for unit, (left, right) in enumerate(zip(expected.unit_left, expected.unit_right, strict=True)):
            seen = predictiveness(tap, layer, unit)
            assert (seen.left, seen.right) == pytest.approx((left, right), rel=1e-7, abs=1e-9)


def test_with_epsilon_the_left_side_is_the_oracles_and_the_equality_stays_exact() -> None:
    view = small_step("batch", eps=0.5)
    _, taps, found = findings(view)
    for tap, layer in zip(taps, found, strict=True):
        seen = predictiveness(tap, layer)
        expected = theory.thm42(oracle(view, layer.number - 1))
        assert seen.left == pytest.approx(expected.left, rel=1e-8)
        assert seen.right == pytest.approx(seen.left, rel=1e-10)
        assert expected.right != pytest.approx(expected.left, rel=1e-3)


numbers = st.floats(-10, 10).map(lambda v: round(v, 3))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(numbers, numbers, numbers), min_size=3, max_size=8),
    st.floats(-3, 3),
    st.floats(1e-3, 2),
)
def test_u_and_the_correction_are_derivatives_of_z_along_any_centred_direction(
    rows: list[tuple[float, float, float]], gamma: float, eps: float
) -> None:
    y, g, d = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*rows, strict=True))
    d = d - d.mean()

    def z(along: Tensor) -> Tensor:
        moved = y + along * d
        return gamma * (moved - moved.mean()) / (moved.var(correction=0) + eps).sqrt()

    at = torch.zeros((), dtype=torch.float64)
    first = torch.autograd.functional.jacobian(z, at)
    second = torch.autograd.functional.hessian(lambda a: (g * z(a)).sum(), at)
    known = Standardized.of(y, torch.tensor([gamma], dtype=torch.float64), eps)
    torch.testing.assert_close(direction_at_z(known, d.T), first.T, rtol=1e-8, atol=1e-8)
    size = float(d.square().sum() * (1 + g.norm()) * (1 + abs(gamma)) / eps**1.5)
    assert float(correction_42(known, g, d.T)) == pytest.approx(
        -float(second), rel=1e-8, abs=1e-10 * (1 + size)
    )


def test_the_printed_form_of_theorem_41_fails_where_the_corrected_one_holds() -> None:
    event = TheoryProbe(Theory(neurons=0)).measure(small_step("batch"))
    assert (event["printed_fails"] == 1).all()
    assert (event["lipschitz_left"] > event["lipschitz_printed"]).all()
    assert (event["lipschitz_error"] < 1e-12).all()


def test_theorem_41_by_hand() -> None:
    # y = +-1 is its own y_hat; g = (3, 1) = 2 * 1 + 1 * y_hat: nothing of it is left.
    y, g = torch.tensor([[1.0], [-1.0]]), torch.tensor([[3.0], [1.0]])
    seen = theorem_41(Standardized.of(y, torch.tensor([3.0]), 0.0), g, torch.zeros(2, 1))
    assert [float(v) for v in (seen.scale, seen.plain, seen.mean_part, seen.correlation_part)] == [
        9,
        10,
        8,
        2,
    ]
    assert float(seen.corrected) == 0
    assert float(seen.printed) == pytest.approx(9 * (2 - 4 / math.sqrt(2)))


def test_a_gamma_out_of_use_counts_as_one() -> None:
    net = small_net(Norm(kind="batch", affine="frozen"))
    view = step_of(net, drawn(6, 3, seed=1), drawn(6, 2, seed=2), HALF_SUM)
    _, _, found = findings(view)
    for layer in found:
        assert (layer.standardized.gamma == 1).all()
        torch.testing.assert_close(layer.lipschitz.left, layer.lipschitz.corrected)


def test_theorem_44_bounds_the_weights_gradient_by_the_input_norm() -> None:
    for pictures in (False, True):
        view = small_step("batch", pictures=pictures)
        event = TheoryProbe(Theory(neurons=0)).measure(view)
        assert (event["worst_actual"] <= event["worst_bound"]).all()
        for i, number in enumerate(event["layers"]):
            each = theory.thm41_layer(oracle(view, number - 1))
            lam = event["input_norm"][i]
            assert event["worst_plain"][i] == pytest.approx(lam**2 * sum(u.norm for u in each))
            assert event["worst_bound"][i] == pytest.approx(lam**2 * sum(u.corrected for u in each))


def test_theorem_44_is_the_oracles() -> None:
    view = small_step("batch", eps=NO_EPS)
    event, first = TheoryProbe(Theory(layers=(1,), neurons=0)).measure(view), oracle(view, 0)
    g = theory.gradient_of(first.loss_of_z, theory.z_of(first, first.y))
    seen = [
        theory.thm44(first.y[:, j], g[:, j], float(first.gamma[j]), float(event["input_norm"][0]))
        for j in range(g.shape[1])
    ]
    assert event["worst_plain"][0] == pytest.approx(sum(s.plain for s in seen))
    assert event["worst_bound"][0] == pytest.approx(sum(s.bound for s in seen))


@pytest.mark.parametrize("pictures", [False, True])
def test_the_input_norm_is_the_largest_singular_value(pictures: bool) -> None:
    view = small_step("batch", pictures=pictures)
    _, taps, _ = findings(view)
    for tap in taps:
        x = tap.input
        rows = torch.nn.functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1) if pictures else x
        assert input_norm(view, tap) == pytest.approx(float(torch.linalg.matrix_norm(rows, 2)), rel=1e-3)


def test_lemma_45_by_hand_and_exact_on_the_line() -> None:
    assert lemma_45(torch.tensor([3.0, 4.0]), torch.tensor([2.0, 0.0])) == (16, 16)
    for seed in range(5):
        left, right = lemma_45(drawn(3, 4, seed=seed), drawn(3, 4, seed=seed + 9))
        other = theory.lemma45(drawn(3, 4, seed=seed).flatten(), drawn(3, 4, seed=seed + 9).flatten())
        assert left == pytest.approx(right)
        assert right == pytest.approx(other.right)


def test_the_counter_example_breaks_lemma_45() -> None:
    (distance,), (bound,) = counter_example()
    assert float(bound) == pytest.approx(0, abs=1e-12)
    assert float(distance) == pytest.approx(8 / 45)


def test_the_counter_examples_points_are_what_it_says() -> None:
    x, t = torch.tensor(INPUTS).double(), torch.tensor(TARGETS).double()

    def slope(w: Tensor, *, normalized: bool) -> float:
        leaf = w.clone().requires_grad_()
        y = x @ leaf
        output = (y - y.mean()) / y.var(correction=0).sqrt() if normalized else y
        (slope,) = torch.autograd.grad((output - t).square().sum() / 2, leaf)
        return float(slope.norm())

    initial, closest = (
        torch.tensor([7 / 3, 1 / 3], dtype=torch.float64),
        11 / 15 * torch.tensor(OPTIMUM).double(),
    )
    assert slope(initial, normalized=False) < 1e-12, "W* of the neuron without BatchNorm"
    assert slope(initial, normalized=True) > 0.3
    assert slope(closest, normalized=True) == pytest.approx(0, abs=1e-12)
    assert float((initial - closest).square().sum()) == pytest.approx(8 / 45)


def test_the_event_covers_the_chosen_layers_and_neurons() -> None:
    view = small_step("batch")
    event = TheoryProbe(Theory(layers=(2,), neurons=3)).measure(view)
    assert event["layers"].tolist() == [2]
    assert event["unit"].shape == event["unit_left"].shape == (1, 3)
    assert len(set(event["unit"][0])) == 3
    assert event["unit_left"] == pytest.approx(event["unit_right"], rel=1e-9)
    assert event["hessian_error"] == pytest.approx(0, abs=1e-12)
    total = event["lipschitz_scale"] - event["lipschitz_mean"] - event["lipschitz_correlation"]
    assert total == pytest.approx(event["lipschitz_corrected"])


def test_a_layer_with_fewer_units_than_neurons_asked_for_sets_the_number() -> None:
    event = TheoryProbe(Theory(neurons=9)).measure(small_step("batch", pictures=True))
    assert event["unit"].tolist() == [[0, 1]]


def test_without_batch_normalisation_there_is_nothing_to_say() -> None:
    assert TheoryProbe(Theory(layers=(1,), neurons=2)).measure(small_step("group")) == {"layers": []}


def test_a_layer_without_the_norm_is_named() -> None:
    with pytest.raises(ValueError, match=r"probes.theory.layers: \[3\]; expected .*: 1, 2"):
        TheoryProbe(Theory(layers=(2, 3), neurons=0)).measure(small_step("batch"))


def test_gradients_that_are_not_finite_fail_the_measurement() -> None:
    view = small_step("batch")
    spoiled = replace(view, before={**view.before, "layers.2.bias": torch.full((2,), math.nan).double()})
    with pytest.raises(ArithmeticError, match="the gradient at layer 1 is not finite"):
        TheoryProbe(Theory(neurons=0)).measure(spoiled)


def test_measuring_touches_nothing_and_repeats_itself() -> None:
    view = small_step("batch", Noise(on=True), pictures=True)
    as_found = frozen(view)
    first, second = (TheoryProbe(Theory(neurons=2)).measure(view) for _ in range(2))
    for name in first:
        assert (first[name] == second[name]).all(), name
    for name, value in frozen(view).items():
        assert torch.equal(value, as_found[name]), name
    assert not any(p.grad is not None for p in view.net.parameters())


def test_the_table_says_what_holds_and_what_does_not() -> None:
    rows = theory_table(steps=3)
    for row in rows:
        false = row.statement in ("Thm 4.1 as printed", "Lemma 4.5 claim, at an optimum")
        assert row.failed == (row.checked if false else 0), row
        if false:
            assert row.error64 > 0.1, row
        else:
            assert row.error64 < 1e-12, row
            assert row.error32 < 1e-4, row
    exact = [row for row in rows if row.relation == "=" and row.statement.startswith("Thm")]
    assert {row.state for row in exact} == {"random", "trained"}
    assert all(row.error32 > 100 * row.error64 for row in exact)
