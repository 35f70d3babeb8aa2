"""Keys without a readable session, which an operation on all sessions passes over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from litesess import ids
from litesess.errors import StoreClosed, StoreError, StoreUnavailable

logger = logging.getLogger("litesess.store")


def log_foreign(key: str) -> None:
    """Log that there is no session under *key*, where one should be."""
    logger.error("the value under %s is no session of ours", ids.handle_of(key))


class PassedOver:
    """Counts the keys that one operation passes over.

    Attributes:
        count: of them.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, key: str) -> None:
        """Count one more, and log it."""
        log_foreign(key)
        self.count += 1

    @contextmanager
    def guard(self, key: str) -> Iterator[None]:
        """Pass over a session if Redis refuses work on it, because other ones must still end."""
        try:
            yield
        except (StoreUnavailable, StoreClosed):
            raise
        except StoreError:
            logger.exception("session %s is damaged, and was passed over", ids.handle_of(key))
            self.count += 1


@contextmanager
def passing_over(what: str) -> Iterator[PassedOver]:
    """Log at the end the number of keys passed over, if any; each is logged when it is met.

    Args:
        what: the word for the work on the other sessions.
    """
    passed_over = PassedOver()
    try:
        yield passed_over
    finally:
        if passed_over.count:
            logger.error(
                "keys without a readable session, passed over when sessions were %s: %d",
                what,
                passed_over.count,
            )
