"""Building and installing litesess as its users get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools.servers import ROOT

SOURCES = [
    "setup.cfg", "setup.py", "MANIFEST.in", "README.rst", "CHANGES.rst", "LICENSE", ".ruff.toml",
    ".ci", "litesess", "tests", "docs", "examples", "benchmarks",
]  # fmt: skip
JUNK = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.egg-info", "data")


def run(*command: object, cwd: Path, **variables: str) -> str:
    """Run a program without the tree on its path; return its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= variables
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(kind: str, source: Path, out: Path, **variables: str) -> Path:
    """Build one thing from *source*; return its file."""
    command = [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", out, source]
    run(*command, cwd=out, **variables)
    (built,) = out.glob("*.whl" if kind == "--wheel" else "*.tar.gz")
    return built


def copy_of_the_tree(place: Path) -> Path:
    """Copy the published files to *place* and return it: building adds files to the tree."""
    place.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=JUNK)
        else:
            shutil.copy(ROOT / name, place / name)
    return place
