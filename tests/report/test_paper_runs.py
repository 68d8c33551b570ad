"""The rules of every claim on the paper's own curves: they say what the paper says, and never before it can be
seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bncore.report.claims.comparing import MOST_OF_IT
from bncore.report.claims.evidence import ClaimPart, Verdict
from bncore.report.claims.judging import CLAIMS
from bncore.report.claims.shift import SAME_ANGLE
from bncore.report.comparison_group import ComparisonGroup
from bncore.report.paper import all_curves
from bncore.report.paper_runs import EVERY, paper_settings
from bncore.report.progress import LATEST_START, LEFT

WITH_CURVES = {
    "C1": {"faster at lr 0.1", "faster at lr 0.01", "faster at lr 1e-06", "tolerates larger learning rates"},
    "C2": {"noise destroys stability", "training is as good all the same"},
    "C3": {"not reduced"},
    "C4": {"lower effective Lipschitz constant"},
    "C5": {"more predictive gradients", "lower effective β-smoothness, early in training"},
    "C6": {"trains as well as BatchNorm"},
}
"""The parts of the claims that the paper's curves suffice for."""


def judged(until: int | None) -> Iterator[tuple[ComparisonGroup, str, str, ClaimPart]]:
    for setting in paper_settings(until):
        for claim in CLAIMS:
            for scope in claim.scopes(setting):
                for part in scope.parts:
                    if part.measured or part.early:
                        yield setting, claim.key, scope.title, part


def test_over_the_whole_training_the_paper_s_curves_say_what_the_paper_says() -> None:
    found: dict[str, set[str]] = {}
    for setting, key, scope, part in judged(None):
        assert part.verdict == Verdict.SUPPORTED, (setting.network, key, scope, part)
        found.setdefault(key, set()).add(part.title)
    assert found == WITH_CURVES


@pytest.mark.parametrize("until", [200, 1000])
def test_cut_off_early_they_never_contradict_it(until: int) -> None:
    seen = {key for _, key, _, part in judged(until) if part.verdict != Verdict.CONTRADICTED}
    assert not [
        (key, part.title) for _, key, _, part in judged(until) if part.verdict == Verdict.CONTRADICTED
    ]
    assert seen >= set(WITH_CURVES)


@pytest.mark.parametrize("until", [200, 1000])
def test_cut_off_early_the_images_are_too_early_for_every_claim(until: int) -> None:
    for setting, key, _, part in judged(until):
        if setting.images and part.title in WITH_CURVES.get(key, set()):
            assert part.verdict == Verdict.TOO_EARLY, (key, part)
            assert part.early


def test_the_linear_network_cut_off_has_left_its_start_but_not_been_where_the_other_is() -> None:
    """At step 1,000 its loss is an eighth of the first: faster is a finding, smoother at equal loss is not yet
    one."""
    verdicts = {(key, part.verdict) for s, key, _, part in judged(1000) if s.network == "dln" and part.early}
    assert verdicts == {(key, Verdict.TOO_EARLY) for key in ("C3", "C4", "C5")}
    verdicts = {(key, part.verdict) for s, key, _, part in judged(200) if s.network == "dln"}
    assert verdicts == {(key, Verdict.TOO_EARLY) for key in ("C1", "C3", "C4", "C5")}


def test_without_the_rule_of_the_start_the_first_200_steps_contradict_the_paper() -> None:
    """What the rule is for: on its plateau the plain network is smooth, and its gradients are predictive."""
    vgg = paper_settings(200)[0]
    for field in ("beta", "grad_diff_sum_max"):
        none, batch = (
            np.log10(vgg.of(norm, "", 0.1)[0][0].columns.series("probe:landscape", field).values).mean()
            for norm in ("none", "batch")
        )
        assert batch > none


def test_samples_that_the_lines_lost_are_put_back_and_none_is_invented() -> None:
    for setting in paper_settings():
        for run in setting.runs:
            for table in run.columns.tables():
                for field in run.columns.fields(table):
                    series = run.columns.series(table, field)
                    assert not len(series) or (np.diff(series.steps) == EVERY[setting.network]).all()
                    assert not len(series) or series.steps[-1] <= setting.steps
    own = {curve.legend: curve for curve in all_curves("beta", "10")}
    [run] = paper_settings()[2].of("batch", "", 1e-6)[0]
    ours = run.columns.series("probe:landscape", "beta")
    theirs = own["Standard + BatchNorm"]
    kept = np.isin(ours.steps, np.round(theirs.x))
    assert kept.sum() == len(theirs.x)
    assert np.allclose(ours.values[kept], theirs.low, rtol=0.02)  # read off to a fiftieth of a step


def test_the_margins_are_those_that_the_paper_s_curves_give() -> None:
    vgg, vgg_ics, _, dln_ics = paper_settings()
    effects = {
        (setting.network, scope.title, measure.name): measure.effect.mean
        for setting, key in ((vgg, "C2"), (vgg, "C6"), (vgg_ics, "C3"), (dln_ics, "C3"))
        for scope in next(claim for claim in CLAIMS if claim.key == key).scopes(setting)
        for measure in scope.measures
        if measure.effect is not None
    }
    angles = [value for (_, _, name), value in effects.items() if "1 − cos" in name]
    assert len(angles) == 6
    assert min(angles) == pytest.approx(-0.047, abs=1e-3)
    assert min(angles) > -SAME_ANGLE
    lost = {name: value for (_, _, name), value in effects.items() if name.startswith("share of BatchNorm")}
    assert max(lost.values()) == pytest.approx(0.29, abs=0.01)
    assert max(lost.values()) < MOST_OF_IT
    assert sorted(lost.values())[-2] < 0  # the l_p norms lose nothing


def test_the_plain_vgg_leaves_its_start_where_its_smoothness_ends() -> None:
    [run] = paper_settings()[0].of("none", "", 0.1)[0]
    assert run.training is not None
    left = run.training.below(LEFT * run.training.first)
    beta = run.columns.series("probe:landscape", "beta")
    assert left is not None
    assert 100 < left <= 300
    assert beta.values[beta.steps <= 100].max() < 12
    assert beta.values[(beta.steps >= 200) & (beta.steps <= left)].min() > 20
    assert left < LATEST_START * run.steps
