"""The presets hold what the paper states, and say so where they do not."""

import itertools
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from bncore.config.experiment import schema
from bncore.config.load import load_experiment, preset_dir, preset_names
from bncore.config.model import DLN, VGG, Spec
from bncore.config.plan import plan

FIVE = ["none", "batch", "l1", "l2", "linf"]


def product(*labels: Sequence[str]) -> list[str]:
    """Names of the variants of several axes."""
    return ["-".join(chosen) for chosen in itertools.product(*labels)]


VARIANTS = {
    "activations": ["none", "batch", "batch-noise", "l1", "l2", "linf", "dln-none", "dln-batch"],
    "control_ablations": [
        "none",
        "batch",
        "mean-only",
        "variance-only",
        "detached",
        "population",
        "frozen-affine",
    ],
    "control_direction": product(("none", "batch"), ("gradient", "update", "random", "hessian")),
    "control_ics": product(("none", "batch"), ("own", "matched")),
    "control_init": product(
        (
            *("none-he-fan-out", "none-glorot", "none-he", "none-orthogonal"),
            *("batch-he-fan-out", "batch-glorot"),
        ),
        ("cold", "warmup"),
    ),
    "control_lr": product(
        ("none", "batch", "l2", "layer", "weight"), ("lr0.01", "lr0.03", "lr0.1", "lr0.3", "lr1.0", "lr3.0")
    ),
    "control_noise": product(
        ("none", "batch"),
        ("after", "before", "input"),
        ("mean", "mean-relative", "scale", "sample", "sample-relative"),
    ),
    "control_norms": product((*FIVE, "layer", "group", "weight"), ("own", "matched")),
    "dln_bn": ["none", "batch"],
    "dln_ics": ["none-lr1e-06", "none-lr1e-07", "batch-lr1e-06", "batch-lr1e-07"],
    "dln_landscape": ["none", "batch"],
    "dln_lp": FIVE,
    "dln_lp_landscape": FIVE,
    "dln_paper": [*FIVE, "none-lr1e-07", "batch-lr1e-07", "none-text", "batch-text"],
    "paper": [
        *("none", "batch", "batch-noise", "none-noise", "l1", "l2", "linf"),
        *("none-lr0.5", "batch-lr0.5", "none-lr0.01", "batch-lr0.01"),
        *("dln-none", "dln-batch", "dln-l1", "dln-l2", "dln-linf", "dln-none-lr1e-07", "dln-batch-lr1e-07"),
    ],
    "quick": ["none", "batch"],
    "vgg_bn": ["none", "batch"],
    "vgg_ics": ["none-lr0.1", "none-lr0.01", "batch-lr0.1", "batch-lr0.01"],
    "vgg_landscape": ["none", "batch"],
    "vgg_lp": FIVE,
    "vgg_lp_landscape": FIVE,
    "vgg_lr": ["none-lr0.1", "none-lr0.5", "batch-lr0.1", "batch-lr0.5"],
    "vgg_lr_envelope": [
        *("none-lr0.001", "none-lr0.002", "none-lr0.0001", "none-lr0.0005"),
        *("batch-lr0.001", "batch-lr0.002", "batch-lr0.0001", "batch-lr0.0005"),
    ],
    "vgg_noisy": ["none", "batch", "batch-noise", "none-noise"],
}


OF_THE_PAPER = [n for n in VARIANTS if not n.startswith("control_") and n not in ("quick", "vgg_lr_envelope")]


def specs(name: str, profile: str) -> dict[str, Spec]:
    runs = plan(load_experiment(name), profile=profile).runs  # type: ignore[arg-type]
    return {run.variant: run.spec for run in runs}


def test_the_presets_are_these() -> None:
    assert preset_names() == tuple(VARIANTS)


