"""Where a store keeps its files: the directory that a user names."""

from __future__ import annotations

import os
from pathlib import Path

from litesess.errors import ConfigError, ConfigTypeError


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the given path from the root on, without following its links."""
    return str(Path(path).absolute())


def real_directory(path: str | os.PathLike[str], *, read_only: bool) -> str:
    """Return the real path of the directory, which exists or can be made.

    Raises:
        ConfigError: it can't be used.
    """
    try:
        given = os.fspath(path)
    except TypeError:
        raise ConfigTypeError(f"path is of type {type(path).__name__}, not str or Path") from None
    if not isinstance(given, str) or not given or "\0" in given:
        raise ConfigError("path is empty, or no text")
    try:
        # A deployment may link to its shared directory; only names of ours must be no links.
        directory = Path(given).resolve()
        nearest = directory
        while not nearest.exists():
            nearest = nearest.parent
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before 3.13
        raise ConfigError(f"path {given!r} can't be used: {error}") from error
    if not nearest.is_dir():
        raise ConfigError(f"path {directory}: {nearest} is not a directory")
    if nearest == directory:
        return str(directory)  # if it can't be written, it can still be read
    if read_only:
        raise ConfigError(f"path {directory}: does not exist, and read_only=True makes nothing")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"path {directory}: uid {os.geteuid()} can't write to {nearest}")
    return str(directory)
