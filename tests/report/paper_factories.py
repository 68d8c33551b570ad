"""Runs made to lie beside the paper's curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bncore.config.load import load_experiment
from bncore.config.model import ImageData, Spec
from bncore.config.plan import plan
from bncore.config.probes import Landscape, Probes
from bncore.config.toml import spec_to_toml
from bncore.report.document import Report
from bncore.report.figures import covered
from bncore.report.paper import PaperCurve, all_curves
from bncore.report.rank import PaperRank
from bncore.store.journal import Journal
from bncore.store.paths import RunDir
from bncore.store.status import State, Status, write_status
from report.factories import report

Row = tuple[str, int, dict[str, Any]]
STEPS = 1000
AT = range(0, STEPS + 1, 100)
PICTURES = ImageData(source="cifar10", standardize="image", path="pictures", fingerprint="0" * 64)
PLANNED = [plan(load_experiment(name), profile="paper").runs[0].spec for name in ("vgg_bn", "dln_bn")]
HERE = {"device": "cpu", "threads": 1, "probes": Probes()}
VGG16 = PLANNED[0].model_copy(update=HERE | {"steps": STEPS, "data": PICTURES})
LINEAR = PLANNED[1].model_copy(update=HERE)


def paper(key: str, figure: str, legend: str, setting: str = "", layer: int | None = None) -> PaperCurve:
    [found] = [
        curve
        for curve in all_curves(key, figure, layer=layer)
        if (curve.legend, curve.setting) == (legend, setting)
    ]
    return found


def plain_accuracy(step: int) -> float:
    curve = paper("accuracy", "1", "Standard", "LR=0.1")
    return float(np.interp(step, curve.x, curve.low))


def run(path: Path, spec: Spec, rows: Sequence[Row], state: State = "finished") -> RunDir:
    made = RunDir(path)
    made.inbox.mkdir(parents=True)
    made.checkpoints.mkdir()
    made.spec_file.write_text(spec_to_toml(spec))
    write_status(made, Status(state, rows[-1][1] if rows else 0, spec.steps))
    journal = Journal(made.journal_file)
    journal.append("start", 0, schema=1, title=spec.title, data="made")
    for kind, step, fields in sorted(rows, key=lambda row: row[1]):
        journal.append(kind, step, **fields)
    journal.append("finished", spec.steps, state=state, params_sha256="0" * 64)
    journal.close()
    return made


def runs(
    path: Path, spec: Spec, rows: Callable[[int], list[Row]], seeds: int = 5, *, norm: str = "none"
) -> Report:
    """A report of seeds of one variant."""
    path.mkdir()
    found = []
    for seed in range(seeds):
        own = spec.model_copy(update={"seed": seed, "norm": spec.norm.model_copy(update={"kind": norm})})
        found.append(run(path / f"{norm}-s{seed}", own, rows(seed)))
    return report(found)


def accuracies(offset: Callable[[int, int], float], at: Sequence[int] = AT) -> Callable[[int], list[Row]]:
    """Rows of a seed: the paper's training accuracy and what is added to it, of seed and step."""
    return lambda seed: [
        ("step", step, {"loss": 1.0, "accuracy": plain_accuracy(step) + offset(seed, step)}) for step in at
    ]


def around(seed: int, step: int) -> float:
    return 0.02 * (seed - 2) + 0.001


def ranks(document: Report, figure: str = "1") -> dict[tuple[str, str], PaperRank]:
    [setting] = document.settings
    return {(rank.panel, rank.variant): rank for rank in covered(setting)[figure].ranks}


def only(document: Report, figure: str = "1") -> PaperRank:
    [found] = ranks(document, figure).values()
    return found


def losses(factor: Callable[[int], float]) -> Callable[[int], list[Row]]:
    curve = paper("loss", "3b", "Standard", "lr 1e-6")
    logs = np.log(curve.low)
    return lambda seed: (
        [
            ("step", step, {"loss": float(np.exp(np.interp(step, curve.x, logs))) * factor(seed)})
            for step in range(0, 10_000, 50)
        ]
        + [("probe", 0, {"name": "ics", "layers": [9], "l2": [0.0], "cosine": [1.0]})]
    )


def landscapes(
    add: float, *, penalty: float | None, low: str = "loss_min", high: str = "loss_max"
) -> Callable[[int], list[Row]]:
    curve = paper("loss_band", "4", "Standard")

    def rows(seed: int) -> list[Row]:
        found: list[Row] = []
        for step in AT:
            edges = [float(np.interp(step, curve.x, edge)) for edge in (curve.low, curve.high)]
            own = add + 0.01 * (seed - 2) + 0.001
            fields = {"name": "landscape", low: edges[0] + own, high: edges[1] + own}
            found.append(("probe", step, fields))
            found.append(("step", step, {"loss": 1.0, **({} if penalty is None else {"penalty": penalty})}))
        return found

    return rows


MEASURED = Probes(landscape=Landscape(every=100))


def with_probes(**more: bool) -> Spec:
    landscape = Landscape(every=100, **more)  # type: ignore[arg-type]
    return VGG16.model_copy(update={"probes": Probes(landscape=landscape)})
