"""Planning the runs of an experiment: profile, axes, seeds and overrides resolved into complete specs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from bncore.config.check import ConfigLayer, check_spec, checked, lay, value_at
from bncore.config.errors import Problem, SpecError, did_you_mean
from bncore.config.experiment import PROFILES, Experiment, ProfileName
from bncore.config.model import ImageData, Spec
from bncore.config.overrides import Override, nested, parse_override

SINGLE = "run"
"""Variant name of an experiment without axes."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One planned run."""

    name: str
    """``<variant>-s<seed>``, the name of its directory."""
    variant: str
    """Labels of its points on the axes, joined by ``-``."""
    seed: int
    spec: Spec


@dataclass(frozen=True, slots=True)
class Plan:
    """All runs of a sweep, in order: variants as the axes list them, with the seeds of each together."""

    experiment: Experiment
    profile: ProfileName
    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...]
    """Remarks for the user to read before the runs start."""

    def resolved(self, *, data: ImageData | None, device: str, threads: int) -> Plan:
        """The plan with every `auto` resolved.

        Arguments:
            data: source of the images, with path and fingerprint; replaces `auto` and completes the same source.
                None if no run reads images.
            device: replaces `auto`.
            threads: replaces `auto`.

        Raises:
            SpecError: a run does not fit the resolved values.
        """
        runs = (replace(run, spec=self._resolve(run.spec, data, device, threads)) for run in self.runs)
        return replace(self, runs=tuple(runs))

    def _resolve(self, spec: Spec, data: ImageData | None, device: str, threads: int) -> Spec:
        table: dict[str, Any] = spec.model_dump(exclude_none=True)
        if isinstance(spec.data, ImageData) and data and spec.data.source in ("auto", data.source):
            table["data"] |= {"source": data.source, "path": data.path, "fingerprint": data.fingerprint}
            if data.source != "synthetic":  # synthetic images only; equal runs need equal specs
                table["data"].pop("background")
        if spec.device == "auto":
            table["device"] = device
        if spec.threads == "auto":
            table["threads"] = threads
        if spec.memory_format == "auto":
            table["memory_format"] = "channels_last" if table["device"].startswith("cuda") else "contiguous"
        return checked(Spec, ConfigLayer(self.experiment.name, "", table))


def plan(
    experiment: Experiment,
    *,
    profile: ProfileName,
    sets: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] = ("*",),
    steps: int | None = None,
    device: str | None = None,
    data_path: str | None = None,
) -> Plan:
    """Resolve an experiment into its runs.

    The defaults of `Spec` are overridden, in this order, by the experiment's spec, its profile, a point of each
    axis, the seed, and the options given here.

    Arguments:
        experiment: from `load_experiment`.
        profile: name of the profile; if the experiment lacks it, nothing changes, and a note says so.
        sets: overrides such as ``norm=l1`` (see `bncore.config.overrides`).
        seeds: replace the experiment's seeds.
        variants: names of the variants to run, or shell patterns such as ``batch*``.
        steps: number of updates.
        device: auto, cpu, cuda or cuda:<index>.
        data_path: folder of the images; refused if every run generates its data.

    Raises:
        SpecError: all problems of all options and runs.
    """
    overrides, problems = _option_layers(experiment, sets, steps, device)
    seeds = tuple(experiment.seeds if seeds is None else seeds)
    refused = _option_problems(profile, seeds)
    problems += refused + _unmatched(experiment, variants)
    if refused:
        seeds = experiment.seeds  # go on, to find further problems
    titled = {"title": experiment.title or experiment.name} | experiment.spec
    base = [ConfigLayer(experiment.name, "spec", titled)]
    notes = []
    if chosen := experiment.profiles.get(profile):
        base.append(ConfigLayer(experiment.name, f"profiles.{profile}.spec", chosen.spec))
        notes.append(chosen.note)
    elif experiment.profiles:
        notes.append(f"{experiment.name} has no profile {profile}: its settings are used as they stand")
    runs: list[PlannedRun] = []
    for variant, points in _variants(experiment):
        if not any(fnmatchcase(variant, wanted) for wanted in variants):
            continue
        for seed in seeds:
            layers = [*base, *points, ConfigLayer("seeds", "", {"seed": seed}), *overrides]
            if data_path is not None and value_at(lay(layers)[0], ("data", "source")) != "gaussian":
                layers.append(ConfigLayer("--data-dir", "", {"data": {"path": data_path}}))
            spec, of_run = check_spec(layers, base[0])
            problems += of_run
            if spec is not None:
                runs.append(PlannedRun(f"{variant}-s{seed}", variant, seed, spec))
    sources = {run.spec.data.source for run in runs}
    if data_path is not None and runs and sources <= {"synthetic", "gaussian"}:
        generated = " and ".join(sorted(sources))
        expected = f"none: these runs are on {generated} data, which is generated"
        problems.append(Problem("--data-dir", "", data_path, expected))
    if problems:
        raise SpecError(problems)
    notes += [] if steps is None else [_measured_once(runs)]
    return Plan(experiment, profile, tuple(runs), tuple(note for note in notes if note))


