"""What every specification model is made of: the base class and the numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bncore.config.kinds import writable

# Strict numbers: neither true nor "100" is a number, though 1 is a float. TOML integers have 64 bits.
Count = Annotated[int, Field(ge=1, le=2**63 - 1, strict=True)]
NonNegativeCount = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]
LARGEST = 1e38
"""Larger numbers overflow where they meet others in float32."""
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, AfterValidator(writable)]


class ConfigModel(BaseModel):
    """Base of every specification model: immutable, closed, its fields documented by their docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
