"""The cache of decoded images: whole or absent, whatever happens to its file."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bncore.data import DataError
from bncore.data import cache as images
from bncore.data.arrays import ImageArrays
from bncore.data.folder import load_folder
from data.factories import image_tree


def arrays(count: int = 2) -> ImageArrays:
    pixels = np.arange(count * 12, dtype=np.uint8).reshape(count, 3, 2, 2)
    labels = np.arange(count, dtype=np.int64) % 2
    return ImageArrays(pixels, labels, pixels[:1], labels[:1], ("cat", "dög"))


def test_what_is_stored_is_recalled() -> None:
    images.store("set", arrays())
    found = images.recall("set")
    assert found is not None
    assert found.classes == ("cat", "dög")
    assert found.fingerprint() == arrays().fingerprint()
    assert images.recall("another") is None


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_a_byte_changed_anywhere_never_changes_an_image(cache: Path, flip: int) -> None:
    images.store("set", arrays())
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    refused = 0
    for position in range(flip % 3, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        file.write_bytes(damaged)
        found = images.recall("set")
        refused += found is None
        assert found is None or found.fingerprint() == arrays().fingerprint()
    assert refused > len(whole) // 6


def test_a_file_cut_anywhere_is_refused(cache: Path) -> None:
    images.store("set", arrays())
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert images.recall("set") is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_write_that_fails_half_way_leaves_the_old_file(
    monkeypatch: pytest.MonkeyPatch, cache: Path, code: int
) -> None:
    images.store("set", arrays())

    def fail(file: object, **_: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(code, "refused")

    monkeypatch.setattr("numpy.savez", fail)
    with pytest.raises(DataError, match=r"set\.npz: .* cached: refused; .* set BNRUN_CACHE"):
        images.store("set", arrays(4))
    assert [file.name for file in cache.iterdir()] == ["set.npz"]
    found = images.recall("set")
    assert found is not None
    assert len(found.train_images) == 2


def test_a_cache_that_is_no_folder_is_an_error_that_says_so(tmp_path: Path, cache: Path) -> None:
    cache.touch()
    with pytest.raises(DataError, match="set BNRUN_CACHE"):
        load_folder(image_tree(tmp_path / "tree"))


def test_processes_that_decode_at_once_agree(tmp_path: Path, cache: Path) -> None:
    tree = image_tree(tmp_path / "tree", train=60, test=20)
    code = (
        "import sys; from pathlib import Path; from bncore.data.folder import load_folder;"
        "sys.stdin.read(); print(load_folder(Path(sys.argv[1])).fingerprint())"
    )
    command = [sys.executable, "-c", code, str(tree)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    found = {worker.communicate("go")[0].strip() for worker in workers}
    assert found == {load_folder(tree).fingerprint()}
    assert len(list(cache.iterdir())) == 1
