"""Errors that name the keys of a framework's config."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from litesess.errors import ConfigError


@contextmanager
def under(key: str) -> Iterator[None]:
    """Add the config key to an error that is raised in the block."""
    try:
        yield
    except ConfigError as error:
        if key in str(error):
            raise
        raise type(error)(f"{key}: {error}") from error