def _measured_once(runs: Iterable[PlannedRun]) -> str:
    """A note on the probes that measure at the first step only because the training is short; may be empty."""
    names = dict.fromkeys(
        name
        for run in runs
        for name, probe in run.spec.probes
        if probe.due(0) and not any(map(probe.due, range(1, run.spec.steps)))
    )
    if not names:
        return ""
    hint = " ".join(f"--set probes.{name}.every=N" for name in names)
    return f"these probes measure at the first step only; to measure at every N-th: {hint}"


def _option_layers(
    experiment: Experiment, sets: Sequence[str], steps: int | None, device: str | None
) -> tuple[list[ConfigLayer], list[Problem]]:
    """The options as layers, and their problems."""
    problems: list[Problem] = []
    overrides: list[tuple[str, Override]] = []
    texts = [("--set", text) for text in sets]
    texts += [] if steps is None else [("--steps", f"steps={steps}")]
    texts += [] if device is None else [("--device", f"device={device}")]
    for option, text in texts:
        try:
            overrides += [(option, override) for override in parse_override(text, option)]
        except SpecError as error:
            problems += error.problems
    for option, override in overrides:
        problems += _clashes(experiment, option, override)
    # A change of shape (net.kind) drops the keys of earlier layers, so it goes first wherever it was typed.
    overrides.sort(key=lambda item: item[1].path not in (("net", "kind"), ("data", "source")))
    return [ConfigLayer(option, "", nested(one.path, one.value)) for option, one in overrides], problems


def _clashes(experiment: Experiment, option: str, override: Override) -> Iterable[Problem]:
    name = ".".join(override.path)
    if name == "seed":
        yield Problem(option, name, override.value, message="seeds are set by --seeds")
    for axis in experiment.axes:
        if name in axis.fields():
            labels = ", ".join(point.label for point in axis.variants())
            message = f"the axis '{axis.title}' sets it ({labels}); other values need an experiment file"
            yield Problem(option, name, override.value, message=message)


def _option_problems(profile: str, seeds: tuple[int, ...]) -> list[Problem]:
    problems = []
    if profile not in PROFILES:
        problems.append(Problem("--profile", "", profile, "paper or cpu"))
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        problems.append(Problem("--seeds", "", list(seeds), "integers >= 0, each once"))
    return problems


def _unmatched(experiment: Experiment, variants: Sequence[str]) -> list[Problem]:
    names = variant_names(experiment)
    unmatched = [text for text in variants if not any(fnmatchcase(name, text) for name in names)]
    expected = f"one of {', '.join(names)}"
    return [
        Problem("--variants", "", text, expected + did_you_mean(text, names), "no such variant")
        for text in unmatched
    ]


def variant_names(experiment: Experiment) -> tuple[str, ...]:
    """Names of the variants, in sweep order."""
    return tuple(name for name, _ in _variants(experiment))


def _variants(experiment: Experiment) -> Iterable[tuple[str, list[ConfigLayer]]]:
    """Name and layers of each variant in the product of the axes."""
    axes = [[(i, point) for point in axis.variants()] for i, axis in enumerate(experiment.axes)]
    seen: set[str] = set()
    for chosen in product(*axes):
        name = "-".join(point.label for _, point in chosen) or SINGLE
        if name.casefold() in seen:
            raise SpecError([Problem(experiment.name, "axes", name, "labels whose combinations differ")])
        seen.add(name.casefold())
        yield (
            name,
            [ConfigLayer(experiment.name, f"axes[{i}] '{point.label}'", point.set) for i, point in chosen],
        )
