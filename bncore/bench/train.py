"""`bnrun bench train`: our loop compared with a hand-written PyTorch loop of the same network and optimizer."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bncore.bench import handwritten
from bncore.bench.timing import Row, Work, beside, peak_bytes, seconds, times
from bncore.config.base import ConfigModel
from bncore.config.model import DLN, VGG, Evaluation, GaussianData, Loss, Noise, Norm, Optim, Spec
from bncore.data.resident import load
from bncore.nets import ForwardMode, NormPosition
from bncore.probes.run import ProbeRunner
from bncore.store.journal import Journal
from bncore.store.owner import acquire
from bncore.store.paths import RunDir
from bncore.store.status import HEARTBEAT_S
from bncore.train.async_steps import steps_ahead
from bncore.train.control import Signals
from bncore.train.heartbeat import Heartbeat
from bncore.train.request_source import POLL_S, Requests
from bncore.train.state import TrainState, layout_of
from bncore.train.step_graphs import graphs_of
from bncore.train.trainer import Trainer
from bncore.train.usage import Machine, SectionName, Sections
from bncore.train.worker import configure_backends

NEVER = 10**6
NAN = float("nan")
LP = tuple((norm, fused) for norm in ("l1", "l2", "linf", "lp:3") for fused in (False, True))
"""The l_p norms, plain and with the fused GPU kernels."""


def vgg_spec(kind: str, *, norm: str = "batch", device: str = "cpu") -> Spec:
    """VGG at full width, batch 128, plain SGD with a harmless learning rate, on synthetic images."""
    table = {
        "steps": NEVER,
        "device": device,
        "data": {"source": "synthetic"},
        "net": {"kind": kind},
        "norm": {"kind": norm},
        "optim": {"lr": 0.01},
        "eval": {"every": 0},
        "checkpoint": {"every_minutes": 0.0},
    }
    return Spec.model_validate(table)


def dln_spec(*, norm: str = "batch", device: str = "cpu") -> Spec:
    """The 25-layer deep linear network at the paper's size, with a harmless learning rate."""
    return Spec(
        steps=NEVER,
        batch_size="full",
        precision="float64",
        device=device,
        data=GaussianData(),
        net=DLN(),
        norm=Norm(kind=norm, bias=False),
        loss=Loss(kind="squared_error", reduction="half_sum"),
        optim=Optim(lr=1e-9),
        log_every=10,
        eval=Evaluation(every=0),  # the hand-written loop does not evaluate either
    )


def spec_of(kind: str, norm: str, device: str) -> Spec:
    if kind == "dln":
        return dln_spec(norm=norm, device=device)
    return vgg_spec(kind, norm=norm, device=device)


class _Uncounted(Sections):
    """Sections that record no time."""

    @contextmanager
    def __call__(self, part: SectionName) -> Iterator[None]:
        yield


@contextmanager
def trainer(spec: Spec, *, polling: bool = True, recording: bool = True) -> Iterator[Trainer]:
    """A real trainer in a temporary run directory, with its threads running.

    Arguments:
        polling: whether the inbox is polled.
        recording: whether machine metrics and time per section are recorded.
    """
    configure_backends(spec)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        run.inbox.mkdir()
        ownership = acquire(run)
        journal = Journal(run.journal_file, ownership.is_valid)
        machine = Machine(run) if recording else None
        heartbeat = Heartbeat(run, ownership, steps=spec.steps, machine=machine)
        requests = Requests(run, journal)
        heartbeat.start()
        if polling:
            requests.start()
        sections = _Uncounted() if machine is None else machine.sections
        session = TrainState(spec, load(spec, spec.device), sections)
        try:
            yield Trainer(
                run,
                session,
                ProbeRunner(spec),
                ahead=steps_ahead(spec.device),
                graphs=graphs_of(session, warnings.warn),
                journal=journal,
                requests=requests,
                heartbeat=heartbeat,
                signals=Signals(),
            )
        finally:
            requests.stop()
            heartbeat.abandon()
            journal.close()


