"""A typed setting means what the model says it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.config.base import LARGEST
from bncore.config.errors import SpecError
from bncore.config.fields import leaves, owners_of
from bncore.config.load import load_experiment
from bncore.config.overrides import ALIASES, parse_override
from bncore.config.plan import plan


def value_of(text: str) -> object:
    (override,) = parse_override(text)
    return override.value


def message_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_override(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("norm=l1", "norm.kind", "l1"),
        ("norm=lp:2.5", "norm.kind", "lp:2.5"),
        ("norm.kind=none", "norm.kind", "none"),
        ("noise=on", "noise.on", True),
        ("noise=off", "noise.on", False),
        ("noise=true", "noise.on", True),
        ("lr=0.1", "optim.lr", 0.1),
        ("lr=1e-6", "optim.lr", 1e-6),
        ("lr=1", "optim.lr", 1),
        ("net=vgg11", "net.kind", "vgg11"),
        ("net.kind='vgg11'", "net.kind", "vgg11"),
        ("net.hidden=64", "net.hidden", [64]),
        ("net.hidden=64,32", "net.hidden", [64, 32]),
        ("net.hidden=[64, 32]", "net.hidden", [64, 32]),
        ("net.head=", "net.head", []),
        ("optim.betas=0.5,0.9", "optim.betas", [0.5, 0.9]),
        ("batch_size=full", "batch_size", "full"),
        ("batch_size=64", "batch_size", 64),
        ("steps=10_000", "steps", 10000),
        (" steps = 5 ", "steps", 5),
        ("title=100", "title", "100"),
        ("title=a = b", "title", "a = b"),
        ("title=true", "title", "true"),
        ("title=on", "title", "on"),
        ("data.path=2020-01-01", "data.path", "2020-01-01"),
        ("init=he_fan_out", "init.scheme", "he_fan_out"),
        ("data.teacher=uniform", "data.teacher", "uniform"),
        ("data.standardize=image", "data.standardize", "image"),
        ("optim.decay=weights", "optim.decay", "weights"),
        ("probes.landscape.penalty=on", "probes.landscape.penalty", True),
        ("memory_format=channels_last", "memory_format", "channels_last"),
    ],
)
def test_a_value_is_typed_by_its_field(text: str, path: str, value: object) -> None:
    (override,) = parse_override(text)
    assert ".".join(override.path) == path
    assert override.value == value
    assert type(override.value) is type(value)


@given(st.integers(1, 2**63 - 1), st.floats(0, LARGEST), st.booleans())
def test_every_number_arrives_exactly(steps: int, lr: float, on: bool) -> None:
    assert value_of(f"steps={steps}") == steps
    assert value_of(f"lr={lr!r}") == lr
    assert value_of(f"noise={str(on).lower()}") is on


def test_every_alias_names_a_field() -> None:
    for name in ALIASES.values():
        assert tuple(name.split(".")) in leaves()
        assert owners_of(tuple(name.split(".")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps=true", "--set: steps = 'true': expected an integer >= 1"),
        ('steps="100"', "--set: steps = '\"100\"': expected an integer >= 1"),
        ("steps=1.5", "expected an integer >= 1"),
        ("lr=true", "optim.lr = 'true': expected a number >= 0"),
        ("lr=nan", "expected a number >= 0"),
        ("lr=-0.1", "expected a number >= 0"),
        ("noise=1", "noise.on = '1': expected true or false"),
        ("norm=lp:0.5", "lp:<p> with p >= 1"),
        ("device=gpu", "expected auto, cpu, cuda or cuda:<index>"),
        ("init.scheme=he_fanout", "expected one of 'glorot', 'he', 'he_fan_out', 'orthogonal'"),
        ("data.teacher=normal", "data.teacher = 'normal': expected one of 'gaussian', 'uniform'"),
        ("data.standardize=picture", "expected one of 'dataset', 'image'"),
        ("optim.decay=none", "optim.decay = 'none': expected one of 'all', 'weights'"),
        ("probes.landscape.penalty=0.1", "expected true or false"),
        ("memory_format=nhwc", "expected one of 'auto', 'contiguous', 'channels_last'"),
        ("optim.kind=rmsprop", "expected one of 'sgd', 'adam'"),
        ("optim.lrr=1", "no such field (did you mean 'optim.lr'?)"),
        ("optim.learning_rate=1", "no such field (did you mean 'optim.lr'?)"),
        ("learning-rate=1", "no such field (did you mean 'optim.lr'?)"),
        ("optim.larning_rate=1", "no such field (did you mean 'optim.lr'?)"),
        ("larning_rate=1", "no such field (did you mean 'optim.lr'?)"),
        ("optimizer=adam", "no such field (did you mean 'optim.kind'?)"),
        ("model.width=1", "no such field (did you mean 'net.width'?)"),
        ("wd=1", "no such field (did you mean 'optim.weight_decay'?)"),
        ("lr=1e308", "expected a number >= 0 and <= 1e+38"),
        ("lr=inf", "expected a number >= 0 and <= 1e+38"),
        ("lr=nan", "expected a number >= 0 and <= 1e+38"),
        ("noise.n_sigma=1e39", "expected a number >= 1 and <= 1e+38"),
        ("steps=99999999999999999999", "expected an integer >= 1 of 64 bits"),
        ("eps=1", "(did you mean 'norm.eps' or 'optim.eps'?)"),
        ("lr=" + "9" * 5000, "expected a number >= 0"),
        ("lr=" + "[" * 5000, "expected a number >= 0"),
        ("title=\udcff", "expected text that UTF-8 can write"),
        ("lr=0.1\nsteps=3", "expected a number >= 0"),
        ("probes=all", "expected 'none'"),
        ("eval=0", "a table, not a value; expected eval.every"),
        ("steps", "expected path=value"),
        ("=3", "expected path=value"),
        ("a\x1b[31m=3", r"a\x1b[31m"),
    ],
)
def test_a_refused_override_says_what_is_accepted(text: str, said: str) -> None:
    assert said in message_of(text)


def test_probes_none_is_accepted_for_every_preset() -> None:
    with_probes, without = (
        plan(load_experiment("quick"), profile="cpu", sets=s) for s in ([], ["probes=none"])
    )
    assert [run.name for run in without.runs] == [run.name for run in with_probes.runs]
    for _, probe in without.runs[0].spec.probes:
        assert probe.every == 0
