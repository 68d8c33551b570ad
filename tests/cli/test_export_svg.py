"""`bnrun export --svg`: the explorer's charts as files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from live.factories import events, made_run, view_of, write_sweep
from store.factories import empty_run
from typer.testing import CliRunner, Result

from bncore.store.paths import SweepDir
from bntui.cli.main import app
from bntui.live.panels import PANELS, first_panels


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepDir:
    """Two runs with every instrument, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "one-001"
    for name in ("batch-s0", "none-s0"):
        made_run(path / name, events())
    write_sweep(path, ["batch-s0", "none-s0"], name="one")
    return SweepDir(path)


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments), "--svg"])


def text_of(path: Path) -> str:
    """What the picture says."""
    return " ".join(ET.parse(path).getroot().itertext())


def test_the_charts_that_the_explorer_shows_first_are_written(sweep: SweepDir) -> None:
    done = export(sweep.path)
    keys = first_panels([view_of(run) for run in sweep.runs()])
    assert done.exit_code == 0
    assert done.stdout.split() == [f"one-001/{key}.svg" for key in keys]
    assert sorted(path.stem for path in Path("one-001").iterdir()) == sorted(keys)


def test_a_chart_shows_all_runs_of_a_sweep_and_names_them(sweep: SweepDir) -> None:
    export(sweep.path, "--out", "there")
    said = text_of(Path("there/loss.svg"))
    assert "Training loss" in said
    assert "batch" in said and "none" in said
    assert "one-001" in said


def test_charts_of_several_go_to_a_folder_of_their_own(sweep: SweepDir) -> None:
    done = export(*(run.path for run in sweep.runs()), "--chart", "loss")
    assert done.stdout.split() == ["export/loss.svg"]
    refused = export(sweep.path, "--chart", "loss", "--out", "loss.svg")
    assert refused.exit_code == 2 and "expected a folder" in refused.stderr
    assert not Path("loss.svg").exists()


def test_equal_runs_make_equal_files(sweep: SweepDir) -> None:
    export(sweep.path, "--out", "here")
    export(sweep.path, "--out", "there")
    for path in Path("here").iterdir():
        assert path.read_bytes() == (Path("there") / path.name).read_bytes()


def test_a_chart_of_one_run_shows_that_run_alone(sweep: SweepDir) -> None:
    assert export(sweep.path / "none-s0").exit_code == 0
    said = text_of(Path("one-001-none-s0/loss.svg"))
    assert "none" in said and "batch" not in said


def test_only_the_charts_asked_for_are_written(sweep: SweepDir) -> None:
    done = export(sweep.path, "--chart", "beta", "--chart", "sharpness", "--out", "there")
    assert done.exit_code == 0
    assert sorted(path.name for path in Path("there").iterdir()) == ["beta.svg", "sharpness.svg"]


def test_charts_over_another_axis(sweep: SweepDir) -> None:
    """The losses of a made run fall from 1 to 1/40."""
    done = export(sweep.path, "--chart", "accuracy", "--axis", "loss", "--out", "there")
    assert done.exit_code == 0
    said = text_of(Path("there/accuracy.svg"))
    assert "training loss" in said
    assert {"0.05", "0.1", "1"} <= set(said.split())


def test_what_has_no_place_on_an_axis_is_said(sweep: SweepDir) -> None:
    for name in ("batch-s0", "none-s0"):
        spec = sweep.path / name / "spec.toml"
        spec.write_text("[observed]")
    done = export(sweep.path, "--chart", "loss", "--axis", "epochs", "--out", "there")
    assert done.exit_code == 1
    assert "epochs: not known of any of these runs" in done.stderr


def test_an_unknown_chart_is_refused_with_what_is_accepted(sweep: SweepDir) -> None:
    done = export(sweep.path, "--chart", "los")
    assert done.exit_code == 2
    assert all(key in done.stderr for key in PANELS)
    assert not Path("one-001").exists()


def test_png_files_show_the_same_charts(sweep: SweepDir) -> None:
    done = export(sweep.path, "--png", "--chart", "beta", "--out", "there")
    assert done.stdout.split() == ["there/beta.svg", "there/beta.png"]
    assert Path("there/beta.png").read_bytes().startswith(b"\x89PNG")


def test_charts_are_for_svg_alone(sweep: SweepDir) -> None:
    done = CliRunner().invoke(app, ["export", str(sweep.path), "--csv", "--chart", "loss"])
    assert done.exit_code == 2 and "--svg" in done.stderr
    done = CliRunner().invoke(app, ["export", str(sweep.path), "--csv", "--axis", "epochs"])
    assert done.exit_code == 2 and "--axis" in done.stderr


def test_nothing_is_overwritten(sweep: SweepDir) -> None:
    there = Path("there")
    there.mkdir()
    (there / "beta.svg").write_text("mine")
    done = export(sweep.path, "--out", there)
    assert done.exit_code == 2 and "exists" in done.stderr
    assert [path.read_text() for path in there.iterdir()] == ["mine"], "and nothing else is written"


def test_a_chart_without_a_measurement_says_why(tmp_path: Path) -> None:
    done = export(
        empty_run(tmp_path / "one-001" / "batch-s0").path, "--chart", "beta", "--out", tmp_path / "there"
    )
    assert done.exit_code == 1 and "landscape" in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_run_that_has_not_begun_has_nothing_to_draw(tmp_path: Path) -> None:
    done = export(empty_run(tmp_path / "one-001" / "batch-s0").path, "--out", tmp_path / "there")
    assert done.exit_code == 1 and "nothing to draw" in done.stderr


def test_tables_and_charts_can_be_had_at_once(sweep: SweepDir) -> None:
    run = sweep.path / "batch-s0"
    done = CliRunner().invoke(app, ["export", str(run), "--csv", "--svg", "--out", "there"])
    assert done.exit_code == 0
    assert {"step.csv", "loss.svg"} <= {path.name for path in Path("there").iterdir()}
