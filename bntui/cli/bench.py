"""`bench`: side-by-side measurements on this machine."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from bntui.cli.options import Json, complete_preset, counted, fail, refuse, say
from bntui.cli.resolve import check_device, resolve_plan
from bntui.cli.submit import DataDir, Profile, Sets, planned_runs
from bntui.cli.submit import Device as AnyDevice

if TYPE_CHECKING:
    from bncore.bench.timing import Row


bench_app = typer.Typer(
    help="Measure speed and memory on this machine.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Interleaved repeats; medians are printed.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:<index>.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.  [default: all]")]


NETWORKS = ("vgg11", "vgg16", "dln")
Nets = Annotated[
    list[str] | None, typer.Option("--net", help="vgg11, vgg16 or dln; repeatable.  [default: all]")
]


@bench_app.command("train")
def train(
    net: Nets = None,
    repeats: Repeats = 7,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Compare the training loop with a plain PyTorch loop."""
    kinds = _networks(net, device)
    heading = _set_up_torch(threads)
    from bncore.bench.train import bench_train  # noqa: PLC0415 - torch

    _print(bench_train(kinds, repeats=repeats, device=device), as_json, heading)


@bench_app.command("ics")
def ics(
    net: Nets = None,
    repeats: Repeats = 5,
    device: Device = "cpu",
    threads: Threads = None,
    naive: Annotated[bool, typer.Option(help="Also time the literal definition.")] = True,
    as_json: Json = False,
) -> None:
    """Measure ICS of all layers, in training steps.

    The literal definition is timed beside it."""
    kinds = _networks(net, device)
    heading = _set_up_torch(threads)
    from bncore.bench.probes import bench_ics  # noqa: PLC0415 - torch

    _print(bench_ics(kinds, repeats=repeats, device=device, naive=naive), as_json, heading)


@bench_app.command("landscape")
def landscape(
    net: Nets = None,
    repeats: Repeats = 5,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure the landscape at four step sizes, in training steps."""
    kinds = _networks(net, device)
    heading = _set_up_torch(threads)
    from bncore.bench.probes import bench_landscape  # noqa: PLC0415 - torch

    _print(bench_landscape(kinds, repeats=repeats, device=device), as_json, heading)


@bench_app.command("observe")
def observe(
    repeats: Repeats = 7, device: Device = "cpu", threads: Threads = None, as_json: Json = False
) -> None:
    """Compare an observed loop with the same loop alone."""
    _networks(None, device)
    heading = _set_up_torch(threads)
    from bncore.bench.observe import bench_observe  # noqa: PLC0415 - torch

    _print(bench_observe(repeats=repeats, device=device), as_json, heading)


@bench_app.command("journal")
def journal(
    events: Annotated[int, typer.Option("--events", min=1)] = 1_000_000, as_json: Json = False
) -> None:
    """Measure journaling, inbox polling, recording the machine."""
    heading = _set_up_torch()
    from bncore.bench.journal_cost import bench_journal  # noqa: PLC0415 - torch
    from bncore.bench.train import bench_polling, bench_recording  # noqa: PLC0415 - torch

    _print(chain(bench_journal(events), bench_polling(), bench_recording()), as_json, heading)


@bench_app.command("jobs")
def jobs(
    experiment: Annotated[
        str, typer.Argument(metavar="NAME|FILE.toml", autocompletion=complete_preset)
    ] = "vgg_noisy",
    most: Annotated[
        int, typer.Option("--most", min=1, max=1024, help="Maximum number of concurrent runs.")
    ] = 32,
    least_seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, max=3600.0, help="Seconds to measure each number of runs.")
    ] = 20.0,
    device: AnyDevice = None,
    sets: Sets = None,
    profile: Profile = "auto",
    data_dir: DataDir = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Run to measure, such as batch-s0.  [default: the first]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the best number of concurrent runs, for --jobs."""
    planned = planned_runs(experiment, profile=profile, sets=sets, device=device, data_dir=data_dir)
    names = [one.name for one in planned.runs]
    if run not in (None, *names):
        refuse("--run", f"{run!r}; expected one of {', '.join(names)}")
    name = run or names[0]
    resolved = resolve_plan(planned)
    from bncore.bench.jobs import Interrupted, NotMeasured, bench_jobs  # noqa: PLC0415 - torch

    spec = resolved.runs[names.index(name)].spec
    heading = (
        f"# runs like {name} of {resolved.experiment.name}, profile {resolved.profile}, on {spec.device}"
    )
    heading += f", {counted(int(spec.threads), 'thread')} each: steps per second in total, and of one alone"

    try:
        rows = bench_jobs(resolved, name, most=most, at_least_s=least_seconds)
        _print(rows, as_json, heading, ("all", "alone"))
    except NotMeasured as error:
        fail(str(error))
    except Interrupted as error:
        say("bnrun: interrupted")
        raise typer.Exit(128 + error.number) from None


@bench_app.command("ui")
def ui(as_json: Json = False) -> None:
    """Measure the explorer in a real terminal.

    Drawing, bytes, keys, startup, memory, and its cost for training."""
    heading = _set_up_torch()
    from bntui.bench.ui import Sizes, bench_ui  # noqa: PLC0415 - torch

    _print(bench_ui(Sizes()), as_json, heading)


def _networks(nets: list[str] | None, device: str) -> tuple[str, ...]:
    """The networks to measure; unknown networks and devices are refused."""
    wrong = [net for net in nets or () if net not in NETWORKS]
    if wrong:
        refuse("--net", f"{wrong[0]!r}; expected one of {', '.join(NETWORKS)}")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        refuse("--device", f"{device!r}; expected cpu, cuda or cuda:<index>")
    check_device(device, "--device")
    return tuple(nets or NETWORKS)


def _set_up_torch(threads: int | None = None) -> str:
    """Import torch for measurements in this process; return the heading of their table."""
    for name, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
        os.environ.setdefault(name, level)  # torch's profiler, which counts memory, would print between rows
    import torch  # noqa: PLC0415 - takes seconds to import

    if threads is not None:
        torch.set_num_threads(threads)
    return f"# torch {torch.__version__}, {torch.get_num_threads()} threads"


def _print(
    rows: Iterable[Row], as_json: bool, heading: str, columns: tuple[str, str] = ("ours", "theirs")
) -> None:
    """Print each row as soon as it is measured: a benchmark takes minutes."""
    if as_json:
        typer.echo(json.dumps([_table(row) for row in rows], indent=2))
        return
    typer.echo(heading)
    typer.echo(f"{'what':<48} {columns[0]:>10} {columns[1]:>10} {'ratio':>7}  bar")
    for row in rows:
        ours, theirs, ratio = (
            "-" if math.isnan(number) else f"{number:{form}}"
            for number, form in ((row.ours, ".4g"), (row.theirs, ".4g"), (row.ratio, ".3f"))
        )
        typer.echo(f"{row.what:<48} {ours:>7} {row.unit:<2} {theirs:>10} {ratio:>7}  {row.target}".rstrip())


def _table(row: Row) -> dict[str, object]:
    """A row for JSON, which has no NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(row).items()
    }
