"""Time: the clocks, whether the wall clock can be believed, and how long to wait before a try."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

logger = logging.getLogger("litesess.clocks")

#: Wall and monotonic clock can drift apart by this many seconds between two looks.
LARGEST_JUMP: Final = 60.0


def wall_time() -> float:
    """Return the current time in Unix seconds, by ``time.time`` as it is at the call.

    freezegun replaces that function while a test runs, so no default may hold the function itself.
    """
    return time.time()


def steady_time() -> float:
    """Return seconds that never go back, by ``time.monotonic`` as it is at the call.

    It is compared with :func:`wall_time`, and a test sets both.  Waits with a deadline count by
    ``time.monotonic`` as it was at import instead: they would never end while time stands still.
    """
    return time.monotonic()


class JumpGuard:
    """Notices when the wall clock has jumped, as a dead battery or a resumed machine makes it.

    Sessions deleted by such a clock would be lost, so none are deleted until it is steady.
    """

    def __init__(
        self, clock: Callable[[], float], monotonic: Callable[[], float] = steady_time
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._wall, self._steady = clock(), monotonic()

    def is_steady(self) -> bool:
        """Return whether both clocks show the same time since the last call."""
        wall, steady = self._clock(), self._monotonic()
        jump = (wall - self._wall) - (steady - self._steady)
        self._wall, self._steady = wall, steady
        if abs(jump) > LARGEST_JUMP:
            logger.warning("the clock jumped by %.0f s, no expired session is removed now", jump)
            return False
        return True


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield the pause before each further try, in seconds: random, and longer each time.

    The pauses are random so that competing writers do not collide again and again.

    Args:
        first: upper bound of the first pause, in seconds.
        longest: upper bound of every pause, in seconds.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (full jitter).
    """
    most = first
    while True:
        yield random.uniform(0, most)  # noqa: S311  # the length of a pause need not be unpredictable
        most = min(2 * most, longest)
