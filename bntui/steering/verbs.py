"""What can be asked of runs: one row for each, with what may be typed and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bncore.config.change import parse_changes
from bncore.config.errors import Problem, SpecError, escape_control
from bncore.config.kinds import NORM_KINDS
from bncore.config.model import Spec
from bncore.store.requests import Checkpoint, Command, Evaluate, Note, Pause, Resume, Set, Step, Stop

Options = Callable[[Spec | None], tuple[str, ...]]
Typed = tuple[list[str], int | None]
"""The words of what was typed, and the step after the ``@``."""

WORKING = frozenset({"running", "paused"})
AHEAD = WORKING | {"queued"}
"""States in which a run will still hear a request."""
ENDED = frozenset({"stopped", "dead", "failed"})
"""States from which a run can be restarted where it was."""


@dataclass(frozen=True)
class Verb:
    """One thing that can be asked."""

    title: str
    asks: frozenset[str]
    """States of the runs that it can be asked of."""
    command: Callable[[Typed], Command] | None
    """The request that a text means; None where it is no request but a command line of `bnrun`."""
    options: Options = lambda spec: ()
    """Texts to choose among, for a run with this spec; the first is offered."""
    hint: str = ""
    """What may be typed."""


def words(text: str) -> Typed:
    """What was typed, in words: ``norm=l1 @5000`` is `norm=l1` at step 5000.

    Raises:
        SpecError: an ``@`` without a step.
    """
    found, at = [], None
    for word in text.split():
        if not word.startswith("@"):
            found.append(word)
        elif word[1:].isascii() and word[1:].isdecimal() and len(word) < 20:
            at = int(word[1:])
        else:
            raise SpecError([Problem("at", "", word, "@ and a step, such as @5000")])
    return found, at


def _set(name: str) -> Callable[[Typed], Command]:
    """Of a change in which a value that stands alone is that of the setting `name`."""

    def made(typed: Typed) -> Command:
        settings, at = typed
        alone = [word for word in settings if "=" not in word]
        if not settings:
            raise SpecError([Problem("set", "", message="nothing to change; expected path=value")])
        if len(alone) > 1:
            raise SpecError([Problem("set", name, " ".join(alone), "one value")])
        named = [word if "=" in word else f"{name}={word}" for word in settings]
        return Set(changes=parse_changes(named), at_step=at)

    return made


def _step(typed: Typed) -> Command:
    said, at = typed
    count = " ".join(said) or "1"
    if not (count.isascii() and count.isdecimal() and len(count) < 16 and int(count) > 0):
        raise SpecError([Problem("step", "", count, "how many updates, such as 10")])
    return Step(count=int(count), at_step=at)


def _note(typed: Typed) -> Command:
    said, at = typed
    text = " ".join(said)
    if not text or len(text) > 4096:
        raise SpecError([Problem("note", "", message="1 to 4096 characters")])
    return Note(text=text, at_step=at)


def _bare(kind: type[Pause | Resume | Checkpoint | Evaluate | Stop]) -> Callable[[Typed], Command]:
    """Of a command that says nothing but when."""

    def made(typed: Typed) -> Command:
        said, at = typed
        if said:
            raise SpecError([Problem(kind.__name__.lower(), "", " ".join(said), "nothing, or @ and a step")])
        return kind(at_step=at)

    return made


def _noise(spec: Spec | None) -> tuple[str, ...]:
    if spec is None:
        return ("noise=on", "noise=off")
    noise = spec.noise
    amplitude = " ".join(
        f"noise.{name}={getattr(noise, name):g}" for name in ("n_mu", "n_sigma", "r_mu", "r_sigma")
    )
    switch = ("noise=off", "noise=on") if noise.on else ("noise=on", "noise=off")
    return (*switch, f"noise=on {amplitude}")


def _norm(spec: Spec | None) -> tuple[str, ...]:
    now = spec.norm.kind if spec else ""
    kinds = (*NORM_KINDS, "lp:3")
    return tuple(f"norm={kind}" for kind in kinds if kind != now)


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
    return (_norm(spec)[0], *_norm(spec)[1:6], _noise(spec)[0], _lr(spec)[0])


VERBS: dict[str, Verb] = {
    "noise": Verb("noise", AHEAD, _set("noise"), _noise, "on, off, noise.n_mu=0.5 …"),
    "norm": Verb("norm", AHEAD, _set("norm"), _norm, "l1, lp:3, norm.centred=on …"),
    "lr": Verb("learning rate", AHEAD, _set("lr"), _lr, "0.05"),
    "probes": Verb("probes", AHEAD, _set("probes"), _probes, "probes.ics.every=50, probes=none …"),
    "pause": Verb("pause", frozenset({"running"}), _bare(Pause)),
    "resume": Verb("go on", frozenset({"paused"}), _bare(Resume)),
    "restart": Verb("restart", ENDED, None),
    "step": Verb("step", WORKING, _step, lambda spec: ("1", "10", "100"), "how many updates"),
    "checkpoint": Verb("checkpoint", WORKING, _bare(Checkpoint)),
    "evaluate": Verb("evaluate", WORKING, _bare(Evaluate)),
    "note": Verb("note", AHEAD, _note, hint="a remark, kept in the journal"),
    "stop": Verb("stop", AHEAD, _bare(Stop)),
    "fork": Verb("fork", WORKING | ENDED | {"finished", "diverged"}, None, _fork, "norm=l2 noise=on … @step"),
}
"""A new one is a row here and a row in `bntui.actions`."""


def complaint(error: Exception) -> str:
    """What is wrong with what was typed, on one line."""
    problems: Any = getattr(error, "problems", ())
    text = "; ".join(str(problem).removeprefix("set: ") for problem in problems) or str(error)
    return escape_control(text.splitlines()[0] if text else type(error).__name__)
