"""Queries on the command line: what is selected, listed, sorted and cut, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from live.factories import events, made_run, write_sweep
from store.factories import SMALL
from typer.testing import CliRunner

from bncore.config.change import changed
from bncore.config.plan import Plan
from bncore.store.commands import Pause, Step
from bncore.store.journal import encode
from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.store.requests import send_request, waiting
from bncore.store.status import Status, write_status
from bntui.cli.ls import COLUMNS, LEAST_FIRST, complete_field
from bntui.cli.main import app
from bntui.cli.select_runs import complete_query
from bntui.cli.tables import EDGES, GAP
from bntui.fitting import columns_within

STATES = {"batch-s0": "finished", "none-s0": "stopped", "batch-s1": "diverged"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sweeps of three runs that differ in norm, learning rate, state and loss."""
    for sweep in ("one-001", "two-001"):
        for place, (name, state) in enumerate(STATES.items()):
            spec = changed(SMALL, {"norm.kind": name.split("-")[0], "optim.lr": 0.25 * (place + 1)})
            spec = spec.model_copy(update={"seed": int(name[-1])})
            journal = [] if name == "none-s0" and sweep == "two-001" else events(40 - 10 * place)
            made_run(tmp_path / sweep / name, journal, state=state, spec=spec)  # type: ignore[arg-type]  # a state
        write_sweep(tmp_path / sweep, list(STATES), name="vgg_bn")
    return tmp_path


@pytest.fixture
def at_work(root: Path) -> Iterator[Path]:
    """The same, where all but the finished runs live."""
    with ExitStack() as held:
        for run in (RunDir(root / sweep / name) for sweep in ("one-001", "two-001") for name in STATES):
            if run.path.name != "batch-s0":
                write_status(run, Status("running" if run.path.name == "none-s0" else "paused", 20, 40))
                held.callback(acquire(run).release)
        yield root


def bnrun(root: Path, *arguments: str, answer: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = CliRunner().invoke(app, [*arguments, "--root", str(root)], input=answer)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def listed(root: Path, *arguments: str) -> list[str]:
    return [row["run"] for row in json.loads(bnrun(root, "ls", "--json", *arguments)[1])]


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["-w", "norm=batch lr>0.5"], ["one-001/batch-s1", "two-001/batch-s1"]),
        (["one-001", "--where", "seed=0"], ["one-001/batch-s0", "one-001/none-s0"]),
        (["-w", "has:ics not two"], ["one-001/batch-s0", "one-001/none-s0", "one-001/batch-s1"]),
        (["-w", "norm=l1"], []),
        (["--limit", "2"], ["one-001/batch-s0", "one-001/none-s0"]),
        (["--newest", "--limit", "2"], ["two-001/batch-s1", "two-001/none-s0"]),
        (["one*", "--sort", "-lr"], ["one-001/batch-s1", "one-001/none-s0", "one-001/batch-s0"]),
        (["one*", "--sort", "step"], ["one-001/batch-s1", "one-001/none-s0", "one-001/batch-s0"]),
        (["two*", "--sort", "-loss"], ["two-001/batch-s1", "two-001/batch-s0", "two-001/none-s0"]),
        (["two*", "--sort", "loss"], ["two-001/batch-s0", "two-001/batch-s1", "two-001/none-s0"]),
        (["--sort=state", "--newest", "-w", "seed=1 or two"],
         ["two-001/batch-s1", "one-001/batch-s1", "two-001/batch-s0", "two-001/none-s0"]),
    ],
)  # fmt: skip
def test_what_is_listed_in_which_order(root: Path, arguments: list[str], runs: list[str]) -> None:
    assert listed(root, *arguments) == runs


def test_without_options_the_order_and_the_keys_of_json_stay(root: Path) -> None:
    rows = json.loads(bnrun(root, "ls", "--json")[1])
    assert [row["run"] for row in rows] == [
        f"{sweep}/{name}" for sweep in ("one-001", "two-001") for name in STATES
    ]
    earlier = ("run", "path", "state", "step", "steps", "rate", "eta_s", "loss", "accuracy", "test_loss",
               "test_accuracy", "message", "params_sha256")  # fmt: skip
    assert {*earlier, "lr", "norm", "age", "duration"} <= rows[0].keys()
    assert (rows[0]["lr"], rows[0]["norm"]) == (0.25, "batch")


