"""Controls of a loop: what each ready-made one changes, when, and what becomes of a change that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import bncore
from bncore.config.controls import Control, parse_controls, show_value
from bncore.config.errors import SpecError
from bncore.config.model import Noise
from bncore.external.observe import Observation, ObserveError
from bncore.nets.forward_mode import ForwardMode
from bncore.nets.noise import NoiseSource
from bncore.store.commands import SetControls, read_controls
from bncore.store.journal import read_events
from bncore.store.requests import send_request
from bncore.train.checkpoint import params_sha256

from .factories import Event, Loop, batches, mlp, of_type, watching

DATA = batches(6, 3)
AT = 3
"""The step from which changes hold."""


def steered(
    run: Path,
    net: nn.Module,
    declare: Callable[[Observation], object],
    changes: dict[str, Any],
    read: Callable[[torch.optim.Optimizer], object] = lambda _: None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
) -> tuple[list[Event], list[object]]:
    """A loop that is requested changes at step `AT`: its journal, and what `read` gives in each step."""
    loop = Loop(net, optimizer=optimizer)  # type: ignore[arg-type]
    seen = []
    with watching(run, net, loop.optimizer, check="report") as watch:
        declare(watch)
        if changes:
            send_request(watch.run, SetControls(changes=changes, at_step=AT))
        for batch in DATA:
            with watch.step(*batch) as step:
                seen.append(read(loop.optimizer))
                step.record(loop.make(*batch))
    return read_events(run / "journal.jsonl"), seen


def answer(events: list[Event]) -> Event:
    """What the loop said to the one request."""
    (event,) = of_type(events, "request")
    assert event["step"] == AT
    return event


def groups(net: nn.Module, kind: type[Any] = torch.optim.SGD, **settings: Any) -> torch.optim.Optimizer:
    """Weights at one rate, everything else at a quarter of it and without decay."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    slow = {"params": others, "lr": 0.025, "weight_decay": 0.0}
    optimizer: torch.optim.Optimizer = kind(
        [{"params": weights, "weight_decay": 0.5}, slow], lr=0.1, **settings
    )
    return optimizer


def test_a_change_holds_from_its_step_on_and_is_journaled_with_old_and_new(tmp_path: Path) -> None:
    events, rates = steered(
        tmp_path / "run", mlp(), Observation.control_optimizer, {"lr": 0.01},
        lambda optimizer: optimizer.param_groups[0]["lr"],
    )  # fmt: skip
    assert rates == [0.1] * AT + [0.01] * (len(DATA) - AT)
    assert answer(events)["outcome"] == "applied"
    assert (answer(events)["old"], answer(events)["new"]) == ({"lr": 0.1}, {"lr": 0.01})
    assert [event["lr"] for event in of_type(events, "step")] == rates
    declared = [event["control"]["name"] for event in of_type(events, "control")]
    assert declared == ["lr", "momentum", "weight_decay"]
    controls = read_controls(bncore.load_run(tmp_path / "run").run)
    assert {one.name: one.value for one in controls or ()} == {"lr": 0.01, "momentum": 0.9, "weight_decay": 0}


@pytest.mark.parametrize("what", ["lr", "weight_decay"])
def test_groups_keep_their_ratio_also_through_zero(tmp_path: Path, what: str) -> None:
    net = mlp()
    optimizer = groups(net)
    before = [group[what] for group in optimizer.param_groups]
    with watching(tmp_path / "run", net, optimizer, check="report", probes={}) as watch:
        watch.control_optimizer(what)
        panel = watch._steering.panel
        for value in (2 * before[0], 0.0, 4 * before[0]):
            panel.change({what: value})
            ratio = value / before[0]
            assert [group[what] for group in optimizer.param_groups] == [one * ratio for one in before]
            assert panel.state()[0].value == value


