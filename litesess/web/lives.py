"""How long a session lives: by its cookie's settings, its store's, and whether it has an owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litesess.ids import OwnerName
from litesess.stores.base import Store
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
        own: Mapping[str, Any] | None,
        owner: OwnerName | None,
        created_at: float,
        now: float,
    ) -> float:
        """Return when a session expires that is used at *now*, in Unix seconds.

        Args:
            settings: the configured ones.
            own: the session's own settings, where they differ.
            owner: its owner; it makes a difference if the store has an ``anonymous_ttl``.
            created_at: when it was created, in Unix seconds.
            now: in Unix seconds.
        """
        ends_at: float | None
        if own or settings.expires is not None:
            ends_at = life_ends_at(settings, own or {}, now)
        else:  # each request that has a session comes by here
            ends_at = None if settings.max_age is None else now + settings.max_age
        if ends_at is None:  # its life is the store's to say
            store = self.store
            ttl = store.anonymous_ttl if owner is None else None
            ends_at = now + (store.ttl if ttl is None else ttl)
        if self.absolute_timeout is not None:
            ends_at = min(ends_at, created_at + self.absolute_timeout)
        return ends_at
