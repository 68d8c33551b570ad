"""Everything in the documentation that a person could type is typed here, page by page."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from documentation.pages import DOCUMENTATION, FENCE, anchors, commands, has_mark, pages, same, typed


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(DOCUMENTATION)),
            marks=(pytest.mark.slow, pytest.mark.timeout(1200)) if has_mark(page, "slow") else (),
        )
        for page in pages()
        if not has_mark(page, "slurm")
    ],
)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    found = list(commands(page))
    for command, (printed, code) in zip(found, typed(found, tmp_path), strict=True):
        assert code == command.exit_code, f"$ {command.text}\n{printed}\n[{code}]"
        assert same(command.expected, printed), f"$ {command.text}\n{printed}"


@pytest.mark.parametrize(
    "page", sorted(DOCUMENTATION.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCUMENTATION))
)
def test_a_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert len(fences) == 2 * len(FENCE.findall(text)), f"a block without language: {fences}"


def test_other_output_is_told_apart() -> None:
    assert same(("a-s0: ok 1.5", "..."), "a-s0: ok 77\nmore\n")
    assert not same(("a-s0: ok 1.5",), "a-s0: failed 1.5\n")
    assert not same(("a", "..."), "b\na\n")
    assert not same((), "something\n")


WRITTEN = [
    *(DOCUMENTATION.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCUMENTATION.rglob("*.md")),
]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(DOCUMENTATION.parent)))
def test_what_is_linked_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", FENCE.sub("", page.read_text()))
    for path, anchor in links:
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), path
        assert not anchor or anchor in anchors(there), f"{path}#{anchor}"
    assert links or page.name != "README.md"


def test_an_anchor_is_its_headings_text() -> None:
    assert "observing-changes-nothing" in anchors(DOCUMENTATION / "explanation" / "instruments.md")


def test_every_file_names_the_same_version() -> None:
    project = tomllib.loads((DOCUMENTATION.parent / "pyproject.toml").read_text())["project"]
    assert f"version: {project['version']}\n" in (DOCUMENTATION.parent / "CITATION.cff").read_text()
    assert f"## {project['version']} - " in (DOCUMENTATION.parent / "CHANGELOG.md").read_text()
