"""The example that is steered: two processes, the second of which repeats what was done to the first."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bncore.store.commands import Checkpoint, Evaluate, Note, SetControls, read_controls
from bncore.store.journal import read_events
from bncore.store.paths import RunDir
from bncore.store.requests import send_request

REPOSITORY = Path(__file__).parent.parent.parent


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(REPOSITORY / "examples" / "steer_resnet.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_loop_steered_by_hand_is_repeated_to_the_digest_in_another_process(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "first")
    loop = start(tmp_path, "runs/first", "--steps", "200")
    while read_controls(run) is None:
        assert loop.poll() is None
        time.sleep(0.05)
    for changes in ({"lr": 0.01}, {"noise": True}, {"norm": "l1", "dropout": 0.3}):
        send_request(run, SetControls(changes=changes))
        time.sleep(0.3)
    for command in (Evaluate(), Checkpoint(), Note(text="changed")):
        send_request(run, command)
    assert loop.wait(120) == 0
    assert start(tmp_path, "runs/second", "--steps", "200", "--replay", "runs/first").wait(120) == 0
    first, second = (
        [
            {k: v for k, v in e.items() if k not in ("seq", "t")}
            for e in read_events(tmp_path / "runs" / name / "journal.jsonl")
        ]
        for name in ("first", "second")
    )
    assert first == second
    assert [e["outcome"] for e in first if e["type"] == "request"] == ["applied"] * 6
    assert start(tmp_path, "runs/third", "--steps", "200").wait(120) == 0
    assert (
        read_events(tmp_path / "runs" / "third" / "journal.jsonl")[-1]["params_sha256"]
        != first[-1]["params_sha256"]
    )
