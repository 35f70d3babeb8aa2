"""The peers' sdists, and the environment their tests run in: fetched by pip, kept between runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
INSIDE = Path(__file__).with_name("inside")


class FetchError(Exception):
    """A peer can't be had: pip says why."""


class Cache:
    """A directory for the files that were fetched; several runs may share it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._directory.mkdir(parents=True, exist_ok=True)

    def python(self) -> Path:
        """Return the Python of an environment that has the peers, and litesess' requirements.

        Raises:
            FetchError: pip can't install them.
        """
        version = ".".join(map(str, sys.version_info[:3]))
        with self.made(f"python{version}", REQUIREMENTS.read_bytes()) as (home, is_new):
            python = home / "bin" / "python"
            if is_new:
                _run(sys.executable, "-m", "venv", home)
                _run(python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS)
        return python

    def sdist(self, name: str) -> Path:
        """Return the directory of a peer's sdist, unpacked.

        Raises:
            FetchError: pip can't download it.
        """
        version = pinned()[name]
        with self.made(f"{name}-{version}", b"") as (home, is_new):
            if is_new:
                # Without isolation: pip would fetch the build tools again for each peer.
                _run(
                    *(self.python(), "-m", "pip", "download", "--quiet", "--no-deps"),
                    *("--no-build-isolation", "--no-binary", ":all:"),
                    *("--dest", home / "sdist", f"{name}=={version}"),
                )
                (archive,) = (home / "sdist").iterdir()
                with tarfile.open(archive) as tar:
                    tar.extractall(home, **_only_data())
                shutil.rmtree(home / "sdist")
        (tree,) = (path for path in home.iterdir() if path.is_dir())
        return tree

    def path(self) -> list[Path]:
        """Return the directories for ``PYTHONPATH``: the plugins and litesess, without our tests.

        In the directory of the project our ``tests`` would take the place of the peer's.
        """
        with self.made("litesess", os.fsencode(ROOT)) as (home, is_new):
            if is_new:
                (home / "litesess").symlink_to(ROOT / "litesess")
        return [INSIDE, home]

    @contextmanager
    def made(self, name: str, contents: bytes) -> Iterator[tuple[Path, bool]]:
        """Give a directory for *contents*, and whether it is to be filled; one process does it."""
        digest = hashlib.sha256(contents).hexdigest()[:12]
        home = self._directory / f"{name}-{digest}"
        mark = Path(f"{home}.made")
        with open(f"{home}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if mark.exists():
                yield home, False
                return
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            yield home, True
            mark.touch()


def pinned() -> dict[str, str]:
    """Return the version of each requirement that has one."""
    return dict(re.findall(r"^([\w-]+)==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE))


def _only_data() -> dict[str, str]:
    # Pythons of before 3.11.4 have no filters.
    return {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def _run(*command: object) -> None:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise FetchError(f"{' '.join(map(str, command))} failed:\n{last}")
