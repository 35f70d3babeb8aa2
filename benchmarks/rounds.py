"""Candidates that take turns, round by round, and their results.

A machine that becomes slower then slows all of them, so the ratio of two within one round keeps its
meaning.  Before each measurement a sync is timed, so that a slow phase of the disk is seen beside
the values that it spoilt.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

#: The number of syncs in a probe, which returns their median.
PROBES: Final = 15


@dataclass(frozen=True)
class Cell:
    """The results of one candidate in one case.

    Attributes:
        case: such as ``16 threads``.
        candidate: such as ``SQLite, FULL``.
        values: one of each round, in the table's unit.
        probes: microseconds that a sync by hand took just before each.
    """

    case: str
    candidate: str
    values: tuple[float, ...]
    probes: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)


@dataclass
class Table:
    """Cells of one kind.

    Attributes:
        name: the measurement, such as ``durable set``; unique among all tables.
        unit: of the values, such as ``operations/s``.
        more_is_better: whether a larger value is a better one.
        notes: by candidate: its set-up, and the features that it lacks.
        cells: in the order of cases, then of candidates.
        part: of the benchmarks, which measured it.
    """

    name: str
    unit: str
    more_is_better: bool
    notes: dict[str, str] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    part: str = ""

    def cell(self, case: str, candidate: str) -> Cell | None:
        """Return a cell, if it was measured."""
        found = (it for it in self.cells if (it.case, it.candidate) == (case, candidate))
        return next(found, None)

    def cases(self) -> list[str]:
        """Return the cases, in their order."""
        return list(dict.fromkeys(it.case for it in self.cells))

    def candidates(self) -> list[str]:
        """Return the candidates, in their order."""
        return list(dict.fromkeys(it.candidate for it in self.cells))

    def measure(
        self,
        case: str,
        works: Mapping[str, Callable[[], float]],
        rounds: int,
        probe: Callable[[], None],
    ) -> None:
        """Measure each candidate once a round, in turn, and add their cells.

        Args:
            case: the name of the case.
            works: by candidate: measures for as long as it needs; returns one value.
            rounds: how often.
            probe: writes and syncs a little; see ``benchmarks.disk.by_hand``.
        """
        values: dict[str, list[float]] = {name: [] for name in works}
        probes: dict[str, list[float]] = {name: [] for name in works}
        for each in range(rounds):
            for name in turns(list(works), each):
                probes[name].append(median_time(probe, PROBES))
                values[name].append(works[name]())
        self.cells += [Cell(case, name, tuple(values[name]), tuple(probes[name])) for name in works]


def turns(names: list[str], number: int) -> Iterator[str]:
    """Yield the names, another one first each round, so that none always follows a heavy one."""
    start = number % max(len(names), 1)
    yield from names[start:]
    yield from names[:start]


def median_time(work: Callable[[], Any], count: int) -> float:
    """Return the median time of *count* calls in microseconds."""
    return statistics.median(times(work, count))


def times(work: Callable[[], Any], count: int) -> list[float]:
    """Return the times of *count* calls in microseconds."""
    found = []
    for _ in range(count):
        began = perf_counter()
        work()
        found.append((perf_counter() - began) * 1e6)
    return found


def ratio(ours: Cell, theirs: Cell, *, more_is_better: bool) -> float | None:
    """Return how many times better *ours* is: the median of the rounds' ratios.

    None: one of the values is zero or, as a difference can be, less, so the ratio means nothing.
    """
    pairs = [*zip(ours.values, theirs.values, strict=False)]
    if min(map(min, pairs)) <= 0:
        return None
    return statistics.median(one / other if more_is_better else other / one for one, other in pairs)
