"""What pages of the reference take from the code when the documentation is built (a hook of MkDocs)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click
from typer.main import get_command

from bncore.config.experiment import schema
from bntui.actions import ACTIONS
from bntui.cli.commands import GROUPS, load_command
from bntui.cli.main import app

MARK = "<!-- generated -->"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with what is made here in place of what follows the mark."""
    head, mark, _ = markdown.partition(MARK)
    return head + "\n".join(PAGES[page.file.src_uri]()) if mark else markdown


def command_line() -> Iterator[str]:
    """Every command's help."""
    group: Any = get_command(app)
    context = group.make_context("bnrun", [], resilient_parsing=True)
    for title, commands in GROUPS.items():
        yield f"\n## {title}\n"
        for name in commands:
            text = get_docs_for_click(obj=load_command(name), ctx=context, name=f"bnrun {name}")
            yield _plain(text.replace("\n## `", "\n#### `").replace("# `", "### `", 1))


def keys() -> Iterator[str]:
    """Every key of the explorer."""
    for scope in dict.fromkeys(action.scope for action in ACTIONS):
        yield f"\n## {scope.capitalize()}\n\n| key | what it does | name |\n|---|---|---|"
        for action in ACTIONS:
            if action.scope == scope:
                pressed = " ".join(f"`{key}`" for key in action.all_keys).replace("|", r"\|")
                yield f"| {pressed or 'palette'} | {action.help} | `{action.id}` |"


def settings() -> Iterator[str]:
    """Every field of an experiment file and of a run's spec."""
    models = {**schema()["Experiment"]["$defs"], **schema()["Spec"]["$defs"]}
    for name in ("Experiment", "Spec", *sorted(models.keys() - {"Experiment", "Spec"})):
        fields = models[name].get("properties")
        if not fields:
            continue
        yield f"\n## {name}\n\n{models[name].get('description', '')}\n"
        yield "| field | values | default | meaning |\n|---|---|---|---|"
        for field, described in fields.items():
            cells = (f"`{field}`", _values(described), _default(described), described.get("description", ""))
            yield (
                "| " + " | ".join(" ".join(_plain(cell).split()).replace("|", r"\|") for cell in cells) + " |"
            )


def _plain(text: str) -> str:
    """With every `<` that stands outside code as itself, not as the beginning of a tag."""
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;")
        for part in re.split(r"(```.*?```|`[^`]*`)", text, flags=re.S)
    )


def _values(described: dict[str, Any]) -> str:
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in described or "oneOf" in described:
        return ", ".join(_values(one) for one in described.get("anyOf") or described["oneOf"])
    if "enum" in described:
        return ", ".join(f"`{value}`" for value in described["enum"])
    if "const" in described:
        return f"`{described['const']}`"
    if described.get("type") == "array":
        return f"list of {_values(described.get('items', {})) or 'values'}"
    limits = [
        f"{sign} {described[key]:g}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "<"),
        )
        if key in described and abs(described[key]) < 2**53
    ]
    kind = described.get("type", "")
    return " ".join(["none" if kind == "null" else kind, ", ".join(limits)]).strip()


def _default(described: dict[str, Any]) -> str:
    default = described.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{default}`"


PAGES = {
    "reference/command-line.md": command_line,
    "reference/keys.md": keys,
    "reference/settings.md": settings,
}
