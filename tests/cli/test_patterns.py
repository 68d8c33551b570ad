"""Several names, and patterns of the shell's kind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bncore.store.errors import NoSuchRun
from bncore.store.find import find_all
from bncore.store.paths import RunDir
from bncore.store.status import Status, write_status
from cli.factories import bnrun, tiny_experiment


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sweeps of two runs, alike but for their names."""
    folder = tmp_path_factory.mktemp("patterns")
    tiny_experiment(folder)
    assert bnrun("run", "tiny.toml", "--headless", "--out", "runs/exp01", cwd=folder).returncode == 0
    for name in ("exp02", "exp[3]", "other"):
        shutil.copytree(folder / "runs" / "exp01", folder / "runs" / name)
    for age, path in enumerate(sorted((folder / "runs").iterdir())):
        os.utime(path / "sweep.toml", (1e9 + age, 1e9 + age))
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["exp0*"], ["exp01", "exp02"]),
        (["exp0[2-9]", "other"], ["exp02", "other"]),
        (["exp[3]"], ["exp[3]"]),
        (["e*", "exp01"], ["exp01", "exp02", "exp[3]"]),
        (["exp0?/none*"], ["exp01/none-s0", "exp02/none-s0"]),
        (["*/batch"], ["exp01/batch-s0", "exp02/batch-s0", "exp[3]/batch-s0", "other/batch-s0"]),
        (["exp01/none-s0", "exp01"], ["exp01"]),
        (["exp01/none-s0", "exp01/none"], ["exp01/none-s0"]),
    ],
)
def test_patterns_mean_sweeps_and_runs_each_once(made: Path, names: list[str], expected: list[str]) -> None:
    root = made / "runs"
    assert [str(one.path.relative_to(root)) for one in find_all(root, names)] == expected


@pytest.mark.parametrize("names", [["exp9*"], ["exp0*", "nothing"], ["exp0*/q*"], ["[", "exp01"], ["?"]])
def test_what_matches_nothing_is_said(made: Path, names: list[str]) -> None:
    with pytest.raises(NoSuchRun, match=r"matches|no such run or sweep"):
        find_all(made / "runs", names)


def test_commands_take_several(made: Path) -> None:
    listed = json.loads(bnrun("ls", "--json", "exp0*", "other/none-s0", cwd=made).stdout)
    assert [row["run"] for row in listed] == [
        "exp01/none-s0", "exp01/batch-s0", "exp02/none-s0", "exp02/batch-s0", "other/none-s0",
    ]  # fmt: skip
    said = bnrun("verify", "exp0*/none-s0", "other/none-s0", cwd=made)
    assert (said.returncode, said.stdout.count(": ok")) == (0, 3)
    said = bnrun("logs", "exp01", cwd=made)
    assert said.stdout.count("==> exp01/") == 2
    for command in (["stop"], ["pause"], ["checkpoint", "--wait"]):
        done = bnrun(*command, "exp01", "oth*", cwd=made)
        assert (done.returncode, "exp01, oth*: no run can accept this" in done.stderr) == (3, True)
    for command in ("ls", "rm", "logs", "verify", "watch", "stop", "report", "show", "resume"):
        done = bnrun(command, "exp01", "exp9*", cwd=made)
        assert (done.returncode, done.stdout) == (3, "")
        assert "exp9*: no run or sweep under" in done.stderr
        assert "matches (there: exp01, exp02, exp[3], other)" in done.stderr


def test_several_are_shown_under_names_that_tell_them_apart(made: Path) -> None:
    shown = bnrun("show", "exp0*", cwd=made)
    assert shown.returncode == 0, shown.stderr
    for name in ("exp01/none-s0", "exp01/batch-s0", "exp02/none-s0", "exp02/batch-s0"):
        assert shown.stdout.count(name) > 1, "in the plots and in the table"
    assert "exp01/" not in bnrun("show", "exp01", cwd=made).stdout
    assert len(json.loads(bnrun("show", "--json", "exp01", "other/none", cwd=made).stdout)) == 3


def test_several_are_resumed(made: Path, tmp_path: Path) -> None:
    ended = bnrun("resume", "exp01", "oth*", cwd=made)
    assert (ended.returncode, "exp01, oth*: nothing to resume" in ended.stderr) == (2, True)
    shutil.copytree(made / "runs", tmp_path / "runs")
    left = [tmp_path / "runs" / name / "none-s0" for name in ("exp01", "exp02")]
    for run in left:
        (run / "journal.jsonl").unlink()
        write_status(RunDir(run), Status("stopped"))
    done = bnrun("resume", "exp0*", "other", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for run in left:
        assert '"state":"finished"' in (run / "journal.jsonl").read_text()
    (left[0] / "journal.jsonl").unlink()
    write_status(RunDir(left[0]), Status("stopped"))
    (left[1] / "journal.jsonl").unlink()
    write_status(RunDir(left[1]), Status("stopped"))
    (left[0] / "spec.toml").write_text("steps = 0")
    done = bnrun("resume", "exp0*", cwd=tmp_path)
    assert done.returncode == 4, "one sweep has not ended"
    assert '"state":"finished"' in (left[1] / "journal.jsonl").read_text()


def test_several_are_removed_and_none_where_one_is_wrong(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    assert bnrun("rm", "-y", "exp01", "nothing", cwd=tmp_path).returncode == 3
    refused = bnrun("rm", "exp01", "exp02", cwd=tmp_path)
    assert refused.returncode == 1, "nobody said yes"
    assert refused.stderr.count("(2 runs)") == 2
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert bnrun("rm", "-y", "exp0*", "other/none-s0", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["exp[3]", "other"]
    assert not (tmp_path / "runs" / "other" / "none-s0").exists()
    assert (tmp_path / "runs" / "other" / "batch-s0").is_dir()
