"""A statistic of a single value is refused at submission, whatever takes it and wherever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli.factories import bnrun
from pydantic import ValidationError

from bncore.config.change import changed
from bncore.config.errors import SpecError
from bncore.config.model import DLN, MLP, VGG, Evaluation, GaussianData, ImageData, Loss, Noise, Norm, Spec
from bncore.config.single_value import single_value_conflicts

OF_THE_BATCH = (
    "batch", "l1", "l2", "linf", "lp:3", "mean_only", "variance_only", "batch_detached", "batch_population",
)  # fmt: skip
OF_A_SAMPLE = ("none", "layer", "group", "weight")
REGRESSION: dict[str, Any] = {"data": GaussianData(samples=8, features=4), "loss": Loss(kind="squared_error")}
LINEAR: dict[str, dict[str, Any]] = {
    "mlp": {"net": MLP(hidden=(16, 16))},
    "dln": {"net": DLN(depth=3, width=16), **REGRESSION},
    "the last of a dln": {"net": DLN(depth=1, normalise_last=True), **REGRESSION},
    "the head of a vgg": {"net": VGG(kind="vgg11", head=(16,))},
}
RELATIVE = Noise(on=True, amplitude="relative")


def refusal(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Spec(**settings)
    return str(caught.value)


@pytest.mark.parametrize("place", LINEAR)
@pytest.mark.parametrize("kind", OF_THE_BATCH)
def test_a_linear_layer_has_no_statistics_of_a_batch_of_one(kind: str, place: str) -> None:
    said = refusal(norm=Norm(kind=kind), batch_size=1, **LINEAR[place])
    layer = 9 if "vgg" in place else 1
    assert f"norm.kind = '{kind}': expected none, layer, group or weight with batch_size = 1" in said
    assert f"layer {layer} is linear and has one value a feature in a batch of 1" in said
    Spec(norm=Norm(kind=kind), batch_size=2, **LINEAR[place])


@pytest.mark.parametrize("place", list(LINEAR)[:2])
@pytest.mark.parametrize("kind", OF_A_SAMPLE)
def test_it_may_be_normalized_by_the_sample(kind: str, place: str) -> None:
    Spec(norm=Norm(kind=kind), batch_size=1, **LINEAR[place])


@pytest.mark.parametrize("kind", [*OF_THE_BATCH, *OF_A_SAMPLE, "instance"])
@pytest.mark.parametrize("net", ["vgg11", "vgg19"])
def test_every_convolution_has_four_positions_at_least(kind: str, net: Any) -> None:
    """The last ones before the fifth pooling: a batch of one has statistics there."""
    Spec(norm=Norm(kind=kind, groups=512), batch_size=1, net=VGG(kind=net, width=1 / 512))


def test_the_full_batch_of_one_sample_is_one_of_one() -> None:
    one = GaussianData(samples=1, features=4)
    said = refusal(data=one, loss=Loss(kind="squared_error"), net=MLP(hidden=(16,)), batch_size="full")
    assert "norm.kind = 'batch'" in said and "with batch_size = 'full'" in said
    images = Spec(data=ImageData(source="folder", path="x"), net=MLP(hidden=(16,)), batch_size="full")
    assert [field for field, _, _ in single_value_conflicts(images, samples=1)] == ["norm.kind"]
    assert not list(single_value_conflicts(images, samples=2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"norm": Norm(kind="layer"), "net": MLP(hidden=(8, 1))}, "layer 2 is linear and has one feature"),
        ({"norm": Norm(kind="instance"), "net": MLP()}, "has one value of each feature a sample"),
        ({"norm": Norm(kind="instance"), "net": VGG(kind="vgg11", head=(8,))}, "layer 9 is linear"),
        ({"norm": Norm(kind="group", groups=8), "net": MLP(hidden=(64, 8))}, "the 8 features of layer 2"),
        ({"norm": Norm(kind="group", groups=9), "net": MLP(hidden=(7,))}, "fewer than the 7 features of layer 1"),
        (
            {"norm": Norm(kind="group", groups=4), "net": DLN(depth=2, normalise_last=True), **REGRESSION},
            "fewer than the 4 features of layer 2",
        ),
        (
            {"norm": Norm(kind="group", groups=10), "net": DLN(width=64, normalise_last=True),
             "data": ImageData(source="synthetic")},
            "fewer than the 10 features of layer 25",
        ),
    ],
)  # fmt: skip
def test_nor_has_a_single_feature(settings: dict[str, Any], said: str) -> None:
    assert said in refusal(**settings)


@pytest.mark.parametrize("position", ["after_norm", "before_norm", "last_norm"])
def test_noise_has_no_deviation_to_be_relative_to_in_a_batch_of_one(position: Any) -> None:
    noise = Noise(on=True, amplitude="relative", position=position)
    settings: dict[str, Any] = {"norm": Norm(kind="layer"), "noise": noise, "net": MLP(hidden=(16,))}
    assert "noise.amplitude = 'relative': expected 'absolute'" in refusal(batch_size=1, **settings)
    Spec(batch_size=2, **settings)


@pytest.mark.parametrize(("size", "samples"), [(1, 2000), (500, 2001)])
def test_nor_in_an_evaluation_s_last_batch(size: int, samples: int) -> None:
    noise = RELATIVE.model_copy(update={"in_eval": True})
    evaluation = Evaluation(batch_size=size, train_samples=samples)
    assert "eval.batch_size" in refusal(noise=noise, net=MLP(hidden=(16,)), eval=evaluation)
    Spec(noise=noise, net=MLP(hidden=(16,)), eval=Evaluation(batch_size=size + 1, train_samples=2002))


def test_a_change_in_mid_run_is_held_to_the_same() -> None:
    spec = Spec(norm=Norm(kind="none"), net=MLP(hidden=(16,)), batch_size=1)
    with pytest.raises(SpecError, match=r"request: norm.kind = 'batch': expected none, .* batch_size = 1"):
        changed(spec, {"norm.kind": "batch"})
    with pytest.raises(SpecError, match=r"noise.amplitude = 'relative'"):
        changed(spec, {"noise.on": True, "noise.amplitude": "relative"})


def test_submission_is_refused_with_exit_code_2_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(
        'name = "one"\n[spec]\nbatch_size = 1\ndata.source = "synthetic"\nnet = { kind = "mlp", hidden = [8] }\n'
        'norm.kind = "l2"\n'
    )
    done = bnrun("run", "one.toml", "--headless", cwd=tmp_path)
    assert done.returncode == 2
    assert "spec.norm.kind = 'l2': expected none, layer, group or weight with batch_size = 1" in done.stderr
    assert not (tmp_path / "runs").exists()
