"""The runs at the left of a page: their states, the selected one's settings, and the changes made to them."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from bncore.follow.estimate import duration
from bncore.follow.run_view import RunView
from bntui.chart.palette import Palette
from bntui.live.snapshot import Snapshot
from bntui.selection import Selection
from bntui.widgets import formatting as fmt
from bntui.widgets.line import Line, Segment
from bntui.widgets.listing import Listing, ListRow

DETAIL_WIDTH = 32


class Sidebar(Vertical):
    """Runs, the selected one, and changes, one above the other."""

    DEFAULT_CSS = """
    Sidebar { width: 38; height: 1fr; }
    Sidebar > Listing, Sidebar > Static { border: round $foreground 25%; border-title-color: $foreground;
                                          border-title-style: bold; padding: 0 1; }
    Sidebar > #runs { height: auto; min-height: 3; max-height: 45%; }
    Sidebar > #selected { height: auto; max-height: 11; }
    Sidebar > #changes { height: 1fr; min-height: 3; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shape: tuple[int, str] | None = None
        """What the height of what is said of the selected run depends on."""
        self._shown: tuple[Snapshot, Selection] | None = None

    def compose(self) -> ComposeResult:
        yield Listing(id="runs", focusable=False)
        yield Static(id="selected", markup=False)
        yield Listing(id="changes", follows=True, focusable=False)

    def on_mount(self) -> None:
        self.query_one("#runs").border_title = "Runs"
        self.query_one("#changes").border_title = "Changes"

    def show(self, snapshot: Snapshot, selection: Selection) -> None:
        """Show the runs of a snapshot."""
        self._shown = snapshot, selection
        palette = fmt.palette_of(self.app)
        runs = self.query_one("#runs", Listing)
        full = len(snapshot.runs) > runs.size.height > 0
        width = self.size.width - 4 - (runs.styles.scrollbar_size_vertical if full else 0)
        rows = [(run_row(palette, view, selection, width), str(view.run.path)) for view in snapshot.runs]
        runs.show([ListRow(text, key) for text, key in rows])
        runs.key = str(selection.selected or "")
        view = selection.run(snapshot)
        panel = self.query_one("#selected", Static)
        panel.display = view is not None
        if view is not None:
            panel.border_title = Text(fmt.fitted(view.name, min(cell_len(view.name), 30)))
            lines = details(view)
            shape = (len(lines), view.message)  # which alone may wrap: laying out costs as much as two charts
            panel.update(Text("\n").join(lines), layout=shape != self._shape)
            self._shape = shape
        self.query_one("#changes", Listing).show(change_rows(palette, snapshot))

    def on_resize(self) -> None:
        """Fit the rows to the width there is now: they may have been written while hidden."""
        if self._shown is not None:
            self.show(*self._shown)


class RunLine(Line):
    """The same in one line, for narrow terminals."""

    def show(self, snapshot: Snapshot, selection: Selection) -> None:
        """Show the runs of a snapshot; the selected one is never left out."""
        palette = fmt.palette_of(self.app)
        parts = []
        for index, view in enumerate(snapshot.runs):
            is_selected = view.run.path == selection.selected
            text = fmt.badge(palette, view, 2).append(" ")
            text.append(view.name, fmt.color(palette, view.style))
            text.append(f" {fmt.percent(fmt.fraction_of(view)).replace(' ', '')}", fmt.MUTED)
            if view.state != "running":
                text.append(" ").append_text(fmt.state_sign(view.state))
            if is_selected:
                text.stylize("reverse")
            parts.append(Segment(text, 0 if is_selected else 1 + index))
        self.say(parts)


class ChangeLine(Line):
    """The last change in one line."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the newest of the snapshot's changes."""
        rows = change_rows(fmt.palette_of(self.app), snapshot)
        self.set_class(not rows, "empty")
        if rows:
            self.say([Segment(rows[-1].text)], [Segment(Text(f"{len(rows)} changes", fmt.MUTED), 1)])


def run_row(palette: Palette, view: RunView, selection: Selection, width: int) -> Text:
    """One run in one line: whether marked or hidden, its line, its name, its state and how far it is."""
    mark = "◆" if view.run.path in selection.marked else " "
    text = Text(f"{mark} ").append_text(fmt.badge(palette, view)).append(" ")
    percent = fmt.percent(fmt.fraction_of(view)).replace(" ", "")
    progress = f"{fmt.short_count(view.step):>6} {percent:>4}"
    if view.state == "queued":
        progress = f"{'queued':>11}"
    name = fmt.fitted(view.name, max(4, width - 6 - 2 - len(progress)))
    hidden = view.run.path in selection.hidden
    text.append(name, "dim strike" if hidden else "").append_text(fmt.state_sign(view.state))
    return text.append(f" {progress}", fmt.MUTED)


def details(view: RunView) -> list[Text]:
    """What is known of the selected run."""
    fraction = fmt.fraction_of(view)
    head = fmt.state_word(view.state).append(f"  seed {view.seed}", fmt.MUTED)
    of = f" / {view.steps:,}" if view.steps else ""
    lines = [head, Text(f"{view.step:,}{of}").append(f"  {fmt.percent(fraction)}", fmt.MUTED)]
    lines.append(fmt.bar(fraction, DETAIL_WIDTH, "green" if view.state == "running" else ""))
    if view.state in ("running", "paused"):
        lines.append(fmt.pairs_of((("rate", fmt.rate(view.rate)), ("ETA", duration(view.eta_s)))))
    lines += [fmt.settings(view), *fmt.cadences(view, DETAIL_WIDTH)]
    if view.message:
        lines.append(Text(view.message, "yellow" if view.state in ("running", "stopped") else "red"))
    return lines


def change_rows(palette: Palette, snapshot: Snapshot) -> list[ListRow]:
    """Every change, once."""
    rows = []
    for request, views in fmt.changes(snapshot):
        style = fmt.color(palette, views[0].style) if len(views) == 1 else ""
        rows.append(ListRow(fmt.request_line(request, fmt.targets_text(views, len(snapshot.runs)), style)))
    return rows
