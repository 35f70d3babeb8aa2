"""The pictures of the page: the bars of each, its title, its caption and its text alternative."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.labels import in_words, is_durable, is_ours, label
from benchmarks.results import shown
from benchmarks.rounds import Cell, Table
from benchmarks.targets import ENGINE, OURS, SERVED

#: A bar that is so many times as long as the next one is left out: the rest would look alike.
_DWARFS: Final = 10
_ORDINALS: Final = {1: "1st", 2: "2nd", 3: "3rd"}


@dataclass(frozen=True)
class Bar:
    """One candidate's median, with the least and the most of the rounds."""

    candidate: str
    value: float
    least: float
    most: float

    @property
    def label(self) -> str:
        """The candidate, and how durable its writes are."""
        return label(self.candidate)


@dataclass(frozen=True)
class Panel:
    """The bars of one case, the best one first."""

    title: str
    bars: list[Bar]


@dataclass(frozen=True)
class Picture:
    """A chart of horizontal bars.

    Attributes:
        name: of its file, without a suffix.
        title: the sentence above the bars.
        caption: the measurement, and the bars that are left out.
        panels: one or more, on a common axis that begins at zero.
        is_percent: the values are shares, and shown as %.
    """

    name: str
    title: str
    caption: str
    panels: list[Panel]
    is_percent: bool = False

    @property
    def alt(self) -> str:
        """The text alternative: the order and the figures."""
        parts = []
        for panel in self.panels:
            bars = "; ".join(f"{bar.label} {self.text_of(bar)}" for bar in panel.bars)
            parts.append(f"{panel.title}: {bars}." if panel.title else f"{bars}.")
        return f"Bars, the best first. {' '.join(parts)}"

    def text_of(self, bar: Bar) -> str:
        """Return a bar's value as it is printed at the bar's end."""
        return percent(bar.value) if self.is_percent else shown(max(bar.value, 0))


def percent(value: float) -> str:
    """Return a share as %."""
    return f"{100 * value:.0f} %"


@dataclass(frozen=True)
class Plan:
    """A picture to make of a table, if the table was measured.

    Attributes:
        name: of the file.
        table: the name of the table.
        cases: a panel's title, by the case in the table; the picture's title is about the last.
        subject: begins the title; ``{}`` is the last case's title.
        unit: of the values, in the title.
        caption: the measurement, in plain sentences.
        shows: whether a candidate is shown.
        is_percent: the values are shares.
    """

    name: str
    table: str
    cases: dict[str, str]
    subject: str
    unit: str
    caption: str
    shows: Callable[[str], bool] = lambda _name: True
    is_percent: bool = False


#: The names of candidates that differ from another candidate only in their way to sync.
_OTHER_SYNCS: Final = ("not durable", "NORMAL", "no sync", "everysec")


def _is_durable_store(name: str) -> bool:
    return is_durable(name) and name != ENGINE


#: The pictures on the first screen.
_FIRST: Final = (
    Plan(
        "share-of-the-bare-app",
        SERVED,
        {
            "read": "The request reads one value",
            "counter": "The request counts a value up",
        },
        "Counting a value up",
        "of the speed without sessions",
        "Requests a second under gunicorn, 1 worker with 16 threads, as a share of the same"
        " framework's app without sessions.  Longer is better, and 100 % means that sessions cost"
        " nothing.",
        lambda name: name not in ("litesess, MemoryStore", "Django, SQLite"),
        is_percent=True,
    ),
    Plan(
        "durable-writes",
        "durable set",
        {"16 threads": ""},
        "Durable writes of 16 threads",
        "a second",
        "Sessions stored a second.  Longer is better.  Only stores that sync each write before"
        " they acknowledge it are shown.",
        _is_durable_store,
    ),
    Plan(
        "time-of-the-session",
        "counter request",
        {"over the bare app": ""},
        "Time that a session adds to a request that counts",
        "microseconds",
        "Microseconds for a request that counts a value up, without a server.  The time of the same"
        " framework's app without sessions is subtracted.  Shorter is better.",
        lambda name: name != "the same bytes by hand",
    ),
)
#: The pictures beside tables.
_LATER: Final = (
    Plan(
        "durable-writes-of-processes",
        "durable set, processes",
        {"4 processes": ""},
        "Durable writes of 4 processes",
        "a second",
        "Sessions stored a second.  Longer is better.  Only stores that sync each write before"
        " they acknowledge it are shown.",
        _is_durable_store,
    ),
    Plan(
        "reads",
        "get",
        {"1 thread": "1 thread", "16 threads": "16 threads"},
        "Reads of 16 threads",
        "a second",
        "Sessions read a second, with all their values.  Longer is better.  Each store is shown"
        " once, because the way it syncs does not change its reads.",
        lambda name: name != ENGINE and not name.endswith(_OTHER_SYNCS),
    ),
)


def first(tables: Iterable[Table]) -> list[Picture]:
    """Return the pictures of the first screen."""
    return [*_pictures(_FIRST, [*tables])]


def beside(table: Table) -> list[Picture]:
    """Return the pictures beside a table."""
    return [*_pictures(_LATER, [table])]


def every(tables: Iterable[Table]) -> list[Picture]:
    """Return all pictures."""
    return [*_pictures((*_FIRST, *_LATER), [*tables])]


def _pictures(plans: Iterable[Plan], tables: list[Table]) -> Iterator[Picture]:
    by_name = {table.name: table for table in tables}
    for plan in plans:
        table = by_name.get(plan.table)
        panels = [*_panels(plan, table)] if table else []
        if table is None or not panels:
            continue
        panels, left_out = _comparable(panels)
        title, caption = f"{plan.subject}.", plan.caption
        order = panels[-1].bars
        picture = Picture(plan.name, title, caption, panels, plan.is_percent)
        at = next((at for at, bar in enumerate(order) if bar.candidate == OURS), None)
        if at is not None:
            rank = _ORDINALS.get(at + 1, f"{at + 1}th")
            value = picture.text_of(order[at])
            unit = f"{value} {plan.unit}"
            title = f"{plan.subject}: litesess is {rank} of {len(order)}, with {unit}."
        if left_out:
            names = in_words(f"{bar.label} ({picture.text_of(bar)})" for bar in left_out)
            caption += f"  Not drawn, as it would dwarf the rest: {names}."
        yield Picture(plan.name, title, caption, panels, plan.is_percent)


def _panels(plan: Plan, table: Table) -> Iterator[Panel]:
    for case, title in plan.cases.items():
        cells = [cell for cell in table.cells if cell.case == case and plan.shows(cell.candidate)]
        bars = sorted(map(_bar, cells), key=lambda bar: bar.value, reverse=table.more_is_better)
        if bars:
            yield Panel(title, bars)


def _bar(cell: Cell) -> Bar:
    return Bar(cell.candidate, cell.median, min(cell.values), max(cell.values))


def _comparable(panels: list[Panel]) -> tuple[list[Panel], list[Bar]]:
    """Return the panels without bars that dwarf all the rest, and those bars; never one of ours."""
    left_out: list[Bar] = []
    while True:
        bars = sorted((bar for panel in panels for bar in panel.bars), key=lambda bar: bar.value)
        if (
            len(bars) < 3
            or bars[-1].value <= _DWARFS * bars[-2].value
            or is_ours(bars[-1].candidate)
        ):
            return panels, left_out
        left_out.append(bars[-1])
        panels = [Panel(it.title, [bar for bar in it.bars if bar is not bars[-1]]) for it in panels]
