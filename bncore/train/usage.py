"""A process's use of its machine, read at every heartbeat: processor, memory, GPU, and time by part of work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from bncore.store.errors import StoreError
from bncore.store.machine_log import MachineLog
from bncore.store.paths import RunDir

SectionName = Literal["data", "step", "probes", "evaluation", "checkpoints"]
PARTS: tuple[SectionName, ...] = get_args(SectionName)


class Sections:
    """Measures the time spent in each part. Nested parts count only for the inner one. Only one thread may enter
    parts; any thread may read.

    No measurement synchronizes with the device: queued GPU work counts for the part in which the host waits for
    it.

    Arguments:
        parts: the parts to measure.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self, parts: Sequence[SectionName] = PARTS, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._parts = parts
        seconds: dict[SectionName | None, float] = dict.fromkeys((None, *parts), 0.0)
        self._state: tuple[SectionName | None, float, dict[SectionName | None, float]]
        self._state = None, clock(), seconds  # replaced as a whole, for readers in other threads

    @contextmanager
    def __call__(self, part: SectionName) -> Iterator[None]:
        """A context whose time counts for `part`."""
        outer = self._enter(part)
        try:
            yield
        finally:
            self._enter(outer)

    def seconds(self) -> dict[SectionName, float]:
        """Seconds spent in each part so far."""
        inside, since, seconds = self._state
        seconds = {**seconds, inside: seconds[inside] + self._clock() - since}
        return {part: seconds[part] for part in self._parts}

    def _enter(self, part: SectionName | None) -> SectionName | None:
        """Count time for another part from now on; returns the previous one."""
        now = self._clock()
        inside, since, seconds = self._state
        self._state = part, now, {**seconds, inside: seconds[inside] + now - since}
        return inside


MIB = 2**20
DIGITS = 5
"""Significant digits of every figure."""

Figures = dict[str, float]
"""Figures by field of the table ``machine`` (`bncore.measures`); unknown ones are absent."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The counters at one moment."""

    at: float
    step: int
    cpu: float
    """Processor time of all threads, in seconds."""
    parts: dict[SectionName, float]

    def since(self, before: _Reading) -> Figures:
        """Increases per second since `before`; empty if no time has passed."""
        wall = self.at - before.at
        figures = {"cpu": self.cpu - before.cpu, "steps_per_second": max(0, self.step - before.step)}
        figures |= {f"time_{part}": seconds - before.parts[part] for part, seconds in self.parts.items()}
        return {name: value / wall for name, value in figures.items()} if wall > 0 else {}


class Machine:
    """Records this process's use of its machine.

    Arguments:
        run: the run directory, owned by this process.
        parts: the parts of its work whose time is recorded.
        fence: as for `MachineLog`.
    """

    def __init__(self, run: RunDir, parts: Sequence[SectionName] = PARTS, *, fence: bool = False) -> None:
        self.gpu: Gpu | None = None
        """The GPU that the process uses, once known."""
        self.sections = Sections(parts)
        """Context managers to enter around each part of the work."""
        self._log: MachineLog | None = None
        with suppress(OSError, StoreError):  # the run matters more than its figures
            self._log = MachineLog(run.machine_file, fence=fence)
        self._last = self._logged = self._read(0)
        self._beats = 0

    def restart_at(self, step: int) -> None:
        """Count steps and time from here."""
        self._last = self._logged = self._read(step)
        self._beats = 0

    def record(self, step: int) -> Figures:
        """The figures since the last call. Also writes a line if one is due and updates were made since the last
        one."""
        now, present = self._read(step), self._present()
        figures, self._last = now.since(self._last) | present, now
        self._beats += 1
        log = self._log if step != self._logged.step else None
        if log and self._beats >= log.every and log.append(step, _rounded(now.since(self._logged) | present)):
            self._logged, self._beats = now, 0
        return _rounded(figures)

    def close(self) -> None:
        """Close the log; no further lines are written."""
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def _read(self, step: int) -> _Reading:
        return _Reading(time.perf_counter(), step, time.process_time(), self.sections.seconds())

    def _present(self) -> Figures:
        return process_figures() | (self.gpu.figures() if self.gpu is not None else {})


def process_figures(proc: Path = Path("/proc/self")) -> Figures:
    """Resident memory in MiB and number of threads; empty if the system has no such directory."""
    try:
        pages = int((proc / "statm").read_bytes().split()[1])
        threads = len(list((proc / "task").iterdir()))
    except (OSError, ValueError, IndexError):
        return {}
    return {"rss": pages * os.sysconf("SC_PAGE_SIZE") / MIB, "os_threads": threads}


_OF_A_GPU: dict[str, Callable[[Any, Any], float]] = {
    "gpu_use": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    "gpu_memory": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used / MIB,
    "gpu_power": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "gpu_temperature": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
}


class Gpu:
    """One GPU, including its use by other processes, according to NVIDIA's management library.

    Arguments:
        nvml: the module `pynvml` (from the package nvidia-ml-py).
        handle: the GPU's NVML handle.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def figures(self) -> Figures:
        """Utilization, memory, power and temperature; figures that the GPU does not report are absent."""
        figures: Figures = {}
        for name, ask in _OF_A_GPU.items():
            with suppress(self._nvml.NVMLError):
                figures[name] = ask(self._nvml, self._handle)
        return figures


def find_gpu(device: torch.device) -> Gpu | None:
    """The GPU of a CUDA device; None for other devices, and if nvidia-ml-py is not installed or cannot find it."""
    if device.type != "cuda":
        return None
    try:
        import pynvml  # noqa: PLC0415 - optional
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no NVIDIA driver
        return None
    uuid = torch.cuda.get_device_properties(device).uuid
    for kind in ("GPU", "MIG"):
        with suppress(pynvml.NVMLError):
            return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}"))
    return None


def _rounded(figures: Figures) -> Figures:
    return {name: float(f"{value:.{DIGITS}g}") for name, value in figures.items()}
