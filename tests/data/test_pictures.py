"""The real pictures: CIFAR-10 as a tree of JPEGs. `BNRUN_TEST_PICTURES` names the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bncore.data.arrays import ImageArrays
from bncore.data.folder import load_folder

PICTURES = os.environ.get("BNRUN_TEST_PICTURES", "")

pytestmark = pytest.mark.skipif(
    not PICTURES,
    reason="BNRUN_TEST_PICTURES names no folder with CIFAR-10 as train/<class>/*, test/<class>/*",
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageArrays:
    """All of them, decoded into a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BNRUN_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_folder(Path(PICTURES))


def test_the_pictures_are_cifar_10_and_every_prefix_is_balanced(pictures: ImageArrays) -> None:
    assert pictures.train_images.shape == (50_000, 3, 32, 32)
    assert pictures.test_images.shape == (10_000, 3, 32, 32)
    assert pictures.classes[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(pictures.train_labels[:2000]).tolist() == [200] * 10
    assert np.bincount(pictures.test_labels).tolist() == [1000] * 10
    # channel means of CIFAR-10, as published with many training recipes
    means = pictures.train_images.mean((0, 2, 3)) / 255
    np.testing.assert_allclose(means, (0.4914, 0.4822, 0.4465), atol=5e-3)


def test_a_picture_keeps_its_class(pictures: ImageArrays) -> None:
    for name in ("bird", "truck"):
        file = sorted((Path(PICTURES) / "test" / name).iterdir())[7]
        pixels = np.asarray(Image.open(file)).transpose(2, 0, 1)
        (found,) = np.flatnonzero((pictures.test_images == pixels).all((1, 2, 3)))
        assert pictures.classes[pictures.test_labels[found]] == name
