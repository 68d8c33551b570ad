"""A session that went back is what it was, to the bit, whatever a step had changed or begun."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from bncore.config.change import changed
from bncore.config.model import MLP, ImageData, Norm, Optim, Spec
from bncore.train.async_steps import StateBackup
from bncore.train.state import TrainState

from .factories import session

SMALL = Spec(
    steps=40, batch_size=8, device="cpu", threads=1,
    data=ImageData(source="synthetic"), net=MLP(hidden=(8, 8)), norm=Norm(kind="none"),
)  # fmt: skip
OPTIMIZERS = {
    "plain": Optim(lr=0.02),
    "momentum": Optim(lr=0.02, momentum=0.9, weight_decay=0.01),
    "adam": Optim(kind="adam", lr=0.01),
    "weights decay": Optim(lr=0.02, momentum=0.9, weight_decay=0.01, decay="weights"),
}


def same(one: Any, other: Any) -> bool:
    """Equal in structure and to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def whole(one: TrainState) -> dict[str, Any]:
    return copy.deepcopy(one.state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("before", [0, 3], ids=["new", "begun"])
def test_it_goes_back_to_what_was_and_on_as_if_nothing_had_been(name: str, before: int) -> None:
    one = session(SMALL.model_copy(update={"optim": OPTIMIZERS[name]}))
    for step in range(before):
        one.step(step)
    rewind = StateBackup(one)
    rewind.save()
    start = whole(one)
    first = [one.step(step) for step in range(before, before + 4)]
    end = whole(one)
    assert not same(start, end)
    rewind.restore()
    assert same(whole(one), start)
    assert [one.step(step) for step in range(before, before + 4)] == first
    assert same(whole(one), end)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_came_into_use_meanwhile_is_forgotten(name: str) -> None:
    """gamma and its momentum after a switch from no norm, and statistics that are averaged anew."""
    one = session(SMALL.model_copy(update={"optim": OPTIMIZERS[name]}))
    one.step(0)
    one.change(changed(one.spec, {"norm.kind": "batch"}))
    rewind, generation = StateBackup(one), one.generation
    rewind.save()
    start = whole(one)
    first = [one.step(step) for step in range(1, 15)]  # longer than the averaging
    rewind.restore()
    assert same(whole(one), start)
    assert one.generation > generation
    assert [one.step(step) for step in range(1, 15)] == first


def test_a_later_moment_takes_the_place_of_the_first_in_the_same_memory() -> None:
    one = session(SMALL.model_copy(update={"optim": OPTIMIZERS["momentum"]}))
    one.step(0)
    rewind = StateBackup(one)
    rewind.save()
    places = [copied.data_ptr() for copied in rewind._copies]
    one.step(1)
    rewind.save()
    later = whole(one)
    one.step(2)
    rewind.restore()
    assert same(whole(one), later)
    assert [copied.data_ptr() for copied in rewind._copies] == places
