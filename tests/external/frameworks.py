"""Trainings by frameworks; as a program, in one of several processes: ``frameworks FRAMEWORK FOLDER``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bncore.store.commands import Stop
from bncore.store.requests import send_request
from bncore.train.checkpoint import params_sha256

LR, BATCHES = 0.05, 6
PROBES = {"landscape": {"every": 1}, "activations": {"every": 2}}
OBSERVED = {"probes": PROBES, "on_error": "raise"}
TOGETHER = ("none", "local", "global", "stopped")
"""Trainings by several processes."""
KINDS: dict[str, dict[str, dict[str, Any]]] = {
    "lightning": {
        "plain": {},
        "float64": {"precision": "64-true"},
        "bfloat16": {"precision": "bf16-mixed"},
        "float16": {"scale": 2.0**16},
        "accumulated": {"accumulate_grad_batches": 2},
        "an incomplete accumulation": {"accumulate_grad_batches": 4},
        "clipped": {"gradient_clip_val": 0.01},
        "dropout": {"dropout": 0.5},
    },
    "transformers": {
        "plain": {},
        "AdamW, clipped, on a schedule": {
            "optim": "adamw_torch", "max_grad_norm": 0.1, "lr_scheduler_type": "linear",
        },
        "bfloat16": {"bf16": True},
        "float16": {"scale": 2.0**16},
        "accumulated": {"gradient_accumulation_steps": 2},
        "an incomplete accumulation": {"gradient_accumulation_steps": 4},
        "label smoothing": {"label_smoothing_factor": 0.1},
        "gradient checkpointing": {
            "gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False},
        },
        "dropout": {"dropout": 0.3},
    },
}  # fmt: skip
"""Kinds of trainings by each framework, as options of `Training`."""


def framework(name: str) -> Any:
    """Its module here: `lightning_loop` or `transformers_loop`."""
    return import_module(f"{__package__}.{name}_loop")


def stop_at_two(watch: Any) -> None:
    send_request(watch.run, Stop(at_step=2))


def main(name: str, folder: Path) -> None:
    """Train alone, measuring on ``local`` and ``global`` batches, and ``stopped`` on request."""
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    loop = framework(name)
    for batch in TOGETHER:
        chosen = {**OBSERVED, "batch": "local" if batch == "stopped" else batch}
        if batch == "stopped" and rank == "0":
            chosen["declare"] = stop_at_two
        training = loop.Training(None if batch == "none" else folder / batch, chosen, **loop.TWO_PROCESSES)
        end = f"{training.start().updates} {params_sha256(training.net)}"
        (folder / f"{batch}-{rank}.txt").write_text(end)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
