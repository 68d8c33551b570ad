"""One run as a process: ``python -m bncore.train.worker RUN_DIR`` trains it to its end, resuming if it has begun.

Exit codes: 0 finished, diverged or stopped by request; 1 failed; 2 refused (invalid spec, or held by another
process); 75 checkpointed and requeued in Slurm; 130 and 143 checkpointed after SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import orjson
import torch

from bncore.config.change import Changes, changed
from bncore.config.errors import SpecError
from bncore.config.model import Spec
from bncore.config.toml import resolved_spec_from_toml
from bncore.data import DataError
from bncore.data.dataset import Dataset
from bncore.data.resident import load
from bncore.probes.probe_graphs import ProbeGraphs
from bncore.probes.run import ProbeRunner
from bncore.store.commands import DropRequest
from bncore.store.dropped_requests import dropped_ids, last_applied, why_not
from bncore.store.errors import AlreadyOwnedError, StoreError
from bncore.store.files import replace_file
from bncore.store.journal import SCHEMA, Journal, read_events
from bncore.store.lineage import Lineage, read_lineage
from bncore.store.log import LOGGER, log_to_stderr
from bncore.store.owner import Owner, Ownership, acquire
from bncore.store.paths import RunDir, list_checkpoints, meta_of
from bncore.store.replay_diff import MOVED, environment_diff
from bncore.store.requests import halting, may_ask, waiting
from bncore.store.status import find_stalled, read_status
from bncore.train import checkpoint
from bncore.train.async_steps import steps_ahead
from bncore.train.control import Signals, end_with_parent
from bncore.train.environment import environment
from bncore.train.heartbeat import Heartbeat
from bncore.train.request_source import START, Requests, ResumePoint, journal_request
from bncore.train.slurm_task import SHORT_SILENCE_S, SlurmTask
from bncore.train.state import TrainState
from bncore.train.step_graphs import graphs_of
from bncore.train.trainer import Trainer
from bncore.train.usage import Machine, find_gpu

OK, FAILED, REFUSED, REQUEUED = 0, 1, 2, 75
SYNTHETIC = "trained on synthetic images, not on CIFAR-10"


def main(
    arguments: list[str] | None = None, *, signals: Signals | None = None, task: SlurmTask | None = None
) -> int:
    """Run the worker; returns its exit code.

    Arguments:
        signals: handlers already installed by the caller; None: install them here.
        task: the Slurm task in which this process runs; None outside Slurm.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bncore.train.worker", description="Train one run directory."
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--force", action="store_true", help="take the run from its present holder")
    parser.add_argument("--supervisor", type=int, help="end, checkpointed, when this parent process dies")
    parser.add_argument(
        "--stale", nargs="*", help="ids of requests to an earlier process  [default: what waits at the start]"
    )
    options = parser.parse_args(arguments)
    if signals is None:
        signals = Signals()
        signals.install()
    if options.supervisor is not None and not end_with_parent(options.supervisor):
        return 128 + signal.SIGTERM  # touch nothing: another process may already hold the run
    log_to_stderr()
    run = RunDir(options.run.resolve())
    try:
        spec = resolved_spec_from_toml(run.spec_file)
        ownership = _acquire(run, task, force=options.force)
    except (SpecError, AlreadyOwnedError) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    stale = [] if task and task.restarts else halting(run) if options.stale is None else options.stale
    try:
        return _train(run, spec, ownership, signals, task, stale=stale)
    except AlreadyOwnedError as error:  # taken over: touch nothing in this run any more
        sys.stderr.write(f"{error}\n")
        return FAILED
    finally:
        ownership.release()


def _acquire(run: RunDir, task: SlurmTask | None, *, force: bool) -> Ownership:
    def silent(holder: Owner) -> bool:
        if task is not None and task.restarted_after(holder) and find_stalled([run], seconds=SHORT_SILENCE_S):
            return True
        return bool(find_stalled([run]))

    name, restarts = (task.name, task.restarts) if task is not None else ("", 0)
    return acquire(run, force=force, silent=silent, task=name, restarts=restarts)


