"""Evidence missing to decide a claim, and the command that would produce it, found in the presets' plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bncore.config.load import load_experiment, preset_names
from bncore.config.model import Spec
from bncore.config.plan import plan
from bncore.report.claims.evidence import Claim, ClaimVerdict, Verdict
from bncore.report.comparison_group import ComparisonGroup, comparable
from bncore.report.statistics import ENOUGH_SEEDS


@dataclass(frozen=True)
class PresetTest:
    """A preset that tests a claim."""

    name: str
    options: tuple[str, ...]
    """Options to add to its command line."""

    def command(self, seeds: int = ENOUGH_SEEDS) -> str:
        """The command line for this number of seeds."""
        numbers = ",".join(map(str, range(seeds)))
        return " ".join(["bnrun preset", self.name, f"--seeds {numbers}", *self.options])


@dataclass(frozen=True)
class Missing:
    """Evidence that an undecided claim lacks, and the command that would produce it."""

    lacks: tuple[str, ...]
    command: str
    """Empty if no preset would decide the claim."""


def presets_for(claim: Claim) -> tuple[PresetTest, ...]:
    """Presets that meet every need of a claim: first the one made for it, then by number of extra options."""
    if claim.resolved_elsewhere:
        return ()
    tests = []
    for name in preset_names():
        unmet = [[n for n in claim.needs if not n.met(specs)] for specs in _planned(name)]
        possible = [needs for needs in unmet if all(need.option for need in needs)]
        if possible:
            fewest = min(possible, key=len)
            tests.append(PresetTest(name, tuple(need.option for need in fewest)))
    tests.sort(key=lambda test: (test.name != FIRST.get(claim.key), len(test.options), test.name))
    return tuple(tests)


def missing(judged: ClaimVerdict, settings: Sequence[ComparisonGroup]) -> Missing:
    """What these runs lack for a claim, for the comparison group that lacks least."""
    claim = judged.claim
    if claim.resolved_elsewhere:
        return Missing((), "bnrun theory" if claim.key == "C10" else "")
    if judged.verdict in (Verdict.SUPPORTED, Verdict.CONTRADICTED):
        return Missing((), "")
    everything = [*(need.text for need in claim.needs), f"{ENOUGH_SEEDS} seeds or more"]
    lacks = min((_lacks(claim, setting) for setting in settings), key=len, default=everything)
    tests = presets_for(claim)
    seeds = ENOUGH_SEEDS if lacks else 2 * max(map(_seeds, settings))
    return Missing(tuple(lacks) or _undecided(judged), tests[0].command(seeds) if tests else "")


def _lacks(claim: Claim, setting: ComparisonGroup) -> list[str]:
    specs = [run.spec for run in setting.counted if run.spec]
    lacks = [need.text for need in claim.needs if not need.met(specs)]
    if _seeds(setting) < ENOUGH_SEEDS:
        lacks.append(f"{ENOUGH_SEEDS} seeds or more (there: {_seeds(setting)})")
    if setting.synthetic:
        lacks.append("real images in the place of synthetic ones")
    return lacks


def _seeds(setting: ComparisonGroup) -> int:
    return len({run.seed for run in setting.counted})


def _undecided(judged: ClaimVerdict) -> tuple[str, ...]:
    """What an inconclusive claim lacks although every need is met."""
    parts = [part for finding in judged.findings for part in finding.scope.parts]
    early = sorted({part.early for part in parts if part.early})
    if early:
        return (f"longer runs ({'; '.join(early)})",)
    blocked = sorted({part.blocked for part in parts if part.blocked})
    if blocked:
        return (f"runs in which BatchNorm helps ({'; '.join(blocked)})",)
    return ("more seeds or longer runs: intervals hold both, or measures disagree",)


FIRST = {
    "C1": "vgg_lr", "C2": "vgg_noisy", "C3": "dln_ics", "C4": "vgg_landscape", "C5": "vgg_landscape",
    "C6": "vgg_lp", "C7": "dln_bn", "C8": "dln_bn", "C9": "dln_bn",
}  # fmt: skip
"""The preset made for each claim, or the quickest that suffices."""


@cache
def _planned(name: str) -> tuple[tuple[Spec, ...], ...]:
    """The specs of a preset in comparable groups, without synthetic images, which are not evidence."""
    groups: dict[str, list[Spec]] = {}
    for run in plan(load_experiment(name), profile="cpu").runs:
        if run.spec.data.source != "synthetic":
            groups.setdefault(comparable(run.spec), []).append(run.spec)
    return tuple(map(tuple, groups.values()))
