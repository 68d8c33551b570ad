"""From what a person types to a run, in a folder that also holds other things."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bncore.config.errors import escape_control
from bncore.store.errors import NoSuchRun, StoreError
from bncore.store.find import find, find_all, list_places, list_sweeps
from bncore.store.paths import RunDir, SweepDir
from bntui.live.sources import names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sweeps, the last made first by name, among junk."""
    for age, (sweep, runs) in enumerate(
        {
            "vgg_bn-001": ["none-s0", "batch-s0", "batch-s1"],
            "vgg_lr-001": ["batch-s0"],
            "quick-002": ["a-s0", "batch-noise-s0", "batch-s0", "batch-s0-fork-1"],
        }.items()
    ):
        for run in runs:
            (tmp_path / sweep / run).mkdir(parents=True)
            (tmp_path / sweep / run / "spec.toml").write_text("")
        file = tmp_path / sweep / "sweep.toml"
        file.write_text(f"queue = {runs}\n")
        os.utime(file, (1e9 + age, 1e9 + age))
    (tmp_path / "notes.txt").write_text("junk")
    (tmp_path / "vgg_other").mkdir()
    (tmp_path / ".vgg_bn-002.half").mkdir()
    (tmp_path / ".vgg_bn-002.half" / "sweep.toml").write_text("")
    (tmp_path / "vgg_loop").symlink_to("vgg_loop")
    (tmp_path / "gone").symlink_to("nowhere")
    return tmp_path


def test_sweeps_are_listed_by_age_and_junk_is_passed_over(root: Path) -> None:
    assert [sweep.name for sweep in list_sweeps(root)] == ["vgg_bn-001", "vgg_lr-001", "quick-002"]
    assert list_sweeps(root / "not there") == []
    with pytest.raises(StoreError, match=r"notes\.txt: cannot be read: Not a directory"):
        list_sweeps(root / "notes.txt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg_bn-001", "vgg_bn-001"),
        ("vgg_b", "vgg_bn-001"),
        ("q", "quick-002"),
        ("@last", "quick-002"),
        ("@last/", "quick-002"),
        ("@last/batch-s0", "quick-002/batch-s0"),
        ("@last/batch-n", "quick-002/batch-noise-s0"),
        ("vgg_bn-001/", "vgg_bn-001"),
        ("vgg_bn-001/none-s0", "vgg_bn-001/none-s0"),
        ("vgg_b/n", "vgg_bn-001/none-s0"),
        ("vgg_b/batch-s1", "vgg_bn-001/batch-s1"),
        ("quick-002/batch", "quick-002/batch-s0"),
        ("quick-002/batch-noise", "quick-002/batch-noise-s0"),
        ("quick-002/batch fork 1", "quick-002/batch-s0-fork-1"),
        ("batch fork 1", "quick-002/batch-s0-fork-1"),
        ("none", "vgg_bn-001/none-s0"),
        ("a-s0", "quick-002/a-s0"),
    ],
)
def test_names_prefixes_and_last(root: Path, name: str, expected: str) -> None:
    found = find(root, name)
    assert found.path == root / expected
    assert isinstance(found, RunDir if "/" in expected else SweepDir)


def test_every_name_that_the_explorer_shows_is_accepted(root: Path) -> None:
    for sweep in list_sweeps(root):
        runs = sweep.runs()
        assert [find(root, f"{sweep.name}/{name}") for name in names(runs)] == runs
    everything = [run for sweep in list_sweeps(root) for run in sweep.runs()]
    assert [find(root, name) for name in names(everything)] == everything