def _train(
    run: RunDir,
    spec: Spec,
    ownership: Ownership,
    signals: Signals,
    task: SlurmTask | None,
    *,
    stale: list[str],
) -> int:
    before = read_status(run)
    machine = Machine(run, fence=ownership.contested)
    heartbeat = Heartbeat(
        run, ownership, steps=spec.steps, step=before.step if before else 0, machine=machine
    )
    requests: Requests | None = None
    try:
        heartbeat.start()
        configure_backends(spec)
        LOGGER.info("process %d on %s, device %s", os.getpid(), ownership.holder.host, spec.device)
        with machine.sections("data"):
            data = load(spec, spec.device)
        machine.gpu = find_gpu(torch.device(spec.device))
        session = TrainState(spec, data, machine.sections)
        graphs = graphs_of(session, LOGGER.warning)
        probes = ProbeRunner(spec, ProbeGraphs(graphs.recorder, LOGGER.warning))
        journal = Journal(run.journal_file, ownership.is_valid, fence=ownership.contested)
        lineage = read_lineage(run)
        if ended := next((event for event in journal.events if event["type"] == "finished"), None):
            heartbeat.step = ended["step"]
            heartbeat.stop(ended["state"])
            return OK
        drop_requests(run, journal)
        resume_point = _begin(run, session, probes, journal, lineage)
        _write_meta(run, data, torch.device(spec.device), journal, resume_point.step)
        requests = Requests(run, journal, lineage, resume_point)
        requests.start()
        if journal.events:  # the run was resumed
            requests.reject_stale(resume_point.step, stale)
        heartbeat.restart_at(resume_point.step)
        trainer = Trainer(
            run,
            session,
            probes,
            resume_point,
            until=lineage.until if lineage is not None else None,
            ahead=steps_ahead(spec.device),
            graphs=graphs,
            journal=journal,
            requests=requests,
            heartbeat=heartbeat,
            signals=signals,
        )
        end = trainer.run()
    except AlreadyOwnedError:
        heartbeat.abandon()
        raise
    except Exception as error:
        expected = isinstance(error, DataError | StoreError)
        hint = "" if expected else resume_hint(run)
        message = str(error) if expected else f"{type(error).__name__}: {error}{hint}"
        heartbeat.stop("failed", message)
        with suppress(OSError):  # on a full disk, the log cannot be written either
            sys.stderr.write("" if expected else traceback.format_exc())
            sys.stderr.write(f"{message}\n" if expected or hint else "")
            sys.stderr.flush()
        return FAILED
    finally:
        if requests is not None:
            requests.stop()
    if end in ("interrupted", "stopped"):
        LOGGER.info("step %d: %s", heartbeat.step, end)
    if end == "interrupted":
        return _interrupted(heartbeat, signals, task)
    heartbeat.stop(end)
    return OK


def drop_requests(run: RunDir, journal: Journal) -> None:
    """Journal all waiting requests to drop a request as applied or rejected, and remove their files."""
    answered = {event["id"] for event in journal.events if event["type"] == "request"}
    for request in waiting(run):
        if not isinstance(request.command, DropRequest):
            continue
        with suppress(OSError):  # just withdrawn
            if not may_ask(request.path.stat().st_uid, run.inbox):
                continue  # set aside later, like all requests from that user
            if request.id not in answered:
                reason = why_not(journal.events, request.command.request)
                step = journal.events[-1]["step"] if journal.events else 0
                journal.events.append(journal_request(journal, request, step, reason=reason))
            request.path.unlink(missing_ok=True)


def resume_hint(run: RunDir) -> str:
    """Advice on a failed run, for its error message; empty if no request was applied just before the failure."""
    with suppress(StoreError):
        event = last_applied(read_events(run.journal_file))
        if event is not None:
            ident = event["id"][:8]
            return f" (after request {ident}: `bnrun resume --drop-request {ident}` resumes without it)"
    return ""


def _interrupted(heartbeat: Heartbeat, signals: Signals, task: SlurmTask | None) -> int:
    """Write the status after a signal, requeueing the Slurm task if needed; returns the exit code. The run is
    still held, so no other process has started it."""
    if task is not None and signals.received == signal.SIGUSR2:
        refused = task.requeue()
        if not refused:
            heartbeat.stop("queued", "checkpointed before its time was over; back in Slurm's queue")
            return REQUEUED
        heartbeat.stop("stopped", f"not requeued: {refused}; `bnrun resume` continues")
    elif task is not None and task.was_requeued():
        heartbeat.stop("queued", "checkpointed; requeued by Slurm")
    else:
        heartbeat.stop("stopped", "interrupted; `bnrun resume` continues")
    return 128 + (signals.received or 0)


