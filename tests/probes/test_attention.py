"""Hessian products through attention: by the mathematical kernel, the only one that has second derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bncore

PROBES = {"sharpness": {"every": 1, "iterations": 60, "tolerance": 1e-8}}


class Attention(nn.Module):
    """One head over a few tokens; fused, or as products written out."""

    def __init__(self, *, fused: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.queries = nn.Linear(4, 12, bias=False)
        self.out = nn.Linear(4, 2)
        self.fused, self.dropout = fused, dropout

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.queries(x).unsqueeze(1).chunk(3, dim=-1)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)
        else:
            mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
        return self.out(mixed.squeeze(1).mean(1))


def observed(path: Path, net: nn.Module) -> list[dict[str, Any]]:
    """The journal of one step."""
    torch.manual_seed(1)
    x, y = torch.randn(8, 5, 4, dtype=torch.float64), torch.randn(8, 2, dtype=torch.float64)
    optimizer, loss_fn = torch.optim.SGD(net.parameters(), lr=0.05), nn.MSELoss()
    with bncore.observe(net, loss_fn, optimizer, run=path, probes=PROBES) as watch, watch.step(x, y) as step:
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        step.record(loss)
    return [orjson.loads(line) for line in (path / "journal.jsonl").read_bytes().splitlines()]


def test_the_sharpness_of_fused_attention_is_that_of_attention_written_out(tmp_path: Path) -> None:
    found = []
    for fused in (True, False):
        torch.manual_seed(0)
        journal = observed(tmp_path / str(fused), Attention(fused=fused).double())
        assert [e for e in journal if e["type"] == "probe_failed"] == []
        found += [e for e in journal if e.get("name") == "sharpness"]
    fused, written_out = found
    for name in ("eigenvalue", "gradient_curvature"):
        assert fused[name] == pytest.approx(written_out[name], rel=1e-6)


def test_so_it_is_of_torch_s_own_encoder(tmp_path: Path) -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
            self.out = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.encoder(x).mean(1))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    journal = observed(tmp_path / "run", Encoder().double())
    assert [e["name"] for e in journal if e["type"] == "probe"] == ["fidelity", "sharpness"]
    assert not [e for e in journal if e["type"] == "probe_failed"]


def test_the_loop_s_own_kernels_stay_as_they_are(tmp_path: Path) -> None:
    before = (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled())
    torch.manual_seed(0)
    observed(tmp_path / "run", Attention(fused=True).double())
    assert (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
    ) == before


def test_attention_whose_dropout_draws_otherwise_there_has_no_sharpness(tmp_path: Path) -> None:
    """As fused kernels on a GPU have generators of their own."""

    class Drops(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            share = 0.5 if torch.backends.cuda.flash_sdp_enabled() else 0.25
            return F.dropout(super().forward(x).mean(1), share)

    torch.manual_seed(0)
    with pytest.warns(RuntimeWarning, match="probe sharpness failed at its first measurement, step 0"):
        journal = observed(tmp_path / "run", Drops(4, 2).double())
    (failed,) = [e for e in journal if e["type"] == "probe_failed"]
    assert "its dropout draws differently" in failed["reason"]
