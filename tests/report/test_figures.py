"""Which figures runs cover, and what is drawn in them."""

from __future__ import annotations

import gc
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncore.figure import ChartData, Curve, LegendEntry, Picture
from bncore.follow.groups import groups_of
from bncore.follow.run_view import RunView
from bncore.report.comparison_group import Presentation
from bncore.report.render import panel_svg, picture_svg, power, save_pictures
from bncore.report.report_run import ReportRun, gather
from bncore.report.series import ridges_of
from bncore.store.columns import Columns
from bncore.store.errors import StoreError
from bncore.store.paths import RunDir
from report.factories import IMAGES, LINEAR, report, request, run_of, spec_of, sweep_of

NONE, BATCH = {"norm": "none"}, {"norm": "batch"}
L_P = [{"norm": kind} for kind in ("l1", "l2", "linf")]
LINE = np.array([1.0, 2.0, 3.0])


def pictures(path: Path, *variants: dict[str, Any], seeds: int = 1) -> dict[str, Picture]:
    return {one.name: one for one in report([sweep_of(path / "made", *variants, seeds=seeds)]).pictures}


def test_two_networks_cover_the_figures_of_two_networks(tmp_path: Path) -> None:
    assert list(pictures(tmp_path, NONE, BATCH)) == ["fig1", "fig3a", "fig4", "fig11a"]


def test_drawn_runs_are_not_kept_in_memory(tmp_path: Path) -> None:
    document = report([sweep_of(tmp_path / "made", NONE, BATCH, seeds=1)])
    assert document.pictures
    setting = weakref.ref(document.settings[0])
    del document
    gc.collect()
    assert setting() is None


def test_noise_and_other_norms_cover_theirs_too(tmp_path: Path) -> None:
    found = pictures(tmp_path, NONE, BATCH, {"norm": "batch", "noise": "absolute"}, *L_P)
    assert list(found) == ["fig1", "fig2", "fig3a", "fig4", "fig5a", "fig6", "fig8", "fig11a", "fig12"]


def test_linear_networks_cover_theirs(tmp_path: Path) -> None:
    found = pictures(tmp_path, *(variant | {"base": LINEAR} for variant in (NONE, BATCH, *L_P)))
    assert list(found) == ["fig3b", "fig5b", "fig9", "fig10", "fig11b", "fig13"]


def test_each_learning_rate_has_panels_of_its_own(tmp_path: Path) -> None:
    variants = [variant | {"lr": lr} for variant in (NONE, BATCH) for lr in (0.1, 0.5)]
    found = pictures(tmp_path, *variants)
    titles = [plot.title for plot in found["fig4"].panels]
    assert len(titles) == 6
    assert [title.split(":")[0] for title in titles] == ["lr 0.5"] * 3 + ["lr 0.1"] * 3
    assert [plot.title for plot in found["fig1"].panels[:2]] == ["Training accuracy", "Test accuracy"]


def test_a_layer_that_is_not_there_is_replaced_by_one_at_the_same_depth_and_named(tmp_path: Path) -> None:
    titles = [plot.title for plot in pictures(tmp_path, NONE, BATCH)["fig3a"].panels]
    assert "ICS cos(G, G′), layer 1 (for the paper's 5)" in titles
    assert "ICS cos(G, G′), layer 2 (for the paper's 10)" in titles


def test_a_distribution_over_very_many_bins_is_drawn() -> None:
    counts = {"layers": [1], "counts": [[3] * 4096], "bin_low": [0.0], "bin_width": [0.5]}
    columns = Columns()
    columns.add([{"type": "probe", "name": "activations", "step": 0} | counts], in_front=False)
    run = ReportRun(RunView(RunDir(Path("made")), "finished", None, columns))
    (ridge,) = ridges_of(run, 0, 1)
    assert (ridge.edges[0], ridge.edges[-1]) == (0.0, 2048.0)


