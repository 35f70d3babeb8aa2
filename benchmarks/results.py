"""The results of a run, as JSON, as a page of reStructuredText and as plots."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.rounds import Cell, Table, ratio
from benchmarks.targets import OURS, TARGETS

PACKAGES: Final = (
    "litesess", "Beaker", "cachelib", "cryptography", "diskcache", "Django", "Flask",
    "Flask-Session", "gunicorn", "hiredis", "lmdb", "pyramid", "redis", "WebOb",
)  # fmt: skip


#: How the page is read.
_READING: Final = """\
Candidates take turns, round by round.  Each
number is the median of the rounds, with the least and the most of them in brackets; *times*
compares with the first line of the case, as the median of the rounds' ratios: above 1, the first
is that many times better.  *Sync* is what ``pwrite`` and ``fdatasync`` took just before, in
microseconds: where it differs, so did the disk.  A number alone says little of another machine;
ratios say more."""


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


def page(results: Results, plots: Iterable[str]) -> str:
    """Return the page; *plots* are the names of the files that show tables."""
    found = set(plots)
    return "\n".join([*_top(results), *_targets(results), *_tables(results, found)]) + "\n"


def _top(results: Results) -> Iterator[str]:
    yield from ("==========", "Benchmarks", "==========", "")
    yield f"Written by ``{results.command}`` on {results.date}.  {_READING}"
    yield ""
    yield from _grid([("machine", ""), *results.machine.items()])
    yield from _grid([("version", ""), *results.versions.items()])


def _targets(results: Results) -> Iterator[str]:
    rows = [("what", "over", "times", "engine alone", "wanted")]
    for target in TARGETS:
        times = target.reached(results.tables)
        if times is None:
            continue
        against = target.against if target.against != OURS else "our own"
        case = f" ({target.against_case})" if target.against_case else ""
        alone = target.of_engine.reached(results.tables)
        what = f"{target.table}, {target.case}"
        rows.append((what, against + case, shown(times), shown(alone), shown(target.times)))
    if len(rows) > 1:
        yield from ("What was to be reached", "======================", "")
        yield from ("*Engine alone* is what litesess is built on, used as databases are here.", "")
        yield from _grid(rows)


def _tables(results: Results, plots: set[str]) -> Iterator[str]:
    said: set[tuple[str, str]] = set()
    for table in results.tables:
        yield from (table.name, "=" * len(table.name), "")
        better = "more is better" if table.more_is_better else "less is better"
        yield from (f"In {table.unit}; {better}.", "")
        if (plot := file_name(table)) + ".svg" in plots:
            yield from (f".. image:: benchmarks/{plot}.svg", f"   :alt: {table.name}", "")
        rows: list[tuple[str, ...]] = [("case", "candidate", table.unit, "times", "sync")]
        for case in table.cases():
            cells = [cell for cell in table.cells if cell.case == case]
            rows += [_row(table, cells[0], cell) for cell in cells]
        yield from _grid(rows)
        # The set-up of candidates and the features they lack, unless a table before said so.
        new = [item for item in table.notes.items() if item not in said]
        said.update(new)
        for name, note in new:
            yield from (name, textwrap.indent(textwrap.fill(note, 96), "    "))
        if new:
            yield ""


def _row(table: Table, first: Cell, cell: Cell) -> tuple[str, ...]:
    spread = f"{shown(cell.median)} ({shown(min(cell.values))} to {shown(max(cell.values))})"
    times = ""
    if cell is not first:
        times = shown(ratio(first, cell, more_is_better=table.more_is_better))
    probes = shown(sorted(cell.probes)[len(cell.probes) // 2]) if cell.probes else ""
    return (cell.case if cell is first else "", cell.candidate, spread, times, probes)


def file_name(table: Table) -> str:
    """Return the file name of a table's plot, without a suffix."""
    return "".join(each if each.isalnum() else "-" for each in table.name).replace("--", "-")


def _grid(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a simple table; its first row is the head."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    rule = "  ".join("=" * max(width, 1) for width in widths)
    yield rule
    for at, row in enumerate(rows):
        # A first column that is empty would continue the line above.
        cells = (row[0] or "\\", *row[1:])
        yield "  ".join(
            cell.ljust(width) for cell, width in zip(cells, widths, strict=True)
        ).rstrip()
        if at == 0:
            yield rule
    yield from (rule, "")
