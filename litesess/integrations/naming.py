"""Complaints under the names of the config's keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from litesess.errors import ConfigError


@contextmanager
def under(key: str) -> Iterator[None]:
    """Let a complaint name the key that it is about."""
    try:
        yield
    except ConfigError as error:
        if key in str(error):
            raise
        raise type(error)(f"{key}: {error}") from error
