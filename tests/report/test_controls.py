"""The controls for confounders as tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncore.config.load import load_experiment
from bncore.config.model import Init, Optim, Schedule, Spec
from bncore.config.plan import plan
from bncore.report.confounders import CONTROLS, ControlTable, controls_of
from bncore.report.document import as_json
from bncore.report.page import page
from bncore.report.report_run import gather
from bncore.store.paths import SweepDir
from report.factories import IMAGES, report, run_of, spec_of


def tables(*specs: Spec, folder: Path, **made: float) -> list[ControlTable]:
    for number, spec in enumerate(specs):
        run_of(folder / "made-001" / f"run{number}-s{spec.seed}", spec, **made)
    (folder / "made-001" / "sweep.toml").write_text("")
    return list(controls_of(gather([SweepDir(folder / "made-001")])))


def test_runs_that_vary_nothing_make_no_table(tmp_path: Path) -> None:
    assert tables(spec_of("none"), spec_of("batch"), spec_of("none", seed=1), folder=tmp_path) == []


def test_equal_updates_stand_beside_the_optimizers_own(tmp_path: Path) -> None:
    own = [spec_of(norm, seed=seed) for norm in ("none", "batch") for seed in (0, 1)]
    matched = [spec.model_copy(update={"optim": Optim(lr=0.1, relative_update=0.01)}) for spec in own]
    found = tables(*own, *matched, folder=tmp_path, accuracy=0.6)
    assert {table.control.key for table in found} == {"updates"}
    accuracy = next(table for table in found if "accuracy" in table.quantity.name)
    assert accuracy.columns == ("as the optimizer made it", "‖ΔW‖/‖W‖ = 0.01")
    assert [name for name, _ in accuracy.rows] == ["none", "batch"]
    cell = accuracy.rows[0][1][1]
    assert cell is not None
    assert cell.n == 2
    assert cell.mean == pytest.approx(0.6, abs=0.05)


def test_two_learning_rates_are_no_sweep_and_three_are(tmp_path: Path) -> None:
    two = tables(*(spec_of("none", lr=lr) for lr in (0.1, 0.2)), folder=tmp_path / "two")
    three = tables(*(spec_of("none", lr=lr) for lr in (0.1, 0.2, 0.3)), folder=tmp_path / "three")
    assert two == []
    assert {table.columns for table in three} == {("lr 0.1", "lr 0.2", "lr 0.3")}


def test_runs_of_other_networks_are_never_put_into_one_table(tmp_path: Path) -> None:
    longer = IMAGES.model_copy(update={"steps": 40})
    warm = Optim(lr=0.1, schedule=Schedule(warmup=5))
    specs = (spec_of("none"), spec_of("none", base=longer).model_copy(update={"optim": warm}))
    assert tables(*specs, folder=tmp_path) == []


def test_initialisation_and_warm_up_are_columns(tmp_path: Path) -> None:
    specs = [spec_of("none").model_copy(update={"init": Init(scheme=scheme)}) for scheme in ("glorot", "he")]
    warm = spec_of("none").model_copy(update={"optim": Optim(lr=0.1, schedule=Schedule(warmup=5))})
    (accuracy, *_) = tables(*specs, warm, folder=tmp_path)
    assert accuracy.columns == ("glorot", "he", "glorot, warm-up of 5 steps")


@pytest.mark.parametrize(
    "control", [control for control in CONTROLS if control.key != "noise"], ids=lambda c: c.key
)
def test_every_control_is_varied_by_a_preset(control: object) -> None:
    """Or its table could never be made."""
    presets = {"updates": "control_norms", "rates": "control_lr", "shift": "control_ics",
               "direction": "control_direction", "start": "control_init"}  # fmt: skip
    key = control.key
    runs = plan(load_experiment(presets[key]), profile="cpu").runs
    column = control.column
    assert len({column(run.spec) for run in runs}) > 1


def test_the_noise_factorial_names_its_parts(tmp_path: Path) -> None:
    runs = plan(load_experiment("control_noise"), profile="cpu").runs
    noise = next(control for control in CONTROLS if control.key == "noise")
    rows = {noise.row(run.spec) for run in runs}
    assert len(rows) == 15
    assert "after norm: mean per step, absolute" in rows
    assert "input: per sample, relative" in rows


def test_they_are_on_the_page_and_in_the_json(tmp_path: Path) -> None:
    matched = spec_of("none").model_copy(update={"optim": Optim(lr=0.1, relative_update=0.01)})
    tables(spec_of("none"), matched, folder=tmp_path)
    document = report([SweepDir(tmp_path / "made-001")])
    text = page(document)
    assert 'id="controls"' in text
    assert 'href="#controls"' in text
    assert "Norms at equal updates" in text
    assert {one["control"] for one in as_json(document)["controls"]} == {"updates"}
