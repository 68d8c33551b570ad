"""What a file says, what it extends, and what is said when it is wrong."""

import os
from pathlib import Path

import pytest

from bncore.config.errors import SpecError
from bncore.config.load import load_experiment, preset_names
from bncore.config.plan import plan

from .conftest import Write


def message_of(path: str | Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_experiment(path)
    return str(caught.value)


def test_a_file_is_named_after_itself(write: Write) -> None:
    assert load_experiment(write("my run!.toml", "")).name == "my-run-"
    assert load_experiment(write("a.toml", "name = 'other'")).name == "other"


def test_the_nearer_file_wins_even_over_a_profile(write: Write) -> None:
    write(
        "far.toml",
        """
        spec = { steps = 1, log_every = 9 }
        [profiles.cpu]
        note = "small"
        spec = { steps = 2, batch_size = 4 }
        """,
    )
    near = write("near.toml", "extends = 'far.toml'\n[spec]\nsteps = 3")
    nearest = write("nearest.toml", "extends = './near.toml'\n[profiles.cpu.spec]\nsteps = 4")
    for path, steps in ((near, {"cpu": 3, "paper": 3}), (nearest, {"cpu": 4, "paper": 3})):
        experiment = load_experiment(path)
        assert experiment.extends is None
        assert plan(experiment, profile="cpu").notes == ("small",)
        for profile, expected in steps.items():
            (run,) = plan(experiment, profile=profile).runs  # type: ignore[arg-type]
            assert run.spec.steps == expected
            assert run.spec.log_every == 9
            assert run.spec.batch_size == (4 if profile == "cpu" else 128)


def test_axes_and_seeds_replace_those_extended(write: Write) -> None:
    write("far.toml", "seeds = [1, 2]\n[[axes]]\npath = 'optim.lr'\nvalues = [0.1, 0.5]")
    same = load_experiment(write("same.toml", "extends = 'far.toml'"))
    none = load_experiment(write("none.toml", "extends = 'far.toml'\nseeds = [7]\naxes = []"))
    assert [run.name for run in plan(same, profile="cpu").runs] == [
        "lr0.1-s1",
        "lr0.1-s2",
        "lr0.5-s1",
        "lr0.5-s2",
    ]
    assert [run.name for run in plan(none, profile="cpu").runs] == ["run-s7"]


def test_a_preset_can_be_extended_by_name(write: Write) -> None:
    experiment = load_experiment(write("mine.toml", "extends = 'vgg_bn'\n[spec]\nnorm.centred = true"))
    assert all(run.spec.norm.centred for run in plan(experiment, profile="paper").runs)
    assert experiment.name == "mine"


def test_another_shape_of_network_drops_the_old_shape_s_settings(write: Write) -> None:
    mlp = load_experiment(
        write("mlp.toml", "extends = 'vgg_bn'\n[spec]\nnet.kind = 'mlp'\nnet.hidden = [32]")
    )
    for run in plan(mlp, profile="cpu").runs:
        assert run.spec.net.model_dump() == {"kind": "mlp", "hidden": (32,)}


def test_another_kind_of_the_same_shape_keeps_them(write: Write) -> None:
    vgg = load_experiment(write("vgg.toml", "extends = 'vgg_bn'\n[profiles.cpu.spec]\nnet.kind = 'vgg13'"))
    (run, _) = plan(vgg, profile="cpu").runs
    assert run.spec.net.model_dump() == {"kind": "vgg13", "width": 0.125, "head": (512,)}


def test_a_foreign_key_that_the_person_wrote_is_refused(write: Write) -> None:
    said = message_of(write("x.toml", "extends = 'vgg_bn'\n[spec]\nnet.kind = 'mlp'\nnet.head = [3]"))
    assert "x.toml: spec.net.head = [3]: unknown key; expected one of kind, hidden" in said
    assert "'head' belongs to net.kind 'vgg16'" in said


def test_everything_wrong_is_told_at_once_in_the_file_that_wrote_it(write: Write) -> None:
    write(
        "base.toml",
        """
        [spec]
        steps = "100"
        [spec.optim]
        lrr = 0.1
        [profiles.cpu.spec]
        batch_size = true
        """,
    )
    path = write(
        "child.toml",
        """
        extends = "base.toml"
        [spec]
        norm = "l1"
        net.kind = "resnet"
        net_kind = 3
        weight_decay = 1.0
        [profiles.paper.spec]
        optim.betas = [0.5, 1]
        [[axes]]
        points = [{ label = "a", set = { noise.n_sigma = 0.5, norms.kind = "l1" } }]
        """,
    )
    said = message_of(path)
    near, far = f"{path}: ", f"{path.parent / 'base.toml'}: "
    for line in (
        far + "spec.steps = '100': expected an integer >= 1",
        far + "spec.optim.lrr = 0.1: unknown key; expected one of kind, lr, momentum,",
        "(did you mean 'lr'?)",
        far + "profiles.cpu.spec.batch_size = true: expected an integer >= 1 or 'full'",
        near + "spec.norm = 'l1': expected a table (did you mean norm.kind?)",
        near + "spec.net.kind = 'resnet': expected one of 'vgg11', 'vgg13', 'vgg16', 'vgg19', 'dln', 'mlp'",
        near + "spec.net_kind = 3: unknown key; ",
        near + "spec.weight_decay = 1.0: unknown key; ",
        "(did you mean 'optim.weight_decay'?)",
        near + "profiles.paper.spec.optim.betas[1] = 1: expected a list of a number >= 0 and < 1",
        near + "axes[0].points[0].set.noise.n_sigma = 0.5: expected a number >= 1",
        near + "axes[0].points[0].set.norms = { kind = 'l1' }: unknown key; ",
    ):
        assert line in said
    assert len(said.splitlines()) == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sed = [1]", "sed = [1]: unknown key; expected one of name, title, figure"),
        ("seeds = []", "seeds = []: expected a list, each an integer >= 0"),
        ("seeds = [1, 1]", "seeds = [1, 1]: expected each seed once"),
        ("[spec]\nseed = 1", "spec.seed: expected seeds = [0, 1, 2] at the head of the file"),
        ("[profiles.gpu]\nnote = 'x'", "profiles.gpu: unknown key; expected 'paper' or 'cpu'"),
        ("[[axes]]\npath = 'optim.lr'", "axes[0] = { path = 'optim.lr' }: expected either path and values"),
        ("[[axes]]\npath = 'norm'\nvalues = ['l1']", "axes[0].path = 'norm': expected a field in full"),
        ("[[axes]]\npath = 'norm'\nvalues = ['l1']", "(did you mean 'norm.kind'?)"),
        ("[[axes]]\npath = 'optim.lrr'\nvalues = [1]", "(did you mean 'optim.lr'?)"),
        ("[[axes]]\npath = 'optim.larning_rate'\nvalues = [1]", "(did you mean 'optim.lr'?)"),
        (
            "[[axes]]\npath = 'optim.lr'\nvalues = [0.1, -1]",
            "axes[0].values[1].optim.lr = -1: expected a number >= 0",
        ),
        ("[[axes]]\npath = 'optim.lr'\nvalues = [0.1, 0.1]", "expected labels that differ"),
        ("[[axes]]\npath = 'seed'\nvalues = [0, 1]", "seeds are no axis"),
        (
            "[[axes]]\npath = 'optim.lr'\nvalues = [1, 2]\nlabels = ['a']",
            "expected as many labels as values (2)",
        ),
        (
            "[[axes]]\npoints = [{ label = '../x' }]",
            "axes[0].points[0].label = '../x': expected 1 to 40 letters",
        ),
        ("[[axes]]\npoints = [{ set = { steps = 3 } }]", "axes[0].points[0].label: missing"),
        (
            "[[axes]]\npath = 'steps'\nvalues = [1]\n[[axes]]\npath = 'steps'\nvalues = [2]",
            "axes[0] sets this field too",
        ),
        ("[spec]\ndata.source = 'gaussian'", "spec.net.kind = 'vgg16': expected 'dln' or 'mlp'"),
        (
            "[spec]\noptim.schedule.kind = 'step'",
            "optim.schedule.milestones = []: expected at least one step",
        ),
        (
            "[spec]\noptim.schedule.milestones = [5, 5]",
            "spec.optim.schedule.milestones = [5, 5]: expected steps in ascending",
        ),
        ("spec = 3", "spec = 3: expected a table"),
        ("[spec]\nnet = 'vgg11'", "spec.net = 'vgg11': expected a table (did you mean net.kind?)"),
        ("[spec.probes]\nics = 5", "spec.probes.ics = 5: expected a table such as { every = 10 }"),
        ("seeds = [true]", "seeds[0] = true: expected a list, each an integer >= 0"),
        ("[spec]\nsteps = 2020-01-01", "spec.steps = datetime.date(2020, 1, 1): expected an integer >= 1"),
        ("x = " + "[" * 5000, "is not TOML"),
        ("[spec]\ndata.source = 'folder'", "data.path = '': expected the folder of the images"),
        (
            "[spec]\nnorm.kind = 'instance'\nnet.kind = 'mlp'",
            "spec.norm.kind = 'instance': expected another kind",
        ),
        (
            "[spec]\nnorm.fused = true\nmemory_format = 'contiguous'",
            "spec.norm.fused = true: expected false, because memory_format is 'contiguous'",
        ),
        (
            "[spec]\ndata.teacher = 'uniform'",
            "spec.data.teacher = 'uniform': unknown key; expected one of source, path, augment, standardize",
        ),
        (
            "extends = 'vgg_bnn'",
            "extends = 'vgg_bnn': no such preset; expected one of activations, control_ablations",
        ),
        ("extends = 'vgg_bnn'", "(did you mean 'vgg_bn'?)"),
        ("[spec]\nnorm.kind = 'bacth'", "lp:<p> with p >= 1 (did you mean 'batch'?)"),
        ("[spec]\nnet.kind = 'vgg-16'", "(did you mean 'vgg16'?)"),
        ("extends = 'gone.toml'", "extends = 'gone.toml': no such file"),
        ("extends = 3", "extends = 3: expected text"),
        ("[spec", "is not TOML"),
        ('[spec]\n"a\\u001b[2J" = 1', r"spec.a\x1b[2J = 1: unknown key"),
    ],
)
def test_a_refused_file_says_where_and_what_is_accepted(write: Write, text: str, said: str) -> None:
    path = write("bad.toml", text)
    message = message_of(path)
    assert said in message
    assert all(line.startswith(f"{path}: ") for line in message.splitlines())
    assert "\x1b" not in message


