"""The old cookies of an app's clients, which lead to the sessions that an import brought over."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from litesess.errors import VersionConflict
from litesess.ids import key_of
from litesess.web import MAX_CANDIDATES, Arrival, Manager, Verified, Visit, arrival_by


class OldSession(NamedTuple):
    """A session that an old cookie names."""

    #: The keys under which an import can have stored it.
    keys: Sequence[str]
    #: Its id from now on, which is a secret.
    new_id: str

    def __repr__(self) -> str:
        return "<OldSession>"


class OldCookies(ABC):
    """The cookies of another library's, as its clients send them."""

    @abstractmethod
    def sessions(self, header: str) -> Iterator[OldSession]:
        """Yield the sessions that a ``Cookie`` header names, each one that the library honoured."""


def successor(secret: bytes, old_id: str) -> str:
    """Return the new id of a session with an old id, the same each time.

    So several simultaneous requests with an old cookie find one session, and a client that missed
    the response finds it again.
    """
    digest = hmac.new(secret, b"litesess " + old_id.encode(), "sha256").digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


class MovingManager(Manager):
    """A manager that treats old cookies as litesess's, signed with an older secret."""

    old_cookies: OldCookies


class MovingVisit(Visit):
    """A request that can carry an old cookie."""

    __slots__ = ()
    rules: MovingManager

    def arrival(self) -> Arrival:
        """Return the request's cookies: litesess's or, if it has none, the old ones."""
        came = super().arrival()
        if came.live or came.strays:
            return came
        named: dict[str, Verified] = {}
        found = self.rules.old_cookies.sessions(self.environ.get("HTTP_COOKIE", ""))
        for old in islice(found, MAX_CANDIDATES):
            key = key_of(old.new_id)
            self._bring_over(old.keys, key)
            # is_stale, as if signed with an older secret, so that the client gets litesess's
            # cookie.  If the headers are already sent, the old cookie leads here again.
            named[key] = Verified(old.new_id, key, is_stale=True, is_secure=False)
        by_old = arrival_by(self, [*named.values()])
        came.live = by_old.live
        came.overtaken = came.overtaken or by_old.overtaken
        return came

    def _bring_over(self, old: Sequence[str], new: str) -> None:
        """Move the session at one of the keys *old*, if it is still there, to the key *new*."""
        store = self.rules.store
        if self._is_live(new):
            return
        there = [key for key in old if self._is_live(key)]
        if not there:
            return
        # Order: delete the others first, or the cookie would lead to them after a logout.
        store.delete_all(there[1:])
        # Taken: a login has given that session yet another id, so this one leads nowhere.
        with suppress(VersionConflict):
            store.rotate(there[0], new, {}, ())

    def _is_live(self, key: str) -> bool:
        record = self.rules.store.load(key)
        return record is not None and self.ends_at(record) > self.rules.clock()
