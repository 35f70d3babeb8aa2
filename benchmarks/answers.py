"""The answers at the top of the page: sentences with figures of the run.

A sentence is left out if its figures were not measured.  It says "times as fast" or "times as slow"
by the figures, so it is true of every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.labels import in_words
from benchmarks.pictures import percent
from benchmarks.results import shown
from benchmarks.rounds import Table, ratio
from benchmarks.targets import NOT_DURABLE, OURS, SERVED, THREADED

#: Ratios in between are called the same.
_SAME: Final = 0.85, 1.15
_OVER_BARE: Final = "over the bare app"
#: Each peer among the packages, with its name in a sentence and with ours that it is compared to.
_PEERS: Final = {
    "Beaker, files": ("Beaker's files", OURS),
    "Flask-Session, cachelib files": (
        "Flask-Session's files (both under Flask)",
        "litesess, Flask",
    ),
    "Django, files": ("Django's files", OURS),
}


class Figures:
    """The figures of a run, by the names of table, case and candidate."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = {table.name: table for table in tables}

    def value(self, table: str, case: str, candidate: str = OURS) -> float | None:
        """Return a median; None: it was not measured."""
        found = self._tables.get(table)
        cell = found.cell(case, candidate) if found else None
        return cell.median if cell else None

    def times(self, table: str, case: str, theirs: str, ours: str = OURS) -> float | None:
        """Return how many times better ours is; None: it was not measured, or means nothing."""
        found = self._tables.get(table)
        if found is None:
            return None
        one, other = found.cell(case, ours), found.cell(case, theirs)
        if one is None or other is None:
            return None
        return ratio(one, other, more_is_better=found.more_is_better)

    def last_case(self, table: str) -> str:
        """Return the name of a table's last case, which is its largest; empty: no such table."""
        found = self._tables.get(table)
        return found.cases()[-1] if found and found.cells else ""


def as_fast(times: float) -> str:
    """Return the words for a ratio of speeds."""
    if _SAME[0] <= times <= _SAME[1]:
        return "about as fast"
    if times > 1:
        return f"{brief(times)} times as fast"
    return f"{brief(1 / times)} times as slow"


def brief(number: float) -> str:
    """Return a ratio with one digit after the point, or none from 10 on."""
    if number >= 10:
        return shown(round(number)) if number >= 100 else f"{number:.0f}"
    return f"{number:.1f}"


def answers(tables: Sequence[Table]) -> Iterator[str]:
    """Yield each sentence that the figures allow, with its subject in bold."""
    figures = Figures(tables)
    for each in (_under_a_server, _durable_writes, _packages, _durability, _large_stores):
        found = each(figures)
        if found:
            yield found


def _under_a_server(figures: Figures) -> str:
    parts = [
        f"{percent(share)} {said}"
        for case, candidate, said in (
            ("untouched", OURS, "if the request does not use its session"),
            ("read", OURS, "if it reads one value"),
            ("counter", NOT_DURABLE, "if it counts a value up without syncing"),
            ("counter", OURS, "if it counts a value up durably"),
        )
        if (share := figures.value(SERVED, case, candidate)) is not None
    ]
    if not parts:
        return ""
    return (
        f"**Under gunicorn** ({THREADED}), an app with litesess has this part of the speed of the"
        f" same app without sessions: {in_words(parts)}."
    )


def _durable_writes(figures: Figures) -> str:
    parts = []
    for case in ("1 thread", "16 threads"):
        times = figures.times("durable set", case, "Redis, always")
        ours = figures.value("durable set", case)
        theirs = figures.value("durable set", case, "Redis, always")
        if times is not None and ours is not None and theirs is not None:
            rates = f"{shown(ours)} against {shown(theirs)} writes a second"
            parts.append(f"{as_fast(times)} with {case} ({rates})")
    if not parts:
        return ""
    return (
        "**Compared with Redis** under ``appendfsync always``, litesess writes whole sessions"
        f" durably {in_words(parts)}."
    )


def _packages(figures: Figures) -> str:
    found = []
    for table, said in (
        ("read request", "that reads one value"),
        ("counter request", "that counts a value up"),
    ):
        parts = [
            f"{as_fast(times)} as {name}"
            for peer, (name, ours) in _PEERS.items()
            if (times := figures.times(table, _OVER_BARE, peer, ours)) is not None
        ]
        if parts:
            found.append(f"for a request {said}, {in_words(parts)}")
    if not found:
        return ""
    return (
        "**Other packages**: apart from the time of the framework, litesess is, "
        f"{'; '.join(found)}.  These files are not synced, but those of litesess are."
    )


def _durability(figures: Figures) -> str:
    parts = []
    for case in ("1 thread", "16 threads"):
        times = figures.times("durable set", case, OURS, NOT_DURABLE)
        if times is not None:
            verb = "writes" if case == "1 thread" else "write"
            parts.append(f"{case} {verb} {as_fast(times)}")
    times = figures.times(f"gunicorn, {THREADED}", "counter", OURS, NOT_DURABLE)
    if times is not None:
        said = "a request under gunicorn that counts a value up is answered"
        parts.append(f"{said} {as_fast(times)}")
    return f"**Durability** has a price.  Without it, {in_words(parts)}." if parts else ""


def _large_stores(figures: Figures) -> str:
    case = figures.last_case("open")
    seconds, memory = figures.value("open", case), figures.value("memory", case)
    if seconds is None or memory is None:
        return ""
    mib = memory * int(case.replace(" ", "")) / (1 << 20)
    return (
        f"**{case} sessions** are open after {duration(seconds)}, and each worker process takes"
        f" {shown(max(mib, 0))} MiB of private memory for them."
    )


def duration(seconds: float) -> str:
    """Return a duration with its unit."""
    return f"{shown(seconds)} s" if seconds >= 1 else f"{shown(seconds * 1000)} ms"
