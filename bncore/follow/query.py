"""Selecting runs by a query such as ``norm=batch lr>0.05 state:running seed:0..4 not has:ics``. The grammar is
documented in docs/reference/queries.md."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple, NoReturn

from bncore.config.errors import did_you_mean
from bncore.follow.run_fields import (
    RunField,
    Value,
    has,
    is_read,
    measured_names,
    no_such_field,
    run_field,
    run_fields,
    values_of,
)
from bncore.follow.run_view import RunView

DEEPEST = 50
"""Maximum nesting depth of parentheses."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<paren>[()]) | (?P<op>>=|<=|!=|==|[=:<>]) | (?P<quoted>"[^"]*"?)
    | (?P<word>(?:(?!!=)[^\s()"=:<>])+))""",
    re.VERBOSE,
)
_VALUE = re.compile(r'\s*((?:"[^"]*"?|[^\s()"])+)')
AS_JOURNALED = 1e-6
"""Relative difference up to which numbers count as equal: journaled values were measured in float32, so 28 % may
be stored as 0.2800000012."""


def _same(a: float, b: float) -> bool:
    return a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=AS_JOURNALED))


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b and not _same(a, b),
    "<=": lambda a, b: a <= b or _same(a, b),
    ">": lambda a, b: a > b and not _same(a, b),
    ">=": lambda a, b: a >= b or _same(a, b),
}
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SWITCHES = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}

_FOREIGN = re.compile(r"(?P<field>[\w.]*)(?:[~≥≤≠].*|&&?|\|\|?|!)")
"""An operator of another language, perhaps with a field before it."""

Condition = Callable[[Any, str], bool]
"""Predicate on a run (None if the row is not a run) and on the text shown for it."""


class QueryError(ValueError):
    """Invalid query; `start` and `end` delimit the word at fault in `text`."""

    def __init__(self, text: str, start: int, end: int, why: str) -> None:
        super().__init__(why)
        self.text = text
        self.start = start
        self.end = max(end, start + 1)

    @property
    def corrected(self) -> str:
        """The query with the suggested replacement for the word at fault; empty if there is no suggestion."""
        suggested = re.search(r"did you mean '(.+?)'", str(self))
        return self.text[: self.start] + suggested[1] + self.text[self.end :] if suggested else ""


class Wanted(NamedTuple):
    """A condition on the value of a field."""

    column: RunField
    test: Callable[[float | str], bool]
    text: str
    start: int
    """Offset of the value's text in the query; the text ends before `end`."""
    end: int


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    text: str = ""
    condition: Condition = lambda _view, _text: True
    settings: bool = False
    """Whether it depends on settings."""
    measured: frozenset[str] = frozenset()
    """Names of the measures and probes that it depends on."""
    of_words: bool = True
    """Whether it consists of plain words only."""
    wanted: tuple[Wanted, ...] = ()

    def matches(self, view: RunView, shown: str = "") -> bool:
        """Whether a run is selected.

        Arguments:
            shown: text of the run's row, searched in addition to its name, variant, state and message.
        """
        return self.condition(
            view, f"{view.run.name} {view.name} {view.variant} {view.state} {view.message} {shown}"
        )

    def enough(self, view: RunView) -> bool:
        """Whether enough of a run was read to evaluate the query."""
        return all(is_read(view, name) for name in self.measured)

    def matches_text(self, text: str) -> bool:
        """Whether the query consists of plain words only and matches a text that does not belong to a run."""
        return self.of_words and self.condition(None, text)


def parse(text: str) -> Query:
    """Parse a query; an empty one selects every run.

    Raises:
        QueryError: the message names the word at fault and what is accepted.
    """
    return _Parser(text).query()


def no_such_value(query: Query, views: Sequence[RunView]) -> QueryError | None:
    """An error for a value that no run has, if a run has a similar value or if a fraction was probably meant in
    percent; else None."""
    for column, test, text, start, end in query.wanted:
        values = [one for view in views for one in _as_tuple(column.of(view))]
        if any(map(test, values)):
            continue
        if column.unit == "fraction" and "%" not in text and (_number(text, column) or 0.0) > 1:
            return QueryError(query.text, start, end, f"1 is 100 % (did you mean '{text}%'?)")
        near = did_you_mean(text, sorted({one for one in values if isinstance(one, str)}))
        if near:
            return QueryError(query.text, start, end, f"no run has this value{near}")
    return None


