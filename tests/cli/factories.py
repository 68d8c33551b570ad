"""Running `bnrun` as a person does: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TINY = """
title = "tiny"
[spec]
steps = 12
batch_size = "full"
precision = "float64"
threads = 1
log_every = 1
data = { source = "gaussian", samples = 30, features = 3 }
net = { kind = "dln", depth = 3, width = 3 }
loss = { kind = "squared_error", reduction = "half_sum" }
optim.lr = 1e-3
eval.every = 5
[[axes]]
path = "norm.kind"
values = ["none", "batch"]
"""


def bnrun(*arguments: str | bytes | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `cwd`, its streams captured."""
    return subprocess.run(
        [sys.executable, "-m", "bntui.cli.main", *(a if isinstance(a, bytes) else str(a) for a in arguments)],
        cwd=cwd,
        env=clean_environment(cwd, **environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def clean_environment(cwd: Path, **environment: str) -> dict[str, str]:
    """The environment, with the package found and a cache and root of the test's own."""
    package = str(Path(__file__).parents[2])
    mine = {"BNRUN_CACHE": str(cwd / "cache"), "BNRUN_ROOT": str(cwd / "runs"), "COLUMNS": "100"}
    return {**os.environ, "PYTHONPATH": package, **mine, **environment}


def tiny_experiment(folder: Path, text: str = TINY) -> Path:
    """An experiment of two runs that take no time."""
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
