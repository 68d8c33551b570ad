"""`theory`: checks the paper's theorems on small networks."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bntui.cli.options import Json, refuse
from bntui.cli.tables import print_table

if TYPE_CHECKING:
    from bncore.probes.theory.table import TheoryRow


def theory(
    as_json: Json = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of weights and data.")] = 0,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Training steps before the state `trained`.")
    ] = 50,
) -> None:
    """Check the paper's theorems on small networks.

    Theorems 4.1, 4.2, 4.4 and Lemma 4.5, on random and trained networks, in float32 and float64."""
    if seed >= 2**63:
        refuse("--seed", f"{seed}; expected at most {2**63 - 1}")
    _show_progress("importing torch", 0, 0)
    from bncore.probes.theory.table import theory_table  # noqa: PLC0415 - torch

    rows = theory_table(seed=seed, steps=steps, on_progress=_show_progress)
    _show_progress("", 0, 0)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    header = ("statement", "", "network", "state", "holds on", "error float32", "error float64")
    print_table(header, [_cells(row) for row in rows])
    typer.echo(
        "= : |left - right| / left, largest over the layers.   <= : by how much left exceeds right, over left.\n"
        "As printed, Theorem 4.1 has 1/sqrt(m) where its proof gives 1/m; Theorem 4.4 is taken as its proof "
        "has it.\nThat Lemma 4.5's point is an optimum fails on a network of one neuron "
        "(after arXiv 2502.17913)."
    )


def _show_progress(part: str, done: int, of: int) -> None:
    """Report progress on standard error: in one changing line on a terminal, else in separate lines."""
    text = f"theory: {part} ({done} of {of} done)" if of else f"theory: {part}"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text if part else '':<70.70}" + ("" if part else "\r"))
    elif part:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _cells(row: TheoryRow) -> tuple[str, ...]:
    true = row.checked - row.failed
    return (
        row.statement,
        row.relation,
        row.network,
        row.state,
        f"{true} of {row.checked}",
        f"{row.error32:.1e}",
        f"{row.error64:.1e}",
    )