def test_columns_are_chosen_by_name(root: Path) -> None:
    code, out, _ = bnrun(
        root, "ls", "one-001/batch-s0", "--columns", "run,seed,noise,beta,accuracy,preset,optim.betas"
    )
    assert code == 0
    header, _, row = (line.split() for line in out.strip().splitlines())
    assert header == ["run", "seed", "noise", "beta", "accuracy", "preset", "optim.betas"]
    assert row == ["one-001/batch-s0", "0", "off", "10", "50.0", "%", "vgg_bn", "0.9,0.999"]
    assert json.loads(bnrun(root, "ls", "one-001", "--columns", "beta", "--json")[1])[0]["beta"] == 10.0


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("nor", ["norm"]),
        ("run,test_a", ["run,test_accuracy"]),
        ("-los", ["-loss", "-loss.kind", "-loss.reduction"]),
    ],
)
def test_columns_are_completed(begun: str, offered: list[str]) -> None:
    assert [one for one in complete_field(begun) if one in offered] == offered


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("norm=", ["norm=batch", "norm=none"]),
        ("seed=1 variant=b", ["seed=1 variant=batch"]),
        ("stat", ["state"]),
    ],
)
def test_a_query_is_completed_with_what_runs_have(root: Path, begun: str, offered: list[str]) -> None:
    context = SimpleNamespace(params={"root": root})
    assert complete_query(context, begun) == offered  # type: ignore[arg-type]  # all of a context that it reads


@pytest.mark.parametrize("option", ["--columns", "--sort"])
def test_a_column_that_is_none_is_refused(root: Path, option: str) -> None:
    code, out, err = bnrun(root, "ls", option, "nrom")
    assert (code, out) == (2, "")
    assert "did you mean 'norm'" in err


def test_what_a_limit_leaves_out_is_said(root: Path) -> None:
    assert "4 more runs; --limit 6 lists all" in bnrun(root, "ls", "--limit", "2")[2]
    assert bnrun(root, "ls", "--limit", "6")[2] == ""


def test_a_narrow_terminal_gets_the_columns_that_matter_most() -> None:
    row = ["one-001/batch-s0", "finished", "40/40", "0.025", "30.0 %", "0.1", "batch", "3 d 4 h", "6 min"]
    shown = [
        [COLUMNS[place] for place in columns_within(width - EDGES, COLUMNS, [row], LEAST_FIRST, gap=GAP)]
        for width in range(120, 0, -1)
    ]
    assert shown[0] == list(COLUMNS)
    assert shown[-1] == ["run"]
    kept = [columns for columns, before in zip(shown[1:], shown, strict=False) if columns != before]
    assert [sorted({*COLUMNS} - {*columns}, key=LEAST_FIRST.index) for columns in kept] == [
        list(LEAST_FIRST[: count + 1]) for count in range(len(LEAST_FIRST))
    ]
    for width, columns in zip(range(120, 0, -1), shown, strict=True):
        needed = 2 + sum(max(len(name), len(row[COLUMNS.index(name)])) + 3 for name in columns) - 3
        assert needed <= width or columns == ["run"]


@pytest.mark.parametrize(
    "command",
    ["ls", "rm", "show", "stop", "pause", "step", "resume", "checkpoint", "evaluate", "watch", "logs", "report",
     "verify", "export --csv", "set lr=0.1", "note text"],
)  # fmt: skip
def test_an_error_points_at_its_word(root: Path, command: str) -> None:
    code, out, err = bnrun(root, *command.split(), "-w", "norm=batch stat:running")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0] == "bnrun: --where: no such field (did you mean 'state'?)"
    assert lines[1][lines[2].index("^") : lines[2].rindex("^") + 1] == "stat"


@pytest.mark.parametrize(
    "command",
    ["rm -y", "show", "stop", "pause", "resume", "watch", "logs", "report", "verify", "export --csv", "set lr=0.1",
     "note text"],
)  # fmt: skip
def test_a_query_that_matches_nothing_is_said_to_and_nothing_is_done(root: Path, command: str) -> None:
    code, out, err = bnrun(root, *command.split(), "-w", "norm=l1")
    assert (code, out) == (2, "")
    assert err == f"bnrun: no run under {root} matches norm=l1\n"
    assert len(listed(root)) == 6


