"""What a run is in a report, and when it is no evidence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bncore.config.model import Noise, Norm, Optim
from bncore.config.observed import Observed, observed_to_toml
from bncore.report.comparison_group import settings_of
from bncore.report.page import page
from bncore.report.report_run import gather, variant_of
from bncore.store.errors import NoSuchRun
from bncore.store.lineage import Lineage, write_lineage
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Status, write_status
from report.factories import IMAGES, LINEAR, report, request, run_of, spec_of, sweep_of


def test_a_finished_run_counts_and_so_does_one_that_diverged(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path / "a", spec_of("none")),
        run_of(tmp_path / "b", spec_of("batch"), state="diverged", steps=7),
    ]
    found = gather(runs)
    assert [run.counts for run in found] == [True, True]
    assert [run.diverged for run in found] == [False, True]


@pytest.mark.parametrize("state", ["queued", "stopped", "failed"])
def test_a_run_that_did_not_come_to_its_end_is_shown_and_not_counted(tmp_path: Path, state: Any) -> None:
    [run] = gather([run_of(tmp_path / "a", spec_of("none"), state=state, steps=7)])
    assert run.unfinished
    assert run.excluded_because == f"{state} at step 7"


def test_a_run_whose_process_is_gone_is_dead(tmp_path: Path) -> None:
    [run] = gather([run_of(tmp_path / "a", spec_of("none"), state="running", steps=7)])
    assert run.view.state == "dead"
    assert run.excluded_because == "dead at step 7"


def test_a_steered_run_says_when_it_was_steered(tmp_path: Path) -> None:
    [run] = gather([run_of(tmp_path / "a", spec_of("none"), events=(request(3, {"noise.on": True}),))])
    assert run.excluded_because == "steered: settings were changed by request at step 3"
    assert not run.unfinished


def test_a_rejected_request_and_one_that_changed_only_a_probe_steer_nothing(tmp_path: Path) -> None:
    events = (request(3, {"norm.kind": "l1"}, "rejected"), request(4, {"probes.ics.every": 5}))
    [run] = gather([run_of(tmp_path / "a", spec_of("none"), events=events)])
    assert run.counts


@pytest.mark.parametrize(("kind", "said"), [("fork", "a fork"), ("replay", "a replay")])
def test_a_run_that_comes_from_another_is_no_evidence(tmp_path: Path, kind: Any, said: str) -> None:
    run = run_of(tmp_path / "a", spec_of("none"))
    write_lineage(run, Lineage(kind, "../b", 3, 3))
    [found] = gather([run])
    assert found.excluded_because.startswith(said)


def test_a_run_that_cannot_be_read_is_told_and_stops_no_report(tmp_path: Path) -> None:
    broken = run_of(tmp_path / "a", spec_of("none"))
    broken.spec_file.write_text("steps = \x1b[31m")
    valid = run_of(tmp_path / "b", spec_of("none"))
    found = gather([broken, valid])
    assert [run.counts for run in found] == [False, True]
    assert "is not TOML" in found[0].excluded_because
    assert "\x1b" not in found[0].excluded_because


def test_a_run_named_twice_is_one(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "made", {"norm": "none"}, seeds=2)
    assert len(gather([sweep, sweep.runs()[0], RunDir(sweep.path / "." / sweep.runs()[1].path.name)])) == 2


def test_a_sweep_without_runs_is_refused(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "made", {"norm": "none"}, seeds=1)
    shutil.rmtree(sweep.runs()[0].path)
    with pytest.raises(NoSuchRun):
        gather([sweep])


def test_variants_are_named_by_whatever_differs() -> None:
    assert variant_of(spec_of("batch", noise="absolute")).label == "batch + noise"
    assert variant_of(spec_of("none", noise="relative")).label == "none + noise relative"
    louder = IMAGES.model_copy(update={"noise": Noise(on=True, n_mu=2.0, position="input")})
    assert variant_of(louder).label == "batch + noise n_mu 2 input"
    centered = IMAGES.model_copy(update={"norm": Norm(kind="l1", centred=True, affine="frozen")})
    assert variant_of(centered).label == "l1 centred frozen"
    groups = [IMAGES.model_copy(update={"norm": Norm(kind="group", groups=n)}) for n in (8, 4)]
    assert [variant_of(spec).label for spec in groups] == ["group", "group 4 groups"]


def test_runs_that_differ_in_more_than_the_variant_are_not_compared(tmp_path: Path) -> None:
    specs = [
        spec_of("none"),
        spec_of("batch", lr=0.5, seed=3),
        IMAGES.model_copy(update={"optim": Optim(lr=0.1, momentum=0.9)}),
        IMAGES.model_copy(update={"batch_size": 64}),
        LINEAR,
    ]
    runs = [run_of(tmp_path / str(i), spec) for i, spec in enumerate(specs)]
    settings = settings_of(gather(runs))
    assert [len(one.runs) for one in settings] == [2, 1, 1, 1]
    titles = [one.title for one in settings]
    assert len(set(titles)) == 4
    assert titles[0].endswith("(optim.momentum 0.0)")
    assert titles[1].endswith("(optim.momentum 0.9)")
    assert "(" not in titles[2] + titles[3]


def test_instruments_and_where_the_pictures_lie_are_no_difference(tmp_path: Path) -> None:
    other = IMAGES.model_copy(
        update={
            "probes": type(IMAGES.probes)(),
            "log_every": 5,
            "data": IMAGES.data.model_copy(update={"path": "elsewhere"}),
        }
    )
    runs = [run_of(tmp_path / "a", IMAGES), run_of(tmp_path / "b", other)]
    assert len(settings_of(gather(runs))) == 1


def test_no_heartbeat_is_an_unknown_state(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", spec_of("none"))
    write_status(run, Status("finished"))
    run.status_file.unlink()
    [found] = gather([run])
    assert (found.view.state, found.counts) == ("unknown", False)
    assert SweepDir(tmp_path).path == run.sweep.path


def test_a_loop_of_somebody_s_own_is_shown_and_has_no_variant(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", spec_of("none"))
    own = Observed(
        model="ResNet", loss="cross_entropy", optimizer="SGD lr=0.1", parameters=11, precision="float32",
        device="cpu", threads=1,
    )  # fmt: skip
    run.spec_file.write_text(observed_to_toml(own))
    document = report([run])
    assert document.runs[0].view.settings == own
    assert document.runs[0].excluded_because == "observes an external training loop"
    assert document.settings == ()
    [picture] = document.pictures
    assert picture.name == "observed"
    assert {"Training loss", "Loss along the gradient", "ICS ‖G − G′‖/‖G‖, layer 2"} <= {
        p.title for p in picture.panels
    }
    assert "ResNet" in page(document)
