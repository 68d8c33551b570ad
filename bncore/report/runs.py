"""The runs of a report: what each is, and whether it may count as evidence for its variant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bncore.spec.errors import SpecError, printable
from bncore.spec.model import DLN, MLP, VGG, GaussianData, ImageData, Spec
from bncore.spec.observed import Observed
from bncore.store.columns import Columns, Event
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.lineage import read_lineage
from bncore.store.loaded import LoadedRun, load_run
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Observer, read_status

COUNTED_STATES = frozenset({"finished", "diverged"})
"""A run that diverges is a result."""


@dataclass(frozen=True, order=True)
class Variant:
    """What the paper compares, by name: everything that may differ between two runs that are compared."""

    norm: str = "none"
    """The kind, with whatever is not as usual, such as ``l1 centred``."""
    noise: str = ""
    """Empty without noise; ``noise`` for Algorithm 1 with the paper's constants; else what differs from it."""
    lr: float = 0.0

    @property
    def label(self) -> str:
        """Norm and noise."""
        return f"{self.norm} + {self.noise}" if self.noise else self.norm


@dataclass(frozen=True, eq=False)
class ReportRun:
    """One run, read to its end."""

    run: RunDir
    state: str
    """One of the states, `dead`, or `unknown`."""
    step: int
    """Updates made."""
    message: str
    """Why, where the state or a file that cannot be read needs a reason; harmless."""
    columns: Columns
    spec: Spec | None
    """None where spec.toml makes no sense, or the run observed somebody's own loop."""
    observed: Observed | None
    meta: dict[str, Any]
    exclusion: str
    """Why it is no evidence for its variant; empty where it is."""
    unfinished: bool = False
    """Whether that is only because it has not come to its end."""

    @property
    def name(self) -> str:
        """``<sweep>/<run>``, harmless."""
        return self.run.name

    @property
    def counts(self) -> bool:
        """Whether it is evidence for its variant."""
        return not self.exclusion

    @cached_property
    def variant(self) -> Variant:
        """What it is a run of; of a run without a spec, its directory's name."""
        return Variant(printable(self.run.path.name)) if self.spec is None else variant_of(self.spec)

    @property
    def seed(self) -> int:
        """0 where nobody knows."""
        return self.spec.seed if self.spec else 0

    @property
    def data(self) -> str:
        """What it was trained on, in the words of its journal; harmless."""
        return printable(str(self.columns.start.get("data", "")))

    @property
    def diverged(self) -> bool:
        """Whether it stopped at a loss that was not finite."""
        return self.state == "diverged"


def gather(places: Iterable[RunDir | SweepDir]) -> tuple[ReportRun, ...]:
    """The runs named and those of the sweeps named, each once.

    Raises:
        NoSuchRun: a sweep without runs.
    """
    runs: dict[object, RunDir] = {}
    for place in places:
        found = [place] if isinstance(place, RunDir) else place.runs()
        if not found:
            raise NoSuchRun(f"{place.path}: a sweep without runs")
        runs.update((run.path.resolve(), run) for run in found)
    observer = Observer()
    return tuple(look(run, observer) for run in runs.values())


def look(run: RunDir, observer: Observer) -> ReportRun:
    """Read one run; whatever cannot be read of it is told, not raised."""
    status = read_status(run)
    state: str = "unknown" if status is None else status.state
    if observer.dead(run, status):
        state = "dead"
    problem, loaded = _loaded(run)
    columns = loaded.columns if loaded else Columns()
    spec = loaded.settings if loaded and isinstance(loaded.settings, Spec) else None
    message = problem or (printable(status.message) if status else "")
    last = columns.last_step("step")
    exclusion = problem or _exclusion(run, spec, columns)
    ended = state in COUNTED_STATES
    return ReportRun(
        run=run,
        state=state,
        step=status.step if status else 0 if last is None else last + 1,
        message=message,
        columns=columns,
        spec=spec,
        observed=loaded.observed if loaded else None,
        meta=loaded.meta if loaded else {},
        exclusion=exclusion or ("" if ended else f"{state} at step {0 if last is None else last + 1:,}"),
        unfinished=not exclusion and not ended,
    )


def variant_of(spec: Spec) -> Variant:
    """What a spec is a run of."""
    norm = spec.norm.kind
    norm += " centred" if spec.norm.centred else ""
    norm += " frozen" if spec.norm.affine == "frozen" else ""
    return Variant(norm, _noise(spec), spec.optim.lr)


def steered(columns: Columns) -> list[Event]:
    """The requests that changed how the run trained: those that changed a probe alone do not count."""
    found = []
    for event in columns.events:
        command = event.get("command")
        changes = command.get("changes") if isinstance(command, dict) else None
        if event["type"] != "request" or event.get("outcome") != "applied" or not isinstance(changes, dict):
            continue
        if any(not str(path).startswith("probes.") for path in changes):
            found.append(event)
    return found


def _loaded(run: RunDir) -> tuple[str, LoadedRun | None]:
    try:
        return "", load_run(run.path)
    except (SpecError, StoreError) as error:
        return printable(str(error)), None
    except OSError as error:
        return printable(f"{run.journal_file.name}: cannot be read: {error.strerror or error}"), None


def _exclusion(run: RunDir, spec: Spec | None, columns: Columns) -> str:
    """Why a run is no evidence for the variant that its spec names, however it ended."""
    if spec is None:
        return "observes a training loop of somebody's own"
    changed = steered(columns)
    if changed:
        return f"steered: settings were changed by request at step {changed[0]['step']:,}"
    try:
        lineage = read_lineage(run)
    except StoreError as error:
        return printable(str(error))
    if columns.parent is not None or (lineage is not None and lineage.kind == "fork"):
        return "a fork: it begins as another run"
    if lineage is not None:
        return "a replay of another run"
    return ""


