"""CIFAR-10 through torchvision's own download, from a server on this machine."""

from __future__ import annotations

import importlib
import socket
import threading
import time
from pathlib import Path

import pytest

from bncore.data import DataError, cifar, fetch, settle
from bncore.spec.model import ImageData
from data.making import cifar_archive, cifar_files, served

settling = importlib.import_module("bncore.data.settle")  # the package's `settle` is the function


@pytest.fixture(autouse=True)
def torchvision_is_imported() -> None:
    """So that its import is in no test's time."""
    import torchvision.datasets  # noqa: F401, PLC0415


def test_cifar_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with served(cifar_archive(tmp_path, monkeypatch), monkeypatch):
        found = settle(ImageData())
    assert (found.title, found.warning, found.data.path) == ("CIFAR-10", "", str(cache))
    assert [entry.name for entry in cache.iterdir()] == ["cifar-10-batches-py"]
    assert fetch() == cache  # the server is gone


def test_a_damaged_copy_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cifar_files(tmp_path / "data", monkeypatch)
    (root / cifar.FOLDER / "test_batch").write_bytes(b"")
    with served(cifar_archive(tmp_path, monkeypatch), monkeypatch):
        fetch(root)
    assert len(cifar.load_cifar10(root).test_images) == 10
    assert [entry.name for entry in root.iterdir()] == [cifar.FOLDER]


def test_a_damaged_download_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = cifar_archive(tmp_path, monkeypatch)
    with (
        served(content[:-1] + b"?", monkeypatch),
        pytest.raises(DataError, match=r"data: CIFAR-10 cannot be downloaded: .*corrupted"),
    ):
        fetch(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_network_that_falls_silent_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(settling, "SILENCE_S", 0.3)
    begun = time.monotonic()
    with served(cifar_archive(tmp_path, monkeypatch), monkeypatch, hang_after=100):
        found = settle(ImageData())
    assert time.monotonic() - begun < 10
    assert found.title == "synthetic images"
    assert "cannot be downloaded" in found.warning
    assert not list(cache.glob("*"))
    assert socket.getdefaulttimeout() is None


def test_a_name_server_that_never_answers_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    try:
        with pytest.raises(DataError, match=r"nothing arrived for 0\.2 s"):
            fetch(tmp_path / "data", silence_s=0.2)
    finally:
        over.set()


def test_a_download_that_drips_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    try:
        with pytest.raises(DataError, match=r"not done after 0\.2 s"):
            fetch(tmp_path / "data", limit_s=0.2)
    finally:
        over.set()


def test_whoever_downloads_last_leaves_the_first_one_s_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"

    def overtaken(folder: Path, *_: float) -> None:
        cifar_files(folder, monkeypatch)
        cifar_files(root, monkeypatch)
        (root / cifar.FOLDER / "first").touch()

    monkeypatch.setattr(cifar, "_download", overtaken)
    assert fetch(root) == root
    assert (root / cifar.FOLDER / "first").exists()
    assert [entry.name for entry in root.iterdir()] == [cifar.FOLDER]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/data: CIFAR-10 cannot be downloaded"):
        fetch(tmp_path / "file" / "data")