def test_paths_need_no_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = root / "not there"
    assert find(nowhere, str(root / "vgg_bn-001")) == SweepDir(root / "vgg_bn-001")
    assert find(nowhere, str(root / "vgg_bn-001" / "none-s0")) == RunDir(root / "vgg_bn-001" / "none-s0")
    monkeypatch.chdir(root / "vgg_bn-001")
    assert find(nowhere, ".") == SweepDir(root / "vgg_bn-001")
    assert find(nowhere, "none-s0") == RunDir(root / "vgg_bn-001" / "none-s0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg", "several go by that name: vgg_bn-001, vgg_lr-001"),
        ("vgg_bn-001/batch", "several go by that name: batch-s0, batch-s1"),
        ("batch-s0", "several go by that name: vgg_bn-001/batch-s0, vgg_lr-001/batch-s0, quick-002/batch-s0"),
        ("vgg_nb-001", r"no such run or sweep under .* \(did you mean 'vgg_bn-001'\?\)"),
        ("vgg_nb-001/batch-s0", r"\(did you mean 'vgg_bn-001'\?\)"),
        ("vgg_bn-001/bacth-s1", r"no such run or sweep under .*vgg_bn-001 \(did you mean 'batch-s1'\?\)"),
        ("vgg_other", "no such run or sweep under .*there: quick-002, vgg_bn-001, vgg_lr-001"),
        ("vgg_bn-001/x", "no such run or sweep"),
        ("", "no such run or sweep"),
        ("/", "no such run or sweep"),
        ("../..", "no such run or sweep"),
        ("x" * 5000, "no such run or sweep"),
        ("a\0b", "no such run or sweep"),
    ],
)
def test_what_is_nothing_or_several_is_said(root: Path, name: str, message: str) -> None:
    with pytest.raises(NoSuchRun, match=message):
        find(root, name)


def test_last_of_nothing(tmp_path: Path) -> None:
    for name in ("@last", "@last/none-s0"):
        with pytest.raises(NoSuchRun, match="@last: no sweeps under"):
            find(tmp_path, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=8))
def test_any_text_is_a_run_or_an_error_in_words(root: Path, name: str) -> None:
    try:
        assert find(root, name).path.exists()
    except NoSuchRun as error:
        assert escape_control(name) in str(error)


@pytest.mark.parametrize("text", ["", "queue = 3", "queue = ['../..', 'a']", "queue = [", "queue = ['a/b']"])
def test_a_sweep_whose_file_makes_no_sense_lists_its_directories(root: Path, text: str) -> None:
    (root / "vgg_bn-001" / "sweep.toml").write_text(text)
    names = [run.path.name for run in SweepDir(root / "vgg_bn-001").runs()]
    assert names == ["batch-s0", "batch-s1", "none-s0"]


def test_a_run_that_was_removed_is_none_of_its_sweep_s(root: Path) -> None:
    sweep = SweepDir(root / "vgg_bn-001")
    sweep.sweep_file.write_text(f"queue = ['none-s0', 'gone-s0', '{'x' * 300}', 'batch-s0']")
    assert [run.path.name for run in sweep.runs()] == [
        "none-s0",
        "batch-s0",
        "batch-s1",
    ]  # the last by its name
    with pytest.raises(NoSuchRun, match="gone-s0"):
        find(root, "vgg_bn-001/gone-s0")


def test_names_cannot_steer_the_terminal(root: Path) -> None:
    hostile = (root / "vgg_bn-001").rename(root / "evil\x1b]0;title\x07")
    (shown,) = [sweep.name for sweep in list_sweeps(root) if sweep.path == hostile]
    assert shown == r"evil\x1b]0;title\x07"
    assert find(root, shown).path == hostile, "what is shown can be typed"
    (run, *_) = SweepDir(hostile).runs()
    assert run.name.startswith(shown + "/")
    with pytest.raises(NoSuchRun) as caught:
        find(root, "nothing")
    assert str(caught.value).isprintable()
    assert str(StoreError(f"{hostile}: cannot be read")).isprintable()


def test_a_root_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(StoreError, match=r"cannot be read: Permission denied"):
        list_sweeps(tmp_path)


def test_runs_without_a_sweep_are_listed_and_found_and_never_taken_for_the_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, name in enumerate(("mine", "mine-too", ".half")):
        (root / name).mkdir()
        (root / name / "spec.toml").write_text("")
        os.utime(root / name / "spec.toml", (1e9 + 10 + age, 1e9 + 10 + age))
    alone = [RunDir(root / "mine"), RunDir(root / "mine-too")]
    assert list_places(root) == [*list_sweeps(root), *alone]
    assert [find(root, name) for name in ("mine", "@last", "mine-")] == [*alone, alone[1]]
    assert [find(root, run.name) for run in alone] == alone, "by the name that is shown"
    assert find_all(root, ["mine*"]) == find_all(root, [f"{root.name}/mine*"]) == alone
    for name in (root.name, f"{root.name}/", root.name[:-1]):
        with pytest.raises(NoSuchRun):
            find(root, name)
    monkeypatch.chdir(root)
    assert [find(Path(), run.name) for run in list_places(Path()) if isinstance(run, RunDir)] == alone
    assert list_places(root / "vgg_bn-001") == [], "of a sweep they are its runs"
