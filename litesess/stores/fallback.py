"""Two stores as one, while the sessions move from the old one to the new one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from litesess import events, ids
from litesess.errors import ConfigError, ConfigTypeError
from litesess.stores.base import Record, Store
from litesess.stores.copying import is_draft, settle, without_flag
from litesess.stores.options import take_settings


class FallbackStore(Store):
    """A new store and an old one; a session moves to the new one when a request uses it.

    All workers must use this store from the same moment on: it does not see changes that are
    written to the old store alone.  ``litesess copy`` moves the sessions that no request uses; then
    the new store is enough.  Listeners hear of the events in the new store; they don't hear of
    sessions that expire in the old one.
    """

    def __init__(self, new: Store, old: Store) -> None:
        """Take two stores, which are closed with this one.

        Raises:
            ConfigError: one of them is no store, or both are the same.
        """
        for name, store in (("new", new), ("old", old)):
            if not isinstance(store, Store):
                raise ConfigTypeError(f"{name} is of type {type(store).__name__}, not a Store")
        if new is old:
            raise ConfigError("new and old are the same store")
        self._new, self._old = new, old
        take_settings(self, new)
        intervals = [it.gc_interval for it in (new, old) if it.gc_interval is not None]
        self.gc_interval = min(intervals, default=None)
        self.compact_after_gc = new.compact_after_gc or old.compact_after_gc

    @property
    def listeners(self) -> list[events.Listener]:
        """The functions that are called with each event."""
        return self._new.listeners

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        record = self._new.load(key)
        if record is not None and not is_draft(record):
            return record
        self._settle(key)
        record = self._new.load(key)
        # If it is still a draft, there is no original, so the session has ended.
        return None if record is None or is_draft(record) else record

    def moved_at(self, key: str) -> float | None:
        """Return when a session was given another key than *key*, in the one store or the other."""
        moved_at = self._new.moved_at(key)
        return self._old.moved_at(key) if moved_at is None else moved_at

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        self._settle(key)
        return self._new.create(key, record)

    def update(
        self, key: str, changes: Mapping[str, Any], removed: Collection[str], **settings: Any
    ) -> Record | None:
        """Merge changes into the stored session; see :meth:`Store.update`."""
        self._settle(key)
        return self._new.update(key, changes, removed, **settings)

    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        self._settle(key)
        return self._new.touch(key, expires_at, version=version)

    def rotate(
        self,
        old: str,
        new: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        **settings: Any,
    ) -> Record | None:
        """Merge changes and move the session to the key *new*; see :meth:`Store.rotate`."""
        self._settle(old)
        return self._new.rotate(old, new, changes, removed, **settings)

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*, in one step."""
        self._settle(old)
        self._new.replace(old, new, record)

    def delete(self, key: str) -> bool:
        """Delete the session; return whether there was one."""
        self._settle(key)
        return self._new.delete(key)

    def delete_all(self, keys: Collection[str]) -> int:
        """Delete the sessions under *keys*; return how many there were."""
        for key in keys:
            self._settle(key)
        return self._new.delete_all(keys)

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys."""
        # Order: the old store first, so that a session that moves meanwhile comes twice and is not
        # left out.
        for key, record in self._old.records():
            if self._new.load(key) is None:
                yield key, record
        for key, record in self._new.records():
            living = self._living(key, record)
            if living is not None:
                yield key, living

    def find(self, owner: ids.OwnerName) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys."""
        # Order: the old store first: a session that moves meanwhile is found in the new one.
        former = self._old.find(owner)
        found = {
            key: living
            for key, record in self._new.find(owner)
            if (living := self._living(key, record)) is not None
        }
        for key, record in former:
            if key not in found and self._new.load(key) is None and self._old.load(key) is not None:
                found[key] = record
        return [*found.items()]

    def locate(self, handle: str) -> str | None:
        """Return the key of the session with that handle; None: no session has it."""
        keys = (self._new.locate(handle), self._old.locate(handle))
        return next((key for key in keys if key is not None and self.load(key) is not None), None)

    def delete_owner(self, owner: ids.OwnerName, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        for key in [key for key, _ in self._old.find(owner)]:
            self._settle(key)
        return self._new.delete_owner(owner, keep=keep)

    def clear(self) -> None:
        """Delete every session."""
        self._old.clear()
        self._new.clear()

    def collect(self) -> int:
        """Delete the sessions that have expired; return how many."""
        with events.muted():
            removed = self._old.collect()
        return removed + self._new.collect()

    def compact(self) -> None:
        """Give back the room that deleted sessions take."""
        self._old.compact()
        self._new.compact()

    def compact_if_due(self) -> None:
        """Compact each store that is due."""
        self._old.compact_if_due()
        self._new.compact_if_due()

    def close(self) -> None:
        """Close both."""
        try:
            self._old.close()
        finally:
            self._new.close()

    def __repr__(self) -> str:
        return f"<FallbackStore {self._new!r} before {self._old!r}>"

    def _settle(self, key: str) -> None:
        with events.muted():
            settle(self._old, self._new, key)

    def _living(self, key: str, record: Record) -> Record | None:
        """Return a session of the new store; None: it is a draft of one that has ended."""
        if not is_draft(record):
            return record
        return None if self._old.load(key) is None else without_flag(record)
