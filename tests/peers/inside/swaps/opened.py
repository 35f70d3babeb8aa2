"""How many sessions litesess has opened: a suite that never uses it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_count = 0


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Count each call of *function*, which opens a session."""

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        global _count
        _count += 1
        return function(*arguments, **keywords)

    return wrapper


def count() -> int:
    """Return how many sessions were opened."""
    return _count
