"""Slurm options for the runs of a sweep, read from flags and a TOML file, and validated."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bncore.config.errors import Problem, SpecError, did_you_mean
from bncore.config.parse import read_table

GRANULARITY_S = 60
"""Seconds by which Slurm may send its notice of the time limit earlier than requested."""


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """Options of the array's tasks; empty means Slurm's own default."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    """Time limit of one task, between two requeues."""
    gpus: str = ""
    """GPUs of each task, such as 1 or a100:1."""
    memory: str = ""
    constraint: str = ""
    notice: int = 120
    """Seconds before the time limit at which a task writes a checkpoint and is requeued."""
    setup: str = ""
    """Shell lines to execute before the worker."""


_NAME = re.compile(r"[\w.@+-]+(,[\w.@+-]+)*")
_PATTERNS: dict[str, tuple[re.Pattern[str], str]] = {
    "partition": (_NAME, "a name, such as gpu, or several with commas between"),
    "account": (_NAME, "a name"),
    "qos": (_NAME, "a name"),
    "time": (
        re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}"),
        "minutes, [hours:]minutes:seconds or days-hours[:minutes[:seconds]]",
    ),
    "gpus": (re.compile(r"([\w.-]+:)?[1-9]\d*"), "a number, or type:number such as a100:1"),
    "memory": (re.compile(r"[1-9]\d*[KMGT]?"), "megabytes, or a size such as 16G"),
    "constraint": (re.compile(r"[\w.&|*()\[\]!,:=+-]+"), "features of nodes, such as a100|h100"),
}
NAMES = tuple(field.name for field in fields(SlurmOptions))


def slurm_options(
    flags: Mapping[str, str | int | None],
    *,
    config: Path | None = None,
    setup: Path | None = None,
    base: SlurmOptions | None = None,
) -> SlurmOptions:
    """Combine the options of a TOML file with those of flags, which take precedence, and validate them.

    Arguments:
        flags: value of each flag by option name; None if not given.
        config: TOML file with the same names.
        setup: file with shell lines.
        base: options that apply if neither specifies them; default: `SlurmOptions()`.

    Raises:
        SpecError: lists every problem with its flag or its file and field, the value, and what is accepted.
    """
    given_by: dict[str, tuple[str, str, Any]] = {}  # by option: file or flag, field, value
    for name, value in (read_table(config) if config else {}).items():
        given_by[name] = (str(config), name, value)
    for name, value in flags.items():
        if value is not None:
            given_by[name] = (f"--slurm-{name}", "", value)
    if setup is not None:
        given_by["setup"] = ("--slurm-setup", str(setup), _lines_of(setup))
    problems = [problem for name, where in given_by.items() for problem in _wrong(name, *where)]
    if problems:
        raise SpecError(problems)
    before = {name: getattr(base or SlurmOptions(), name) for name in NAMES}
    given = {name: value if name == "notice" else str(value) for name, (*_, value) in given_by.items()}
    options = SlurmOptions(**before | given)
    _check_together(options, *given_by.get("time", given_by.get("notice", ("slurm.json", "time", ""))))
    return options


def seconds(time: str) -> int:
    """Parse a time limit in Slurm's notation into seconds."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, secs = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, secs = parts
    else:  # minutes[:seconds]
        hours, (minutes, secs) = 0, (*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + secs


def _lines_of(setup: Path) -> str:
    try:
        return setup.read_text()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        message = f"not UTF-8: {error}"
    raise SpecError([Problem("--slurm-setup", str(setup), message=message)])


def _wrong(name: str, file: str, field: str, value: object) -> Iterator[Problem]:
    if name not in NAMES:
        expected = ", ".join(NAMES)
        yield Problem(file, field, message=f"no such option{did_you_mean(name, NAMES)}", accepted=expected)
    elif name == "setup":
        yield from _wrong_setup(file, field, value)
    elif name == "notice":
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
            yield Problem(file, field, value, "seconds, from 1 to 65535")
    else:
        pattern, accepted = _PATTERNS[name]
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
        if text is None or not pattern.fullmatch(text):
            yield Problem(file, field, value, accepted)


def _wrong_setup(file: str, field: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, str) or "\0" in value:
        yield Problem(file, field, value, "shell lines")
        return
    if field == "setup" and re.fullmatch(r"[\w./-]{1,200}", value) and Path(value).is_file():
        yield Problem(file, field, value, "shell lines, not the name of a file, which --slurm-setup takes")
    late = next((line for line in value.splitlines() if line.startswith("#SBATCH")), None)
    if late is not None:
        yield Problem(file, field, late, "shell lines; options of Slurm are given as --slurm-... or in TOML")
    checked = subprocess.run(["bash", "-n"], input=value, capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        yield Problem(file, field, message=f"not bash: {checked.stderr.strip()}", accepted="shell lines")


def _check_together(options: SlurmOptions, file: str, field: str, value: object) -> None:
    """Refuse a time limit so short that tasks get their notice at the start and would be requeued forever."""
    least = options.notice + GRANULARITY_S
    if options.time and seconds(options.time) <= least:
        accepted = f"a time limit longer than {least} s: the notice of {options.notice} s and a minute"
        raise SpecError([Problem(file, field, value, accepted)])
