"""A search for an order of overlapping operations that explains all their results.

Source: J. M. Wing and C. Gong, "Testing and Verifying Concurrent Objects", 1993; remembering
visited states is due to G. Lowe, "Testing for Linearizability", 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

NEVER = float("inf")
#: The result of an operation that was cut off: anything.
UNKNOWN: Any = object()


class Operation(NamedTuple):
    """A call by a process, its result, and the times of both."""

    who: object
    what: Any
    result: Any  # UNKNOWN: it was cut off
    began_at: float
    ended_at: float  # NEVER: it was cut off, and may have been done or not


#: Takes a state and a call; returns the next state and the expected result.
Step = Callable[[Any, Any], tuple[Hashable, Any]]


def explains(operations: Sequence[Operation], initial: Hashable, step: Step) -> bool:
    """Return whether the operations can have been done in some order, each while it lasted."""
    order = sorted(operations, key=lambda operation: operation.began_at)
    finished = sum(1 << at for at, operation in enumerate(order) if operation.ended_at != NEVER)
    tried = set()
    stack = [(0, initial)]
    while stack:
        done, state = stack.pop()
        if done & finished == finished:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        for at in _next(order, done):
            following, result = step(state, order[at].what)
            if order[at].result is UNKNOWN or order[at].result == result:
                stack.append((done | 1 << at, following))
    return False


def _next(order: list[Operation], done: int) -> list[int]:
    """Return which may come next: those that began before the first of the rest ended."""
    first_end = NEVER
    found = []
    at = (~done & (done + 1)).bit_length() - 1  # the first that is not done
    while at < len(order) and order[at].began_at <= first_end:
        if not done >> at & 1:
            found.append(at)
            first_end = min(first_end, order[at].ended_at)
        at += 1
    return [at for at in found if order[at].began_at <= first_end]