def test_each_group_has_a_control_of_its_own_on_request(tmp_path: Path) -> None:
    net = mlp()
    events, rates = steered(
        tmp_path / "run", net, lambda watch: watch.control_optimizer("lr", per_group=True), {"lr.1": 0.5},
        lambda optimizer: [group["lr"] for group in optimizer.param_groups],
        optimizer=groups(net),
    )  # fmt: skip
    assert rates == [[0.1, 0.025]] * AT + [[0.1, 0.5]] * (len(DATA) - AT)
    assert answer(events)["old"] == {"lr.1": 0.025}


def test_momentum_of_adam_is_its_first_beta_and_a_tensor_stays_one(tmp_path: Path) -> None:
    net = mlp()
    rate = torch.tensor(0.5, dtype=torch.float64)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.5, 0.99))
    events, seen = steered(
        tmp_path / "run", net, Observation.control_optimizer, {"momentum": 0.25, "lr": 0.125},
        lambda optimizer: (optimizer.param_groups[0]["betas"], float(optimizer.param_groups[0]["lr"])),
        optimizer=optimizer,
    )  # fmt: skip
    assert seen == [((0.5, 0.99), 0.5)] * AT + [((0.25, 0.99), 0.125)] * (len(DATA) - AT)
    assert optimizer.param_groups[0]["lr"] is rate
    assert answer(events)["old"] == {"momentum": 0.5, "lr": 0.5}


def test_noise_is_that_of_the_paper_from_its_step_on_and_disturbs_no_other_draw(tmp_path: Path) -> None:
    outputs: dict[bool, list[Tensor]] = {}
    events: dict[bool, list[Event]] = {}
    for noisy in (False, True):
        torch.manual_seed(2)
        net = mlp(dropout=0.5)
        told: list[Tensor] = []
        net[3].register_forward_pre_hook(
            lambda _module, inputs, told=told: told.append(torch.get_rng_state())
        )
        net[1].register_forward_hook(lambda _module, _inputs, output, told=told: told.append(output.detach()))
        events[noisy], _ = steered(
            tmp_path / str(noisy), net, lambda watch: watch.control_noise("1", n_mu=0.25), {"noise": noisy}
        )
        outputs[noisy] = told
    states = [[one for one in outputs[noisy] if one.dtype == torch.uint8] for noisy in (False, True)]
    assert all(torch.equal(*pair) for pair in zip(*states, strict=True)), "the loop's own draws"
    first = [next(one for one in outputs[noisy] if one.dtype != torch.uint8) for noisy in (False, True)]
    assert torch.equal(*first), "no noise before it was requested"
    assert answer(events[True])["new"] == {"noise": True}
    assert of_type(events[True], "step")[AT - 1]["loss"] == of_type(events[False], "step")[AT - 1]["loss"]
    assert of_type(events[True], "step")[AT]["loss"] != of_type(events[False], "step")[AT]["loss"]
    assert all(event.get("faithful", True) for event in of_type(events[True], "probe")), "the same noise"


def test_noise_is_no_hook_of_the_loops_own(tmp_path: Path) -> None:
    net = mlp()
    with watching(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1)) as watch:
        watch.control_noise("1")
        watch._steering.panel.change({"noise": True})
        for inputs, targets in batches(2, 3):
            with watch.step(inputs, targets) as step:
                loss = nn.functional.mse_loss(net(inputs), targets)
                loss.backward()
                watch._optimizer.step()
                step.record(loss)
    warnings = of_type(read_events(tmp_path / "run" / "journal.jsonl"), "warning")
    assert not any("hooks" in e["text"] for e in warnings)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 2)])
def test_noise_is_drawn_by_seed_step_and_module_in_training_only(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    net = nn.Sequential(nn.Identity(), nn.Identity(), nn.Linear(3, 2)).double()
    a = torch.randn(shape, dtype=torch.float64)
    with watching(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1), seed=7) as watch:
        watch.control_noise("0", "1", r_sigma=0.5)
        watch._steering.panel.change({"noise": True, "noise.n_sigma": 2})
        watch._steering.last_started = 11
        setting = Noise(on=True, r_sigma=0.5, n_sigma=2.0)
        for layer in (1, 2):
            expected = NoiseSource(setting, seed=7, layer=layer).apply(a, ForwardMode(noise_step=11))
            assert torch.equal(net[layer - 1](a), expected)
            assert not torch.equal(expected, a)
        net.eval()
        assert net[0](a) is a
        net.train()
        watch._steering.panel.change({"noise": False})
        assert net[0](a) is a
        assert not any(module._forward_hooks for module in net.modules())


