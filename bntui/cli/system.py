"""`schema`, `doctor` and `data fetch`: information about the program and the machine, and its data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bncore.config.experiment import schema as schemas
from bncore.data import DownloadError
from bncore.data import fetch as download
from bncore.data.cache import cache_dir
from bncore.launch.devices import cpu_count, gpu_count
from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import Json, NewRoot, default_root, fail, say
from bntui.cli.resolve import show_progress
from bntui.cli.tables import print_table
from bntui.version import version

data_app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)

_TORCH_REPORT = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({"torch": torch.__version__, "cpu capability": torch.backends.cpu.get_cpu_capability(),
    "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []}))
"""


@data_app.callback()
def _data() -> None:
    """Download data sets."""


def schema() -> None:
    """Print the JSON schema of experiment files and specs."""
    typer.echo(json.dumps(schemas(), indent=2))


def doctor(as_json: Json = False, root: NewRoot = None) -> None:
    """Report versions, devices, folders and data.

    Exit 1 if something required is missing."""
    torch_report = _torch_report()
    where = root or default_root()
    report: dict[str, object] = {
        "bnrun": version(),
        "python": sys.version.split()[0],
        **torch_report,
        "torchvision": metadata.version("torchvision") if find_spec("torchvision") else "MISSING",
        "processors": cpu_count(),
        "gpus seen by the driver": gpu_count(),
        "sweep root": f"{where.resolve()} ({_writable(where)})",
        **_cache_report(),
        "terminal": f"{os.environ.get('TERM', 'none')}, {shutil.get_terminal_size().columns} columns",
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        print_table(("what", "found"), [(key, str(value)) for key, value in report.items()])
    wrong = any("MISSING" in str(value) or "not writable" in str(value) for value in report.values())
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.OK)


@data_app.command("fetch")
def fetch(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Output directory.  [default: the cache]")
    ] = None,
) -> None:
    """Download CIFAR-10 unless it is present.

    $BNRUN_CIFAR10_URL names a mirror of the archive."""
    say("CIFAR-10: downloading unless it is present (170 MB)")
    try:
        typer.echo(str(download(data_dir, progress=show_progress)))
    except DownloadError as error:
        fail(str(error))


def _torch_report() -> dict[str, object]:
    """Inspect torch in a subprocess: this process must not import it."""
    done = subprocess.run([sys.executable, "-c", _TORCH_REPORT], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"torch": f"MISSING ({(done.stderr.strip().splitlines() or ['?'])[-1]})"}
    return dict(json.loads(done.stdout))


def _cache_report() -> dict[str, object]:
    cache = cache_dir()
    cifar = cache / "cifar-10-batches-py"
    return {
        "cache": f"{cache} ({_writable(cache)})",
        "CIFAR-10": "present" if cifar.is_dir() else "missing: `bnrun data fetch`, or --data-dir",
    }


def _writable(folder: Path) -> str:
    existing = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    return "writable" if os.access(existing, os.W_OK) and existing.is_dir() else "not writable"