def bench_train(
    kinds: tuple[str, ...] = ("vgg11", "vgg16", "dln"), *, repeats: int = 7, device: str = "cpu"
) -> Iterator[Row]:
    """Speed and peak memory of each network, with and without BatchNorm, on a GPU also with CUDA graphs; then the
    cost of noise and of the l_p norms, and of these norms alone."""
    for kind in kinds:
        for norm in ("batch", "none"):
            yield from _network(kind, norm, repeats, device)
            if device != "cpu":
                yield from _graphed(kind, norm, repeats, device)
    vggs = [kind for kind in kinds if kind != "dln"]
    lp_norms = [Norm(kind=name, fused=fused) for name, fused in LP if not fused or device != "cpu"]
    for kind in vggs:
        what = f"{kind} batch: step with noise, against without"
        yield _changed(what, kind, "<= 1.9 times", repeats, device, noise=Noise(on=True))
        for lp_norm in lp_norms:
            what = f"{kind} {_name(lp_norm)}: step, against batch norm's"
            yield _changed(what, kind, "near 1", repeats, device, norm=lp_norm)
    for lp_norm in lp_norms if vggs else ():
        yield _norm_alone(lp_norm, repeats, device)


def bench_polling(*, repeats: int = 15, steps: int = 200) -> Iterator[Row]:
    """Cost of polling the inbox: the DLN's loop with the polling thread compared with the loop without it, and the
    time of one poll."""
    with trainer(dln_spec()) as ours, trainer(dln_spec(), polling=False) as theirs:
        what, bar = "step of the DLN, inbox polled", "not measurable"
        yield beside(what, ours.advance, theirs.advance, bar, repeats=repeats, steps=steps)
        polls = 200
        poll = seconds(times(ours.requests.poll_inbox, polls)) / polls
    share = f"{100 * poll / POLL_S:.3f} % of a second"
    yield Row(f"one poll, {1 / POLL_S:.0f} per second", 1e6 * poll, NAN, NAN, share, "us")


def bench_recording(*, repeats: int = 15, steps: int = 200) -> Iterator[Row]:
    """Cost of recording machine metrics: the DLN's loop with recording compared with the loop without it, and the
    time of one record."""
    spec = dln_spec()
    with trainer(spec) as ours, trainer(spec, recording=False) as theirs:
        what, bar = "step of the DLN, machine recorded", "not measurable"
        yield beside(what, ours.advance, theirs.advance, bar, repeats=repeats, steps=steps)
    records = 200
    with tempfile.TemporaryDirectory() as folder:
        machine, step = Machine(RunDir(Path(folder))), count(1)
        record = seconds(times(lambda: machine.record(next(step)), records)) / records
        machine.close()
    share = f"{100 * record / HEARTBEAT_S:.3f} % of the time"
    yield Row(f"one record, every {HEARTBEAT_S:.0f} s", 1e6 * record, NAN, NAN, share, "us")


def _network(kind: str, norm: str, repeats: int, device: str) -> Iterator[Row]:
    dln, spec = kind == "dln", spec_of(kind, norm, device)
    steps = 50 if dln or device != "cpu" else 1
    with trainer(spec) as ours:
        yardstick = hand_loop(spec, ours.session)
        name, bar = f"{kind} {norm}", ">= 0.9 of its steps/s" if dln else ">= 0.97 of its steps/s"
        row = beside(
            f"{name}: step", ours.advance, yardstick, bar, repeats=repeats, device=device, steps=steps
        )
        assert ours.position > steps, f"{name}: the loss is not finite; nothing was measured"
        yield row
        memory, reference = peak_bytes(ours.advance, device) / 2**20, peak_bytes(yardstick, device) / 2**20
        bar = "<= 1.05 of its memory"
        yield Row(f"{name}: peak memory", memory, reference, memory / reference, bar, "MiB")


