"""What is exported for TensorBoard is what the journal says, read back by TensorBoard itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from cli.factories import bnrun
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bncore.store.errors import StoreError
from bncore.store.journal import Journal
from bncore.store.loaded import LoadedRun, load_run
from bncore.store.tensorboard import export_tensorboard, histogram_of
from store.factories import empty_run, finished_run

LANDSCAPE = {
    "direction": "gradient", "multiples": [0.5, 2.0], "loss_multiples": [1.0], "loss": [3.0, 4.0],
    "loss_between": [3.5], "grad_diff": [0.25, 0.75], "beta": 5.0,
}  # fmt: skip
ACTIVATIONS = {
    "layers": [3, 7], "mean": [0.5, -0.5], "bin_low": [-1.0, 0.0], "bin_width": [0.5, 2.0],
    "counts": [[0, 4, 6, 0], [1, 0, 0, 9]], "unit": [1, 0],
}  # fmt: skip


def opened(folder: Path) -> EventAccumulator:
    """Everything in the folder, nothing thinned out."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def scalars(read: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(e.step, e.value) for e in read.Scalars(tag)]


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedRun:
    """A run with every kind of table."""
    run = empty_run(tmp_path / "run-s0")
    journal = Journal(run.journal_file)
    journal.append("start", 0, schema=1)
    journal.append("step", 0, loss=1.5, lr=0.1)
    journal.append("probe", 0, name="ics", layers=[2, 11], l2=[0.5, 0.25], cosine=[1.0, math.nan])
    journal.append("probe", 0, name="landscape", **LANDSCAPE)
    journal.append("probe", 0, name="activations", **ACTIVATIONS)
    journal.append("probe", 0, name="sharpness", eigenvalue=7.0, weight_norm=[1.0, 2.0, 3.0])
    journal.append("eval", 1, test_loss=0.75)
    journal.append("step", 1, loss=math.nan, lr=0.1, accuracy=0.5)
    journal.append("probe", 4, name="ics", layers=[2, 11], l2=[1.5, 1.25], cosine=[0.5, 0.5])
    return load_run(run.path)


def test_tensorboard_reads_every_scalar(loaded: LoadedRun, tmp_path: Path) -> None:
    (path,) = export_tensorboard(loaded, tmp_path / "out")
    assert path.parent == tmp_path / "out"
    read = opened(tmp_path / "out")
    assert sorted(read.Tags()["scalars"]) == [
        "activations/mean/layer_03", "activations/mean/layer_07", "eval/test_loss",
        "ics/cosine/layer_02", "ics/cosine/layer_11", "ics/l2/layer_02", "ics/l2/layer_11",
        "landscape/beta", "landscape/grad_diff/a_0.5_lr", "landscape/grad_diff/a_2_lr",
        "landscape/loss/a_0.5_lr", "landscape/loss/a_2_lr", "landscape/loss_between/a_1_lr",
        "sharpness/eigenvalue", "sharpness/weight_norm/layer_01", "sharpness/weight_norm/layer_02",
        "sharpness/weight_norm/layer_03", "step/accuracy", "step/loss", "step/lr",
    ]  # fmt: skip
    assert scalars(read, "ics/l2/layer_11") == [(0, 0.25), (4, 1.25)]
    assert scalars(read, "landscape/grad_diff/a_2_lr") == [(0, 0.75)]
    assert scalars(read, "landscape/loss_between/a_1_lr") == [(0, 3.5)]
    assert scalars(read, "sharpness/weight_norm/layer_03") == [(0, 3.0)]
    assert scalars(read, "eval/test_loss") == [(1, 0.75)]
    assert scalars(read, "step/accuracy") == [(1, 0.5)]  # not where the event has none
    first, second = scalars(read, "step/loss")
    assert first == (0, 1.5)
    assert second[0] == 1
    assert math.isnan(second[1])  # a loss that diverged is not left out


def test_tensorboard_reads_the_histograms_as_they_were_counted(loaded: LoadedRun, tmp_path: Path) -> None:
    export_tensorboard(loaded, tmp_path / "out")
    read = opened(tmp_path / "out")
    assert read.Tags()["histograms"] == ["activations/output/layer_03", "activations/output/layer_07"]
    (event,) = read.Histograms("activations/output/layer_03")
    found = event.histogram_value
    assert (event.step, found.min, found.max, found.num) == (0, -0.5, 0.5, 10.0)
    # TensorBoard may have cut the bins anew, but between two edges of ours lies what we counted
    limits, counts = np.array(found.bucket_limit), np.array(found.bucket)
    assert counts[limits <= 0.0].sum() == pytest.approx(4.0)
    assert counts.sum() == pytest.approx(10.0)


