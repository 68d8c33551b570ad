"""The run directory of an observed loop, at every end it can come to, as the other tools read it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from cli.factories import bnrun
from torch import nn

import bncore
from bncore.config.errors import SpecError
from bncore.config.observed import Observed
from bncore.follow.run_view import RunFollower
from bncore.launch.slurm.state import Queue
from bncore.store.commands import Checkpoint, Command, Evaluate, Set
from bncore.store.errors import StoreError
from bncore.store.journal import read_events
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir
from bncore.store.requests import send_request
from bncore.store.status import Observer, Status, read_status, write_status
from bncore.store.verify import verify
from bncore.train import heartbeat
from bncore.train.checkpoint import params_sha256, step_and_digest

from .factories import ALL, Loop, batches, mlp, of_type, watching

DATA = batches(4, 3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With one finished run, ``mine/net``."""
    torch.manual_seed(1)
    Loop(mlp()).observed(tmp_path / "runs" / "mine" / "net", DATA, title="my net", steps=4)
    return tmp_path


def status_of(run: Path) -> Status:
    status = read_status(RunDir(run))
    assert status is not None
    return status


def test_a_loop_that_ends_leaves_a_finished_run(root: Path) -> None:
    run = RunDir(root / "runs" / "mine" / "net")
    status = status_of(run.path)
    assert (status.state, status.step, status.steps, status.message) == ("finished", 4, 4, "")
    assert read_owner(run) is None
    events = read_events(run.journal_file)
    assert (events[0]["type"], events[0]["schema"], events[0]["title"]) == ("start", 1, "my net")
    assert (events[-1]["type"], events[-1]["step"], events[-1]["state"]) == ("finished", 4, "finished")
    assert [e["step"] for e in of_type(events, "step")] == [0, 1, 2, 3]
    assert [e["seq"] for e in events] == list(range(len(events)))
    assert of_type(events, "probe", "ics")[0]["method"] == "growing batch"
    assert not of_type(events, "warning")


def test_it_says_what_it_knows_of_the_loop(root: Path) -> None:
    loaded = bncore.load_run(root / "runs" / "mine" / "net")
    observed = loaded.observed
    assert isinstance(observed, Observed)
    assert (observed.model, observed.loss, observed.parameters) == ("Sequential", "MSELoss", 54)
    assert observed.optimizer == "SGD(lr=0.1, momentum=0.9, dampening=0, weight_decay=0)"
    assert (observed.precision, observed.device, observed.steps) == ("float64", "cpu", 4)
    assert observed.probes.ics.every == 2
    assert loaded.meta["layers"] == ["0.weight", "3.weight", "6.weight"]
    assert loaded.table("probe:ics")["l2"].shape == (2, 3)
    with pytest.raises(SpecError, match="observed an external training loop"):
        _ = loaded.spec


def test_it_is_sound_and_a_gap_is_noticed(root: Path) -> None:
    run = RunDir(root / "runs" / "mine" / "net")
    assert verify(run, step_and_digest) == []
    lines = run.journal_file.read_bytes().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if orjson.loads(line)["type"] == "step")
    run.journal_file.write_bytes(b"".join(lines[:cut] + lines[cut + 1 :]))
    assert any("1 step events are missing, the first of step 0" in p for p in verify(run, step_and_digest))


def test_the_command_line_reads_it(root: Path) -> None:
    listed = bnrun("ls", "--json", cwd=root)
    (row,) = orjson.loads(listed.stdout)
    assert (row["run"], row["state"], row["step"], row["steps"]) == ("mine/net", "finished", 4, 4)
    assert bnrun("verify", "mine/net", cwd=root).stdout == "mine/net: ok\n"
    shown = bnrun("show", "mine/net", cwd=root)
    assert shown.returncode == 0
    assert "net" in shown.stdout
    exported = bnrun("export", "mine/net", "--csv", "--out", "out", cwd=root)
    assert {Path(line).name for line in exported.stdout.split()} == {
        "step.csv", "probe-ics.csv", "probe-landscape.csv", "probe-activations.csv", "probe-sharpness.csv",
        "probe-fidelity.csv",
    }  # fmt: skip


def test_where_nobody_knows_how_many_steps_there_are_those_made_are_told(root: Path) -> None:
    Loop(mlp()).observed(root / "runs" / "mine" / "open", DATA)
    status = status_of(root / "runs" / "mine" / "open")
    write_status(RunDir(root / "runs" / "mine" / "open"), replace(status, steps=0))
    lines = bnrun("ls", cwd=root).stdout.splitlines()
    (line,) = (line.split() for line in lines if "mine/open" in line)
    assert line[2] == "4"
    watched = bnrun("watch", "mine/open", "--plain", cwd=root)
    assert "step=4 " in watched.stdout
    assert "steps=" not in watched.stdout + watched.stderr


