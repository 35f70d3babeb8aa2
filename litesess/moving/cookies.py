"""The old cookies of an app's clients, which lead to the sessions that an import brought over."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from litesess.ids import key_of
from litesess.stores.base import Record
from litesess.web import MAX_CANDIDATES, Arrival, Candidate, Manager, Verified, Visit


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
        live: dict[str, Candidate] = {}
        found = self.rules.old_cookies.sessions(self.environ.get("HTTP_COOKIE", ""))
        for old in islice(found, MAX_CANDIDATES):
            key = key_of(old.new_id)
            record = self._brought_over(old.keys, key)
            if record is not None:
                # is_stale, as if signed with an older secret, so that the client gets litesess's
                # cookie.  If the headers are already sent, the old cookie leads here again.
                live[key] = Verified(old.new_id, key, is_stale=True, is_secure=False), record
        return came._replace(live=[*live.values()])

    def _brought_over(self, old: Sequence[str], new: str) -> Record | None:
        """Return the session at the key *new*, moved there from one of *old* if need be."""
        record = self._live(new)
        if record is not None:
            return record
        for key in old:
            if self._live(key) is not None:
                # Another request may have moved it first.
                return self.rules.store.rotate(key, new, {}, ()) or self._live(new)
        return None

    def _live(self, key: str) -> Record | None:
        rules = self.rules
        record = rules.store.load(key)
        is_live = record is not None and self.ends_at(record) > rules.clock()
        return record if is_live else None
