"""What callbacks say where their library is missing."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "library"), [("lightning", "lightning.pytorch"), ("transformers", "transformers")]
)
def test_a_missing_library_is_said_in_words(monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"bncore.integrations.{name}", raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=rf"bncore\.integrations\.{name} needs .* 'bnrun\[{name}\]'"
    ):
        importlib.import_module(f"bncore.integrations.{name}")