@pytest.mark.parametrize("command", ["ls", "show", "report", "rm -y", "set lr=0.1", "export --csv"])
def test_a_value_that_no_run_has_is_pointed_at_with_the_one_that_was_meant(root: Path, command: str) -> None:
    code, out, err = bnrun(root, *command.split(), "-w", "seed=0 norm=bacth,l1")
    assert (code, out) == (0 if command == "ls" else 2, "")
    said, why, query, mark = err.splitlines()
    assert said.endswith(f"no run under {root} matches seed=0 norm=bacth,l1")
    assert "did you mean 'batch'?" in why
    assert query[mark.index("^") : mark.rindex("^") + 1] == "bacth"


def test_a_value_that_some_run_has_is_not_pointed_at(root: Path) -> None:
    assert "did you mean" not in bnrun(root, "ls", "-w", "norm=batch seed=99")[2]
    assert "did you mean" not in bnrun(root, "ls", "-w", "not norm!=bacth norm=none")[2]


def test_ls_says_that_nothing_matches_and_of_an_empty_root_that_there_is_nothing(
    root: Path, tmp_path: Path
) -> None:
    assert bnrun(root, "ls", "-w", "norm=l1") == (0, "", f"no run under {root} matches norm=l1\n")
    name = next(path.name for path in root.iterdir())
    assert bnrun(root, "ls", name, "-w", "norm=l1") == (0, "", f"no run of {name} matches norm=l1\n")
    assert bnrun(root, "ls", "--json", "-w", "norm=l1") == (0, "[]\n", "")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert bnrun(empty, "ls", "-w", "norm=l1") == (0, "", f"no runs under {empty}\n")


@pytest.mark.parametrize(
    "command",
    ["ls", "top", "presets", "show x", "watch x", "rm x", "resume x", "stop x", "report x", "claims x"],
)
def test_a_root_that_is_missing_is_refused_if_it_was_named(tmp_path: Path, command: str) -> None:
    code, out, err = bnrun(tmp_path / "nope", *command.split())
    assert (code, out) == (2, "")
    assert f"'--root': {tmp_path / 'nope'}: no such directory; expected a directory of sweeps" in err
    assert not (tmp_path / "nope").exists()


def test_before_the_first_sweep_the_default_root_may_be_missing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ls"], env={"BNRUN_ROOT": str(tmp_path / "runs")})
    assert (done.exit_code, done.stderr) == (0, f"no runs under {tmp_path / 'runs'}\n")
    assert bnrun(tmp_path / "runs", "preset", "quick", "--dry-run")[0] == 0


@pytest.mark.parametrize(
    "command", ["rm", "stop", "show", "export --csv", "report", "watch", "verify", "resume"]
)
def test_without_names_and_a_query_nothing_is_done(root: Path, command: str) -> None:
    code, out, err = bnrun(root, *command.split())
    assert (code, out) == (2, "")
    assert "expected names of runs or sweeps, or --where" in err


@pytest.mark.parametrize("command", ["rm -y", "stop", "set lr=0.1", "pause", "resume"])
def test_an_empty_query_is_no_leave_to_change_every_run(root: Path, command: str) -> None:
    code, _, err = bnrun(root, *command.split(), "-w", " ")
    assert (code, "empty; expected a query" in err) == (2, True)
    assert len(listed(root)) == 6


def test_what_matches_is_said_before_it_is_removed(root: Path) -> None:
    refused = bnrun(root, "rm", "-w", "state=finished", answer="n\n")
    assert refused[0] == 1
    assert "2 runs matching state=finished: one-001/batch-s0, two-001/batch-s0" in refused[2]
    assert len(listed(root)) == 6
    assert bnrun(root, "rm", "-y", "two*", "-w", "state=finished")[0] == 0
    assert "two-001/batch-s0" not in listed(root)
    assert "one-001/batch-s0" in listed(root)


def test_a_sweep_all_of_whose_runs_match_is_removed_as_one(root: Path) -> None:
    assert bnrun(root, "rm", "-y", "-w", "sweep=two-001")[0] == 0
    assert not (root / "two-001").exists()
    assert bnrun(root, "rm", "-y", "one-001/none-s0", "-w", "norm=none")[0] == 0
    assert (root / "one-001" / "batch-s0").exists()


