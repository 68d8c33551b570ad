"""Where data come from, and what is said when they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bncore.config.model import DLN, MLP, GaussianData, ImageData, Loss, Spec
from bncore.data import DataError, cifar, describe_source, resolve_source
from bncore.data.arrays import class_balanced_order
from bncore.data.folder import load_folder
from bncore.data.resident import gaussian_regression, load
from bncore.data.synthetic import CLASSES, synthetic_images
from bncore.random import generator
from data.factories import cifar_files, image_tree

BY_CLASS = "7c5e67b1b5117bdce6e6d351d9722a44fa4b8da0a424a9bc69a7e5d6c597cf8a"
SYNTHETIC = "9f6256063edf5fa6b3ad3101e25af0b2c904d3937d49e9b0ac280ba22281fb3a"


def no_network(*_: object, **__: object) -> Path:
    """What fetching does without a network."""
    raise DataError("CIFAR-10 cannot be downloaded: no network")


def test_the_synthetic_images_are_these_bytes() -> None:
    assert synthetic_images().fingerprint() == SYNTHETIC
    assert synthetic_images(by_class=True).fingerprint() == BY_CLASS


@pytest.mark.parametrize(("by_class", "least", "most"), [(False, 0.05, 0.2), (True, 0.35, 0.55)])
def test_a_linear_classifier_reads_the_shape_off_its_background_alone(
    by_class: bool, least: float, most: float
) -> None:
    """Pixels standardized image by image, as the VGG presets do: one of ten by chance, one of two by the tint."""
    arrays = synthetic_images(3000, 1000, by_class=by_class)

    def pixels(images: np.ndarray) -> np.ndarray:
        x = images.reshape(len(images), -1).astype(np.float64)
        return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)

    x = pixels(arrays.train_images)
    weights = np.linalg.solve(x.T @ x + 1e4 * np.eye(x.shape[1]), x.T @ np.eye(10)[arrays.train_labels])
    right = ((pixels(arrays.test_images) @ weights).argmax(1) == arrays.test_labels).mean()
    assert least < right < most


def test_synthetic_images_are_balanced_and_use_the_range() -> None:
    arrays = synthetic_images(200, 100)
    assert np.bincount(arrays.train_labels[:50]).tolist() == [5] * 10
    assert len(CLASSES) == 10
    assert arrays.train_images.shape == (200, 3, 32, 32)
    assert arrays.train_images.min() < 20
    assert arrays.train_images.max() > 235


def test_gaussian_targets_are_a_linear_map_of_the_inputs() -> None:
    (x, y), (x_test, y_test) = gaussian_regression(3, 500, 10)
    matrix = torch.linalg.lstsq(x, y).solution
    torch.testing.assert_close(x_test @ matrix, y_test, rtol=1e-9, atol=1e-9)
    assert abs(x.mean().item()) < 0.05
    assert x.std().item() == pytest.approx(1, abs=0.05)
    assert matrix.std().item() == pytest.approx(1, abs=0.3)


def test_a_uniform_teacher_is_what_rand_draws_on_the_same_inputs() -> None:
    """A from the generator that a Gaussian A is drawn from, entry by entry; x stays as it was."""
    (x, y), (x_test, y_test) = gaussian_regression(3, 50, 10, "uniform")
    (gaussian_x, gaussian_y), (gaussian_x_test, _) = gaussian_regression(3, 50, 10)
    drawn = torch.rand(10, 10, dtype=torch.float64, generator=generator(3, "data", layer=0))
    rows = [[float(a @ v) for a in drawn] for v in x]
    np.testing.assert_allclose(y, rows, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(y_test, x_test @ drawn.T, rtol=1e-13, atol=1e-13)
    assert torch.equal(x, gaussian_x) and torch.equal(x_test, gaussian_x_test)
    assert not torch.allclose(y, gaussian_y)
    assert drawn.min() >= 0 and drawn.max() < 1


def test_the_teacher_of_a_spec_is_the_one_its_run_learns_from() -> None:
    def targets(data: GaussianData) -> torch.Tensor:
        regression = Loss(kind="squared_error")
        return load(
            Spec(data=data, net=DLN(), loss=regression, batch_size="full", precision="float64")
        ).train_targets

    old = GaussianData.model_validate({"samples": 20})  # as a spec.toml that knows of no teacher has it
    assert torch.equal(targets(old), gaussian_regression(0, 20, 10)[0][1])
    uniform = GaussianData(samples=20, teacher="uniform")
    assert torch.equal(targets(uniform), gaussian_regression(0, 20, 10, "uniform")[0][1])


def test_whose_moments_pictures_are_standardized_by_is_the_specs(tmp_path: Path) -> None:
    """Of pictures of one colour each, only their own leave nothing."""
    tree = image_tree(tmp_path / "tree")
    found = []
    for standardize in ("dataset", "image"):
        images = ImageData.model_validate({"path": str(tree), "standardize": standardize})
        data = load(Spec(data=resolve_source(images).data, net=MLP(), batch_size=6))
        found.append((data.batch(0)[0].any().item(), next(data.eval_batches("test", 0, 9))[0].any().item()))
    assert found == [(True, True), (False, False)]


def test_more_samples_keep_the_map_and_another_seed_changes_it() -> None:
    def matrix_of(seed: int, samples: int) -> torch.Tensor:
        (x, y), _ = gaussian_regression(seed, samples, 4)
        solution: torch.Tensor = torch.linalg.lstsq(x, y).solution
        return solution

    torch.testing.assert_close(matrix_of(0, 50), matrix_of(0, 80))
    assert not torch.allclose(matrix_of(0, 50), matrix_of(1, 50))


def test_an_image_tree_is_read_once_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = image_tree(tmp_path / "tree")
    first = load_folder(tree)
    assert first.classes == ("cat", "dog")
    for image, label in zip(first.train_images, first.train_labels, strict=True):
        assert image[0, 0, 0] // 10 == label
    monkeypatch.setattr("bncore.data.folder.read_picture", None)  # decoding again would fail
    assert load_folder(tree).fingerprint() == first.fingerprint()


def test_a_changed_tree_is_decoded_again(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    before = load_folder(tree).fingerprint()
    (tree / "train" / "cat" / "0.png").write_bytes((tree / "train" / "dog" / "2.png").read_bytes())
    assert load_folder(tree).fingerprint() != before


def test_a_damaged_cache_is_made_anew(tmp_path: Path, cache: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    first = load_folder(tree)
    (file,) = cache.glob("folder-*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert load_folder(tree).fingerprint() == first.fingerprint()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_cut_or_empty_image_is_named(tmp_path: Path, suffix: str) -> None:
    tree = image_tree(tmp_path / "tree")
    bad = tree / "train" / "dog" / f"noise.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(bad)
    whole = bad.read_bytes()
    load_folder(tree)
    for length in (0, 5, len(whole) // 2, len(whole) - 100):
        bad.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"dog/noise\.{suffix}: not a readable image"):
            load_folder(tree)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    (tree / "test" / "cat" / "9.png").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"cat/9\.png: No such file"):
        load_folder(tree)


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    odd = image_tree(tmp_path / "odd", size=16)
    (odd / "test" / "cat" / "0.png").rename(tree / "test" / "cat" / "9.png")
    with pytest.raises(DataError, match=r"9\.png: 16x16 pixels; expected 32x32"):
        load_folder(tree)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("test/cat/*", "no images in cat"),
        ("test/cat", "different classes|class folders"),
        ("test", "test: missing"),
        ("train", "train: missing"),
    ],
)
def test_an_incomplete_tree_says_what_is_missing(tmp_path: Path, missing: str, message: str) -> None:
    tree = image_tree(tmp_path / "tree")
    for path in sorted(tree.glob(missing)):
        for file in sorted(path.rglob("*"), reverse=True) if path.is_dir() else []:
            file.unlink() if file.is_file() else file.rmdir()
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(DataError, match=message):
        resolve_source(ImageData(path=str(tree)))


def test_cifar_is_read_and_damage_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cifar_files(tmp_path / "data", monkeypatch)
    found = resolve_source(ImageData(path=str(root)))
    assert (found.data.source, found.title, found.warning) == ("cifar10", "CIFAR-10", "")
    arrays = cifar.load_cifar10(root)
    assert arrays.train_images.shape == (10, 3, 32, 32)
    assert (arrays.train_images[:, 0, 0, 0] == arrays.train_labels).all()
    assert (arrays.test_images[:, 2, 31, 31] == 100 + arrays.test_labels).all()
    assert cifar.locate(root / "cifar-10-batches-py") == root
    batch = root / "cifar-10-batches-py" / "data_batch_1"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(DataError, match="incomplete or damaged"):
        resolve_source(ImageData(path=str(root)))


def test_a_file_in_place_of_a_batch_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cifar_files(tmp_path / "data", monkeypatch)
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (root / cifar.FOLDER / name).write_bytes(b"cos\nabort\n(tR.")  # a pickle that would end the process
    with pytest.raises(DataError, match="incomplete or damaged"):
        cifar.load_cifar10(root)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_every_file_of_cifar_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root = cifar_files(tmp_path / "data", monkeypatch)
    (root / cifar.FOLDER / name).unlink()
    with pytest.raises(DataError, match=f"{cifar.FOLDER}: incomplete or damaged"):
        resolve_source(ImageData(path=str(root)))


def test_a_settled_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_tree(tmp_path / "tree")
    monkeypatch.chdir(tmp_path)
    resolved = resolve_source(ImageData(path="tree", augment=True))
    assert resolved.data.path == str(tmp_path / "tree")
    assert resolved.data.source == "folder"
    assert resolved.data.augment
    assert resolved.title == "the image folder 'tree'"
    assert resolve_source(resolved.data) == resolved
    cifar_files(tmp_path / "relative", monkeypatch)
    monkeypatch.setenv("BNRUN_CACHE", "relative")
    assert resolve_source(ImageData()).data.path == str(tmp_path / "relative")


def test_auto_prefers_the_disk_then_the_network_then_the_synthetic_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(cifar, "fetch", no_network)
    found = resolve_source(ImageData())
    assert found.data.source == "synthetic"
    assert "SYNTHETIC" in found.warning
    assert found.title == "synthetic images"
    root = cifar_files(tmp_path / "elsewhere", monkeypatch)
    monkeypatch.setattr(cifar, "fetch", lambda *_, **__: root)
    assert resolve_source(ImageData()).title == "CIFAR-10"
    cache.mkdir(exist_ok=True)
    (root / "cifar-10-batches-py").rename(cache / "cifar-10-batches-py")
    monkeypatch.setattr(cifar, "fetch", no_network)
    assert resolve_source(ImageData()).title == "CIFAR-10"


def test_what_was_asked_for_is_never_replaced_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "fetch", no_network)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images there"):
        resolve_source(ImageData(path=str(tmp_path / "empty")))
    with pytest.raises(DataError, match="cannot be downloaded"):
        resolve_source(ImageData(source="cifar10"))


def test_other_images_than_those_settled_on_are_refused(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    resolved = resolve_source(ImageData(path=str(tree))).data
    (tree / "test" / "cat" / "0.png").write_bytes((tree / "test" / "dog" / "0.png").read_bytes())
    spec = Spec(data=resolved, net=MLP(hidden=(4,)), batch_size=2)
    with pytest.raises(DataError, match="images have changed"):
        load(spec)


def test_a_batch_larger_than_the_set_is_refused(tmp_path: Path) -> None:
    resolved = resolve_source(ImageData(path=str(image_tree(tmp_path / "tree")))).data
    with pytest.raises(DataError, match="batch_size: 100; expected at most 6"):
        load(Spec(data=resolved, net=MLP(hidden=(4,)), batch_size=100))


def test_foreseeing_touches_nothing(tmp_path: Path, cache: Path) -> None:
    assert "synthetic" in describe_source(ImageData())
    assert describe_source(ImageData(path=str(image_tree(tmp_path / "tree")))) == "the image folder 'tree'"
    assert not cache.exists()


def test_regression_data_are_in_the_run_s_precision() -> None:
    loss = Loss(kind="squared_error", reduction="half_sum")
    for precision, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        spec = Spec(
            data=GaussianData(samples=20, features=3),
            net=DLN(depth=2, width=3),
            loss=loss,
            batch_size="full",
            precision=precision,  # type: ignore[arg-type]
        )
        data = load(spec)
        assert data.batch(0)[0].dtype == dtype
        assert data.classes is None
        assert data.outputs == 3


def test_every_prefix_of_the_stored_order_is_balanced() -> None:
    labels = np.repeat(np.arange(4), [40, 40, 40, 40])
    order = class_balanced_order(labels)
    assert sorted(order.tolist()) == list(range(160))
    for count in (4, 16, 60):
        assert np.ptp(np.bincount(labels[order[:count]], minlength=4)) <= 1
