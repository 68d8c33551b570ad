"""Files that are no experiments, and some that only look unlike one: reported in words, within a moment."""

from __future__ import annotations

import codecs
import errno
import os
from pathlib import Path

import pytest

from bncore.config.errors import SpecError
from bncore.config.load import load_experiment
from bncore.config.overrides import parse_override
from bncore.config.parse import read_table
from bncore.config.toml import spec_from_toml

DEEP_KEY = ".".join("a" * 5000)
ENDLESS = 5000


def refused(path: Path | str) -> str:
    with pytest.raises(SpecError) as caught:
        load_experiment(path)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{DEEP_KEY} = 1",
        f"[{DEEP_KEY}]",
        f"[[{DEEP_KEY}]]",
        f"[spec]\n{DEEP_KEY} = 1",
        f"spec = {{ {DEEP_KEY} = 1 }}",
        f"[profiles.cpu.spec]\n{DEEP_KEY} = 1",
        f"[[axes]]\npoints = [{{ label = 'x', set = {{ {DEEP_KEY} = 1 }} }}]",
        "steps = " + "[" * 100 + "]" * 100,
        "steps = " + "[" * ENDLESS + "]" * ENDLESS,
        "steps = " + "{ a = " * 100 + "1" + "}" * 100,
        "steps = " + "{ a = " * ENDLESS + "1" + "}" * ENDLESS,
        "steps = " + "[" * ENDLESS,
    ],
)
def test_what_is_nested_too_deeply_is_told_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    assert refused(path) == f"{path}: is not TOML: nested too deeply; expected at most 32 levels"
    with pytest.raises(SpecError, match="nested too deeply"):
        spec_from_toml(path)


def test_an_axis_over_a_path_of_many_parts_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "axis.toml"
    path.write_text(f"[[axes]]\npath = '{DEEP_KEY}'\nvalues = [1, 2]")
    assert "axes[0].path = 'a.a.a" in refused(path)


@pytest.mark.parametrize(
    "text",
    [f"{DEEP_KEY}=1", "lr=" + "[" * 300 + "]" * 300, "lr=" + "[" * ENDLESS, f"optim={{{DEEP_KEY} = 1}}"],
)
def test_an_override_that_is_nested_too_deeply_is_told_of(text: str) -> None:
    with pytest.raises(SpecError, match=r"no such field|expected (a number|one of)"):
        parse_override(text)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"name = 'marked'\nspec.steps = 7\n")
    assert load_experiment(path).spec == {"steps": 7}
    assert read_table(path)["name"] == "marked"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name = 'x'".encode("utf-16"), r"is not UTF-8 text (byte 0) (UTF-16?)"),
        (codecs.BOM_UTF16_BE + "name = 'x'".encode("utf-16-be"), r"is not UTF-8 text (byte 0) (UTF-16?)"),
        ("title = 'caf\xe9'".encode("latin-1"), "is not UTF-8 text (byte 12)"),
        (b"name = 'a\0b'", "is not TOML: "),
        (b"\0" * 100, "is not TOML: "),
        (b"name = 'x'\rspec.steps = 1", "is not TOML: "),
        (b"steps = " + b"9" * 5000, "is not TOML: "),
        (codecs.BOM_UTF8 * 2 + b"name = 'x'", "is not TOML: "),
        (b"title = '\\ud800'\nname = \"\\ud800\"", "is not TOML: "),
    ],
)
def test_other_encodings_are_told_of(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "other.toml"
    path.write_bytes(content)
    assert f"{path}: {said}" in refused(path)


def test_what_is_no_file_is_told_of(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "circle.toml").symlink_to("circle.toml")
    (tmp_path / "device.toml").symlink_to("/dev/zero")
    (tmp_path / "file").touch()
    for name, said in {
        "pipe.toml": "not a plain file",
        "device.toml": "not a plain file",
        "folder.toml": "is a directory",
        "circle.toml": "cannot be read (",
        "gone.toml": "no such file",
        "file/x.toml": "no such file",
        "x" * 5000 + ".toml": "cannot be read (File name too long)",
        "a\0b.toml": "cannot be read (",
    }.items():
        assert said in refused(tmp_path / name), name
        extending = tmp_path / "extending.toml"
        extending.write_text(f'extends = "{name}"'.replace("\0", "\\u0000"))
        assert said in refused(extending), name


def test_a_file_that_may_not_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.touch()

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)  # root could read whatever its mode
    assert f"{path}: cannot be read (Permission denied)" in refused(path)


def test_a_pipe_in_the_place_of_a_run_s_spec_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "spec.toml")
    with pytest.raises(SpecError, match=r"spec\.toml: cannot be read \(not a plain file\)"):
        spec_from_toml(tmp_path / "spec.toml")