def configure_backends(spec: Spec) -> None:
    """Configure this process's arithmetic according to the spec: the number of CPU threads, and on a GPU IEEE
    float32 unless the spec asks for TF32, which cuDNN would use by default."""
    if isinstance(spec.threads, int):
        torch.set_num_threads(spec.threads)
    precision: Literal["tf32", "ieee"] = "tf32" if spec.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]  # set dynamically by torch
    if spec.device.startswith("cuda"):
        _choose_algorithms()


def _choose_algorithms() -> None:
    """Select deterministic algorithms: cuDNN and cuBLAS may otherwise choose ones that add in varying order.

    An operation without a deterministic algorithm in torch is logged, not refused. Max-pooling is one of them,
    although its backward pass sums nothing if the windows do not overlap.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads uninitialized memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set dynamically by torch


def _begin(
    run: RunDir, session: TrainState, probes: ProbeRunner, journal: Journal, lineage: Lineage | None
) -> ResumePoint:
    """Restore the session to the point where the run resumes, and journal the start."""
    resume_point = _restore(run, session, probes, dropped_ids(journal.events))
    if lineage is not None and resume_point.step < lineage.step:
        raise StoreError(
            f"{run.checkpoints}: no valid checkpoint of step {lineage.step}, where it was forked"
        )
    measured = lineage.measured if lineage is not None else ()
    journal.expect(resume_point.events_ahead(journal.events), measured)
    if journal.events:
        journal.append("start", resume_point.step, resumed=True)
    else:
        about = {"data": session.data.title, "train_samples": len(session.data.train_inputs)}
        journal.append("start", resume_point.step, schema=SCHEMA, title=session.spec.title, **about)
    # A process killed after its first event has not journaled these.
    journaled = {event.get("text", event["type"]) for event in journal.events}
    if lineage is not None and (lineage.kind == "fork" or lineage.step) and "parent" not in journaled:
        journal.append("parent", resume_point.step, run=lineage.run, at=lineage.at)
    if session.data.source == "synthetic" and SYNTHETIC not in journaled:
        journal.append("warning", resume_point.step, text=SYNTHETIC)
    for notice in session.data.notices:
        if notice not in journaled:
            journal.append("warning", resume_point.step, text=notice)
    return resume_point


def _restore(run: RunDir, session: TrainState, probes: ProbeRunner, dropped: frozenset[str]) -> ResumePoint:
    """Load the newest checkpoint that is intact and includes no dropped request; without one, keep the state at
    initialization."""
    run.checkpoints.mkdir(exist_ok=True)
    as_submitted = session.spec
    for file in reversed(list_checkpoints(run.checkpoints)):
        try:
            step, state = checkpoint.load(file.path, session.spec.device)
        except checkpoint.CheckpointError as error:
            LOGGER.warning("%s; set aside, trying the one before", error)
            checkpoint.set_aside(file.path)
            continue
        if dropped.intersection(state.get("requests", ())):
            LOGGER.warning("%s: contains a dropped request; set aside, trying the previous one", file.path)
            checkpoint.set_aside(file.path)
            continue
        try:
            changes: Changes = state.get("changes", {})
            session.change(changed(as_submitted, changes) if changes else as_submitted)
            session.load_state_dict(state)
            probes.load_state_dict(state["probes"])
        except (ValueError, KeyError, RuntimeError) as error:
            raise StoreError(f"{file.path}: does not fit this run: {error}") from error
        return ResumePoint(
            step,
            changes,
            tuple(state.get("requests", ())),
            bool(state.get("evaluated", False)),
            copied=file.why == "parent",
        )
    session.change(as_submitted)
    return START


def _write_meta(run: RunDir, data: Dataset, device: torch.device, journal: Journal, step: int) -> None:
    """Write ``meta.json``, and journal a warning if the environment differs from that of the previous process."""
    meta: dict[str, Any] = environment(device)
    meta["data"] = {"source": data.source, "title": data.title, "fingerprint": data.fingerprint}
    before = meta_of(run)
    moved = environment_diff(before, orjson.loads(orjson.dumps(meta))) if before else []
    replace_file(run.meta_file, orjson.dumps(meta, option=orjson.OPT_INDENT_2))
    if moved:
        journal.append("warning", step, text=MOVED + "; ".join(moved))


if __name__ == "__main__":
    sys.exit(main())