def test_seeds_are_drawn_as_their_mean_in_its_band_or_each_by_itself(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "made", NONE, BATCH, seeds=3)

    def panel(presentation: Presentation) -> list[Curve]:
        [figure] = [one for one in report([sweep], presentation).pictures if one.name == "fig4"]
        [beta] = [plot for plot in figure.panels if plot.y_name == "β"]
        return [curve for curve in beta.curves if curve.weight != "paper"]

    alone = panel(Presentation(single=True))
    assert [curve.weight for curve in alone] == ["main"] * 6
    together = panel(Presentation("deviation"))
    assert [curve.weight for curve in together] == ["spread", "main"] * 2
    assert [curve.label for curve in together[1::2]] == ["none ×3", "batch ×3"]
    logs = np.log10([curve.low for curve in alone[:3]])
    mean, spread = logs.mean(axis=0), logs.std(axis=0, ddof=1)
    assert np.log10(together[1].low) == pytest.approx(mean)
    assert np.log10(together[0].low) == pytest.approx(mean - spread)
    assert np.log10(together[0].high) == pytest.approx(mean + spread)


def test_a_long_line_is_thinned_with_its_noise_floor(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "made", NONE | {"steps": 250}, BATCH | {"steps": 250}, seeds=2)
    [figure] = [one for one in report([sweep]).pictures if one.name == "fig3a"]
    found = [(curve, plot) for plot in figure.panels for curve in plot.curves if curve.floor is not None]
    assert found
    for curve, plot in found:
        assert len(curve.x) <= 120
        assert curve.floor == pytest.approx(np.full(len(curve.x), 0.5 * 0.1 * 1.005), rel=0.02)
        assert panel_svg(plot, "long")


def test_a_seed_that_ends_early_leaves_the_mean_at_a_mark(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "made", NONE, BATCH, seeds=2)
    early = run_of(tmp_path / "made" / "batch-1-s7", spec_of("batch", seed=7), state="diverged", steps=9)
    found = {one.name: one for one in report([sweep, early]).pictures}
    accuracy = found["fig1"].panels[0]
    means = [curve for curve in accuracy.curves if curve.weight == "main" and curve.style == 1]
    assert [curve.label for curve in means] == ["batch ×3", "batch ×2"]
    assert means[1].x[0] == 9
    assert [mark.text for mark in accuracy.vlines] == ["batch-1-s7 diverged @9"]


def test_styles_are_those_that_show_gives_the_same_runs(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "made", BATCH, NONE, {"norm": "l1"})
    groups = groups_of([run.view for run in gather([sweep])])
    given = {group.runs[0].submitted.norm.kind: group.style for group in groups if group.runs[0].submitted}
    shown = {
        key.label.split()[0]: key.style
        for key in pictures(tmp_path / "b", BATCH, NONE, *L_P[:1])["fig1"].legend
    }
    assert shown.items() <= given.items()


def test_runs_beside_the_figures_are_grouped_as_asked_for(tmp_path: Path) -> None:
    variants = [variant | {"lr": lr} for variant in (NONE, BATCH) for lr in (0.1, 0.5)]
    sweep = sweep_of(tmp_path / "made", *variants, seeds=2)
    found = {one.name: one for one in report([sweep], Presentation(by=("optim.lr",))).pictures}
    assert [key.label for key in found["runs1"].legend] == ["lr 0.1 (4 runs)", "lr 0.5 (4 runs)"]
    assert [key.label for key in found["fig1"].legend] == [
        f"{n}, lr {lr} (2 seeds)" for n in ("none", "batch") for lr in (0.1, 0.5)
    ]


def test_the_paper_s_curves_are_beside_the_variants_they_are_of(tmp_path: Path) -> None:
    found = pictures(tmp_path, BATCH | {"base": IMAGES.model_copy(update={"steps": 300})})["fig4"]
    papers = [curve for plot in found.panels for curve in plot.curves if curve.weight == "paper"]
    assert {curve.label for curve in papers} == {"paper: Standard + BatchNorm"}
    assert {curve.style for curve in papers} == {found.legend[0].style}
    assert any("never digits" in note for note in found.notes)
    assert any("reflects 2/lr" in note for note in found.notes)


def test_lines_that_beta_reads_back_are_drawn(tmp_path: Path) -> None:
    [beta] = [plot for plot in pictures(tmp_path, NONE, BATCH)["fig4"].panels if plot.y_name == "β"]
    assert [(rule.y, rule.text) for rule in beta.hlines] == [(20.0, "2/lr = 1/a_min")]


def test_an_unfinished_run_is_drawn_and_named(tmp_path: Path) -> None:
    found = pictures(tmp_path, NONE, {"norm": "batch", "state": "stopped", "steps": 9})
    [note] = [note for note in found["fig4"].notes if "Unfinished" in note]
    assert "made/batch-1-s0 (stopped at step 9)" in note


