"""For a comparison group: whether its runs are the paper's experiment, and how many of the paper's curves lie
outside its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bncore.config.errors import shown
from bncore.config.load import load_experiment
from bncore.config.model import DLN, VGG, ImageData, Spec
from bncore.config.plan import plan
from bncore.report.comparison_group import ComparisonGroup, fixed_leaves
from bncore.report.figures import covered
from bncore.report.rank import FEW, PaperRank

PRESETS = {"vgg": "vgg_bn", "dln": "dln_bn"}
"""Presets with the paper's settings, as far as these are known."""
SAID = 4
"""Most differences or curves that a sentence names; the rest are counted."""
_UNSAID = frozenset({"data.fingerprint"})
"""Settings that differ between machines."""


@dataclass(frozen=True)
class PaperFit:
    """Where the paper's curves lie among the seeds of a comparison group."""

    setting: ComparisonGroup
    ranks: tuple[PaperRank, ...]
    """Ranked curves; a run that several of the paper's figures show counts once."""
    unranked: tuple[PaperRank, ...]
    """Curves without a rank, each with a reason."""
    differs: tuple[str, ...]
    """How these runs differ from the paper's, such as ``width 0.25``; empty if no difference is known."""

    @property
    def outside(self) -> tuple[PaperRank, ...]:
        """The paper's curves that lie farther out than one more seed of ours would."""
        return tuple(rank for rank in self.ranks if rank.outside)

    @property
    def seeds(self) -> int:
        """Largest number of seeds that a curve was compared with."""
        return max((rank.seeds for rank in (*self.ranks, *self.unranked)), default=0)

    @property
    def by_chance(self) -> float:
        """Expected number of curves outside, at most, if the paper's seed were one more of ours."""
        return sum(1 / (1 + rank.seeds) for rank in self.ranks)

    @property
    def text(self) -> str:
        """Summary in one sentence; empty if the paper has no curve of these runs."""
        if not self.ranks and not self.unranked:
            return ""
        lie = self._lie
        if not self.differs:
            return f"{lie[0].upper()}{lie[1:]}."
        return f"These runs are not the paper's experiment ({_some(self.differs)}): {lie}."

    @property
    def _lie(self) -> str:
        if not self.ranks:
            reasons = dict.fromkeys(rank.reason for rank in self.unranked)
            return f"where the paper's curves lie among them is unknown ({'; '.join(reasons)})"
        seeds = f"all {self.seeds} seeds{' (few)' if self.seeds < FEW else ''}"
        if not self.outside:
            return f"none of the paper's {len(self.ranks)} curves lies outside {seeds}"
        named = _some([f"Fig {rank.figure} {rank.panel}, {rank.variant}" for rank in self.outside], "; ")
        count, lie = len(self.outside), "lies" if len(self.outside) == 1 else "lie"
        return (
            f"{count} of the paper's {len(self.ranks)} curves {lie} outside {seeds} ({named}); "
            f"by chance about {self.by_chance:.{0 if self.by_chance >= 1 else 1}f} would"
        )


def paper_fit(setting: ComparisonGroup) -> PaperFit:
    """Where the paper's curves lie among the seeds of a comparison group, over all figures that it covers."""
    all_ranks = [rank for picture in covered(setting).values() for rank in picture.ranks]
    once = {_run_of(rank): rank for rank in reversed(all_ranks)}
    ranks = [rank for rank in all_ranks if once[_run_of(rank)] is rank]
    return PaperFit(
        setting,
        tuple(rank for rank in ranks if not rank.reason),
        tuple(rank for rank in ranks if rank.reason),
        differences(setting),
    )


def differences(setting: ComparisonGroup) -> tuple[str, ...]:
    """How a comparison group differs from the paper's experiment, in words; for a network not in the paper, only
    that."""
    spec = next((run.spec for run in setting.runs if run.spec), None)
    if spec is None or setting.network not in PRESETS:
        return (f"another network: {setting.network}",)
    paper = _paper(setting.network)
    return (*_in_words(setting, spec, paper), *_as_paths(spec, paper))


def _in_words(setting: ComparisonGroup, spec: Spec, paper: Spec) -> list[str]:
    words = []
    if spec.steps < paper.steps:
        words.append(f"{spec.steps:,} of {paper.steps:,} steps")
    net, its = spec.net, paper.net
    if net.kind != its.kind:
        words.append(net.kind.upper().replace("VGG", "VGG-"))
    if isinstance(net, VGG | DLN) and isinstance(its, VGG | DLN) and net.width != its.width:
        words.append(f"width {net.width:g}")
    if isinstance(net, DLN) and isinstance(its, DLN) and net.depth != its.depth:
        words.append(f"{net.depth} layers")
    if spec.batch_size != paper.batch_size:
        words.append("full batches" if spec.batch_size == "full" else f"batches of {spec.batch_size}")
    if setting.images and isinstance(spec.data, ImageData) and spec.data.source != "cifar10":
        words.append({"synthetic": "synthetic images", "folder": "images of a folder"}[spec.data.source])
    return words


def _as_paths(spec: Spec, paper: Spec) -> list[str]:
    """The remaining settings that differ, as dotted path and value."""
    stated = {"steps", "batch_size", "net.kind", "net.width", "net.depth", "data.source"} | _UNSAID
    theirs = fixed_leaves(paper)
    return [
        f"{path} {shown(value)}"
        for path, value in fixed_leaves(spec).items()
        if path not in stated and theirs.get(path, value) != value
    ]


@cache
def _paper(network: str) -> Spec:
    """The paper's settings, from its preset."""
    return plan(load_experiment(PRESETS[network]), profile="paper").runs[0].spec


def _run_of(rank: PaperRank) -> tuple[Any, ...]:
    """A key equal for the paper's curves that show the same run and quantity: Figs 1, 2 and 5a share runs."""
    values = tuple(f"{sample.paper:.3g}" for sample in rank.looks)
    return (rank.panel, rank.variant, rank.reason, rank.figure if not values else "", values)


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - SAID
    return between.join(names[:SAID]) + (f" and {more} more" if more > 0 else "")
