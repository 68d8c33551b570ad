"""The explorer's app: navigation between pages, and whatever applies to all of them."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

from rich.terminal_theme import TerminalTheme
from textual import events, on
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.command import CommandList, CommandPalette
from textual.filter import DimFilter
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen

from bntui.actions import EVERYWHERE, actions_of, bindings
from bntui.bell import LIVING, Endings, signal
from bntui.context import PageContext, RunOrSweep, Selection
from bntui.live.watch import Disk, SnapshotFeed
from bntui.preferences import Settings
from bntui.saving import save_screen
from bntui.screens.chart_pages import ActivationsPage, ComparePage, LayersPage, TheoryPage
from bntui.screens.dialog import Help, Leave
from bntui.screens.home import HomePage
from bntui.screens.journal import JournalPage
from bntui.screens.log import LogPage
from bntui.screens.machine import MachinePage
from bntui.screens.page import LEAVING, Page
from bntui.screens.runs import RunsPage
from bntui.screens.spec import SpecPage
from bntui.screens.sweep import SweepPage
from bntui.signals import leave_on_signals
from bntui.steering.send import stop_all

THEMES = {"dark": "textual-dark", "light": "textual-light", "ansi": "ansi-dark"}
"""Textual's themes by their names on the command line."""
TURNS = 3
"""Times that queues are waited for after a key: for the key, its action's message, and what follows from that."""
UNBOUND = "<ignore>"
"""Stands for no key: no terminal sends it."""
PAGES: dict[str, type[RunsPage]] = {
    page.TAB: page
    for page in (
        SweepPage,
        LayersPage,
        ActivationsPage,
        TheoryPage,
        ComparePage,
        JournalPage,
        SpecPage,
        MachinePage,
        LogPage,
    )
}
"""Pages about runs, by their names in the table of actions."""


def without_colors(theme: TerminalTheme) -> TerminalTheme:
    """The theme with all colors set to that of text: otherwise red and blue would become dark grays."""
    text = theme.foreground_color
    return TerminalTheme(theme.background_color, text, [text] * 8)


