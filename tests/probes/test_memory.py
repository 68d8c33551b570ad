"""Memory that is too short for a probe: it does with less, or leaves the measurement out; training continues."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from resume.factories import DEEP_LINEAR, digest, events, make_run, story

from bncore.config.model import DLN, Loss, Noise, Norm, Spec
from bncore.config.probes import Activations, Ics, Probes
from bncore.data.resident import load
from bncore.nets import LayeredNet
from bncore.probes import growing
from bncore.probes import ics as ics_module
from bncore.probes.growing import roomy
from bncore.probes.guard import RandomSnapshot, is_out_of_memory
from bncore.probes.ics import IcsProbe
from bncore.probes.run import Failed, Measured, ProbeRunner
from bncore.probes.view import StepView
from bncore.store.branch import fork, replay
from bncore.store.paths import RunDir
from bncore.store.replay_diff import compare
from bncore.train import worker
from bncore.train.control import Signals
from bncore.train.state import TrainState

from .step import small_step

NO_ROOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

OBSERVED = DEEP_LINEAR.model_copy(
    update={
        "noise": Noise(on=True),  # so that ICS has no shortcut by moments
        "probes": Probes(ics=Ics(every=5, floor_every=2), activations=Activations(every=5, bins=8)),
    }
)
"""Measured at 0, 5, 10, ...; checkpoints at 7, 14, ..."""


def room_for(chains: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make passes of more than so many chains run out of memory; the numbers of chains that were tried."""
    tried: list[int] = []
    loss = growing._Growing._loss

    def limited(self: Any, outputs: torch.Tensor, count: int) -> torch.Tensor:
        tried.append(count)
        if count > chains:
            raise NO_ROOM
        return loss(self, outputs, count)

    monkeypatch.setattr(growing._Growing, "_loss", limited)
    return tried


def ics(layers: tuple[int, ...] = ()) -> IcsProbe:
    return IcsProbe(Ics(layers=layers, floor_every=0))


def deep_step() -> StepView:
    """A step of a network so deep that its layers take several groups."""
    spec = OBSERVED.model_copy(update={"net": DLN(depth=14, width=8), "norm": Norm(kind="batch")})
    session = TrainState(spec, load(spec))
    session.step(0, observe=True)
    assert session.view is not None
    return session.view


def runner(group: int = 9) -> ProbeRunner:
    return ProbeRunner(Spec(probes=Probes(ics=Ics(every=1, floor_every=0, group=group)), loss=Loss()))


def test_memory_that_ran_out_is_known_on_either_device() -> None:
    assert is_out_of_memory(NO_ROOM)
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 61, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("a loss is not finite"))


def test_ics_does_with_smaller_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    view = small_step()
    whole = ics().measure(view)
    tried = room_for(1, monkeypatch)
    measured = list(runner().measure(view))
    assert [type(one) for one in measured] == [Measured]
    fields = measured[0].fields  # type: ignore[union-attr]
    assert max(tried) > 1, "or nothing was short"
    assert fields["group"] == 1
    for name in ("l2", "cosine", "relative"):
        np.testing.assert_allclose(fields[name], whole[name], rtol=1e-5, atol=1e-6)
    assert "group" not in whole


