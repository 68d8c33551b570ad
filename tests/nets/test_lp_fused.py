"""The kernels of l_p normalization against plain arithmetic in float64. Without a GPU Triton interprets them, and
compiles them for one."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bncore.config.model import MLP, Norm, Spec
from bncore.nets import ForwardMode, NormPosition, build
from bncore.nets import norm as norm_module
from bncore.nets.lp import LpSettings, lp_normalized

from .factories import images
from .test_norms import VALUES, gradients

pytest.importorskip("triton", reason="no Triton here")
from bncore.nets import lp_fused

# The interpreter takes the logarithm of zero, as the kernels do, and numpy says so.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INF = math.inf
EXPONENTS = (1.0, 2.0, 3.0, 1.5, 40.0, INF)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several slabs of several tiles each, in several groups of channels, from few values."""
    monkeypatch.setattr(lp_fused, "TILE", 32)
    monkeypatch.setattr(lp_fused, "PROGRAMS", 6)
    monkeypatch.setattr(lp_fused, "_tile", lambda channels: (8, 4))


def on_device(*shape: int) -> Tensor:
    y = images(shape[0], channels=shape[1], size=shape[2] if len(shape) > 2 else 1)
    y = y.to(memory_format=torch.channels_last) if len(shape) > 2 else y[:, :, 0, 0].contiguous()
    return y.to(DEVICE)


