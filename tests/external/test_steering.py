"""Requests to an observed loop: answered between two updates, repeated by a replay, heard from the entitled."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import bncore
from bncore.external import steering
from bncore.external.observe import Observation, ObserveError, StopObserved
from bncore.store.commands import (
    Checkpoint,
    Command,
    Evaluate,
    Note,
    Pause,
    Resume,
    SetControls,
    Step,
    Stop,
    read_controls,
)
from bncore.store.errors import StoreError
from bncore.store.journal import read_events
from bncore.store.requests import send_request
from bncore.store.status import read_status
from bncore.store.verify import verify
from bncore.train.checkpoint import params_sha256, step_and_digest

from .factories import Event, batches, mlp, of_type, watching

DATA = batches(8, 3)
Before = Callable[[int, Observation], object]
CHANGES = (
    (2, SetControls(changes={"lr": 0.02})),
    (3, SetControls(changes={"noise": True, "noise.n_mu": 1.0})),
    (3, Note(text="noisy from here")),
    (5, SetControls(changes={"norm": "l1", "dropout": 0.1})),
    (6, SetControls(changes={"lr": -1.0})),
)


def train(
    run: Path, before: Before = lambda _step, _watch: None, *, ask: bool = False, replay: Path | None = None,
    data: list[Any] = DATA, **settings: Any,
) -> tuple[nn.Module, list[Event]]:  # fmt: skip
    """The script of a person: always the same, but for what is done before each step."""
    torch.manual_seed(3)
    net = mlp(dropout=0.5)
    net[1] = bncore.SwitchableNorm(4).double()
    optimizer, loss_fn = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), nn.MSELoss()
    with watching(run, net, optimizer, check="report", **settings) as watch:
        watch.control_optimizer("lr")
        watch.control_noise("1")
        watch.control_norm()
        watch.control_dropout()
        if replay is not None:
            watch.replay(replay)
        for number, batch in enumerate(data):
            before(number, watch)
            with watch.step(*batch) as step:
                optimizer.zero_grad()
                loss = loss_fn(net(batch[0]), batch[1])
                loss.backward()
                optimizer.step()
                step.record(loss)
            if ask and watch.should_stop:
                break
    return net, read_events(run / "journal.jsonl")


def sending(*commands: tuple[int, Command]) -> Before:
    """Requests, sent before the first step, each for its own."""

    def before(step: int, watch: Observation) -> None:
        for at, command in commands if step == 0 else ():
            send_request(watch.run, command.model_copy(update={"at_step": at}))

    return before


def answers(events: list[Event]) -> list[tuple[int, str, str]]:
    return [(e["step"], e["command"]["kind"], e["outcome"]) for e in of_type(events, "request")]


@pytest.mark.parametrize("file", [False, True])
def test_a_replay_makes_the_same_changes_and_ends_with_the_same_digest(
    tmp_path: Path, file: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    net, events = train(tmp_path / "one", sending(*CHANGES))
    again, repeated = train(tmp_path / "two", replay=tmp_path / "one" / ("journal.jsonl" if file else ""))
    assert params_sha256(net) == params_sha256(again)
    assert capsys.readouterr().err.endswith(f": the same parameters after {len(DATA)} steps\n")
    assert params_sha256(net) != params_sha256(train(tmp_path / "three")[0])
    assert capsys.readouterr().err == "", "only a replay is compared"
    assert answers(events) == answers(repeated)
    kept = [
        [{k: v for k, v in e.items() if k not in ("seq", "t")} for e in journal]
        for journal in (events, repeated)
    ]
    assert kept[0] == kept[1], "losses, measurements and answers too"
    assert verify(bncore.load_run(tmp_path / "two").run, step_and_digest) == []


def test_a_replay_of_another_script_says_so(tmp_path: Path) -> None:
    train(tmp_path / "one", sending(*CHANGES))
    said = "are others than those of the run repeated here"
    with pytest.warns(RuntimeWarning, match=said) as warned:
        _, events = train(tmp_path / "two", replay=tmp_path / "one", data=DATA[::-1])
    assert any(said in e["text"] for e in of_type(events, "warning"))
    assert Path(warned[0].filename).parent == Path(__file__).parent, "it points at the loop"


def test_a_replay_of_a_run_without_end_says_that_nothing_was_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "one")
    journal = tmp_path / "one" / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    train(tmp_path / "two", replay=journal)
    assert capsys.readouterr().err == (
        f"replay of {journal}: {len(DATA)} steps, not compared: that run has no end\n"
    )


def test_a_replay_takes_no_other_changes(tmp_path: Path) -> None:
    _, original = train(tmp_path / "one", sending(*CHANGES))
    intruding = sending((4, SetControls(changes={"lr": 0.5})))
    _, events = train(tmp_path / "two", intruding, replay=tmp_path / "one")
    assert (4, "control", "rejected") in answers(events)
    assert events[-1]["params_sha256"] == original[-1]["params_sha256"]


def test_a_replay_begins_before_the_first_step(tmp_path: Path) -> None:
    train(tmp_path / "one")
    with pytest.raises(ObserveError, match="the loop has begun; expected before the first step"):
        train(tmp_path / "two", lambda step, watch: step and watch.replay(tmp_path / "one"))


def test_nothing_is_repeated_of_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: no journal; expected a run's directory, or its journal"):
        train(tmp_path / "one", replay=tmp_path / "nowhere")


@pytest.mark.parametrize("ask", [False, True])
def test_a_stop_ends_the_loop_and_a_replay_ends_there_too(tmp_path: Path, ask: bool) -> None:
    net, events = train(tmp_path / "one", sending(*CHANGES[:2], (4, Stop())), ask=ask)
    end = events[-1]
    assert (end["type"], end["step"], end["state"]) == ("finished", 4, "stopped")
    assert answers(events)[-1] == (4, "stop", "applied")
    status = read_status(bncore.load_run(tmp_path / "one").run)
    assert status is not None
    assert (status.state, status.step, status.message) == ("stopped", 4, "stopped by request")
    again, repeated = train(tmp_path / "two", replay=tmp_path / "one", ask=not ask)
    assert (repeated[-1]["step"], repeated[-1]["state"]) == (4, "stopped")
    assert params_sha256(net) == params_sha256(again) == end["params_sha256"]


def test_a_loop_that_catches_the_stop_meets_it_again(tmp_path: Path) -> None:
    net = mlp()
    with watching(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1)) as watch:
        send_request(watch.run, Stop())
        for _ in range(3):
            with pytest.raises(StopObserved, match="stopped by request at step 0"):
                watch.step(*DATA[0])
    assert read_events(tmp_path / "run" / "journal.jsonl")[-1]["state"] == "stopped"


def test_while_paused_requests_are_answered_and_single_steps_made(tmp_path: Path) -> None:
    seen: list[str] = []

    def person(watch: Observation) -> None:
        def until(holds: Callable[[list[Event]], bool]) -> None:
            end = time.monotonic() + 60
            while not holds(read_events(watch.run.journal_file)):
                assert time.monotonic() < end
                time.sleep(0.02)

        until(lambda events: (3, "pause", "applied") in answers(events))
        send_request(watch.run, SetControls(changes={"lr": 0.5}))
        until(lambda events: (3, "control", "applied") in answers(events))
        status = read_status(watch.run)
        seen.append(status.state if status else "")
        send_request(watch.run, Step(count=2))
        send_request(watch.run, Note(text="there"))
        until(lambda events: any(e["step"] == 4 for e in of_type(events, "step")))
        send_request(watch.run, Resume())

    people: list[threading.Thread] = []

    def before(step: int, watch: Observation) -> None:
        if step == 0:
            send_request(watch.run, Pause(at_step=3))
            people.append(threading.Thread(target=person, args=(watch,)))
            people[0].start()

    _, events = train(tmp_path / "run", before)
    people[0].join()
    assert seen == ["paused"]
    assert [e["step"] for e in of_type(events, "step")] == list(range(len(DATA)))
    assert (5, "resume", "applied") in answers(events)
    assert events[-1]["state"] == "finished"


def test_an_evaluation_that_is_requested_leaves_no_trace(tmp_path: Path) -> None:
    nets: list[nn.Module] = []

    def evaluate() -> dict[str, Any]:
        nets[0].eval()
        torch.rand(3)
        nets[0].train()(DATA[0][0])  # writes running statistics
        nets[0].eval()
        return {"test_loss": torch.tensor(0.5), "test_accuracy": 1}

    plain, _ = train(tmp_path / "plain")
    net, events = train(
        tmp_path / "run",
        lambda step, watch: (
            (nets.append(watch._net), send_request(watch.run, Evaluate(at_step=3))) if step == 0 else None
        ),
        on_evaluate=evaluate,
    )
    (evaluation,) = of_type(events, "eval")
    assert (evaluation["step"], evaluation["test_loss"], evaluation["test_accuracy"]) == (3, 0.5, 1.0)
    assert answers(events) == [(3, "evaluate", "applied")]
    assert params_sha256(net) == params_sha256(plain)


def test_a_checkpoint_is_the_loops_own(tmp_path: Path) -> None:
    steps: list[int] = []
    _, events = train(
        tmp_path / "run", sending((3, Checkpoint()), (5, Checkpoint())), on_checkpoint=steps.append
    )
    assert steps == [3, 5]
    assert [outcome for _, _, outcome in answers(events)] == ["applied"] * 2


def fail(*_: object) -> Any:
    raise OSError("no room")


@pytest.mark.parametrize(
    ("command", "settings", "why"),
    [
        (Checkpoint(), {"on_checkpoint": fail}, "OSError: no room"),
        (Evaluate(), {"on_evaluate": fail}, "OSError: no room"),
        (Evaluate(), {"on_evaluate": lambda: None}, "on_evaluate gave NoneType; expected a dict of numbers"),
        (Evaluate(), {"on_evaluate": lambda: {"a": "b"}}, "evaluate: a = 'b'; expected a number"),
        (Evaluate(), {"on_evaluate": lambda: {"step": 1}}, "'step' is a name that every event has"),
        (Evaluate(), {}, "the loop gave no function for it; expected observe(on_evaluate=...)"),
        (Checkpoint(), {}, "the loop gave no function for it; expected observe(on_checkpoint=...)"),
    ],
)
def test_what_the_loop_cannot_do_is_rejected_with_the_reason(
    tmp_path: Path, command: Command, settings: dict[str, Any], why: str
) -> None:
    _, events = train(tmp_path / "run", sending((3, command)), **settings)
    (request,) = of_type(events, "request")
    assert request["outcome"] == "rejected"
    assert why in request["reason"]
    assert not of_type(events, "eval")
    assert events[-1]["state"] == "finished"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_request_of_a_foreigner_is_not_heard(tmp_path: Path) -> None:
    def before(step: int, watch: Observation) -> None:
        if step == 2:
            send_request(watch.run, SetControls(changes={"lr": 0.5}))
            (path,) = watch.run.inbox.glob("*.json")
            os.chown(path, 54321, 54321)
            watch._steering._requests.poll_inbox()  # type: ignore[union-attr]  # begun by now

    _, events = train(tmp_path / "run", before)
    assert answers(events) == []
    texts = [e["text"] for e in of_type(events, "warning")]
    assert any("who is neither the owner nor in the inbox's group" in text for text in texts)
    assert {e["lr"] for e in of_type(events, "step")} == {0.1}


def test_what_the_loop_itself_changes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "SHOWN_EVERY_S", 0.0)
    told: list[Any] = []

    def before(step: int, watch: Observation) -> None:
        watch._optimizer.param_groups[0]["lr"] = 0.5**step
        if step:
            told.append(next(one.value for one in read_controls(watch.run) or () if one.name == "lr"))

    train(tmp_path / "run", before)
    assert told == [0.5**step for step in range(len(DATA) - 1)]
