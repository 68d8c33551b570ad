"""Where a number would be of something else than the training, observing is refused, and it is said why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.utils.checkpoint import checkpoint

import bncore
from bncore import ObserveError
from bncore.config.errors import SpecError
from bncore.external.observe import Observation
from bncore.store.errors import StoreError
from bncore.store.journal import read_events
from bncore.store.paths import RunDir
from bncore.store.status import read_status

from .factories import batches, mlp, of_type, watching

LOSS = nn.MSELoss()
INPUTS, TARGETS = batches(1, 3)[0]
Step = Callable[[nn.Module, torch.optim.Optimizer], Tensor]


def plain(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss: Tensor = LOSS(net(INPUTS), TARGETS)
    loss.backward()
    optimizer.step()
    return loss


def scaled(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """A gradient scaler's `scale`, and an update of what it scaled."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer.zero_grad()
    loss: Tensor = LOSS(net(INPUTS), TARGETS)
    scaler.scale(loss).backward()
    optimizer.step()
    return loss


def accumulated(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """The last of several batches whose gradients are added up."""
    for inputs, targets in batches(3, 3)[1:]:
        LOSS(net(inputs), targets).backward()
    loss: Tensor = LOSS(net(INPUTS), TARGETS)
    loss.backward()
    optimizer.step()
    return loss


def divided(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss: Tensor = LOSS(net(INPUTS), TARGETS) / 4
    loss.backward()
    optimizer.step()
    return loss


def penalized(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss: Tensor = LOSS(net(INPUTS), TARGETS) + 0.01 * sum(p.square().sum() for p in net.parameters())
    loss.backward()
    optimizer.step()
    return loss


def secretly_penalized(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """The recorded loss is that of the batch; the gradient is not."""
    optimizer.zero_grad()
    loss: Tensor = LOSS(net(INPUTS), TARGETS)
    (loss + 0.01 * sum(p.square().sum() for p in net.parameters())).backward()
    optimizer.step()
    return loss


def closure(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    def evaluate() -> float:
        optimizer.zero_grad()
        loss: Tensor = LOSS(net(INPUTS), TARGETS)
        loss.backward()
        return loss.item()

    optimizer.step(evaluate)
    return LOSS(net(INPUTS), TARGETS)  # type: ignore[no-any-return]


def not_updated(net: nn.Module, _optimizer: torch.optim.Optimizer) -> Tensor:
    loss: Tensor = LOSS(net(INPUTS), TARGETS)
    loss.backward()
    return loss


def updated_twice(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    plain(net, optimizer)
    return plain(net, optimizer)


def other_batch(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """An augmentation between the loader and the model."""
    optimizer.zero_grad()
    loss: Tensor = LOSS(net(INPUTS + 0.1 * torch.randn_like(INPUTS)), TARGETS)
    loss.backward()
    optimizer.step()
    return loss


def autocast(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss: Tensor = LOSS(net(INPUTS.float()).float(), TARGETS.float())
    loss.backward()
    optimizer.step()
    return loss


def evaluating(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    net.eval()
    return plain(net, optimizer)


UNSOUND: dict[str, tuple[Step, str]] = {
    "a scaler's gradient": (scaled, "gradient: at the update it is 1024 times that of the loss"),
    "accumulation": (accumulated, "gradient: at the update it is .* accumulation over batches"),
    "a divided loss": (divided, "loss: .* divided for accumulation"),
    "a penalty": (penalized, "loss: .* holds a penalty"),
    "a penalty in the gradient": (secretly_penalized, "gradient: at the update it is .* away"),
    "a closure": (closure, r"update: optimizer\.step was given a closure"),
    "no update": (not_updated, "update: none was made within the step"),
    "two updates": (updated_twice, "update: 2 were made within the step"),
    "another batch": (other_batch, "loss: .* changed on its way to the model"),
    "evaluation mode": (evaluating, "model: in evaluation mode"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_loop_is_refused_at_its_first_step(tmp_path: Path, case: str) -> None:
    torch.manual_seed(1)
    make, reason = UNSOUND[case]
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with pytest.raises(ObserveError, match=reason), watching(tmp_path / "run", net, optimizer) as watch:
        one_step(watch, net, optimizer, make)
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None
    assert status.state == "failed"
    assert not of_type(read_events(tmp_path / "run" / "journal.jsonl"), "probe")


def one_step(
    watch: Observation, net: nn.Module, optimizer: torch.optim.Optimizer, make: Step = plain
) -> None:
    with watch.step(INPUTS, TARGETS) as step:
        step.record(make(net, optimizer))


def test_autocast_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = mlp().float()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        pytest.raises(ObserveError, match=r"(loss|gradient): .*autocast"),
        watching(tmp_path / "run", net, optimizer) as watch,
        watch.step(INPUTS.float(), TARGETS.float()) as step,
    ):
        step.record(autocast(net, optimizer))


def test_autocast_around_the_step_is_refused(tmp_path: Path) -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        pytest.raises(ObserveError, match="autocast: on around the step"),
        watching(tmp_path / "run", net, optimizer) as watch,
        torch.autocast("cpu", torch.bfloat16),
        watch.step(INPUTS, TARGETS) as step,
    ):
        with torch.autocast("cpu", enabled=False):
            loss = plain(net, optimizer)
        step.record(loss)


def test_a_scaler_that_unscales_before_the_update_is_right_and_taken(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with watching(tmp_path / "run", net, optimizer) as watch, watch.step(INPUTS, TARGETS) as step:
        loss = LOSS(net(INPUTS), TARGETS)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        step.record(loss)
    assert len(of_type(read_events(tmp_path / "run" / "journal.jsonl"), "probe", "landscape")) == 1


def test_a_loop_that_becomes_unsound_later_goes_on_and_its_probes_are_told_failed(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with watching(tmp_path / "run", net, optimizer) as watch:
        for make in (plain, accumulated, plain):
            one_step(watch, net, optimizer, make)
    events = read_events(tmp_path / "run" / "journal.jsonl")
    assert [e["step"] for e in of_type(events, "probe", "landscape")] == [0, 2]
    (failed,) = of_type(events, "probe_failed")
    assert (failed["step"], failed["name"]) == (1, "landscape")
    assert "gradient: at the update" in failed["reason"]


def test_a_loss_that_is_not_told_is_asked_for(tmp_path: Path) -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        pytest.raises(ObserveError, match=r"expected step\.record\(loss\)"),
        watching(tmp_path / "run", net, optimizer) as watch,
        watch.step(INPUTS, TARGETS),
    ):
        plain(net, optimizer)


def test_a_sparse_gradient_is_refused_in_words(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Flatten(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    words, targets = torch.tensor([[0, 1], [2, 3]]), torch.zeros(2, 2)
    with (
        pytest.raises(ObserveError, match="gradient: sparse; expected a dense one"),
        watching(tmp_path / "run", net, optimizer) as watch,
        watch.step(words, targets) as step,
    ):
        loss = LOSS(net(words), targets)
        loss.backward()
        optimizer.step()
        step.record(loss)


def test_a_directory_that_cannot_be_filled_has_no_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("no space left")

    net = mlp()
    monkeypatch.setattr("bncore.external.observation.Journal", full)
    with (
        pytest.raises(StoreError, match="no space left"),
        watching(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.01)),
    ):
        pass
    assert not (tmp_path / "run" / "owner.json").exists()


def test_a_step_within_a_step_is_refused(tmp_path: Path) -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        pytest.raises(ObserveError, match="step: made within another"),
        watching(tmp_path / "run", net, optimizer) as watch,
        watch.step(INPUTS, TARGETS),
    ):
        one_step(watch, net, optimizer)


def test_a_module_with_a_generator_of_its_own_is_refused(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(3, 2).double()
            self.source = torch.Generator().manual_seed(1)

        def forward(self, x: Tensor) -> Tensor:
            return self.map(x) * torch.rand(2, generator=self.source, dtype=torch.float64)  # type: ignore[no-any-return]

    net = Own()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        pytest.raises(ObserveError, match="a module with a generator of its own"),
        watching(tmp_path / "run", net, optimizer) as watch,
    ):
        one_step(watch, net, optimizer)


def test_a_loss_with_a_generator_of_its_own_is_told_so(tmp_path: Path) -> None:
    source = torch.Generator().manual_seed(1)

    def noisy(outputs: Tensor, targets: Tensor) -> Tensor:
        return LOSS(outputs + torch.randn(outputs.shape, generator=source, dtype=outputs.dtype), targets)

    refused_at_first(
        mlp(), noisy, "loss: two passes at the same parameters, .*generator of the loss's", tmp_path
    )


def test_reentrant_checkpointing_is_told_as_the_cause(tmp_path: Path) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()

        def forward(self, x: Tensor) -> Any:
            hidden = checkpoint(lambda x: self.first(x).tanh(), x.requires_grad_(), use_reentrant=True)
            return self.last(hidden)

    refused_at_first(Checkpointed(), LOSS, "use_reentrant=True, .*; expected use_reentrant=False", tmp_path)


def refused_at_first(net: nn.Module, loss_fn: Any, reason: str, tmp_path: Path) -> None:
    """In the first step, though the check is only to report."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with (
        pytest.raises(ObserveError, match=reason),
        bncore.observe(net, loss_fn, optimizer, run=tmp_path / "run", on_error="raise") as watch,
        watch.step(INPUTS, TARGETS) as step,
    ):
        loss = loss_fn(net(INPUTS), TARGETS)
        loss.backward()
        optimizer.step()
        step.record(loss)


@contextmanager
def process_group() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def refused(net: Any, reason: str, tmp_path: Path, optimizer: Any = None, **probes: Any) -> None:
    """`observe` raises at once, and leaves no directory behind."""
    chosen = optimizer or torch.optim.SGD(net.parameters(), lr=0.01)
    with pytest.raises(ObserveError, match=reason):
        bncore.observe(net, LOSS, chosen, run=tmp_path / "run", probes=probes, check="strict")
    assert not (tmp_path / "run").exists()


def test_data_parallel_wrappers_are_refused(tmp_path: Path) -> None:
    refused(
        nn.DataParallel(mlp()), "model: DataParallel at the top; expected a module on one device", tmp_path
    )
    with process_group():
        doubly = nn.parallel.DistributedDataParallel(
            nn.Sequential(nn.parallel.DistributedDataParallel(mlp()))
        )
        refused(doubly, "model: DistributedDataParallel at 0", tmp_path)
        inside = nn.Sequential(nn.parallel.DistributedDataParallel(mlp()))
        refused(inside, "model: DistributedDataParallel at 0", tmp_path)


def test_sharded_parameters_are_refused(tmp_path: Path) -> None:
    with process_group():
        mesh = init_device_mesh("cpu", (1,))
        sharded, columns = mlp(), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        fully_shard(sharded, mesh=mesh)
        refused(sharded, "model: FSDPModule at the top; expected parameters that are whole", tmp_path)
        parallelize_module(columns, mesh, {"0": ColwiseParallel()})
        refused(columns, r"model: 0\.weight is spread over processes; expected parameters that", tmp_path)


def test_models_and_optimizers_that_cannot_be_observed_are_refused(tmp_path: Path) -> None:
    net = mlp()
    refused(net, "optimizer: LBFGS", tmp_path, torch.optim.LBFGS(net.parameters()))
    refused(net, "optimizer: str; expected a torch.optim.Optimizer", tmp_path, "sgd")
    refused(
        net, "updates none of the model's parameters", tmp_path, torch.optim.SGD(mlp().parameters(), lr=0.1)
    )
    refused(mlp().bfloat16(), r"model: 0\.weight is bfloat16; expected float32 or float64", tmp_path)
    refused(nn.Linear(3, 2, dtype=torch.cfloat), "model: weight is complex64; expected float32 or", tmp_path)
    lazy = nn.LazyLinear(2)
    refused(lazy, "model: weight has no shape yet", tmp_path, torch.optim.SGD(net.parameters(), lr=0.1))
    refused("net", "model: str; expected a torch.nn.Module", tmp_path, "sgd")


def test_probes_that_would_be_wrong_are_refused(tmp_path: Path) -> None:
    net = mlp()
    refused(net, "probes.theory: needs a network of bncore.nets", tmp_path, theory={"every": 1})
    for probe in ("ics", "landscape"):
        chosen = {probe: {"every": 1, "penalty": True}}
        refused(net, rf"probes\.{probe}\.penalty: true; expected false", tmp_path, **chosen)
    weight_normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    refused(weight_normed, "probes.ics: the weight of 0 is computed", tmp_path, ics={"every": 1})


def test_settings_that_make_no_sense_are_told_as_those_of_a_file(tmp_path: Path) -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(SpecError, match=r"observe: probes\.landscap = .*did you mean 'landscape'"):
        bncore.observe(net, LOSS, optimizer, run=tmp_path / "run", probes={"landscap": {"every": 1}})
