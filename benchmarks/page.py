"""The page of the results, as reStructuredText: answers, pictures, and then the tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import pictures
from benchmarks.answers import answers
from benchmarks.pictures import Picture
from benchmarks.results import Results, shown
from benchmarks.rounds import Cell, Table, ratio
from benchmarks.targets import OURS, TARGETS

_WIDTH: Final = 100

_READING: Final = """\
A table has one number for each candidate: the median of the rounds, and in brackets the least and
the most of them.  The column *times* compares the first candidate of a case with each of the rest,
as the median of the rounds' ratios.  Above 1, the first one is that many times better.  The column
*sync* has the microseconds that ``pwrite`` and ``fdatasync`` took just before.  If they differ
between two candidates, so did the disk."""

_METHOD: Final = """\
The candidates take turns, round by round, and another one begins each round.  So a slow phase of
the machine slows all of them, and the ratio of two within a round keeps its meaning.  A number by
itself says little about another machine.  Ratios say more."""


@dataclass(frozen=True)
class Section:
    """A chapter of the page.

    Attributes:
        title: above it.
        intro: its first paragraph.
        tables: the names that its tables begin with, in their order.
    """

    title: str
    intro: str
    tables: tuple[str, ...]


_SECTIONS: Final = (
    Section(
        "Under gunicorn",
        "wrk sends requests over 16 connections.  An app does not use its session (*untouched*),"
        " reads one value (*read*), or counts a value up (*counter*).  A share compares an app with"
        " the same framework's app without sessions, in the same round.  The latter gets the same"
        " cookies and answers headers of the same size.  1.0 means that sessions cost nothing.",
        ("share of the bare app", "gunicorn", "lost increments"),
    ),
    Section(
        "Requests without a server",
        "The benchmark calls each app directly.  *over the bare app* is the time that sessions add:"
        " the time of the same framework's app without sessions is subtracted.",
        ("untouched request", "read request", "counter request", "syncs per increment"),
    ),
    Section(
        "Stores",
        "Each store keeps the same sessions of 380 bytes under the same keys, and no request is"
        " involved.",
        (
            "durable set",
            "durable set, processes",
            "durable set, latency",
            "durable set, latency of",
            "update of one value",
            "get",
            "touch",
            "90 % get, 10 % set",
            "churn",
            "memory",
            "open",
            "bytes written",
        ),
    ),
    Section(
        "Very many sessions in use",
        "A site that mostly reads writes touches.  Most sessions of a large store are touched"
        " after its last compaction, each by a record of its own.  Then everything is measured that"
        " grows with such a log, beside the same store at rest.",
        ("very many sessions",),
    ),
    Section(
        "Moving to another store",
        "A store is copied to another kind of store while its sessions are changed.",
        ("copy",),
    ),
)
_MORE: Final = Section("More tables", "", ("",))


def page(results: Results, plots: Iterable[str]) -> str:
    """Return the page; *plots* are the names of the picture files that there are."""
    found = set(plots)
    parts = (_top(results, found), _chapters(results, found), _targets(results), _method(results))
    return "\n".join(line for part in parts for line in part).rstrip("\n") + "\n"


def _top(results: Results, plots: set[str]) -> Iterator[str]:
    yield from ("==========", "Benchmarks", "==========", "")
    for each in answers(results.tables):
        yield from textwrap.wrap(
            bound(each), _WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
        )
    cores = results.machine.get("cores")
    if cores:
        yield f"- All of this was measured on one machine with {cores} cores."
    yield ""
    for picture in pictures.first(results.tables):
        yield from _figure(picture, plots)
    # Furo wants this class where a page has a list of its own contents.
    said = "this-will-duplicate-information-and-it-is-still-useful-here"
    yield from (".. contents:: Tables", "   :local:", "   :depth: 2", f"   :class: {said}", "")
    yield from (*textwrap.wrap(_READING, _WIDTH), "")


def _figure(picture: Picture, plots: set[str]) -> Iterator[str]:
    name = f"{picture.name}.svg"
    if name not in plots:
        return
    yield f".. figure:: benchmarks/{name}"
    yield from _indented(f":alt: {picture.alt}", "   ", "         ")
    yield from ("", *_indented(picture.caption, "   ", "   "), "")


def _indented(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        bound(text), _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def bound(text: str) -> str:
    """Return *text* with the groups of a number, and it and its unit, kept on one line."""
    return re.sub(r"(?<=\d) (?=\d{3}\b|%|ms\b|s\b|MiB\b|us\b)", "\N{NO-BREAK SPACE}", text)


def chapters(tables: Sequence[Table]) -> Iterator[tuple[Section, list[Table]]]:
    """Yield each section that has tables, with them in their order."""
    left = list(tables)
    for section in (*_SECTIONS, _MORE):
        ranked = [(_rank(section, table), table) for table in left]
        mine = sorted((each for each in ranked if each[0] is not None), key=lambda it: it[0] or 0)
        left = [table for rank, table in ranked if rank is None]
        if mine:
            yield section, [table for _rank, table in mine]


def _rank(section: Section, table: Table) -> int | None:
    """Return the place of a table in a section: that of the longest name that it begins with."""
    fitting = [
        (len(name), at)
        for at, name in enumerate(section.tables)
        if table.name == name or table.name.startswith((f"{name},", f"{name} ")) or not name
    ]
    return max(fitting)[1] if fitting else None


def _chapters(results: Results, plots: set[str]) -> Iterator[str]:
    said: set[tuple[str, str]] = set()
    for section, tables in chapters(results.tables):
        yield from (section.title, "=" * len(section.title), "")
        if section.intro:
            yield from (*textwrap.wrap(section.intro, _WIDTH), "")
        for table in tables:
            yield from _table(table, plots, said)


def _table(table: Table, plots: set[str], said: set[tuple[str, str]]) -> Iterator[str]:
    title = table.name[0].upper() + table.name[1:]
    yield from (title, "-" * len(title), "")
    better = "more is better" if table.more_is_better else "less is better"
    yield from (f"In {table.unit}; {better}.", "")
    for picture in pictures.beside(table):
        yield from _figure(picture, plots)
    rows: list[tuple[str, ...]] = [("case", "candidate", table.unit, "times", "sync")]
    for case in table.cases():
        cells = [cell for cell in table.cells if cell.case == case]
        rows += [_row(table, cells[0], cell) for cell in cells]
    yield from _grid(rows)
    # The set-up of candidates and the features they lack, unless a table before said so.
    new = [item for item in table.notes.items() if item not in said]
    said.update(new)
    for name, note in new:
        yield from (name, *_indented(note, "    ", "    "))
    if new:
        yield ""


def _row(table: Table, first: Cell, cell: Cell) -> tuple[str, ...]:
    value = shown(cell.median)
    if len(cell.values) > 1:
        value = f"{value} ({shown(min(cell.values))} to {shown(max(cell.values))})"
    times = ""
    if cell is not first:
        times = shown(ratio(first, cell, more_is_better=table.more_is_better))
    probes = shown(sorted(cell.probes)[len(cell.probes) // 2]) if cell.probes else ""
    return (cell.case if cell is first else "", cell.candidate, value, times, probes)


def _targets(results: Results) -> Iterator[str]:
    rows = [("work", "litesess", "compared with", "times", "engine alone", "wanted")]
    for target in TARGETS:
        times = target.reached(results.tables)
        if times is None:
            continue
        against = target.against or "the bare app"
        if target.against_case:
            against += f" ({target.against_case})"
        alone = target.of_engine.reached(results.tables) if target.against else None
        ours = target.ours.removeprefix(f"{OURS}, ") if target.ours != OURS else "default"
        work = f"{target.table}, {target.case}"
        rows.append((work, ours, against, shown(times), shown(alone), shown(target.times)))
    if len(rows) > 1:
        yield from ("What was to be reached", "======================", "")
        yield from (
            *textwrap.wrap(
                "The goals that were set before the work, and the ratios of this run.  *Engine"
                " alone* is the base of litesess, used as a database: JSON under a key, without"
                " the rules of sessions.",
                _WIDTH,
            ),
            "",
        )
        yield from _grid(rows)


def _method(results: Results) -> Iterator[str]:
    yield from ("How it was measured", "===================", "")
    yield from (*textwrap.wrap(_METHOD, _WIDTH), "")
    yield f"Written on {results.date} by::"
    yield from ("", f"    {results.command}", "")
    yield from _grid([("machine", ""), *results.machine.items()])
    yield from _grid([("version", ""), *results.versions.items()])


def _grid(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a simple table; its first row is the head, and empty columns are left out."""
    kept = [at for at in range(len(rows[0])) if any(row[at] for row in rows[1:])]
    rows = [tuple(row[at] for at in kept) for row in rows]
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
