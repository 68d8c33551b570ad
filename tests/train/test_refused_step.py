"""Nothing of a refused step remains: parameters, statistics and checkpoint are those of the last finite state."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from resume.factories import Updates, events, make_run, train

from bncore.config.change import changed
from bncore.config.model import Norm, Optim, Spec
from bncore.train import checkpoint

from .factories import exploding_spec, session
from .test_rewind import same

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
    step, found = checkpoint.load(checkpoint.listing(run.checkpoints)[-1].path)
    assert step == events(run)[-1]["step"] > 0
    twin = session(exploding(kind))
    for number in range(step):
        twin.step(number)
    expected = twin.net.state_dict()
    assert found["net"].keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found["net"][name], tensor, msg=name, equal_nan=False)
