"""One numbering of layers on all pages, their names, and plots beside each other that can be compared."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from store.factories import SMALL

from bncore.config.model import DLN, VGG, ImageData, Loss
from bncore.config.observed import Observed, observed_to_toml
from bncore.store.paths import RunDir
from bntui.chart.frame import ChartStyle
from bntui.chart.picture import draw
from bntui.live.drawing import PanelState, chosen_layer, layer_title
from bntui.live.layers import INSTRUMENTS, heat, histogram, histograms, profile, theory_over_layers
from bntui.live.panels import PANELS
from live.factories import LAYERS, events, made_run, view_of


def without_layer(journal: list[dict[str, object]], instrument: str, number: int) -> list[dict[str, object]]:
    """A journal whose instrument measured all layers but one."""
    at = LAYERS.index(number)
    for event in journal:
        if event.get("name") == instrument:
            for key, value in event.items():
                if isinstance(value, list):
                    event[key] = [one for i, one in enumerate(value) if i != at]
    return journal


def observed(path: Path, names: object) -> RunDir:
    """A run of an external training loop, with what its observer says of the layers."""
    run = made_run(path, events())
    loop = Observed(
        model="Net", loss="mse", optimizer="SGD", parameters=1, precision="float32", device="cpu", threads=1
    )
    run.spec_file.write_text(observed_to_toml(loop))
    run.meta_file.write_bytes(orjson.dumps({"layers": names}))
    return run


def test_every_instrument_counts_the_same_layers_and_draws_the_same_one(tmp_path: Path) -> None:
    view = view_of(made_run(tmp_path / "a-s0", without_layer(events(), "activations", 5)))
    layers = {chosen_layer([view], measure, PanelState()) for measure in INSTRUMENTS.values()}
    assert layers == {3}, "the middle one of those that all measured"
    assert layer_title([view], 3) == "layer 3 of 6"
    assert histogram(view, PanelState()).title == "a-s0, output of layer 3 of 6"


def test_layers_that_were_not_measured_are_counted(tmp_path: Path) -> None:
    deep = SMALL.model_copy(update={"net": DLN(depth=9, width=3)})
    assert layer_title([view_of(made_run(tmp_path / "a-s0", events(), spec=deep))], 3) == "layer 3 of 9"


def test_networks_of_different_depth_have_no_count_in_common(tmp_path: Path) -> None:
    shallow = [event for event in events() if event.get("name") != "sharpness"]
    views = [view_of(made_run(tmp_path / "a-s0", events())), view_of(made_run(tmp_path / "b-s0", shallow))]
    assert layer_title(views[1:], 3) == "layer 3 of 5"
    assert layer_title(views, 3) == "layer 3"


def test_layers_of_an_external_loop_have_their_names(tmp_path: Path) -> None:
    names = [
        "stem.weight",
        "a.conv.weight",
        "b\x1b[31m.weight",
        "c.weight",
        "head.weight",
        "x.weight",
        "y.weight",
    ]
    view = view_of(observed(tmp_path / "a-s0", names))
    assert heat(view, "ics_l2").rows == ("2 a.conv", r"3 b\x1b[31m", "5 head")
    assert layer_title([view], 5) == "layer 5 of 7, head"
    other = view_of(made_run(tmp_path / "b-s0", events()))
    assert layer_title([view, other], 5) == "layer 5", "the name of one network is not that of the other"


def test_layers_of_a_vgg_are_convolutions_and_linear_layers(tmp_path: Path) -> None:
    net, data = VGG(kind="vgg11", head=(16,)), ImageData(source="synthetic")
    spec = SMALL.model_copy(update={"net": net, "data": data, "loss": Loss(), "batch_size": 8})
    view = view_of(made_run(tmp_path / "a-s0", events(), spec=spec))
    assert heat(view, "ics_l2").rows == ("2 conv2", "3 conv3", "5 conv5")
    assert layer_title([view], 8) == "layer 8 of 10, conv8"
    assert layer_title([view], 10) == "layer 10 of 10, fc2"
    shown = draw(profile([view], "ics_l2", PanelState()), 80, 12, chart_style=ChartStyle(crosshair=3.0))
    assert "at 3 conv3: a-s0 33" in "\n".join(shown.grid.plain())


@pytest.mark.parametrize("names", [None, "stem", {"1": "stem"}, []])
def test_names_that_make_no_sense_are_no_names(tmp_path: Path, names: object) -> None:
    view = view_of(observed(tmp_path / "a-s0", names))
    assert heat(view, "ics_l2").rows == ("2", "3", "5")


def test_histograms_beside_each_other_have_one_range(tmp_path: Path) -> None:
    def scaled(factor: float) -> list[dict[str, object]]:
        journal = events()
        for event in journal:
            if event.get("name") == "activations":
                event |= {"bin_low": [-2.0 * factor] * 3, "bin_width": [factor] * 3}
        return journal

    small = view_of(made_run(tmp_path / "a-s0", scaled(1)))
    large = view_of(made_run(tmp_path / "b-s0", scaled(4)))
    diverged = view_of(made_run(tmp_path / "c-s0", scaled(1000), state="diverged"))
    shown = histograms([small, large, diverged], PanelState())
    assert {one.span for one in shown.values()} == {(-4.0, 4.0)}, "of what did not fail"
    assert shown[small].edges[[0, -1]].tolist() == [-1.0, 1.0]
    assert histograms([diverged], PanelState())[diverged].span is None


def test_a_layer_that_was_not_measured_says_which_were(tmp_path: Path) -> None:
    view, state = view_of(made_run(tmp_path / "a-s0", events())), PanelState(layer=4)
    said = "layer 4 was not measured, but 2, 3, 5"
    assert histogram(view, state).note == said
    assert PANELS["variance"].make([view], state).note == said


def test_an_axis_of_layers_begins_with_the_first(tmp_path: Path) -> None:
    views = [view_of(made_run(tmp_path / "a-s0", events()))]
    for chart in (profile(views, "ics_l2", PanelState()), theory_over_layers(views[0], PanelState())):
        assert chart.x_span == (LAYERS[0], LAYERS[-1])
