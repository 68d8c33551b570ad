"""One step of training: what it computes, records, and leaves alone."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from torch import nn

from bncore.config.model import MLP, Evaluation, GaussianData, ImageData, Loss, Norm, Optim, Schedule, Spec
from bncore.config.probes import Landscape, Probes
from bncore.data.resident import load
from bncore.probes.run import PROBES
from bncore.train.checkpoint import params_sha256
from bncore.train.state import TrainState, evaluate
from train.factories import dln_spec, session


def classifier(**changes: object) -> Spec:
    """A small perceptron on the synthetic images."""
    spec = Spec(
        steps=5,
        batch_size=50,
        device="cpu",
        threads=1,
        data=ImageData(source="synthetic"),
        net=MLP(hidden=(16,)),
        optim=Optim(lr=0.05, weight_decay=0.01),
        eval=Evaluation(train_samples=120, test_samples=70, batch_size=50),
    )
    return spec.model_copy(update=changes)


@pytest.fixture(scope="module")
def trained() -> TrainState:
    """A classifier after three steps."""
    found = TrainState(classifier(), load(classifier()))
    for step in range(3):
        found.step(step)
    return found


def test_the_same_spec_gives_the_same_digest_and_another_seed_another() -> None:
    digests = []
    for spec in (dln_spec(), dln_spec(), dln_spec(seed=1)):
        run = session(spec)
        for step in range(10):
            run.step(step)
        digests.append(params_sha256(run.net))
    assert digests[0] == digests[1] != digests[2]


def test_a_step_is_plain_gradient_descent_on_the_plain_network() -> None:
    """Against five bare matrices and autograd."""
    spec = dln_spec(norm=Norm(kind="none", bias=False))
    run = session(spec)
    weights = [layer.weight.detach().clone().requires_grad_() for layer in run.net.layers]
    x, y = run.data.train_inputs, run.data.train_targets
    for step in range(3):
        outputs = x
        for weight in weights:
            outputs = outputs @ weight.T
        loss = 0.5 * ((outputs - y) ** 2).sum()
        gradients = torch.autograd.grad(loss, weights)
        record = run.step(step)
        assert record is not None
        assert record.loss == pytest.approx(loss.item(), rel=1e-13)
        assert record.grad_norm == pytest.approx(
            math.sqrt(sum((g**2).sum().item() for g in gradients)), rel=1e-12
        )
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(spec.optim.lr * gradient)
        for layer, weight in zip(run.net.layers, weights, strict=True):
            torch.testing.assert_close(layer.weight, weight, rtol=1e-12, atol=1e-14)


def test_loss_and_penalty_are_recorded_apart(trained: TrainState) -> None:
    before = [p.detach().clone() for p in trained.parameters]
    record = trained.step(3)
    assert record is not None
    expected = 0.005 * sum((p.double() ** 2).sum().item() for p in before)
    assert record.penalty == pytest.approx(expected, rel=1e-5)
    assert record.loss < 10  # without the penalty


@pytest.mark.parametrize("kind", ["none", "batch", "weight"])
@pytest.mark.parametrize("decay", ["all", "weights"])
def test_the_journaled_penalty_is_what_the_landscapes_loss_gains_by_it(decay: str, kind: str) -> None:
    """And what it is by definition: of the parameters in use, or of the maps' weights alone."""
    spec = classifier(
        precision="float64", norm=Norm(kind=kind),
        optim=Optim(lr=0.05, momentum=0.9, weight_decay=0.01, decay=decay),  # type: ignore[arg-type]
    )  # fmt: skip
    run = TrainState(spec, load(spec))
    run.step(0)
    moved = run.net.active_parameters()
    decayed = moved.values() if decay == "all" else [layer.weight for layer in run.net.layers]
    theta = [p.detach().clone() for p in decayed]
    record = run.step(1, observe=True)
    assert record is not None and run.view is not None
    assert record.penalty == pytest.approx(0.005 * sum((p**2).sum().item() for p in theta), rel=1e-12)
    without, with_it = (
        PROBES["landscape"](spec.model_copy(update={"probes": Probes(landscape=Landscape(penalty=penalty))}))
        .measure(run.view)["loss0"]
        for penalty in (False, True)
    )  # fmt: skip
    assert without == record.loss
    assert with_it - without == pytest.approx(record.penalty, rel=1e-10)


def test_kind_none_never_moves_gamma_not_even_by_decay() -> None:
    spec = classifier(norm=Norm(kind="none"))
    run = TrainState(spec, load(spec))
    run.step(0)
    (norm,) = run.net.norms
    assert torch.equal(norm.weight, torch.ones_like(norm.weight))
    assert not torch.equal(norm.bias, torch.zeros_like(norm.bias))


def test_a_loss_that_is_not_finite_is_recorded_and_not_applied() -> None:
    run = session(dln_spec())
    with torch.no_grad():
        run.net.layers[0].weight.fill_(math.nan)
    before = {name: p.detach().clone() for name, p in run.net.named_parameters()}
    record = run.step(0, record=False)
    assert record is not None
    assert not record.finite
    for name, p in run.net.named_parameters():
        assert torch.equal(p.nan_to_num(7.0), before[name].nan_to_num(7.0))


