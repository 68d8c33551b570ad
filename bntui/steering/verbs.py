"""The requests that can be sent to runs: a table of verbs, with suggested input and the resulting command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bncore.config.base import NORM_KINDS
from bncore.config.change import parse_changes
from bncore.config.errors import Problem, SpecError, escape_control
from bncore.config.model import Spec
from bncore.store.commands import Checkpoint, Command, Evaluate, Note, Pause, Resume, Set, Step, Stop

Options = Callable[[Spec | None], tuple[str, ...]]
Converter = Callable[[list[str], int | None], Command]
"""Makes a request of the words of the typed text, and the step after the ``@``."""

WORKING = frozenset({"running", "paused"})
AHEAD = WORKING | {"queued"}
"""States in which a run still accepts a request."""
ENDED = frozenset({"stopped", "dead", "failed"})
"""States from which a run can be restarted where it stopped."""


@dataclass(frozen=True)
class Verb:
    """One kind of request."""

    title: str
    states: frozenset[str]
    """States in which a run accepts the request."""
    command: Converter | None
    """None if the verb is a `bnrun` command instead."""
    options: Options = lambda spec: ()
    """Suggested texts for a run with this spec; the first is preselected."""
    hint: str = ""
    """Placeholder that describes the input."""
    sets: str | None = None
    """The setting that a value without a name belongs to; None if the verb sets nothing."""


def parse_text(text: str) -> tuple[list[str], int | None]:
    """Split typed text into words and step: ``norm=l1 @5000`` is `norm=l1` at step 5000.

    Raises:
        SpecError: an ``@`` is not followed by a step number.
    """
    words, at = [], None
    for word in text.split():
        if not word.startswith("@"):
            words.append(word)
        elif word[1:].isascii() and word[1:].isdecimal() and len(word) < 20:
            at = int(word[1:])
        else:
            raise SpecError([Problem("at", "", word, "@ and a step, such as @5000")])
    return words, at


def named_settings(name: str, words: list[str]) -> list[str]:
    """The words of a change, with a value without a name assigned to the setting `name`.

    Raises:
        SpecError: there are no words, several values without a name, or one without a name while `name` is empty.
    """
    alone = [word for word in words if "=" not in word]
    if not words:
        raise SpecError([Problem("set", "", message="nothing to change; expected path=value")])
    if len(alone) > 1 or (alone and not name):
        raise SpecError([Problem("set", name, " ".join(alone), "one value" if name else "name=value")])
    return [word if "=" in word else f"{name}={word}" for word in words]


def _set(name: str) -> Converter:
    """Converter for changes in which a value without a name belongs to the setting `name`."""

    return lambda words, at: Set(changes=parse_changes(named_settings(name, words)), at_step=at)


def _step(words: list[str], at: int | None) -> Command:
    count = " ".join(words) or "1"
    if not (count.isascii() and count.isdecimal() and len(count) < 16 and int(count) > 0):
        raise SpecError([Problem("step", "", count, "number of steps, such as 10")])
    return Step(count=int(count), at_step=at)


def _note(words: list[str], at: int | None) -> Command:
    text = " ".join(words)
    if not text or len(text) > 4096:
        raise SpecError([Problem("note", "", message="1 to 4096 characters")])
    return Note(text=text, at_step=at)


def _bare(kind: type[Pause | Resume | Checkpoint | Evaluate | Stop]) -> Converter:
    """Converter for commands with no arguments except the step."""

    def command(words: list[str], at: int | None) -> Command:
        if words:
            raise SpecError([Problem(kind.__name__.lower(), "", " ".join(words), "nothing, or @ and a step")])
        return kind(at_step=at)

    return command


def _noise(spec: Spec | None) -> tuple[str, ...]:
    if spec is None:
        return ("noise=on", "noise=off")
    noise = spec.noise
    names = ("n_mu", "n_sigma", "r_mu", "r_sigma")
    amplitude = " ".join(f"noise.{name}={getattr(noise, name):g}" for name in names)
    switch = ("noise=off", "noise=on") if noise.on else ("noise=on", "noise=off")
    return (*switch, f"noise=on {amplitude}")


def _norm(spec: Spec | None) -> tuple[str, ...]:
    current = spec.norm.kind if spec else ""
    return tuple(f"norm={kind}" for kind in (*NORM_KINDS, "lp:3") if kind != current)


def _lr(spec: Spec | None) -> tuple[str, ...]:
    if spec is None:
        return ("lr=0.1",)
    return tuple(f"lr={spec.optim.lr * factor:g}" for factor in (0.5, 0.1, 2, 10))


def _probes(spec: Spec | None) -> tuple[str, ...]:
    if spec is None:
        return ("probes.ics.every=100",)
    names = list(type(spec.probes).model_fields)
    return tuple(f"probes.{name}.every={getattr(spec.probes, name).every or 100}" for name in names)


def _fork(spec: Spec | None) -> tuple[str, ...]:
    return (*_norm(spec)[:6], _noise(spec)[0], _lr(spec)[0])


def _all(spec: Spec | None) -> tuple[str, ...]:
    return (*_lr(spec)[:1], *_noise(spec)[:1], *_norm(spec)[:1], *_probes(spec))


def _setter(title: str, name: str, options: Options, hint: str) -> Verb:
    return Verb(title, AHEAD, _set(name), options, hint, name)


VERBS: dict[str, Verb] = {
    "noise": _setter("noise", "noise", _noise, "on, off, noise.n_mu=0.5 …"),
    "norm": _setter("norm", "norm", _norm, "l1, lp:3, norm.centred=on …"),
    "lr": _setter("learning rate", "lr", _lr, "0.05"),
    "probes": _setter("probes", "probes", _probes, "probes.ics.every=50, probes=none …"),
    "set": _setter("settings", "", _all, "name=value …"),
    "pause": Verb("pause", frozenset({"running"}), _bare(Pause)),
    "resume": Verb("resume", frozenset({"paused"}), _bare(Resume)),
    "restart": Verb("restart", ENDED, None, hint="nothing to type"),
    "step": Verb("step", WORKING, _step, lambda spec: ("1", "10", "100"), "number of steps"),
    "checkpoint": Verb("checkpoint", WORKING, _bare(Checkpoint)),
    "evaluate": Verb("evaluate", WORKING, _bare(Evaluate)),
    "note": Verb("note", AHEAD, _note, hint="note text, added to the journal"),
    "stop": Verb("stop", AHEAD, _bare(Stop)),
    "fork": Verb("fork", WORKING | ENDED | {"finished", "diverged"}, None, _fork, "norm=l2 noise=on … @step"),
}
"""All verbs by name. A new verb needs an entry here and one in `bntui.actions`."""


def error_line(error: Exception) -> str:
    """What is wrong with the typed text, in one line."""
    problems: Any = getattr(error, "problems", ())
    text = "; ".join(str(problem).removeprefix("set: ") for problem in problems) or str(error)
    return escape_control(text.splitlines()[0] if text else type(error).__name__)
