"""Periodic checks: whether Redis may evict, and the key file on a cluster.

Source: Redis documentation, "Key eviction": every policy but ``noeviction`` takes away keys that
are in use if ``maxmemory`` is reached; most managed services have ``volatile-lru``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final

from litesess.errors import StoreClosed, StoreError, StoreUnavailable
from litesess.stores.redis.keys import Keys
from litesess.stores.redis.link import Link

logger = logging.getLogger("litesess.store")

#: Seconds between two looks at the policy.
_HOUR: Final = 3600.0
#: Seconds between two looks at the key file, where scripts can't look.
_MINUTE: Final = 60.0
_HARMLESS: Final = "noeviction"


class Upkeep:
    """Looks after one store, with an operation that comes when that is due."""

    def __init__(
        self,
        link: Link,
        key_file: Keys,
        store_name: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; the first look is due at once.

        Args:
            link: the way to Redis.
            key_file: the store's.
            store_name: the name of the store, for the log.
            monotonic: returns seconds that never go back.
        """
        self._link = link
        self._key_file = key_file
        self._store_name = store_name
        self._monotonic = monotonic
        self._lock = Lock()  # Guards: _policy_at, _file_at.
        self._policy_at = self._file_at = float("-inf")
        self._has_answered = False
        self._is_told = False
        self._is_limited = False

    def look(self) -> None:
        """Do the checks that are due.

        Raises:
            StoreUnavailable: Redis can't be used now.
        """
        now = self._monotonic()
        if now < self._policy_at and now < self._file_at:
            return
        with self._lock:
            is_policy_due, is_file_due = now >= self._policy_at, now >= self._file_at
            self._policy_at = now + _HOUR if is_policy_due else self._policy_at
            # The first time it was just read.
            is_first = self._file_at < 0
            self._file_at = now + _MINUTE if self._link.is_cluster else float("inf")
        if is_file_due and not is_first:
            try:
                self._key_file.put_back()
            except StoreUnavailable as error:
                # The operation that comes next finds out whether that matters to it.
                logger.warning("%s", error)
        policy = self.policy() if is_policy_due else None
        if policy is not None and policy != _HARMLESS:
            self._warn(policy)

    def policy(self) -> str | None:
        """Return Redis's ``maxmemory-policy``; None: it is not told.

        Several, if the nodes of a cluster have different ones.

        Raises:
            StoreUnavailable: Redis can't be used now, though it has told the policy before.
        """
        try:
            nodes = self._link.nodes()
            memories = [self._memory(node) for node in nodes]
        except StoreClosed:
            raise
        except StoreError as error:
            if self._has_answered and isinstance(error, StoreUnavailable):
                # The operation that this comes with would only wait once more.
                self._policy_at = float("-inf")
                raise
            self._tell_once(str(error))
            return None
        self._has_answered = True
        policies = {str(found) for each in memories if (found := each.get("maxmemory_policy"))}
        if not policies:
            self._tell_once("INFO memory does not have it")
            return None
        self._is_limited = any(each.get("maxmemory") for each in memories)
        return ", ".join(sorted(policies))

    def _memory(self, node: Any) -> Mapping[str, Any]:
        options = {} if node is None else {"target_nodes": node}
        memory: Mapping[str, Any] = self._link.ask("info", "memory", **options)
        return memory

    def _warn(self, policy: str) -> None:
        is_limited = self._is_limited
        level, when = (logging.ERROR, "") if is_limited else (logging.WARNING, " with a maxmemory")
        logger.log(
            level,
            "%s has maxmemory-policy %s:%s Redis may take away sessions in use, the key file, and"
            " what a logout of all of a user's sessions needs; set maxmemory-policy noeviction",
            self._store_name, policy, when,
        )  # fmt: skip

    def _tell_once(self, reason: str) -> None:
        if not self._is_told:
            self._is_told = True
            logger.warning(
                "whether %s may evict is not known (%s); see to it that its maxmemory-policy is"
                " noeviction",
                self._store_name, reason,
            )  # fmt: skip
