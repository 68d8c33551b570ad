"""Keyed randomness: every draw comes from a generator seeded by (seed, stream, step, layer).

Nothing here has a state to save: a resumed, replayed or forked run uses the same key and draws the same
numbers, and switching one consumer on or off disturbs no other (docs/explanation/architecture.md, decision 2).
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Literal, get_args

import torch

Stream = Literal["init", "order", "augment", "noise", "probe", "data"]
STREAMS: tuple[str, ...] = get_args(Stream)


class ProbeDraws(IntEnum):
    """The parts of the stream `probe`: what draws at the same step for the same layer takes one of its own."""

    SHARPNESS = 1
    THEORY = 2
    ACTIVATIONS = 3
    ORDER = 4
    DIRECTION = 5


def generator(
    seed: int,
    stream: Stream,
    *,
    step: int = 0,
    layer: int = 0,
    part: int = 0,
    device: torch.device | str = "cpu",
) -> torch.Generator:
    """A fresh generator that depends on its arguments alone.

    `part` tells generators of one (seed, stream, step, layer) apart, for draws made at the same time. The
    keys are hashed (BLAKE2b) to 64 bits, so that neighbouring keys are unrelated. Torch's CPU
    generator (mt19937) keeps only the low 32 bits of a seed: any two given keys share a stream with
    probability 2^-32 there. A CUDA generator draws other numbers from the same key than a CPU one.

    Raises:
        ValueError: an unknown stream.
    """
    if stream not in STREAMS:
        raise ValueError(f"stream: {stream!r}; expected one of {', '.join(STREAMS)}")
    key = f"{seed}/{stream}/{step}/{layer}/{part}".encode()
    hashed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    return torch.Generator(device).manual_seed(hashed)
