"""An experiment, as requested, becomes exactly these runs."""

import pytest

from bncore.config.errors import SpecError
from bncore.config.experiment import Experiment
from bncore.config.load import load_experiment
from bncore.config.model import ImageData
from bncore.config.plan import plan

from .conftest import Write


def message_of(experiment: Experiment, **options: object) -> str:
    with pytest.raises(SpecError) as caught:
        plan(experiment, profile="cpu", **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_axes_multiply_in_order_with_the_seeds_innermost() -> None:
    runs = plan(load_experiment("vgg_lr"), profile="paper", seeds=[3, 4]).runs
    assert [(run.variant, run.seed) for run in runs] == [
        (f"{norm}-{lr}", seed) for norm in ("none", "batch") for lr in ("lr0.1", "lr0.5") for seed in (3, 4)
    ]
    assert all(run.name == f"{run.variant}-s{run.seed}" for run in runs)
    assert [(r.spec.norm.kind, r.spec.optim.lr, r.spec.seed) for r in runs][3] == ("none", 0.5, 4)


def test_only_the_variants_that_are_named_run() -> None:
    experiment = load_experiment("paper")
    names = [r.variant for r in plan(experiment, profile="cpu", variants=["none", "dln-batch*"]).runs]
    assert names == ["none", "dln-batch", "dln-batch-lr1e-07"]
    message = message_of(experiment, variants=["none", "bacth"])
    assert "--variants" in message
    assert "'bacth'" in message
    assert "did you mean 'batch'" in message


def test_default_labels_of_a_grid(write: Write) -> None:
    grids = {
        "norm.kind": (["lp:3", "none"], ["lp3", "none"]),
        "optim.lr": ([1e-6, 2], ["lr1e-06", "lr2"]),
        "data.augment": ([True, False], ["augment-on", "augment-off"]),
        "net.head": ([[512, 256], []], ["512-256", "head"]),
    }
    for path, (values, labels) in grids.items():
        experiment = Experiment.model_validate({"axes": [{"path": path, "values": values}]})
        assert [run.variant for run in plan(experiment, profile="cpu").runs] == labels


def test_labels_whose_combinations_meet_are_refused(write: Write) -> None:
    text = "[[axes]]\npoints = [{label='a'}, {label='a-b'}]\n[[axes]]\npoints = [{label='b-c'}, {label='c'}]"
    assert "labels whose combinations differ" in message_of(load_experiment(write("x.toml", text)))


def test_what_is_asked_for_goes_over_everything() -> None:
    planned = plan(
        load_experiment("vgg_bn"),
        profile="cpu",
        sets=["lr=0.3", "net.width=0.5", "lr=0.4"],
        steps=7,
        device="cuda:1",
        data_path="/pictures",
    )
    for run in planned.runs:
        assert run.spec.optim.lr == 0.4
        assert run.spec.net.model_dump() == {"kind": "vgg11", "width": 0.5, "head": (512,)}
        assert (run.spec.steps, run.spec.device) == (7, "cuda:1")
        assert run.spec.data == ImageData(path="/pictures", standardize="image", background="by_class")


@pytest.mark.parametrize("sets", [["net=mlp", "net.hidden=8"], ["net.hidden=8", "net=mlp"]])
def test_the_order_of_overrides_does_not_matter_to_the_shape(sets: list[str]) -> None:
    for run in plan(load_experiment("vgg_bn"), profile="cpu", sets=sets).runs:
        assert run.spec.net.model_dump() == {"kind": "mlp", "hidden": (8,)}


def test_an_override_of_a_swept_field_is_refused_and_names_the_axis() -> None:
    said = message_of(load_experiment("vgg_lr"), sets=["lr=0.2", "norm=l1"])
    assert "--set: optim.lr = 0.2: the axis 'optim.lr' sets it (lr0.1, lr0.5)" in said
    assert "--set: norm.kind = 'l1': the axis 'norm.kind' sets it (none, batch)" in said
    said = message_of(load_experiment("vgg_noisy"), sets=["noise=on"])
    assert "noise.on = true: the axis 'none/batch/batch-noise/none-noise' sets it" in said


def test_everything_wrong_with_the_options_is_told_at_once() -> None:
    said = message_of(
        load_experiment("dln_bn"),
        sets=["norm=l1", "lrr=1", "seed=3", "net.head=5"],
        steps=0,
        device="gpu",
        seeds=[1, -1],
    )
    for line in (
        "--set: norm.kind = 'l1': the axis",
        "--set: lrr = '1': no such field (did you mean 'lr'?)",
        "--set: seed = 3: seeds are set by --seeds",
        "--set: net.head = [5]: unknown key; expected one of kind, depth, width, normalise_last",
        "('head' belongs to net.kind 'vgg16')",
        "--steps: steps = '0': expected an integer >= 1",
        "--device: device = 'gpu': expected auto, cpu, cuda or cuda:<index>",
        "--seeds = [1, -1]: expected integers >= 0, each once",
    ):
        assert line in said


@pytest.mark.parametrize("seeds", [[], [True], [-1], [2, 2]])
def test_impossible_seeds_are_refused(seeds: list[int]) -> None:
    assert "expected integers >= 0, each once" in message_of(load_experiment("quick"), seeds=seeds)


def test_a_data_folder_is_refused_for_generated_data() -> None:
    with pytest.raises(SpecError, match="expected none: these runs are on gaussian data"):
        plan(load_experiment("dln_bn"), profile="paper", data_path="/pictures")


def test_a_profile_that_the_experiment_lacks_changes_nothing_and_a_note_says_so(write: Write) -> None:
    bare = load_experiment(write("bare.toml", ""))
    assert plan(bare, profile="cpu").notes == ()
    one = load_experiment(write("one.toml", "[profiles.paper.spec]\nsteps = 3"))
    assert plan(one, profile="paper").runs[0].spec.steps == 3
    assert plan(one, profile="cpu").notes == ("one has no profile cpu: its settings are used as they stand",)


def test_a_note_names_the_probes_that_a_short_training_leaves_one_measurement(write: Write) -> None:
    every = "ics.every = 20\nlandscape.every = 40\nsharpness = { every = 40, at = [3] }"
    one = load_experiment(write("one.toml", f"[spec.probes]\n{every}"))
    assert plan(one, profile="cpu", steps=41).notes == ()
    [note] = plan(one, profile="cpu", steps=40).notes
    assert "--set probes.landscape.every=N" in note
    assert "ics" not in note and "sharpness" not in note and "theory" not in note


def test_a_settled_plan_says_auto_nowhere_and_changes_nothing_else() -> None:
    planned = plan(
        load_experiment("vgg_bn"), profile="cpu", sets=["data.augment=true", "data.standardize=image"]
    )
    found = ImageData(source="cifar10", path="/cifar", fingerprint="ab")
    for before, after in zip(
        planned.runs, planned.resolved(data=found, device="cpu", threads=2).runs, strict=True
    ):
        expected = before.spec.model_dump() | {"device": "cpu", "threads": 2}
        expected["data"] = {
            "source": "cifar10", "path": "/cifar", "augment": True, "standardize": "image", "image_size": None,
            "background": "any",
            "fingerprint": "ab",
        }  # fmt: skip
        assert after.spec.model_dump() == expected
        assert (after.name, after.variant, after.seed) == (before.name, before.variant, before.seed)


def test_settling_leaves_what_was_said(write: Write) -> None:
    text = "[spec]\ndevice = 'cuda:1'\nthreads = 3\nmemory_format = 'contiguous'\ndata.source = 'synthetic'"
    planned = plan(load_experiment(write("x.toml", text)), profile="cpu")
    found = ImageData(source="cifar10", path="/cifar")
    assert planned.resolved(data=found, device="cpu", threads=2) == planned


@pytest.mark.parametrize(("device", "layout"), [("cpu", "contiguous"), ("cuda:1", "channels_last")])
def test_the_layout_is_that_of_the_device_once_it_is_known(write: Write, device: str, layout: str) -> None:
    planned = plan(load_experiment(write("x.toml", "[spec]\ndata.source = 'synthetic'")), profile="cpu")
    [run] = planned.resolved(data=ImageData(source="synthetic"), device=device, threads=1).runs
    assert run.spec.memory_format == layout
