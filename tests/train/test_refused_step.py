"""Nothing of a refused step remains: parameters, statistics and checkpoint are those of the last finite state."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from resume.factories import Updates, events, make_run, train

from bncore.config.change import changed
from bncore.config.model import MLP, Norm, Optim, Spec
from bncore.nets import ForwardMode
from bncore.store import commands, requests
from bncore.store.paths import list_checkpoints
from bncore.train import checkpoint
from bncore.train.state import TrainState

from .factories import exploding_spec, session
from .test_state_backup import same

EXPLODING = exploding_spec()
"""The first update is of a size whose next loss overflows."""

WITH_STATISTICS = (
    "batch",
    "l1",
    "l2",
    "linf",
    "lp:3",
    "mean_only",
    "variance_only",
    "batch_detached",
    "batch_population",
)


def exploding(kind: str, *, momentum: float = 0.0) -> Spec:
    return EXPLODING.model_copy(update={"norm": Norm(kind=kind), "optim": Optim(lr=1e30, momentum=momentum)})


@pytest.mark.parametrize("kind", [*WITH_STATISTICS, "none", "layer"])
def test_a_refused_step_leaves_the_session_as_it_was(kind: str) -> None:
    one = session(exploding(kind))
    for step in range(EXPLODING.steps):
        before = copy.deepcopy(one.state_dict())
        record = one.step(step)
        if record is not None and not record.finite:
            break
    assert step > 0 and record is not None and not record.finite, "or nothing is tested"
    assert same(one.state_dict(), before)


def test_nor_does_it_count_in_the_average_that_a_switch_begins() -> None:
    one = session(exploding("none"))
    one.step(0)
    one.change(changed(one.spec, {"norm.kind": "l2"}))
    before = copy.deepcopy(one.state_dict())
    with torch.no_grad():
        one.net.layers[0].weight.fill_(float("nan"))
    record = one.step(1)
    assert record is not None and not record.finite
    assert [norm.averaged for norm in one.net.norms] == [0, 0]
    for name, buffer in one.net.named_buffers():
        assert torch.equal(buffer, before["net"][name])


@pytest.mark.parametrize(("ahead", "updates"), [(1, ""), (64, ""), (64, "fused"), (64, "graphs")])
@pytest.mark.parametrize("kind", ["batch", "l2", "batch_population"])
def test_a_diverged_run_ends_with_the_last_finite_state(
    tmp_path: Path, kind: str, ahead: int, updates: Updates
) -> None:
    """As it would have been checkpointed before the step, however the steps were made."""
    run = make_run(tmp_path / "run", exploding(kind))
    assert train(run, ahead=ahead, updates=updates) == 0, run.log_file.read_text()
    assert events(run)[-1]["state"] == "diverged", "or nothing is tested"
    step, found = checkpoint.load(list_checkpoints(run.checkpoints)[-1].path)
    assert step == events(run)[-1]["step"] > 0
    twin = session(exploding(kind))
    for number in range(step):
        twin.step(number)
    expected = twin.net.state_dict()
    assert found["net"].keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found["net"][name], tensor, msg=name, equal_nan=False)


STEEP = exploding_spec(steps=40, net=MLP(hidden=(8,)), optim=Optim(lr=1e-60), log_every=4, seed=2)
"""It stays where it is put (its rate is 0 in float32): whether a gradient overflows depends on the batch alone."""


def put_where_a_gradient_overflows(one: TrainState, earliest: int = 12) -> int:
    """Make gamma so small and the head so large that losses are finite and gradients about as large as numbers can
    be; the first step whose gradient is not finite."""
    norm, head = one.net.norms[0], one.net.layers[-1].weight
    for part in range(240):
        with torch.no_grad():
            head.copy_(head.sign() * 1e26)
            norm.weight.fill_(1e-15 * 2 ** (part / 48))
        for step in range(one.spec.steps):
            inputs, targets = one.data.batch(step)
            loss = one.criterion(one.outputs(inputs, ForwardMode(training=True)), targets)
            assert loss.isfinite()
            grads = torch.autograd.grad(loss, one.parameters, allow_unused=True)
            if not all(grad is None or grad.isfinite().all() for grad in grads):
                assert step >= earliest, "or no graph is tested"
                return step
    raise AssertionError("nothing is tested")


@pytest.mark.parametrize("record", [True, False])
def test_a_gradient_that_overflows_under_a_finite_loss_is_refused(record: bool) -> None:
    one = session(STEEP)
    overflow = put_where_a_gradient_overflows(one)
    for step in range(overflow):
        made = one.step(step, record=record)
        assert made is None or made.finite
    before = copy.deepcopy(one.state_dict())
    refused = one.step(overflow, record=record)
    assert refused is not None and not refused.finite
    assert math.isfinite(refused.loss) and not math.isfinite(refused.grad_norm)
    assert same(one.state_dict(), before)


def test_a_gradient_whose_norm_alone_overflows_is_none() -> None:
    one = session(STEEP)
    with torch.no_grad():
        one.net.layers[-1].weight.mul_(1e22)
        one.net.norms[0].weight.fill_(1e-14)
    made = one.step(0)
    assert made is not None and made.finite and made.grad_norm == math.inf


@pytest.mark.parametrize(
    ("ahead", "updates"), [(1, ""), (1, "fused"), (7, ""), (64, "fused"), (64, "graphs"), (5, "graphs")]
)
def test_a_run_diverges_where_its_gradient_overflows(tmp_path: Path, ahead: int, updates: Updates) -> None:
    run = make_run(tmp_path / "run", STEEP)
    requests.send_request(run, commands.Stop(at_step=1))
    assert train(run) == 0, run.log_file.read_text()
    one = session(STEEP)
    (found,) = list_checkpoints(run.checkpoints)
    _, state = checkpoint.load(found.path)
    one.load_state_dict(state)
    overflow = put_where_a_gradient_overflows(one)
    checkpoint.save(run.checkpoints, 1, state | one.state_dict())
    assert train(run, ahead=ahead, updates=updates) == 0, run.log_file.read_text()
    last = [event for event in events(run) if event["type"] == "step"][-1]
    assert (last["step"], last["grad_norm"] in ("nan", "inf"), "finite" in last) == (overflow, True, False)
    assert math.isfinite(last["loss"])
    ended = events(run)[-1]
    assert (ended["state"], ended["step"]) == ("diverged", overflow)
    for step in range(1, overflow):
        one.step(step)
    step, left = checkpoint.load(list_checkpoints(run.checkpoints)[-1].path)
    assert step == overflow
    for name, tensor in one.net.state_dict().items():
        torch.testing.assert_close(left["net"][name], tensor, msg=name, equal_nan=False)
