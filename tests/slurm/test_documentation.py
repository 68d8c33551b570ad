"""What the documentation shows of a cluster happens on one."""

from __future__ import annotations

from pathlib import Path

import pytest
from documentation.pages import DOCUMENTATION, commands, same, typed

from slurm import cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def test_the_page_on_slurm(tmp_path: Path) -> None:
    if missing := cluster.missing():
        pytest.skip(f"Slurm is not installed here: no {', '.join(missing)} (apt-get install slurm-wlm munge)")
    (tmp_path / "cluster").mkdir()
    (tmp_path / "work").mkdir()
    found = list(commands(DOCUMENTATION / "how-to" / "slurm.md"))
    try:
        cluster.start(tmp_path / "cluster")
        outputs = typed(found, tmp_path / "work", **cluster.environment(tmp_path / "cluster"))
    finally:
        cluster.stop(tmp_path / "cluster")
    for command, (printed, code) in zip(found, outputs, strict=True):
        assert code == command.exit_code, f"$ {command.text}\n{printed}\n[{code}]"
        assert same(command.expected, printed), f"$ {command.text}\n{printed}"
