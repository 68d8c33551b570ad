"""What all screens about runs share: the runs at the left, the heading, and steering."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from bntui.actions import EVERYWHERE, RUNS, bindings
from bntui.screens.page import Page
from bntui.widgets import formatting as fmt
from bntui.widgets.keys import KeyLine
from bntui.widgets.line import Line, Segment
from bntui.widgets.listing import Listing
from bntui.widgets.sidebar import ChangeLine, RunLine, Sidebar, moved, selected, targets
from bntui.widgets.steering_bar import SteeringBar

if TYPE_CHECKING:
    from bncore.follow.run_view import RunView
    from bntui.live.drawing import PanelState
    from bntui.live.snapshot import Snapshot
    from bntui.steering.proposal import Proposal

WIDE, HIGH = 110, 20
"""From here on there is room for the runs beside the charts."""
TABS = ("sweep", "layers", "activations", "theory", "compare", "journal", "spec")


class RunsPage(Page):
    """A screen about the runs that are watched."""

    DEFAULT_CSS = """
    RunsPage > Horizontal { height: 1fr; }
    RunsPage RunLine, RunsPage ChangeLine { display: none; }
    RunsPage.narrow RunLine, RunsPage.narrow ChangeLine { display: block; }
    RunsPage.narrow Sidebar, RunsPage ChangeLine.empty { display: none; }
    RunsPage #page { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(RUNS)
    SCOPES: ClassVar[tuple[str, ...]] = (RUNS, EVERYWHERE)
    TAB: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        yield Line(id="heading")
        yield RunLine(id="runline")
        with Horizontal():
            yield Sidebar()
            with Vertical(id="page"):
                yield from self.body()
        yield ChangeLine(id="changeline")
        yield SteeringBar()
        yield KeyLine()

    def body(self) -> Iterable[Widget]:
        return ()

    def show_again(self) -> None:
        size = self.app.size
        self.set_class(size.width < WIDE or size.height < HIGH, "narrow")
        super().show_again()

    def show(self, snapshot: Snapshot) -> None:
        choice = self.explorer.choice
        chosen = selected(snapshot, choice)
        choice.selected = chosen.run.path if chosen is not None else None
        self.query_one(Sidebar).show(snapshot, choice)
        self.query_one(RunLine).show(snapshot, choice)
        self.query_one(ChangeLine).show(snapshot)
        self.query_one(SteeringBar).update(snapshot)
        self.show_page(snapshot)
        self._warn(snapshot)

    def _warn(self, snapshot: Snapshot) -> None:
        """Say once of a probe that it does not work."""
        from bncore.store.problems import first_failures

        texts = [
            f"{view.name}: {failure}" for view in snapshot.runs for failure in first_failures(view.columns)
        ]
        new = [text for text in texts if text not in self.explorer.warned]
        self.explorer.warned.update(new)
        if new:
            self.notice("; ".join(new), "yellow")

    def show_page(self, snapshot: Snapshot) -> None:
        """Show what is this screen's own."""

    def chosen(self) -> RunView | None:
        """The selected run."""
        return None if self.snapshot is None else selected(self.snapshot, self.explorer.choice)

    def panel_state(self) -> PanelState:
        """What the person has chosen, as panels want it."""
        from bncore.report.paper import FOLDER
        from bntui.live.drawing import PanelState

        choice = self.explorer.choice
        figure = self.snapshot.sweeps[0].figure if self.snapshot and self.snapshot.sweeps else ""
        reference = FOLDER if choice.paper else None
        return PanelState(layer=choice.layer, step=choice.step, reference=reference, figure=figure)

    def heading(self) -> tuple[list[Segment], list[Segment]]:
        failure = self.explorer.failure
        if failure and self.snapshot is None:
            return [Segment(Text("bntui", fmt.MUTED), 8), Segment(Text(failure, "red"))], []
        return heading(self.snapshot, self.TAB, self.app.size.width, self.explorer.labels())

    def labels(self) -> dict[str, str]:
        return {
            "whole_sweep": f"whole sweep: {'on' if self.explorer.choice.whole else 'off'}",
            "steer('pause')": self.explorer.playback_label()
            or {"resume": "go on", "restart": "restart"}.get(self._pause_verb(), "pause"),
        }

    def _pause_verb(self) -> str:
        """What the key that pauses asks of the runs that are meant: whatever runs is paused first."""
        if self.snapshot is None:
            return "pause"
        states = {view.state for view in targets(self.snapshot, self.explorer.choice)}
        if "running" in states:
            return "pause"
        if "paused" in states:
            return "resume"
        return "restart" if states & {"stopped", "dead", "failed"} else "pause"

    def action_view(self, name: str) -> None:
        self.explorer.view(name)

    def go_back(self) -> None:
        if self.TAB == "sweep":
            self.explorer.go_home()
        else:
            self.explorer.view("sweep")

    def action_select(self, by: int) -> None:
        if self.snapshot is not None:
            choice = self.explorer.choice
            choice.selected = moved(self.snapshot.runs, choice.selected, by)
            self.show_again()

    def action_mark(self) -> None:
        self._toggle(self.explorer.choice.marked)

    def action_hide(self) -> None:
        self._toggle(self.explorer.choice.hidden)

    def action_whole_sweep(self) -> None:
        self.explorer.choice.whole = not self.explorer.choice.whole
        self.show_again()

    def action_layer(self, by: int) -> None:
        from bncore.store.measured import layers_of
        from bntui.live.drawing import chosen_layer
        from bntui.live.layers import INSTRUMENTS

        if self.snapshot is None:
            return
        measures = list(INSTRUMENTS.values())
        runs = self.snapshot.runs
        numbers = {n for view in runs for measure in measures for n in layers_of(view.columns, measure)}
        now = self.explorer.choice.layer
        if now is None:
            middles = [chosen_layer(runs, measure, self.panel_state()) for measure in measures]
            now = next((middle for middle in middles if middle is not None), None)
        if numbers and now is not None:
            self.explorer.choice.layer = min(max(numbers), max(min(numbers), now + by))
            self.show_again()

    def action_steer(self, verb: str) -> None:
        why_not = self.explorer.cannot_steer()
        if verb == "pause" and self.explorer.toggle_playback():
            return
        if why_not:
            self.notice(why_not, "yellow")
            return
        view = self.chosen()
        if view is None or self.snapshot is None:
            return
        if verb == "pause":
            verb = self._pause_verb()
        self.query_one(SteeringBar).open(verb, self.snapshot, self.explorer.choice)

    @on(SteeringBar.Confirmed)
    def _send(self, event: SteeringBar.Confirmed) -> None:
        self._sending(event.proposal)

    @on(SteeringBar.Left)
    def _strip_left(self) -> None:
        self.focus_page()
        self.show_again()

    def focus_page(self) -> None:
        """Give the focus back to what is shown."""
        self.set_focus(None)

    @on(Listing.Moved, "#runs")
    def _run_clicked(self, event: Listing.Moved) -> None:
        self.explorer.choice.selected = Path(event.key)
        self.show_again()

    @work(thread=True, group="sending")
    def _sending(self, proposal: Proposal) -> None:
        from bntui.steering.send import send

        waiting = "working on" if proposal.commands else "sending"
        names = fmt.targets_text(proposal.asked, len(self.snapshot.runs) if self.snapshot else 0)
        self.app.call_from_thread(self.notice, f"{waiting}: {proposal.sentence} to {names}")
        sent = send(proposal)
        self.explorer.wake()
        said = "; ".join(sent.problems) or f"sent: {proposal.sentence} to {names}"
        self.app.call_from_thread(self.notice, said, "red" if sent.problems else "green")

    def _toggle(self, paths: set[Path]) -> None:
        path = self.explorer.choice.selected
        if path is not None:
            paths.symmetric_difference_update({path})
            self.show_again()


