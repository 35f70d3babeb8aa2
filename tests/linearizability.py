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
        # Whatever has not begun when the first of the rest ended comes later.
        first_end = min(
            operation.ended_at for at, operation in enumerate(order) if not done >> at & 1
        )
        for at, operation in enumerate(order):
            if operation.began_at > first_end:
                break
            if not done >> at & 1:
                following, result = step(state, operation.what)
                if operation.result is UNKNOWN or operation.result == result:
                    stack.append((done | 1 << at, following))
    return False