def test_a_norm_is_of_another_kind_from_its_step_on(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), bncore.SwitchableNorm(4), nn.ReLU(), nn.Linear(4, 2)).double()
    norm = net[1]
    assert isinstance(norm, bncore.SwitchableNorm)
    events, kinds = steered(
        tmp_path / "run", net, Observation.control_norm, {"norm": "lp:3"}, lambda _: norm.setting.kind
    )
    assert kinds == ["batch"] * AT + ["lp:3"] * (len(DATA) - AT)
    assert (answer(events)["old"], answer(events)["new"]) == ({"norm": "batch"}, {"norm": "lp:3"})
    assert all(event.get("faithful", True) for event in of_type(events, "probe"))


def test_a_kind_that_would_normalize_single_values_is_rejected_for_all_norms(tmp_path: Path) -> None:
    norms = [bncore.SwitchableNorm(4), bncore.SwitchableNorm(4)]
    net = nn.Sequential(nn.Linear(3, 4), norms[0], nn.Linear(4, 4), norms[1], nn.Linear(4, 2)).double()
    events, _ = steered(tmp_path / "run", net, Observation.control_norm, {"norm": "instance"})
    assert answer(events)["outcome"] == "rejected"
    assert "expected another kind where a linear layer is normalized" in answer(events)["reason"]
    assert [norm.setting.kind for norm in norms] == ["batch", "batch"]
    assert len(of_type(events, "step")) == len(DATA)


def test_dropout_and_any_attribute(tmp_path: Path) -> None:
    class Schedule:
        warmup = 5

    schedule, net = Schedule(), mlp(dropout=0.5)

    def declare(watch: Observation) -> None:
        watch.control_dropout()
        watch.control_attribute(schedule, "warmup", minimum=0, maximum=9)

    events, seen = steered(
        tmp_path / "run", net, declare, {"dropout": 0, "warmup": 9}, lambda _: (net[3].p, schedule.warmup)
    )
    assert seen == [(0.5, 5)] * AT + [(0.0, 9)] * (len(DATA) - AT)
    assert answer(events)["new"] == {"dropout": 0.0, "warmup": 9}


