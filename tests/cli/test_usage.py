"""Wrong input: exit code 2, words that help, nothing written. And what needs no torch imports none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bntui.cli.exit_codes import ExitCode
from bntui.cli.options import exit_code_of
from cli.factories import bnrun, clean_environment, tiny_experiment


def test_a_path_that_is_out_of_reach_is_no_bug() -> None:
    assert exit_code_of(PermissionError(13, "Permission denied", "runs/x")) is ExitCode.USAGE
    assert exit_code_of(PermissionError(1, "Operation not permitted")) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["preset", "vgg_nosy"], "did you mean 'vgg_noisy'"),
        (["preset", "quick", "--set", "optim.lr=fast"], "optim.lr"),
        (["preset", "quick", "--set", "norm=l0"], "lp:<p> with p >= 1"),
        (["preset", "quick", "--set", "optim.momentun=0.9"], "did you mean 'optim.momentum'"),
        (["preset", "vgg_lr", "--set", "lr=0.2"], "the axis 'optim.lr' sets it"),
        (["preset", "quick", "--profile", "gpu"], "auto, paper or cpu"),
        (["preset", "quick", "--seeds", "a,b"], "--seeds"),
        (["preset", "quick", "--seeds", "0,4-2"], "--seeds: '0,4-2' (4-2 descends); expected integers >= 0"),
        (
            ["preset", "quick", "--set", "init.scheme=he_fanout"],
            "expected one of 'glorot', 'he', 'he_fan_out'",
        ),
        (["preset", "dln_bn", "--set", "data.teacher=normal"], "expected one of 'gaussian', 'uniform'"),
        (["preset", "quick", "--seeds", "1", "--seed", "2"], "together with --seed"),
        (["preset", "quick", "--steps", "0"], "steps"),
        (["preset", "quick", "--device", "tpu"], "cuda:<index>"),
        (["preset", "quick", "--launcher", "pbs"], "local or slurm"),
        (["preset", "quick", "--jobs", "0"], "--jobs"),
        (["preset", "vgg_bn", "--data-dir", "nowhere"], "no images there"),
        (["preset", "quick", "--data-dir", "nowhere"], "these runs are on synthetic data"),
        (
            ["preset", "quick", "--set", "probes.ics.layers=[99]"],
            "numbers from 1 to 9, the layers of a vgg11",
        ),
        (["preset", "quick", "--set", "batch_size=20000"], "at most 10000, the training images"),
        (["preset", "quick", "--device", "cuda:31"], "device = 'cuda:31'"),
        (["preset", "quick", "--device", "cuda:31", "--dry-run"], "device = 'cuda:31'"),
        (["preset", "quick", "--out", b"runs/\xff"], "expected a path in UTF-8"),
        (["bench", "train", "--device", "gpu"], "'gpu'; expected cpu, cuda or cuda:<index>"),
        (["bench", "ics", "--device", "cuda:31"], "--device = 'cuda:31'"),
        (["bench", "landscape", "--net", "vgg"], "'vgg'; expected one of vgg11"),
        (["bench", "jobs", "vgg_nosy"], "did you mean 'vgg_noisy'"),
        (["bench", "jobs", "missing.toml"], "no such file"),
        (["bench", "jobs", "quick", "--device", "cuda:31"], "device = 'cuda:31'"),
        (["bench", "jobs", "--most", "0"], "--most"),
        (["bench", "jobs", "quick", "--run", "l1-s0"], "'l1-s0'; expected one of none-s0, batch-s0"),
        (["bench", "jobs", "quick", "--data-dir", "nowhere"], "these runs are on synthetic data"),
        (["run", "missing.toml"], "no such file"),
        (["data", "fetch", "--data-dir", "/dev/null/x"], "/dev/null/x: Not a directory; expected a folder"),
        (["show", "x", "--axis", "day"], "Invalid value for '--axis': 'day'"),
        (["note", "x", " "], "expected the note's text"),
        (["export", "x"], "--csv"),
    ],
)
def test_bad_input_exits_2_with_words_and_writes_nothing(
    tmp_path: Path, arguments: list[str | bytes], words: str
) -> None:
    done = bnrun(*map(os.fsdecode, arguments), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}, "images, made or decoded, at most"


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = tiny_experiment(tmp_path, '[spec]\nsteps = -1\noptim.lr = "a"\nnett = 3\n')
    done = bnrun("run", path, "--headless", cwd=tmp_path)
    assert done.returncode == 2
    for word in ("steps", "optim.lr", "nett", str(path)):
        assert word in done.stderr


@pytest.mark.parametrize(
    "command", ["show", "watch", "logs", "rm", "resume", "stop", "pause", "step", "verify"]
)
def test_no_such_run_exits_3(tmp_path: Path, command: str) -> None:
    done = bnrun(command, "nothing", cwd=tmp_path)
    assert done.returncode == 3
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_used_folder_is_no_out(tmp_path: Path) -> None:
    path = tiny_experiment(tmp_path)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("years of work")
    done = bnrun("run", path, "--headless", "--out", tmp_path / "used", cwd=tmp_path)
    assert done.returncode == 2
    assert "not an empty directory" in done.stderr
    assert [p.name for p in (tmp_path / "used").iterdir()] == ["thesis.tex"]


def test_a_dry_run_prints_the_resolved_runs_and_touches_nothing(tmp_path: Path) -> None:
    done = bnrun("preset", "vgg_noisy", "--dry-run", "--json", "--seeds", "0-1", cwd=tmp_path)
    assert done.returncode == 0
    runs = json.loads(done.stdout)["runs"]
    assert [run["name"] for run in runs][:3] == ["none-s0", "none-s1", "batch-s0"]
    assert runs[-1]["spec"]["noise"]["on"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["presets"],
        ["ls"],
        ["schema"],
        ["preset", "quick", "--dry-run"],
        ["show", "x"],
        ["watch", "x"],
        ["top"],
    ],
)
def test_what_only_reads_or_prints_never_imports_torch(tmp_path: Path, arguments: list[str]) -> None:
    script = (
        "import sys\nfrom bntui.cli.main import main\nsys.argv = ['bnrun'] + " + repr(arguments) + "\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('TORCH' if 'torch' in sys.modules else 'LIGHT')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("LIGHT"), done.stderr


def test_the_explorer_needs_a_terminal_and_says_what_to_use_instead(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from bntui.main import main; sys.exit(main())"],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "bnrun watch --plain" in done.stderr


def test_presets_are_listed_for_people_and_for_programs(tmp_path: Path) -> None:
    rows = json.loads(bnrun("presets", "--json", cwd=tmp_path).stdout)
    (noisy,) = [row for row in rows if row["name"] == "vgg_noisy"]
    assert noisy["variants"] == ["none", "batch", "batch-noise", "none-noise"]
    assert noisy["figure"] == "2"
    assert noisy["time_s"] is None
    assert "time taken" not in bnrun("presets", cwd=tmp_path).stdout


def test_the_schema_is_json_and_documents_its_fields(tmp_path: Path) -> None:
    schema = json.loads(bnrun("schema", cwd=tmp_path).stdout)
    assert set(schema) == {"Experiment", "Spec"}
    assert "Number of optimizer updates." in json.dumps(schema["Spec"])
