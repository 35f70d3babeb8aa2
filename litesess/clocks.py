"""Time: the clocks, whether the wall clock can be believed, and how long to wait before a try."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

logger = logging.getLogger("litesess.clocks")

#: Wall and monotonic clock may drift apart by so many seconds between two looks.
LARGEST_JUMP: Final = 60.0


def wall_time() -> float:
    """Return the current time in Unix seconds, by ``time.time`` as it is at the call.

    freezegun replaces that function while a test runs, so no default may hold the function itself.
    """
    return time.time()


def steady_time() -> float:
    """Return seconds that never go back, by ``time.monotonic`` as it is at the call.

    It is to be compared with :func:`wall_time`, as a test sets both.  Waits with a deadline count
    by ``time.monotonic`` as it was at import instead: they would not end while time stands still.
    """
    return time.monotonic()


class JumpGuard:
    """Notices when the wall clock has jumped, as a dead battery or a resumed machine makes it.

    What is deleted by such a clock would be gone for good, so nothing is until it is steady.
    """

    def __init__(
        self, clock: Callable[[], float], monotonic: Callable[[], float] = steady_time
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._wall, self._steady = clock(), monotonic()

    def is_steady(self) -> bool:
        """Say whether the clocks agree on how long the last look was ago."""
        wall, steady = self._clock(), self._monotonic()
        jump = (wall - self._wall) - (steady - self._steady)
        self._wall, self._steady = wall, steady
        if abs(jump) > LARGEST_JUMP:
            logger.warning("the clock jumped by %.0f s, no expired session is removed now", jump)
            return False
        return True


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield how long to wait before each further try, in seconds: at random, longer each time.

    At random, or those that compete would meet again and again.

    Args:
        first: the most before the first.
        longest: the most before any, in seconds, too.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (full jitter).
    """
    most = first
    while True:
        yield random.uniform(0, most)  # noqa: S311  # a pause is no secret
        most = min(2 * most, longest)