class Stubborn:
    """A setting that takes some values and fails half way with others."""

    value = 1.0
    broken = False

    def get(self) -> float:
        return self.value

    def set(self, value: float) -> None:
        if self.broken:
            raise RuntimeError("broken for good")
        if value == 5:
            self.value, self.broken = value, True
            raise RuntimeError("it broke")
        if value == 4:
            self.value = value
            raise KeyError("half way")
        if value != 3:
            self.value = value


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lr": 0.5, "own": 4.0}, "own = 4: KeyError: 'half way'"),
        ({"own": 3.0}, "own = 3: ValueError: still 1 after it was set"),
        ({"lr": 0.5, "own": 20.0}, "own = 20.0: expected a number from 0 to 10"),
        ({"lr": 0.5, "other": 1}, "other = 1: no such control; expected one of lr, own"),
        ({"own": True}, "own = true: expected a number from 0 to 10"),
        ({"own": "2"}, "own = '2': expected a number from 0 to 10"),
        ({"own": 5.0}, "own = 5: RuntimeError: it broke; own could not be set back to 1: broken for good"),
    ],
)
def test_a_change_that_fails_leaves_everything_as_it_was_and_the_training_goes_on(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    stubborn = Stubborn()

    def declare(watch: Observation) -> None:
        watch.control_optimizer("lr")
        watch.control("own", stubborn.get, stubborn.set, minimum=0, maximum=10)

    torch.manual_seed(1)
    net = mlp()
    events, rates = steered(
        tmp_path / "run", net, declare, changes, lambda optimizer: optimizer.param_groups[0]["lr"]
    )
    assert (answer(events)["outcome"], answer(events)["reason"]) == ("rejected", why)
    assert rates == [0.1] * len(DATA)
    assert stubborn.broken or stubborn.value == 1
    torch.manual_seed(1)
    alone = Loop(mlp())
    for batch in DATA:
        alone.make(*batch)
    assert params_sha256(net) == params_sha256(alone.net)


def test_controls_that_nobody_touches_change_nothing(tmp_path: Path) -> None:
    def everything(watch: Observation) -> None:
        watch.control_optimizer()
        watch.control_noise("1")
        watch.control_norm()
        watch.control_dropout()

    digests = set()
    for number, declare in enumerate((everything, lambda _: None, None)):
        torch.manual_seed(1)
        net = mlp(dropout=0.5)
        net[1] = bncore.SwitchableNorm(4).double()
        if declare is None:
            loop = Loop(net)
            for batch in DATA:
                loop.make(*batch)
        else:
            steered(tmp_path / str(number), net, declare, {})
        digests.add(params_sha256(net))
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda watch: watch.control("a b", lambda: 1, print), "control 'a b': name: 'a b': "),
        (lambda watch: watch.control("a", list, print), "get gave []; expected a float, int, bool or str"),
        (lambda watch: watch.control("a", lambda: 3, print, maximum=2), "3 now; expected a whole number <= 2"),
        (lambda watch: [watch.control("a", int, print), watch.control("a", int, print)], "declared already"),
        (lambda watch: watch.control_optimizer("beta"), "SGD has no beta; expected lr, momentum or weight_decay"),
        (lambda watch: watch.control_noise(), "no modules; expected names, or patterns"),
        (lambda watch: watch.control_noise("layer1.*"), "'layer1.*' names no module"),
        (lambda watch: watch.control_norm(), "the model has no SwitchableNorm there"),
        (lambda watch: watch.control_dropout("0"), "the model has no DropoutNd there"),
    ],
)  # fmt: skip
def test_what_cannot_be_declared_is_said_at_once(
    tmp_path: Path, declare: Callable[[Observation], object], why: str
) -> None:
    net = mlp()
    with (
        pytest.raises(ObserveError) as refused,
        watching(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1)) as watch,
    ):
        declare(watch)
    assert why in str(refused.value)


def test_a_compiled_model_has_no_noise(tmp_path: Path) -> None:
    net = mlp()
    compiled = torch.compile(net, backend="eager")
    observation = bncore.observe(
        compiled, nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0.1), run=tmp_path / "run"
    )
    with pytest.raises(ObserveError, match="the model is compiled; expected one that is not"):
        observation.control_noise("1")


NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
FLOATS = st.floats(-1e30, 1e30)


@given(FLOATS, FLOATS, FLOATS, NUMBERS)
def test_a_number_is_accepted_within_its_limits_and_read_back_as_it_is_shown(
    a: float, b: float, c: float, given_: float
) -> None:
    low, now, high = sorted((a, b, c))
    control = Control(name="x", kind="float", value=now, minimum=low, maximum=high)
    inside = low <= given_ <= high
    try:
        assert parse_controls([f"x={given_!r}"], [control]) == {"x": float(given_)}
        assert inside
    except SpecError as error:
        assert not inside
        assert f"from {low:g} to {high:g}" in str(error)


@given(st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.sampled_from(["a", "lp:3"])))
def test_what_is_shown_can_be_typed(value: bool | int | str) -> None:
    kind = {bool: "bool", int: "int", str: "str"}[type(value)]
    control = Control.model_validate({"name": "x", "kind": kind, "value": value})
    assert parse_controls([f"x={show_value(value)}"], [control]) == {"x": value}
