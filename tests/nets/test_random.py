"""Keyed randomness."""

from __future__ import annotations

import pytest
import torch

from bncore.random import STREAMS, generator


def draw(source: torch.Generator) -> tuple[float, ...]:
    return tuple(torch.rand(3, generator=source).tolist())


def test_same_key_same_draws_whatever_was_drawn_before() -> None:
    first = draw(generator(7, "noise", step=3, layer=2))
    torch.rand(10)
    draw(generator(8, "noise", step=3, layer=2))
    assert draw(generator(7, "noise", step=3, layer=2)) == first


def test_every_part_of_the_key_matters() -> None:
    keys = [
        {"seed": seed, "stream": stream, "step": step, "layer": layer, "part": part}
        for seed in range(3)
        for stream in STREAMS
        for step in range(3)
        for layer in range(3)
        for part in range(2)
    ]
    assert len({draw(generator(**key)) for key in keys}) == len(keys)


def test_global_generator_is_untouched() -> None:
    before = torch.get_rng_state()
    draw(generator(0, "init"))
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_stream_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="stream: 'nose'; expected one of init, order"):
        generator(0, "nose")  # type: ignore[arg-type]