@pytest.mark.parametrize("profile", ["paper", "cpu"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_preset_expands_under_both_profiles(name: str, profile: str) -> None:
    experiment = load_experiment(name)
    assert experiment.title and experiment.description
    assert list(specs(name, profile)) == VARIANTS[name]
    for spec in specs(name, profile).values():
        assert spec.title == experiment.title


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "quick"])
def test_a_cpu_profile_says_that_it_is_reduced_exactly_where_it_is(name: str) -> None:
    experiment = load_experiment(name)
    paper, cpu = plan(experiment, profile="paper"), plan(experiment, profile="cpu")
    assert paper.notes == ()
    (note,) = cpu.notes
    assert note.startswith("reduced for CPUs") == (paper.runs != cpu.runs)


@pytest.mark.parametrize("name", [name for name in OF_THE_PAPER if name.startswith("vgg")])
def test_vgg_paper_profiles_hold_the_paper_s_settings(name: str) -> None:
    for variant, spec in specs(name, "paper").items():
        assert (spec.steps, spec.batch_size, spec.precision) == (15_000, 128, "float32")
        assert spec.net == VGG(kind="vgg16", width=1.0, head=(512,))
        assert (spec.data.source, spec.data.model_dump()["augment"]) == ("auto", False)
        assert spec.data.model_dump()["standardize"] == "image"
        assert (spec.optim.kind, spec.optim.momentum, spec.optim.weight_decay) == ("sgd", 0.0, 5e-4)
        assert (spec.optim.decay, spec.probes.landscape.penalty) == ("weights", True)
        assert spec.optim.lr == float(variant.partition("lr")[2] or 0.1)
        assert spec.optim.schedule.kind == "constant"
        assert spec.init.scheme == "he_fan_out"
        assert not spec.norm.centred


@pytest.mark.parametrize("name", ["dln_bn", "dln_lp"])
def test_dln_paper_profiles_hold_the_paper_s_settings(name: str) -> None:
    for spec in specs(name, "paper").values():
        assert (spec.steps, spec.batch_size, spec.precision) == (10_000, "full", "float64")
        assert spec.net == DLN(depth=25, width=10, normalise_last=False)
        assert spec.data.model_dump(exclude_none=True) == {
            "source": "gaussian",
            "samples": 1000,
            "features": 10,
            "teacher": "uniform",
        }
        assert (spec.loss.kind, spec.loss.reduction) == ("squared_error", "sum")
        assert (spec.optim.kind, spec.optim.lr, spec.optim.momentum) == ("sgd", 1e-6, 0.0)
        assert (spec.optim.weight_decay, spec.init.scheme, spec.norm.bias) == (0.0, "glorot", False)


def test_the_text_s_own_deep_linear_network_differs_in_its_teacher_only() -> None:
    found = specs("dln_paper", "paper")
    for norm in ("none", "batch"):
        figures, text = (found[name].model_dump() for name in (norm, f"{norm}-text"))
        assert (figures["data"].pop("teacher"), text["data"].pop("teacher")) == ("uniform", "gaussian")
        assert figures == text


@pytest.mark.parametrize("profile", ["paper", "cpu"])
def test_the_noisy_variants_differ_in_norm_and_noise_only(profile: str) -> None:
    found = specs("vgg_noisy", profile)
    assert {v: (s.norm.kind, s.noise.on) for v, s in found.items()} == {
        "none": ("none", False),
        "batch": ("batch", False),
        "batch-noise": ("batch", True),
        "none-noise": ("none", True),
    }
    noise = found["none-noise"].noise
    assert noise == found["batch-noise"].noise
    assert (noise.n_mu, noise.n_sigma, noise.r_mu, noise.r_sigma) == (0.5, 1.25, 0.1, 0.1)
    assert (noise.position, noise.amplitude, noise.in_eval) == ("after_norm", "absolute", False)
    rest = [s.model_dump(exclude={"norm": {"kind"}, "noise": {"on"}}) for s in found.values()]
    assert all(spec == rest[0] for spec in rest)


