"""Undisturbed runs to compare with, made once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bncore.config.model import Spec
from bncore.store.paths import RunDir
from resume.factories import make_run, train

Undisturbed = Callable[[Spec], RunDir]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run of a spec that nothing happened to."""
    made: dict[str, RunDir] = {}

    def run_of(spec: Spec) -> RunDir:
        key = spec.model_dump_json()
        if key not in made:
            run = make_run(tmp_path_factory.mktemp("undisturbed") / "run-s0", spec)
            assert train(run) == 0
            made[key] = run
        return made[key]

    return run_of


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, mounted; skips where this user may not mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
