"""A spec survives its file exactly."""

import tomllib
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bncore.config.base import LARGEST, canonical_norm, lp_exponent
from bncore.config.errors import SpecError
from bncore.config.model import (
    DLN,
    MLP,
    VGG,
    Checkpoints,
    GaussianData,
    ImageData,
    Init,
    Loss,
    Noise,
    Norm,
    Optim,
    Schedule,
    Spec,
)
from bncore.config.toml import spec_from_toml, spec_to_toml

COUNTS = st.integers(1, 2**63 - 1)
POSITIVE = st.floats(0, LARGEST, exclude_min=True)
SEVERAL = st.integers(2, 2**63 - 1)
"""Samples of which a batch has statistics."""
WIDTHS = st.lists(st.integers(9, 4096), max_size=3).map(tuple)  # more than groups
TEXT = st.text(max_size=20)
NORMS = st.builds(
    Norm,
    kind=st.sampled_from(["none", "batch", "linf", "group", "batch_population"])
    | st.floats(1, allow_infinity=False).map(lambda p: f"lp:{p!r}"),
    eps=POSITIVE,
    bias=st.booleans(),
)
NOISES = st.builds(Noise, on=st.booleans(), n_mu=POSITIVE, r_sigma=POSITIVE, position=st.just("input"))
SCHEDULES = st.builds(
    Schedule,
    kind=st.just("step"),
    milestones=st.sets(COUNTS, min_size=1, max_size=4).map(lambda s: tuple(sorted(s))),
    factor=POSITIVE,
)
COMMON: dict[str, Any] = {
    "title": TEXT,
    "steps": COUNTS,
    "seed": st.integers(0, 2**63 - 1),
    "threads": COUNTS | st.just("auto"),
    "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:7"]),
    "precision": st.sampled_from(["float32", "float64"]),
    "norm": NORMS,
    "noise": NOISES,
    "memory_format": st.sampled_from(["auto", "contiguous", "channels_last"]),
    "init": st.builds(Init, scheme=st.just("he_fan_out"), distribution=st.just("normal")),
    "optim": st.builds(
        Optim,
        lr=POSITIVE,
        weight_decay=POSITIVE,
        decay=st.sampled_from(["all", "weights"]),
        schedule=SCHEDULES,
    ),
    "checkpoint": st.builds(Checkpoints, every_minutes=POSITIVE),
}
SPECS = st.builds(
    Spec,
    data=st.builds(
        ImageData,
        path=st.none() | TEXT,
        augment=st.booleans(),
        standardize=st.just("image"),
        fingerprint=st.none() | TEXT,
    ),
    net=st.builds(VGG, width=st.floats(0, 64, exclude_min=True))
    | st.builds(VGG, width=st.floats(1, 64), head=WIDTHS)
    | st.builds(MLP, hidden=WIDTHS),
    batch_size=SEVERAL | st.just("full"),
    **COMMON,
) | st.builds(
    Spec,
    data=st.builds(GaussianData, samples=SEVERAL, teacher=st.just("uniform")),
    net=st.builds(DLN, depth=COUNTS, normalise_last=st.booleans()),
    loss=st.builds(Loss, kind=st.just("squared_error"), reduction=st.just("half_sum")),
    batch_size=st.just("full"),
    **COMMON,
)


@given(SPECS)
def test_spec_to_toml_and_back_is_the_identity(tmp_path_factory: pytest.TempPathFactory, spec: Spec) -> None:
    path = tmp_path_factory.getbasetemp() / "spec.toml"
    path.write_bytes(spec_to_toml(spec).encode())
    again = spec_from_toml(path)
    assert again == spec
    assert spec_to_toml(again) == spec_to_toml(spec)


def test_the_file_states_every_field_so_that_later_defaults_change_no_old_run() -> None:
    written = tomllib.loads(spec_to_toml(Spec()))
    optional = {"path", "image_size", "fingerprint"}
    for name, field in Spec.model_fields.items():
        part = getattr(Spec(), name)
        assert name in written, name
        if hasattr(part, "model_fields_set"):
            assert set(written[name]) >= set(type(part).model_fields) - optional, field


LATER = {
    "data.standardize": "dataset",
    "data.teacher": "gaussian",
    "optim.decay": "all",
    "probes.landscape.penalty": False,
    "memory_format": "auto",
}
"""Fields that were added, and what a file without them means."""


@pytest.mark.parametrize(
    "spec",
    [Spec(), Spec(data=GaussianData(), net=DLN(), loss=Loss(kind="squared_error"))],
    ids=["vgg", "dln"],
)
def test_a_file_from_before_a_field_was_there_means_what_it_meant(tmp_path: Path, spec: Spec) -> None:
    table = tomllib.loads(spec_to_toml(spec))
    removed = {}
    for path, value in LATER.items():
        *above, name = path.split(".")
        room = reduce(getitem, above, table)
        if name in room:
            removed[path] = room.pop(name)
            assert removed[path] == value, path
    assert len(removed) == 4  # a teacher or pictures
    (tmp_path / "spec.toml").write_text(tomli_w.dumps(table))
    assert spec_from_toml(tmp_path / "spec.toml") == spec


@given(st.floats(1, allow_infinity=False))
def test_an_lp_exponent_keeps_every_digit(p: float) -> None:
    kind = canonical_norm(f"lp:{p!r}")
    assert lp_exponent(kind) == p
    assert canonical_norm(kind) == kind


def test_named_exponents_take_their_names() -> None:
    assert [canonical_norm(f"lp:{p}") for p in ("1", "2.0", "inf", "3", "2.5")] == [
        "l1",
        "l2",
        "linf",
        "lp:3",
        "lp:2.5",
    ]


@pytest.mark.parametrize("kind", ["lp:0.9", "lp:nan", "lp:", "lp:-inf", "Batch", "", 3, None, True])
def test_other_norms_are_refused(kind: object) -> None:
    with pytest.raises(ValueError, match="expected one of none, batch"):
        canonical_norm(kind)


@pytest.mark.parametrize("value", [True, "100", 1.0, 0, -1, 2**63])
def test_a_count_is_an_integer_and_nothing_else(value: object) -> None:
    with pytest.raises(ValidationError):
        Spec.model_validate({"steps": value})


@pytest.mark.parametrize("value", [True, "0.1", float("nan"), float("inf"), -1.0])
def test_a_rate_is_a_finite_number_and_nothing_else(value: object) -> None:
    with pytest.raises(ValidationError):
        Optim.model_validate({"lr": value})


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Spec().steps = 3


def test_the_tag_may_be_left_out_where_the_default_shape_is_meant() -> None:
    assert Spec.model_validate({"data": {"path": "x"}}).data == ImageData(path="x")
    assert Spec.model_validate({"net": {"width": 0.5}}).net == VGG(width=0.5)


def test_every_field_of_every_table_is_documented() -> None:
    for part in (Spec, Norm, Noise, Optim, Schedule, VGG, DLN, MLP, ImageData, GaussianData, Checkpoints):
        for name, field in part.model_fields.items():
            assert field.description, f"{part.__name__}.{name}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"steps = ", "is not TOML"),
        (b"title = '\xff'", "is not UTF-8"),
        (b"steps = '7'\nseed = true", "steps = '7': expected an integer >= 1"),
        (b"steps = '7'\nseed = true", "seed = true: expected an integer >= 0"),
    ],
)
def test_a_damaged_spec_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        spec_from_toml(path)
    assert said in str(caught.value)
    assert all(problem.file == str(path) for problem in caught.value.problems)


def test_a_missing_spec_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec\.toml: cannot be read"):
        spec_from_toml(tmp_path / "spec.toml")