def _noise(spec: Spec) -> str:
    """``noise``, and whatever differs from Algorithm 1 as the paper states it."""
    if not spec.noise.on:
        return ""
    usual = type(spec.noise)(on=True)
    given = spec.noise.model_dump()
    other = [_shown(name, given[name]) for name, value in usual.model_dump().items() if given[name] != value]
    return " ".join(["noise", *other])


def _shown(name: str, value: object) -> str:
    return str(value) if isinstance(value, str) else f"{name} {value:g}" if isinstance(value, float) else name


FREE = frozenset({"title", "seed", "device", "threads", "log_every", "eval", "probes", "checkpoint", "noise"})
"""Fields of a spec in which runs that are compared may differ, besides those of the variant."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in variant, seed and instruments only."""

    title: str
    """``VGG-16 at width 0.25 on CIFAR-10, 1,000 steps of 64``."""
    network: str
    """vgg, dln or mlp."""
    images: bool
    synthetic: bool
    """Whether the images are made ones: good for trying things, not for conclusions."""
    steps: int
    runs: tuple[ReportRun, ...]
    """In order; those that do not count too."""

    @cached_property
    def counted(self) -> tuple[ReportRun, ...]:
        """Those that are evidence."""
        return tuple(run for run in self.runs if run.counts)

    def of(self, norm: str, noise: str = "", lr: float | None = None) -> dict[int, list[ReportRun]]:
        """The counted runs of a variant by seed; several where one was made with other instruments."""
        found: dict[int, list[ReportRun]] = {}
        for run in self.counted:
            if (run.variant.norm, run.variant.noise) == (norm, noise) and lr in (None, run.variant.lr):
                found.setdefault(run.seed, []).append(run)
        return found

    def rates(self, norm: str, noise: str = "") -> list[float]:
        """Learning rates that a norm was run at, ascending."""
        return sorted({run.variant.lr for runs in self.of(norm, noise).values() for run in runs})

    def label(self, variant: Variant) -> str:
        """The variant, with its learning rate where the setting has several."""
        several = len({run.variant.lr for run in self.runs}) > 1
        return f"{variant.label}, lr {variant.lr:g}" if several else variant.label


def settings_of(runs: Sequence[ReportRun]) -> tuple[Setting, ...]:
    """Runs that may be compared, together; runs that observed somebody's loop have no setting."""
    groups: dict[str, list[ReportRun]] = {}
    for run in runs:
        if run.spec is not None:
            groups.setdefault(comparable(run.spec), []).append(run)
    found = [_setting(group) for group in groups.values()]
    titles = [one.title for one in found]
    return tuple(
        one if titles.count(one.title) == 1 else _renamed(one, titles[:i].count(one.title) + 1)
        for i, one in enumerate(found)
    )


def _renamed(setting: Setting, number: int) -> Setting:
    title = f"{setting.title} ({_ORDINALS.get(number, f'settings {number}')})"
    return Setting(title, setting.network, setting.images, setting.synthetic, setting.steps, setting.runs)


_ORDINALS = {1: "first settings", 2: "second settings", 3: "third settings"}


def comparable(spec: Spec) -> str:
    """Equal for specs whose runs may be compared: everything but the variant and the fields that are `FREE`."""
    table: dict[str, Any] = {
        name: value for name, value in spec.model_dump(mode="json").items() if name not in FREE
    }
    table["norm"] = {
        k: v for k, v in table["norm"].items() if k not in ("kind", "centred", "affine", "groups")
    }
    table["optim"] = {k: v for k, v in table["optim"].items() if k != "lr"}
    table["data"] = {k: v for k, v in table["data"].items() if k not in ("path", "fingerprint")}
    if isinstance(spec.data, ImageData):
        table["data"]["fingerprint"] = spec.data.fingerprint
    return repr(table)


def _setting(runs: Sequence[ReportRun]) -> Setting:
    spec = runs[0].spec
    assert spec is not None
    images = isinstance(spec.data, ImageData)
    return Setting(
        title=title_of(spec, next((run.data for run in runs if run.data), "")),
        network="vgg" if isinstance(spec.net, VGG) else spec.net.kind,
        images=images,
        synthetic=isinstance(spec.data, ImageData) and spec.data.source == "synthetic",
        steps=spec.steps,
        runs=tuple(runs),
    )


def title_of(spec: Spec, data: str = "") -> str:
    """Network, data, steps and batch, in words."""
    net: object = spec.net
    match net:
        case VGG():
            name = net.kind.upper().replace("VGG", "VGG-")
            name += f" at width {net.width:g}" if net.width != 1 else ""
        case DLN():
            name = f"{net.depth}-layer linear network"
        case MLP():
            name = f"perceptron of {len(net.hidden)} hidden layers"
        case _:
            name = "network"
    batch = "full batches" if spec.batch_size == "full" else f"batches of {spec.batch_size}"
    where = "Gaussian regression" if isinstance(spec.data, GaussianData) else _images(spec.data, data)
    return f"{name} on {where}, {spec.steps:,} steps, {batch}"


def _images(data: ImageData, said: str) -> str:
    names = {"cifar10": "CIFAR-10", "synthetic": "synthetic images", "folder": "images of a folder"}
    name = names.get(data.source, said or "images")
    return f"{name}, augmented" if data.augment else name