def test_the_clash_of_two_fields_names_both_sides(write: Write) -> None:
    said = message_of(write("bad.toml", "[spec]\ndata.source = 'gaussian'\ndata.samples = 8"))
    assert "loss.kind = 'cross_entropy': expected 'squared_error', because data.source is 'gaussian'" in said
    assert "net.kind = 'vgg16': expected 'dln' or 'mlp', because data.source is 'gaussian'" in said
    assert "batch_size = 128: expected 'full' or at most data.samples, which is 8" in said


def test_a_circle_is_named(write: Write) -> None:
    write("a.toml", "extends = 'b.toml'")
    assert "a circle: a.toml -> b.toml -> a.toml" in message_of(
        write("b.toml", "extends = 'a.toml'").parent / "a.toml"
    )
    assert "a circle: me.toml -> me.toml" in message_of(write("me.toml", "extends = 'me.toml'"))


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    said = message_of("vgg_nosy")
    assert "'vgg_nosy': no such preset" in said
    assert all(name in said for name in preset_names())
    assert "(did you mean 'vgg_noisy'?)" in said


@pytest.mark.parametrize("name", ["gone.toml", "./gone", Path("gone")])
def test_a_missing_file_is_named(name: str | Path) -> None:
    assert f"{os.fspath(name)}" in message_of(name)
    assert "no such file" in message_of(name)


def test_a_folder_is_no_experiment(tmp_path: Path) -> None:
    assert "is a directory" in message_of(tmp_path)
