"""Properties are tested without a clock: a busy machine must not fail them. Without a GPU, kernels are
interpreted. Programs are forked, and have a cache of the tests. Synthetic images are made once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import cache

import forked
import pytest
import torch
from hypothesis import HealthCheck, settings

from bncore.data import resolve
from bncore.store.log import LOGGER

settings.register_profile("bnrun", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bnrun")
resolve.synthetic_images = cache(resolve.synthetic_images)
forked.install()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
os.environ["OMP_NUM_THREADS"] = "1"  # programs that are started
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """These tensors are small: more threads spin, and rounding then depends on the machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A command that a test calls in this process sends the log to standard error: not beyond that test."""
    handlers, level, propagate = LOGGER.handlers, LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers, LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is put into the cache of whoever runs the tests, and none of their runs is seen."""
    with pytest.MonkeyPatch.context() as patch:  # before the first program: its server keeps it
        patch.setenv("BNRUN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("BNRUN_ROOT", raising=False)
        yield
