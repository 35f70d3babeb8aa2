"""A redis-server of the benchmark's own, on a free port of this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

SERVER: Final = "redis-server"
_PATIENCE: Final = 30.0


def missing() -> str | None:
    """Return a package or program that is missing for a server; None: none is missing."""
    if find_spec("redis") is None:
        return "the package redis"
    return None if shutil.which(SERVER) else SERVER


@contextmanager
def redis_server(directory: Path, appendfsync: str) -> Iterator[str]:
    """Start a server that appends each write to a file; yield its URL; end it.

    Args:
        directory: made for its files.
        appendfsync: when it syncs: ``always`` or ``everysec``.

    Raises:
        RuntimeError: it does not start.
    """
    redis = import_module("redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory.mkdir()
    command = [
        SERVER, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory),
        "--save", "", "--appendonly", "yes", "--appendfsync", appendfsync,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            client = redis.Redis(port=port)
            until = time.monotonic() + _PATIENCE
            while not _answers(client, redis.exceptions.ConnectionError):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{SERVER} on port {port} does not start")
                time.sleep(0.01)
            client.close()
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(client: Any, refusal: type[Exception]) -> bool:
    try:
        client.ping()
    except refusal:
        return False
    return True