def test_evaluation_is_the_loss_over_the_samples_in_evaluation_mode(trained: TrainState) -> None:
    """Against torch's own modules with the running statistics, sample by sample."""
    hidden, head = trained.net.layers
    norm = hidden.norm
    data = trained.data
    images = data.train_inputs[:120].double() / 255
    mean = data.train_inputs.double().mean((0, 2, 3)) / 255
    std = data.train_inputs.double().std((0, 2, 3), correction=0) / 255
    x = ((images - mean.view(3, 1, 1)) / std.view(3, 1, 1)).flatten(1)
    y = x @ hidden.weight.detach().double().T
    y_hat = (y - norm.running_mean.double()) / (norm.running_var.double() + 1e-5).sqrt()
    active = torch.relu(norm.weight.detach().double() * y_hat + norm.bias.detach().double())
    logits = active @ head.weight.detach().double().T + head.bias.detach().double()
    expected = nn.functional.cross_entropy(logits, data.train_targets[:120]).item()
    right = (logits.argmax(1) == data.train_targets[:120]).double().mean().item()
    found = evaluate(trained, 3)
    assert found["train_loss"] == pytest.approx(expected, rel=1e-4)
    assert found["train_accuracy"] == pytest.approx(right, abs=1e-6)


def test_evaluation_leaves_no_trace() -> None:
    quiet, looking = session(dln_spec()), session(dln_spec())
    for step in range(6):
        evaluate(looking, step)
        assert quiet.step(step) == looking.step(step)
    assert params_sha256(quiet.net) == params_sha256(looking.net)


def test_sums_are_summed_and_regression_has_no_accuracy() -> None:
    spec = dln_spec(data=GaussianData(samples=40, features=4), eval=Evaluation(train_samples=0, batch_size=7))
    found = evaluate(session(spec), 0)
    whole = evaluate(session(spec.model_copy(update={"eval": Evaluation(train_samples=0)})), 0)
    assert found == pytest.approx(whole, rel=1e-12)
    assert set(found) == {"train_loss", "test_loss"}
    summed = evaluate(
        session(spec.model_copy(update={"loss": Loss(kind="squared_error", reduction="sum")})), 0
    )
    assert summed["train_loss"] == pytest.approx(2 * found["train_loss"], rel=1e-12)


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_state_goes_through_a_dictionary_and_training_goes_on_exactly(decay: str) -> None:
    spec = dln_spec(optim=Optim(kind="adam", lr=1e-3, weight_decay=0.01, decay=decay))  # type: ignore[arg-type]
    one, other = session(spec), session(spec)
    for step in range(5):
        one.step(step)
    state = torch.load(_saved(one), weights_only=True)
    other.load_state_dict(state)
    for step in range(5, 10):
        assert one.step(step) == other.step(step)
    assert params_sha256(one.net) == params_sha256(other.net)


def _saved(run: TrainState) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(run.state_dict(), buffer)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_weights_move_by_the_length_asked_for_in_the_optimizers_direction(kind: str) -> None:
    optim = Optim(kind=kind, lr=0.01, relative_update=0.03, schedule=Schedule(warmup=2))  # type: ignore[arg-type]
    plain = Optim(kind=kind, lr=0.01, schedule=Schedule(warmup=2))  # type: ignore[arg-type]
    mine, theirs = session(dln_spec(optim=optim)), session(dln_spec(optim=plain))
    for step in range(3):
        theirs.load_state_dict(copy.deepcopy(mine.state_dict()))
        before = [layer.weight.detach().clone() for layer in mine.net.layers]
        gammas = [norm.weight.detach().clone() for norm in mine.net.norms]
        mine.step(step)
        theirs.step(step)
        wanted = 0.03 * min(1.0, (step + 1) / 2)
        for layer, other, start in zip(mine.net.layers, theirs.net.layers, before, strict=True):
            move, his = layer.weight.detach() - start, other.weight.detach() - start
            assert float(move.norm() / start.norm()) == pytest.approx(wanted, rel=1e-12)
            torch.testing.assert_close(move / move.norm(), his / his.norm(), rtol=1e-9, atol=1e-12)
        for norm, other_norm, gamma in zip(mine.net.norms, theirs.net.norms, gammas, strict=True):
            assert torch.equal(norm.weight, other_norm.weight)  # only the maps' weights are rescaled
            assert not torch.equal(norm.weight, gamma)


def test_a_weight_that_the_optimizer_leaves_alone_stays() -> None:
    run = session(dln_spec(optim=Optim(lr=1e-3, relative_update=0.1)))
    run.data.train_inputs.zero_()
    run.data.train_targets.zero_()
    before = [layer.weight.detach().clone() for layer in run.net.layers]
    run.step(0)
    assert all(torch.equal(a, layer.weight) for a, layer in zip(before, run.net.layers, strict=True))
