"""Which of a store's files count, and what they hold; nothing here changes the disk.

Every reader of a store begins here: the one who opens it, the one who only reads, and the one who
verifies it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from litesess.engine import format as form
from litesess.engine.fs import FileSystem, OpenFile
from litesess.engine.keys import KeyPlace, Keys
from litesess.engine.log import Log
from litesess.engine.names import Listing, Names
from litesess.engine.snapshot import Snapshot
from litesess.engine.view import Table, View
from litesess.errors import Corruption, DecryptError, StoreError

FIRST_GENERATION: Final = 1
_LAST_GENERATION: Final = (1 << 63) - 1

#: A compaction may take files away while they are read, and a writer be half-way through a record.
_TRIES: Final = 10


@dataclass(frozen=True)
class Place:
    """Where a store lies and how its files are named."""

    fs: FileSystem
    directory: int
    path: str
    names: Names
    random_bytes: Callable[[int], bytes]
    keys: Keys
    read_only: bool = False

    def path_of(self, name: str) -> str:
        """Return the whole path of a file, for errors."""
        return f"{self.path}/{name}"

    @property
    def key_place(self) -> KeyPlace:
        """Where the key file lies."""
        name = self.names.keys
        return KeyPlace(self.fs, self.directory, name, self.path_of(name))

    def slot(self) -> form.Slot | None:
        """Return what the last one to close the store wrote, if it did."""
        name = self.names.live
        try:
            fd = self.fs.open(self.directory, name, self.path_of(name), write=False)
        except FileNotFoundError:
            return None
        try:
            return self.keys.verify_slot(self.fs.pread(fd, form.SLOT_BYTES, 0), self.key_place)
        finally:
            self.fs.close(fd)

    def listing(self) -> Listing:
        """Return which files are there."""
        return self.names.sort_out(self.fs.list(self.directory))

    def open_lock(self, name: str) -> OpenFile:
        """Open a file that is there to be locked; make it if it is missing."""
        try:
            fd = self.fs.open(self.directory, name, self.path_of(name))
        except FileNotFoundError:
            try:
                fd = self.fs.create(self.directory, name)
            except FileExistsError:  # another process was faster
                fd = self.fs.open(self.directory, name, self.path_of(name))
        return OpenFile(fd, self.fs.close)

    def open_log(self, generation: int) -> Log:
        """Open the log of *generation*; its header must say so too."""
        name = self.names.wal(generation)
        path = self.path_of(name)
        log = Log.open(
            self.fs,
            self.directory,
            name,
            path,
            partial(self._read_head, path, form.WAL_MAGIC),
            write=not self.read_only,
        )
        if log.header.generation != generation:
            raise Corruption(log.path, 28, f"is of generation {log.header.generation:016x}")
        return log

    def open_snapshot(self, generation: int) -> Snapshot:
        """Open the snapshot of *generation*; its header must say so too."""
        name = self.names.snapshot(generation)
        path = self.path_of(name)
        snapshot = Snapshot.open(self.fs, self.directory, name, path, self.read_snapshot_head(path))
        if snapshot.generation != generation:
            raise Corruption(snapshot.path, 28, f"is of generation {snapshot.generation:016x}")
        return snapshot

    def read_snapshot_head(self, path: str) -> Callable[[int], form.Head]:
        """Return what reads the head of the open snapshot that is, or will be, at *path*."""
        return partial(self._read_head, path, form.SNAPSHOT_MAGIC)

    def _read_head(self, path: str, magic: bytes, fd: int) -> form.Head:
        try:
            return self.keys.verify(
                self.fs.pread(fd, form.HEADER_BYTES, 0), path, magic, self.key_place
            )
        except DecryptError:
            if not self.fs.is_linked(fd):  # it went meanwhile, and the key that it was made under
                raise FileNotFoundError(errno.ENOENT, "was deleted meanwhile", path) from None
            raise

    def new_head(self, magic: bytes, store: bytes, generation: int, link: int) -> form.Head:
        """Return what a new log or snapshot begins with.

        Raises:
            Corruption: somebody has put a file there whose generation is the last.
        """
        if generation > _LAST_GENERATION:
            raise Corruption(self.path, 0, "holds a file of the last generation there can be")
        name = self.names.wal if magic == form.WAL_MAGIC else self.names.snapshot
        salt = self.random_bytes(form.SALT_BYTES)
        header = form.Header(magic, store, generation, salt, link)
        return self.keys.sign(header, self.path_of(name(generation)), self.key_place)

    def create_log(self, head: form.Head, records: Iterable[bytes] = ()) -> Log:
        """Publish a new log, durably; *records* are encoded for its *head*."""
        name = self.names.wal(head.header.generation)
        return Log.create(self.fs, self.directory, name, self.path_of(name), head, records)

    def unlink(self, names: Iterable[str]) -> None:
        """Take files out of the directory."""
        for name in names:
            self.fs.unlink(self.directory, name)


@dataclass
class Replayed:
    """What one log holds."""

    table: Table
    seal: form.Seal | None = None
    torn: form.Bad | None = None

    @property
    def log(self) -> Log:
        """Where it was read."""
        return self.table.log


@dataclass(frozen=True)
class Chain:
    """A snapshot, if there is one, and the logs that follow it, oldest first."""

    listing: Listing
    snapshot: Snapshot | None
    logs: list[Replayed]

    @property
    def live(self) -> Replayed:
        """The log that is written to."""
        return self.logs[-1]

    @property
    def base(self) -> int:
        """The generation whose log is the first that the snapshot does not hold."""
        return self.snapshot.generation if self.snapshot else FIRST_GENERATION

    @property
    def view(self) -> View:
        """What readers see of it."""
        return View(self.snapshot, tuple(replayed.table for replayed in reversed(self.logs)))


def load_chain(place: Place, listing: Listing, slot: form.Slot | None) -> Chain:
    """Read which files count and all that the logs among them hold.

    Args:
        place: where they lie.
        listing: their names.
        slot: what the last one to close the store wrote.

    Raises:
        Corruption: a file is damaged or missing.
        OSError: a file could not be read.
    """
    snapshot = place.open_snapshot(listing.snapshots[-1]) if listing.snapshots else None
    base = snapshot.generation if snapshot else FIRST_GENERATION
    logs = _choose_logs(place, listing, base)
    _check_agreement(place, snapshot, logs, slot)
    replayed = _replay_chain(place, logs, snapshot.sequence if snapshot else 0, slot)
    return Chain(listing, snapshot, replayed)


def load_settled(place: Place) -> Chain | None:
    """Load a store that others may be writing to meanwhile; None if there is none.

    Raises:
        Corruption: a file is damaged or missing.
        StoreError: it changed too often.
        OSError: a file could not be read.
    """
    last: tuple[str, int] | None = None
    for _ in range(_TRIES):
        try:
            listing, slot = place.listing(), place.slot()
            if is_nothing(listing, slot):
                return None
            return load_chain(place, listing, slot)
        except FileNotFoundError:  # compacted meanwhile
            continue
        except Corruption as error:
            # What is still bad when looked at again was not just being written.
            if last == (error.path, error.offset):
                raise
            last = error.path, error.offset
    raise StoreError(f"{place.path} changed too often to be read; try again")


def is_nothing(listing: Listing, slot: form.Slot | None) -> bool:
    """Say whether there is no store yet."""
    return not listing.wals and not listing.snapshots and slot is None


def check_headers(place: Place) -> None:
    """Look at the header of every file, without any lock.

    Raises:
        Corruption: one is damaged, of another store or of an unknown version.
        DecryptError: the key file, or one that is sealed, does not go with the encryption key.
    """
    place.keys.check(place.key_place)
    listing = place.listing()
    snapshot = place.open_snapshot(listing.snapshots[-1]) if listing.snapshots else None
    _check_stores(snapshot, [place.open_log(generation) for generation in listing.wals])


def _choose_logs(place: Place, listing: Listing, base: int) -> list[Log]:
    """Return the logs that count, oldest first: from *base* on, without those replaced since."""
    logs: list[Log] = []
    replaced_from = listing.newest + 1
    for generation in reversed(listing.wals):
        if base <= generation < replaced_from:
            log = place.open_log(generation)
            logs.append(log)
            replaced_from = log.header.link or replaced_from
    logs.reverse()
    if not logs or base not in (logs[0].header.generation, logs[0].header.link):
        raise Corruption(place.path_of(place.names.wal(base)), 0, "is missing")
    return logs


def _check_agreement(
    place: Place, snapshot: Snapshot | None, logs: list[Log], slot: form.Slot | None
) -> None:
    _check_stores(snapshot, logs)
    if slot is None:
        return
    if slot.store != logs[0].header.store:
        raise Corruption(place.path_of(place.names.live), 12, "is of another store")
    if slot.generation > logs[-1].header.generation:
        raise Corruption(place.path_of(place.names.wal(slot.generation)), 0, "is missing")


def _check_stores(snapshot: Snapshot | None, logs: list[Log]) -> None:
    stores = [(log.path, log.header.store) for log in logs]
    if snapshot:
        stores.append((snapshot.path, snapshot.store))
    for path, store in stores[1:]:
        if store != stores[0][1]:
            raise Corruption(path, 12, f"is of another store than {stores[0][0]}")


def _replay_chain(
    place: Place, logs: list[Log], sequence: int, slot: form.Slot | None
) -> list[Replayed]:
    """Replay the logs that were written to, oldest first; check that each leads to the next."""
    chain = []
    while logs:
        log, *logs = logs
        replayed = _replay(log, sequence, slot)
        chain.append(replayed)
        sequence = replayed.table.sequence
        # A compaction that did not come to its seal leaves the next log behind, empty.
        if replayed.seal is None:
            if not all(map(_is_empty, logs)):
                raise Corruption(
                    log.path, replayed.table.end, "ends without a SEAL, yet a log follows"
                )
            break
        while logs and not replayed.seal.leads_to(logs[0].header) and _is_empty(logs[0]):
            logs = logs[1:]
        if not logs or not replayed.seal.leads_to(logs[0].header):
            missing = place.names.wal(replayed.seal.generation)
            raise Corruption(place.path_of(missing), 0, "is missing")
    return chain


def _is_empty(log: Log) -> bool:
    """Say whether nothing was ever acknowledged in a log that no SEAL leads to.

    A process whose sync of the log before it failed may have left a POISON here, or half of one.
    """
    return all(record.kind == form.POISON for record in log.find_records(form.HEADER_BYTES))


def _replay(log: Log, sequence: int, slot: form.Slot | None) -> Replayed:
    """Take in one log up to its end, or up to where a crash tore it."""
    table = Table(log, sequence)
    replayed = Replayed(table)
    durable = slot.length if slot and slot.generation == log.header.generation else 0
    for found in log.replay():
        if replayed.seal is not None:
            raise Corruption(log.path, found.offset, "bytes follow the SEAL")
        if isinstance(found, form.Bad):
            _judge(log, found, durable)
            replayed.torn = found
            break
        check_order(table, found)
        if found.kind == form.SEAL:
            replayed.seal = form.decode_seal(found.payload)
        table.apply(found)
    if durable > table.end:
        raise Corruption(
            log.path,
            table.end,
            f"ends here, though {durable} bytes were synced at the last close",
        )
    return replayed


def check_order(table: Table, record: form.Record) -> None:
    """Let *record* follow what *table* took in, if it may.

    Raises:
        Corruption: it may not.
        DecryptError: it may not, though it was sealed: somebody has moved it.
    """
    check_sequence(table, record, table.log)
    kind = record.kind
    reason = ""
    if not form.PUT <= kind <= form.POISON:
        reason = f"record type {kind} is not known"
    elif kind == form.SEAL:
        count = form.decode_seal(record.payload).record_count
        if count != table.count:
            reason = f"SEAL counts {count} records, {table.count} were read"
    if reason:
        raise _out_of_order(table.log, record, reason)


def check_sequence(table: Table, record: form.Record, log: Log) -> None:
    """Let *record* of *log* follow what *table* took in, by its number; see :func:`check_order`."""
    if record.sequence != table.sequence + 1:
        raise _out_of_order(log, record, f"sequence {record.sequence} after {table.sequence}")


def _out_of_order(log: Log, record: form.Record, reason: str) -> StoreError:
    # What was sealed did not get there by rot.
    return (
        Corruption(log.path, record.offset, reason)
        if log.sealer is None
        else (log.sealer.tampered())
    )


def _judge(log: Log, found: form.Bad, durable: int) -> None:
    """Raise :class:`Corruption` unless *found*, which ends the log, can be a torn write.

    A crash tears only what was never acknowledged.  What was, some later record knows of: it
    carries how much of the file was synced when it was written.
    """
    known = max([durable, *(record.durable for record in log.find_records(found.offset))])
    if known > found.offset:
        raise Corruption(
            log.path, found.offset, f"{found.reason}, in what was synced up to {known}"
        )
