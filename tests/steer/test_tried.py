"""A change is tried against the network before it is journaled as applied, wherever it comes from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from data.factories import image_tree
from resume.factories import DEEP_LINEAR, digest, events, make_run, train
from train.factories import session
from train.test_state_backup import same

from bncore.config.change import changed
from bncore.config.model import DLN, MLP, VGG, Checkpoints, Evaluation, ImageData, Noise, Norm, Spec
from bncore.nets.normalize import NORMS
from bncore.store import commands, requests
from bncore.store.lineage import Lineage, write_lineage
from bncore.store.paths import RunDir
from bncore.store.status import read_status
from steer.factories import answers, events_of, finished

ONE_SAMPLE = Spec(
    steps=12,
    batch_size=1,
    device="cpu",
    threads=1,
    data=ImageData(source="synthetic"),
    net=MLP(hidden=(6, 6)),
    norm=Norm(kind="none"),
    eval=Evaluation(every=0, train_samples=20, test_samples=20),
    checkpoint=Checkpoints(every_steps=5, every_minutes=0),
)
"""No statistics of a batch can be had."""

IMPOSSIBLE = {"norm.kind": "batch"}


def scripted(path: Path, kind: Any, step: int) -> RunDir:
    """A run that takes an impossible request over from another, as an older program journaled it."""
    run = make_run(path, ONE_SAMPLE)
    event = {
        "seq": 9, "t": 1.0, "type": "request", "step": step, "id": "f" * 32, "author": "somebody",
        "command": {"kind": "set", "at_step": step, "changes": IMPOSSIBLE},
        "outcome": "applied", "old": {"norm.kind": "none"}, "new": IMPOSSIBLE, "reason": "",
    }  # fmt: skip
    write_lineage(run, Lineage(kind, "../gone", requests=(event,)))
    return run


@pytest.mark.parametrize("how", ["set", "--at-step", "fork", "replay"])
def test_a_request_that_cannot_work_is_rejected_and_the_run_goes_on(tmp_path: Path, how: str) -> None:
    if how in ("fork", "replay"):
        run = scripted(tmp_path / "sweep" / "run-s0", how, step=4)
    else:
        run = make_run(tmp_path / "sweep" / "run-s0", ONE_SAMPLE)
        requests.send_request(
            run, commands.Set(changes=IMPOSSIBLE, at_step=4 if how == "--at-step" else None)
        )
    assert train(run) == 0, run.log_file.read_text()
    assert answers(run) == [(0 if how == "set" else 4, "set", "rejected")]
    (answer,) = events_of(run, "request")
    assert "norm.kind = 'batch'" in answer["reason"] and "batch_size = 1" in answer["reason"]
    assert (answer["old"], answer["new"]) == (None, None)
    twin = make_run(tmp_path / "sweep" / "twin-s0", ONE_SAMPLE)
    assert train(twin) == 0
    assert digest(run) == digest(twin)


def test_what_only_torch_refuses_is_rejected_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def impossible(*_: object) -> None:
        raise RuntimeError("the kernel has no such shape")

    one = session(DEEP_LINEAR)
    one.step(0)
    monkeypatch.setitem(NORMS, "instance", impossible)  # type: ignore[arg-type]
    monkeypatch.setitem(NORMS, "layer", impossible)  # type: ignore[arg-type]
    before = copy.deepcopy(one.state_dict())
    with pytest.raises(RuntimeError, match="no such shape"):
        one.try_change(changed(one.spec, {"norm.kind": "layer"}), 1)
    assert same(one.state_dict(), before)
    assert {norm.kind for norm in one.net.norms} == {"batch"}


def test_so_is_what_does_not_fit_the_number_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder, which the spec does not tell."""
    monkeypatch.setenv("BNRUN_CACHE", str(tmp_path / "cache"))
    spec = ONE_SAMPLE.model_copy(
        update={
            "data": ImageData(source="folder", path=str(image_tree(tmp_path / "tree"))),
            "net": DLN(depth=2, width=16, normalise_last=True),
            "batch_size": 2,
        }
    )
    one = session(spec)
    with pytest.raises(ValueError, match=r"norm.groups: 2; expected fewer than the 2 features of layer 2"):
        one.try_change(changed(spec, {"norm.kind": "group", "norm.groups": 2}), 0)
    one.try_change(changed(spec, {"norm.kind": "group", "norm.groups": 1}), 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm.kind": "none"},
        {"norm.kind": "l2", "norm.centred": True},
        {"norm.kind": "batch_population"},
        {"noise.on": True, "noise.position": "last_norm"},
        {"noise.on": False},
        {"norm.affine": "frozen"},
    ],
    ids=str,
)
@pytest.mark.parametrize("net", [MLP(hidden=(8, 8)), VGG(kind="vgg11", width=0.05)], ids=["mlp", "vgg"])
def test_trying_leaves_no_trace(net: MLP | VGG, changes: dict[str, Any]) -> None:
    spec = ONE_SAMPLE.model_copy(
        update={"net": net, "batch_size": 4, "norm": Norm(kind="batch"), "noise": Noise(on=True)}
    )
    one, twin = session(spec), session(spec)
    for tried in (one, twin):
        tried.step(0)
    sources, generation = one.net.noise_sources, one.generation
    before, drawn = copy.deepcopy(one.state_dict()), torch.get_rng_state()
    grads = [None if p.grad is None else p.grad.clone() for p in one.parameters]
    one.try_change(changed(spec, changes), 1)
    assert same(one.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [id(source) for source in one.net.noise_sources] == [id(source) for source in sources]
    assert one.generation == generation
    assert all(same(p.grad, grad) if grad is not None else p.grad is None
               for p, grad in zip(one.parameters, grads, strict=True))  # fmt: skip
    assert one.step(1) == twin.step(1)
    assert same(one.state_dict(), twin.state_dict())


def test_a_change_that_works_is_applied_as_ever(tmp_path: Path) -> None:
    run = finished(tmp_path / "run-s0", DEEP_LINEAR, [(20, {"norm.kind": "l1"})])
    assert answers(run) == [(20, "set", "applied")]
    status = read_status(run)
    assert status is not None and status.state == "finished"
    assert events(run)[-1]["state"] == "finished"
