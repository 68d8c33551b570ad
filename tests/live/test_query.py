"""Queries: what they select, as a naive evaluator says it, and what is said of those that make no sense."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.factories import SMALL

from bncore.config.change import changed
from bncore.follow.query import DEEPEST, Query, QueryError, common_beginning, complete, parse
from bncore.follow.run_fields import has, run_fields
from bncore.follow.run_view import RunView, view_runs
from bncore.measures import MEASURES
from bncore.store.columns import Columns
from bncore.store.paths import RunDir
from live.factories import events, forked_run, made_run, request, view_of, write_sweep

Known = dict[str, Any]
RUNS: list[Known] = [
    {"run": "a-1/batch-s0", "norm": "batch", "lr": 0.1, "seed": 0, "state": "running", "test_accuracy": 0.7},
    {"run": "a-1/none-s1", "norm": "none", "lr": 0.05, "seed": 1, "state": "finished", "test_accuracy": 0.6},
    {"run": "a-1/l1-s2", "norm": "l1", "lr": 0.001, "seed": 2, "state": "failed"},
    {"run": "b-1/batch_l1-s7", "norm": "batch", "lr": 1.0, "seed": 7, "state": "queued"},
    {"run": "b-1/own-s3", "seed": 3, "state": "running", "test_accuracy": float("nan")},
]


def as_view(known: Known) -> RunView:
    """A view that knows this and no more."""
    columns = Columns()
    if "test_accuracy" in known:
        columns.add([{"type": "eval", "step": 0, "test_accuracy": known["test_accuracy"]}], in_front=False)
    spec = None
    if "norm" in known:
        spec = changed(SMALL, {"norm.kind": known["norm"], "optim.lr": known["lr"]})
        spec = spec.model_copy(update={"seed": known["seed"]})
    run = RunDir(Path(known["run"]))
    return RunView(run, known["state"], None, columns, settings=spec, spec=spec)


VIEWS = [as_view(known) for known in RUNS]


def selected(text: str, views: list[RunView] = VIEWS) -> list[str]:
    """Names of the runs that a query selects."""
    query = parse(text)
    return [view.run.path.name for view in views if query.matches(view)]


@dataclass
class Requested:
    """A query as text, and what it means."""

    text: str
    holds: Callable[[Known], bool]


def _compare(key: str, op: str, bound: float) -> Requested:
    def holds(known: Known) -> bool:
        value = known.get(key)
        if value is None:
            return False
        return {"=": value == bound, ":": value == bound, "!=": value != bound, "<": value < bound,
                "<=": value <= bound, ">": value > bound, ">=": value >= bound}[op]  # fmt: skip

    return Requested(f"{key}{op}{bound!r}", holds)


def _one_of(key: str, op: str, words: list[str]) -> Requested:
    def holds(known: Known) -> bool:
        return key in known and (known[key] in words) == (op != "!=")

    return Requested(f"{key}{op}{','.join(words)}", holds)


def _between(low: int, width: int) -> Requested:
    return Requested(f"seed:{low}..{low + width}", lambda known: low <= known["seed"] <= low + width)


NUMBERS = st.sampled_from([0.001, 0.05, 0.1, 0.6, 0.7, 1.0, 2.0])
TERMS = st.one_of(
    st.builds(
        _compare, st.sampled_from(["lr", "test_accuracy", "seed"]),
        st.sampled_from(["=", ":", "!=", "<", "<=", ">", ">="]), NUMBERS,
    ),
    st.builds(_one_of, st.just("norm"), st.sampled_from(["=", ":", "!="]),
              st.lists(st.sampled_from(["batch", "none", "l1", "l2"]), min_size=1, max_size=3)),
    st.builds(_one_of, st.just("state"), st.sampled_from(["=", "!="]),
              st.lists(st.sampled_from(["running", "failed", "queued"]), min_size=1, max_size=2)),
    st.builds(_between, st.integers(0, 5), st.integers(0, 4)),
    st.sampled_from(["batch", "L1", "a-1", "Own", "zzz"]).map(
        lambda word: Requested(word, lambda known: word.lower() in f"{known['run']} {known['state']}")
    ),
)  # fmt: skip


def _joined(parts: list[Requested], word: str, whole: Callable[[Any], bool]) -> Requested:
    return Requested(
        f"({word.join(part.text for part in parts)})", lambda known: whole(p.holds(known) for p in parts)
    )


def _not(part: Requested, word: str) -> Requested:
    return Requested(f"{word} {part.text}", lambda known: not part.holds(known))


JUXTAPOSED = st.sampled_from([" ", "  ", " and ", " AND\t"])
ALTERNATIVE = st.sampled_from([" or ", " OR "])
QUERIES = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds(_joined, st.lists(inner, min_size=1, max_size=3), JUXTAPOSED, st.just(all)),
        st.builds(_joined, st.lists(inner, min_size=1, max_size=3), ALTERNATIVE, st.just(any)),
        st.builds(_not, inner, st.sampled_from(["not", "NOT"])),
    ),
    max_leaves=8,
)  # fmt: skip


@given(QUERIES)
def test_what_is_selected_is_what_a_naive_evaluator_says(requested: Requested) -> None:
    query = parse(requested.text)
    assert [query.matches(view) for view in VIEWS] == [requested.holds(known) for known in RUNS]


@given(st.lists(TERMS, min_size=3, max_size=3))
def test_not_binds_before_and_and_that_before_or(terms: list[Requested]) -> None:
    a, b, c = terms
    query = parse(f"{a.text} or not {b.text} {c.text}")
    assert [query.matches(view) for view in VIEWS] == [
        a.holds(known) or (not b.holds(known) and c.holds(known)) for known in RUNS
    ]


@given(
    st.text(alphabet='abnorstelyd ()"=:!<>.,*%0123\t\u200bé世-_[]/', max_size=30)
    | st.lists(
        st.sampled_from(
            ["norm", "lr", "state", "has", "=", ":", "!=", ">", "(", ")", "or", "not", " ", "1", ".."]
        )
    ).map("".join)
)
def test_any_text_is_a_query_or_is_refused_at_a_place_in_it(text: str) -> None:
    try:
        query = parse(text)
    except QueryError as error:
        assert str(error)
        assert 0 <= error.start < error.end <= len(text) + 1
        return
    assert all(query.matches(view) in (True, False) for view in VIEWS)


@pytest.mark.parametrize(
    ("text", "word", "why"),
    [
        ("seed=1 nrom=batch", "nrom", "no such field (did you mean 'norm'?)"),
        ("learning_rate=1", "learning_rate", "did you mean 'optim.lr'"),
        ("momentum=0.9", "momentum", "did you mean 'norm.momentum' or 'optim.momentum'"),
        ("zzz=1", "zzz", "no such field; expected one such as norm"),
        ("batch state:runing", "runing", "did you mean 'running'"),
        ("state>3", "3", "state is no number"),
        ("lr>abc", "abc", "expected one number after '>'"),
        ("lr>1,2", "1,2", "expected one number after '>'"),
        ("lr=0.1,abc,0.2", "abc", "expected a number"),
        ("lr=0.1,", "", "expected a value beside the comma"),
        ("lr=", "=", "expected a value after '='"),
        ("lr= )", "=", "expected a value after '='"),
        ("seed:4..0", "4..0", "descends"),
        ("seed:..", "..", "expected a range of numbers"),
        ("age<2x", "2x", "expected one number"),
        ("noise=maybe", "maybe", "expected one of on, off"),
        ("batch_size=ful", "ful", "did you mean 'full'"),
        ("has:icss", "icss", "did you mean 'ics'"),
        ("seed=1 && lr=0.1", "&&", "no such operator; expected =, !=, >, >=, <, <=, and, or, not"),
        ("seed=1 | lr=0.1", "|", "no such operator"),
        ("! seed=1", "!", "no such operator"),
        ("seed=1 lr≥0.1", "lr≥0.1", "no such operator"),
        ("norm~batch", "norm~batch", "no such operator"),
        ("has>ics", ">", "expected has:NAME"),
        (">3", ">", "expected a field before '>'"),
        ("(a or b", "(", "without its ')'"),
        ("a or b)", ")", "without its '('"),
        ("()", ")", "expected a condition"),
        ("a or", "", "expected a condition"),
        ('batch "two words', '"two words', "expected a closing quote"),
        ('"', '"', "expected a closing quote"),
        ('variant="two words', '"two words', "expected a closing quote"),
        ("a or or b", "or", "expected a condition"),
        ("not", "", "expected a condition"),
        ("(" * (DEEPEST + 1) + "a", "(", "more than"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_word(text: str, word: str, why: str) -> None:
    with pytest.raises(QueryError) as refused:
        parse(text)
    assert text[refused.value.start : refused.value.end] == word
    assert why in str(refused.value)


@pytest.mark.parametrize("text", ["=28%", "<=28%", ">=0.28", ":0.1..0.28", ":28%..", "=0.1,28%"])
def test_numbers_are_those_that_were_typed_not_their_float32(text: str) -> None:
    views = [as_view({"run": "a-1/b-s0", "state": "running", "test_accuracy": float(np.float32(0.28))})]
    assert selected(f"test_accuracy{text}", views)
    for strict in ("<28%", ">28%", "!=28%", "=28.001%"):
        assert not selected(f"test_accuracy{strict}", views)


def test_a_thousand_negations_are_no_recursion() -> None:
    assert selected("not " * 1000 + "batch") == selected("batch")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["batch-s0", "none-s1", "l1-s2", "batch_l1-s7", "own-s3"]),
        ("norm!=batch", ["none-s1", "l1-s2"]),
        ("not norm=batch", ["none-s1", "l1-s2", "own-s3"]),
        ("lr>5e-2", ["batch-s0", "batch_l1-s7"]),
        ("lr > 0.05", ["batch-s0", "batch_l1-s7"]),
        ("optim.lr=0.05,1", ["none-s1", "batch_l1-s7"]),
        ("test_accuracy>=60%", ["batch-s0", "none-s1"]),
        ("test_accuracy=nan", ["own-s3"]),
        ("has:test_accuracy", ["batch-s0", "none-s1", "own-s3"]),
        ("has:ics", []),
        ("has:eval not has:ics,beta", ["batch-s0", "none-s1", "own-s3"]),
        ("variant=b*", ["batch-s0", "batch_l1-s7"]),
        ("VARIANT=BATCH", ["batch-s0"]),
        ("run=a-1/*-s?", []),
        ("sweep=b-1", ["batch_l1-s7", "own-s3"]),
        ("seed:2..", ["l1-s2", "batch_l1-s7", "own-s3"]),
        ("seed:..1,7", ["batch-s0", "none-s1", "batch_l1-s7"]),
        ("noise=off seed<2", ["batch-s0", "none-s1"]),
        ("b*l1", ["batch_l1-s7"]),
        ('"or" or own', ["own-s3"]),
        ("(norm=batch or norm=l1) not (state=queued or lr<0.01)", ["batch-s0"]),
    ],
)
def test_what_is_selected(text: str, names: list[str]) -> None:
    assert selected(text) == names


def test_times_and_the_preset_are_known(tmp_path: Path) -> None:
    old = view_of(made_run(tmp_path / "x-001" / "a-s0", events()))
    write_sweep(tmp_path / "x-001", ["a-s0", "b-s0"], name="vgg_bn")
    young = made_run(tmp_path / "x-001" / "b-s0", events(3), begun=time.time() - 60, state="running")
    views = [old, view_of(young), as_view(RUNS[0])]
    assert selected("age<10min", views) == ["b-s0"]
    assert selected("age>1d", views) == ["a-s0"]
    assert selected("preset=vgg*", views) == ["a-s0", "b-s0"]
    assert selected("duration<2h", [view_of(young)]) == ["b-s0"]
    assert selected("experiment=dln_bn", views) == []


def test_every_measure_is_known_by_its_newest_value_of_the_middle_layer(tmp_path: Path) -> None:
    view = view_of(made_run(tmp_path / "a-s0", events()))
    assert run_fields()["ics_l2"].of(view) == 33.0, "layer 3 of 2, 3 and 5, measured last at step 30"
    assert run_fields()["beta"].of(view) == 10.0
    assert run_fields()["loss"].of(view) == pytest.approx(1 / 40)
    for measure in MEASURES.values():
        assert has(view, measure.key) == bool(measure.field in view.columns.fields(measure.table)), (
            measure.key
        )
        assert measure.per == "length" or measure.key in run_fields()
    assert not has(replace(view, columns=Columns()), "ics")


def test_the_settings_are_those_that_hold_now_however_long_ago_they_were_changed(tmp_path: Path) -> None:
    head = [request(0, {"norm.kind": "l1"})]
    steered = made_run(tmp_path / "a-s0", events(4000, head=head, every=1000))
    plain = made_run(tmp_path / "b-s0", events(4000, every=1000))
    assert not view_runs([plain], settings=True)[0].columns.complete, "nothing to be looked for"
    tail, whole = view_runs([steered])[0], view_runs([steered], settings=True)[0]
    assert not tail.columns.complete, "else this tests nothing"
    assert selected("norm=l1", [tail]) == []
    assert selected("norm=l1", [whole]) == ["a-s0"]
    assert parse("norm=l1").settings
    assert not parse("state=running seed:0..4 word").settings


def test_what_was_measured_long_ago_is_found(tmp_path: Path) -> None:
    evaluated: Known = {"type": "eval", "step": 6000, "test_loss": 1.0}
    run = made_run(tmp_path / "a-s0", [*events(6000, every=10_000), evaluated])
    query = parse("has:ics beta=10 loss<1")
    (tail,) = view_runs([run], enough=parse("loss<1").enough)
    assert not tail.columns.complete, "else this tests nothing"
    assert not query.matches(tail)
    (found,) = view_runs([run], enough=query.enough)
    assert query.matches(found)


def test_what_a_fork_inherited_is_found(tmp_path: Path) -> None:
    head = [request(0, {"norm.kind": "l1"})]
    parent = made_run(tmp_path / "a-s0", events(6000, head=head, every=10_000))
    fork = forked_run(tmp_path / "a-s0-fork-1", parent, 5990)
    for text in ("has:ics", "norm=l1"):
        query = parse(text)
        (found,) = view_runs([fork], settings=query.settings, enough=query.enough)
        assert query.matches(found), text
        assert not query.matches(view_runs([fork])[0]), "else this tests nothing"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nor", ["norm"]),
        ("seed=1 nor", ["seed=1 norm"]),
        ("(nor", ["(norm"]),
        ("norm.k", ["norm.kind"]),
        ("state:run", ["state:running"]),
        ("state!=queued,run", ["state!=queued,running"]),
        ("noise=", ["noise=off", "noise=on"]),
        ("has:ics_l", ["has:ics_l2"]),
        ("variant=b", ["variant=batch", "variant=batch_l1"]),
        ("norm=b", ["norm=batch"]),
        ("seed=", []),
        ("zzz", []),
        ("zzz=", []),
    ],
)
def test_the_last_word_is_completed(text: str, found: list[str]) -> None:
    assert complete(text, VIEWS) == found


def test_a_value_of_several_words_is_completed_in_quotes_and_is_found_so() -> None:
    fork = as_view({**RUNS[0], "run": "a-1/batch-s0-fork-1"})
    (completed,) = complete("variant=batch", [fork])
    assert completed == 'variant="batch fork 1"'
    assert selected(completed, [*VIEWS, fork]) == ["batch-s0-fork-1"]


def test_every_field_that_is_offered_is_known() -> None:
    for name in complete(""):
        assert name == "has:" or name in run_fields()
    assert {"norm", "lr", "test_accuracy", "state", "has:"} <= {*complete("")}
    assert common_beginning(complete("test_")) == "test_"
    assert common_beginning([]) == ""


def test_words_are_looked_for_in_what_is_shown_too() -> None:
    view = VIEWS[0]
    assert parse("deep batch").matches(view, "the Deep network")
    assert not parse("deep batch").matches(view)
    assert parse("deep net").matches_text("a deep network")
    assert not parse("deep seed=0").matches_text("a deep network")
    assert Query().matches_text("anything")
