"""`log.txt`: what happened to a run, for people, line by line; written through at once."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from cli.factories import bnrun, tiny_experiment

from bncore.store import commands, requests
from bncore.store.journal import Journal
from bncore.store.log import LOGGER, EventLog
from bncore.store.paths import RunDir
from bncore.store.status import Status, write_status
from resume.factories import DEEP_LINEAR, digest, events, events_so_far, make_run, train

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} (INFO|WARNING) ")


def lines(text: str) -> list[str]:
    """The log without its times, every line of which has one."""
    found = text.splitlines()
    assert all(STAMP.match(line) for line in found), text
    return [STAMP.sub("", line) for line in found]


def test_a_healthy_run_tells_what_happened_to_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Set(changes={"optim.lr": 0.002}, at_step=12))
    requests.send_request(run, commands.Set(changes={"optim.lr": 0.003}, at_step=DEEP_LINEAR.steps + 9))
    assert train(run) == 0
    reported = lines(run.log_file.read_text())
    assert re.fullmatch(r"process \d+ on \S+, device cpu", reported[0])
    assert reported[1] == "started on Gaussian regression"
    steps = range(7, DEEP_LINEAR.steps + 1, 7)
    saved = [line for line in reported if "checkpoints/" in line]
    assert [line.split(":")[0] for line in saved[: len(steps)]] == [f"step {step}" for step in steps]
    assert any(re.match(r"step 12: request by .* applied: set ", line) for line in reported)
    assert any(
        re.search(r": request by .* rejected: set .*: the run has finished", line) for line in reported
    )
    assert reported[-1] == f"step {DEEP_LINEAR.steps}: finished, {digest(run)}"
    assert len(reported) < 20, "steps, evaluations and measurements are the journal's"


def test_what_was_logged_outlasts_a_kill_and_the_resumed_process_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    assert train(run, failpoint="journal.half:40") == -signal.SIGKILL
    before = run.log_file.read_text()
    kept = [e["path"] for e in events_so_far(run) if e["type"] == "checkpoint"]
    assert kept
    assert [path for path in kept if path not in before] == []
    assert train(run) == 0
    after = run.log_file.read_text()
    assert after.startswith(before)
    assert any(re.fullmatch(r"resumed at step \d+", line) for line in lines(after))


def test_what_others_wrote_cannot_steer_the_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Note(text="\x1b]0;title\x07\nroot: fine", at_step=3))
    assert train(run) == 0
    assert "\x1b" not in run.log_file.read_text()
    assert len(lines(run.log_file.read_text())) > 3


def test_logs_prints_it_and_failures_end_with_their_reason(tmp_path: Path) -> None:
    tiny_experiment(tmp_path)
    assert bnrun("run", "tiny.toml", "--headless", cwd=tmp_path).returncode == 0
    said = bnrun("logs", "tiny-001/none-s0", cwd=tmp_path).stdout
    assert "started: " in said
    assert "step 12: finished, " in said
    run = RunDir(tmp_path / "runs" / "tiny-001" / "none-s0")
    run.journal_file.write_text("no event\nno event\n")
    write_status(run, Status("stopped", 3, 12))
    failed = bnrun("resume", "tiny-001/none-s0", cwd=tmp_path)
    assert failed.returncode == 1
    assert "is no event" in failed.stderr
    assert "WARNING" not in failed.stderr, "the last line is the reason"


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("A VGG on CIFAR-10", "started: A VGG on CIFAR-10 on synthetic images"),
        ("A VGG on synthetic images", "started: A VGG on synthetic images"),
        ("", "started on synthetic images"),
    ],
)
def test_data_that_the_title_names_are_said_once(
    title: str, line: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)
    with caplog.at_level("INFO", LOGGER.name):
        EventLog().log({"type": "start", "step": 0, "title": title, "data": "synthetic images"})
    assert caplog.messages == [line]


def test_a_library_is_silent(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-s0", DEEP_LINEAR)
    Journal(run.journal_file).append("warning", 0, text="no images")
    assert LOGGER.handlers
    assert capfd.readouterr() == ("", "")
    assert len(events(run)) == 1
