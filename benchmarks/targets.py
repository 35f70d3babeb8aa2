"""The figures to reach: ratios within one run, on a machine with two cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.rounds import Table, ratio

OURS: Final = "litesess"
NOT_DURABLE: Final = "litesess, not durable"
#: The base of OURS, used as a database is: JSON under a key, without the rules of sessions.
ENGINE: Final = "litesess, engine alone"
#: A way of gunicorn to work.
THREADED: Final = "1 worker x 16 threads"
#: The name of a table of shares, by the way of gunicorn to work.
SHARE: Final = "share of the bare app, {}"
SERVED: Final = SHARE.format(THREADED)


@dataclass(frozen=True)
class Target:
    """How many times better ours is to be than another.

    Attributes:
        table: the name of the table.
        case: the case of ours.
        against: the other candidate; None: the table's values are ratios already.
        times: the least ratio that is wanted.
        against_case: the other's case, if not the same.
        ours: the candidate of ours.
    """

    table: str
    case: str
    against: str | None
    times: float
    against_case: str | None = None
    ours: str = OURS

    @property
    def of_engine(self) -> Target:
        """The same, for the engine alone."""
        against = ENGINE if self.against == OURS else self.against
        return replace(self, ours=ENGINE, against=against)

    def reached(self, tables: Iterable[Table]) -> float | None:
        """Return how many times better ours was; None: it was not measured."""
        table = next((each for each in tables if each.name == self.table), None)
        ours = table.cell(self.case, self.ours) if table else None
        if table is None or ours is None:
            return None
        if self.against is None:
            return ours.median
        theirs = table.cell(self.against_case or self.case, self.against)
        return ratio(ours, theirs, more_is_better=table.more_is_better) if theirs else None


#: Of the stores.
_STORES: Final = (
    Target("durable set", "1 thread", "write + fdatasync, reserved", 0.85),
    Target("durable set", "1 thread", "SQLite, FULL", 1),
    Target("durable set", "1 thread", "open, append, fsync, close", 1.8),
    Target("durable set", "16 threads", "SQLite, FULL", 2.5),
    Target("durable set", "16 threads", "Redis, always", 3),
    Target("durable set", "16 threads", "LMDB, sync", 5),
    Target("durable set", "64 threads", OURS, 1.4, against_case="16 threads"),
    Target("get", "1 thread", "SQLite, FULL", 0.9),
    Target("get", "16 threads", "SQLite, FULL", 1.5),
    Target("get", "16 threads", OURS, 0.9, against_case="1 thread"),
    Target("touch", "1 thread", "SQLite, FULL", 8),
    Target("memory", "1 000 000", "dict of JSON bytes", 20),
    Target("open", "1 000 000", "read, check, put all into a dict", 20),
)
#: Of requests under gunicorn, as shares of the bare app.
_SHARES: Final = (
    Target(SERVED, "untouched", None, 0.97),
    Target(SERVED, "read", None, 0.8),
    Target(SERVED, "counter", None, 0.66, ours=NOT_DURABLE),
    Target(SERVED, "counter", None, 0.6),
)
#: Of requests, by the peer: how many times quicker one that reads, and one that counts; and how
#: many times more of the latter a second under gunicorn.
_REQUESTS: Final = {
    "Beaker, files": (10, 1.7, 2.5),
    "Flask-Session, cachelib files": (12, 2, None),
    "Django, files": (3, 2.3, 2.8),
}


def _of_requests() -> Iterator[Target]:
    for peer, (read, counter, served) in _REQUESTS.items():
        yield Target("read request", "over the bare app", peer, read)
        yield Target("counter request", "over the bare app", peer, counter)
        if served is not None:
            yield Target(f"gunicorn, {THREADED}", "counter", peer, served)


TARGETS: Final = (*_SHARES, *_STORES, *_of_requests())
