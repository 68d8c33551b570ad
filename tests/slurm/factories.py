"""A Slurm that only says yes: its four commands as shell scripts that record their calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

SBATCH = 'echo "$*" >>{folder}/sbatch.txt\ncount=$(wc -l <{folder}/sbatch.txt)\necho $((6 + count))\n'
SQUEUE = "cat {folder}/queue.txt 2>/dev/null\nexit 0\n"
ASKED = 'echo "$*" >>{folder}/{name}.txt\n'
SCONTROL = ASKED + "case $1 in show) cat {folder}/job.txt 2>/dev/null;; esac\nexit 0\n"
COMMANDS = {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": ASKED, "scontrol": SCONTROL}


class FakeSlurm:
    """Commands on a PATH of their own.

    Arguments:
        folder: where they and the record of their calls lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name, text in COMMANDS.items():
            self.command(name, text)
        self.path = f"{folder}:{os.environ['PATH']}"

    def command(self, name: str, text: str) -> None:
        """Make one of the commands do this."""
        file = self.folder / name
        file.write_text("#!/bin/sh\n" + text.replace("{folder}", str(self.folder)).replace("{name}", name))
        file.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """The calls of a command, one per line."""
        file = self.folder / f"{name}.txt"
        return file.read_text().splitlines() if file.exists() else []

    def queue(self, *lines: str) -> None:
        """What squeue is to say: ``job|index|state|reason``."""
        (self.folder / "queue.txt").write_text("".join(f"{line}\n" for line in lines))


def without_slurm(folder: Path) -> str:
    """A PATH on which there is no Slurm, but bash and python."""
    folder.mkdir()
    for name in ("bash", "git"):
        for place in os.environ["PATH"].split(":"):
            if (Path(place) / name).exists():
                (folder / name).symlink_to(Path(place) / name)
                break
    (folder / "python").symlink_to(sys.executable)
    return str(folder)


def odd_names() -> Iterator[str]:
    """Names of directories that a careless script would fall over."""
    yield from ("a b", "$HOME", "`id`", "it's", 'say "x"', "#1", "100%A", "a;b&c|d", "*", "-s0", "(x)", "é")
