"""Live view of the log of a run or of its sweep's supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual import on, work
from textual.timer import Timer
from textual.widget import Widget

from bncore.config.errors import escape_control
from bncore.plain_files import open_plain
from bncore.store.paths import OwnedDir, SweepDir
from bntui.context import PageContext
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets import formatting as fmt
from bntui.widgets.filter import Filter
from bntui.widgets.listing import Listing, ListRow, wrapped

TAIL = 1 << 18
"""Bytes read from the end of a log until the person asks for more."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last whole lines of a log."""

    path: Path
    lines: tuple[tuple[int, str], ...] = ()
    """Lines, each with its byte offset in the log."""
    before: int = 0
    """Bytes of the log before these lines."""
    problem: str = ""
    """Why there are no lines; escaped."""
    stamp: tuple[int, ...] = ()
    """Changes when the log changes or a different amount of it is read."""


def read_tail(path: Path, size: int = TAIL, previous: LogTail | None = None) -> LogTail:
    """Read the complete lines in a log's last `size` bytes; if one line is longer than that, its end.

    Arguments:
        previous: the last result; returned unchanged if the log has not changed.
    """
    try:
        with open_plain(path) as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino, size)
            if previous is not None and (previous.path, previous.stamp) == (path, stamp):
                return previous
            before = max(0, status.st_size - size)
            file.seek(before)
            data = file.read(size)
    except FileNotFoundError:
        return LogTail(path, problem=f"no {escape_control(path.name)}")
    except OSError as error:
        return LogTail(path, problem=escape_control(str(error)))
    if before and b"\n" in data[:-1]:
        cut = data.index(b"\n") + 1
        before, data = before + cut, data[cut:]
    lines, begin = [], before
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        lines.append((begin, escape_control(line.decode(errors="replace"))))
        begin += len(line) + 1
    return LogTail(path, tuple(lines), before, stamp=stamp)


EVERY_S = 1.0
"""Seconds between reads while the log is on screen."""
MORE = 4
"""Factor by which the amount read grows when the person asks for more."""
STYLES = {" WARNING ": "yellow", " ERROR ": "red", "Error: ": "red"}
"""Style of a line, by a word that it contains."""
INDENT = 2
"""Indent of a line's continuation rows."""
EARLIER = "earlier"
"""Key of the row that stands for the unread part."""


class LogPage(RunsPage):
    """The selected run's log, newest line last; follows new lines while the last one is selected."""

    TAB, FOCUS = "log", "#log"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._index, self._bytes = 0, TAIL
        self._tail: LogTail | None = None
        self._drawn: object = None
        self._reading: Timer | None = None

    def body(self) -> Iterable[Widget]:
        yield Listing(id="log", follows=True, classes="titled")
        yield Filter()

    def on_mount(self) -> None:
        self._reading = self.set_interval(EVERY_S, self._read)

    def on_screen_resume(self) -> None:
        if self._reading is not None:
            self._reading.resume()

    def on_screen_suspend(self) -> None:
        if self._reading is not None:
            self._reading.pause()

    def show_page(self, snapshot: Snapshot) -> None:
        owner = self._owner()
        if owner is None:
            return
        if self._tail is None or self._tail.path != owner.log_file:
            self._read()
        else:
            self._draw(self._tail)

    def action_next_log(self) -> None:
        self._index += 1
        self.show_again()

    @on(Listing.Chosen, "#log")
    def _chosen(self, event: Listing.Chosen) -> None:
        if event.key == EARLIER:
            self._bytes *= MORE
            self._read()

    def _owner(self) -> OwnedDir | None:
        """Owner of the log shown: the selected group's runs in turn, then their sweep's supervisor."""
        group = self.selection.group(self.groups)
        if group is None:
            return None
        owners = [*(view.run for view in group.runs), group.runs[0].run.sweep]
        return owners[self._index % len(owners)]

    @property
    def _whose(self) -> str:
        owner = self._owner()
        if owner is None:
            return "nothing"
        return f"{owner.name}, supervisor" if isinstance(owner, SweepDir) else owner.name

    @work(thread=True, exclusive=True, group="log")
    def _read(self) -> None:
        owner = self._owner()
        if owner is not None:
            self.app.call_from_thread(self._show_tail, read_tail(owner.log_file, self._bytes, self._tail))

    def _show_tail(self, tail: LogTail) -> None:
        if self._tail is None or self._tail.path != tail.path:
            self._bytes = TAIL
        self._tail = tail
        if self.is_attached:
            self._draw(tail)

    def _draw(self, tail: LogTail) -> None:
        filtered, listing = self.query_one(Filter), self.query_one("#log", Listing)
        drawn = tail, filtered.words, listing.text_width
        if drawn == self._drawn:
            return
        self._drawn = drawn
        chosen = f" with {filtered.value!r}" if filtered.words else ""
        listing.border_title = Text(f"Log of {self._whose}{chosen}")
        rows = [
            row
            for begin, line in tail.lines
            if filtered.passes(line)
            for row in wrapped(
                ListRow(line_text(line), str(begin)), listing.text_width, self.app.console, INDENT
            )
        ]
        if tail.before:
            earlier = f"… {megabytes(tail.before)} before this: Enter reads more"
            rows.insert(0, ListRow(Text(earlier, fmt.MUTED), EARLIER))
        nothing = "nothing matches" if filtered.words and tail.lines else "nothing yet"
        listing.show(rows or [ListRow(Text(tail.problem or nothing, fmt.MUTED))])


def line_text(line: str) -> Text:
    """A line, colored by its severity."""
    return Text(line, next((style for word, style in STYLES.items() if word in line), ""))


def megabytes(size: int) -> str:
    """A size such as ``0.3 MB`` or ``12 MB``."""
    return f"{size / 1e6:.2g} MB" if size < 1e7 else f"{size / 1e6:,.0f} MB"
