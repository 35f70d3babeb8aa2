"""Several ways to one directory: views that share its files, and no lock with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools.disks import need_root_and, run


@contextmanager
def covered(where: Path, *command: str | Path) -> Iterator[Path]:
    """Run *command*, which mounts something over the directory *where*; skip if it can't."""
    need_root_and(str(command[0]), "umount")
    where.mkdir(exist_ok=True)
    try:
        run(*command)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[0]} can't mount here: {error.stderr.decode().strip()}")
    try:
        yield where
    finally:
        run("umount", where)


@contextmanager
def layered(base: Path) -> Iterator[Path]:
    """Mount an overlay with the upper layer ``upper`` in *base*; each mount is a new device."""
    for name in ("lower", "upper", "work"):
        (base / name).mkdir(exist_ok=True)
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    over = base / "over"
    with covered(over, "mount", "-t", "overlay", "-o", layers, "none", over) as where:
        yield where


@contextmanager
def bindfs(source: Path, where: Path) -> Iterator[Path]:
    """Mount a view of the directory *source*."""
    with covered(where, "bindfs", source, where):
        yield where


@contextmanager
def gocryptfs(source: Path, where: Path) -> Iterator[Path]:
    """Mount the encrypted files of the directory *source*, which is empty."""
    need_root_and("gocryptfs")
    secret = source.with_name("passphrase")
    secret.write_text("correct horse\n")
    run("gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", secret, source)
    with covered(where, "gocryptfs", "-q", "-passfile", secret, source, where):
        yield where
