"""Sending proposals: request files into inboxes, and `bnrun` in a subprocess for actions that are not requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bncore.config.errors import SpecError, escape_control
from bncore.store.errors import StoreError
from bncore.store.requests import send_request
from bntui.live.snapshot import Snapshot
from bntui.steering.proposal import Proposal, propose

PATIENCE_S = 600.0
"""Timeout of `bnrun` in seconds: a preset may download its data before it is detached."""


def send(proposal: Proposal) -> list[str]:
    """Carry out a proposal and wait for its commands; return the problems, escaped."""
    problems = []
    for held, command in proposal.requests:
        try:
            send_request(held, command)
        except StoreError as error:
            problems.append(str(error))
    for line in proposal.commands:
        done = bnrun(*line)
        if done.returncode:
            problems.append(last_words(done))
    return problems


def start_preset(name: str, options: Sequence[str], root: Path) -> Path:
    """Start a preset in the background and return the directory of its sweep.

    Raises:
        StoreError: it was refused; the message is the one from `bnrun`.
    """
    done = bnrun("preset", name, "--headless", "--detach", "--json", "--root", str(root), *options)
    if done.returncode:
        raise StoreError(last_words(done))
    try:
        return Path(json.loads(done.stdout)["sweep"])
    except (ValueError, KeyError, TypeError) as error:  # as with --dry-run
        raise StoreError("nothing was started: these options only print something") from error


def stop_all(snapshot: Snapshot) -> list[str]:
    """Stop all working runs after a checkpoint and cancel queued ones; return the problems."""
    try:
        proposal = propose("stop", "", snapshot.runs, snapshot.sweeps, whole_sweep=True)
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return send(proposal)


def bnrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `bnrun` to its end, detached from the terminal."""
    command = [sys.executable, "-m", "bntui.cli.main", *arguments]
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {PATIENCE_S:.0f} s")


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed, in one line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip(" │╭╰─╮╯")]
    if not lines:
        return f"exit code {done.returncode}"
    return escape_control(lines[-1].strip("│ ").removeprefix("bnrun: "))
