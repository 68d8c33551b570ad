"""Loops that use the observer wrongly, and failures of its own: the training goes on, or stops where it is to."""

from __future__ import annotations

import re
import threading
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bncore
from bncore import ObserveError
from bncore.config.errors import SpecError
from bncore.external.observe import Observation
from bncore.probes.landscape import LandscapeProbe
from bncore.store.errors import StoreError
from bncore.store.journal import Journal
from bncore.train.checkpoint import params_sha256

from .factories import of_type
from .kinds import KINDS, pairs, perceptron, squared
from .loops import journal, run_loop

LANDSCAPE = {"landscape": {"every": 1}}
BATCH = pairs()[0][0]


def observed(run: Path, **settings: Any) -> tuple[Observation, Any, torch.optim.Optimizer]:
    torch.manual_seed(1)
    net = perceptron()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    chosen = {"probes": LANDSCAPE, **settings}
    return bncore.observe(net, optimizer, loss_of=squared, run=run, **chosen), net, optimizer


def update(net: Any, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss = squared(net, BATCH)
    loss.backward()
    optimizer.step()
    return loss


def alone(steps: int) -> str:
    torch.manual_seed(1)
    net = perceptron()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(steps):
        update(net, optimizer)
    return params_sha256(net)


def test_a_step_within_a_step_is_told_and_the_loop_goes_on_without_probes(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    told = "observed without probes from now on: step: made within another"
    with pytest.warns(RuntimeWarning, match=told), watch:
        with watch.step(BATCH), watch.step(BATCH) as inner:
            inner.record(update(net, optimizer))
        with watch.step(BATCH) as step:
            step.record(update(net, optimizer))
    assert params_sha256(net) == alone(2)
    assert [e["step"] for e in of_type(journal(tmp_path / "run"), "step")] == [0, 1]


def test_a_step_entered_or_ended_twice_is_told_and_the_loop_goes_on_without_probes(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="observed without probes from now on: step: .* or twice"), watch:
        step = watch.step(BATCH)
        for _ in range(2):
            with step:
                step.record(update(net, optimizer))
        step = watch.step(BATCH).begin()
        step.record(update(net, optimizer))
        step.end()
        step.end()
    assert params_sha256(net) == alone(3)
    assert [e["step"] for e in of_type(journal(tmp_path / "run"), "step")] == [0, 1]


def test_a_step_in_another_thread_is_told_and_not_observed(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")

    def elsewhere() -> None:
        with watch.step(BATCH) as step:
            step.record(update(net, optimizer))

    with watch, pytest.warns(RuntimeWarning, match="step: in another thread than the observation"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert params_sha256(net) == alone(1)
    assert not of_type(journal(tmp_path / "run"), "step")
    (told,) = of_type(journal(tmp_path / "run"), "warning")
    assert told["text"].endswith("in the thread that entered the observation")


def test_updates_outside_of_the_steps_are_told_once(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    with watch, pytest.warns(RuntimeWarning, match=r"is optimizer\.step\(\) inside the") as told:
        for _ in range(3):
            with watch.step(BATCH) as step:
                optimizer.zero_grad()
                loss = squared(net, BATCH)
                loss.backward()
                step.record(loss)
            optimizer.step()
    assert [warning.filename for warning in told] == [__file__]
    assert params_sha256(net) == alone(3)
    assert len(of_type(journal(tmp_path / "run"), "skipped")) == 3


def test_two_updates_in_a_step_are_told_once(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    with watch, pytest.warns(RuntimeWarning, match="2 updates within one") as told:
        for _ in range(2):
            with watch.step(BATCH) as step:
                step.record(update(net, optimizer))
                update(net, optimizer)
    assert [warning.filename for warning in told] == [__file__]
    assert params_sha256(net) == alone(4)


def test_activations_are_measured_under_the_loops_autocast(tmp_path: Path) -> None:
    def halves(model: Any, batch: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(batch[0])
        return ((outputs.float() - batch[1]) ** 2).mean()

    net = perceptron().float()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    batch = tuple(part.float() for part in BATCH)
    probes = {"activations": {"every": 1}}
    with (
        bncore.observe(
            net,
            optimizer,
            loss_of=halves,
            run=tmp_path / "run",
            probes=probes,
            probe_autocast=True,
            on_error="raise",
        ) as watch,
        watch.step(batch) as step,
    ):
        halves(net, batch).backward()
        optimizer.step()
        step.record(halves(net, batch))
    (measured,) = (e for e in of_type(journal(tmp_path / "run"), "probe") if e["name"] == "activations")
    assert all(isinstance(value, float) for value in measured["mean"])


def test_an_observation_of_no_step_says_so(tmp_path: Path) -> None:
    watch, net, _ = observed(tmp_path / "run")
    with watch:
        pass
    events = journal(tmp_path / "run")
    assert "no step was observed" in of_type(events, "warning")[0]["text"]
    assert events[-1]["params_sha256"] == params_sha256(net)


def test_a_step_without_a_batch_is_journaled_and_its_probes_are_taken_away(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    with watch, pytest.warns(RuntimeWarning, match=r"batch: none was given; expected watch\.step\(batch\)"):
        for _ in range(2):
            with watch.step() as step:
                step.record(update(net, optimizer))
    assert params_sha256(net) == alone(2)
    assert [e["step"] for e in of_type(journal(tmp_path / "run"), "step")] == [0, 1]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"loss": torch.ones(3)}, "loss: Tensor of shape (3,); expected one number"),
        ({"loss": "low"}, "loss: str; expected one number"),
        ({"loss": 1.0, "accuracy": torch.ones(2)}, "accuracy: Tensor of shape (2,); expected one number"),
    ],
)
def test_a_record_of_no_number_is_told_once_and_the_steps_are_journaled(
    tmp_path: Path, record: dict[str, Any], said: str
) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    with pytest.warns(RuntimeWarning, match=f"observed without probes from now on: {re.escape(said)}"), watch:
        for _ in range(3):
            with watch.step(BATCH) as step:
                update(net, optimizer)
                step.record(**record)
    assert params_sha256(net) == alone(3)
    events = journal(tmp_path / "run")
    assert [e["text"] for e in of_type(events, "warning")] == [f"the probes are taken away: {said}"]
    assert [e["step"] for e in of_type(events, "step")] == [0, 1, 2]


def test_an_evaluation_or_a_log_of_no_number_is_told_and_the_probes_stay(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run")
    with pytest.warns(RuntimeWarning, match="expected a number") as warned, watch:
        watch.record_eval(test_loss="low")  # type: ignore[arg-type]
        watch.log(tokens=10**400)
        watch.record_eval(test_loss=0.5)
        with watch.step(BATCH) as step:
            step.record(update(net, optimizer))
    assert [str(w.message)[:9] for w in warned] == ["eval: tes", "log: toke"]
    events = journal(tmp_path / "run")
    assert [e["test_loss"] for e in of_type(events, "eval")] == [0.5]
    assert of_type(events, "probe") and not of_type(events, "warning")


def test_options_of_another_kind_are_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="tags = 'baseline': expected a list, each text"):
        observed(tmp_path / "run", tags="baseline")
    with pytest.raises(ObserveError, match="batch: 'globl'; expected 'local' or 'global'"):
        observed(tmp_path / "run", batch="globl")
    with pytest.raises(ObserveError, match=r"config: Namespace; expected a mapping, such as vars\(args\)"):
        observed(tmp_path / "run", config=Namespace(width=3))


def test_a_number_for_a_probe_is_refused_with_an_example(tmp_path: Path) -> None:
    said = r"observe: probes\.landscape = 10: expected a table such as \{ every = 10 \}"
    with pytest.raises(SpecError, match=said):
        observed(tmp_path / "run", probes={"landscape": 10})


def test_without_probes_a_batch_is_not_asked_for(tmp_path: Path) -> None:
    watch, net, optimizer = observed(tmp_path / "run", probes={})
    with watch, watch.step() as step:
        step.record(update(net, optimizer))
    assert not of_type(journal(tmp_path / "run"), "warning")


@pytest.mark.parametrize("name", ["plain", "accumulated gradients", "a closure"])
@pytest.mark.parametrize(
    "broken", ["RngState.now", "undisturbed", "learning_rate", "rates_of", "RecomputedStep"]
)
def test_whatever_of_the_observer_fails_the_training_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, broken: str
) -> None:
    kind = replace(KINDS[name], settings={"on_error": "warn"})
    expected = run_loop(kind, None)
    home = {
        "RngState.now": "observed_step.RngState.now", "undisturbed": "observation.undisturbed",
        "learning_rate": "observed_step.learning_rate", "rates_of": "observed_step.rates_of",
        "RecomputedStep": "recomputed_step.RecomputedStep",
    }[broken]  # fmt: skip

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("of the observer")

    monkeypatch.setattr(f"bncore.external.{home}", fail)
    with pytest.warns(RuntimeWarning, match="observed without probes from now on: .*of the observer"):
        watched = run_loop(kind, tmp_path / "run")
    assert params_sha256(watched.net) == params_sha256(expected.net)
    assert [e["step"] for e in of_type(journal(tmp_path / "run"), "step")] == [0, 1]


def test_a_probe_that_fails_stops_the_loop_where_it_is_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("not today")

    monkeypatch.setattr(LandscapeProbe, "measure", fail)
    monkeypatch.setattr(LandscapeProbe, "task", fail)
    with pytest.raises(ObserveError, match="probe landscape failed at step 0: ArithmeticError: not today"):
        run_loop(KINDS["plain"], tmp_path / "run")


def test_a_directory_that_fails_stops_the_loop_where_it_is_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append

    def full(self: Journal, kind: str, *args: Any, **fields: Any) -> Any:
        if kind == "step":
            raise StoreError("no space left")
        return append(self, kind, *args, **fields)

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(StoreError, match="no space left"):
        run_loop(KINDS["plain"], tmp_path / "run")