@pytest.mark.parametrize("command", [("fork", "mine/net", "norm=l2"), ("replay", "mine/net")])
def test_what_would_run_it_again_refuses_and_says_why(root: Path, command: tuple[str, ...]) -> None:
    done = bnrun(*command, cwd=root)
    assert done.returncode == 2
    assert "observed an external training loop: bnrun cannot run, resume, replay or fork it" in done.stderr
    assert sorted(p.name for p in (root / "runs").iterdir()) == ["mine"]
    assert sorted(p.name for p in (root / "runs" / "mine").iterdir()) == ["net", "sweep.toml"]


def test_a_failed_one_cannot_be_resumed_either(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "runs" / "mine" / "net", ZeroDivisionError("no"))
    done = bnrun("resume", "mine/net", cwd=tmp_path)
    assert done.returncode == 2
    assert "observed an external training loop" in done.stderr
    assert status_of(tmp_path / "runs" / "mine" / "net").state == "failed"


def fail(run: Path, error: BaseException) -> None:
    """A loop that ends by an exception, in its second step."""
    net = mlp()
    loop = Loop(net)
    with watching(run, net, loop.optimizer) as watch:
        for number, (inputs, targets) in enumerate(DATA):
            with watch.step(inputs, targets) as step:
                if number == 1:
                    raise error
                step.record(loop.make(inputs, targets))


def test_an_exception_leaves_the_run_failed_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="of the loop"):
        fail(tmp_path / "run", ZeroDivisionError("of the loop"))
    status = status_of(tmp_path / "run")
    assert (status.state, status.step, status.message) == ("failed", 1, "ZeroDivisionError: of the loop")
    assert read_owner(RunDir(tmp_path / "run")) is None
    assert not of_type(read_events(tmp_path / "run" / "journal.jsonl"), "finished")


def test_ctrl_c_leaves_the_run_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "run", KeyboardInterrupt())
    status = status_of(tmp_path / "run")
    assert (status.state, status.message) == ("stopped", "the loop was left by KeyboardInterrupt")


