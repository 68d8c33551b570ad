"""The logs of runs and sweeps: lines for people that a worker or a supervisor writes to standard error.

The journal, in contrast, is for programs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from bncore.config.errors import escape_control
from bncore.plain_files import read_plain
from bncore.store.paths import OwnedDir

LOGGER = logging.getLogger("bncore.run")
"""Logger of what happens to a run; silent until a process calls `log_to_stderr` or configures it otherwise."""
LOGGER.addHandler(logging.NullHandler())

LINE = "%(asctime)s %(levelname)s %(message)s"
DATE = "%Y-%m-%d %H:%M:%S%z"


def _escape(record: logging.LogRecord) -> bool:
    record.msg, record.args = escape_control(record.getMessage()), None
    return True


LOGGER.addFilter(_escape)


class _Lines(logging.StreamHandler[Any]):
    """Flushes every record at once, so that it survives SIGKILL; a full disk loses only the record."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        del record


def log_to_stderr(line: str = LINE) -> None:
    """Send the log to this process's standard error, with `line` as the format of each record."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(logging.Formatter(line, DATE))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class EventLog:
    """Logs rare events as they are journaled, but never steps or measurements."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def log(self, event: dict[str, Any]) -> None:
        """Log an event if its type is logged; of a probe's failures, only the first."""
        kind = event["type"]
        if kind == "probe_failed":
            if event.get("name") in self._failed:
                return
            self._failed.add(str(event.get("name")))
        if kind in _WORDS:
            bad = kind in ("warning", "probe_failed") or event.get("outcome") == "rejected"
            LOGGER.log(logging.WARNING if bad else logging.INFO, "%s", _WORDS[kind](event))


def _start(event: dict[str, Any]) -> str:
    if event.get("resumed"):
        return f"resumed at step {event['step']}"
    data = f" on {event.get('data', 'no data')}"
    title = f": {event['title'].removesuffix(data)}" if event.get("title") else ""
    return f"started{title}{data}"


def _request(event: dict[str, Any]) -> str:
    command = event.get("command")
    command = command if isinstance(command, dict) else {}
    words = [
        str(command.get("kind", "")),
        *(f"{k}={v}" for k, v in command.items() if k != "kind" and v is not None),
    ]
    reason = f": {event['reason']}" if event.get("reason") else ""
    text = " ".join(words)
    return f"step {event['step']}: request by {event.get('author')} {event.get('outcome')}: {text}{reason}"


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "start": _start,
    "parent": lambda event: f"made from {event.get('run')} at step {event.get('at')}",
    "warning": lambda event: f"step {event['step']}: {event.get('text')}",
    "request": _request,
    "checkpoint": lambda event: f"step {event['step']}: {event.get('path')}",
    "probe_failed": lambda event: f"step {event['step']}: probe {event.get('name')}: {event.get('reason')}",
    "finished": lambda event: f"step {event['step']}: {event.get('state')}, {event.get('params_sha256')}",
}
"""Log text of an event, by its type. Types not listed here are not logged."""


def last_line(directory: OwnedDir) -> str:
    """The last line of the directory's log file; empty if there is none."""
    try:
        text = read_plain(directory.log_file).decode(errors="replace").strip()
    except OSError:
        return ""
    return text.splitlines()[-1] if text else ""