def test_a_histogram_keeps_edges_and_counts() -> None:
    found = histogram_of(np.array([0.0, 1.0, 0.0, 3.0, 0.0]), 10.0, 2.0)
    assert list(found.bucket_limit) == [14.0, 16.0, 18.0]
    assert list(found.bucket) == [1.0, 0.0, 3.0]
    assert (found.min, found.max, found.num) == (12.0, 18.0, 4.0)
    assert (found.sum, found.sum_squares) == (13.0 + 3 * 17.0, 13.0**2 + 3 * 17.0**2)


def test_times_are_those_of_the_journal(loaded: LoadedRun, tmp_path: Path) -> None:
    export_tensorboard(loaded, tmp_path / "out")
    expected = loaded.columns.series("step", "t").values.tolist()
    assert [e.wall_time for e in opened(tmp_path / "out").Scalars("step/loss")] == expected


def test_every_number_of_a_run_is_there(tmp_path: Path) -> None:
    loaded = load_run(finished_run(tmp_path / "run-s0", layers=3).path)
    export_tensorboard(loaded, tmp_path / "out")
    read = opened(tmp_path / "out")
    for j in range(3):
        known = loaded.table("probe:ics")["l2"][:, j]
        assert [v for _, v in scalars(read, f"ics/l2/layer_{j + 1:02d}")] == known.tolist()
    for field in ("loss", "lr", "grad_norm", "penalty"):
        known = loaded.table("step")[field]
        np.testing.assert_allclose([v for _, v in scalars(read, f"step/{field}")], known, rtol=1e-7)


def test_two_exports_are_not_drawn_over_each_other(loaded: LoadedRun, tmp_path: Path) -> None:
    export_tensorboard(loaded, tmp_path / "out")
    with pytest.raises(StoreError, match="out: holds an event file already; expected a new folder"):
        export_tensorboard(loaded, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(loaded: LoadedRun, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match="out: cannot be written"):
        export_tensorboard(loaded, tmp_path / "out")


def test_without_tensorboard_it_is_said_what_to_install(
    loaded: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncore.store.tensorboard.find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r"pip install tensorboard"):
        export_tensorboard(loaded, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "event",
    [
        {"layers": [1], "l2": [1.0, 2.0]},
        {"layers": ["x", "y"], "l2": [1.0, 2.0]},
        {"layers": [math.nan, 1e300], "l2": [1.0, 2.0]},
        {"counts": [1, 2], "bin_low": [0.0], "bin_width": [1.0], "layers": [1], "l2": [1.0]},
        {"counts": [[0, 0]], "bin_low": [0.0], "bin_width": [1.0], "layers": [1], "l2": [1.0]},
        {"counts": [[1, math.nan]], "bin_low": [0.0], "bin_width": [1.0], "layers": [1], "l2": [1.0]},
        {"l2": [[[1.0], [2.0]], [[3.0], [4.0]]]},
    ],
)
def test_strange_events_are_exported_as_far_as_they_go(tmp_path: Path, event: dict[str, object]) -> None:
    run = empty_run(tmp_path / "run-s0")
    Journal(run.journal_file).append("probe", 0, name="ics\x1b", **event)
    export_tensorboard(load_run(run.path), tmp_path / "out")
    assert any(tag.startswith("ics\\x1b/l2/layer_") for tag in opened(tmp_path / "out").Tags()["scalars"])


def test_the_command_line_writes_one_folder_a_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        finished_run(tmp_path / "runs" / "small" / f"batch-s{seed}")
    (tmp_path / "runs" / "small" / "sweep.toml").write_text("queue = []")
    done = bnrun("export", "small", "--tensorboard", "--out", "board", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [Path(line).parent for line in done.stdout.split()] == [
        Path("board/batch-s0"),
        Path("board/batch-s1"),
    ]
    assert scalars(opened(tmp_path / "board" / "batch-s1"), "step/loss")[0] == (0, 1.0)
    again = bnrun("export", "small", "--tensorboard", "--out", "board", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists; nothing was written" in again.stderr
