"""The page of a run's log: it follows, is searched, and reads long logs from the end."""

from __future__ import annotations

from pathlib import Path

from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from bntui.screens.log import TAIL
from bntui.widgets.listing import Listing
from explorer.factories import checked_text, drive, explorer, until


def logged(root: Path, *lines: str) -> SweepDir:
    """A sweep of two seeds, the first of which wrote these lines."""
    sweep = SweepDir(root / "made-001")
    runs = [made_run(sweep.path / f"a-s{seed}", events(3)) for seed in (0, 1)]
    write_sweep(sweep.path, ["a-s0", "a-s1"])
    runs[0].log_file.write_text("".join(f"{line}\n" for line in lines))
    runs[1].log_file.write_text("of the second seed\n")
    sweep.log_file.write_text("of the supervisor\n")
    return sweep


def test_the_log_follows_while_its_last_line_is_selected(tmp_path: Path) -> None:
    sweep = logged(tmp_path, *(f"line {n}" for n in range(100)))
    app = explorer(tmp_path, sweep)

    def write(text: str) -> None:
        with (sweep.path / "a-s0" / "log.txt").open("a") as log:
            log.write(text)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("9")
        await until(pilot, lambda: "line 99" in checked_text(app))
        assert "Log of made-001/a-s0" in checked_text(app)
        write("\x1b[31mred [bold]not bold[/]\n")
        await until(pilot, lambda: r"\x1b[31mred [bold]not bold[/]" in checked_text(app))
        await pilot.press("home")
        await until(pilot, lambda: "line 0 " in checked_text(app))
        listing = app.screen.query_one("#log", Listing)
        write("the newest\n")
        await until(pilot, lambda: any("the newest" in row.text.plain for row in listing.rows))
        assert "line 0 " in checked_text(app), "a person reads there"
        await pilot.press("end")
        await until(pilot, lambda: "the newest" in checked_text(app))

    drive(app, (120, 30), steps)


def test_a_log_is_searched_and_the_other_logs_of_a_group_come_by_a_key(tmp_path: Path) -> None:
    app = explorer(tmp_path, logged(tmp_path, "one fish", "two birds", "red fish"))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("9")
        await until(pilot, lambda: "two birds" in checked_text(app))
        await pilot.press("slash", *"fish")
        await until(pilot, lambda: "two birds" not in checked_text(app))
        assert "one fish" in checked_text(app)
        assert "red fish" in checked_text(app)
        await pilot.press(*"qq")
        await until(pilot, lambda: "nothing matches" in checked_text(app))
        await pilot.press("escape", "d")
        await until(pilot, lambda: "of the second seed" in checked_text(app))
        await pilot.press("d")
        await until(pilot, lambda: "of the supervisor" in checked_text(app))
        assert "made-001, supervisor" in checked_text(app)
        await pilot.press("d")
        await until(pilot, lambda: "two birds" in checked_text(app))

    drive(app, (100, 30), steps)


def test_a_long_log_is_read_from_its_end_and_further_on_request(tmp_path: Path) -> None:
    app = explorer(tmp_path, logged(tmp_path, *(f"{n} {'x' * 1000}" for n in range(2 * TAIL // 1000))))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("9")
        listing = app.screen.query_one("#log", Listing)
        await until(pilot, lambda: listing.rows and listing.rows[0].key == "earlier")
        few = len(listing.rows)
        await pilot.press("home", "enter")
        await until(pilot, lambda: len(listing.rows) > few)
        assert listing.rows[0].text.plain.startswith("0"), "all of it fits now"

    drive(app, (100, 30), steps)
