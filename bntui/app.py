"""The explorer's app: what is watched, which screen shows it, and what holds on every screen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.filter import DimFilter
from textual.message import Message
from textual.screen import Screen

from bntui.actions import EVERYWHERE, actions_of, bindings
from bntui.screens.page import LEAVING, Page
from bntui.selection import Selection, Settings, SourceFactory
from bntui.source_worker import SourceWorker
from bntui.terminal import reset_terminal

if TYPE_CHECKING:
    from bntui.live.playback import Playback
    from bntui.live.snapshot import Snapshot
    from bntui.live.sources import Source
    from bntui.selection import Place

GRACE_S = 5.0
"""How long leaving may take after a signal."""
ENDING = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU,
)  # fmt: skip
"""Signals that would end it and leave the terminal as it is."""
THEMES = {"dark": "textual-dark", "light": "textual-light", "ansi": "ansi-dark"}
"""Names on the command line, and Textual's."""
LIVING = frozenset({"running", "paused", "queued"})
"""States of runs that go on when the explorer is left."""


def _later(seconds: float, act: Callable[[int], object], number: int) -> None:
    timer = threading.Timer(seconds, act, (number,))
    timer.daemon = True
    timer.start()


class Explorer(App[None]):
    """Watches and steers runs.

    Arguments:
        settings: what was asked for on the command line.
        opening: where snapshots come from.
        place: what is shown first; None: the list of all runs.
    """

    TITLE = "bntui"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVERYWHERE)

    class Seen(Message):
        """There is something newer to show."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Explorer.Seen)

    def __init__(self, settings: Settings, opening: SourceFactory, place: Place | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.choice = Selection()
        self.snapshot: Snapshot | None = None
        """What is shown; None before anything was read."""
        self.failure = ""
        """Why nothing can be read."""
        self.warned: set[str] = set()
        """Warnings that have been on a screen."""
        self._opening = opening
        self._place = place
        self._watching: SourceWorker | None = None
        self._newest: Snapshot | None = None
        self._shown_at = 0.0
        self._frame_due = False
        self._pages: dict[str, Page] = {}  # of what is opened; kept, so that a page is found as it was left

    # Beginning and end

    def on_mount(self) -> None:
        self.theme = THEMES[self.settings.theme]
        self._leave_on(*ENDING)
        if self._place is None:
            self._show_home()
        else:
            self.push_screen(self._page("sweep"))
            self.watch_source(self._opener([self._place]))

    def _show_home(self) -> None:
        from bntui.screens.home import HomePage

        self.push_screen(HomePage())
        self.watch_source(self._opening.home)

    def watch_theme(self) -> None:
        """Leave dim text to the terminal where the colours are its own: Textual's filter cannot mix those."""
        for one in self._filters:
            if isinstance(one, DimFilter):
                one.enabled = not self.native_ansi_color

    def on_unmount(self) -> None:
        if self._watching is not None:
            self._watching.stop()

    def _leave_on(self, *signals: signal.Signals) -> None:
        """Leave as after `q`, so that the terminal is left as it was found; and leave in any case: where the
        terminal is gone, Textual may wait for ever for a thread that can write to it no more."""
        loop = asyncio.get_running_loop()

        def give_up(number: int) -> None:
            _later(GRACE_S, os._exit, 128 + number)  # a terminal that takes nothing more keeps us no longer
            reset_terminal(sys.__stderr__.fileno() if sys.__stderr__ else 2)
            os._exit(128 + number)

        def leave(number: int, _frame: FrameType | None) -> None:  # also called while the loop stands still
            _later(GRACE_S, give_up, number)
            with suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(self.exit, None, 128 + number)

        for one in signals:
            try:
                signal.signal(one, leave)
            except ValueError:  # not in the main thread: in tests
                return

    # What is watched

    def watch_source(self, make: Callable[[], Source]) -> None:
        """Watch another source; what was watched before is so no longer."""
        if self._watching is not None:
            self._watching.stop()
        self.snapshot, self._newest, self.failure = None, None, ""
        self._watching = SourceWorker(make, self._looked, self._failed)

    def open_places(self, places: Sequence[Place], page: str = "sweep") -> None:
        """Watch some runs and sweeps and go to a page about them."""
        self.choice = Selection()
        self._forget_pages()
        self.watch_source(self._opener(places))
        self.view(page)

    def _opener(self, places: Sequence[Place]) -> Callable[[], Source]:
        return lambda: self._opening.open(places)

    def wake(self) -> None:
        """Look at once: something was asked."""
        if self._watching is not None:
            self._watching.wake()

    @property
    def playback(self) -> Playback | None:
        """What plays back, where that is what is watched."""
        source = self._watching.source if self._watching is not None else None
        if source is None:
            return None
        from bntui.live.playback import Playback

        return source if isinstance(source, Playback) else None

    def _looked(self, snapshot: Snapshot) -> None:
        """In the thread that reads."""
        self._newest = snapshot
        self.post_message(self.Seen())

    def _failed(self, reason: str) -> None:
        """In the thread that reads."""
        from bncore.config.errors import escape_control

        self.failure = escape_control(reason)
        self.post_message(self.Seen())

    @on(Seen)
    def _show_soon(self) -> None:
        """Show it now, or when the time between two pictures is over: what comes meanwhile is shown with it."""
        if self._frame_due:
            return
        wait = self._shown_at + self.settings.frame_s - time.monotonic()
        if wait <= 0 or self.snapshot is None:
            self._show()
        else:
            self._frame_due = True
            self.set_timer(wait, self._show)

    def _show(self) -> None:
        self._frame_due = False
        self._shown_at = time.monotonic()
        if self._newest is not None:
            self.snapshot = self._newest
        if isinstance(self.screen, Page):
            self.screen.show_again()

    # Where one is

    def view(self, name: str) -> None:
        """Go to a page about the runs."""
        page = self._page(name)
        if self.screen is not page:
            self.switch_screen(page)

    def _page(self, name: str) -> Page:
        from bntui.screens.pages import PAGES

        if name not in self._pages:
            self._pages[name] = page = PAGES[name]()
            self.install_screen(page, name)
        return self._pages[name]

    def _forget_pages(self) -> None:
        """Pages are about what was opened before."""
        for name, page in self._pages.items():
            self.uninstall_screen(name)
            if page.is_running:
                page.remove()
        self._pages = {}

    def go_home(self) -> None:
        """Back to the list of all runs."""
        from bntui.screens.home import HomePage

        if self.settings.demo:
            return
        self.choice = Selection()
        self.watch_source(self._opening.home)
        self.switch_screen(HomePage())

    def labels(self) -> list[str]:
        """What is out of the ordinary, for the heading."""
        playback = self.playback
        found = []
        if self.settings.demo:
            found.append("RECORDING, not live")
        elif playback is not None:
            found.append("PLAYBACK")
        if playback is not None:
            found.append("paused" if playback.paused else f"×{playback.speed:g}")
        if self.settings.read_only:
            found.append("read-only")
        return found

    def cannot_steer(self) -> str:
        """Why nothing can be asked of the runs; empty where something can."""
        if self.settings.demo or self.playback is not None:
            return "a recording cannot be steered"
        return "read-only: nothing is asked of the runs" if self.settings.read_only else ""

    def playback_label(self) -> str:
        """What `toggle_playback` would do; empty where there is no playback."""
        playback = self.playback
        if playback is None:
            return ""
        return "play again" if playback.ended else "go on" if playback.paused else "halt"

    def toggle_playback(self) -> bool:
        """Halt the playback or let it go on; whether there is one."""
        playback = self.playback
        if playback is None:
            return False
        if playback.ended:
            playback.seek(0.0)
            playback.resume()
        elif playback.paused:
            playback.resume()
        else:
            playback.pause()
        self._show()
        self.wake()
        return True

    # What can be done everywhere

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: the table of actions."""
        scopes = screen.SCOPES if isinstance(screen, Page) else (EVERYWHERE,)
        for action in actions_of(scopes):
            if action.changes_runs and self.cannot_steer():
                continue
            key = f" ({action.key})" if action.key else ""
            yield SystemCommand(f"{action.label}{key}", action.help, self._runner(action.name))

    def _runner(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, name, self.screen)

        return run

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action in LEAVING if isinstance(self.screen, Page) and self.screen.is_tiny else True

    def action_leave(self) -> None:
        """Ask, if runs go on that are not only looked at."""
        alive = [view for view in (self.snapshot.runs if self.snapshot else ()) if view.state in LIVING]
        if isinstance(self.screen, CommandPalette):
            self.screen.dismiss()
        elif not alive or self.cannot_steer() or not self.is_about_runs:
            self.exit()
        else:
            from bntui.screens.leave import Leave

            self.push_screen(Leave(alive), self._left)

    @property
    def is_about_runs(self) -> bool:
        """Whether the screen is one about runs that were opened."""
        from bntui.screens.runs import RunsPage

        return isinstance(self.screen, RunsPage)

    def _left(self, answer: str | None) -> None:
        if answer == "stop":
            from bntui.steering.send import stop_all

            assert self.snapshot is not None
            problems = stop_all(self.snapshot)
            if problems and isinstance(self.screen, Page):
                self.screen.notice("; ".join(problems), "red")
                return
        if answer in ("detach", "stop"):
            self.exit()

    def action_go_back(self) -> None:
        if isinstance(self.screen, Page):
            self.screen.go_back()

    def action_help(self) -> None:
        from bntui.screens.help import Help

        if not isinstance(self.screen, Help):
            self.push_screen(Help(self.screen.SCOPES if isinstance(self.screen, Page) else (EVERYWHERE,)))

    def action_next_theme(self) -> None:
        names = list(THEMES.values())
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        if isinstance(self.screen, Page):
            self.screen.show_again()

    def action_save_screen(self) -> None:
        from bntui.saving import save_screen

        if isinstance(self.screen, Page):
            self.screen.notice(*save_screen(self))

    def action_playback_speed(self, factor: float) -> None:
        playback = self.playback
        if playback is not None:
            playback.set_speed(min(1e6, max(1e-3, playback.speed * factor)))
            self._show()

    def action_playback_seek(self, seconds: float) -> None:
        playback = self.playback
        if playback is not None:
            playback.seek(playback.position_s + seconds * playback.speed)
            self.wake()
