"""params_sha256: what must change it, and what must not."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from bncore.train.checkpoint import params_sha256


def plain_digest(module: nn.Module) -> str:
    """What docs/explanation/architecture.md promises, read slowly."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().numpy()
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name}\0{array.dtype.name}\0{tuple(array.shape)}\0".encode())
        digest.update(little.tobytes(order="C"))
    return digest.hexdigest()


def test_it_is_the_digest_of_the_definition() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert params_sha256(net) == plain_digest(net)


def test_one_bit_of_a_parameter_or_a_buffer_changes_it() -> None:
    net = nn.BatchNorm1d(4)
    seen = {params_sha256(net)}
    with torch.no_grad():
        net.weight[0] = torch.nextafter(net.weight[0], torch.tensor(2.0))
        seen.add(params_sha256(net))
        net.running_var[3] = torch.nextafter(net.running_var[3], torch.tensor(2.0))
        seen.add(params_sha256(net))
    assert len(seen) == 3


def test_memory_layout_does_not_change_it() -> None:
    one, other = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
    other.load_state_dict(one.state_dict())
    other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert params_sha256(one) == params_sha256(other)


def test_the_sign_of_zero_and_the_dtype_count() -> None:
    zero, negative = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        for p in (*zero.parameters(), *negative.parameters()):
            p.zero_()
        negative.bias.neg_()
    assert params_sha256(zero) != params_sha256(negative)
    assert params_sha256(zero) != params_sha256(zero.double())
