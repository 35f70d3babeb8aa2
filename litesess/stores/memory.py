"""Sessions in this process's memory, for tests and one-process apps that may forget them."""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Signature
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Literal

from litesess.engine import UNCOUNTED, Change, Clear, Delete, Entry, Plan, Put, ResultT
from litesess.errors import StoreClosed
from litesess.options import (
    Options,
    build,
    signature,
)
from litesess.stores import options as shared
from litesess.stores.embedded import EmbeddedStore

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from litesess.stores.keywords import MemoryKeywords


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(Options):
    """How a :class:`MemoryStore` works."""

    ttl: float = shared.ttl()
    anonymous_ttl: float | None = shared.anonymous_ttl()
    gc_interval: float | None = shared.gc_interval()
    touch_interval: float | Literal["auto"] = shared.touch_interval()
    max_sessions: int | None = shared.max_sessions()
    max_per_owner: int | None = shared.max_per_owner()
    clock: Callable[[], float] = shared.clock()


class MemoryStore(EmbeddedStore):
    """A store that lasts as long as the process; other processes don't see it."""

    #: The options, for help() and editors.
    __signature__: ClassVar[Signature] = signature(MemoryOptions)

    def __init__(self, **options: Unpack[MemoryKeywords]) -> None:
        """Take the options of :class:`MemoryOptions`.

        Raises:
            ConfigError: an option is unknown or wrong.
        """
        checked_options = build(MemoryOptions, options)
        super().__init__(
            _MemoryEngine(),
            durable=False,
            max_sessions=checked_options.max_sessions,
            max_per_owner=checked_options.max_per_owner,
        )
        shared.take_settings(self, checked_options)

    def __repr__(self) -> str:
        return "<MemoryStore>"


class _MemoryEngine:
    """A dict with changes that are planned under a lock."""

    def __init__(self) -> None:
        self._lock = Lock()  # Guards: _entries, _owned, _sequence, _is_closed.
        self._entries: dict[bytes, Entry] = {}
        self._owned: dict[bytes, set[bytes]] = {}
        self._sequence = 0
        self._is_closed = False
        _engines.add(self)

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*."""
        self._check_open()
        return self._entries.get(key)

    def find(self, owner: bytes) -> list[tuple[bytes, Entry]]:
        """Return the keys that are stored for *owner*, with their entries."""
        found = ((key, self._entries.get(key)) for key in dict.fromkeys(self.candidates(owner)))
        return [(key, entry) for key, entry in found if entry is not None and entry.owner == owner]

    def candidates(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys that are stored for *owner*; more than once, if one comes meanwhile."""
        self._check_open()
        keys = self._owned.get(owner, set())
        try:
            yield from keys
        except RuntimeError:  # one came or went; under the lock none does
            yield from keys.copy()

    def keys_like(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin with *prefix*."""
        self._check_open()
        return [key for key in self._entries.copy() if key.startswith(prefix)]

    def transact(self, plan: Plan[ResultT], *, sync: bool) -> tuple[ResultT, int]:
        """Run *plan* and make its changes."""
        assert not sync  # nothing here outlasts the process
        with self._lock:
            self._check_open()
            changes, result = plan(self)
            if not changes:
                return result, 0
            self._sequence += 1
            for change in changes:
                self._make(change)
            return result, self._sequence

    def _make(self, change: Change) -> None:
        # Readers hold no lock, so a key that is put again must be there all the time.
        if isinstance(change, Put):
            before = self._entries.get(change.key)
            entry = Entry(change.value, change.expires_at, self._sequence, change.owner)
            self._entries[change.key] = entry
            if change.owner:
                self._owned.setdefault(change.owner, set()).add(change.key)
            if before is not None and before.owner != change.owner:
                self._disown(change.key, before.owner)
        elif isinstance(change, Delete):
            gone = self._entries.pop(change.key, None)
            if gone is not None:
                self._disown(change.key, gone.owner)
        elif isinstance(change, Clear):
            self._entries.clear()
            self._owned.clear()
        else:
            touched = self._entries[change.key]
            self._entries[change.key] = touched._replace(expires_at=change.expires_at)

    def _disown(self, key: bytes, owner: bytes) -> None:
        if owner:
            keys = self._owned[owner]
            keys.discard(key)
            if not keys:
                del self._owned[owner]

    def count(self) -> int:
        """Return the number of entries, expired or not, without those of ``UNCOUNTED``."""
        return len(self._entries) - len(self._owned.get(UNCOUNTED, ()))

    def sample(self, count: int) -> list[bytes]:
        """Return some keys of entries without an owner, picked at random."""
        keys = [key for key, entry in self._entries.copy().items() if not entry.owner]
        return random.sample(keys, min(count, len(keys)))

    def scan(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield every key with its entry."""
        self._check_open()
        yield from self._entries.copy().items()

    def expired(self, now: float) -> Iterator[bytes]:
        """Yield the keys that expire at *now* or before."""
        return (key for key, entry in self.scan() if entry.expires_at <= now)

    def forget_lock(self) -> None:
        """In a forked child: a thread that does not exist there may have held it."""
        self._lock = Lock()

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._is_closed = True
            self._entries.clear()
            self._owned.clear()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed("the memory store was closed")


_engines: weakref.WeakSet[_MemoryEngine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in list(_engines):
        engine.forget_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
