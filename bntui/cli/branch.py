"""`fork` and `replay`: new runs from old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bncore.config.change import parse_changes
from bncore.follow.run_view import view_runs
from bncore.launch.devices import cpu_count
from bncore.store.branch import fork as branch
from bncore.store.branch import replay as make
from bncore.store.find import find
from bncore.store.status import LIVE
from bntui.cli.exit_codes import ExitCode
from bntui.cli.keep import report_agreement
from bntui.cli.options import Root, Run, default_root, fail, refuse, say
from bntui.cli.select_runs import runs_of
from bntui.cli.submit import Detach, Jobs, run_to_end, start_detached

At = Annotated[
    int | None,
    typer.Option(
        "--at",
        min=0,
        help="Step of the change.  [default: a live run's current step, else the newest checkpoint]",
    ),
]
Changes = Annotated[
    list[str] | None, typer.Argument(metavar="path=value...", help="norm=l2 noise=on lr=0.05 ...")
]


def fork(
    name: Run,
    changes: Changes = None,
    at: At = None,
    follow: Annotated[bool, typer.Option("--follow", help="Also apply RUN's later requests.")] = False,
    detached: Detach = False,
    root: Root = None,
) -> None:
    """Start a new run from a step of RUN, with changes.

    Up to that step it is identical to RUN."""
    from bncore.train.checkpoint import usable  # noqa: PLC0415 - torch

    parsed = parse_changes(changes or [], "fork")
    (overview, *others) = view_runs(runs_of(find(root or default_root(), name)))
    if others:
        refuse("RUN", f"{name!r} is a sweep; expected one run of it")
    if at is None and overview.state in LIVE and overview.status is not None:
        at = overview.status.step
    run = branch(overview.run, at=at, changes=parsed, follow=follow, usable=usable)
    say(f"{run.name}: fork of {overview.run.name}")
    if detached:
        start_detached(run.sweep, [run], jobs=1)
        typer.echo(str(run.path))
        return
    raise typer.Exit(run_to_end(run.sweep, [run], jobs=1))


def replay(
    name: Run,
    out: Annotated[
        Path | None, typer.Option("--out", help="Sweep directory.  [default: <sweep>-replay-<n>]")
    ] = None,
    jobs: Jobs = None,
    root: Root = None,
) -> None:
    """Run again from the journal and compare the results.

    Requests are applied at their steps; exit 1 if the digest or an event differs."""
    from bncore.train.checkpoint import usable  # noqa: PLC0415 - torch

    seen = view_runs(runs_of(find(root or default_root(), name)))
    live = [o.run.name for o in seen if o.state in LIVE]
    if live:
        fail(f"{', '.join(live)}: still running; `bnrun stop` it first", ExitCode.USAGE)
    originals = [o.run for o in seen if o.run.journal_file.exists()]
    for overview in seen:
        if overview.run not in originals and len(seen) > 1:
            say(f"{overview.run.name}: never started; skipped")
    sweep = make(originals or [seen[0].run], out=out, usable=usable)
    say(f"replaying into {sweep.path}")
    replays = sweep.runs()
    code = run_to_end(sweep, replays, jobs=jobs or max(1, min(len(replays), cpu_count())))
    if code not in (ExitCode.OK, ExitCode.FAILED, ExitCode.SOME_FAILED):
        raise typer.Exit(code)
    same = [
        report_agreement(original, replayed) for original, replayed in zip(originals, replays, strict=True)
    ]
    raise typer.Exit(ExitCode.OK if all(same) else ExitCode.FAILED)