def complete(text: str, views: Iterable[RunView] = ()) -> list[str]:
    """Completions of the last word in `text`, each as the full query: field names, or after an operator, values
    that are predefined or that occur in `views`."""
    start = max(map(text.rfind, " \t("), default=-1) + 1
    match = re.match(r"([^=:<>!]+)(>=|<=|!=|[=:<>])", text[start:])
    if match is None:
        candidates = [*run_fields(), "has:"]
        prefix = ""
    else:
        name, prefix = match[1].lower(), match[0]
        column = run_field(name)
        candidates = (
            list(measured_names()) if name == "has" else values_of(column, iter(views)) if column else []
        )
    prefix += (text[start + len(prefix) :].rpartition(",")[0] + ",").lstrip(",") if match else ""
    typed = text[start + len(prefix) :].lower()
    fitting = [one for one in candidates if one.lower().startswith(typed)]
    if match is None and "." not in typed:
        fitting = [one for one in fitting if "." not in one] or fitting
    return [text[:start] + prefix + (f'"{one}"' if re.search(r'[\s()",]', one) else one) for one in fitting]


def common_beginning(texts: Sequence[str]) -> str:
    """The longest common prefix of the texts."""
    alike = takewhile(lambda letters: len(letters) == 1, map(set, zip(*texts, strict=False)))
    return "".join(letters.pop() for letters in alike)


@dataclass
class _Parser:
    """Recursive-descent parser of a query."""

    text: str
    position: int = 0
    depth: int = 0
    settings: bool = False
    measured: set[str] = field(default_factory=set)
    of_words: bool = True
    wanted: list[Wanted] = field(default_factory=list)

    def query(self) -> Query:
        if not self.text.strip():
            return Query(self.text)
        condition = self._any_of()
        token = self._peek()
        if token is not None:
            self._refuse(token, "a ')' without its '('")
        measured, wanted = frozenset(self.measured), tuple(self.wanted)
        return Query(self.text, condition, self.settings, measured, self.of_words, wanted)

    def _any_of(self) -> Condition:
        parts = [self._all_of()]
        while self._operator() == "or":
            self._next()
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda view, text: any(part(view, text) for part in parts)

    def _all_of(self) -> Condition:
        parts = [self._negated()]
        while (token := self._peek()) is not None and token["paren"] != ")" and self._operator() != "or":
            if self._operator() == "and":
                self._next()
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else lambda view, text: all(part(view, text) for part in parts)

    def _negated(self) -> Condition:
        negative = False
        while self._operator() == "not":
            self._next()
            negative = not negative
        part = self._one()
        return (lambda view, text: not part(view, text)) if negative else part

    def _one(self) -> Condition:
        token = self._peek()
        if token is None or token["paren"] == ")" or self._operator():
            self._refuse(token, "expected a condition such as norm=batch, or a word")
        self._next()
        if token["paren"]:
            return self._group(token)
        following = self._peek()
        if token["op"]:
            self._refuse(token, f"expected a field before '{token['op']}', such as lr")
        if following is not None and following["op"] and token["word"]:
            self._next()
            return self._comparison(token, following)
        if token["quoted"] and not _is_closed(token["quoted"]):
            self._refuse(token, "expected a closing quote")
        foreign = _FOREIGN.fullmatch(token["word"] or "")
        if foreign is not None and (not foreign["field"] or run_field(foreign["field"].lower())):
            self._refuse(token, "no such operator; expected =, !=, >, >=, <, <=, and, or, not")
        word = (token["word"] or token["quoted"].strip('"')).casefold()
        glob = re.compile(_pattern(word), re.DOTALL)
        return lambda _view, text: glob.search(text.casefold()) is not None

    def _group(self, opened: re.Match[str]) -> Condition:
        self.depth += 1
        if self.depth > DEEPEST:
            self._refuse(opened, f"more than {DEEPEST} parentheses inside each other")
        inside = self._any_of()
        closing = self._peek()
        if closing is None:
            self._refuse(opened, "a '(' without its ')'")
        self._next()
        self.depth -= 1
        return inside

    def _comparison(self, named: re.Match[str], operator: re.Match[str]) -> Condition:
        self.of_words = False
        name, op = named["word"].lower(), operator["op"]
        value = _VALUE.match(self.text, self.position)
        if value is None:
            self._refuse(operator, f"expected a value after '{op}'")
        self.position = value.end()
        if not _is_closed(value[1]):
            raise QueryError(self.text, value.start(1), value.end(1), "expected a closing quote")
        items = _items(value)
        if name == "has":
            return self._has(operator, op, items)
        column = run_field(name)
        if column is None:
            self._refuse(named, no_such_field(name), named.start("word"))
        self.settings |= column.kind == "setting"
        self.measured |= {name} if column.kind == "measure" else set()
        if op in _COMPARE:
            return self._ordered(column, op, items)
        wanted = [Wanted(column, self._test(column, *item), *item) for item in items]
        self.wanted += wanted if op != "!=" else ()
        return _equal(column, [one.test for one in wanted], negative=op == "!=")

    def _has(self, operator: re.Match[str], op: str, items: list[tuple[str, int, int]]) -> Condition:
        if op not in (":", "=", "=="):
            self._refuse(operator, "expected has:NAME")
        for name, start, end in items:
            if name.lower() not in measured_names():
                hint = did_you_mean(name.lower(), measured_names())
                raise QueryError(self.text, start, end, f"no such measure or probe{hint}")
        names = [name.lower() for name, *_ in items]
        self.measured |= {*names}
        return lambda view, _text: any(has(view, name) for name in names)

    def _ordered(self, column: RunField, op: str, items: list[tuple[str, int, int]]) -> Condition:
        text, start, _ = items[0]
        end = items[-1][2]
        bound = _number(text, column) if len(items) == 1 and column.numeric else None
        if bound is None:
            why = f"expected one number after '{op}'"
            if not column.numeric:
                why = f"{column.name} is no number; expected ="
            raise QueryError(self.text, start, end, why)
        compare = _COMPARE[op]
        self.wanted.append(
            Wanted(column, lambda one: not isinstance(one, str) and compare(one, bound), text, start, end)
        )
        return lambda view, _text: any(compare(one, bound) for one in _numbers(column.of(view)))

    def _test(self, column: RunField, text: str, start: int, end: int) -> Callable[[float | str], bool]:
        """The test that a single value must pass to match one item of a list."""
        if not text:
            raise QueryError(self.text, start, end, "expected a value beside the comma")
        low, dots, high = text.partition("..")
        if column.numeric and dots:
            bounds = [_number(low, column) if low else -math.inf, _number(high, column) if high else math.inf]
            if None in bounds or not (low or high):
                raise QueryError(self.text, start, end, "expected a range of numbers, such as 0..4")
            least, most = (bound for bound in bounds if bound is not None)
            if least > most:
                raise QueryError(self.text, start, end, "a range that descends")
            above, below = _COMPARE[">="], _COMPARE["<="]
            return lambda one: not isinstance(one, str) and above(one, least) and below(one, most)
        number = _number(text, column) if column.numeric else None
        if number is not None:
            return lambda one: (
                not isinstance(one, str) and (_same(one, number) or (math.isnan(one) and math.isnan(number)))
            )
        if bool in column.types and text.lower() in _SWITCHES:
            switch = _SWITCHES[text.lower()]
            return lambda one: one is switch
        if str not in column.types and "*" not in text and text.lower() not in map(str.lower, column.words):
            raise QueryError(
                self.text, start, end, f"expected {column.expected}{did_you_mean(text.lower(), column.words)}"
            )
        glob = re.compile(_pattern(text.casefold()), re.DOTALL)
        return lambda one: glob.fullmatch(_in_words(one).casefold()) is not None

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self.text, self.position)

    def _next(self) -> None:
        token = self._peek()
        self.position = len(self.text) if token is None else token.end()

    def _operator(self) -> str:
        """`and`, `or` or `not`, if that is the next word; else empty."""
        token = self._peek()
        word = token["word"].lower() if token is not None and token["word"] else ""
        return word if word in ("and", "or", "not") else ""

    def _refuse(self, token: re.Match[str] | None, why: str, start: int | None = None) -> NoReturn:
        if token is None:
            raise QueryError(self.text, len(self.text), len(self.text), why)
        whole = token.group().lstrip()
        raise QueryError(self.text, token.end() - len(whole) if start is None else start, token.end(), why)


