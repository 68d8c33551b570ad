"""Every kind of loop: it ends to the bit as it does alone, and what is measured is plain autograd's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bncore.train.checkpoint import params_sha256

from .factories import of_type, probe_at
from .kinds import KINDS
from .loops import Kind, journal, run_loop
from .test_pure import same

MULTIPLES = (0.5, 1.0, 2.0, 4.0)
EXACT = [name for name, kind in KINDS.items() if not kind.settings.get("probe_autocast")]


@pytest.mark.parametrize("name", KINDS)
def test_observing_changes_nothing(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    alone, watched = run_loop(kind, None), run_loop(kind, tmp_path / "run")
    assert alone.state.keys() == watched.state.keys()
    assert [key for key in alone.state if not same(alone.state[key], watched.state[key])] == []
    events = journal(tmp_path / "run")
    assert events[-1]["params_sha256"] == params_sha256(alone.net)
    assert [e["reason"] for e in of_type(events, "probe_failed")] == []
    assert {e["name"] for e in of_type(events, "probe")} == {*kind.probes, "fidelity"}


@pytest.mark.parametrize("name", KINDS)
def test_how_faithfully_it_is_recomputed_is_told(tmp_path: Path, name: str) -> None:
    run_loop(KINDS[name], tmp_path / "run")
    events = journal(tmp_path / "run")
    fidelity = of_type(events, "probe", "fidelity")
    assert [e["faithful"] for e in fidelity] == [KINDS[name].faithful] * len(fidelity)
    others = [e for e in of_type(events, "probe") if e["name"] != "fidelity"]
    assert [e.get("faithful", True) for e in others] == [KINDS[name].faithful] * len(others)


class Oracle:
    """The loss of an update as a function of the parameters, on a copy of the module, in float64."""

    def __init__(self, kind: Kind, net: nn.Module, buffers: dict[str, Tensor], micro: list[Any]) -> None:
        self.kind, self.net, self.buffers = kind, copy.deepcopy(net).double(), buffers
        self.micro = micro if kind.reference is None else [(x.double(), y.double()) for x, y in micro]

    def __call__(self, theta: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
        """Loss and gradient, by `backward`."""
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(theta[name])
                p.grad = None
            for name, b in self.net.named_buffers():
                b.copy_(self.buffers[name])
        total = 0.0
        for batch, weight in zip(self.micro, self.kind.weights, strict=True):
            loss = weight * (self.kind.reference or self.kind.loss_of)(self.net, batch)
            loss.backward()
            total += loss.item()
        return total, {n: p.grad.clone() for n, p in self.net.named_parameters() if p.grad is not None}

    def curvature(self, theta: dict[str, Tensor], g: dict[str, Tensor]) -> float:
        """g^T H g / ||g||^2 by a central difference of gradients."""
        step = 1e-5 / size(g.values())
        ahead, behind = (
            self({n: t + s * g[n] if n in g else t for n, t in theta.items()})[1] for s in (step, -step)
        )
        along = sum(float((g[n] * (ahead[n] - behind[n])).sum()) for n in g)
        return along / (2 * step * size(g.values()) ** 2)


def size(parts: Any) -> float:
    return float(sum((part**2).sum() for part in parts) ** 0.5)


@pytest.mark.parametrize("name", EXACT)
def test_every_number_of_the_landscape_and_the_curvature_is_plain_autograd_s(
    tmp_path: Path, name: str
) -> None:
    kind = KINDS[name]
    run = run_loop(kind, tmp_path / "run")
    events = journal(tmp_path / "run")
    rates = kind.rates(run.net)
    for number, micro in enumerate(kind.batches()):
        theta = {name: t.double() for name, t in run.before[number].items()}
        oracle = Oracle(kind, run.net, run.buffers[number], micro)
        event = probe_at(events, "landscape", number)
        loss, g = oracle(theta)
        found = [event["loss0"], event["grad_norm"]]
        np.testing.assert_allclose(found, [loss, size(g.values())], rtol=kind.rtol)
        for place, multiple in enumerate(MULTIPLES):
            there = {n: t - multiple * rates[n] * g[n] if n in g else t for n, t in theta.items()}
            moved, slope = oracle(there)
            np.testing.assert_allclose(event["loss"][place], moved, rtol=kind.rtol)
            change = size(slope[n] - g[n] for n in g)
            np.testing.assert_allclose(event["grad_diff"][place], change, rtol=1e3 * kind.rtol, atol=1e-13)
            length = multiple * size(rates[n] * g[n] for n in g)
            assert event["beta"] >= change / length * (1 - 1e3 * kind.rtol)
        curvature = probe_at(events, "sharpness", number)["gradient_curvature"]
        expected = oracle.curvature(theta, g)
        np.testing.assert_allclose(curvature, expected, rtol=max(1e-5, 10 * kind.rtol), atol=1e-8)


def test_the_documentation_lists_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "observe.md").read_text()
    table = text.partition("## Kinds of loops")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines() if row[:1] == "|"
    ]
    said = {row[0]: row[1:4] for row in rows[2:]}
    yes = {True: "yes", False: ""}
    assert said == {
        name: ["yes", yes[name in EXACT], "yes" if kind.faithful else "no"] for name, kind in KINDS.items()
    }