def test_the_explorer_reads_it_live_and_ended(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = mlp()
    loop = Loop(net)
    run = RunDir(tmp_path / "runs" / "mine" / "net")
    with bncore.observe(net, loop.loss_fn, loop.optimizer, run=run.path, probes=ALL) as watch:
        follower = RunFollower(run, Observer(), Queue())
        assert follower.poll().state == "running"
        for inputs, targets in DATA:
            with watch.step(inputs, targets) as step:
                step.record(loop.make(inputs, targets), accuracy=0.5)
        watch.record_eval(test_loss=0.25, test_accuracy=0.75)
        live = follower.poll()
        assert (live.state, live.step, live.steps, live.eta_s, live.submitted) == (
            "running",
            4,
            0,
            None,
            None,
        )
    view = follower.poll()
    assert (view.state, view.step, view.steps) == ("finished", 4, 4)
    assert view.columns.series("step", "accuracy").values.tolist() == [0.5] * 4
    assert view.columns.series("eval", "test_accuracy").values.tolist() == [0.75]
    assert len(view.columns.series("probe:ics", "l2")) == 2


@pytest.mark.parametrize("command", [Checkpoint(), Evaluate(), Set(changes={"optim.lr": 0.1})])
def test_what_a_loop_cannot_do_is_answered_with_no(tmp_path: Path, command: Command) -> None:
    net = mlp()
    loop = Loop(net)
    with watching(tmp_path / "run", net, loop.optimizer) as watch:
        send_request(watch.run, command)
        with watch.step(*DATA[0]) as step:
            step.record(loop.make(*DATA[0]))
    (request,) = of_type(read_events(tmp_path / "run" / "journal.jsonl"), "request")
    assert (request["outcome"], request["step"]) == ("rejected", 0)
    assert "expected" in request["reason"]
    assert list(watch.run.inbox.iterdir()) == []


def test_a_full_disk_ends_the_observation_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    alone, net = Loop(mlp()), Loop(mlp())
    net.net.load_state_dict(alone.net.state_dict())
    for batch in DATA:
        alone.make(*batch)
    write, journals = os.write, []

    def full(file: int, content: bytes) -> int:
        if b'"type":"step","step":2' in content:
            journals.append(file)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.warns(RuntimeWarning, match="no longer observed: .*No space left on device"):
        events = net.observed(tmp_path / "run", DATA)
    assert len(journals) == 1
    assert [e["step"] for e in of_type(events, "step")] == [0, 1]
    assert params_sha256(net.net) == params_sha256(alone.net)
    status = status_of(tmp_path / "run")
    assert status.state == "failed"
    assert "No space left on device" in status.message


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    net = mlp()
    with (
        pytest.raises(StoreError, match="run: cannot be written: exists and is not an empty directory"),
        watching(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1)),
    ):
        pass
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_parent_that_holds_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    Loop(mlp()).observed(tmp_path / "run", DATA[:1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "thesis.tex"]
    assert bnrun("verify", tmp_path / "run", cwd=tmp_path).returncode == 0


def test_two_runs_lie_side_by_side(root: Path) -> None:
    Loop(mlp()).observed(root / "runs" / "mine" / "other", DATA[:1])
    listed = orjson.loads(bnrun("ls", "--json", cwd=root).stdout)
    assert [row["run"] for row in listed] == ["mine/net", "mine/other"]


def test_steps_are_journaled_as_often_as_asked(tmp_path: Path) -> None:
    events = Loop(mlp()).observed(tmp_path / "run", DATA, log_every=3)
    assert [e["step"] for e in of_type(events, "step")] == [0, 3]
    assert verify(RunDir(tmp_path / "run"), step_and_digest) == []


def test_hooks_of_the_model_are_announced(tmp_path: Path) -> None:
    net = mlp()
    net[2].register_forward_hook(lambda *_: None)
    events = Loop(net).observed(tmp_path / "run", DATA[:1])
    assert any("the model has hooks of its own" in e["text"] for e in of_type(events, "warning"))


@pytest.mark.parametrize(
    "table", ["observed = 3", "[observed]\nmodel = 3", '[observed]\nmodel = "x"\nlies = 1']
)
def test_a_damaged_description_is_said_to_be_one(root: Path, table: str) -> None:
    run = RunDir(root / "runs" / "mine" / "net")
    run.spec_file.write_text(table)
    with pytest.raises(SpecError, match=r"spec\.toml: observed"):
        bncore.load_run(run.path)
    assert any("spec.toml: observed" in problem for problem in verify(run, step_and_digest))


def test_any_loss_function_goes(tmp_path: Path) -> None:
    def distance(outputs: Any, targets: Any) -> torch.Tensor:
        return (outputs["y"] - targets).abs().mean()  # type: ignore[no-any-return]

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(3, 2).double()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": self.map(x)}

    events = Loop(Named(), distance).observed(tmp_path / "run", DATA[:1])
    assert {e["name"] for e in of_type(events, "probe")} == {*ALL, "fidelity"}
    assert "distance" in (tmp_path / "run" / "spec.toml").read_text()


def test_clipping_that_begins_later_is_announced_once(tmp_path: Path) -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    loss_fn = torch.nn.MSELoss()
    with watching(tmp_path / "run", net, optimizer) as watch:
        for number, (inputs, targets) in enumerate(batches(5, 3)):
            with watch.step(inputs, targets) as step:
                optimizer.zero_grad()
                loss = loss_fn(net(inputs), targets)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1e9 if number < 2 else 1e-3)
                optimizer.step()
                step.record(loss)
    reported = of_type(read_events(RunDir(tmp_path / "run").journal_file), "warning")
    clipped = [event["step"] for event in reported if "clipped or scaled down" in event["text"]]
    assert clipped == [2]


def test_an_observation_that_was_not_entered_says_so(tmp_path: Path) -> None:
    net = mlp()
    watch = bncore.observe(
        net, torch.nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0.01), run=tmp_path / "r"
    )
    inputs, targets = batches(1, 3)[0]
    with pytest.raises(bncore.ObserveError, match="not entered; expected `with"):
        watch.step(inputs, targets)


def test_it_records_what_is_known_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.001)
    run = tmp_path / "runs" / "mine" / "net"
    Loop(mlp()).observed(run, batches(40, 3))
    loaded = bncore.load_run(run)
    assert {"cpu", "steps_per_second", "time_step", "time_probes"} <= set(loaded.table("machine"))
    assert {"time_data", "time_evaluation", "time_checkpoints"}.isdisjoint(loaded.table("machine"))
    assert status_of(run).machine
