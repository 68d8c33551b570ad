"""Download of one archive: resumes where it stopped, and reports what went wrong."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from uuid import uuid4

from bncore.config.errors import escape_control

GZIP = b"\x1f\x8b"
BLOCK = 64 * 1024
ATTEMPTS = 10
"""Maximum number of connections when they end early."""
_RANGE_NOT_SATISFIABLE = 416


@dataclass
class Transfer:
    """A download in progress; another thread may read its progress and stop it."""

    url: str
    md5: str
    """MD5 sum of the whole archive."""
    silence_s: float
    """Timeout, in seconds, of connecting and of each read."""
    arrived: int = 0
    """Bytes in the file."""
    total: int | None = None
    """Bytes of the archive; None if the server does not say."""
    started: float = field(default_factory=time.monotonic)
    received: int = 0
    """Bytes received over the network."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def progress(self) -> str:
        """Bytes so far and average rate, as text."""
        whole = "" if self.total is None else f" of {self.total:,}"
        rate = self.received / max(time.monotonic() - self.started, 1e-3)
        return f"{self.arrived:,}{whole} bytes arrived, {rate:,.0f} per second"

    def fetch(self, file: BinaryIO) -> None:
        """Download the archive into `file`, continuing from its contents, until its MD5 sum is correct.

        Raises:
            OSError: the download fails; says why. What arrived stays in the file if it may be of use.
        """
        resumed = file.seek(0, os.SEEK_END) > 0
        while True:
            try:
                self._fill(file)
            except urllib.error.HTTPError as error:
                with error:
                    if not (resumed and error.code == _RANGE_NOT_SATISFIABLE):
                        raise OSError(f"HTTP {error.code} {escape_control(error.reason)}".strip()) from None
            file.seek(0)
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))  # type: ignore[arg-type]  # typeshed wants a name
            digest = md5.hexdigest()
            if digest == self.md5:
                return
            size, cut = file.seek(0, os.SEEK_END), _is_cut_short(file)
            file.truncate(0)
            if not resumed:
                what = "the archive there is cut short" if cut else "another archive came"
                raise OSError(f"{what}: {size:,} bytes with MD5 {digest}; expected {self.md5}")
            resumed = False  # the earlier contents may have been of another file

    def _fill(self, file: BinaryIO) -> None:
        """Request the missing part, again as long as each request brings something.

        Raises:
            OSError: the connection fails, or ends before everything has arrived.
        """
        for _ in range(ATTEMPTS):
            before = self.received
            try:
                self._request(file)
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError as error:
                reason = getattr(error.reason, "strerror", None) or error.reason
                raise OSError(escape_control(str(reason))) from error
            except TimeoutError as error:
                raise OSError(f"nothing arrived for {self.silence_s:g} s ({self.progress()})") from error
            except http.client.IncompleteRead:
                pass
            except (http.client.HTTPException, ValueError) as error:
                why = f"{type(error).__name__}: {escape_control(str(error))}"
                raise OSError(f"no answer in HTTP ({why})") from error
            else:
                if self.total is None or self.arrived == self.total:
                    return
            if self.received == before or self.stopped.wait(0.2):
                break
        raise OSError(f"the connection ended early: {self.progress()}")

    def _request(self, file: BinaryIO) -> None:
        received = file.seek(0, os.SEEK_END)
        headers = {"User-Agent": "bnrun", "Accept-Encoding": "identity"}
        if received:
            headers["Range"] = f"bytes={received}-"
        request = urllib.request.Request(self.url, headers=headers)
        with urllib.request.urlopen(request, timeout=self.silence_s) as response:
            part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range") or "")
            begins_anew = not (received and part and int(part[1]) == received)
            block = response.read1(BLOCK)
            if begins_anew:  # check the first bytes before discarding the file's contents for it
                block = _checked_beginning(block, response)
                file.truncate(0)
                received = 0
            self.arrived, length = received, response.headers.get("Content-Length") or ""
            self.total = received + int(length) if length.isdigit() else None
            while block:
                file.write(block)
                file.flush()
                self.arrived += len(block)
                self.received += len(block)
                if self.stopped.is_set():
                    raise OSError("stopped")
                block = response.read1(BLOCK)


@contextmanager
def partial_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a file to download into, and yield it with its path.

    It is `path`, with its earlier contents; while another process is writing `path`, it is a temporary file that
    is removed at the end. A `path` left empty is removed too.
    """
    file, where = path.open("ab+"), path
    if not _is_ours(file, path):
        file.close()
        where = path.with_name(f"{path.name}.{uuid4().hex}")
        file = where.open("xb+")
    try:
        with file:
            yield file, where
    finally:
        with suppress(OSError):
            if where != path or path.stat().st_size == 0:
                where.unlink()


def _is_ours(file: BinaryIO, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())  # not moved away meanwhile
    except OSError:
        return False


def without_secrets(url: str) -> str:
    """The URL as it may be shown: without user name, password, query or control characters."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return escape_control(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def _checked_beginning(block: bytes, response: http.client.HTTPResponse) -> bytes:
    """The beginning of a response body, long enough to identify its type.

    Raises:
        OSError: the body is not an archive.
    """
    while len(block) < len(GZIP) and (more := response.read1(BLOCK)):
        block += more
    if block.startswith(GZIP):
        return block
    text = block.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")) or "html" in response.headers.get_content_type():
        while len(block) < BLOCK and (more := response.read1(BLOCK)):
            block += more
        title = re.search(rb"<title[^>]*>(.*?)</title", block, re.DOTALL | re.IGNORECASE)
        title_words = title[1].decode(errors="replace").split() if title else []
        named = f", titled '{escape_control(' '.join(title_words))[:80]}'" if title_words else ""
        raise OSError(f"an HTML page came in place of the archive{named}: a login, a proxy or an error page")
    if not block:
        raise OSError("nothing came: the answer is empty")
    raise OSError(f"the download is not a gzip archive: it begins with {block[:16]!r}")


def _is_cut_short(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            while unpacked.read(1024 * 1024):
                pass
    except EOFError:
        return True
    except (OSError, zlib.error):
        return False
    return False
