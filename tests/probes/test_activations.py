"""Distributions of activations: bins that lose nothing, moments, drifts, dead units."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import activations as oracle
from oracles import network

from bncore.config.model import Noise
from bncore.config.probes import Activations
from bncore.probes.activations import ActivationsProbe, Bins, distribution, histogram
from bncore.probes.view import StepView

from .step import drawn, frozen, plain_layers, small_step

NOISE = Noise(on=True)
sizes = st.floats(-1e6, 1e6, width=32)


def edges(bins: Bins) -> list[float]:
    return [bins.low + k * bins.width for k in range(bins.count + 1)]


@given(st.tuples(sizes, sizes).map(sorted), st.integers(2, 200))
def test_bins_hold_the_range_they_are_laid_around(span: tuple[float, float], count: int) -> None:
    bins = Bins.around(*span, count)
    assert edges(bins)[0] <= span[0]
    assert span[1] < edges(bins)[-1]
    assert bins.holds(*span)


@given(st.tuples(st.floats(-100, 100), st.floats(1, 100)), st.integers(4, 100))
def test_bins_are_at_most_four_times_as_wide_as_needed(span: tuple[float, float], count: int) -> None:
    low, width = span
    bins = Bins.around(low, low + width, count)
    assert bins.width * count <= 4 * width * count / (count - 1)


def counted_again(counts: NDArray[np.int64], old: Bins, new: Bins) -> NDArray[np.int64]:
    """A histogram in wider bins, which the old ones fall into whole."""
    again = np.zeros(new.count, dtype=np.int64)
    np.add.at(
        again, ((old.first + np.arange(old.count)) >> (new.exponent - old.exponent)) - new.first, counts
    )
    return again


@settings(max_examples=50)
@given(st.lists(st.lists(sizes, min_size=1, max_size=20), min_size=1, max_size=6), st.integers(2, 50))
def test_widening_counts_again_what_counting_in_the_wide_bins_would_have_given(
    measurements: list[list[float]], count: int
) -> None:
    bins: Bins | None = None
    kept = np.zeros(count, dtype=np.int64)
    for values in measurements:
        wider = (
            Bins.around(min(values), max(values), count)
            if bins is None
            else bins.widened(min(values), max(values))
        )
        kept = kept if bins is None else counted_again(kept, bins, wider)
        kept = kept + histogram(torch.tensor(values, dtype=torch.float64), wider).numpy()
        bins = wider
    assert bins is not None
    everything = torch.tensor([v for values in measurements for v in values], dtype=torch.float64)
    counts, below, above = oracle.histogram(everything, edges(bins))
    assert (below, above) == (0, 0)
    assert kept.tolist() == counts


def test_bins_stay_where_they_are_while_they_hold_the_values() -> None:
    bins = Bins.around(-1.0, 1.0, 16)
    assert bins.widened(-0.9, 0.1) == bins
    wider = bins.widened(-1.0, 5.0)
    assert wider.exponent > bins.exponent
    assert wider.low <= bins.low


def test_a_single_bin_is_refused() -> None:
    with pytest.raises(ValueError, match="bins: 1; expected at least 2"):
        Bins.around(0.0, 1.0, 1)


@pytest.mark.parametrize("constant", [0.0, 3.5, -1e-30])
def test_a_constant_falls_into_one_bin(constant: float) -> None:
    bins = Bins.around(constant, constant, 8)
    counts = histogram(torch.full((5,), constant, dtype=torch.float64), bins)
    assert sorted(counts.tolist())[-2:] == [0, 5]


def test_float32_values_far_from_zero_are_counted_exactly() -> None:
    z = 1000 + 1e-3 * torch.randn(500, generator=torch.Generator().manual_seed(1))
    bins = Bins.around(float(z.min()), float(z.max()), 64)
    counts, below, above = oracle.histogram(z.double(), edges(bins))
    assert (below, above, histogram(z, bins).tolist()) == (0, 0, counts)


def outputs(view: StepView) -> list[network.Trace]:
    return network.trace(plain_layers(view), view.inputs)


def test_moments_and_dead_units_are_those_of_the_norms_output_with_its_noise() -> None:
    for pictures in (False, True):
        view = small_step("batch", NOISE, pictures=pictures)
        event = ActivationsProbe(Activations(bins=16)).measure(view)
        for i, number in enumerate(event["layers"]):
            seen = outputs(view)[number - 1]
            each = oracle.unit_moments(seen.noisy)
            assert event["mean"][i] == pytest.approx(np.mean([m.mean for m in each]))
            assert event["variance"][i] == pytest.approx(np.mean([m.variance for m in each]))
            unit = int(event["unit"][i])
            assert event["unit_mean"][i] == pytest.approx(each[unit].mean)
            assert event["unit_variance"][i] == pytest.approx(each[unit].variance)
            assert event["dead"][i] == len(oracle.dead_units(seen.active)) / len(each)


def test_the_histogram_is_the_oracles() -> None:
    view = small_step("batch", NOISE)
    event = ActivationsProbe(Activations(layers=(1, 2), bins=16)).measure(view)
    for i, number in enumerate(event["layers"]):
        bins = [event["bin_low"][i] + k * event["bin_width"][i] for k in range(17)]
        counts, below, above = oracle.histogram(outputs(view)[number - 1].noisy, bins)
        assert (event["counts"][i].tolist(), below, above) == (counts, 0, 0)


def test_a_unit_that_never_fires_is_dead_and_a_linear_one_that_is_not_zero_is_not() -> None:
    view = small_step("none")
    layer = view.net.layers[0]
    z = torch.tensor([[-1.0, 1.0, 0.0], [-2.0, -1.0, 0.0]], dtype=torch.float64)
    assert distribution(layer, 1, z, 8).dead == pytest.approx(2 / 3)
    linear = small_step("none", linear=True).net.layers[0]
    assert distribution(linear, 1, z, 8).dead == pytest.approx(1 / 3)


def moved(view: StepView, step: int, size: float) -> StepView:
    """Another step of the same network, its weights changed."""
    before = {n: p + size * drawn(*p.shape, seed=step + i) for i, (n, p) in enumerate(view.before.items())}
    return replace(view, step=step, before=before)


def drift(now: StepView, then: StepView, index: int) -> tuple[float, float]:
    means, variances = oracle.unit_drifts(outputs(now)[index].noisy, outputs(then)[index].noisy)
    return float(np.mean(np.abs(means))), float(np.mean(np.abs(variances)))


def test_drifts_are_taken_unit_by_unit_against_the_last_and_the_first_measurement() -> None:
    views = [small_step("none")]
    views += [moved(views[0], 17, 0.3), moved(views[0], 27, 0.5)]
    probe = ActivationsProbe(Activations(bins=16))
    events = [probe.measure(view) for view in views]
    assert "mean_step" not in events[0]
    assert events[0]["mean_drift"].tolist() == [0, 0]
    for t in (1, 2):
        for index in (0, 1):
            mean, variance = drift(views[t], views[t - 1], index)
            assert events[t]["mean_step"][index] == pytest.approx(mean)
            assert events[t]["variance_step"][index] == pytest.approx(variance)
            mean, variance = drift(views[t], views[0], index)
            assert events[t]["mean_drift"][index] == pytest.approx(mean)
            assert events[t]["variance_drift"][index] == pytest.approx(variance)


def test_the_example_unit_stays_the_same_and_gives_fig_8() -> None:
    views = [small_step("none")]
    views += [moved(views[0], 17, 0.3), moved(views[0], 27, 0.5)]
    probe = ActivationsProbe(Activations(layers=(2,), bins=16))
    events = [probe.measure(view) for view in views]
    (unit,) = {int(e["unit"][0]) for e in events}
    series = [float(e["unit_mean"][0]) for e in events]
    expected = [oracle.unit_moments(outputs(view)[1].noisy)[unit].mean for view in views]
    assert series == pytest.approx(expected)


def test_noise_moves_the_means_of_single_units_by_its_whole_amplitude() -> None:
    view = small_step("batch", NOISE, samples=64)
    probe = ActivationsProbe(Activations(bins=16))
    steps = [probe.measure(replace(view, step=s)) for s in range(12)]
    averages = [float(e["mean_step"][0]) for e in steps[1:]]
    assert 0.15 < np.mean(averages) < 0.6  # E|U - U'| = 1/3 for U, U' ~ U(-1/2, 1/2)
    assert probe.measure(replace(view, step=11))["mean_step"].tolist() == [0, 0]


def test_what_is_remembered_survives_a_checkpoint() -> None:
    views = [small_step("none")]
    views += [moved(views[0], 17, 0.3), moved(views[0], 27, 5.0)]
    first, second = (ActivationsProbe(Activations(bins=16)) for _ in range(2))
    for view in views[:2]:
        first.measure(view)
    second.load_state_dict(first.state_dict())
    ours, theirs = first.measure(views[2]), second.measure(views[2])
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert (np.asarray(ours[name]) == np.asarray(theirs[name])).all(), name
    assert (ours["bin_width"] >= ActivationsProbe(Activations(bins=16)).measure(views[0])["bin_width"]).all()


def test_the_state_can_be_loaded_with_weights_only(tmp_path) -> None:  # type: ignore[no-untyped-def]
    probe = ActivationsProbe(Activations(bins=16))
    probe.measure(small_step("batch"))
    torch.save(probe.state_dict(), tmp_path / "state.pt")
    again = ActivationsProbe(Activations(bins=16))
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.state_dict()["bins"] == probe.state_dict()["bins"]


def test_a_layer_without_norm_position_is_named() -> None:
    with pytest.raises(ValueError, match=r"probes.activations.layers: \[3\]; expected .*: 1, 2"):
        ActivationsProbe(Activations(layers=(1, 3), bins=8)).measure(small_step("batch"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_fail_and_leave_the_memory_alone(value: float) -> None:
    view = small_step("none")
    probe = ActivationsProbe(Activations(bins=8))
    probe.measure(view)
    memory = probe.state_dict()
    spoiled = replace(view, before={**view.before, "layers.1.weight": torch.full((4, 4), value).double()})
    with pytest.raises(ArithmeticError, match="layer 2's output is not finite"):
        probe.measure(spoiled)
    assert probe.state_dict()["bins"] == memory["bins"]


def test_measuring_touches_nothing() -> None:
    view = small_step("batch", NOISE, pictures=True)
    as_found = frozen(view)
    ActivationsProbe(Activations(bins=8)).measure(view)
    for name, value in frozen(view).items():
        assert torch.equal(value, as_found[name]), name


def test_bins_reach_below_zero_because_the_output_is_before_the_activation() -> None:
    event = ActivationsProbe(Activations(layers=(1,), bins=8)).measure(small_step("batch"))
    assert event["bin_low"][0] < 0
    negative = event["counts"][0][
        [k for k in range(8) if event["bin_low"][0] + k * event["bin_width"][0] < 0]
    ]
    assert negative.sum() > 0
