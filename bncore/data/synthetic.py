"""A synthetic image set that is identical on every machine: the default when CIFAR-10 is unavailable.

It has ten classes: five shapes, each filled with stripes or a checkerboard. Position, size, orientation, period
and all colors are drawn for each image, over a blotchy background with clutter and pixel noise, so that no single
pixel or color reveals the class. Optionally, the background partly reveals the shape, as the sky does an airplane.
Everything after the draws is integer arithmetic, so the bytes do not depend on the processor; they are the same
for the same numpy generator, which `ImageArrays.fingerprint` verifies.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bncore.data.arrays import ImageArrays

SHAPES = ("disc", "square", "triangle", "cross", "ring")
FILLS = ("striped", "chequered")
CLASSES = tuple(f"{fill} {shape}" for fill in FILLS for shape in SHAPES)
TRAIN, TEST, SIZE = 10_000, 2_000, 32

_UNIT = 64  # coordinates are in 1/64 of a pixel
_ANGLES = 256
_BLOCK = 500
_COSINE, _SINE = (
    np.array([round(1024 * f(2 * math.pi * k / _ANGLES)) for k in range(_ANGLES)], dtype=np.int32)
    for f in (math.cos, math.sin)
)

Ints = NDArray[np.int32]


_TINTS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], dtype=np.int32)
"""Background color of each shape: red, green, blue, yellow, cyan."""
_TINT = 5  # share, in eighths, of the tint in a background by class


def synthetic_images(train: int = TRAIN, test: int = TEST, *, by_class: bool = False) -> ImageArrays:
    """The set: `train` and `test` images of 3x32x32, with the classes in turn, so that every prefix is balanced.

    Arguments:
        by_class: whether backgrounds are tinted by the color of the shape.
    """
    rng = np.random.Generator(np.random.PCG64(20180529))
    return ImageArrays(*_set(train, rng, by_class), *_set(test, rng, by_class), CLASSES)


def _set(count: int, rng: np.random.Generator, by_class: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    blocks = [_draw(labels[i : i + _BLOCK], rng, by_class) for i in range(0, count, _BLOCK)]
    return np.concatenate(blocks), labels


def _draw(labels: NDArray[np.int64], rng: np.random.Generator, by_class: bool) -> NDArray[np.uint8]:
    """One image per label, (n, 3, 32, 32)."""
    n = len(labels)
    image = _background(n, rng, _TINTS[labels % 5] if by_class else None)
    for _ in range(2):
        _paint(image, _clutter(n, rng), rng.integers(0, 256, size=(n, 3, 1, 1), dtype=np.int32))
    x, y, radius = _placed(n, rng)
    inside = np.choose((labels % 5)[:, None, None], _shapes(x, y, radius))
    light = _fill((labels // 5)[:, None, None], x, y, _between(n, rng, 4 * _UNIT, 6 * _UNIT))
    one, other = _contrasting(n, rng)
    _paint(image, inside & light, one)
    _paint(image, inside & ~light, other)
    image += rng.integers(-24, 25, size=image.shape, dtype=np.int32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _between(n: int, rng: np.random.Generator, low: int, high: int) -> Ints:
    return rng.integers(low, high + 1, size=(n, 1, 1), dtype=np.int32)


def _contrasting(n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Two colors that differ by 128 of 256 in every channel, each in a random direction."""
    low = rng.integers(0, 128, size=(n, 3, 1, 1), dtype=np.int32)
    swap = rng.integers(0, 2, size=(n, 3, 1, 1), dtype=np.int32)
    return low + 128 * swap, low + 128 * (1 - swap)


def _placed(n: int, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Coordinates (n, 32, 32) about a random center, rotated by a random angle, and a random radius (n, 1, 1)."""
    radius = _between(n, rng, 8 * _UNIT, 12 * _UNIT)
    axis = _UNIT * np.arange(SIZE, dtype=np.int32) - _UNIT * (SIZE - 1) // 2
    dx = axis[None, None, :] - _between(n, rng, -6 * _UNIT, 6 * _UNIT)
    dy = axis[None, :, None] - _between(n, rng, -6 * _UNIT, 6 * _UNIT)
    angle = rng.integers(-_ANGLES // 8, _ANGLES // 8, size=(n, 1, 1))
    cosine, sine = _COSINE[angle], _SINE[angle]
    return (cosine * dx + sine * dy) >> 10, (cosine * dy - sine * dx) >> 10, radius


def _shapes(x: Ints, y: Ints, r: Ints) -> list[NDArray[np.bool_]]:
    """Masks (n, 32, 32) of the interiors, in the order of `SHAPES`; their areas differ little."""
    square_distance, ax, ay = x * x + y * y, np.abs(x), np.abs(y)
    return [
        square_distance < r * r * 3 // 4,
        np.maximum(ax, ay) < r * 3 // 4,
        (y > -r // 2) & (ax * 7 // 4 + y < r),
        ((ax < r // 3) & (ay < r)) | ((ay < r // 3) & (ax < r)),
        (square_distance < r * r) & (square_distance > r * r // 4),
    ]


def _fill(chequered: NDArray[np.int64], x: Ints, y: Ints, period: Ints) -> NDArray[np.bool_]:
    """Where the fill has its first color: stripes across x, or a checkerboard in x and y."""
    across, along = x * 2 // period, y * 2 // period
    light: NDArray[np.bool_] = np.equal((across + chequered * along) % 2, 0)
    return light


def _background(n: int, rng: np.random.Generator, tints: Ints | None) -> Ints:
    """Blotches (n, 3, 32, 32): a 5x5 grid of random values, mixed with `tints` (n, 3), interpolated linearly."""
    grid = rng.integers(0, 256, size=(n, 3, 5, 5), dtype=np.int32)
    if tints is not None:
        grid = (grid * (8 - _TINT) + tints[:, :, None, None] * _TINT) // 8
    index, weight = np.divmod(np.arange(SIZE, dtype=np.int32), 8)
    rows = grid[:, :, index] * (8 - weight)[:, None] + grid[:, :, index + 1] * weight[:, None]
    both: Ints = rows[..., index] * (8 - weight) + rows[..., index + 1] * weight
    return 64 + both // 128


def _clutter(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Masks (n, 32, 32) of a small bar or disc each."""
    x, y, radius = _placed(n, rng)
    bar = (np.abs(x) < radius // 8) & (np.abs(y) < radius)
    disc = x * x + y * y < radius * radius // 9
    is_bar = np.equal(rng.integers(0, 2, size=(n, 1, 1)), 0)
    return (is_bar & bar) | (~is_bar & disc)


def _paint(image: Ints, where: NDArray[np.bool_], color: Ints) -> None:
    np.copyto(image, color, where=where[:, None])
