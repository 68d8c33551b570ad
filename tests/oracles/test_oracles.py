"""Tests of the oracles themselves, against cases worked out by hand and central differences."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from . import theory
from .activations import dead_units, histogram, moments, unit_drifts, unit_moments
from .agreement import agree_with_differences, close
from .examples import CLASSES, PICTURES, TARGETS, X, conv_net, dense_net, normal, t
from .ics import ics, prefix_updated, rescaled_prefix
from .landscape import landscape
from .measures import cosine, dense_hessian, difference_gradient, distance, gradient_of, jacobian
from .network import (
    Layer,
    Noise,
    conv3x3,
    forward,
    gradients,
    max_pool2x2,
    parameters,
    trace,
    with_parameters,
)
from .normalize import add_noise, lp_scale, next_running, noise_from_draws, normalize
from .objective import accuracy, adam_step, cross_entropy, half_sum, momentum_step, sgd_step, squared_error
from .sharpness import eigenvalues, flatten, gradient_curvature, hessian, unflatten

UNIT_KINDS = ["batch", "l1", "l2", "lp:3", "linf", "mean_only", "variance_only", "layer", "group", "instance"]


# Normalizations by hand: y = 0, 2, 4 has mean 2, variance 8/3, mean |y| 2, mean y² 20/3.


@pytest.mark.parametrize(
    ("kind", "eps", "centered", "expected"),
    [
        ("none", 1.0, False, [0, 2, 4]),
        ("batch", 0.0, False, [-math.sqrt(1.5), 0, math.sqrt(1.5)]),
        ("batch", 4 / 3, False, [-1, 0, 1]),
        ("batch_detached", 4 / 3, False, [-1, 0, 1]),
        ("l1", 0.0, False, [-1, 0, 1]),
        ("l1", 2.0, False, [-0.5, 0, 0.5]),
        ("l1", 0.0, True, [-1.5, 0, 1.5]),
        ("l2", 28 / 3, False, [-0.5, 0, 0.5]),
        ("l2", 4 / 3, True, [-1, 0, 1]),
        ("lp:3", 3.0, False, [-2 / 27 ** (1 / 3), 0, 2 / 3]),
        ("linf", 7.0, False, [-0.5, 0, 0.5]),
        ("linf", 0.0, True, [-1, 0, 1]),
        ("mean_only", 0.0, False, [-2, 0, 2]),
        ("variance_only", 4 / 3, False, [0, 1, 2]),
        ("batch_population", 3.0, False, [-0.5, 0.5, 1.5]),
    ],
)
def test_unit_norms_by_hand(kind: str, eps: float, centered: bool, expected: list[float]) -> None:
    y = t([0], [2], [4])
    close(
        normalize(y, kind, eps=eps, centered=centered, running_mean=t(1), running_var=t(1)),
        t(*expected).reshape(3, 1),
    )


def test_norms_of_samples_by_hand() -> None:
    y = t([0, 2, 10, 30], [5, 7, 1, 1.5])
    close(normalize(y, "group", groups=2), t([-1, 1, -1, 1], [-1, 1, -1, 1]))
    close(normalize(t([0, 4, 8]), "layer", eps=16 / 3), t([-1, 0, 1]))
    picture = t(0, 2, 0, 2, 1, 5, 5, 1).reshape(1, 2, 2, 2)
    close(normalize(picture, "instance"), t(-1, 1, -1, 1, -1, 1, 1, -1).reshape(1, 2, 2, 2))


def test_batch_statistics_run_over_positions_too() -> None:
    y = normal(3, 2, 2, 2)
    flat = theory.as_matrix(y)
    assert flat.shape == (12, 2)
    close(theory.as_activation(normalize(flat, "batch"), y.shape), normalize(y, "batch"))


def test_lp_scale_tends_to_the_largest() -> None:
    y = normal(5)
    close(lp_scale(y, 400, 0.0), y.abs().max() * 5 ** (-1 / 400), rtol=1e-3)
    close(lp_scale(y, math.inf, 0.0), y.abs().max())


def test_l2_of_zero_mean_inputs_is_batch_norm_and_otherwise_not() -> None:
    y = normal(6, 2)
    centered = y - y.mean(0)
    close(normalize(centered, "l2", eps=0.1), normalize(centered, "batch", eps=0.1))
    assert not torch.allclose(normalize(y + 1, "l2"), normalize(y + 1, "batch"))
    close(normalize(y + 1, "l2", centered=True), normalize(y + 1, "batch"))


def test_running_statistics_by_hand() -> None:
    y = t([0], [2], [4])
    close(next_running(t(1), y, 0.1, variance=False), t(1.1))
    close(next_running(t(1), y, 0.5, variance=True), t(2.5))


def test_detached_statistics_scale_the_gradient_and_nothing_else() -> None:
    y = normal(5, 1)
    g = gradient_of(lambda v: (normal(5, 1, seed=3) * normalize(v, "batch_detached")).sum(), y)
    close(g, normal(5, 1, seed=3) / y.var(unbiased=False).sqrt())


# Noise


def test_algorithm_1_by_hand() -> None:
    m, s = noise_from_draws(t(0, 1), t(0, 1), t([0, 1], [0.5, 0.5]), t([0, 1], [-1, 2]))
    close(m, t([-0.6, 0.6], [-0.5, 0.5]))
    close(s, t([1, 1.35], [0.9, 1.45]))
    close(add_noise(t([2, 2]), t([1, -1]), t([3, 0.5])), t([7, 0]))


@pytest.mark.parametrize(("position", "expected"), [("after_norm", 37), ("before_norm", 38), ("input", 42)])
def test_noise_stands_where_it_is_put(position: str, expected: float) -> None:
    # x = 3, times 3, over √var = 1, times γ = 2, gives 18; the noise maps a to 2 a + 1.
    layer = Layer(t([3]), norm="batch_population", gamma=t(2), running_mean=t(0), running_var=t(1))
    assert float(forward([replace(layer, noise=Noise(t(1), t(2), position))], t([3]))) == expected


# Network


def test_convolution_by_hand() -> None:
    x = t([1, 2], [3, 4]).reshape(1, 1, 2, 2)
    kernel = t([0, 0, 0], [0, 1, 10], [0, 100, 1000]).reshape(1, 1, 3, 3)
    close(conv3x3(x, kernel), t([1 + 20 + 300 + 4000, 2 + 400], [3 + 40, 4]).reshape(1, 1, 2, 2))


def test_convolution_and_pooling_agree_with_torch() -> None:
    x, weight = normal(2, 3, 4, 6), normal(5, 3, 3, 3, seed=1)
    close(conv3x3(x, weight), torch.nn.functional.conv2d(x, weight, padding=1))
    close(max_pool2x2(x), torch.nn.functional.max_pool2d(x, 2))


def test_two_layers_by_hand() -> None:
    net = [
        Layer(t([1, 1]), norm="batch", gamma=t(2), beta=t(1), eps=1.25, relu=True),
        Layer(t([3]), bias=t(0.5)),
    ]
    seen = trace(net, t([0, 0], [1, 1], [1, 2], [2, 1]))  # y = 0, 2, 3, 3: mean 2, variance 1.5
    unit = 2 / math.sqrt(1.5 + 1.25)
    close(seen[0].z.flatten(), t(1 - 2 * unit, 1, 1 + unit, 1 + unit))
    close(seen[1].output.flatten(), t(0.5, 3.5, 3.5 + 3 * unit, 3.5 + 3 * unit))


def test_weight_norm_ignores_the_length_of_the_weight() -> None:
    layer = Layer(t([3, 4]), norm="weight", gamma=t(10))
    close(forward([layer], t([1, 0.5])), t([10]))
    close(forward([replace(layer, weight=7 * layer.weight)], t([1, 0.5])), t([10]))


@pytest.mark.parametrize("kind", ["none", "weight", *UNIT_KINDS[:-1]])
def test_dense_gradients_agree_with_central_differences(kind: str) -> None:
    agree_with_differences(dense_net(kind), X, TARGETS, half_sum)


@pytest.mark.parametrize("kind", ["none", "weight", *UNIT_KINDS])
def test_convolutional_gradients_agree_with_central_differences(kind: str) -> None:
    agree_with_differences(conv_net(kind), PICTURES, CLASSES, cross_entropy)


# Losses and optimizers


def test_losses_by_hand() -> None:
    out, want = t([1, 2], [3, 4]), t([0, 2], [1, 1])
    assert [float(squared_error(out, want, r)) for r in ("half_sum", "sum", "mean")] == [7, 14, 3.5]
    logits = t([0, math.log(3)], [5, 5])
    close(cross_entropy(logits, torch.tensor([1, 0])), (math.log(4 / 3) + math.log(2)) / 2)
    close(cross_entropy(t([1e4, 0]), torch.tensor([1])), 1e4)
    assert accuracy(t([0, 1], [2, 1], [0, 3]), torch.tensor([1, 0, 0])) == pytest.approx(2 / 3)


def test_steps_by_hand() -> None:
    assert float(sgd_step(t(2), t(1), lr=0.1, weight_decay=0.5)) == pytest.approx(1.8)
    theta, velocity = momentum_step(t(2), t(1), t(4), lr=0.1, momentum=0.5, weight_decay=0.5)
    assert (float(theta), float(velocity)) == pytest.approx((1.6, 4))
    theta, first, second = adam_step(t(2), t(3), t(0), t(0), step=1, lr=0.1, eps=0.0)
    assert (float(theta), float(first), float(second)) == pytest.approx((1.9, 0.3, 0.009))
    theta, _, _ = adam_step(t(2), t(-5), t(0), t(0), step=1, lr=0.1, eps=1.0, weight_decay=1.0)
    assert float(theta) == pytest.approx(2 + 0.1 * 3 / 4)


def test_several_steps_agree_with_torch() -> None:
    slopes = [normal(3, seed=s) for s in range(4)]
    for name in ("momentum", "adam"):
        theirs = normal(3).requires_grad_()
        optimizer = (
            torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=0.01)
            if name == "momentum"
            else torch.optim.Adam([theirs], lr=0.1, weight_decay=0.01)
        )
        ours, a, b = normal(3), torch.zeros(3).double(), torch.zeros(3).double()
        for step, g in enumerate(slopes, start=1):
            theirs.grad = g.clone()
            optimizer.step()
            if name == "momentum":
                ours, a = momentum_step(ours, g, a, lr=0.1, momentum=0.9, weight_decay=0.01)
            else:
                ours, a, b = adam_step(ours, g, a, b, step=step, lr=0.1, weight_decay=0.01)
        close(ours, theirs.detach())


# ICS


def test_ics_of_two_scalar_linear_layers_by_hand() -> None:
    old, new = [Layer(t([2])), Layer(t([3]))], [Layer(t([5])), Layer(t([-7]))]
    first, second = ics(old, new, t([1]), t([4]), half_sum)
    # L = ½(w2 w1 − 4)²: ∂/∂w1 = w2 (w2 w1 − 4) = 6; ∂/∂w2 = w1 (w2 w1 − 4) = 4, and 5·11 = 55 for w1 = 5.
    assert (float(first.before), float(first.after), first.l2, first.cosine) == (6, 6, 0, 1)
    assert (float(second.before), float(second.after)) == (4, 55)
    assert (second.l2, second.cosine, second.relative) == pytest.approx((51, 1, 51 / 4))


def test_ics_takes_gamma_and_beta_of_the_prefix_and_no_buffer() -> None:
    old, new = dense_net(seed=1), dense_net(seed=2)
    old = [replace(layer, running_mean=t(0)) for layer in old]
    new = [replace(layer, running_mean=t(1)) for layer in new]
    mixed = prefix_updated(old, new, 1)
    assert (
        mixed[0].weight is new[0].weight and mixed[0].gamma is new[0].gamma and mixed[0].beta is new[0].beta
    )
    assert mixed[0].running_mean is old[0].running_mean
    assert mixed[1:] == old[1:]
    assert ics(old, new, X, TARGETS, half_sum)[0].relative == 0


def test_ics_penalty_leaves_the_difference_alone() -> None:
    old, new = dense_net(seed=1), dense_net(seed=2)
    plain = ics(old, new, X, TARGETS, half_sum)
    decayed = ics(old, new, X, TARGETS, half_sum, weight_decay=0.5)
    for layer, p, d in zip(old, plain, decayed, strict=True):
        close(d.before, p.before + 0.5 * layer.weight)
        assert d.l2 == pytest.approx(p.l2)


def test_rescaled_prefix_moves_every_weight_by_the_given_share() -> None:
    old, new = dense_net(seed=1), dense_net(seed=2)
    for o, n, r in zip(old, new, rescaled_prefix(old, new, 0.01), strict=True):
        assert distance([r.weight], [o.weight]) == pytest.approx(0.01 * distance([o.weight], [0 * o.weight]))
        assert cosine([r.weight - o.weight], [n.weight - o.weight]) == pytest.approx(1)


# Landscape and sharpness: L = ½ Σ (w x)² with x = diag, a quadratic bowl of curvatures 1 and 4.

BOWL = [Layer(t([1, 1]))]
BOWL_X, BOWL_T = t([1, 0], [0, 2]), t([0], [0])


def test_landscape_of_a_bowl_by_hand() -> None:
    seen = landscape(BOWL, BOWL_X, BOWL_T, half_sum, lr=0.1, multiples=[1, 5])  # g = (1, 4), Hg = (1, 16)
    assert (seen.loss, seen.gradient_norm) == pytest.approx((2.5, math.sqrt(17)))
    assert seen.losses == pytest.approx([0.5 * (0.9**2 + 4 * 0.6**2), 0.5 * (0.5**2 + 4)])
    assert seen.loss_band == pytest.approx((1.125, 2.125))
    assert seen.changes == pytest.approx([0.1 * math.sqrt(257), 0.5 * math.sqrt(257)])
    assert seen.beta_each == pytest.approx([math.sqrt(257 / 17)] * 2)
    assert seen.lipschitz_each == pytest.approx(
        [1.375 / (0.1 * math.sqrt(17)), 0.375 / (0.5 * math.sqrt(17))]
    )
    assert seen.lipschitz == seen.lipschitz_each[0]
    assert seen.relative_changes[1] == pytest.approx(0.5 * math.sqrt(257 / 17))
    assert seen.cosines[0] == pytest.approx((0.9 + 16 * 0.6) / math.sqrt(17 * (0.81 + 16 * 0.36)))
    assert (seen.beta_lr, *seen.lines) == pytest.approx((0.1 * math.sqrt(257 / 17), 20, 10))


def test_landscape_along_another_direction_measures_distance_along_it() -> None:
    seen = landscape(BOWL, BOWL_X, BOWL_T, half_sum, lr=1.0, multiples=[0.5], direction=[t([0, 2])])
    assert seen.losses == pytest.approx([0.5])
    assert seen.changes == pytest.approx([4])
    assert (seen.beta, seen.lipschitz) == pytest.approx((4, 2))


def test_curvature_of_a_bowl_by_hand() -> None:
    close(hessian(BOWL, BOWL_X, BOWL_T, half_sum), t([1, 0], [0, 4]))
    close(eigenvalues(BOWL, BOWL_X, BOWL_T, half_sum, weight_decay=0.5), t(1.5, 4.5))
    assert gradient_curvature(BOWL, BOWL_X, BOWL_T, half_sum) == pytest.approx(65 / 17)


@pytest.mark.parametrize("kind", ["batch", "l1", "linf"])
def test_hessian_agrees_with_differences_of_gradients(kind: str) -> None:
    net = dense_net(kind)
    values, vector = parameters(net), flatten(parameters(net))
    found = hessian(net, X, TARGETS, half_sum)
    for i in range(0, len(vector), 7):

        def slope(v: Tensor, i: int = i) -> Tensor:
            return flatten(gradients(with_parameters(net, unflatten(v, values)), X, TARGETS, half_sum))[i]

        close(found[i], difference_gradient(slope, vector), rtol=1e-4, atol=1e-4)


# Activations


def test_activation_distributions_by_hand() -> None:
    assert histogram(t(-1, 0, 0.5, 1, 2, 2.5), [0, 1, 2]) == ([2, 2], 1, 1)
    seen = moments(t(0, 0, 0, 4))
    assert (seen.mean, seen.variance) == (1, 3)
    assert (seen.skewness, seen.kurtosis) == pytest.approx((6 / 3**1.5, 21 / 9 - 3))
    assert math.isnan(moments(t(2, 2)).skewness)
    assert [m.mean for m in unit_moments(t(0, 2, 4, 6, 1, 1, 1, 1).reshape(1, 2, 2, 2))] == [3, 1]
    assert unit_drifts(t([1, 0], [3, 0]), t([0, 5], [0, 7])) == ([2, -6], [1, -1])
    assert dead_units(t([0, 0, 1], [0, 2, 0])) == [0]


# Theory


@pytest.mark.parametrize("eps", [0.0, 0.7])
def test_theorem_41_is_an_equality_as_corrected_and_fails_as_printed(eps: float) -> None:
    for seed in range(20):
        y, g = 2 * normal(8, seed=seed) + 1, normal(8, seed=seed + 100)
        seen = theory.thm41(y, g, gamma=1.7, eps=eps)
        assert seen.left == pytest.approx(seen.corrected, rel=1e-10)
        assert seen.left > seen.printed


def test_theorem_41_by_hand() -> None:
    # y = ±1 is its own ŷ, and g = (3, 1) is 2·1 + 1·ŷ, so that nothing of it is left.
    seen = theory.thm41(t(1, -1), t(3, 1), gamma=3)
    assert (seen.scale, seen.norm, seen.mean_part, seen.correlation_part) == pytest.approx((9, 10, 8, 2))
    assert seen.left == pytest.approx(0, abs=1e-12)
    assert seen.printed_correlation_part == pytest.approx(4 / math.sqrt(2))


def test_the_gradient_at_y_is_the_derivative_of_the_loss() -> None:
    y, g = normal(5), normal(5, seed=1)
    numeric = difference_gradient(
        lambda v: (g * 1.3 * normalize(v[:, None], "batch", eps=0.1)[:, 0]).sum(), y
    )
    close(theory.gradient_at_y(y, g, 1.3, 0.1), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("pictures", [False, True])
def test_a_layer_inside_a_network_obeys_theorems_41_and_42(pictures: bool) -> None:
    net, x, targets, loss = (
        (conv_net(), PICTURES, CLASSES, cross_entropy) if pictures else (dense_net(), X, TARGETS, half_sum)
    )
    view = theory.layer_view(net, 0, x, targets, loss)
    for seen in theory.thm41_layer(view):
        assert seen.left == pytest.approx(seen.corrected, rel=1e-9, abs=1e-12)
    both = theory.thm42(view)
    assert both.left == pytest.approx(both.right, rel=1e-8)
    assert both.unit_left == pytest.approx(both.unit_right, rel=1e-8)
    assert both.correction != 0 and both.quadratic != 0


def test_theorem_42_is_not_exact_with_epsilon() -> None:
    net = [replace(layer, eps=0.5) for layer in dense_net()]
    both = theory.thm42(theory.layer_view(net, 0, X, TARGETS, half_sum))
    assert both.left != pytest.approx(both.right, rel=1e-3)


def test_theorem_44_is_reached_by_a_rank_one_batch_and_by_no_other() -> None:
    y, g, lam = normal(6), normal(6, seed=1), 1.5
    seen = theory.thm44(y, g, gamma=0.8, lam=lam)
    assert seen.normalized == pytest.approx(seen.bound)
    assert seen.plain == pytest.approx(lam**2 * float(g @ g))
    at_y = theory.gradient_at_y(y, g, 0.8, 0.0)
    worst = lam * torch.outer(at_y / at_y.norm(), t(0.6, 0.8))
    assert float(((worst.T @ at_y) ** 2).sum()) == pytest.approx(seen.normalized)
    for seed in range(10):
        x = normal(6, 2, seed=seed)
        x = lam * x / torch.linalg.matrix_norm(x, 2)
        assert float(((x.T @ at_y) ** 2).sum()) < seen.normalized


def test_lemma_45_by_hand() -> None:
    seen = theory.lemma45(t(3, 4), t(2, 0))
    assert seen.aligned
    assert (seen.k, seen.left, seen.right) == pytest.approx((1.5, 16, 17 - 1))
    assert not theory.lemma45(t(-3, 4), t(2, 0)).aligned


# Calculus


def test_dense_derivatives_of_a_cubic_by_hand() -> None:
    at = t(1, 2)
    close(gradient_of(lambda v: v[0] ** 2 * v[1], at), t(4, 1))
    close(dense_hessian(lambda v: v[0] ** 2 * v[1], at), t([4, 2], [2, 0]))
    close(dense_hessian(lambda v: 3 * v[0], at), t([0, 0], [0, 0]))
    close(jacobian(lambda v: torch.stack([v[0] * v[1], v[1] ** 2]), at), t([2, 1], [0, 4]))
    close(difference_gradient(lambda v: v[0] ** 2 * v[1], at), t(4, 1), rtol=1e-8)
