"""`bnrun` as a whole: its help, its version, what its commands import, and a reader who leaves early."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from live.factories import events, made_run, write_sweep

from bntui.cli.commands import COMMANDS, GROUPS
from cli.factories import bnrun, clean_environment

HEAVY = ("torch", "matplotlib", "textual", "tensorboard", "pyarrow")


def loaded_by(folder: Path, *arguments: str, **environment: str) -> set[str]:
    """The modules that `bnrun` with these arguments has imported when it ends."""
    script = (
        f"import sys\nfrom bntui.cli.main import main\nsys.argv = {['bnrun', *arguments]!r}\n"
        "try:\n    main()\nfinally:\n    sys.stderr.write('\\n' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder, env=clean_environment(folder, **environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return set(done.stderr.rsplit("\n", 1)[-1].split())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    made_run(tmp_path / "runs" / "one-001" / "batch-s0", events())
    write_sweep(tmp_path / "runs" / "one-001", ["batch-s0"], name="one")
    return tmp_path


def test_help_lists_every_command_in_its_group_uncut(tmp_path: Path) -> None:
    text = bnrun("--help", cwd=tmp_path, COLUMNS="80").stdout
    assert [line[:-1] for line in text.splitlines() if line[:-1] in GROUPS] == list(GROUPS)
    for name, command in COMMANDS.items():
        assert f"\n  {name:<10}  {command.summary}\n" in text


@pytest.mark.parametrize("group", ["bench", "data"])
def test_help_of_subcommands_is_uncut(tmp_path: Path, group: str) -> None:
    assert "..." not in bnrun(group, "--help", cwd=tmp_path, COLUMNS="80").stdout.partition("Commands:")[2]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"preset", "run"}))
def test_a_command_says_of_itself_what_the_list_says(name: str) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    target = getattr(import_module(f"bntui.cli.{module}"), attribute)
    if isinstance(target, typer.Typer):
        target = target.registered_callback.callback if target.registered_callback else None
    if target is not None:
        assert (inspect.getdoc(target) or "").partition("\n\n")[0] == COMMANDS[name].summary


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_list_of_commands_imports_none_of_them(tmp_path: Path, arguments: list[str]) -> None:
    loaded = loaded_by(tmp_path, *arguments)
    assert "bntui.cli.commands" in loaded
    assert not {m for m in loaded if m.startswith(("bncore", "pydantic", "numpy", "rich", *HEAVY))}
    assert not loaded & {f"bntui.cli.{command.target.partition(':')[0]}" for command in COMMANDS.values()}


def test_names_of_commands_are_completed_without_importing_them(tmp_path: Path) -> None:
    completing = {"_BNRUN_COMPLETE": "complete_bash", "COMP_WORDS": "bnrun re", "COMP_CWORD": "1"}
    loaded = loaded_by(tmp_path, **completing)
    assert "bntui.cli.commands" in loaded
    assert not {m for m in loaded if m.startswith(("bncore", "numpy", *HEAVY))}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_as_bash_does(tmp_path: Path, shell: str) -> None:
    asked = {"_BNRUN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "bnrun re"}
    script = "import sys\nfrom bntui.cli.main import main\nsys.argv = ['bnrun']\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env=clean_environment(tmp_path, **asked, _TYPER_COMPLETE_FISH_ACTION="get-args"),
    )  # fmt: skip
    names = done.stdout
    assert COMMANDS["replay"].summary in names
    assert all(name in names for name in ("report", "resume", "replay"))
    assert "verify" not in names


@pytest.mark.parametrize(
    "arguments",
    [
        *(["ls"], ["ls", "one-001"], ["watch", "one-001"], ["logs", "one-001"], ["show", "one-001"]),
        *(["report", "one-001"], ["claims"], ["presets"], ["set", "one-001", "lr=0.1"], ["pause", "one-001"]),
        *(["rm", "one-001", "--yes"], ["export", "one-001", "--csv"], ["preset", "quick", "--dry-run"]),
        *([name, "--help"] for name in ("fork", "replay", "verify", "theory", "bench", "resume")),
    ],
)
def test_no_command_imports_what_it_does_not_need(runs: Path, arguments: list[str]) -> None:
    loaded = loaded_by(runs, *arguments)
    assert "bntui.cli.commands" in loaded
    assert not loaded & set(HEAVY)
    if arguments[0] in ("ls", "watch", "logs", "pause"):
        assert "plotext" not in loaded


def test_runs_are_completed_without_torch(runs: Path) -> None:
    for line in ("bnrun fork o", "bnrun show o", "bnrun verify o"):
        completing = {"_BNRUN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "2"}
        assert bnrun(cwd=runs, **completing).returncode in (0, 2)
        assert not loaded_by(runs, **completing) & set(HEAVY)


@pytest.mark.parametrize("program", ["bntui.cli.main", "bntui.main"])
def test_both_programs_have_a_version(tmp_path: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", program, "--version"],
        env=clean_environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0] in ("bnrun", "bntui")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    ["show one-001", "report one-001", "preset vgg_noisy --dry-run", "ls", "schema", "bench --help"],
)
def test_a_reader_who_leaves_early_is_no_error(runs: Path, command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bntui.cli.main", *command.split()],
        cwd=runs, env=clean_environment(runs), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait() == 0, errors
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors
    process.stderr.close()


def test_there_is_a_man_page_of_every_command_with_its_options(tmp_path: Path) -> None:
    assert bnrun("man", "share", cwd=tmp_path).returncode == 0
    pages = {page.stem: page.read_text() for page in (tmp_path / "share" / "man1").iterdir()}
    assert {f"bnrun-{name}" for name in COMMANDS} | {"bnrun", "bnrun-bench-ics", "bnrun-data-fetch"} <= set(
        pages
    )
    for name, command in COMMANDS.items():
        assert f".B {name}\n{command.summary}".replace("-", "\\-") in pages["bnrun"]
        assert pages[f"bnrun-{name}"].startswith(f".TH BNRUN-{name.upper()} 1")
    assert ".B \\-\\-dry\\-run\n" in pages["bnrun-preset"]
    (tmp_path / "file").touch()
    refused = bnrun("man", "file", cwd=tmp_path)
    said = "bnrun: file/man1: cannot be written: Not a directory\n"
    assert (refused.returncode, refused.stderr) == (1, said)
