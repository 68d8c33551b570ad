"""Building blocks of the specification models: the base class, the number types, and the spellings of norm kinds
(``lp:3``), precisions (``bf16``) and devices (``cuda:1``)."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NORM_KINDS = (
    "none", "batch", "l1", "l2", "linf", "layer", "group", "instance", "weight",
    "mean_only", "variance_only", "batch_detached", "batch_population",
)  # fmt: skip
"""Every norm kind except the parametric ``lp:<p>``."""

NORM_SPELLINGS = ", ".join((*NORM_KINDS, "lp:<p> with p >= 1"))
_LP_NAMES = {1.0: "l1", 2.0: "l2", math.inf: "linf"}


def canonical_norm(value: object) -> str:
    """Canonical spelling of a norm kind: ``lp:2`` becomes ``l2``, ``lp:3.0`` becomes ``lp:3``.

    Raises:
        ValueError: the spelling is not one of `NORM_SPELLINGS`.
    """
    if value in NORM_KINDS:
        return str(value)
    p = lp_exponent(value) if isinstance(value, str) else None
    if p is None:
        raise ValueError(f"expected one of {NORM_SPELLINGS}")
    return _LP_NAMES.get(p, "lp:" + repr(p).removesuffix(".0"))  # repr keeps every digit


def lp_exponent(kind: str) -> float | None:
    """The exponent p of an l_p kind (inf for ``linf``); None if the kind is not l_p, or if p < 1 or NaN."""
    for p, name in _LP_NAMES.items():
        if kind == name:
            return p
    if not kind.startswith("lp:"):
        return None
    try:
        p = float(kind[3:])
    except ValueError:
        return None
    return p if p >= 1 else None


def largest_divisor(channels: int, groups: int) -> int:
    """The actual number of groups: the largest divisor of `channels` that is at most `groups`."""
    return next(d for d in range(min(groups, channels), 0, -1) if channels % d == 0)


PRECISIONS = {"fp32": "float32", "fp64": "float64", "bf16": "bfloat16"}
"""Alternative spellings of precisions."""


def canonical_precision(value: object) -> object:
    """The spelling of a precision used in specifications."""
    return PRECISIONS.get(value, value) if isinstance(value, str) else value


def writable(text: str) -> str:
    """Check that `text` can be written to a TOML file, which is UTF-8.

    Raises:
        ValueError: it contains a lone surrogate, as the name of a file in another encoding does.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("expected text that UTF-8 can write") from None
    return text


def canonical_device(value: object) -> str:
    """Check a device name: auto, cpu, cuda or cuda:<index>.

    Raises:
        ValueError: any other spelling.
    """
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        return value
    raise ValueError("expected auto, cpu, cuda or cuda:<index>")


# Strict numbers: neither true nor "100" is a number, but 1 is a float. TOML integers have 64 bits.
Count = Annotated[int, Field(ge=1, le=2**63 - 1, strict=True)]
NonNegativeCount = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]
LARGEST = 1e38
"""Larger numbers overflow when combined with others in float32."""
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, AfterValidator(writable)]


class ConfigModel(BaseModel):
    """Base of every specification model: immutable, without extra fields, documented by field docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
