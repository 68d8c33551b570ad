"""CIFAR-10 from servers on this machine, of every kind there is."""

from __future__ import annotations

import importlib
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bncore.config.model import ImageData
from bncore.data import DataError, cifar, download, fetch, resolve_source
from data.factories import Host, cifar_archive, cifar_files, served

settling = importlib.import_module("bncore.data.resolve")  # the package's `resolve_source` is the function

PARTIAL = ".cifar-10-python.tar.gz.part"


@pytest.fixture(autouse=True)
def torchvision_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its import is in no test's time."""
    import torchvision.datasets  # noqa: F401, PLC0415

    monkeypatch.delenv("BNRUN_CIFAR10_URL", raising=False)


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The archive that is published, as far as torchvision knows."""
    return cifar_archive(tmp_path, monkeypatch)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def refused(root: Path, **limits: Any) -> str:
    with pytest.raises(DataError) as caught:
        fetch(root, **limits)
    return str(caught.value)


def test_cifar_is_downloaded_once(content: bytes, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with served(Host(content), monkeypatch):
        found = resolve_source(ImageData())
    assert (found.title, found.warning, found.data.path) == ("CIFAR-10", "", str(cache))
    assert names(cache) == [cifar.FOLDER]
    assert fetch() == cache  # the server is gone


def test_a_damaged_copy_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cifar_files(tmp_path / "data", monkeypatch)
    (root / cifar.FOLDER / "test_batch").write_bytes(b"")
    with served(Host(cifar_archive(tmp_path, monkeypatch)), monkeypatch):
        fetch(root)
    assert len(cifar.load_cifar10(root).test_images) == 10
    assert names(root) == [cifar.FOLDER]


def test_a_wrong_md5_is_told_as_one_and_leaves_nothing(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Host(content[:-1] + b"?"), monkeypatch) as url:
        said = refused(tmp_path / "data")
    assert f"{tmp_path / 'data'}: CIFAR-10 cannot be downloaded from {url}: another archive came: " in said
    assert re.search(rf"{len(content):,} bytes with MD5 [0-9a-f]{{32}}; expected [0-9a-f]{{32}};", said)
    assert "set BNRUN_CIFAR10_URL to the address of a mirror" in said
    assert "--data-dir" in said
    assert names(tmp_path / "data") == []


def test_an_archive_that_is_cut_short_where_it_lies_is_told_so(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Host(content[: len(content) // 2]), monkeypatch):
        assert "the archive there is cut short: " in refused(tmp_path / "data")
    assert names(tmp_path / "data") == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/gzip"])
def test_a_page_in_place_of_the_archive_is_told_as_one(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    page = b"\n<!DOCTYPE html><html><head>\n<title>Sign in\n to \x1b[31mWi-Fi</title></head></html>"
    with served(Host(page, kind=kind), monkeypatch):
        said = refused(tmp_path / "data")
    assert r"an HTML page came in place of the archive, titled 'Sign in to \x1b[31mWi-Fi'" in said
    assert names(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("body", "said"), [(b"PK zip", r"not a gzip archive: it begins with b'PK zip'"), (b"", "empty")]
)
def test_what_is_no_archive_is_told_so(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, body: bytes, said: str
) -> None:
    with served(Host(body), monkeypatch):
        assert said in refused(tmp_path / "data")


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_is_told_with_its_number(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with served(Host(content, status=status), monkeypatch):
        assert f": HTTP {status} " in refused(tmp_path / "data")


def test_a_host_that_is_not_there_is_told(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Host(content), monkeypatch) as url:
        pass
    monkeypatch.setenv("BNRUN_CIFAR10_URL", url)
    assert f"from $BNRUN_CIFAR10_URL, {url}: Connection refused" in refused(tmp_path / "data")


def test_a_host_that_speaks_something_else_is_told(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("BNRUN_CIFAR10_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/x")
        monkeypatch.setenv("no_proxy", "127.0.0.1")

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"220 ftp.example.org ready\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert "no answer in HTTP (BadStatusLine: 220 ftp" in refused(tmp_path / "data")


@pytest.mark.parametrize("address", ["nonsense", "http://[", "gopher://host/x"])
def test_an_address_that_is_none_is_told(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("BNRUN_CIFAR10_URL", address)
    assert "cannot be downloaded from $BNRUN_CIFAR10_URL, " in refused(tmp_path / "data")


def test_a_mirror_is_used_and_its_password_is_not_shown(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirrored.tar.gz").write_bytes(content)
    monkeypatch.setenv("BNRUN_CIFAR10_URL", f"file://{tmp_path}/mirrored.tar.gz")
    assert fetch(tmp_path / "data") == tmp_path / "data"
    assert download.without_secrets("https://me:secret@host/x?token=1") == "https://host/x"


def test_a_connection_that_ends_early_is_made_anew_where_it_ended(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(content, cut_after=len(content) // 3 + 1)
    with served(host, monkeypatch):
        fetch(tmp_path / "data")
    third = len(content) // 3 + 1
    assert host.requested == [None, f"bytes={third}-", f"bytes={2 * third}-"]
    assert names(tmp_path / "data") == [cifar.FOLDER]


def test_a_connection_that_ends_at_once_is_told_and_what_came_is_kept(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(content, cut_after=100, ranges=False)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with served(host, monkeypatch):
        said = refused(tmp_path / "data")
        assert f"the connection ended early: 100 of {len(content):,} bytes arrived" in said
        assert "100 bytes are kept, and the next try resumes from there" in said
        assert (tmp_path / "data" / PARTIAL).read_bytes() == content[:100]
        host.cut_after, host.ranges = None, True
        fetch(tmp_path / "data")
    assert host.requested[-1] == "bytes=100-"
    assert names(tmp_path / "data") == [cifar.FOLDER]


@pytest.mark.parametrize(
    "held", ["another file", "more than there is", "all of it", "a part, and the server cannot go on"]
)
def test_whatever_is_held_of_before_the_archive_comes_out_right(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    before = {
        "another file": b"\x1f\x8b" + b"?" * 98,
        "more than there is": b"?" * (len(content) + 5),
        "all of it": content,
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PARTIAL).write_bytes(before.get(held, content[:50]))
    with served(Host(content, ranges="cannot" not in held), monkeypatch):
        fetch(tmp_path / "data")
    assert names(tmp_path / "data") == [cifar.FOLDER]


def test_a_page_does_not_cost_what_has_arrived(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PARTIAL).write_bytes(content[:70])
    with served(Host(b"<html>no</html>", ranges=False, kind="text/html"), monkeypatch):
        assert "an HTML page" in refused(tmp_path / "data")
    assert (tmp_path / "data" / PARTIAL).read_bytes() == content[:70]


def test_a_server_that_does_not_say_how_much_it_sends(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Host(content, length=False), monkeypatch):
        fetch(tmp_path / "data")
    assert names(tmp_path / "data") == [cifar.FOLDER]


def test_a_network_that_falls_silent_blocks_nobody(
    content: bytes, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(settling, "SILENCE_S", 0.3)
    begun = time.monotonic()
    host = Host(content, hang_after=100)
    with served(host, monkeypatch):
        found = resolve_source(ImageData())
        assert time.monotonic() - begun < 10
        assert found.title == "synthetic images"
        assert f"nothing arrived for 0.3 s (100 of {len(content):,} bytes arrived" in found.warning
        assert names(cache) == [PARTIAL]
        host.hang_after = None
        assert resolve_source(ImageData()).title == "CIFAR-10"
    assert host.requested[-1] == "bytes=100-"
    assert socket.getdefaulttimeout() is None


def test_a_host_that_is_slow_is_told_as_slow_with_progress(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that come one by one are bytes."""
    reported: list[tuple[str, int, int]] = []
    with served(Host(content, drip_s=0.3), monkeypatch):
        said = refused(
            tmp_path / "data", silence_s=1, limit_s=1.5, progress=lambda *progress: reported.append(progress)
        )
    assert re.search(
        rf"not done after 1\.5 s: [\d,]+ of {len(content):,} bytes arrived, [\d,]+ per second", said
    )
    assert reported and all(what == "downloading CIFAR-10, bytes" for what, *_ in reported)
    assert 0 < reported[-1][1] < reported[-1][2] == len(content)


