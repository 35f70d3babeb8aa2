"""Real file systems for tests: over loop devices, in memory, over FUSE and in layers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Makes a file system in a file, and the least length of that in MiB.
MAKERS = {
    "ext4": (("mkfs.ext4", "-q"), 32),
    "xfs": (("mkfs.xfs", "-q"), 320),
    "btrfs": (("mkfs.btrfs", "-q"), 160),
}


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def need_root_and(*tools: str) -> None:
    """Skip the test where one is missing."""
    if os.environ.get("LITESESS_TESTS_AS"):
        pytest.skip("these file systems are those of Linux")
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.skip(f"a file system can't be made or mounted without {', '.join(missing)}")


@contextmanager
def mounted(where: Path, *options: str | Path) -> Iterator[Path]:
    """Mount at *where*, by the arguments of mount(8)."""
    where.mkdir()
    try:
        run("mount", *options, where)
    except subprocess.CalledProcessError as error:
        where.rmdir()
        pytest.skip(f"can't be mounted: {error.stderr.decode().strip()}")
    try:
        yield where
    finally:
        try:
            run("umount", where)
        except subprocess.CalledProcessError:  # its medium has failed
            run("umount", "--lazy", where)
        where.rmdir()


def make_image(path: Path, size: int, *command: str) -> Path:
    path.touch()
    os.truncate(path, size)
    run(*command, path)
    return path


@contextmanager
def file_system(kind: str, base: Path) -> Iterator[Path]:
    """Mount a small file system of that type, empty."""
    if kind == "tmpfs":
        need_root_and("mount")
        with mounted(base / kind, "-t", "tmpfs", "-o", "size=8m", "none") as where:
            yield where
        return
    command, mebibytes = MAKERS[kind]
    need_root_and("mount", command[0])
    image = make_image(base / f"{kind}.image", mebibytes << 20, *command)
    with mounted(base / kind, "-o", "loop", image) as where:
        yield where
    image.unlink()


@contextmanager
def without_shared_memory(base: Path) -> Iterator[Path]:
    """Mount a file system that does not share mapped memory."""
    need_root_and("bindfs", "fusermount")
    where, behind = base / "mounted", base / "behind"
    where.mkdir()
    behind.mkdir()
    run("bindfs", "-o", "direct_io", behind, where)
    try:
        yield where
    finally:
        run("fusermount", "-u", "-z", where)  # lazily: a failed test may have it open


@contextmanager
def overlay(base: Path, lower: Path) -> Iterator[Path]:
    """Mount an empty layer over the directory *lower*."""
    need_root_and("mount")
    for name in ("upper", "work"):
        (base / name).mkdir()
    options = f"lowerdir={lower},upperdir={base / 'upper'},workdir={base / 'work'}"
    with mounted(base / "merged", "-t", "overlay", "-o", options, "none") as where:
        yield where


def fill(directory: Path) -> None:
    """Leave no room on the file system of *directory*."""
    step = 1 << 24
    with (directory / "filling").open("wb", buffering=0) as file:
        while step >= 1:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
            except OSError:
                step //= 2
    for number in range(100):  # some keep room for small files
        try:
            (directory / f"filling-{number}").write_bytes(bytes(4096))
        except OSError:
            return
