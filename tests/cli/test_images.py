"""Folders of pictures through the command line: what is reported on screen and in the journal, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

from data.factories import image_tree

from cli.factories import bnrun

ON_PICTURES = """
[spec]
steps = 2
batch_size = 2
threads = 1
net = { kind = "mlp", hidden = [4] }
probes.ics.every = 0
probes.landscape.every = 0
"""


def experiment(folder: Path, more: str = "") -> Path:
    path = folder / "pictures.toml"
    path.write_text(ON_PICTURES + more)
    return path


def test_what_is_not_used_is_told_on_screen_and_in_every_journal(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    (tree / "train" / "cat" / "list.txt").touch()
    (tree / "test").rename(tree / "val")
    done = bnrun(
        "run",
        experiment(tmp_path),
        "--seeds",
        "0,1",
        "--device",
        "cpu",
        "--headless",
        "--data-dir",
        tree,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    notices = [
        f"{tree}/val: taken for the test set, which is missing",
        f"{tree}: files that are not used: 1 .txt",
    ]
    assert f"WARNING: {'; '.join(notices)}" in done.stderr
    for journal in sorted(tmp_path.glob("runs/*/*/journal.jsonl")):
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        assert [event["text"] for event in events if event["type"] == "warning"] == notices
    assert len(list(tmp_path.glob("runs/*/*/journal.jsonl"))) == 2


def test_a_class_whose_name_is_not_utf_8_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    os.mkdir(os.fsencode(tree / "train") + b"/caf\xe9")  # noqa: PTH102 - a name of bytes
    done = bnrun(
        "run", experiment(tmp_path), "--device", "cpu", "--headless", "--data-dir", tree, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "the name of this class is not UTF-8" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_pictures_that_the_network_does_not_take_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree", size=48)
    vgg = experiment(tmp_path)
    vgg.write_text(ON_PICTURES.replace('{ kind = "mlp", hidden = [4] }', '{ kind = "vgg11", width = 0.05 }'))
    arguments = ("run", vgg, "--device", "cpu", "--headless", "--data-dir", tree)
    done = bnrun(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{tree}/train/cat/0.png: 48x48 pixels; expected 32x32" in done.stderr
    assert not (tmp_path / "runs").exists()
    done = bnrun(*arguments, "--set", "data.image_size=32", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{tree}: pictures are resized (shorter side, antialiased) and cropped to 32x32" in done.stderr


def test_a_norm_that_does_not_fit_the_number_of_classes_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    tree = image_tree(tmp_path / "tree")
    dln = '{ kind = "dln", depth = 2, width = 16, normalise_last = true }\nnorm = { kind = "group", groups = 2 }'
    pictures = experiment(tmp_path)
    pictures.write_text(ON_PICTURES.replace('{ kind = "mlp", hidden = [4] }', dln))
    arguments = ("run", pictures, "--device", "cpu", "--headless", "--data-dir", tree)
    done = bnrun(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "norm.groups" in done.stderr and "fewer than the 2 features of layer 2" in done.stderr
    assert not (tmp_path / "runs").exists()
    done = bnrun(*arguments, "--set", "norm.groups=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_test_pictures_of_another_size_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    tree = image_tree(tmp_path / "tree")
    image_tree(tmp_path / "small", size=16)
    (tree / "test").rename(tree / "unused")
    (tmp_path / "small" / "test").rename(tree / "test")
    arguments = ("run", experiment(tmp_path), "--device", "cpu", "--headless", "--data-dir", tree)
    done = bnrun(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{tree}/test/cat/0.png: 16x16 pixels; expected 32x32 as {tree}/train/cat/0.png" in done.stderr
    assert not (tmp_path / "runs").exists()
    done = bnrun(*arguments, "--set", "data.image_size=16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
