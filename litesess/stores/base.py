"""The contract between sessions and stores: ``Store``, and the ``Record`` of a session."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from litesess import codec, events, ids
from litesess.clocks import wall_time
from litesess.errors import VersionConflict
from litesess.stores.keeping import kept
from litesess.stores.stats import Tally

if TYPE_CHECKING:
    from typing_extensions import Self


class _Keep(enum.Enum):
    KEEP = "KEEP"


KEEP: Final = _Keep.KEEP
#: A session's owner, which may be given as int or UUID; or ``KEEP``: leave it as it is.
Owner: TypeAlias = "ids.OwnerName | None | Literal[_Keep.KEEP]"
#: An owner as stores keep it.
StoredOwner: TypeAlias = "str | None | Literal[_Keep.KEEP]"

#: A request with a former key is late for this long after the session was moved, in seconds.  By
#: the defaults of servers, no request is served for longer.
LATE_FOR: Final = 60.0
#: Seconds for which a deletion under a former key is carried out: a stream can end with a logout.
MOVED_FOR: Final = 3600.0
#: The longest that ``touch_interval="auto"`` lets pass between two touches, in seconds.
LONGEST_TOUCH_INTERVAL: Final = 60.0


class Record:
    """A stored session.

    Attributes:
        created_at: the time of its creation, in Unix seconds.
        expires_at: the time from which it counts as absent, in Unix seconds.
        cookie: the cookie settings that the app changed on this session, or None.
        owner: the user it belongs to, or None.
        version: changes whenever the data does; a touch keeps it.
        client: the browser, as far as it is known, as ``user_agent`` and ``address``, or None.
        last_seen_at: the time of its last use, in Unix seconds, to within ``touch_interval``, or
            later if no request moves its end (``absolute_timeout``).  None: not stored yet.
        is_moved: it was found under the key that another request has moved it to.
    """

    __slots__ = (
        "_data",
        "_frames",
        "client",
        "cookie",
        "created_at",
        "expires_at",
        "is_moved",
        "last_seen_at",
        "owner",
        "replaced_version",
        "version",
    )

    def __init__(
        self,
        data: Mapping[str, Any],
        created_at: float,
        expires_at: float,
        cookie: Mapping[str, Any] | None = None,
        owner: ids.OwnerName | None = None,
        version: int = 0,
        client: Mapping[str, Any] | None = None,
        last_seen_at: float | None = None,
    ) -> None:
        """Take the parts of a session; *owner* is kept as str.

        Raises:
            ConfigTypeError: *owner* is of another type than str, int or None.
            EncodeError: *owner* has a lone surrogate.
        """
        self._frames: codec.Frames | None
        self._data: dict[str, Any] | None
        if isinstance(data, codec.Encoded):
            self._frames, self._data = data.frames, None
        else:
            self._frames, self._data = None, dict(data)
        self.created_at = created_at
        self.expires_at = expires_at
        self.cookie = cookie
        self.owner = None if owner is None else ids.owner_of(owner)
        self.version = version
        self.client = client
        self.last_seen_at = last_seen_at
        self.is_moved = False
        #: The version that an update has found, and made this of.
        self.replaced_version = 0

    @property
    def data(self) -> dict[str, Any]:
        """The session's values by key; decoded when they are first asked for."""
        if self._data is None:
            self._data = self.copy_data()
        return self._data

    def copy_data(self) -> dict[str, Any]:
        """Return the session's values as new objects."""
        return codec.decode_all(self.frames)

    @property
    def frames(self) -> codec.Frames:
        """The session's values by key, each encoded.

        Raises:
            EncodeError: a value can't be stored.
        """
        if self._frames is None:
            self._frames = codec.encode_items(self._data or {})
        return self._frames

    def __repr__(self) -> str:
        # The values are the user's secrets, and reprs end up in logs.
        return (
            f"<Record created_at={self.created_at} expires_at={self.expires_at}"
            f" version={self.version}>"
        )


