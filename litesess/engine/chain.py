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
from litesess.engine.runs import Run
from litesess.engine.snapshot import Snapshot
from litesess.engine.table import Table
from litesess.engine.touches import Touches
from litesess.engine.view import View
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
    durable: int = 0  # so much of it was synced, as its records and the slot know

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
        """The generation of the first log that the snapshot does not hold."""
        return self.snapshot.generation if self.snapshot else FIRST_GENERATION

    @property
    def view(self) -> View:
        """The view of its readers."""
        return View(self.snapshot, tuple(replayed.table for replayed in reversed(self.logs)))

    @property
    def slot(self) -> form.Slot:
        """The slot of a clean close that would have left the store so."""
        header = self.current.log.header
        return form.Slot(header.store, header.generation, self.current.table.end)

    def was_closed(self, slot: form.Slot | None) -> bool:
        """Return whether the last to have the store open has closed it, and *slot* says so."""
        return slot == self.slot and self.current.torn is None


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
    replayed = _replay_chain(files, logs, snapshot, slot)
    chain = Chain(listing, snapshot, replayed)
    if not chain.was_closed(slot):
        _check_end(chain, slot)
    return chain


def _check_end(chain: Chain, slot: form.Slot | None) -> None:
    """Check that the last log of a store that was not closed is as long as it was left."""
    current = chain.current
    log, end = current.log, current.table.end
    if slot is not None and slot.generation > log.header.generation:
        raise Corruption(log.path, end, f"ends here, though log {slot.generation:016x} followed")
    is_backup = ends_with_a_record(slot, log.header) and current.torn is None
    if not is_backup and log.was_cut(end, current.torn):
        raise cut_short(log, end, current.durable)


def ends_with_a_record(slot: form.Slot | None, header: form.Header) -> bool:
    """Return whether the log may end with its last record, as that of a backup does.

    In those that litesess made first the slot may name an earlier record, if the store was in use.
    """
    return (
        slot is not None
        and not slot.is_in_use
        and (slot.store, slot.generation) == (header.store, header.generation)
    )


def cut_short(log: Log, end: int, durable: int) -> Corruption:
    """Return the error for a log that is shorter than any crash leaves it.

    Args:
        log: it.
        end: where its last record ends.
        durable: how much of it is known to have been synced.
    """
    return Corruption(
        log.path,
        end,
        "the file was cut short, by a copy that did not end or a damaged file system: what was"
        f" written behind offset {end}, logins and logouts, may be lost; up to offset {durable} it"
        " is known to have been synced; put back a whole copy",
    )


def load_settled(files: Files) -> Chain | None:
    """Load a store while other processes can write to it; return None if it does not exist.

    Raises:
        Corruption: a file is damaged or missing.
        StoreError: it changed too often.
        OSError: a file could not be read.
    """
    last: tuple[str, int] | None = None
    for _ in range(_TRIES):
        try:
            # Order: the slot first, so that the log that it names was there before the listing.
            slot, listing = files.slot(), files.directory.listing()
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
    files: Files, logs: list[Log], snapshot: Snapshot | None, slot: form.Slot | None
) -> list[Replayed]:
    """Replay the logs that were written to, oldest first; check that each leads to the next."""
    chain = []
    sequence = snapshot.sequence if snapshot else 0
    while logs:
        log, *logs = logs
        replayed = _replay(Table(log, sequence, Touches(snapshot)), slot)
        chain.append(replayed)
        sequence = replayed.table.sequence
        # A compaction that was stopped before its SEAL leaves an empty next log.
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

    It can hold a POISON, or half of one, of a process that could not sync the log before.
    """
    return all(record.kind == form.POISON for record in find_records(log))


def _replay(table: Table, slot: form.Slot | None) -> Replayed:
    """Take in the log of *table* up to its end, or up to where a crash tore it."""
    log = table.log
    replayed = Replayed(table)
    durable = slot.length if slot and slot.generation == log.header.generation else 0
    replayed.durable = durable
    for found in replay(log):
        if replayed.seal is not None:
            raise Corruption(log.path, found.offset, "bytes follow the SEAL")
        if isinstance(found, form.Bad):
            _judge(log, found, durable)
            replayed.torn = found
            break
        if isinstance(found, Run):
            check_sequence(table, found, log)
            replayed.durable = max(replayed.durable, found.durable)
            table.apply_run(found)
            continue
        check_order(table, found)
        replayed.durable = max(replayed.durable, found.durable)
        if found.kind == form.SEAL:
            replayed.seal = form.decode_seal(found.payload)
        table.apply(found)
    if durable > table.end:
        raise Corruption(
            log.path,
            table.end,
            f"ends here, though {durable} bytes of it were synced, as the slot knows",
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


def check_sequence(table: Table, record: form.Record | Run, log: Log) -> None:
    """Check the (first) number of *record* of *log*; see :func:`check_order`."""
    if record.sequence != table.sequence + 1:
        raise _out_of_order(log, record, f"sequence {record.sequence} after {table.sequence}")


def _out_of_order(log: Log, record: form.Record | Run, reason: str) -> StoreError:
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
            log.path, found.offset, f"{found.reason}, in bytes that were synced up to {known}"
        )
