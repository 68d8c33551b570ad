"""Properties are tested without a clock: a busy machine must not fail them. Without a GPU, kernels are
interpreted."""

from __future__ import annotations

import os

import torch
from hypothesis import HealthCheck, settings

settings.register_profile("bnrun", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bnrun")

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