def test_a_steered_run_is_in_no_figure_of_the_paper_and_shown_by_itself(tmp_path: Path) -> None:
    found = pictures(tmp_path, NONE, {"norm": "batch", "events": (request(3, {"norm.kind": "l1"}),)})
    assert [key.label for key in found["fig4"].legend] == ["none (1 seed)"]
    assert any("steered" in key.label for key in found["runs1"].legend)
    assert any("no evidence" in note for note in found["runs1"].notes)


def test_a_diverged_run_ends_in_a_cross(tmp_path: Path) -> None:
    found = pictures(tmp_path, NONE, {"norm": "batch", "state": "diverged", "steps": 9})
    [curve] = [c for c in found["fig1"].panels[0].curves if c.label == "batch" and c.weight == "main"]
    assert curve.diverged
    assert curve.x[-1] == 8
    assert any("Diverged" in note for note in found["fig1"].notes)


def plot(**more: Any) -> ChartData:
    curve = Curve("<b>run & co</b> $x$", 1, LINE, LINE, LINE)
    return ChartData("<i>title</i> $y_1$", (curve,), y_name="loss", **more)


def picture() -> Picture:
    return Picture(
        "fig4",
        "Fig 4",
        "here",
        (plot(), plot(log_y=True)),
        (LegendEntry("<b>", 1),),
        False,
        ("a note",),
    )


def test_the_same_picture_is_the_same_file() -> None:
    assert picture_svg(picture()) == picture_svg(picture())
    assert panel_svg(plot(), "a") == panel_svg(plot(), "a")


def test_svg_is_well_formed_and_text_stays_text() -> None:
    root = ET.fromstring(picture_svg(picture()))
    words = "".join(root.itertext())
    assert "<i>title</i> $y_1$" in words
    assert "a note" in words
    assert "<i>title</i>" in "".join(ET.fromstring(panel_svg(plot(), "a")).itertext())


def test_ids_of_panels_are_their_own_and_references_lead_to_them() -> None:
    one, other = (ET.fromstring(panel_svg(plot(), prefix)) for prefix in ("a", "b"))
    ids = [{e.attrib["id"] for e in root.iter() if "id" in e.attrib} for root in (one, other)]
    assert ids[0].isdisjoint(ids[1])
    used = {e.attrib["href"].removeprefix("#") for e in one.iter() if "href" in e.attrib}
    assert used <= ids[0]


def test_a_panel_takes_its_colours_from_the_page() -> None:
    text = panel_svg(plot(), "a")
    assert "var(--c1)" in text
    assert "currentColor" in text
    assert "#1f6fb2" not in text
    assert "#1f6fb2" in picture_svg(picture())


@pytest.mark.parametrize("values", [[np.nan] * 3, [0.0, -1.0, 2.0], [np.inf, 1.0, 2.0], [5.0, 5.0, 5.0]])
@pytest.mark.parametrize("log", [True, False])
def test_odd_numbers_are_drawn_without_complaint(values: list[float], log: bool) -> None:
    y = np.array(values)
    band = Curve("band", 0, LINE, y, y + 1)
    text = panel_svg(ChartData("t", (Curve("line", 0, LINE, y, y), band), log_y=log, y_name="y"), "a")
    assert ET.fromstring(text).tag.endswith("svg")


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_are_saved_whole_and_again_the_same(tmp_path: Path, kind: Any, begins: bytes) -> None:
    paths = save_pictures([picture()], tmp_path / "new" / "folder", kind)
    assert [path.name for path in paths] == [f"fig4.{kind}"]
    content = paths[0].read_bytes()
    assert content.startswith(begins)
    assert save_pictures([picture()], tmp_path / "new" / "folder", kind) == paths
    assert paths[0].read_bytes() == content
    assert [path.name for path in paths[0].parent.iterdir()] == [f"fig4.{kind}"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file: cannot be written"):
        save_pictures([picture()], tmp_path / "file", "png")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.05, "0.05"), (1e-6, "10⁻⁶"), (2e5, "2·10⁵"), (1e16, "10¹⁶"), (300.0, "300")],
)
def test_ticks_read_as_a_person_writes_them(value: float, text: str) -> None:
    assert power(value) == text
