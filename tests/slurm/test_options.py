"""Options of Slurm are checked before anything is written; errors name field, value and what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncore.config.errors import SpecError
from bncore.launch.slurm.options import SlurmOptions, seconds, slurm_options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partition", "gpu,long"), ("account", "lab-7"), ("qos", "normal"), ("time", "90"), ("time", "4:00:00"),
        ("time", "2-12"), ("gpus", "1"), ("gpus", "a100:2"), ("memory", "16G"), ("constraint", "[a100|h100]&nvme"),
    ],
)  # fmt: skip
def test_what_slurm_understands_is_accepted(name: str, value: str) -> None:
    assert getattr(slurm_options({name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("partition", "gpu\n#SBATCH --uid=0", "a name, such as gpu"),
        ("partition", "", "a name, such as gpu"),
        ("account", "a b", "a name"),
        ("account", "$(id)", "a name"),
        ("qos", "high\n", "a name"),
        ("time", "tomorrow", "days-hours"),
        ("time", "1:2:3:4", "days-hours"),
        ("time", "-5", "days-hours"),
        ("time", "3", "longer than 180 s"),
        ("gpus", "0", "type:number"),
        ("gpus", "a100:", "type:number"),
        ("memory", "16GB", "16G"),
        ("constraint", "a100;rm", "features of nodes"),
        ("notice", 0, "from 1 to 65535"),
    ],
)
def test_anything_else_is_refused_by_name(name: str, value: str | int, accepted: str) -> None:
    with pytest.raises(SpecError) as refused:
        slurm_options({name: value})
    said = str(refused.value)
    assert said.startswith(f"--slurm-{name} = ")
    assert accepted in said
    assert "\n" not in said


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SpecError) as refused:
        slurm_options({"time": "soon", "gpus": "many", "qos": None})
    assert [problem.file for problem in refused.value.problems] == ["--slurm-time", "--slurm-gpus"]


def test_flags_go_before_the_file_and_that_before_what_was(tmp_path: Path) -> None:
    config = tmp_path / "cluster.toml"
    config.write_text(
        'partition = "gpu"\ngpus = 1\ntime = 60\nnotice = 90\nsetup = """\nmodule load x\n"""\n'
    )
    before = SlurmOptions(account="lab", partition="old")
    found = slurm_options({"time": "2:00:00", "qos": None}, config=config, base=before)
    expected = SlurmOptions("gpu", "lab", "", "2:00:00", "1", "", "", 90, "module load x\n")
    assert found == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('partiton = "gpu"', "did you mean 'partition'"),
        ("gpus = true", "gpus = true: expected a number"),
        ("notice = 1.5", "notice = 1.5: expected seconds"),
        ("time = [1]", "time = [1]"),
        ("setup = 3", "shell lines"),
        ("partition =", "is not TOML"),
    ],
)
def test_a_file_is_refused_by_its_name_and_field(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "cluster.toml"
    config.write_text(text)
    with pytest.raises(SpecError) as refused:
        slurm_options({}, config=config)
    assert str(refused.value).startswith(str(config))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("if true; then\n", "not bash"),
        ("#SBATCH --partition=x\n", "options of Slurm are given as"),
        ("echo \0\n", "shell lines"),
    ],
)
def test_set_up_lines_must_be_shell_lines(tmp_path: Path, text: str, words: str) -> None:
    setup = tmp_path / "setup.sh"
    setup.write_text(text)
    with pytest.raises(SpecError, match=words):
        slurm_options({}, setup=setup)


def test_lines_in_a_file_of_options_are_not_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.sh").write_text("module load x\n")
    config = tmp_path / "cluster.toml"
    config.write_text('setup = "site.sh"\n')
    with pytest.raises(SpecError, match=r"cluster\.toml: setup = 'site\.sh': .*which --slurm-setup takes"):
        slurm_options({}, config=config)
    config.write_text('setup = ". ./site.sh"\n')
    assert slurm_options({}, config=config).setup == ". ./site.sh"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--slurm-setup: .*nowhere\.sh: cannot be read: No such file"):
        slurm_options({}, setup=tmp_path / "nowhere.sh")
    with pytest.raises(SpecError, match=r"nowhere\.toml: cannot be read \(No such file"):
        slurm_options({}, config=tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("time", "expected"),
    [("5", 300), ("5:30", 330), ("1:00:01", 3601), ("1-0", 86400), ("1-2", 93600), ("0-0:0:7", 7)],
)  # fmt: skip
def test_times_are_read_as_slurm_reads_them(time: str, expected: int) -> None:
    assert seconds(time) == expected


def test_a_limit_that_the_notice_would_use_up_is_refused() -> None:
    """It would be requeued as soon as it began, for ever."""
    assert slurm_options({"time": "3", "notice": 60}).notice == 60
    with pytest.raises(SpecError, match="--slurm-notice = 120: expected a time limit longer than 180 s"):
        slurm_options({"notice": 120}, base=SlurmOptions(time="3", notice=60))
