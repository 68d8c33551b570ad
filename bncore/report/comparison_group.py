"""Comparison groups: runs that differ only in variant, seed and instruments, so that they can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bncore.config.check import value_at
from bncore.config.errors import shown
from bncore.config.fields import dotted
from bncore.config.measure import Band
from bncore.config.model import DLN, MLP, VGG, GaussianData, ImageData, Spec
from bncore.config.overrides import leaf_paths
from bncore.follow.groups import Group, groups_of
from bncore.report.report_run import ReportRun, Variant

FREE = frozenset(
    {"title", "seed", "device", "threads", "cuda_graphs", "memory_format", "log_every", "eval", "probes"}
    | {"checkpoint", "noise"}
)
"""Spec fields that may differ between compared runs, besides those of the variant."""


@dataclass(frozen=True)
class Presentation:
    """The user's drawing options, and the styles that `show` and the explorer give the same runs."""

    band: Band | None = None
    """Band around a mean. None: the interval, except beside one of the paper's curves (which show a single run),
    where the band is the range of the seeds at the paper's samples."""
    by: tuple[str, ...] = ()
    """Settings by which runs are grouped in pictures other than the paper's figures; empty: by variant."""
    single: bool = False
    """Whether each run is drawn separately."""
    groups: tuple[Group, ...] = ()
    """All runs, grouped by the settings in `by`."""
    styles: Mapping[Path, int] = field(default_factory=dict)
    """Style of each run's variant, by run directory."""

    def of(self, runs: Sequence[ReportRun]) -> Presentation:
        """A copy with the groups and styles of these runs."""
        views = [run.view for run in runs]
        variants = groups_of(views)
        styles = {view.run.path: group.style for group in variants for view in group.runs}
        return replace(self, groups=groups_of(views, self.by) if self.by else variants, styles=styles)


PLAIN = Presentation()


@dataclass(frozen=True, eq=False)
class ComparisonGroup:
    """Runs that differ only in variant, seed and instruments."""

    title: str
    """Title such as ``VGG-16 at width 0.25 on CIFAR-10, 1,000 steps, batches of 64``."""
    network: str
    """``vgg``, ``dln`` or ``mlp``."""
    images: bool
    synthetic: bool
    """Whether the images are synthetic: good for trying things out, not for conclusions."""
    steps: int
    runs: tuple[ReportRun, ...]
    """All runs in order, including those that are not evidence."""
    presentation: Presentation = PLAIN
    """How the runs are drawn."""

    @cached_property
    def counted(self) -> tuple[ReportRun, ...]:
        """Runs that are evidence."""
        return tuple(run for run in self.runs if run.counts)

    @cached_property
    def by_variant(self) -> dict[Variant, BySeed]:
        """The counted runs by variant and seed."""
        return by_variant(self.counted)

    def of(self, norm: str, noise: str, lr: float) -> BySeed:
        """The counted runs of a variant by seed."""
        return self.by_variant.get(Variant(norm, noise, lr), {})

    @cached_property
    def styles(self) -> dict[Variant, int]:
        """A distinct style for each variant."""
        chosen: dict[Variant, int] = {}
        for run in self.runs:
            if run.variant not in chosen:
                style = self.presentation.styles.get(run.run.path, 0)
                taken = {*chosen.values()}
                chosen[run.variant] = style if style not in taken else max(taken) + 1
        return chosen

    def rates(self, norm: str, noise: str = "") -> list[float]:
        """Learning rates at which a norm was run, ascending."""
        return sorted(one.lr for one in self.by_variant if (one.norm, one.noise) == (norm, noise))

    def label(self, variant: Variant) -> str:
        """The variant's name, with its learning rate if the group has several."""
        several = len({run.variant.lr for run in self.runs}) > 1
        return f"{variant.label}, lr {variant.lr:g}" if several else variant.label


BySeed = dict[int, list[ReportRun]]
"""Runs by seed; a seed has several runs if their instruments differ."""


def by_variant(runs: Iterable[ReportRun]) -> dict[Variant, BySeed]:
    """Runs by variant and seed."""
    runs_of: dict[Variant, BySeed] = {}
    for run in runs:
        runs_of.setdefault(run.variant, {}).setdefault(run.seed, []).append(run)
    return runs_of


