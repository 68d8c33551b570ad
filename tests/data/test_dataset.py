"""Batches as a function of the step."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bncore.data.dataset import Dataset


def images(count: int = 24, *, batch_size: int | str = 5, seed: int = 0, augment: bool = False) -> Dataset:
    """Random images whose label is their index."""
    source = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=source)
    return Dataset(
        train_inputs=pixels,
        train_targets=torch.arange(count),
        test_inputs=pixels[:7],
        test_targets=torch.arange(7),
        outputs=count,
        source="synthetic",
        title="",
        fingerprint="",
        dtype=torch.float64,
        seed=seed,
        batch_size=batch_size,  # type: ignore[arg-type]
        classes=("a", "b"),
        augment=augment,
    )


def plainly_normalized(pixels: Tensor, training: Tensor) -> NDArray[np.float64]:
    x, all_x = pixels.numpy().astype(float) / 255, training.numpy().astype(float) / 255
    mean, std = all_x.mean((0, 2, 3)), all_x.std((0, 2, 3))
    numbers: NDArray[np.float64] = (x - mean[:, None, None]) / std[:, None, None]
    return numbers


@settings(max_examples=30)
@given(step=st.integers(0, 200), other=st.integers(0, 200))
def test_a_batch_depends_on_its_step_alone(step: int, other: int) -> None:
    fresh, used = images(), images()
    used.batch(other)
    for one, two in zip(fresh.batch(step), used.batch(step), strict=True):
        assert torch.equal(one, two)


def test_an_epoch_holds_every_sample_at_most_once_and_epochs_differ() -> None:
    data = images(25)
    epochs = [torch.cat([data.batch(5 * e + i)[1] for i in range(5)]).tolist() for e in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(25))
    assert epochs[0] != epochs[1] != epochs[2]


def test_seeds_give_other_orders() -> None:
    assert images(seed=0).batch(0)[1].tolist() != images(seed=1).batch(0)[1].tolist()


def test_images_are_normalised_by_the_training_set() -> None:
    data = images()
    inputs, targets = data.batch(3)
    expected = plainly_normalized(data.train_inputs[targets], data.train_inputs)
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_every_batch_and_every_evaluation_is_in_the_run_s_precision(
    dtype: torch.dtype, tolerance: float
) -> None:
    data = dataclasses.replace(images(), dtype=dtype, _order=None)
    inputs, targets = data.batch(1)
    assert inputs.dtype == dtype
    expected = plainly_normalized(data.train_inputs[targets], data.train_inputs)
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=tolerance, atol=tolerance)
    (inputs, _), *_ = data.eval_batches("test", 0, 100)
    assert inputs.dtype == dtype
    expected = plainly_normalized(data.test_inputs, data.train_inputs)  # of the training set even here
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=tolerance, atol=tolerance)


def plainly_standardized(pixels: Tensor) -> NDArray[np.float64]:
    """Picture by picture as TensorFlow documents it, of pixels from 0 to 255."""
    found = []
    for picture in pixels.numpy().astype(float):
        adjusted = max(picture.std(), 1 / np.sqrt(picture.size))
        found.append((picture - picture.mean()) / adjusted)
    return np.stack(found)


def by_picture(data: Dataset, **changes: Any) -> Dataset:
    return dataclasses.replace(data, standardize="image", _order=None, **changes)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-12)])
def test_each_picture_by_its_own_moments_is_tensorflows(dtype: torch.dtype, tolerance: float) -> None:
    """Also where a single value differs, whose deviation is the least there is: nothing cancels."""
    data = by_picture(images(), dtype=dtype)
    data.train_inputs[5] = 200
    data.train_inputs[5, 1, 2, 3] = 201
    data.train_inputs[6] //= 64
    for step in range(4):
        inputs, targets = data.batch(step)
        assert inputs.dtype == dtype
        expected = plainly_standardized(data.train_inputs[targets])
        np.testing.assert_allclose(inputs.numpy(), expected, rtol=tolerance, atol=1e-12)
    (inputs, _), *_ = data.eval_batches("test", 0, 100)
    assert inputs.dtype == dtype
    np.testing.assert_allclose(
        inputs.numpy(), plainly_standardized(data.test_inputs), rtol=tolerance, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gray", [0, 1, 77, 200, 255])
def test_a_picture_of_one_colour_becomes_zeros(gray: int, dtype: torch.dtype) -> None:
    data = by_picture(images(batch_size="full"), dtype=dtype)
    data.train_inputs[3] = gray
    assert not data.batch(0)[0][3].any()
    assert data.batch(0)[0][4].any()


def test_the_least_deviation_is_that_of_one_value_in_the_picture() -> None:
    """1 / sqrt(192) divides where a picture deviates by less: here by 1 / 192 * sqrt(191)."""
    data = by_picture(images(batch_size="full"))
    data.train_inputs[0] = 10
    data.train_inputs[0, 0, 0, 0] = 11
    found = data.batch(0)[0][0]
    assert found[0, 0, 0].item() == pytest.approx((1 - 1 / 192) * 192**0.5, rel=1e-14)
    assert found[2, 7, 7].item() == pytest.approx(-(192**-0.5), rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pictures_numbers_do_not_depend_on_its_batch(dtype: torch.dtype) -> None:
    whole, _ = by_picture(images(batch_size="full"), dtype=dtype).batch(0)
    for size in (1, 5, 24):
        inputs, targets = by_picture(images(batch_size=size), dtype=dtype).batch(2)
        assert torch.equal(inputs, whole[targets])
    ones = [x for x, _ in by_picture(images(), dtype=dtype).eval_batches("train", 0, 7)]
    assert torch.equal(torch.cat(ones), whole)


def test_augmented_pictures_are_standardized_as_they_were_cropped() -> None:
    """The zeros of the padding count: with them each has mean 0 and deviation 1."""
    data = by_picture(images(augment=True, batch_size=24))
    found, _ = data.batch(0)
    assert abs(found.flatten(1).mean(1)).max() < 1e-12
    torch.testing.assert_close(found.flatten(1).std(1, correction=0), torch.ones(24, dtype=torch.float64))
    assert not torch.allclose(found, dataclasses.replace(data, augment=False, _order=None).batch(0)[0])


def test_a_set_of_one_colour_stays_finite() -> None:
    data = images()
    gray = dataclasses.replace(data, train_inputs=torch.full_like(data.train_inputs, 200), _order=None)
    assert torch.equal(gray.batch(0)[0], torch.zeros(5, 3, 8, 8, dtype=torch.float64))


def test_batches_leave_the_resident_images_as_they_are() -> None:
    for size in (5, "full"):
        data = images(augment=True, batch_size=size)
        before = data.train_inputs.clone()
        for step in range(3):
            data.batch(step)[0].zero_()
        assert torch.equal(data.train_inputs, before)


def test_full_batches_are_the_set_in_its_own_order() -> None:
    _, targets = images(batch_size="full").batch(9)
    assert targets.tolist() == list(range(24))


def test_every_augmented_image_is_a_crop_of_the_padded_one_mirrored_or_not() -> None:
    data = images(augment=True, batch_size=24)
    plain = dataclasses.replace(data, augment=False, _order=None)
    found, targets = data.batch(0)
    mirrored = moved = 0
    for image, label in zip(found, targets, strict=True):
        raw = torch.nn.functional.pad(data.train_inputs[label], (4, 4, 4, 4))
        matches = []
        for top in range(9):
            for left in range(9):
                crop = raw[:, top : top + 8, left : left + 8]
                for flip in (False, True):
                    candidate = crop.flip(2) if flip else crop
                    numbers = plainly_normalized(candidate[None], data.train_inputs)[0]
                    if np.allclose(image.numpy(), numbers, atol=1e-9):
                        matches.append((top, left, flip))
        assert len(matches) == 1
        mirrored += matches[0][2]
        moved += matches[0][:2] != (4, 4)
    assert 0 < mirrored < 24
    assert moved > 15
    assert torch.equal(data.batch(0)[0], found)
    assert not torch.equal(plain.batch(0)[0], found)


def test_evaluation_covers_the_first_samples_in_order() -> None:
    data = images()
    sizes = [len(x) for x, _ in data.eval_batches("train", 12, 5)]
    labels = torch.cat([y for _, y in data.eval_batches("train", 12, 5)]).tolist()
    assert (sizes, labels) == ([5, 5, 2], list(range(12)))
    assert sum(len(x) for x, _ in data.eval_batches("train", 0, 7)) == 24
    assert sum(len(x) for x, _ in data.eval_batches("test", 100, 7)) == 7


def test_the_global_generator_is_left_alone() -> None:
    data = images(augment=True)
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)
    data.batch(0), data.batch(7)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy_before)