def _is_closed(quoted: str) -> bool:
    return quoted.count('"') % 2 == 0


def _items(value: re.Match[str]) -> list[tuple[str, int, int]]:
    """The items of a comma-separated list, each with its start and end; a value that begins with a quote is one
    item."""
    whole, start = value[1], value.start(1)
    if whole[0] == '"':
        return [(whole.strip('"'), start, start + len(whole))]
    items = []
    for part in whole.split(","):
        items.append((part.replace('"', ""), start, start + len(part)))
        start += len(part) + 1
    return items


def _equal(column: RunField, tests: Sequence[Callable[[float | str], bool]], *, negative: bool) -> Condition:
    def holds(view: RunView, _text: str) -> bool:
        values = _as_tuple(column.of(view))
        return bool(values) and any(test(one) for test in tests for one in values) is not negative

    return holds


def _as_tuple(value: Value) -> tuple[float | str, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _numbers(value: Value) -> Iterable[float]:
    return [one for one in _as_tuple(value) if isinstance(one, int | float) and not isinstance(one, bool)]


def _number(text: str, column: RunField) -> float | None:
    """Parse ``1e-3`` or ``60%``, and for a time also ``90s``, ``10min``, ``2h``, ``3d``; None if not a number."""
    number, scale = text.strip(), 1.0
    if number.endswith("%"):
        number, scale = number[:-1], 0.01
    elif column.unit == "s" and (match := re.fullmatch(r"(.*?\d\.?)\s*(s|m|min|h|d)", number)):
        number, scale = match[1], _SECONDS[match[2]]
    try:
        return float(number) * scale
    except ValueError:
        return None


def _pattern(text: str) -> str:
    return ".*".join(map(re.escape, text.split("*")))


def _in_words(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
