"""File systems that a test mounts, where root and the tools for it are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def need_root(*tools: str) -> None:
    """Skip the test unless it may mount, and has these programs."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")


@contextmanager
def mounted(command: list[str | Path], where: Path) -> Iterator[Path]:
    """Run *command*, which mounts something at *where*, for the block; skip if it can't.

    Stacked mounts that the test has added there are unmounted, too.
    """
    where.mkdir(exist_ok=True)
    try:
        subprocess.run(command, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[0]} can't mount here: {error.stderr.decode().strip()}")
    try:
        yield where
    finally:
        while where.is_mount():
            subprocess.run(["umount", where], check=True, capture_output=True)


@contextmanager
def overlay(base: Path) -> Iterator[Path]:
    """Mount an overlay over ``lower`` and ``upper`` below *base*; each mount is another device."""
    need_root()
    for name in ("lower", "upper", "work"):
        (base / name).mkdir(exist_ok=True)
    layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    command: list[str | Path] = ["mount", "-t", "overlay", "overlay", "-o", layers, base / "over"]
    with mounted(command, base / "over") as where:
        yield where


@contextmanager
def bindfs(source: Path, where: Path) -> Iterator[Path]:
    """Mount a view of the directory *source* that has locks of its own."""
    need_root("bindfs")
    with mounted(["bindfs", source, where], where):
        yield where


@contextmanager
def gocryptfs(source: Path, where: Path) -> Iterator[Path]:
    """Mount a directory that is kept encrypted in *source*, which is empty."""
    need_root("gocryptfs")
    secret = source.parent / "passphrase"
    secret.write_text("correct horse\n")
    making = ["gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", secret, source]
    subprocess.run(making, check=True, capture_output=True)
    with mounted(["gocryptfs", "-q", "-passfile", secret, source, where], where):
        yield where
