"""What lies in a tree of pictures: all of it is read, or reported."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bncore.config.model import MLP, ImageData, Spec
from bncore.data import DataError, describe_source, resolve_source
from bncore.data.folder import load_folder
from bncore.data.picture import read_picture
from bncore.data.resident import load
from data.factories import image_tree

GRAY = np.full((32, 32), 77, dtype=np.uint8)


@pytest.mark.parametrize(
    "suffix", ["tif", "tiff", "pgm", "gif", "jp2", "TIF", "webp", "ico", "tga", "pcx", "jfif"]
)
def test_what_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    tree = image_tree(tmp_path / "tree")
    Image.fromarray(GRAY).save(tree / "train" / "cat" / f"more.{suffix}")
    arrays = load_folder(tree)
    assert arrays.train_images.shape == (7, 3, 32, 32)
    extra = [image for image in arrays.train_images if image.max() > 20]
    assert len(extra) == 1 and abs(extra[0].astype(int) - 77).max() <= 2
    assert arrays.notices == ()


def test_what_is_not_read_is_counted_by_suffix(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    for name in ("a.txt", "b.TXT", "c.heic", "LICENSE"):
        (tree / "train" / "cat" / name).touch()
    (tree / "test" / "dog" / "c.txt").touch()
    inner = tree / "train" / "dog" / "more" / "deeper"
    inner.mkdir(parents=True)
    for name in ("x.png", "y.png", ".DS_Store"):
        Image.fromarray(GRAY).save(inner / name, "PNG")
    Image.fromarray(GRAY).save(tree / "test" / "loose.jpg")
    reported = resolve_source(ImageData(path=str(tree))).warning
    assert reported == (
        f"{tree}: files that are not used: 1 .heic, 1 .jpg beside the class folders, "
        "2 .png in folders inside class folders, 3 .txt, 1 without a suffix"
    )


def test_what_is_skipped_is_part_of_what_the_data_are(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    whole = resolve_source(ImageData(path=str(tree))).data
    (tree / "train" / "cat" / "list.txt").touch()
    more = resolve_source(ImageData(path=str(tree))).data
    assert whole.fingerprint != more.fingerprint
    batch = {"net": MLP(hidden=(4,)), "batch_size": 2}
    assert load(Spec(data=more, **batch)).notices == (f"{tree}: files that are not used: 1 .txt",)
    (tree / "train" / "cat" / "second.txt").touch()
    with pytest.raises(DataError, match=r"have changed.* without 2 \.txt; expected"):
        load(Spec(data=more, **batch))


def test_a_run_from_before_skipped_files_were_told_of_is_resumed(tmp_path: Path) -> None:
    """Its fingerprint is that of the arrays alone."""
    tree = image_tree(tmp_path / "tree")
    arrays_alone = load_folder(tree).fingerprint()
    (tree / "train" / "cat" / "list.txt").touch()
    old = ImageData(source="folder", path=str(tree), fingerprint=arrays_alone)
    data = load(Spec(data=old, net=MLP(hidden=(4,)), batch_size=2))
    assert data.fingerprint == arrays_alone
    assert data.notices == (f"{tree}: files that are not used: 1 .txt",)
    assert resolve_source(old).data.fingerprint == arrays_alone


def test_the_fingerprint_of_pictures_alone_is_what_it_was(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    (tree / "train" / "cat" / "._0.png").touch()
    (tree / "train" / ".hidden").mkdir()
    arrays = load_folder(tree)
    assert arrays.notices == ()
    assert arrays.fingerprint() == ("0b80c57c560ce0d745b63fb3854d5e351dc4de3ac22e7a312c89945ba6771508")


def test_a_class_of_files_that_are_not_read_says_what_is_there(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    for file in (tree / "test" / "dog").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"no images in dog \(there: 2 \.heic\)"):
        load_folder(tree)


def test_pipes_sockets_and_devices_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = image_tree(tmp_path / "tree")
    folder = tree / "train" / "cat"
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(tree / "train" / "pipe")
    (folder / "zero.png").symlink_to("/dev/zero")
    monkeypatch.chdir(folder)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        arrays = load_folder(tree)
    assert arrays.train_images.shape == (6, 3, 32, 32)
    (reported,) = arrays.notices
    assert "3 that are no plain files" in reported
    assert "1 that are no plain files beside the class folders" in reported


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_whose_name_is_not_utf_8_is_refused_in_words(tmp_path: Path, split: str) -> None:
    tree = image_tree(tmp_path / "tree")
    os.mkdir(os.fsencode(tree / split) + b"/caf\xe9")  # noqa: PTH102 - a name of bytes
    with pytest.raises(DataError, match=r"caf\\udce9: the name of this class is not UTF-8"):
        resolve_source(ImageData(path=str(tree)))


def test_a_file_whose_name_is_not_utf_8_is_a_picture(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    folder = os.fsencode(tree / "train" / "cat")
    os.rename(folder + b"/0.png", folder + b"/caf\xe9.png")  # noqa: PTH104 - a name of bytes
    Path(os.fsdecode(folder + b"/x.\xe9")).touch()
    (reported,) = load_folder(tree).notices
    assert r"1 .\udce9" in reported


def test_a_tree_in_a_folder_whose_name_is_not_utf_8_is_refused_in_words(tmp_path: Path) -> None:
    real = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    image_tree(real)
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(DataError, match=r"caf\\udce9: .*UTF-8"):
        resolve_source(ImageData(path=str(tmp_path / "link")))


def test_val_is_taken_for_a_missing_test(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    expected = resolve_source(ImageData(path=str(tree)))
    (tree / "test").rename(tree / "val")
    found = resolve_source(ImageData(path=str(tree)))
    assert found.data.fingerprint == expected.data.fingerprint
    assert found.warning == f"{tree / 'val'}: taken for the test set, which is missing"
    (tree / "test").mkdir()
    with pytest.raises(DataError, match="test: 0 class folders"):
        resolve_source(ImageData(path=str(tree)))


@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-that-name/x", "a\0b", "circle/x"])
def test_a_path_that_no_folder_can_have_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    for ask in (resolve_source, describe_source):
        with pytest.raises(DataError, match=r"expected a folder"):
            ask(ImageData(path=path))


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (31, 100), (33, 200), (500, 375), (7, 5), (1, 90)])
def test_pictures_are_resized_and_cropped_as_torchvision_has_it(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    from torchvision.transforms import v2  # noqa: PLC0415 - slow to import

    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = tmp_path / "picture.png"
    Image.fromarray(noise).save(file)
    expected = np.asarray(v2.CenterCrop(32)(v2.Resize(32)(Image.fromarray(noise))))
    found = read_picture(file, 32).transpose(1, 2, 0)
    assert (found == expected).all()
    if size == (32, 32):
        assert (found == noise).all()


def test_a_stripe_that_is_finer_than_a_pixel_becomes_grey(tmp_path: Path) -> None:
    """Antialiased: every pixel is the mean of what it covers, none of the stripes is picked."""
    stripes = np.zeros((64, 512), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert np.abs(read_picture(tmp_path / "stripes.png", 8).astype(int) - 127.5).max() < 8


def test_orientation_comes_before_the_crop(tmp_path: Path) -> None:
    upright = np.zeros((64, 32, 3), dtype=np.uint8)
    upright[16:48] = 200
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "turned.png", exif=exif)
    assert (read_picture(tmp_path / "turned.png", 32) == 200).all()


def test_pictures_of_any_size_are_trained_on_at_the_size_asked_for(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    odd = image_tree(tmp_path / "odd", size=50)
    (odd / "test" / "cat" / "0.png").rename(tree / "test" / "cat" / "9.png")
    with pytest.raises(DataError, match=r"9\.png: 50x50 pixels; expected 32x32 as .*data\.image_size"):
        resolve_source(ImageData(path=str(tree)))
    for side in (32, 16):
        resolved = resolve_source(ImageData(path=str(tree), image_size=side))
        assert resolved.warning == (
            f"{tree}: pictures are resized (shorter side, antialiased) and cropped to {side}x{side}"
        )
        data = load(Spec(data=resolved.data, net=MLP(hidden=(4,)), batch_size=2))
        assert data.input_shape == (3, side, side)
        assert data.fingerprint == resolved.data.fingerprint


def test_a_size_that_the_network_does_not_take_is_refused_by_the_first_file(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree", size=48)
    (tree / "train" / "dog" / "2.png").write_bytes(b"")  # nothing but the first is read
    with pytest.raises(
        DataError, match=r"cat/0\.png: 48x48 pixels; expected 32x32, .*data\.image_size = 32 resizes"
    ):
        resolve_source(ImageData(path=str(tree)), side=32)


@pytest.mark.parametrize(
    ("data", "net"),
    [
        ({"image_size": 64}, {"kind": "vgg11"}),
        ({"image_size": 16, "source": "cifar10"}, {"kind": "mlp"}),
        ({"image_size": 16, "source": "synthetic"}, {"kind": "mlp"}),
        ({"image_size": 0}, {"kind": "mlp"}),
    ],
)
def test_a_size_that_does_not_fit_is_refused_by_the_spec(data: dict[str, Any], net: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="image_size"):
        Spec.model_validate({"data": data, "net": net})
