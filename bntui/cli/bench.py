"""`bench`: side-by-side measurements on this machine."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bntui.cli.options import Json
from bntui.cli.resolve import check_device

if TYPE_CHECKING:
    from bncore.bench.measure import Row

bench_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Interleaved repeats; medians are printed.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:<index>.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.  [default: all]")]


NETWORKS = ("vgg11", "vgg16", "dln")
Nets = Annotated[
    list[str] | None, typer.Option("--net", help="vgg11, vgg16 or dln; repeatable.  [default: all]")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(bench_app, name="bench", help="Side-by-side measurements on this machine.")


@bench_app.command("train")
def train(
    net: Nets = None,
    repeats: Repeats = 7,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """The training loop here against a hand-written PyTorch loop."""
    kinds = _kinds(net)
    _check(device)

    def rows() -> Iterator[Row]:
        from bncore.bench.train import bench_train

        return bench_train(kinds, repeats=repeats, device=device)

    _print(rows, threads, as_json)


@bench_app.command("ics")
def ics(
    net: Nets = None,
    repeats: Repeats = 5,
    device: Device = "cpu",
    threads: Threads = None,
    naive: Annotated[bool, typer.Option(help="Time the definition taken literally, too.")] = True,
    as_json: Json = False,
) -> None:
    """ICS of all layers, in training steps, beside the definition taken literally."""
    kinds = _kinds(net)
    _check(device)

    def rows() -> Iterator[Row]:
        from bncore.bench.probes import bench_ics

        return bench_ics(kinds, repeats=repeats, device=device, naive=naive)

    _print(rows, threads, as_json)


@bench_app.command("landscape")
def landscape(
    net: Nets = None,
    repeats: Repeats = 5,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Four multiples of the landscape, in training steps."""
    kinds = _kinds(net)
    _check(device)

    def rows() -> Iterator[Row]:
        from bncore.bench.probes import bench_landscape

        return bench_landscape(kinds, repeats=repeats, device=device)

    _print(rows, threads, as_json)


@bench_app.command("journal")
def journal(
    events: Annotated[int, typer.Option("--events", min=1)] = 1_000_000, as_json: Json = False
) -> None:
    """What an event costs to write and to read, and what looking into the inbox costs training."""

    def rows() -> Iterator[Row]:
        from bncore.bench.journal import bench_journal
        from bncore.bench.train import bench_polling

        yield from bench_journal(events)
        yield from bench_polling()

    _print(rows, None, as_json)


@bench_app.command("ui")
def ui(as_json: Json = False) -> None:
    """The explorer in a real terminal: drawing, bytes, keys, start, memory, and what it costs training."""

    def rows() -> Iterator[Row]:
        from bntui.bench.ui import Sizes, bench_ui

        return bench_ui(Sizes())

    _print(rows, None, as_json)


def _kinds(nets: list[str] | None) -> tuple[str, ...]:
    wrong = [net for net in nets or () if net not in NETWORKS]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r}; expected one of {', '.join(NETWORKS)}", param_hint="--net")
    return tuple(nets or NETWORKS)


def _check(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise typer.BadParameter(f"{device!r}; expected cpu, cuda or cuda:<index>", param_hint="--device")
    check_device(device, "--device")


def _print(rows: Callable[[], Iterator[Row]], threads: int | None, as_json: bool) -> None:
    """Print each row as it comes: a bench takes minutes."""
    for name, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
        os.environ.setdefault(name, level)  # torch's profiler, which counts memory, talks between the rows
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows()], indent=2))
        return
    typer.echo(f"# torch {torch.__version__}, {torch.get_num_threads()} threads")
    typer.echo(f"{'what':<48} {'ours':>10} {'theirs':>10} {'ratio':>7}  bar")
    for row in rows():
        theirs = "-" if math.isnan(row.theirs) else f"{row.theirs:.4g}"
        ratio = "-" if math.isnan(row.ratio) else f"{row.ratio:.3f}"
        typer.echo(f"{row.what:<48} {row.ours:>7.4g} {row.unit:<2} {theirs:>10} {ratio:>7}  {row.target}")
