"""The blocks of a page of the documentation, as one script that a person could type, and what it should print.

- ```` ```console ````: lines after ``$ `` are commands (continued after a backslash), what follows is their output
  on both streams. ``...`` stands for any lines, ``[2]`` for that exit code. Numbers, digests, rules and widths of
  columns differ from machine to machine and are not compared.
- ```` ```python ````: a program of its own.
- ```` ```toml title="NAME" ````: a file of that name.
- ```` ```text ````: not executed.

A comment ``<!-- slow: why -->`` makes the whole page a slow test, ``<!-- slurm -->`` one that needs a cluster.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENTATION = Path(__file__).parent.parent.parent / "docs"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
VARIES = re.compile(r"0x\w+|[0-9a-f]{16,}|[-+−×]?\d[\d.,e+:/-]*|[─━│┃┏┓┗┛┡┩├┤┬┴┼┳╇└┘╭╮╰╯╞╪╡═|-]{1,}")
ANY = "..."
SALT = "end-of-command"


@dataclass(frozen=True)
class Command:
    """What is typed, and what should be seen."""

    text: str
    expected: tuple[str, ...] = ()
    exit_code: int = 0


def pages() -> list[Path]:
    """Those with something to execute."""
    return [page for page in sorted(DOCUMENTATION.rglob("*.md")) if any(commands(page))]


def has_mark(page: Path, mark: str) -> bool:
    return f"<!-- {mark}" in page.read_text()


def anchors(page: Path) -> set[str]:
    """Of its headings, as links name them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def commands(page: Path) -> Iterator[Command]:
    """All of a page, in order."""
    for language, title, body in FENCE.findall(page.read_text()):
        if language == "console":
            yield from _typed(body)
        elif language == "python":
            yield Command(f"python - <<'END_OF_BLOCK'\n{body}END_OF_BLOCK", (ANY,))
        elif title:
            yield Command(f"cat > {title} <<'END_OF_BLOCK'\n{body}END_OF_BLOCK")


def _typed(body: str) -> Iterator[Command]:
    for one in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        lines = one.rstrip("\n").split("\n")
        last = next(i for i, line in enumerate(lines) if not line.endswith("\\"))
        output, code = lines[last + 1 :], 0
        if output and (found := re.fullmatch(r"\[(\d+)\]", output[-1])):
            output, code = output[:-1], int(found[1])
        yield Command("\n".join(lines[: last + 1]), tuple(output), code)


def same(expected: tuple[str, ...], printed: str) -> bool:
    """Whether the output is the expected one, but for what varies."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANY else re.escape(stable(line)) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{stable(line)}\n" for line in printed.splitlines())) is not None


def stable(line: str) -> str:
    return " ".join(VARIES.sub("#", line).split())


def typed(found: list[Command], folder: Path, **environment: str) -> list[tuple[str, int]]:
    """Output and exit code of each, typed into one shell."""
    programs = folder / "bin"
    programs.mkdir()
    for name, module in (("bnrun", "bntui.cli.main"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {f"-m {module} " * bool(module)}"$@"\n')
        program.chmod(0o755)
    script = folder / "typed.sh"
    script.write_text("".join(f'{command.text}\necho "{SALT} $?"\n' for command in found))
    environment = {
        **os.environ,
        **environment,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    shell = subprocess.run(
        ["bash", script],
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    parts = re.split(rf"^{SALT} (\d+)\n", shell.stdout, flags=re.MULTILINE)
    return [(parts[i], int(parts[i + 1])) for i in range(0, len(parts) - 1, 2)]
