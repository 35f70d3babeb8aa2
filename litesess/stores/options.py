"""Checks that the options of several stores share."""

from __future__ import annotations

from typing import Literal

from litesess.errors import ConfigTypeError
from litesess.options import seconds_or_zero


def touch_interval(name: str, value: object) -> float | Literal["auto"]:
    """Check a duration in seconds, or "auto"."""
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise ConfigTypeError(f"{name} {value!r} is neither seconds nor 'auto'")
    return seconds_or_zero(name, value)