def both(y: Tensor, p: float, *, affine: bool = True, eps: float = 1e-5) -> list[tuple[Tensor, ...]]:
    """Output, mean, scale and gradients: by the kernels in y's precision, and plainly in float64."""
    found = []
    for fused, dtype in ((True, y.dtype), (False, torch.float64)):
        mine = y.to(dtype).requires_grad_()
        gamma, beta = (torch.linspace(a, b, y.shape[1]).to(mine) for a, b in ((0.5, -2.0), (-1.0, 1.0)))
        wanted = (mine, gamma.requires_grad_(), beta.requires_grad_()) if affine else (mine,)
        given_affine = (gamma, beta) if affine else (None, None)
        z, mean, scale = lp_normalized(mine, *given_affine, LpSettings(p, eps, centered=False, fused=fused))
        found.append((z, mean, scale, *gradients(z, *wanted)))
    return found


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("shape", [(7, 5, 6), (3, 4, 2), (61, 9), (48, 4), (2, 1), (1, 1, 3)])
@pytest.mark.parametrize("p", EXPONENTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernels_equal_plain_arithmetic(p: float, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    y = on_device(*shape).to(dtype)
    rtol = 1e-9 if dtype == torch.float64 else 2e-5
    for one, other in zip(*both(y, p), strict=True):
        size = float(other.detach().abs().max())
        torch.testing.assert_close(one.double(), other, rtol=rtol, atol=rtol * size)


@given(
    p=st.sampled_from([1.0, 2.0, 3.0, 1.5, 7.0, INF]) | st.floats(1.0, 20.0),
    eps=st.sampled_from([1e-5, 1e-2, 4.0]),  # the last one is above every value
    rows=st.lists(st.tuples(VALUES, VALUES, st.just(0.0)), min_size=2, max_size=8),
    affine=st.booleans(),
)
def test_equal_maxima_zeros_and_scales_set_by_eps(
    p: float, eps: float, rows: list[tuple[float, ...]], affine: bool
) -> None:
    y = torch.tensor(rows, dtype=torch.float64, device=DEVICE)
    found = both(y, p, affine=affine, eps=eps)
    size = float((1 / found[1][2].detach()).max()) ** 2
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11 * max(1.0, size))


@pytest.mark.parametrize("magnitude", [1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("p", [3.0, 100.0, 1000.0])
def test_nothing_overflows_or_vanishes_in_float32(p: float, magnitude: float) -> None:
    y = on_device(20, 3).float() * magnitude
    (z, _, scale, *rest), (_, _, exact, *_) = both(y, p)
    torch.testing.assert_close(scale.double(), exact, rtol=1e-5, atol=0)
    assert all(tensor.isfinite().all() for tensor in (z, *rest) if magnitude > 1e-20)


def test_equal_inputs_give_equal_bits() -> None:
    y = on_device(100, 70, 5).float()
    one, other = (both(y, 3.0)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_result_lies_in_memory_as_y_does_whatever_the_gradient_lies_like() -> None:
    y = on_device(4, 6, 5).requires_grad_()
    z = lp_normalized(y, None, None, LpSettings(1.0, 1e-5, centered=False, fused=True))[0]
    assert z.is_contiguous(memory_format=torch.channels_last)
    weights = torch.linspace(-1, 1, z.numel(), dtype=z.dtype, device=z.device).view(z.shape)
    by_rows = torch.autograd.grad(z, y, weights, retain_graph=True)[0]
    by_channels = torch.autograd.grad(z, y, weights.contiguous(memory_format=torch.channels_last))[0]
    assert by_rows.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(by_rows, by_channels)


@pytest.mark.parametrize(
    ("setting", "y"),
    [
        (Norm(kind="l1", fused=True, centred=True), on_device(4, 3, 5)),
        (Norm(kind="l1", fused=True), on_device(4, 3, 5).contiguous()),
        (Norm(kind="l1"), on_device(4, 3, 5)),
        (Norm(kind="batch", fused=True), on_device(4, 3, 5)),
        (Norm(kind="l1", fused=True), on_device(8, 3)[::2]),
    ],
    ids=["centred", "channels first", "not requested", "another kind", "every other row"],
)
def test_what_the_kernels_do_not_take_is_computed_plainly(
    setting: Norm, y: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a kernel was used")

    norm = NormPosition(3, positions=y.ndim == 4, setting=setting, dtype=torch.float64).to(DEVICE)
    plain = NormPosition(
        3, positions=y.ndim == 4, setting=setting.model_copy(update={"fused": False}), dtype=torch.float64
    )
    monkeypatch.setattr(lp_fused, "lp_statistics", refuse)
    assert torch.equal(norm(y, ForwardMode()), plain.to(DEVICE)(y, ForwardMode()))


@pytest.mark.parametrize("left_out", ["y", "gamma", "beta"])
def test_the_gradients_that_are_asked_for_alone(left_out: str) -> None:
    y, gamma, beta = on_device(9, 3), torch.ones(3).to(on_device(1, 1)), torch.zeros(3).to(on_device(1, 1))
    tensors = {"y": y, "gamma": gamma, "beta": beta}
    setting = LpSettings(1.0, 1e-5, centered=False, fused=True)
    whole = {name: t.requires_grad_() for name, t in tensors.items()}
    expected = dict(
        zip(whole, gradients(lp_normalized(*whole.values(), setting)[0], *whole.values()), strict=True)
    )
    part = {name: t.detach() if name == left_out else t for name, t in whole.items()}
    wanted = {name: t for name, t in part.items() if t.requires_grad}
    z = lp_normalized(*part.values(), setting)[0]
    for name, gradient in zip(wanted, gradients(z, *wanted.values()), strict=True):
        assert torch.equal(gradient, expected[name])


@pytest.mark.parametrize("kind", ["l1", "linf", "lp:3"])
@pytest.mark.parametrize("chains", [1, 3])
def test_a_network_by_kernels_is_the_network(kind: str, chains: int) -> None:
    inputs = on_device(12, 6)
    found = []
    for fused in (False, True):
        norm = Norm(kind=kind, fused=fused)
        spec = Spec(net=MLP(hidden=(7, 5)), norm=norm, precision="float64", device="cuda")
        net = build(spec, inputs=(6,), outputs=4).to(DEVICE)
        outputs = net.forward(inputs, ForwardMode(track=chains == 1, chains=chains))
        outputs.square().sum().backward()
        found.append([outputs, *(p.grad for p in net.parameters()), *net.buffers()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("p", EXPONENTS)
def test_second_derivatives_are_those_of_plain_arithmetic(p: float) -> None:
    y = on_device(6, 2).requires_grad_()
    setting = LpSettings(p, 1e-5, centered=False, fused=True)
    assert torch.autograd.gradgradcheck(lambda v: lp_normalized(v, None, None, setting)[0], (y,))


def test_they_are_refused_where_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"norm\.fused: True; expected False where Triton is not installed"):
        NormPosition(3, positions=True, setting=Norm(kind="l1", fused=True), dtype=torch.float32)
    NormPosition(3, positions=True, setting=Norm(kind="l1"), dtype=torch.float32)


COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bncore.nets import lp_kernels
constants = {"tile_rows": 32, "tile_channels": 64}
whole = ("rows", "channels", "slab")
for kernel in (lp_kernels.statistics, lp_kernels.sums, lp_kernels.gradient):
    for p in (1.0, 2.0, 2.5, float("inf")):
        fixed = {**constants, "p": p}
        kinds = {n: "constexpr" if n in fixed else "i32" if n in whole else "*fp32" for n in kernel.arg_names}
        source = ASTSource(kernel, signature=kinds, constexprs=fixed)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        print(kernel.__name__, p, len(made.asm["cubin"]))
"""


def test_the_compiler_takes_the_kernels(tmp_path: Path) -> None:
    """To an H100's machine code, which takes no GPU; in a process of its own, where nothing is interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 12