def heading(
    snapshot: Snapshot | None, tab: str, width: int, labels: list[str]
) -> tuple[list[Segment], list[Segment]]:
    """Where one is, and how far everything is."""
    left = [Segment(Text("bntui", fmt.MUTED), 8)]
    if snapshot is None:
        return [*left, Segment(Text("opening …"))], []
    left += _names(snapshot)
    left += _tabs(tab, width)
    from bntui.live.snapshot import on_synthetic_images

    said = [*labels, "synthetic images"] if on_synthetic_images(snapshot.runs) else labels
    right = [Segment(Text(label, "bold yellow"), 1) for label in said]
    if snapshot.problem:
        right.append(Segment(Text(snapshot.problem, "red"), 2))
    return left, right + _progress(snapshot)


def _names(snapshot: Snapshot) -> list[Segment]:
    if len(snapshot.sweeps) != 1:
        return [Segment(Text(f"{len(snapshot.sweeps)} sweeps", fmt.STRONG), 2)]
    sweep = snapshot.sweeps[0]
    parts = [Segment(Text(sweep.name, fmt.STRONG), 2)]
    return parts + ([Segment(Text(f"Fig {sweep.figure}", fmt.MUTED), 6)] if sweep.figure else [])


def _tabs(tab: str, width: int) -> list[Segment]:
    if width < 130:
        number = TABS.index(tab) + 1 if tab in TABS else ""
        return [Segment(Text(f"{number} {tab}", "reverse"), 3)]
    text = Text()
    for number, name in enumerate(TABS, 1):
        text.append(" " if text else "").append(f" {number} {name} ", "reverse" if name == tab else fmt.MUTED)
    return [Segment(text, 4)]


def _progress(snapshot: Snapshot) -> list[Segment]:
    runs = snapshot.runs
    if not runs:
        return [Segment(Text("no runs", fmt.MUTED))]
    state = _state_of_all({view.state for view in runs})
    sign, style = fmt.STATES[state]
    parts = [Segment(Text(f"{sign} {'live' if state == 'running' else state}", style), 1)]
    there = [view for view in runs if view.state != "gone"]
    total = sum(view.steps for view in there)
    done = sum(min(view.step, view.steps) for view in there)
    etas = [view.eta_s for view in runs if view.state == "running" and view.eta_s is not None]
    queued, gone = (sum(view.state == one for view in runs) for one in ("queued", "gone"))
    if total:
        parts.append(Segment(Text(f"{done:,} / {total:,}", fmt.MUTED), 7))
        parts.append(Segment(Text(fmt.percent(done / total)), 0))
    if etas:
        parts.append(Segment(Text(f"ETA {fmt.duration(max(etas))}"), 3))
    if queued:
        parts.append(Segment(Text(f"{queued} queued", fmt.MUTED), 5))
    if gone and there:
        parts.append(Segment(Text(f"{gone} gone", "red"), 2))
    devices = {view.spec.device for view in there if view.spec}
    return parts + ([Segment(Text(devices.pop(), fmt.MUTED), 6)] if len(devices) == 1 else [])


def _state_of_all(states: set[str]) -> str:
    """The state that several runs are in together: that of the one with which most is still to happen."""
    order = ("running", "paused", "queued", "dead", "failed", "stopped", "finished", "diverged", "unknown")
    first = next((state for state in order if state in states), "gone")
    return "finished" if first == "diverged" else first
