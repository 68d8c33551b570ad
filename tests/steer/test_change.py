"""What may change between two steps, and what it leads to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resume.factories import DEEP_LINEAR

from bncore.config.change import changed, parse_changes, settable, settable_fields, values_at
from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.config.toml import to_table


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("noise=on", {"noise.on": True}),
        ("noise=off", {"noise.on": False}),
        ("norm=l1", {"norm.kind": "l1"}),
        ("norm=lp:3.0", {"norm.kind": "lp:3.0"}),
        ("lr=0.05", {"optim.lr": 0.05}),
        ("noise.position=before_norm", {"noise.position": "before_norm"}),
        ("probes.ics.every=50", {"probes.ics.every": 50}),
        ("probes.ics.at=3,5", {"probes.ics.at": [3, 5]}),
    ],
)
def test_what_a_person_types(typed: str, means: dict[str, object]) -> None:
    assert parse_changes([typed]) == means


def test_probes_none_switches_every_probe_off() -> None:
    off = parse_changes(["probes=none"])
    assert set(off.values()) == {0}
    assert {path.split(".")[1] for path in off} == set(type(DEEP_LINEAR.probes).model_fields)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("steps=10", "set: steps = 10: cannot change while a run trains; expected one of norm"),
        ("seed=1", "seed = 1: cannot change"),
        ("optim.momentum=0.5", "optim.momentum = 0.5: cannot change"),
        ("probes.ics.layers=1,2", "probes.ics.layers = .*cannot change"),
        ("probes.landscape.penalty=on", "probes.landscape.penalty = true: cannot change"),
        ("optim.decay=weights", "optim.decay = 'weights': cannot change"),
        ("memory_format=contiguous", "memory_format = 'contiguous': cannot change"),
        ("data.standardize=image", "data.standardize = 'image': cannot change"),
        ("lr=fast", "optim.lr = 'fast': expected a number >= 0"),
        ("norm=l0", "norm.kind = 'l0': expected one of none, batch, l1"),
        ("lrr=1", "lrr.*no such field"),
        ("noise", "expected path=value"),
    ],
)
def test_what_is_refused_names_field_value_and_what_is_accepted(typed: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        parse_changes([typed])


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_changes(["steps=1", "lr=x", "noise=on"])
    assert len(caught.value.problems) == 2


def test_only_norm_noise_learning_rate_and_cadences_may_change() -> None:
    tables = {re.sub(r"\.\w+$", "", field) for field in settable_fields()}
    probes = {f"probes.{name}" for name in type(DEEP_LINEAR.probes).model_fields}
    assert tables == {"norm", "noise", "optim", *probes}
    assert [field for field in settable_fields() if field.startswith("optim")] == ["optim.lr"]
    assert not settable(("optim",))
    assert not settable(("net", "kind"))
    assert not settable(("nonsense", "x"))


def test_a_change_is_the_spec_with_that_value_and_nothing_else() -> None:
    after = changed(DEEP_LINEAR, {"norm.kind": "lp:2.0", "optim.lr": 0.5})
    assert values_at(after, ["norm.kind", "optim.lr"]) == {"norm.kind": "l2", "optim.lr": 0.5}
    before, now = to_table(DEEP_LINEAR), to_table(after)
    before["norm"]["kind"] = now["norm"]["kind"]
    before["optim"]["lr"] = now["optim"]["lr"]
    assert before == now


def test_values_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(SpecError, match=r"request: norm.kind = 'instance'"):
        changed(DEEP_LINEAR, {"norm.kind": "instance"})


@given(
    st.dictionaries(
        st.sampled_from([*settable_fields(), "steps", "net.depth", "x"]),
        st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=4)
        | st.lists(st.integers(-1, 5), max_size=2) | st.sampled_from(["l1", "batch", "input", "relative"]),
        max_size=3,
    )
)  # fmt: skip
def test_whatever_is_asked_leads_to_a_whole_spec_or_to_words(changes: dict[str, object]) -> None:
    try:
        after = changed(DEEP_LINEAR, changes)
    except SpecError as error:
        assert str(error).isprintable() or "\n" in str(error)
        return
    assert isinstance(after, Spec)
    assert all(settable(tuple(path.split("."))) for path in changes)
    again = changed(after, values_at(after, changes))
    assert again == after