def free(steps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's free memory, in peaks of a training step, where there is no GPU."""
    monkeypatch.setattr(ics_module, "spare_steps", lambda device: steps)


@pytest.mark.parametrize(
    ("useful", "spare", "held"),
    [
        (9.0, 0.0, 2.25),  # as where nothing is known
        (9.0, 35.9, 2.25),
        (9.0, 36.0, 4.5),
        (9.0, 72.0, 9.0),
        (9.0, 1e6, 9.0),  # no more than is of use
        (2.0, 1e6, 2.25),
        (9.1, 1e6, 18.0),
    ],
)
def test_free_memory_is_used_by_an_eighth_at_most(useful: float, spare: float, held: float) -> None:
    assert roomy(2.25, useful, spare) == held


@given(st.floats(0.1, 1e3), st.floats(0, 1e6))
def test_a_budget_is_one_of_few_and_never_too_much(useful: float, spare: float) -> None:
    held = roomy(2.25, useful, spare)
    assert math.log2(held / 2.25).is_integer()
    assert held >= 2.25
    assert held == 2.25 or (held <= spare / 8 and held < 2 * useful)


def test_with_memory_to_spare_ics_takes_larger_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    view = deep_step()
    tried = room_for(99, monkeypatch)
    found = {}
    for spare in (0, 40, 1000):
        tried.clear()
        free(spare, monkeypatch)
        found[spare] = ics().measure(view)
        found[spare]["passes"] = list(tried)
    assert [found[spare]["budget"] for spare in found] == [2.25, 4.5, 9.0]
    passes = [found[spare]["passes"] for spare in found]
    assert len(passes[0]) > len(passes[1]) > len(passes[2]) == 1
    assert {sum(each) for each in passes} == {len(view.weights) - 1}
    for spare in (40, 1000):
        np.testing.assert_allclose(found[spare]["l2"], found[0]["l2"], rtol=1e-5, atol=1e-6)


def test_a_group_that_was_asked_for_is_no_matter_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free(1000, monkeypatch)
    tried = room_for(99, monkeypatch)
    (measured,) = runner(group=1).measure(small_step())
    assert isinstance(measured, Measured)
    assert set(tried) == {1}
    assert "budget" not in measured.fields


def test_what_was_chosen_stays_and_still_gives_way_where_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view, first = deep_step(), runner(group=0)
    free(1000, monkeypatch)
    list(first.measure(view))
    free(0, monkeypatch)
    tried = room_for(3, monkeypatch)
    second = runner(group=0)
    second.load_state_dict(first.state_dict())
    (again,) = second.measure(view)
    assert isinstance(again, Measured)
    assert tried[0] == len(view.weights) - 1, "as one group, first"
    assert (again.fields["budget"], again.fields["group"]) == (9.0, 3)


def test_it_goes_on_so_and_a_checkpoint_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    view = small_step()
    tried = room_for(1, monkeypatch)
    first = runner()
    list(first.measure(view))
    tried.clear()
    second = runner()
    second.load_state_dict(first.state_dict())
    (again,) = second.measure(view)
    assert set(tried) == {1}
    assert isinstance(again, Measured)
    assert again.fields["group"] == 1


def test_where_nothing_helps_the_measurement_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(0, monkeypatch)
    (failed,) = runner().measure(small_step())
    assert isinstance(failed, Failed)
    assert failed.fields == {
        "name": "ics",
        "reason": f"OutOfMemoryError: {NO_ROOM}",
        "short_of_memory": True,
    }


def test_without_room_for_a_copy_of_the_parameters_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(self: RandomSnapshot, net: LayeredNet) -> None:
        raise NO_ROOM

    monkeypatch.setattr(RandomSnapshot, "__init__", no_room)
    (failed,) = runner().measure(small_step())
    assert isinstance(failed, Failed)
    assert failed.short_of_memory


def trained(run: RunDir) -> int:
    """Train in this process."""
    return worker.main([str(run.path)], signals=Signals())


@pytest.fixture
def twin(tmp_path: Path) -> RunDir:
    """The run that memory sufficed for."""
    run = make_run(tmp_path / "twin-s0", OBSERVED)
    assert trained(run) == 0
    return run


def kinds(run: RunDir, name: str) -> dict[int, str]:
    return {e["step"]: e["type"] for e in events(run) if e.get("name") == name}


def cut_after(run: RunDir, step: int) -> None:
    """Make it look killed at its end, with its newest checkpoint before a step."""
    lines = run.journal_file.read_bytes().splitlines(keepends=True)
    run.journal_file.write_bytes(b"".join(lines[:-1]))
    for path in run.checkpoints.iterdir():
        if int(path.stem.split("-")[1]) > step:
            path.unlink()


def no_room_at(steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    measure = IcsProbe.measure

    def limited(self: IcsProbe, view: Any) -> dict[str, Any]:
        if view.step in steps:
            raise NO_ROOM
        return measure(self, view)

    monkeypatch.setattr(IcsProbe, "measure", limited)


def test_training_is_unharmed(tmp_path: Path, twin: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room_at({10, 15}, monkeypatch)
    frozen, requested = TrainState._frozen_state, []

    def without_room(self: TrainState) -> Any:
        requested.append(1)
        if len(requested) == 6:
            raise NO_ROOM
        return frozen(self)

    monkeypatch.setattr(TrainState, "_frozen_state", without_room)
    run = make_run(tmp_path / "run-s0", OBSERVED)
    assert trained(run) == 0
    assert digest(run) == digest(twin)
    failed = {step for step, kind in kinds(run, "ics").items() if kind == "probe_failed"}
    assert failed == {10, 15, 25}
    assert kinds(run, "activations")[25] == "probe_failed", "without a copy of the parameters nothing can be"
    assert [e["loss"] for e in events(run) if e["type"] == "step"] == [
        e["loss"] for e in events(twin) if e["type"] == "step"
    ]


def test_a_resumed_run_measures_as_sparingly_as_it_did(tmp_path: Path) -> None:
    """Whatever memory there is now: its events are those it has journaled."""
    spec = OBSERVED.model_copy(update={"checkpoint": OBSERVED.checkpoint.model_copy(update={"keep": 20})})
    run = make_run(tmp_path / "run-s0", spec)
    with pytest.MonkeyPatch.context() as patch:
        no_room_at({30}, patch)
        room_for(1, patch)
        assert trained(run) == 0
    assert kinds(run, "ics")[30] == "probe_failed"
    before = story(run)
    cut_after(run, 10)
    assert trained(run) == 0, run.status_file.read_text()
    assert story(run) == before


def test_a_resumed_run_takes_the_groups_it_took(tmp_path: Path) -> None:
    """However much memory is free now, and from before the first measurement, which no checkpoint knows."""
    spec = OBSERVED.model_copy(update={"net": DLN(depth=14, width=8)})
    run = make_run(tmp_path / "run-s0", spec)
    with pytest.MonkeyPatch.context() as patch:
        free(40, patch)
        assert trained(run) == 0
    before = story(run)
    assert {e["budget"] for e in events(run) if e.get("name") == "ics"} == {4.5}
    cut_after(run, -1)
    with pytest.MonkeyPatch.context() as patch:
        free(1000, patch)
        assert trained(run) == 0, run.status_file.read_text()
    assert story(run) == before


@pytest.mark.parametrize("kind", ["replay", "fork"])
def test_a_run_that_repeats_another_measures_as_it_did(tmp_path: Path, kind: str) -> None:
    """With its groups, as sparingly where memory was short, and not where it was too short."""
    spec = OBSERVED.model_copy(update={"net": DLN(depth=14, width=8)})
    run = make_run(tmp_path / "sweep" / "run-s0", spec)
    with pytest.MonkeyPatch.context() as patch:
        free(40, patch)
        no_room_at({20}, patch)
        loss = growing._Growing._loss

        def limited(self: Any, outputs: torch.Tensor, count: int) -> torch.Tensor:
            if self.view.step >= 10 and count > 2:
                raise NO_ROOM
            return loss(self, outputs, count)

        patch.setattr(growing._Growing, "_loss", limited)
        assert trained(run) == 0
    reported = {e["step"]: (e.get("budget"), e.get("group")) for e in events(run) if e.get("name") == "ics"}
    assert reported[5] == (4.5, None)
    assert reported[10] == (4.5, reported[15][1])
    assert reported[15][1] in (1, 2)
    assert kinds(run, "ics")[20] == "probe_failed"
    if kind == "replay":
        (again,) = replay([run]).runs()
        until = spec.steps
    else:
        again, until = fork(run, at=23, changes={}), 23
    with pytest.MonkeyPatch.context() as patch:
        free(1000, patch)
        assert trained(again) == 0
    mine, theirs = ([e for e in story(one) if e["step"] < until] for one in (run, again))
    probes = [[e for e in one if e["type"].startswith("probe")] for one in (mine, theirs)]
    assert probes[0][-len(probes[1]) :] == probes[1]
    assert probes[1]
    if kind == "replay":
        assert compare(run, again).same


def test_a_resumed_run_with_less_memory_than_before_goes_on(tmp_path: Path) -> None:
    spec = OBSERVED.model_copy(update={"checkpoint": OBSERVED.checkpoint.model_copy(update={"keep": 20})})
    run = make_run(tmp_path / "run-s0", spec)
    assert trained(run) == 0
    before = story(run)
    cut_after(run, 10)
    with pytest.MonkeyPatch.context() as patch:
        no_room_at({25}, patch)
        assert trained(run) == 0, run.status_file.read_text()
    assert story(run) == before, "what was measured then stays"
