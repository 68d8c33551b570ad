"""Runs made to say something: journals with every instrument, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from live.factories import write_sweep

from bncore.config.model import (
    DLN,
    VGG,
    Evaluation,
    GaussianData,
    ImageData,
    Loss,
    Noise,
    Norm,
    Optim,
    Spec,
)
from bncore.config.probes import Activations, Ics, Landscape, Probes, Theory
from bncore.config.toml import spec_to_toml
from bncore.report.comparison_group import PLAIN, Presentation
from bncore.report.document import Report, report_of
from bncore.report.report_run import gather
from bncore.store.journal import Journal
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import State, Status, write_status

STEPS = 100
LAYERS = [1, 2, 3]
PROBES = Probes(
    ics=Ics(every=1), landscape=Landscape(every=1), activations=Activations(every=1), theory=Theory(every=1)
)
IMAGES = Spec(
    steps=STEPS,
    device="cpu",
    threads=1,
    data=ImageData(source="cifar10", path="pictures", fingerprint="0" * 64),
    net=VGG(kind="vgg16"),
    eval=Evaluation(every=50),
    probes=PROBES,
)
LINEAR = Spec(
    steps=STEPS,
    device="cpu",
    threads=1,
    batch_size="full",
    precision="float64",
    data=GaussianData(),
    net=DLN(),
    loss=Loss(kind="squared_error", reduction="half_sum"),
    probes=PROBES,
)


def spec_of(norm: str, *, base: Spec = IMAGES, lr: float = 0.1, noise: str = "", seed: int = 0) -> Spec:
    """A variant of `base`; `noise` is absolute or relative."""
    amplitude: Any = noise or "absolute"
    changes = {"norm": Norm(kind=norm), "optim": Optim(lr=lr), "seed": seed}
    return base.model_copy(update={**changes, "noise": Noise(on=bool(noise), amplitude=amplitude)})


def run_of(
    path: Path,
    spec: Spec,
    *,
    accuracy: float = 0.6,
    loss: float | None = None,
    rough: float = 1.0,
    scale: float = 1.0,
    shift: float = 0.1,
    drift: float = 1.0,
    theory: dict[str, Any] | None = None,
    state: State = "finished",
    steps: int = STEPS,
    events: tuple[dict[str, Any], ...] = (),
) -> RunDir:
    """A run directory whose every measurement is about what is said, a little different for each seed.

    Arguments:
        accuracy: of the last batches; of the first 0.1.
        loss: the last, the first being 10; None: what goes with the accuracy.
        rough: ||dg||/||g|| at a = lr, 1/4 of it at the shortest step length.
        scale: ||g||, and how much the loss moves along it.
        shift: ICS, as 1 - cos and as ||G - G'||/||G||.
        drift: |d mean| and |d variance| of activations.
        theory: fields of the theory probe that are otherwise, one value for every layer.
        events: further ones, before the first step.
    """
    run = RunDir(path)
    run.inbox.mkdir(parents=True)
    run.checkpoints.mkdir()
    run.spec_file.write_text(spec_to_toml(spec))
    write_status(run, Status(state, steps, spec.steps))
    own = 1 + 0.01 * spec.seed
    last = 10 * (1 - accuracy) ** 2 / 0.9**2 if loss is None else loss
    journal = Journal(run.journal_file)
    journal.append("start", 0, schema=1, title=spec.title, data="made")
    for event in events:
        journal.append(
            event["type"], event["step"], **{k: v for k, v in event.items() if k not in ("type", "step")}
        )
    for step in range(steps):
        done = step / (STEPS - 1)
        value = 10 * (last * own / 10) ** (done**0.5)  # falls fast at first: the start is left at once
        reached = 0.1 + (accuracy * own - 0.1) * done
        if step % 50 == 0:
            journal.append(
                "eval", step, train_loss=value, train_accuracy=reached, test_loss=value, test_accuracy=reached
            )
        journal.append(
            "step", step, loss=value, penalty=0.0, accuracy=reached, lr=spec.optim.lr, grad_norm=scale
        )
        for probe in _probes(spec, step, (rough * own, scale * own, shift * own, drift * own), theory or {}):
            journal.append("probe", step, **probe)
    if state in ("finished", "diverged"):
        journal.append("finished", steps, state=state, params_sha256="0" * 64)
    journal.close()
    return run


def sweep_of(path: Path, *variants: dict[str, Any], seeds: int = 3) -> SweepDir:
    """A sweep of each variant for each seed: keys of `spec_of`, the rest of `run_of`."""
    path.mkdir(parents=True)
    names = []
    for number, variant in enumerate(variants):
        ours = {k: v for k, v in variant.items() if k in ("norm", "base", "lr", "noise")}
        rest = {k: v for k, v in variant.items() if k not in ours}
        for seed in range(seeds):
            names.append(f"{variant['norm']}-{number}-s{seed}")
            run_of(path / names[-1], spec_of(**ours, seed=seed), **rest)
    write_sweep(path, names, name="made")
    return SweepDir(path)


def request(step: int, changes: dict[str, Any], outcome: str = "applied") -> dict[str, Any]:
    """An answered request to change settings."""
    command = {"kind": "set", "at_step": None, "changes": changes}
    return {
        "type": "request", "step": step, "id": f"r{step}", "author": "somebody", "command": command,
        "outcome": outcome, "old": None, "new": changes, "reason": "",
    }  # fmt: skip


def _probes(
    spec: Spec, step: int, sizes: tuple[float, float, float, float], theory: dict[str, Any]
) -> list[dict[str, Any]]:
    rough, scale, shift, drift = sizes
    lr, multiples = spec.optim.lr, [0.5, 1.0, 2.0, 4.0]
    relative = [rough / 4, rough, rough * 1.5, rough * 2]
    beta = max(r / (m * lr) for r, m in zip(relative, multiples, strict=True))
    landscape = {
        "name": "landscape", "direction": "gradient", "multiples": multiples, "grad_norm": scale, "loss0": 2.0,
        "loss": [2.0] * 4, "grad_diff": [r * scale for r in relative], "relative": relative, "cosine": [0.5] * 4,
        "loss_min": 2.0 - 0.1 * scale, "loss_max": 2.0 + 0.1 * scale, "grad_diff_min": relative[0] * scale,
        "grad_diff_max": relative[-1] * scale,
        "grad_diff_sum": [2 * r * scale for r in relative],
        "grad_diff_sum_min": 2 * relative[0] * scale, "grad_diff_sum_max": 2 * relative[-1] * scale,
        "lipschitz": scale, "beta": beta, "two_over_lr": 2 / lr,
        "one_over_a_min": 1 / (0.5 * lr),
    }  # fmt: skip
    ics = {
        "name": "ics", "layers": LAYERS, "l2": [0.0, shift, shift], "cosine": [1.0, 1 - shift, 1 - shift],
        "one_minus_cosine": [0.0, shift, shift], "relative": [0.0, shift, shift],
        "floor": [0.5 * shift] * 3,
    }  # fmt: skip
    activations = {
        "name": "activations", "layers": LAYERS, "counts": [[1, 4, 4, 1]] * 3, "bin_low": [-2.0] * 3,
        "bin_width": [1.0] * 3, "mean": [0.0] * 3, "variance": [1.0] * 3, "dead": [0.0] * 3, "unit": [0] * 3,
        "unit_mean": [0.1 * step] * 3, "unit_variance": [1.0 + 0.1 * step] * 3,
    }  # fmt: skip
    if step:
        activations |= {"mean_step": [drift] * 3, "variance_step": [drift] * 3}
    found = [ics, landscape, activations]
    if spec.norm.kind == "batch":
        fields = {
            "lipschitz_left": 0.5, "lipschitz_scale": 0.8, "lipschitz_plain": 1.0, "lipschitz_error": 1e-8,
            "printed_fails": 0.5, "hessian_error": 1e-8, "hessian_correction": 0.1, "worst_actual": 0.1,
            "worst_bound": 0.5, "worst_plain": 1.0,
        }  # fmt: skip
        layered = {name: [value] * 3 for name, value in (fields | theory).items()}
        found.append({"name": "theory", "layers": LAYERS, **layered})
    return [probe for probe in found if getattr(spec.probes, str(probe["name"])).due(step)]


def report(places: Sequence[RunDir | SweepDir], presentation: Presentation = PLAIN) -> Report:
    """The report of all runs at these places."""
    return report_of(gather(places), presentation)