@dataclass(frozen=True)
class FigureRuns:
    """Runs the figure draws."""

    figure: str
    setting: ComparisonGroup
    runs: Mapping[Variant, BySeed]

    @property
    def rates(self) -> list[float]:
        """Learning rates, largest first, as the paper orders them."""
        return sorted({variant.lr for variant in self.runs}, reverse=True)

    @property
    def all_runs(self) -> list[ReportRun]:
        """All runs of all variants."""
        return [run for ones in self.runs.values() for some in ones.values() for run in some]

    def at(self, lr: float) -> FigureRuns:
        """The runs at one learning rate."""
        runs = {variant: ones for variant, ones in self.runs.items() if variant.lr == lr}
        return FigureRuns(self.figure, self.setting, runs)


def settings_of(runs: Sequence[ReportRun], presentation: Presentation = PLAIN) -> tuple[ComparisonGroup, ...]:
    """Group the runs that may be compared. Runs that observed an external training loop belong to no group."""
    groups: dict[str, list[ReportRun]] = {}
    for run in runs:
        if run.spec is not None:
            groups.setdefault(comparable(run.spec), []).append(run)
    every = [_setting(group, presentation) for group in groups.values()]
    return tuple(_distinguished(one, [other for other in every if other.title == one.title]) for one in every)


def _distinguished(setting: ComparisonGroup, alike: Sequence[ComparisonGroup]) -> ComparisonGroup:
    """The group, with a title that also states how it differs from other groups with the same title."""
    leaves = [fixed_leaves(spec) for other in alike if (spec := other.runs[0].spec) is not None]
    mine = fixed_leaves(setting.runs[0].spec) if setting.runs[0].spec else {}
    differing = [
        f"{path} {shown(value)}"
        for path, value in mine.items()
        if any(other.get(path, value) != value for other in leaves)
    ]
    return replace(setting, title=f"{setting.title} ({', '.join(differing)})") if differing else setting


def comparable(spec: Spec) -> str:
    """A key equal for specs whose runs may be compared: everything but the variant and the `FREE` fields."""
    return repr(_fixed(spec))


def fixed_leaves(spec: Spec) -> dict[str, Any]:
    """Settings that must be equal in compared runs, by dotted path."""
    fixed = _fixed(spec)
    return {dotted(path): value_at(fixed, path) for path in leaf_paths(fixed)}


def _fixed(spec: Spec) -> dict[str, Any]:
    """Settings that must be equal in compared runs, as nested tables."""
    varied = {
        "norm": {"kind", "centred", "fused", "affine", "groups"},
        "optim": {"lr"},
        "data": {"path", "fingerprint"},
    }
    table = spec.model_dump(mode="json", exclude={**dict.fromkeys(FREE, True), **varied})
    if isinstance(spec.data, ImageData):
        table["data"]["fingerprint"] = spec.data.fingerprint
    return table


def _setting(runs: Sequence[ReportRun], presentation: Presentation) -> ComparisonGroup:
    spec = runs[0].spec
    assert spec is not None
    return ComparisonGroup(
        title=title_of(spec, next((run.data for run in runs if run.data), "")),
        network="vgg" if isinstance(spec.net, VGG) else spec.net.kind,
        images=isinstance(spec.data, ImageData),
        synthetic=spec.data.source == "synthetic",
        steps=spec.steps,
        runs=tuple(runs),
        presentation=presentation,
    )


def title_of(spec: Spec, data: str = "") -> str:
    """Network, data, steps and batch size, in words."""
    match spec.net:
        case VGG() as net:
            name = net.kind.upper().replace("VGG", "VGG-")
            name += f" at width {net.width:g}" if net.width != 1 else ""
        case DLN() as net:
            name = f"{net.depth}-layer linear network"
        case MLP() as net:
            name = f"perceptron of {len(net.hidden)} hidden layers"
    batch = "full batches" if spec.batch_size == "full" else f"batches of {spec.batch_size}"
    where = "Gaussian regression" if isinstance(spec.data, GaussianData) else _images(spec.data, data)
    return f"{name} on {where}, {spec.steps:,} steps, {batch}"


def _images(data: ImageData, description: str) -> str:
    names = {"cifar10": "CIFAR-10", "synthetic": "synthetic images", "folder": "images of a folder"}
    name = names.get(data.source, description or "images")
    return f"{name}, augmented" if data.augment else name