def _graphed(kind: str, norm: str, repeats: int, device: str) -> Iterator[Row]:
    """Steps with CUDA graphs compared with the hand-written loop, with and without a CUDA graph."""
    dln, spec = kind == "dln", spec_of(kind, norm, device)
    steps = 256 if dln else 64  # at least one block of asynchronous steps
    with trainer(spec.model_copy(update={"cuda_graphs": True})) as ours:
        for graphed, bar in (
            (True, ">= 0.98 of its steps/s"),
            (False, ">= 4 times its steps/s" if dln else ""),
        ):
            theirs = hand_loop(spec, ours.session, graphed=graphed)
            what = f"{kind} {norm}: step by a graph, against {'a graph' if graphed else 'none'} by hand"
            yield beside(what, ours.advance, theirs, bar, repeats=repeats, device=device, steps=steps)


def _changed(what: str, kind: str, bar: str, repeats: int, device: str, **tables: ConfigModel) -> Row:
    """A step with other tables of the spec compared with one with torch's fused batch norm and without noise."""
    plain = vgg_spec(kind, device=device)
    with trainer(plain.model_copy(update=tables)) as ours, trainer(plain) as theirs:
        return beside(what, ours.advance, theirs.advance, bar, repeats=repeats, device=device, costs=True)


def _name(norm: Norm) -> str:
    return f"{norm.kind}{' by kernels' if norm.fused else ''}"


def _norm_alone(setting: Norm, repeats: int, device: str) -> Row:
    """Another norm and its gradient compared with torch's fused batch norm, on inputs shaped like the output of
    VGG's first layer."""
    y = torch.randn(128, 64, 32, 32, device=device)
    y = y.contiguous(memory_format=layout_of("auto", torch.device(device)))
    grad = torch.ones_like(y)

    def both_ways(setting: Norm) -> Work:
        norm = NormPosition(64, positions=True, setting=setting, dtype=torch.float32).to(device)
        inputs = y.detach().requires_grad_()
        wanted = (inputs, norm.weight, norm.bias)
        return lambda: torch.autograd.grad(norm(inputs, ForwardMode()), wanted, grad)

    ours, theirs = both_ways(setting), both_ways(Norm())
    steps = 1 if device == "cpu" else 50
    what = f"{_name(setting)} alone, forth and back, against batch norm"
    return beside(what, ours, theirs, "near 1", repeats=repeats, device=device, steps=steps, costs=True)


def hand_loop(spec: Spec, session: TrainState, *, graphed: bool = False) -> Work:
    """A function that makes one step of the hand-written loop on the same data, as a CUDA graph if `graphed`."""
    data, lr = session.data, spec.optim.lr
    batch_norm = spec.norm.kind == "batch"
    if isinstance(spec.net, DLN):
        net = handwritten.dln(spec.net.depth, spec.net.width, batch_norm=batch_norm).to(spec.device)
        whole = data.train_inputs, data.train_targets

        def half_sum(outputs: Tensor, targets: Tensor) -> Tensor:
            return 0.5 * F.mse_loss(outputs, targets, reduction="sum")

        loop = _loop(net, half_sum, lr, whole if graphed else None)
        return lambda: loop(*whole)
    assert isinstance(spec.net, VGG) and isinstance(spec.batch_size, int)
    net = handwritten.vgg(spec.net.kind, spec.net.width, batch_norm=batch_norm).to(spec.device)
    net = net.to(memory_format=session.layout)  # the same layout for both loops
    batches = handwritten.batches(data.train_inputs, data.train_targets, spec.batch_size)

    def batch() -> tuple[Tensor, Tensor]:
        inputs, targets = next(batches)
        return inputs.contiguous(memory_format=session.layout), targets

    step = _loop(net, nn.CrossEntropyLoss(), lr, batch() if graphed else None)
    return lambda: step(*batch())


def _loop(
    net: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    lr: float,
    batch: tuple[Tensor, Tensor] | None,
) -> Callable[[Tensor, Tensor], object]:
    if batch is None:
        return handwritten.training_loop(net, criterion, lr)
    return handwritten.graphed_loop(net, criterion, lr, batch)
