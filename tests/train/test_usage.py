"""What a process takes of its machine, read at heartbeats: what is known, and training as without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from store.factories import empty_run

from bncore.bench.train import trainer
from bncore.config.probes import Probes
from bncore.measures import MACHINE as MEASURES
from bncore.store.journal import read_events
from bncore.store.machine_log import MACHINE
from bncore.store.paths import RunDir
from bncore.store.reader import read
from bncore.store.status import read_status
from bncore.train import heartbeat as heartbeat_module
from bncore.train import usage as machine_module
from bncore.train.checkpoint import params_sha256
from bncore.train.usage import PARTS, Gpu, Machine, Sections, find_gpu, process_figures
from train.factories import dln_spec

GPU_FIGURES = {"gpu_use": 0.75, "gpu_memory": 512.0, "gpu_power": 250.0, "gpu_temperature": 61.0}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return empty_run(tmp_path / "run-s0")


class NVMLError(Exception):
    """As pynvml's."""


def nvml(**changes: Any) -> Any:
    """A stand-in for `pynvml` that knows one GPU, ``GPU-abc``."""

    def by_uuid(uuid: str) -> str:
        if uuid != "GPU-abc":
            raise NVMLError(uuid)
        return "handle"

    known = {
        "NVMLError": NVMLError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=75),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=512 * 2**20),
        "nvmlDeviceGetPowerUsage": lambda handle: 250_000,
        "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
    }
    return SimpleNamespace(**known | changes)


def refuse(*_: object) -> Any:
    raise NVMLError


# Where time goes


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(0, 3), st.integers(0, 9)), max_size=12))
def test_seconds_are_those_of_the_innermost_part(visits: list[tuple[Any, int, int]]) -> None:
    """Each visit goes into a part, as deep as it says inside those of the visits before it."""
    clock = SimpleNamespace(now=0.0)
    sections, wanted = Sections(clock=lambda: clock.now), dict.fromkeys(PARTS, 0.0)
    opened: list[tuple[str, Any]] = []
    for part, depth, seconds in visits:
        while len(opened) > depth:
            opened.pop()[1].__exit__(None, None, None)
        context = sections(part)
        context.__enter__()
        opened.append((part, context))
        clock.now += seconds
        wanted[part] += seconds
        assert sections.seconds() == wanted, "also of what is under way"
    while opened:
        opened.pop()[1].__exit__(None, None, None)
    clock.now += 5
    assert sections.seconds() == wanted


def test_a_part_is_left_where_it_raises() -> None:
    clock = SimpleNamespace(now=0.0)
    sections = Sections(("step",), clock=lambda: clock.now)
    with pytest.raises(ZeroDivisionError), sections("step"):
        clock.now += 1
        raise ZeroDivisionError
    clock.now += 1
    assert sections.seconds() == {"step": 1.0}


# Figures


def test_this_process_has_memory_and_threads() -> None:
    figures = process_figures()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert figures["os_threads"] == int(status["Threads"])
    assert figures["rss"] == pytest.approx(int(status["VmRSS"].split()[0]) / 1024, rel=0.1)


def test_where_the_system_does_not_tell_figures_are_absent(tmp_path: Path) -> None:
    assert process_figures(tmp_path) == {}


def test_a_gpu_tells_its_figures() -> None:
    assert Gpu(nvml(), "handle").figures() == GPU_FIGURES


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("nvmlDeviceGetUtilizationRates", "gpu_use"),
        ("nvmlDeviceGetPowerUsage", "gpu_power"),
        ("nvmlDeviceGetTemperature", "gpu_temperature"),
    ],
)
def test_what_a_gpu_does_not_tell_is_absent_and_never_zero(question: str, missing: str) -> None:
    figures = Gpu(nvml(**{question: refuse}), "handle").figures()
    assert figures == {name: value for name, value in GPU_FIGURES.items() if name != missing}


@pytest.mark.parametrize(
    ("module", "uuid", "found"),
    [
        (nvml(), "abc", True),
        (nvml(), "other", False),
        (nvml(nvmlInit=refuse), "abc", False),
        (None, "abc", False),
    ],
    ids=["known", "unknown", "no driver", "not installed"],
)
def test_a_gpu_is_found_by_its_uuid(
    monkeypatch: pytest.MonkeyPatch, module: Any, uuid: str, found: bool
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    assert (find_gpu(torch.device("cuda:0")) is not None) is found
    assert find_gpu(torch.device("cpu")) is None


def test_a_record_is_of_the_time_since_the_one_before(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=7.0, cpu=1.0)
    clocks = {"perf_counter": lambda: clock.now, "process_time": lambda: clock.cpu}
    monkeypatch.setattr(machine_module, "time", SimpleNamespace(**clocks))
    machine = Machine(run)
    machine.sections = Sections(clock=lambda: clock.now)
    machine.restart_at(100)
    with machine.sections("step"):
        clock.now, clock.cpu = clock.now + 3, clock.cpu + 6
    clock.now += 1
    shares = dict.fromkeys((f"time_{part}" for part in PARTS), 0.0)
    figures = machine.record(110)
    assert figures == process_figures() | shares | {
        "steps_per_second": 2.5, "cpu": 1.5, "time_step": 0.75, "rss": figures["rss"],
    }  # fmt: skip
    clock.now += 2
    idle = machine.record(108)
    assert idle == process_figures() | shares | {"steps_per_second": 0, "cpu": 0, "rss": idle["rss"]}
    assert {*idle, *GPU_FIGURES} == {measure.key for measure in MEASURES}
    machine.close()


def test_lines_are_written_as_steps_are_made(run: RunDir) -> None:
    machine = Machine(run, ("step", "probes"))
    machine.gpu = Gpu(nvml(), "handle")
    for step in (0, 0, 5, 5, 7):
        machine.record(step)
    machine.close()
    columns = read_machine(run)
    assert columns.series(MACHINE, "steps_per_second").steps.tolist() == [5, 7]
    assert {"time_step", "time_probes", *GPU_FIGURES} <= set(columns.fields(MACHINE))
    assert "time_data" not in columns.fields(MACHINE), "nobody knows it"


def read_machine(run: RunDir) -> Any:
    run.journal_file.write_bytes(b'{"type": "start", "step": 0}\n')
    return read(run).advance()


def test_what_cannot_be_recorded_costs_only_the_record(run: RunDir) -> None:
    run.machine_file.mkdir()
    machine = Machine(run)
    assert "cpu" in machine.record(3)
    machine.close()


# Training


@pytest.fixture
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(heartbeat_module, "HEARTBEAT_S", 0.005)
    yield


@pytest.mark.usefixtures("quick_heartbeats")
def test_recording_changes_nothing_that_is_computed_or_journaled() -> None:
    probes = Probes.model_validate({"ics": {"every": 3}, "sharpness": {"every": 5}})
    spec = dln_spec(steps=60, probes=probes)
    found = []
    for recording in (True, False):
        with trainer(spec, recording=recording) as made:
            made.run_dir.checkpoints.mkdir()
            assert made.run() == "finished"
            events = read_events(made.run_dir.journal_file)
            events = [{k: v for k, v in event.items() if k not in ("seq", "t")} for event in events]
            found.append((params_sha256(made.session.net), events))
            status = read_status(made.run_dir)
            assert status is not None
            assert bool(status.machine) is recording
            assert made.run_dir.machine_file.exists() is recording
            if recording:
                shares = made.session.sections.seconds()
                assert all(shares[part] > 0 for part in PARTS), "every part of a run is counted"
    assert found[0] == found[1]
