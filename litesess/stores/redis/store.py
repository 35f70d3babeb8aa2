"""The store: sessions in one server, Sentinel or Cluster of Redis or Valkey."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from inspect import Signature
from typing import TYPE_CHECKING, Any, ClassVar, cast

from litesess import ids
from litesess.errors import ConfigError, VersionConflict
from litesess.events import Event
from litesess.ids import check_key
from litesess.options import build, signature
from litesess.stores import options as shared
from litesess.stores.address import read_url
from litesess.stores.base import KEEP, Owner, Record, Store
from litesess.stores.changes import Changes
from litesess.stores.keeping import kept
from litesess.stores.redis.deletion import Deletion
from litesess.stores.redis.expiries import Expiries
from litesess.stores.redis.link import Link
from litesess.stores.redis.options import RedisOptions
from litesess.stores.redis.owners import Owners
from litesess.stores.redis.passing import passing_over
from litesess.stores.redis.rotation import Rotation
from litesess.stores.redis.sessions import Sessions
from litesess.stores.redis.stats import RedisStats
from litesess.stores.redis.updates import Updates
from litesess.stores.redis.upkeep import Upkeep
from litesess.stores.times import check_end, check_times

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from litesess.stores.keywords import RedisKeywords


class RedisStore(Store):
    """A store in Redis: one server, Sentinel or Cluster."""

    #: The options, for help() and editors.
    __signature__: ClassVar[Signature] = signature(RedisOptions, "server")

    def __init__(self, server: Any, **options: Unpack[RedisKeywords]) -> None:
        """Check the options; nothing is connected before the first operation in each process.

        Args:
            server: a client of the package ``redis`` (``Redis``, ``RedisCluster``, the result of
                ``Sentinel.master_for``), or a URL: ``redis://``, ``rediss://``, ``unix://``,
                ``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE``,
                ``redis+cluster://HOST:PORT,HOST:PORT``, with the options that ``docs/redis.rst``
                lists.
            **options: those of :class:`RedisOptions`.

        Raises:
            ConfigError: an option is unknown or wrong, or *server* can't be used.
        """
        way: Any = server
        if isinstance(server, str):
            way = read_url(server)
            options = _with(options, way.options)
        checked_options = build(RedisOptions, options)
        self._link = link = Link(way, checked_options.timeout)
        self._prefix = prefix = checked_options.prefix
        self._max_per_owner = checked_options.max_per_owner
        shared.take_settings(self, checked_options)
        self._is_encrypted = checked_options.encryption_key is not None
        sessions = Sessions(link, prefix, checked_options.encryption_key, repr(self), self.tell)
        owners = Owners(link, sessions)
        self._sessions, self._owners = sessions, owners
        self._updates = Updates(sessions, owners, self.ttl)
        self._rotation = Rotation(link, sessions, owners)
        self._deletion = Deletion(link, sessions, owners, self.tell)
        self._upkeep = Upkeep(link, sessions.key_file, repr(self))
        self._expiries = Expiries(link, sessions.name, self._tell_expired)

    def load(self, key: str) -> Record | None:
        """Return the session, or None if it is missing or has expired."""
        return self.load_all([key])[0]

    def moved_at(self, key: str) -> float | None:
        """Return when a session was given another key than *key*; see :meth:`Store.moved_at`."""
        self._prepare()
        return self._sessions.moved_at(key, self.clock())

    def load_all(self, keys: Sequence[str]) -> list[Record | None]:
        """Return the result of :meth:`load` for each key, in one go."""
        self._prepare()
        return self._sessions.load_all([check_key(key) for key in keys], self.clock())

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False, and nothing is changed, if the key is taken."""
        return self.create_all({key: record})[0]

    def create_all(self, records: Mapping[str, Record]) -> list[bool]:
        """Return the result of :meth:`create` for each, in one go."""
        for record in records.values():
            check_times(record)
        self._prepare()
        created = self._updates.create_all(records, self.clock())
        for (key, record), is_new in zip(records.items(), created, strict=True):
            if is_new:
                self.tell(Event("created", ids.handle_of(key), record))
                self._evict(record.owner)
        return created

    def strip_all(self, versions: Mapping[str, int], removed: Collection[str]) -> list[bool]:
        """Take values out of sessions that are at their versions still, in one go."""
        self._prepare()
        return self._updates.strip_all(versions, removed, self.clock())

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
        """Merge changes into the stored session; see :meth:`Store.update`.

        Raises:
            StoreUnavailable: Redis can't be reached.  With *if_version* that is said at once, as
                the change may have been made.
        """
        ours = Changes(
            self.clock(), changes, removed,
            expires_at=expires_at, cookie=cookie, owner=owner, if_version=if_version,
        )  # fmt: skip
        self._prepare()
        record = self._updates.update(key, ours)
        if record is not None and owner is not KEEP and record.created_at == ours.now:
            self._evict(record.owner)
        return record

    def touch(self, key: str, expires_at: float, *, version: int | None = None) -> bool:
        """Let the session expire at another time; see :meth:`Store.touch`."""
        check_end(expires_at)
        self._prepare()
        return self._updates.touch(key, expires_at, version, self.clock())

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
        """Merge changes and move the session to the key *new*; see :meth:`Store.rotate`."""
        ours = Changes(
            self.clock(), changes, removed,
            expires_at=expires_at, cookie=cookie, owner=owner, client=client, is_rotation=True,
        )  # fmt: skip
        self._prepare()
        moved = self._rotation.rotate(old, new, ours, self.lock_timeout)
        if moved is None:
            return None
        former, record = moved
        self.tell(Event("rotated", ids.handle_of(new), record, ids.handle_of(old)))
        if record.owner != former.owner:
            self._evict(record.owner)
        return record

    def replace(self, old: str, new: str, record: Record) -> None:
        """Delete the session *old*, if there is one, and store *record* as *new*.

        As :meth:`Store.replace` says; in one step, but for a cluster, as with :meth:`rotate`.
        """
        now = self.clock()
        check_times(record)
        self._prepare()
        check_key(old)
        gone = self._rotation.replace(old, check_key(new), record, now, self.lock_timeout)
        if gone is not None:
            is_former = True
            self.tell(Event("destroyed", ids.handle_of(gone.key), gone.record))
        elif not self._updates.create_all({new: record}, now)[0]:
            raise VersionConflict("the new key is taken")
        else:
            # It may have come there meanwhile, or have expired.
            is_former = self._deletion.delete([old], now) > 0
        former = ids.handle_of(old) if is_former else None
        self.tell(Event("created", ids.handle_of(new), record, former))
        self._evict(record.owner)

    def delete(self, key: str) -> bool:
        """Delete the session; return whether there was one."""
        return self.delete_all([key]) > 0

    def delete_all(self, keys: Collection[str]) -> int:
        """Delete the sessions under *keys*, in a few round trips; return how many there were."""
        self._prepare()
        return self._deletion.delete([check_key(key) for key in keys], self.clock())

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield the sessions that have not expired, one at a time, with their keys.

        Those that begin or are moved meanwhile may be left out, or come twice.
        """
        self._prepare()
        with passing_over("listed") as passed_over:
            for keys in self._sessions.keys("s"):
                yield from self._sessions.load_each(keys, self.clock(), passed_over)

    def find(self, owner: ids.OwnerName) -> list[tuple[str, Record]]:
        """Return the sessions of *owner* that have not expired, with their keys."""
        owner = ids.owner_of(owner)
        self._prepare()
        return self._owners.find(owner, self.clock())

    def locate(self, handle: str) -> str | None:
        """Return the key of the session with that handle; None: no session has it."""
        if not ids.is_handle(handle):
            return None
        keys = (key for batch in self._sessions.keys("s", handle) for key in batch)
        return next((key for key in keys if self.load(key) is not None), None)

    def delete_owner(self, owner: ids.OwnerName, *, keep: Collection[Any] = ()) -> int:
        """Delete the sessions of *owner*; return how many; see :meth:`Store.delete_owner`."""
        owner, spared = ids.owner_of(owner), kept(keep)
        self._prepare()
        return self._deletion.end_owner(owner, spared, self.clock)

    def clear(self) -> None:
        """Delete every session; those that begin meanwhile may stay."""
        self._prepare()
        self._deletion.clear(self.clock)

    def collect(self) -> int:
        """Delete the sessions that have expired; return how many.

        Redis does that by itself; the sessions found here have expired by this machine's clock
        alone.
        """
        self._prepare()
        return self._deletion.collect(self.clock(), is_heard=self.is_heard("expired"))

    @property
    def is_encrypted(self) -> bool:
        """Whether values are encrypted."""
        return self._is_encrypted

    def stats(self) -> RedisStats:
        """Return the store in numbers; the sessions are counted one by one.

        Those that begin, move or end meanwhile may be left out, or counted twice.
        """
        self._prepare()
        now, ends = self.clock(), list[float]()
        with passing_over("counted") as passed_over:
            for keys in self._sessions.keys("s"):
                ends += self._sessions.ends(keys, now, passed_over)
        live = sum(end > now for end in ends)
        return RedisStats(
            live=live,
            expired=len(ends) - live,
            passed_over=passed_over.count,
            maxmemory_policy=self._upkeep.policy(),
            merges=self.tally.merges,
            discarded=self.tally.discarded,
        )

    def key_file(self) -> bytes | None:
        """Return the bytes that say how the store is encrypted; None: it was never used."""
        return self._sessions.key_file.stored()

    def close(self) -> None:
        """Close the connections; later operations raise StoreClosed.  Again is harmless."""
        self._expiries.close()
        self._link.close()

    @property
    def place(self) -> object:
        """Where the sessions are: two stores of equal places keep the same ones."""
        return self._link.name, self._prefix

    def __repr__(self) -> str:
        return f"<RedisStore {self._link.name} {self._prefix!r}>"

    def _prepare(self) -> None:
        """Read the key file and begin to hear of expiries, if that is due.

        Raises:
            DecryptError: the encryption key does not fit the key file.
            StoreError: as :meth:`Link.do` says.
        """
        if not self._expiries.is_listening and self.is_heard("expired"):
            self._expiries.listen()
        _ = self._sessions.records
        self._upkeep.look()

    def _evict(self, owner: str | None) -> None:
        """Delete the oldest sessions of *owner*, if there are too many."""
        if self._max_per_owner is not None and owner is not None:
            self._deletion.evict(owner, self._max_per_owner, self.clock)

    def _tell_expired(self, key: str) -> None:
        # Redis has removed its values.
        self.tell(Event("expired", ids.handle_of(key), Record({}, 0.0, 0.0)))


def _with(options: RedisKeywords, of_url: Mapping[str, Any]) -> RedisKeywords:
    """Return *options* and those of the URL.

    Raises:
        ConfigError: two of one name have different values.
    """
    for name, value in options.items():
        if of_url.get(name, value) != value:
            raise ConfigError(f"{name} is given as an option and in the URL, with two values")
    return cast("RedisKeywords", {**of_url, **options})
