"""Tiny image trees and batch files."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


def image_tree(root: Path, *, train: int = 3, test: int = 2, size: int = 32) -> Path:
    """``train/<class>/*.png`` and ``test/<class>/*.png`` of two classes; image i of class c has grey 10 c + i."""
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(("cat", "dog")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                gray = np.full((size, size, 3), 10 * label + i, dtype=np.uint8)
                Image.fromarray(gray).save(folder / f"{i}.png")
    return root


def cifar_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``cifar-10-batches-py`` with 10 training and 10 test images, its checksums made known to torchvision."""
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - slow to import

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    names = [f"class{i}" for i in range(10)]
    files = {"data_batch_1": _batch(0), "test_batch": _batch(100), "batches.meta": {"label_names": names}}
    md5 = {}
    for name, content in files.items():
        path = folder / name
        path.write_bytes(pickle.dumps(content))
        md5[name] = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return root


def cifar_archive(root: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The files of `cifar_files` as one archive, its checksum made known to torchvision."""
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - slow to import

    archive = root / "archive.tar.gz"
    files = cifar_files(root / "packed", monkeypatch)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(files / CIFAR10.base_folder, CIFAR10.base_folder)
    content = archive.read_bytes()
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    return content


@dataclass
class Host:
    """How a server answers."""

    content: bytes
    hang_after: int | None = None
    """Bytes after which it falls silent."""
    cut_after: int | None = None
    """Bytes after which it ends each connection."""
    drip_s: float = 0.0
    """Pause before each next piece of 128 bytes."""
    status: int = 200
    kind: str = "application/gzip"
    ranges: bool = True
    """Whether it knows how to go on."""
    length: bool = True
    """Whether it says how much it sends."""
    requested: list[str | None] = field(default_factory=list)
    """What Range each request had."""

    def answer(self, handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        wanted = handler.headers.get("Range")
        self.requested.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        body, size = self.content[start:], len(self.content)
        if start and not body:
            handler.send_error(416)
            return
        handler.send_response(206 if start else self.status)
        handler.send_header("Content-Type", self.kind)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        handler.end_headers()
        body = body[: self.cut_after] if self.hang_after is None else body[: self.hang_after]
        for at in range(0, len(body), 128) if self.drip_s else ():
            if over.wait(self.drip_s):
                return
            handler.wfile.write(body[at : at + 128])
        handler.wfile.write(b"" if self.drip_s else body)
        handler.wfile.flush()
        if self.hang_after is not None:
            over.wait()


@contextmanager
def served(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine that torchvision believes to be CIFAR-10's; its address."""
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - slow to import

    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # the other side has heard enough
                host.answer(self, over)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/cifar.tar.gz"
        monkeypatch.setattr(CIFAR10, "url", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        try:
            yield url
        finally:
            over.set()
            server.shutdown()


def _batch(offset: int) -> dict[str, object]:
    images: NDArray[np.uint8] = (
        np.arange(10, dtype=np.uint8)[:, None] + np.zeros((10, 3072), np.uint8) + offset
    )
    return {"data": images.astype(np.uint8), "labels": list(range(10))}