def darkened(theme: TerminalTheme) -> TerminalTheme:
    """The theme with its colors darkened to be readable on a light background."""
    colors = [theme.ansi_colors[number] for number in range(16)]
    dark = [(7 * red // 10, 7 * green // 10, 7 * blue // 10) for red, green, blue in colors]
    return TerminalTheme(theme.background_color, theme.foreground_color, dark[:8], dark[8:])


class Palette(CommandPalette):
    """The command palette; ignores PageUp and PageDown until its list is laid out: Textual 8.2.8 fails on them."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "command_list" or bool(self.query_one(CommandList).scrollable_content_region)


class Explorer(App[None]):
    """Watches and steers runs.

    Arguments:
        settings: preferences and command-line options.
        sources: sources of snapshots; called from other threads.
        first: run or sweep to show first; None: the list of all runs.
    """

    TITLE = "bntui"
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVERYWHERE)

    class SnapshotReady(Message):
        """There is a newer snapshot to show."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Explorer.SnapshotReady)

    def __init__(self, settings: Settings, sources: Disk, first: RunOrSweep | None = None) -> None:
        super().__init__()
        self.feed = SnapshotFeed(lambda: self.post_message(self.SnapshotReady()))
        self.context = PageContext(settings, self.feed, self)
        self.set_keymap({action: keys or UNBOUND for action, keys in settings.keys.items()})
        self._sources = sources
        self._first = first
        self._endings = Endings()
        self._shown_at = 0.0
        self._frame_due = False
        self._typed: deque[events.Event] = deque()
        """Keys and pasted text in order; the first is being handled."""
        self._pages: dict[str, Page] = {}  # cached, so that pages keep their state

    def on_mount(self) -> None:
        self.ansi_theme_light = darkened(self.ansi_theme_light)
        if self.no_color:
            self.ansi_theme_dark = without_colors(self.ansi_theme_dark)
            self.ansi_theme_light = without_colors(self.ansi_theme_light)
        self.theme = THEMES[self.context.settings.theme]
        leave_on_signals(lambda code: self.exit(None, code))
        if self._first is None:
            self.push_screen(HomePage(self.context))
            self.feed.watch(self._sources.home)
        else:
            self.push_screen(self._page("sweep"))
            self._watch([self._first])

    def watch_theme(self) -> None:
        """Leave dim text to the terminal if it defines the colors: Textual's filter cannot blend those."""
        for one in self._filters:
            if isinstance(one, DimFilter):
                one.enabled = not self.native_ansi_color

    def on_unmount(self) -> None:
        self.feed.stop()

    # Keys

    async def on_event(self, event: events.Event) -> None:
        """Forward a key only after the previous one has been handled, which may have opened a window or a line of
        text: what is typed at once after that must not act on the page behind."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._typed.append(event)
            if len(self._typed) == 1:
                await self._forward_typed()
        else:
            await super().on_event(event)

    async def _forward_typed(self) -> None:
        target = self.focused or self.screen
        await super().on_event(self._typed[0])
        await self._follow(TURNS * target.ancestors_with_self)

    async def _follow(self, path: Sequence[MessagePump]) -> None:
        """Pass through the queues of these nodes, behind all that is in them, then forward the next key."""
        for index, node in enumerate(path, 1):
            if node.call_later(self._follow, path[index:]):  # else the node is closing
                return
        self._typed.popleft()
        if self._typed:
            await self._forward_typed()

    # Pages

    def view_page(self, name: str) -> None:
        """Go to a page about the runs."""
        page = self._page(name)
        if self.screen is not page:
            self.switch_screen(page)

    def open_runs(self, paths: Sequence[RunOrSweep], page: str = "sweep") -> None:
        """Watch some runs and sweeps and go to a page about them."""
        self.context.selection = Selection()
        for name, old in self._pages.items():  # these show the previous runs
            self.uninstall_screen(name)
            if old.is_running:
                old.remove()
        self._pages = {}
        self._watch(paths)
        self.view_page(page)

    def go_home(self) -> None:
        """Go back to the list of all runs, unless this is the recorded sweep, which has none."""
        if not self.context.settings.demo:
            self.context.selection = Selection()
            self.feed.watch(self._sources.home)
            self.switch_screen(HomePage(self.context))

    def _watch(self, paths: Sequence[RunOrSweep]) -> None:
        self.feed.watch(lambda: self._sources.open(paths))

    def _page(self, name: str) -> Page:
        if name not in self._pages:
            self._pages[name] = page = PAGES[name](self.context)
            self.install_screen(page, name)
        return self._pages[name]

    # Snapshots

    @on(SnapshotReady)
    def _show_soon(self) -> None:
        """Show the newest snapshot now, or when the next picture is due, together with later ones."""
        if self._frame_due or not self.screen_stack:  # snapshots may still arrive after the screens are gone
            return
        wait = self._shown_at + self.context.settings.refresh - time.monotonic()
        if wait <= 0 or self.feed.snapshot is None:
            self._show()
        else:
            self._frame_due = True
            self.set_timer(wait, self._show)

    def _show(self) -> None:
        self._frame_due = False
        self._shown_at = time.monotonic()
        self.feed.advance()
        self._tell_endings()
        if isinstance(self.screen, Page):
            self.screen.show_again()
        if not gc.isenabled():
            self.call_after_refresh(_collect_garbage)

    def _tell_endings(self) -> None:
        """Announce the end of runs, except in a playback."""
        if self.feed.snapshot is not None and self.feed.playback is None:
            text = signal(self.context.settings.bell, self._endings.of(self.feed.snapshot.runs))
            if text and self._driver is not None:
                self._driver.write(text)

    # Actions

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Fill the command palette from the table of actions."""
        scopes = screen.SCOPES if isinstance(screen, Page) else (EVERYWHERE,)
        offered = screen.offered() if isinstance(screen, Page) else self.context.offered()
        for action in actions_of(scopes, offered):
            key = f" ({action.key})" if action.key else ""
            namespace = self if action.scope == EVERYWHERE else screen
            command = partial(self.call_later, self.run_action, action.name, namespace)
            yield SystemCommand(f"{action.label}{key}", action.help, command)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action in LEAVING if isinstance(self.screen, Page) and self.screen.is_tiny else True

    def action_leave(self) -> None:
        """Quit, asking first if there are unfinished runs that can be steered."""
        runs = self.feed.snapshot.runs if self.feed.snapshot else ()
        alive = [view for view in runs if view.state in LIVING]
        if isinstance(self.screen, CommandPalette):
            self.screen.dismiss()
        elif alive and isinstance(self.screen, RunsPage) and not self.context.steering_refusal():
            self.push_screen(Leave(alive), self._left)
        else:
            self.exit()

    def _left(self, answer: str | None) -> None:
        if answer == "stop":
            assert self.feed.snapshot is not None
            problems = stop_all(self.feed.snapshot)
            if problems and isinstance(self.screen, Page):
                self.screen.notice("; ".join(problems), "red")
                return
        if answer in ("detach", "stop"):
            self.exit()

    def action_go_back(self) -> None:
        if isinstance(self.screen, Page):
            self.screen.go_back()

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        if not isinstance(self.screen, Help):
            scopes = self.screen.SCOPES if isinstance(self.screen, Page) else (EVERYWHERE,)
            self.push_screen(Help(scopes, self.context.offered()))

    def action_next_theme(self) -> None:
        names = list(THEMES.values())
        index = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(index + 1) % len(names)]
        if isinstance(self.screen, Page):
            self.screen.show_again()

    def action_save_screen(self) -> None:
        if isinstance(self.screen, Page):
            self.screen.notice(*save_screen(self))


def _collect_garbage() -> None:
    """Enable garbage collection, rarely and only for objects created from now on: scanning everything that the
    first picture needed would delay a frame each time."""
    gc.freeze()
    gc.set_threshold(700, 10, 1000)
    gc.enable()