def test_a_name_server_that_never_answers_blocks_nobody(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    monkeypatch.setenv("BNRUN_CIFAR10_URL", "http://localhost/x")
    monkeypatch.setenv("no_proxy", "localhost")
    try:
        assert "nothing arrived for 0.2 s" in refused(tmp_path / "data", silence_s=0.2)
        assert "not done after 0.2 s" in refused(tmp_path / "data", limit_s=0.2)
    finally:
        over.set()


def test_two_that_download_at_once_do_not_disturb_each_other(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with (
        served(Host(content), monkeypatch),
        download.partial_file(root / PARTIAL) as (file, path),
    ):
        assert path == root / PARTIAL
        file.write(b"the other one's")
        file.flush()
        fetch(root)
        assert (root / PARTIAL).read_bytes() == b"the other one's"
    assert names(root) == [PARTIAL, cifar.FOLDER]


def test_whoever_downloads_last_leaves_the_first_one_s_files_alone(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    unpack = cifar._unpack

    def overtaken(folder: Path) -> None:
        unpack(folder)
        cifar_files(root, monkeypatch)
        (root / cifar.FOLDER / "first").touch()

    monkeypatch.setattr(cifar, "_unpack", overtaken)
    with served(Host(content), monkeypatch):
        assert fetch(root) == root
    assert (root / cifar.FOLDER / "first").exists()
    assert names(root) == [cifar.FOLDER]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file/data: Not a directory; expected a folder that can be written" in refused(
        tmp_path / "file" / "data"
    )
