"""Custom keys: the `[keys]` table of the preferences, checked against the table of actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from textual.keys import Keys, _character_to_key

from bncore.config.errors import Problem, did_you_mean
from bntui.actions import ACTIONS, KEY_NAMES, LISTS, SCREENS, Action, actions_of, key_name, rebound

PROTECTED = ("ctrl+c", "ctrl+q", "ctrl+p")
"""Keys that cannot be reassigned, so that nobody is locked in: quit, quit without asking, and the palette."""
SCOPES = tuple(
    dict.fromkeys(action.scope for action in ACTIONS if any(action.scope in one for one in SCREENS))
)
"""Scopes whose keys can be changed."""
NAMES = {name.casefold(): key for key, name in KEY_NAMES.items()}
NAMED = (
    *(key.value for key in Keys if not key.value.startswith("<")),
    *(_character_to_key(chr(code)) for code in range(ord("!"), ord("~") + 1)),
)


def read_keys(table: Mapping[str, object], file: str) -> tuple[dict[str, str], list[Problem]]:
    """Keys by action id, comma separated as Textual expects them, and all problems of the table."""
    keys: dict[str, str] = {}
    problems: list[Problem] = []
    written = dict(_flat(table))
    for name, value in written.items():
        unknown = _unknown_action(name)
        new, accepted = _keys_of(value)
        if unknown:
            problems.append(Problem(file, f"keys.{name}", value, *unknown))
        elif accepted:
            problems.append(Problem(file, f"keys.{name}", value, accepted))
        else:
            (action,) = (one for one in ACTIONS if one.id == name)
            stay = [key for key in action.keys.split(",") if _stays(key, action.scope)]
            keys[name] = ",".join(dict.fromkeys([*new, *stay]))
    conflicts = _conflicts(keys)
    return keys, problems + [Problem(file, f"keys.{name}", written[name], *why) for name, why in conflicts]


def _stays(key: str, scope: str) -> bool:
    """Whether an action keeps this key even if it gets others: protected keys, and in lists named keys such as the
    arrows and Enter, which dialogs mention."""
    return key in PROTECTED or (scope == LISTS and len(key) > 1)


def key_of(text: str) -> str | None:
    """Textual's name of a key, given as a character, as the help writes it, or by that name; None if unknown."""
    name = NAMES.get(text.casefold(), text.casefold())
    if len(text) == len(name) == 1 and text.isprintable():
        return _character_to_key(text)
    return name if name in NAMED else None


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for scope, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{scope}.{name}", keys) for name, keys in value.items())
        else:
            yield scope, value


def _unknown_action(name: str) -> tuple[str, str] | None:
    """What would be accepted instead of an action's id, and what is wrong with it; None if the id is valid."""
    scope, _, action = name.partition(".")
    if scope not in SCOPES:
        fixed = any(one.scope == scope for one in ACTIONS)
        said = "these keys cannot be changed" if fixed else "no such group of keys"
        return f"one of {', '.join(SCOPES)}{did_you_mean(scope, SCOPES)}", said
    names = [one.id.partition(".")[2] for one in actions_of((scope,))]
    if action in names:
        return None
    return f"one of {', '.join(names)}{did_you_mean(action, names)}", "no such action"


def _keys_of(value: object) -> tuple[list[str], str]:
    """The keys in a value of the table and, if it is invalid, what would be accepted."""
    written = value if isinstance(value, list) else [value]
    texts = [text for text in written if isinstance(text, str)]
    if texts != written:
        return [], "a key, or a list of keys"
    for text in texts:
        if text and key_of(text) is None:
            accepted = "a character such as 'b' or '?', or a name such as 'ctrl+b', 'f5', 'Enter' or 'PgUp'"
            return [], accepted + did_you_mean(text, [*KEY_NAMES.values(), *NAMED])
    return [key for text in texts if text and (key := key_of(text))], ""


def _conflicts(keys: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Actions whose new keys are taken on the same screen, with what would be accepted and what is wrong."""
    table = {action.id: action for action in rebound(keys)}
    for name in keys:
        before = {key for action in ACTIONS if action.id == name for key in action.keys.split(",")}
        for key in table[name].keys.split(","):
            if key in before or not key:
                continue
            others = [one for one in table.values() if one.id != name and _meet(one, table[name])]
            taken = next((one.id for one in others if key in one.keys.split(",")), "")
            if key in PROTECTED or taken:
                why = f"is the key of {taken}" if taken else "cannot be changed"
                accepted = "a key that is free on that screen (`bntui config --keys`)"
                yield name, (accepted, f"{key_name(key)} {why}")


def _meet(one: Action, other: Action) -> bool:
    return one.scope == other.scope or any({one.scope, other.scope} <= screen for screen in SCREENS)
