"""What is said of a step that is not recomputed as the loop made it, and where the loop goes on all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bncore
from bncore import ObserveError
from bncore.follow.run_view import view_runs
from bncore.store.paths import RunDir

from .factories import Event, of_type, probe_at
from .kinds import KINDS, autocast, pairs, perceptron, singles, squared
from .loops import Kind, Step, journal, run_loop

LANDSCAPE = {"landscape": {"every": 1}}


def warnings_of(events: list[Event]) -> str:
    return "\n".join(e["text"] for e in of_type(events, "warning"))


def length(parts: Any) -> float:
    return float(sum((part**2).sum() for part in parts) ** 0.5)


def test_the_deviation_is_that_of_plain_autograd(tmp_path: Path) -> None:
    """The loop has a penalty that the loss does not know of, and clips."""

    def update(at: Step) -> None:
        at.optimizer.zero_grad()
        loss = squared(at.net, at.micro[0])
        (loss + 0.05 * sum(p.square().sum() for p in at.net.parameters())).backward()
        nn.utils.clip_grad_norm_(at.net.parameters(), 0.01)
        found.append([p.grad.clone() for p in at.net.parameters() if p.grad is not None])
        at.optimizer.step()
        at.record(loss)

    found: list[list[Tensor]] = []
    run = run_loop(Kind(perceptron, squared, pairs, update), tmp_path / "run")
    event = probe_at(journal(tmp_path / "run"), "fidelity", 0)
    net = perceptron()
    net.load_state_dict({**run.before[0], **run.buffers[0]})
    squared(net, pairs()[0][0]).backward()
    g = [p.grad for p in net.parameters() if p.grad is not None]
    held = found[0]
    scale = length(held) / length(g)
    apart = length(scale * a - b for a, b in zip(g, held, strict=True)) / length(held)
    assert event["deviation"] == pytest.approx(apart, rel=1e-10)
    assert event["scale"] == pytest.approx(scale, rel=1e-10)
    assert not event["faithful"]
    assert event["precision"] == "float64"
    (view,) = view_runs([RunDir(tmp_path / "run")])
    assert "fidelity: the probes' gradient deviates by" in view.warning


def test_a_loss_that_draws_anew_at_each_call_is_told_by_its_fidelity(tmp_path: Path) -> None:
    """An augmentation by a generator that nobody can put back."""
    source = torch.Generator().manual_seed(1)

    def augmented(net: Any, batch: Any) -> Tensor:
        noise = torch.randn(batch[0].shape, generator=source, dtype=torch.float64)
        return F.mse_loss(net(batch[0] + noise), batch[1])

    with pytest.warns(
        RuntimeWarning, match="observed without probes from now on: loss: two passes at the same parameters"
    ):
        run_loop(Kind(perceptron, augmented, pairs, settings={"on_error": "warn"}), tmp_path / "run")
    assert "the probes are taken away" in warnings_of(journal(tmp_path / "run"))


def test_draws_of_the_process_are_repeated(tmp_path: Path) -> None:
    def augmented(net: Any, batch: Any) -> Tensor:
        return F.mse_loss(net(batch[0] + torch.randn_like(batch[0])), batch[1])

    run_loop(Kind(perceptron, augmented, pairs), tmp_path / "run")
    events = journal(tmp_path / "run")
    assert [e["deviation"] for e in of_type(events, "probe", "fidelity")] == [0.0, 0.0]
    assert "there is no noise floor" in warnings_of(events)


def test_a_batch_changed_in_place_after_it_was_given_is_measured_as_it_was(tmp_path: Path) -> None:
    def update(at: Step) -> None:
        at.optimizer.zero_grad()
        loss = squared(at.net, at.micro[0])
        loss.backward()
        at.optimizer.step()
        at.micro[0][0].zero_()
        at.record(loss)

    run_loop(Kind(perceptron, squared, pairs, update), tmp_path / "run")
    run_loop(KINDS["plain"], tmp_path / "plain")
    changed, plain = (probe_at(journal(tmp_path / name), "landscape", 0) for name in ("run", "plain"))
    assert changed["grad_diff"] == plain["grad_diff"]


def test_a_loss_that_writes_to_its_batch_is_given_a_new_one_every_time(tmp_path: Path) -> None:
    def writing(net: Any, batch: Any) -> Tensor:
        batch["x"] += 1.0
        return F.mse_loss(net(batch["x"]), batch["y"])

    batches = [[{"x": x, "y": y}] for ((x, y),) in pairs()]
    run_loop(Kind(perceptron, writing, lambda: batches), tmp_path / "run")
    fidelity = of_type(journal(tmp_path / "run"), "probe", "fidelity")
    assert [e["deviation"] for e in fidelity] == [0.0, 0.0]


def test_accumulated_gradients_are_those_of_one_large_batch(tmp_path: Path) -> None:
    probes = {**KINDS["plain"].probes, "activations": {"every": 1, "bins": 16}, "ics": {"every": 1}}

    def net() -> nn.Module:
        return perceptron(norm=False)

    def joined() -> list[list[Any]]:
        return [[tuple(map(torch.cat, zip(*micro, strict=True)))] for micro in pairs(count=3)]

    accumulated = Kind(
        net, squared, lambda: pairs(count=3), KINDS["accumulated gradients"].update,
        weights=(1 / 3,) * 3, probes=probes,
    )  # fmt: skip
    for name, kind in (("micro", accumulated), ("large", Kind(net, squared, joined, probes=probes))):
        run_loop(kind, tmp_path / name)
    micro, large = (of_type(journal(tmp_path / name), "probe") for name in ("micro", "large"))
    assert len(micro) == len(large) == 10
    for one, other in zip(micro, large, strict=True):
        for field in ("loss", "grad_diff", "beta", "eigenvalue", "l2", "mean", "variance", "counts"):
            if field in other:
                np.testing.assert_allclose(one[field], other[field], rtol=1e-6, atol=1e-12, err_msg=field)
    steps = [of_type(journal(tmp_path / name), "step") for name in ("micro", "large")]
    losses = [[e["loss"] for e in found] for found in steps]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_a_noise_floor_is_measured_only_where_the_order_of_the_batch_is_none_of_the_loss_s(
    tmp_path: Path,
) -> None:
    for name, expected in (("plain", True), ("mixup", False), ("accumulated gradients", True)):
        run_loop(KINDS[name], tmp_path / name)
        assert ("floor" in probe_at(journal(tmp_path / name), "landscape", 0)) == expected


def test_every_micro_batch_meets_its_own_draws_again(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).double()

    run_loop(replace(KINDS["accumulated gradients"], net=net), tmp_path / "run")
    events = journal(tmp_path / "run")
    assert [e["deviation"] for e in of_type(events, "probe", "fidelity")] == [0.0, 0.0]
    assert "floor" not in probe_at(events, "landscape", 0)


def overflowing(net: Any, batch: Any) -> Tensor:
    return squared(net, batch) * (1e37 if float(batch[0][0, 0]) == 7 else 1.0)


def skipping_batches() -> list[list[Any]]:
    batches = singles(updates=4)
    for number in (0, 2):
        batches[number][0][0][0, 0] = 7
    return batches


@pytest.mark.parametrize("name", ["a gradient scaler", "a gradient scaler, unscaled by the optimizer"])
def test_updates_that_a_scaler_skips_are_events_and_the_rest_is_measured(tmp_path: Path, name: str) -> None:
    kind = replace(
        KINDS[name],
        net=lambda: perceptron(norm=False).float(),
        loss_of=overflowing,
        batches=skipping_batches,
        probes=LANDSCAPE,
    )
    run_loop(kind, tmp_path / "run")
    events = journal(tmp_path / "run")
    assert [(e["step"], e["reason"]) for e in of_type(events, "skipped")] == [
        (step, "the gradient is not finite: the gradient scaler skipped the update") for step in (0, 2)
    ]
    assert [e["step"] for e in of_type(events, "probe", "landscape")] == [1, 3]
    assert [e["step"] for e in of_type(events, "step")] == [0, 1, 2, 3]


def test_under_autocast_probes_compute_in_float32_unless_told_otherwise(tmp_path: Path) -> None:
    for name, expected in (
        ("bfloat16 autocast", "float32"),
        ("probes under the loop's autocast", "bfloat16 autocast"),
    ):
        run_loop(KINDS[name], tmp_path / name)
        event = probe_at(journal(tmp_path / name), "fidelity", 0)
        assert (event["precision"], event["deviation"]) == (expected, 0.0)
        assert event["tolerance"] == pytest.approx(2**-3.5)
        assert (event.get("precision_deviation", 0.0) > 1e-4) == (expected == "float32")


def test_what_a_scaler_keeps_from_underflow_in_float16_is_kept_here_too(tmp_path: Path) -> None:
    def tiny(net: Any, batch: Any) -> Tensor:
        return 1e-5 * autocast(torch.float16)(net, batch)

    def update(at: Step) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        loss = tiny(at.net, at.micro[0])
        scaler.scale(loss).backward()
        scaler.step(at.optimizer)
        at.record(loss)

    kind = replace(KINDS["bfloat16 autocast"], loss_of=tiny, update=update, probes=LANDSCAPE)
    run_loop(kind, tmp_path / "run")
    event = probe_at(journal(tmp_path / "run"), "fidelity", 0)
    assert event["deviation"] < 1e-3
    net = perceptron().float()
    tiny(net, singles()[0][0]).backward()
    scaled = perceptron().float()
    scaled.load_state_dict(net.state_dict())
    (2.0**16 * tiny(scaled, singles()[0][0])).backward()
    plain, right = ([p.grad for p in one.parameters() if p.grad is not None] for one in (net, scaled))
    assert length(a - b / 2**16 for a, b in zip(plain, right, strict=True)) > 0.01 * length(plain)


def test_autocast_around_the_whole_step_is_repeated_for_the_comparison(tmp_path: Path) -> None:
    net = perceptron().float()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with (
        bncore.observe(net, optimizer, loss_of=squared, run=tmp_path / "run", probes=LANDSCAPE) as watch,
        torch.autocast("cpu", torch.bfloat16),
        watch.step(singles()[0][0]) as step,
    ):
        loss = squared(net, singles()[0][0])
        loss.backward()
        optimizer.step()
        step.record(loss)
    event = probe_at(journal(tmp_path / "run"), "fidelity", 0)
    assert (event["deviation"], event["precision"]) == (0.0, "float32")


def test_either_loss_is_asked_for(tmp_path: Path) -> None:
    net = perceptron()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    observe: Any = bncore.observe
    for arguments in (
        {"optimizer": optimizer},
        {"loss_fn": F.mse_loss, "loss_of": squared, "optimizer": optimizer},
        {"loss_of": 3, "optimizer": optimizer},
    ):
        with pytest.raises(ObserveError, match="loss: expected either"):
            observe(net, run=tmp_path / "run", **arguments)
    with pytest.raises(ObserveError, match="check: 'lax'; expected 'report' or 'strict'"):
        observe(net, optimizer, loss_of=squared, run=tmp_path / "run", check="lax")
    for arguments in ({"loss_fn": F.mse_loss}, {"loss_of": squared}):
        assert observe(model=net, optimizer=optimizer, run=tmp_path / "run", **arguments).position == 0
