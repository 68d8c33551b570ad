"""Text from outside cannot steer the terminal (architecture.md, invariant 6): names, messages, titles, junk
in journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncore.config.experiment import Experiment
from bncore.config.model import Spec
from bncore.config.plan import Plan, PlannedRun
from bncore.follow.run_view import view_runs
from bncore.store.journal import Journal
from bncore.store.paths import RunDir
from bncore.store.status import Status, write_status
from bncore.store.sweep import create_sweep
from bntui.cli.progress import plain_line
from bntui.cli.show import plots
from bntui.live.sources import read_whole
from cli.factories import bnrun

EVIL = "\x1b]0;title\x07[bold]\x9b31m"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A root whose only sweep was made by somebody who means no good."""
    root = tmp_path / "runs"
    plan = Plan(Experiment(name="odd"), "cpu", (PlannedRun("none-s0", "none", 0, Spec()),), ())
    (run,) = create_sweep(plan, root=root).runs()
    write_status(run, Status("failed", message=EVIL))
    journal = Journal(run.journal_file)
    journal.append("start", 0, schema=1, title=EVIL, data=EVIL)
    journal.append("step", 0, loss=1.0)
    journal.close()
    with run.journal_file.open("ab") as file:
        file.write(EVIL.encode() + b"\n")
    run.log_file.write_text(EVIL)
    renamed = run.path.rename(run.path.with_name(f"run{EVIL}"))
    renamed.parent.joinpath("sweep.toml").write_text("")
    renamed.parent.rename(root / f"sweep{EVIL}")
    return root


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["show", "@last"],
        ["show", "@last", "--json"],
        ["show", "nothing"],
        ["watch", "@last", "--plain"],
        ["logs", "@last"],
        ["verify", "@last"],
        ["rm", "@last"],
        ["stop", "@last"],
        ["export", "@last", "--csv"],
    ],
    ids=" ".join,
)
def test_no_control_character_reaches_the_terminal(hostile: Path, arguments: list[str]) -> None:
    done = bnrun(*arguments, cwd=hostile.parent)
    said = done.stdout + done.stderr
    assert said
    assert "Traceback" not in said
    assert [c for c in said if not c.isprintable() and c != "\n"] == []


def test_pictures_and_lines_show_what_they_cannot_print(hostile: Path) -> None:
    (sweep,) = hostile.iterdir()
    (run,) = [p.parent for p in sweep.glob("*/spec.toml")]
    (overview,) = view_runs([RunDir(run)])
    assert plain_line(overview).isprintable()
    assert r"\x1b]0;title\x07" in "".join(plots(read_whole(overview.run)))