class Store(ABC):
    """A place that keeps sessions.

    Any thread can call any method.  A missing session is never an error.  A method raises
    :class:`~litesess.StoreError` if the store can't work, :class:`~litesess.EncodeError` for a
    value it can't keep, and ``ValueError`` for a malformed key.

    A *key* is the SHA-256 of a session id in hex: no store ever sees an id.

    A store of your own overrides the abstract methods and calls :meth:`tell`.  It also overrides
    :meth:`find`, :meth:`delete_owner` and :meth:`locate` if it can do better than to look at every
    session, :meth:`moved_at` if it knows that, and :meth:`delete_all` if it can delete several
    sessions in one step: a logout calls that if the request came with several sessions, and without
    it an error can leave some of them.
    ``litesess.testing.StoreContract`` says whether the store keeps the contract.
    """

    #: Life of a session with a cookie without expiry, in seconds.
    ttl: float = 86_400.0
    #: The same, for a session without an owner; None: ``ttl``.
    anonymous_ttl: float | None = None
    #: Smallest change of expiry worth a write, in seconds; "auto": see :meth:`worth_touching`.
    touch_interval: float | Literal["auto"] = "auto"
    #: Seconds between two passes of the collector; None: the store needs none.
    gc_interval: float | None = None
    #: Compact after each pass.
    compact_after_gc: bool = False
    #: The longest wait for other requests or processes that use a session, or the store, at the
    #: same time, in seconds.
    lock_timeout: float = 10.0
    #: Returns the current time in Unix seconds.
    clock: Callable[[], float] = staticmethod(wall_time)

    @property
    def place(self) -> object:
        """Where the sessions are: two stores of equal places keep the same ones."""
        return self

    @property
    def listeners(self) -> list[events.Listener]:
        """The functions that are called with each event, outside of all locks."""
        found: list[events.Listener] = self.__dict__.setdefault("_listeners", [])
        return found

    @property
    def tally(self) -> Tally:
        """Counts of the writes that met those of other requests."""
        # Not in a constructor: a user's own store may not call that.
        found: Tally = self.__dict__.setdefault("_tally", Tally())
        return found

    def is_heard(self, name: events.Name) -> bool:
        """Return whether a listener takes events of that name, so that they are worth making."""
        return events.is_heard(self.listeners, name)

    def tell(self, *happened: events.Event) -> None:
        """Call all listeners; call this without holding a lock."""
        events.tell(self.listeners, happened)

    @abstractmethod
    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""

    def moved_at(self, key: str) -> float | None:  # noqa: ARG002  # the stores that override this method need it
        """Return when the session that had *key* was given another one, in Unix seconds.

        None: none was, or more than ``MOVED_FOR`` ago, or the store does not know.  A request with
        such a key is late within ``LATE_FOR``: it begins no session, as the cookie of that could
        take the place of the one that a login has just set.
        """
        return None

    @abstractmethod
    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""

    @abstractmethod
    def update(
        self,
        key: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
        if_version: int | None = None,
    ) -> Record | None:
        """Merge changes into the stored session, under the store's own lock.

        Args:
            key: of the session.
            changes: values by top-level key.
            removed: top-level keys to take out.
            expires_at: when it expires from now on, in Unix seconds; None: as before, and
                ``last_seen_at`` stays, too: no request has used it.
            cookie: its own cookie settings from now on; None: as before.
            owner: its owner from now on, as str, int or UUID; None: no owner.
            if_version: the version that must be stored.

        Another owner makes it begin anew: ``created_at`` is now.

        Returns:
            The session as it is stored then.  None: it is gone, and stays gone.

        Raises:
            VersionConflict: *if_version* is not the stored one.
        """

    @abstractmethod
    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; data and version stay as they are.

        False, and nothing is changed, if it is gone or *version* is not the stored one.
        """

    @abstractmethod
    def rotate(
        self,
        old: str,
        new: str,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
        client: Mapping[str, Any] | None = None,
    ) -> Record | None:
        """Do as :meth:`update` does and move the session to the key *new*, in one step.

        From then on nothing can be loaded under the key *old*, nor rotated.  A late ``update``
        under it is done to the session for ``LATE_FOR`` seconds, and a ``delete`` for
        ``MOVED_FOR`` seconds, also along a chain of keys: a change that overlaps a rotation is not
        lost, and a logout sticks.
        A rotation with an *owner*, even the same one as before, is a login: ``created_at`` is
        now, and under the key *old* only a deletion is still done to the session, so that a
        request which started before the login can't change the new session.  *client*, if
        it is given, describes the browser now.

        None: the old session is gone, and nothing was stored.

        Raises:
            VersionConflict: *new* is taken; nothing was changed.
        """

    @abstractmethod
    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*, in one step.

        A session that another request has just moved from *old* is deleted, too.  If there was
        a session, a deletion that comes late under its key deletes *new*, for ``MOVED_FOR``
        seconds: a logout sticks.  Nothing else that comes late under its key does anything.

        Raises:
            VersionConflict: *new* is taken; nothing was changed.
        """

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Delete the session; return whether there was one."""

    def delete_all(self, keys: Collection[str]) -> int:
        """Delete the sessions under *keys*; return how many; in one step, if the store can."""
        return sum(map(self.delete, keys))

    @abstractmethod
    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys."""

    @abstractmethod
    def clear(self) -> None:
        """Delete every session."""

    @abstractmethod
    def collect(self) -> int:
        """Delete the sessions that have expired; return how many."""

    @abstractmethod
    def close(self) -> None:
        """Close the store; later operations raise StoreClosed.  Again is harmless."""

    def __len__(self) -> int:
        """Return how many sessions have not expired."""
        return sum(1 for _ in self.records())

    def __bool__(self) -> bool:
        # An empty store is a store all the same.
        return True

    def find(self, owner: ids.OwnerName) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys.

        Raises:
            ConfigTypeError: *owner* is neither str, int nor UUID.
        """
        owner = ids.owner_of(owner)
        return [(key, record) for key, record in self.records() if record.owner == owner]

    def locate(self, handle: str) -> str | None:
        """Return the key of the session with that handle; None: no session has it."""
        return next((key for key, _ in self.records() if ids.handle_of(key) == handle), None)

    def delete_owner(self, owner: ids.OwnerName, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many.

        It deletes all that began before the call, even if they get another id or owner since.

        Args:
            owner: their owner, as str, int or UUID.
            keep: keys (also former ones: a store that forwards those overrides this method),
                handles or Sessions to spare, also if they are given another id meanwhile.

        Raises:
            ConfigTypeError: *owner* is neither str, int nor UUID, or something in *keep* is no key,
                no handle and no Session.
        """
        doomed = [key for key, _ in self.find(owner)]
        # Order: second, because this loads a Session that was not read yet.
        spared = kept(keep).handles
        return sum(self.delete(key) for key in doomed if ids.handle_of(key) not in spared)

    def load_all(self, keys: Sequence[str]) -> list[Record | None]:
        """Return the result of :meth:`load` for each key; at once, if the store can."""
        return [self.load(key) for key in keys]

    def create_all(self, records: Mapping[str, Record]) -> list[bool]:
        """Return the result of :meth:`create` for each; at once, if the store can."""
        return [self.create(key, record) for key, record in records.items()]

    def strip_all(self, versions: Mapping[str, int], removed: Collection[str]) -> list[bool]:
        """Take the values *removed* out of sessions, by key, that have the given versions still.

        Return of each whether it was done: not if it has changed, moved or ended.
        """
        done = dict.fromkeys(versions, False)
        for key, version in versions.items():
            with suppress(VersionConflict):
                done[key] = self.update(key, {}, removed, if_version=version) is not None
        return [*done.values()]

    def compact(self) -> None:  # noqa: B027  # does nothing in most stores, so it need not be overridden
        """Give back the room that deleted sessions take."""

    def compact_if_due(self) -> None:  # noqa: B027  # does nothing in most stores, so it need not be overridden
        """Do so if ``compact_interval`` says that it is time; the collector asks at each pass."""

    def worth_touching(self, stored: float, wanted: float, life: float) -> bool:
        """Return whether letting a session expire at *wanted*, not *stored*, is worth a write.

        Args:
            stored: when it expires so far, in Unix seconds.
            wanted: when it would, in Unix seconds; sooner, if a timeout was made shorter.
            life: how long a session lives without a request, in seconds.
        """
        interval = (
            min(LONGEST_TOUCH_INTERVAL, life / 10)
            if self.touch_interval == "auto"
            # However large: a session that is used must not end between two touches.
            else min(float(self.touch_interval), life / 2)
        )
        return not -interval < wanted - stored < interval and wanted != stored

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