def test_an_empty_sweep_hides_no_other(root: Path) -> None:
    (root / "three-001").mkdir()
    write_sweep(root / "three-001", [])
    assert len(listed(root)) == 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["set", "lr=0.5", "noise=on", "-w", "state=running,paused one-0"],
            ["one-001/none-s0", "one-001/batch-s1"],
        ),
        (["set", "one", "lr=0.5", "-w", "seed=1"], ["one-001/batch-s1"]),
        (["set", "one-001/none", "lr=0.5"], ["one-001/none-s0"]),
        (["pause", "-w", "norm=none"], ["one-001/none-s0", "two-001/none-s0"]),
        (["note", "a text", "-w", "seed=1"], ["one-001/batch-s1", "two-001/batch-s1"]),
        (["note", "one", "a text", "-w", "seed=1"], ["one-001/batch-s1"]),
        (["stop", "two", "-w", "seed=1"], ["two-001/batch-s1"]),
    ],
)
def test_requests_go_to_what_matches(at_work: Path, arguments: list[str], expected: list[str]) -> None:
    code, _, err = bnrun(at_work, *arguments)
    sent = [name for name in listed(at_work) if waiting(RunDir(at_work / name))]
    assert (code, sent) == (0, expected), err
    assert f"request sent: {arguments[0]}" in err


def test_resume_asks_what_is_paused_or_about_to_be(at_work: Path) -> None:
    code, _, err = bnrun(at_work, "resume", "-w", "state=running,paused")
    assert (code, "2 runs already running" in err) == (0, True)
    asked = [name for name in listed(at_work) if waiting(RunDir(at_work / name))]
    assert asked == ["one-001/batch-s1", "two-001/batch-s1"]
    about_to_pause = RunDir(at_work / "one-001" / "none-s0")
    send_request(about_to_pause, Pause())
    assert "1 run already running" in bnrun(at_work, "resume", "-w", "norm=none")[2]
    assert [request.command.kind for request in waiting(about_to_pause)] == ["pause", "resume"]
    stepping = RunDir(at_work / "two-001" / "none-s0")
    asked_to_step = {"seq": 0, "t": 0.0, "type": "request", "step": 20, "command": Step(count=9).model_dump()}
    stepping.journal_file.write_bytes(encode(asked_to_step) + b"\n")
    assert "request sent: resume" in bnrun(at_work, "resume", "two-001/none-s0")[2]


def test_presets_are_found_by_words(tmp_path: Path) -> None:
    code, out, _ = bnrun(tmp_path, "presets", "--json", "NOISE", "vgg")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == ["vgg_noisy"]
    assert bnrun(tmp_path, "presets", "no_such") == (0, "", "no preset matches no_such\n")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--sort", "-variants", "--limit", "1"], ["control_noise"]),
        (["vgg_lr", "--sort", "-name"], ["vgg_lr_envelope", "vgg_lr"]),
        (["--sort", "time_s", "--limit", "1"], ["activations"]),
    ],
)
def test_presets_are_sorted_and_cut(tmp_path: Path, options: list[str], names: list[str]) -> None:
    rows = json.loads(bnrun(tmp_path, "presets", "--json", *options)[1])
    assert [row["name"] for row in rows] == names


def test_the_time_that_presets_took_is_shown_once_one_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def took(_root: Path, planned: Plan) -> float | None:
        return 61 if planned.experiment.name == "quick" else None

    monkeypatch.setattr("bntui.cli.inspect.time_taken_before", took)
    header, _, *rows = bnrun(tmp_path, "presets", "tiny")[1].strip().splitlines()
    assert header.rstrip().endswith("time taken here")
    assert [row.rstrip().endswith("61 s") for row in rows] == [True]
    assert "time taken here" not in bnrun(tmp_path, "presets", "paper")[1]
    assert "unknown" in bnrun(tmp_path, "presets", "paper", "--columns", "name,time_s")[1]


def test_presets_show_the_columns_asked_for_and_say_what_is_left_out(tmp_path: Path) -> None:
    code, out, err = bnrun(tmp_path, "presets", "vgg", "--columns", "name,figure", "--limit", "2")
    assert (code, out.split()[:2]) == (0, ["name", "figure"])
    assert "more presets; --limit" in err
    code, _, err = bnrun(tmp_path, "presets", "--columns", "nmae")
    assert (code, "did you mean 'name'?" in err) == (2, True)
