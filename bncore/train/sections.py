"""Where the time of a process goes: seconds in each part of its work, by the host's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, get_args

Part = Literal["data", "step", "probes", "evaluation", "checkpoints"]
PARTS: tuple[Part, ...] = get_args(Part)


class Sections:
    """Counts seconds; those of a part inside another are the inner one's alone. One thread enters, any may read.

    Nothing waits for a device: work that is queued on a GPU counts where the host waits for it.

    Arguments:
        parts: what is counted.
        clock: seconds that never go backwards.
    """

    def __init__(self, parts: Sequence[Part] = PARTS, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._sections = {part: _Section(self, part) for part in parts}
        self._state: tuple[Part | None, float, dict[Part | None, float]]
        self._state = (
            None,
            clock(),
            {None: 0.0, **dict.fromkeys(parts, 0.0)},
        )  # replaced whole, for the reader

    def __call__(self, part: Part) -> AbstractContextManager[None]:
        """A context whose time is that part's."""
        return self._sections[part]

    def seconds(self) -> dict[Part, float]:
        """Seconds in each part until now."""
        inside, since, seconds = self._state
        seconds = {**seconds, inside: seconds[inside] + self._clock() - since}
        return {part: seconds[part] for part in self._sections}

    def enter(self, part: Part | None) -> Part | None:
        """Count for another part from now on; the one before."""
        now = self._clock()
        inside, since, seconds = self._state
        self._state = part, now, {**seconds, inside: seconds[inside] + now - since}
        return inside


class _Section:
    """The context of one part; may be entered within itself."""

    def __init__(self, sections: Sections, part: Part) -> None:
        self._sections = sections
        self._part = part
        self._outer: list[Part | None] = []

    def __enter__(self) -> None:
        self._outer.append(self._sections.enter(self._part))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sections.enter(self._outer.pop())