@pytest.mark.parametrize(
    ("suffix", "every", "multiples"),
    [
        ("vgg_landscape", 100, (0.5, 1, 2, 4)),
        ("vgg_lp_landscape", 100, (0.5, 1, 2, 4)),
        ("dln_landscape", 50, (0.01, 0.1, 1, 10, 10**1.5)),
        ("dln_lp_landscape", 50, (0.01, 0.1, 1, 10, 10**1.5)),
    ],
)
def test_landscapes_are_taken_where_the_paper_takes_them(
    suffix: str, every: int, multiples: tuple[float, ...]
) -> None:
    for spec in specs(suffix, "paper").values():
        assert (spec.probes.landscape.every, spec.probes.landscape.direction) == (every, "gradient")
        assert spec.probes.landscape.multiples == pytest.approx(multiples, rel=1e-15)


def test_the_dln_among_the_activations_is_that_of_dln_bn() -> None:
    found, own = specs("activations", "paper"), specs("dln_bn", "paper")
    for norm in ("none", "batch"):
        same = {
            "steps",
            "batch_size",
            "precision",
            "device",
            "threads",
            "data",
            "net",
            "norm",
            "init",
            "loss",
            "optim",
        }
        assert found[f"dln-{norm}"].model_dump(include=same) == own[norm].model_dump(include=same)
        assert found[f"dln-{norm}"].probes.activations.layers == (1, 11, 24)


def test_every_preset_is_commented() -> None:
    for name in preset_names():
        assert (preset_dir() / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")


def test_the_schema_documents_every_field_and_leaves_nothing_required_in_a_spec() -> None:
    whole = schema()
    assert set(whole) == {"Experiment", "Spec"}
    for name, model in whole["Spec"]["$defs"].items():
        for field, described in model["properties"].items():
            shape = whole["Spec"]["$defs"].get(described.get("$ref", "").rpartition("/")[2], {})
            # A description that repeats the table's own is left to the table.
            assert described.get("description") or shape.get("description"), f"{name}.{field}"
        if name != "Point":
            assert "required" not in model, name
    assert whole["Experiment"]["$ref"] == "#/$defs/Experiment"
    assert whole["Experiment"]["$defs"]["Experiment"]["properties"]["spec"]["$ref"] == "#/$defs/Spec"


def test_the_ground_floor_never_imports_torch() -> None:
    code = """
import sys, bncore.config.load, bncore.config.plan, bncore.config.experiment, bncore.config.toml
heavy = {"torch", "torchvision", "numpy", "rich", "textual", "typer"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_presets_ship_in_the_wheel() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert (
        project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["presets"] == "bncore/presets"
    )


def test_the_paper_in_one_sweep_holds_the_runs_of_its_figures() -> None:
    """Each variant of the presets of single figures, at the settings that make the run what it is."""
    whole = specs("paper", "paper")
    for name, prefix in (("vgg_lr", ""), ("vgg_noisy", ""), ("vgg_lp", ""), ("dln_lp", "dln-")):
        for variant, spec in specs(name, "paper").items():
            found = whole[prefix + variant.removesuffix("-lr0.1")]
            for field in ("net", "norm", "optim", "loss", "init", "batch_size", "precision", "steps"):
                assert getattr(found, field) == getattr(spec, field), (name, variant, field)
            assert (found.noise.on, spec.noise.on).count(True) in (0, 2)
    for variant, spec in specs("dln_paper", "paper").items():
        if variant.endswith("-text"):  # beside the paper's figures, not among them
            continue
        found = whole[f"dln-{variant}"]
        for field in (
            "data",
            "net",
            "norm",
            "optim",
            "loss",
            "init",
            "batch_size",
            "precision",
            "steps",
            "log_every",
        ):
            assert getattr(found, field) == getattr(spec, field), (variant, field)
        for probe in ("ics", "landscape"):
            assert getattr(found.probes, probe) == getattr(spec.probes, probe), (variant, probe)
    for norm in ("none", "batch"):
        assert whole[f"dln-{norm}-lr1e-07"].optim == specs("dln_ics", "paper")[f"{norm}-lr1e-07"].optim
        assert whole[f"{norm}-lr0.01"].optim == specs("vgg_ics", "paper")[f"{norm}-lr0.01"].optim


def test_controls_are_no_figures_of_the_paper() -> None:
    for name in VARIANTS:
        assert bool(load_experiment(name).figure) == (name in OF_THE_PAPER)
