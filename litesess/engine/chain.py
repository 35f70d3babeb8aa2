"""The files of a store that count, and their content; nothing here changes the disk.

Every reader of a store begins here: to open it, only to read it, or to verify it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from litesess.engine import format as form
from litesess.engine.directory import Listing
from litesess.engine.files import Files
from litesess.engine.log import Log
from litesess.engine.replay import find_records, replay
from litesess.engine.snapshot import Snapshot
from litesess.engine.view import Table, View
from litesess.errors import Corruption, StoreError

FIRST_GENERATION: Final = 1

#: A compaction may take files away while they are read, and a writer be half-way through a record.
_TRIES: Final = 10


@dataclass
class Replayed:
    """The content of one log."""

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
    def current(self) -> Replayed:
        """The log that is written to."""
        return self.logs[-1]

    @property
    def base(self) -> int:
        """The generation whose log is the first that the snapshot does not hold."""
        return self.snapshot.generation if self.snapshot else FIRST_GENERATION

    @property
    def view(self) -> View:
        """The view of its readers."""
        return View(self.snapshot, tuple(replayed.table for replayed in reversed(self.logs)))


def load_chain(files: Files, listing: Listing, slot: form.Slot | None) -> Chain:
    """Read which files count and all that the logs among them hold.

    Args:
        files: those of the store.
        listing: their names.
        slot: the note of the last process to close the store.

    Raises:
        Corruption: a file is damaged or missing.
        OSError: a file could not be read.
    """
    if slot is None and not (listing.wals or listing.snapshots):
        raise Corruption(
            files.directory.path_of(files.directory.names.maintenance),
            0,
            "is there, but no log and no snapshot: they are missing, as in a copy that was made"
            " while they were replaced; copy anew by litesess backup, or remove this file, too, for"
            " a new store without sessions",
        )
    snapshot = files.open_snapshot(listing.snapshots[-1]) if listing.snapshots else None
    base = snapshot.generation if snapshot else FIRST_GENERATION
    logs = _choose_logs(files, listing, base)
    _check_agreement(files, snapshot, logs, slot)
    replayed = _replay_chain(files, logs, snapshot.sequence if snapshot else 0, slot)
    return Chain(listing, snapshot, replayed)


def load_settled(files: Files) -> Chain | None:
    """Load a store to which other processes may be writing; return None if there is none.

    Raises:
        Corruption: a file is damaged or missing.
        StoreError: it changed too often.
        OSError: a file could not be read.
    """
    last: tuple[str, int] | None = None
    for _ in range(_TRIES):
        try:
            listing, slot = files.directory.listing(), files.slot()
            if is_nothing(listing, slot):
                return None
            return load_chain(files, listing, slot)
        except FileNotFoundError:  # compacted meanwhile
            continue
        except Corruption as error:
            # A record that is still bad at a second look was not just being written.
            if last == (error.path, error.offset):
                raise
            last = error.path, error.offset
    raise StoreError(f"{files.directory.path} changed too often to be read; try again")


def is_nothing(listing: Listing, slot: form.Slot | None) -> bool:
    """Return whether there is no store yet."""
    return not (listing.wals or listing.snapshots or listing.was_opened) and slot is None


def check_headers(files: Files) -> None:
    """Look at the header of every file, without any lock.

    Raises:
        Corruption: one is damaged, of another store or of an unknown version.
        DecryptError: the key file, or an encrypted file, does not go with the encryption key.
    """
    files.keys.check(files.directory)
    listing = files.directory.listing()
    snapshot = files.open_snapshot(listing.snapshots[-1]) if listing.snapshots else None
    _check_stores(snapshot, [files.open_log(generation) for generation in listing.wals])


def _choose_logs(files: Files, listing: Listing, base: int) -> list[Log]:
    """Return the logs that count, oldest first: from *base* on, without those replaced since."""
    logs: list[Log] = []
    replaced_from = listing.newest + 1
    for generation in reversed(listing.wals):
        if base <= generation < replaced_from:
            log = files.open_log(generation)
            logs.append(log)
            replaced_from = log.header.link or replaced_from
    logs.reverse()
    if not logs or base not in (logs[0].header.generation, logs[0].header.link):
        raise _missing_log(files, base)
    return logs


def _check_agreement(
    files: Files, snapshot: Snapshot | None, logs: list[Log], slot: form.Slot | None
) -> None:
    _check_stores(snapshot, logs)
    if slot is None:
        return
    if slot.store != logs[0].header.store:
        directory = files.directory
        raise Corruption(directory.path_of(directory.names.presence), 12, "is of another store")
    if slot.generation > logs[-1].header.generation:
        raise _missing_log(files, slot.generation)


def _check_stores(snapshot: Snapshot | None, logs: list[Log]) -> None:
    stores = [(log.path, log.header.store) for log in logs]
    if snapshot:
        stores.append((snapshot.path, snapshot.store))
    for path, store in stores[1:]:
        if store != stores[0][1]:
            raise Corruption(path, 12, f"is of another store than {stores[0][0]}")


def _missing_log(files: Files, generation: int) -> Corruption:
    directory = files.directory
    return Corruption(directory.wal_path(generation), 0, "is missing")


def _replay_chain(
    files: Files, logs: list[Log], sequence: int, slot: form.Slot | None
) -> list[Replayed]:
    """Replay the logs that were written to, oldest first; check that each leads to the next."""
    chain = []
    while logs:
        log, *logs = logs
        replayed = _replay(log, sequence, slot)
        chain.append(replayed)
        sequence = replayed.table.sequence
        # A compaction that did not come to its SEAL leaves the next log behind, empty.
        if replayed.seal is None:
            if not all(map(_is_empty, logs)):
                raise Corruption(
                    log.path, replayed.table.end, "ends without a SEAL, yet a log follows"
                )
            break
        while logs and not replayed.seal.leads_to(logs[0].header) and _is_empty(logs[0]):
            logs = logs[1:]
        if not logs or not replayed.seal.leads_to(logs[0].header):
            raise _missing_log(files, replayed.seal.generation)
    return chain


def _is_empty(log: Log) -> bool:
    """Return whether nothing was ever acknowledged in a log that no SEAL leads to.

    A process whose sync of the log before it failed may have left a POISON here, or half of one.
    """
    return all(record.kind == form.POISON for record in find_records(log))


def _replay(log: Log, sequence: int, slot: form.Slot | None) -> Replayed:
    """Take in one log up to its end, or up to where a crash tore it."""
    table = Table(log, sequence)
    replayed = Replayed(table)
    durable = slot.length if slot and slot.generation == log.header.generation else 0
    for found in replay(log):
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
    """Check that *record* may follow the records that *table* took in.

    Raises:
        Corruption: it may not.
        DecryptError: it may not, though it was encrypted: an attacker has moved it.
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
    """Check the number of *record* of *log*; see :func:`check_order`."""
    if record.sequence != table.sequence + 1:
        raise _out_of_order(log, record, f"sequence {record.sequence} after {table.sequence}")


def _out_of_order(log: Log, record: form.Record, reason: str) -> StoreError:
    # An encrypted record did not get there by rot.
    return (
        Corruption(log.path, record.offset, reason)
        if log.cipher is None
        else (log.cipher.tampered())
    )


def _judge(log: Log, found: form.Bad, durable: int) -> None:
    """Raise :class:`Corruption` unless *found*, which ends the log, can be a torn write.

    A crash tears only records that were never acknowledged.  Of acknowledged ones some later record
    knows: it carries how much of the file was synced when it was written.
    """
    known = max([durable, *(record.durable for record in find_records(log, found.offset))])
    if known > found.offset:
        raise Corruption(
            log.path, found.offset, f"{found.reason}, in what was synced up to {known}"
        )
