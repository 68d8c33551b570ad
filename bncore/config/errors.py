"""Problems of a specification, reported together, each with file, field, value and what is accepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

NOTHING = object()
"""The `value` of a problem that is not about a value."""


@dataclass(frozen=True)
class Problem:
    """One problem of a specification."""

    file: str
    """Source of the setting: a file, or an option such as ``--set``."""
    field: str
    """Dotted path in that source, such as ``spec.optim.lr``; empty if the whole file is meant."""
    value: object = NOTHING
    """The value written there."""
    accepted: str = ""
    """Description of the accepted values."""
    message: str = ""
    """Description of the problem, unless it is simply a value that is not accepted."""

    def __str__(self) -> str:
        where = ": ".join(escape_control(part) for part in (self.file, self.field) if part)
        if self.value is not NOTHING:
            where += f" = {shown(self.value)}"
        parts = [self.message] if self.message else []
        if self.accepted:
            parts.append(f"expected {self.accepted}{self._meant()}")
        return f"{where}: {'; '.join(parts)}"

    def _meant(self) -> str:
        """The accepted word that a refused one resembles, as a hint, unless `accepted` ends with one."""
        words, listed = self.accepted.removeprefix("one of "), self.accepted.startswith("one of ")
        if self.message or not listed or not isinstance(self.value, str) or words.endswith(")"):
            return ""
        return did_you_mean(self.value, words.replace("'", "").split(", "))


class SpecError(ValueError):
    """A specification is refused; `problems` holds all reasons, and ``str()`` gives one per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        # A mistake recurs in every profile and variant. Compare by text, because values may be lists.
        self.problems = tuple({str(problem): problem for problem in problems}.values())
        super().__init__("\n".join(str(problem) for problem in self.problems))


def own_words(message: str) -> str:
    """A validator's message without the prefix that pydantic adds."""
    return message.removeprefix("Value error, ")


def shown(value: object, limit: int = 60) -> str:
    """`value` in TOML syntax on one line, without control characters, cut off at `limit` characters."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dict):
        text = "{ " + ", ".join(f"{key} = {shown(item)}" for key, item in value.items()) + " }"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(shown(item) for item in value) + "]"
    else:
        text = repr(value)
    text = escape_control(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escape_control(text: str, keep: str = "") -> str:
    """`text` with control characters, and thus escape sequences, made visible, except those in `keep`."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest of `words`, or an empty text if none is close."""
    close = get_close_matches(word, words, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
