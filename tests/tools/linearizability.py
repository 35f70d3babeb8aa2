"""Is there an order of overlapping operations that explains what each of them returned?

Source: J. M. Wing and C. Gong, "Testing and Verifying Concurrent Objects", 1993; remembering
what was tried is due to G. Lowe, "Testing for Linearizability", 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

NEVER = float("inf")
#: What an operation returned that was cut off: anything.
UNKNOWN: Any = object()


class Operation(NamedTuple):
    """What somebody asked, when, and what came of it."""

    who: object
    what: Any
    result: Any  # UNKNOWN: it was cut off
    began_at: float
    ended_at: float  # NEVER: it was cut off, and may have been done or not


#: From a state and what was asked, the next state and what is to be returned.
Step = Callable[[Any, Any], tuple[Hashable, Any]]


def explains(operations: Sequence[Operation], initial: Hashable, step: Step) -> bool:
    """Say whether the operations can have been done one after the other, each while it lasted."""
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
