"""How long a session lives: by its cookie's settings, its store's, and whether it has an owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litesess.stores.base import Record, Store
from litesess.web.cookie import CookieSettings, life_ends_at


class Lives:
    """The options about the lives of an app's sessions.

    Attributes:
        store: where they are.
        absolute_timeout: the longest life of a session, used or not, in seconds; None: no limit.
    """

    store: Store
    absolute_timeout: float | None

    def expiry(
        self,
        settings: CookieSettings,
        own: Mapping[str, Any],
        created_at: float,
        now: float,
        ttl: float,
    ) -> float:
        """Return when a session expires that is used at *now*, in Unix seconds.

        Args:
            settings: the configured ones.
            own: the session's own settings, where they differ.
            created_at: when it was created, in Unix seconds.
            now: in Unix seconds.
            ttl: its life if the cookie's settings name none, in seconds.
        """
        if own or settings.expires is not None:
            ends_at = life_ends_at(settings, own, now)
            if ends_at is None:
                ends_at = now + ttl
        else:  # each request that has a session comes by here
            ends_at = now + (ttl if settings.max_age is None else settings.max_age)
        if self.absolute_timeout is not None:
            ends_at = min(ends_at, created_at + self.absolute_timeout)
        return ends_at

    def ttl_of(self, owner: str | None) -> float:
        """Return how long a session of *owner* lives if the cookie's settings do not say."""
        ttl = self.store.anonymous_ttl if owner is None else None
        return self.store.ttl if ttl is None else ttl

    def ends_at(self, record: Record, settings: CookieSettings) -> float:
        """Return the end of a stored session: its stored expiry or the options' one, if sooner.

        A timeout that was made shorter holds for the sessions that there are, too.

        Args:
            record: the session.
            settings: the configured ones.
        """
        ends_at, seen_at = record.expires_at, record.last_seen_at
        if seen_at is None:  # a store of another project does not know it
            return ends_at
        store = self.store
        ttl = store.ttl if store.anonymous_ttl is None else self.ttl_of(record.owner)
        wanted = self.expiry(settings, record.cookie or {}, record.created_at, seen_at, ttl)
        return wanted if wanted < ends_at else ends_at
