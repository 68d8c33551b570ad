"""What several claims compare: one variant with another, at each learning rate that both have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bncore.report.claims.evidence import Measure, Need
from bncore.report.quantities import Quantity, difference, final_log_loss, learnt, level
from bncore.report.runs import variant_of
from bncore.report.settings import Setting
from bncore.spec.model import ImageData, Spec

AS_GOOD = 0.05
"""Accuracies nearer than this count as equally good: five points, what the paper's seeds differ by in a panel."""


def common_rates(setting: Setting, *variants: tuple[str, str]) -> list[float]:
    """Learning rates that all the variants, given as norm and noise, were run at."""
    found = [set(setting.rates(*variant)) for variant in variants]
    return sorted(set.intersection(*found)) if found else []


def compare(
    setting: Setting,
    quantity: Quantity,
    ours: tuple[str, str],
    theirs: tuple[str, str],
    lr: float | None,
    **more: Any,
) -> Measure:
    """A quantity of one variant less that of another, paired by seed; `more` are fields of `Measure`."""
    effect = difference(quantity, setting.of(*ours, lr), setting.of(*theirs, lr))
    sign = "/" if more.get("ratio") else "−"
    name = f"{quantity.name}, {_named(ours)} {sign} {_named(theirs)}"
    return Measure(name, effect, **more)


LEAST_LOSS_DROP = 0.1
"""As log10: a loss that has fallen less than by a fifth counts as not trained at all."""

_LEARNT = Quantity("training accuracy gained", learnt)
_FALLEN = Quantity("final loss over the first", final_log_loss)


def untrained(setting: Setting, *variants: tuple[str, str], lr: float | None) -> str:
    """Why a comparison of trajectories says nothing: a network that never left its start sits on a plateau, where
    everything is smooth and steady. Empty where all the variants trained."""
    stuck = []
    for variant in variants:
        runs = setting.of(*variant, lr)
        gained = level(_LEARNT, runs) if setting.images else level(_FALLEN, runs)
        if gained is None or (gained.mean < AS_GOOD if setting.images else gained.mean > -LEAST_LOSS_DROP):
            stuck.append(f"“{_named(variant)}”")
    if not stuck:
        return ""
    return f"{' and '.join(stuck)} did not train: on the plateau of its start everything is smooth and steady"


def rate_title(lr: float) -> str:
    """``lr 0.1``."""
    return f"lr {lr:g}"


def has(
    *wanted: tuple[str, str], rates: int = 1, images: bool | None = None
) -> Callable[[Sequence[Spec]], bool]:
    """Whether specs hold all the variants, given as norm and noise, at so many common learning rates."""

    def met(specs: Sequence[Spec]) -> bool:
        seen: dict[tuple[str, str], set[float]] = {}
        for spec in specs:
            if images is None or isinstance(spec.data, ImageData) == images:
                variant = variant_of(spec)
                seen.setdefault((variant.norm, variant.noise), set()).add(variant.lr)
        found = [seen.get(variant, set()) for variant in wanted]
        return len(set.intersection(*found)) >= rates

    return met


def measures(probe: str, norms: Iterable[str] = ("none", "batch")) -> Callable[[Sequence[Spec]], bool]:
    """Whether a probe is on in specs of each of these norms."""

    def met(specs: Sequence[Spec]) -> bool:
        on = {spec.norm.kind for spec in specs if getattr(spec.probes, probe).every}
        return set(norms) <= on

    return met


def probe_need(probe: str, name: str, norms: Iterable[str] = ("none", "batch")) -> Need:
    """The need for an instrument, which any preset can be given."""
    return Need(f"{name} measured", measures(probe, norms), f"--set probes.{probe}.every=100")


def _named(variant: tuple[str, str]) -> str:
    return " + ".join(part for part in variant if part)
