"""The results of a run: all its tables, its machine and its packages, kept as JSON."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.rounds import Cell, Table

PACKAGES: Final = (
    "litesess", "Beaker", "cachelib", "cryptography", "diskcache", "Django", "Flask",
    "Flask-Session", "gunicorn", "hiredis", "lmdb", "pyramid", "redis", "WebOb",
)  # fmt: skip


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    yield "SQLite", sqlite3.sqlite_version
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def machine(directory: Path) -> dict[str, str]:
    """Return the machine's processor, cores, kernel, file system and memory."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": next(models, platform.processor() or platform.machine()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / (1 << 30):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file system": _file_system(directory),
    }


def _file_system(directory: Path) -> str:
    """Return the type of the file system that holds *directory*; source: proc_pid_mountinfo(5)."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == wanted:
            return kind.split()[0]
    return "unknown"


@dataclass
class Results:
    """All tables of a run, and its machine."""

    command: str
    machine: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    date: str = field(default_factory=lambda: f"{datetime.now(timezone.utc):%Y-%m-%d}")
    versions: dict[str, str] = field(default_factory=lambda: dict(_versions()))

    def save(self, path: Path) -> None:
        """Write all as JSON, in place of the old file; a run that is stopped keeps the last one."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n")
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Return the results that ``save`` has written."""
        found: dict[str, Any] = json.loads(path.read_text())
        tables = [
            Table(**{**table, "cells": [_cell(**cell) for cell in table["cells"]]})
            for table in found.pop("tables")
        ]
        return cls(**found, tables=tables)

    def put(self, table: Table) -> None:
        """Add a table, in place of one of the same name."""
        for at, there in enumerate(self.tables):
            if there.name == table.name:
                self.tables[at] = table
                return
        self.tables.append(table)

    def drop_old(self, part: str, measured: Collection[str]) -> None:
        """Drop the tables of a part that it does not measure any more."""
        self.tables = [it for it in self.tables if it.part != part or it.name in measured]


def _cell(case: str, candidate: str, values: Sequence[float], probes: Sequence[float] = ()) -> Cell:
    return Cell(case, candidate, tuple(values), tuple(probes))


def shown(number: float | None) -> str:
    """Return a number with two or three digits that count, thousands apart; nothing for None."""
    if number is None:
        return ""
    if abs(number) >= 100:
        return f"{number:,.0f}".replace(",", " ")
    if abs(number) >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if abs(number) >= 0.1 else f"{number:.2g}"
