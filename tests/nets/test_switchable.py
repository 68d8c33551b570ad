"""`SwitchableNorm`: every kind on every shape is the definition; a switch, a checkpoint and torch's own agree."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from oracles.normalize import affine, normalize
from torch import Tensor, nn

import bncore

from .factories import NORM_KINDS

SHAPES = ((6, 4), (6, 4, 5), (3, 4, 5, 2), (3, 4, 2, 3, 2))


def norm(kind: str = "batch") -> bncore.SwitchableNorm:
    """In float64, gamma and beta away from 1 and 0."""
    made = bncore.SwitchableNorm(4, kind, groups=2, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(0.5, 1.5, 4))
        made.bias.copy_(torch.linspace(-1.0, 1.0, 4))
    return made


def inputs(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", NORM_KINDS)
def test_each_kind_on_each_shape_is_the_definition(kind: str, shape: tuple[int, ...]) -> None:
    if kind == "instance" and len(shape) == 2:
        with pytest.raises(ValueError, match="expected another kind where a linear layer is normalized"):
            norm(kind)(inputs(shape))
        return
    y, made = inputs(shape), norm(kind)
    running = {"running_mean": torch.zeros(4).double(), "running_var": torch.ones(4).double()}
    expected = normalize(y, kind, eps=1e-5, groups=2, **running)
    expected = affine(expected, None if kind == "none" else made.weight, made.bias)
    torch.testing.assert_close(made(y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("theirs", "shape"),
    [(nn.BatchNorm1d, (6, 4)), (nn.BatchNorm1d, (6, 4, 5)), (nn.BatchNorm2d, (3, 4, 5, 2))],
)
def test_kind_batch_is_torchs_in_training_and_evaluation(
    theirs: type[nn.Module], shape: tuple[int, ...]
) -> None:
    ours, other = bncore.SwitchableNorm(4, dtype=torch.float64), theirs(4).double()
    for seed in range(3):
        torch.testing.assert_close(ours(inputs(shape, seed)), other(inputs(shape, seed)))
    torch.testing.assert_close(ours.running_var, other.running_var)
    torch.testing.assert_close(ours.eval()(inputs(shape)), other.eval()(inputs(shape)))


@pytest.mark.parametrize("kind", ["l1", "lp:3", "layer", "none"])
def test_a_checkpoint_holds_the_kind_and_where_the_average_stands(kind: str) -> None:
    one, other = norm(), norm()
    one(inputs((6, 4)))
    one.switch(kind)
    one(inputs((6, 4), 1))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for each in (one, other, copied := copy.deepcopy(one)):
        each(inputs((6, 4), 2))
        each.eval()
    torch.testing.assert_close(one(inputs((6, 4), 3)), other(inputs((6, 4), 3)), rtol=0, atol=0)
    assert [each.setting.kind for each in (other, copied)] == [kind] * 2


def test_what_cannot_be_is_refused_and_leaves_the_kind() -> None:
    made = norm()
    made(inputs((6, 4)))
    for kind, why in (
        ("instance", "a linear layer is normalized"),
        ("weight", "it divides the weights of the map before it"),
        ("l0", "expected one of none, batch"),
    ):
        with pytest.raises(ValueError, match=why):
            made.switch(kind)
        assert made.setting.kind == "batch"
    made(inputs((3, 4, 5, 2)))
    made.switch("instance")
    with pytest.raises(ValueError, match=r"1 dimensions; expected \[samples, channels\] or more"):
        made(torch.zeros(3))
