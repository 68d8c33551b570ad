"""Decisions made once, at submission: profile, device, threads, and source of the images."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from typing import NoReturn

import typer

from bncore.config.errors import Problem, SpecError
from bncore.config.experiment import ProfileName
from bncore.config.model import VGG, VGG_SIDE, ImageData
from bncore.config.plan import Plan
from bncore.config.single_value import single_value_conflicts
from bncore.data import describe_source, resolve_source
from bncore.launch.devices import gpu_count, share_of_threads
from bntui.cli.options import refuse, say


def choose_profile(name: str, device: str | None, *, gpus: bool | None = None) -> ProfileName:
    """The profile by its name; `auto` is paper if the runs have a GPU, else cpu.

    Arguments:
        gpus: whether there are GPUs where the runs will execute; default: as on this host.

    Raises:
        SpecError: there is no such profile.
    """
    match name:
        case "auto":
            return "paper" if device != "cpu" and _has_gpus(gpus) else "cpu"
        case "paper" | "cpu":
            return name
    raise SpecError([Problem("--profile", "", name, "auto, paper or cpu")])


def resolve_plan(planned: Plan, *, gpus: bool | None = None, threads: int | None = None) -> Plan:
    """The fully resolved plan; images are found, downloaded or generated here, once for all runs.

    Arguments:
        gpus: whether there are GPUs where the runs will execute; default: as on this host.
        threads: threads of a run that does not set them; default: its share of this host's processors.

    Raises:
        DataError: the images are not available.
        SpecError: the runs need images from different sources.
    """
    device = "cuda" if _has_gpus(gpus) else "cpu"
    if gpus is None:
        check_devices(planned)
    images = _images(planned)
    threads = threads or share_of_threads(len(planned.runs))
    if images is None:
        return planned.resolved(data=None, device=device, threads=threads)

    side = VGG_SIDE if any(isinstance(run.spec.net, VGG) for run in planned.runs) else None
    resolved = resolve_source(images, show_progress, side=side)
    if resolved.warning:
        typer.secho(f"WARNING: {resolved.warning}", fg="yellow", bold=True, err=True)
    say(f"data: {resolved.title}")
    _check_fit(planned, resolved.samples, resolved.outputs)
    return planned.resolved(data=resolved.data, device=device, threads=threads)


def check_devices(planned: Plan) -> None:
    """Refuse GPUs that this host does not have.

    Raises:
        SpecError: names the field and the available devices.
    """
    for run in planned.runs:
        check_device(run.spec.device, planned.experiment.name, "device")


def check_device(device: str, source: str, field: str = "") -> None:
    """Refuse a GPU that this host does not have.

    Arguments:
        source, field: origin of the value, for the error message.

    Raises:
        SpecError: names the field and the available devices.
    """
    there = gpu_count()
    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= there:
        accepted = f"cpu, cuda or cuda:<index below {there}>" if there else "cpu: there is no GPU here"
        raise SpecError([Problem(source, field, device, accepted)])


def _check_fit(planned: Plan, samples: int, outputs: int) -> None:
    """Refuse what does not fit the numbers of training images and classes: batches of more images than there are,
    and statistics over a single value.

    Raises:
        SpecError: names the field and what is accepted.
    """
    for run in planned.runs:
        size, images = run.spec.batch_size, isinstance(run.spec.data, ImageData)
        if images and size != "full" and size > samples:
            accepted = f"'full' or at most {samples}, the training images"
            raise SpecError([Problem(planned.experiment.name, "batch_size", size, accepted)])
        conflicts = single_value_conflicts(run.spec, samples=samples, outputs=outputs if images else None)
        problems = [Problem(planned.experiment.name, *conflict) for conflict in conflicts]
        if problems:
            raise SpecError(problems)


def _has_gpus(has_gpus: bool | None) -> bool:
    return gpu_count() > 0 if has_gpus is None else has_gpus


def describe_data(planned: Plan) -> str:
    """Description of where the plan's images would come from; nothing is read or downloaded.

    Raises:
        DataError: the named folder contains no images.
    """
    images = _images(planned)
    return "Gaussian regression" if images is None else describe_source(images)


def _images(planned: Plan) -> ImageData | None:
    """Image data requested by the runs; None if none reads images.

    Raises:
        SpecError: the runs request different images.
    """
    images = {run.spec.data.model_copy(update={"augment": False}) for run in planned.runs if
             isinstance(run.spec.data, ImageData)}  # fmt: skip
    if len(images) > 1:
        sources = sorted(f"{data.source} {data.path or ''}".strip() for data in images)
        raise SpecError(
            [Problem(planned.experiment.name, "data", sources, "one source of images for a sweep")]
        )
    return next(iter(images), None)


def show_progress(what: str, done: int, total: int) -> None:
    """Show progress: a changing line on a terminal, elsewhere one line at the end."""
    if sys.stderr.isatty():
        typer.echo(f"\r{what}: {done:,} of {total:,}", err=True, nl=done == total)
    elif done == total:
        say(f"{what}: {total:,}")


MOST = 10_000
"""Maximum number of seeds per sweep, in case a range is mistyped."""
_PART = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?")


def parse_seeds(text: str) -> tuple[int, ...]:
    """``0,2-4`` as ``(0, 2, 3, 4)``: numbers and ranges, both ends included.

    Raises:
        BadParameter: the text is invalid, a range descends, a seed is repeated, or there are too many seeds.
    """
    parts = [_range(text, part) for part in text.split(",")]
    if sum(last - first + 1 for first, last in parts) > MOST:
        _refuse(text, f"more than {MOST:,} seeds")
    seeds = tuple(seed for first, last in parts for seed in range(first, last + 1))
    for one, following in pairwise(sorted(seeds)):
        if one == following:
            _refuse(text, f"{one} twice")
    return seeds


def _range(text: str, part: str) -> tuple[int, int]:
    match = _PART.fullmatch(part)
    if match is None:
        _refuse(text, f"{part!r} is neither" if part.strip() else "nothing beside a comma")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        _refuse(text, f"{part.strip()} descends")
    return first, last


def _refuse(text: str, why: str) -> NoReturn:
    expected = "expected integers >= 0 or ascending ranges, each seed once, such as 0,2-4"
    refuse("--seeds", f"{text!r} ({why}); {expected}")
