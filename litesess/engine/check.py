"""Verifying a whole store without changing it, and salvaging the good part of a damaged one."""

from __future__ import annotations

from typing import NamedTuple

from litesess.engine import chain
from litesess.engine import format as form
from litesess.engine.changes import Entry
from litesess.engine.files import Files
from litesess.engine.log import Log
from litesess.engine.replay import decrypted, find_records
from litesess.errors import Corruption, DecryptError


class Verification(NamedTuple):
    """The numbers of good entries, records and bytes."""

    entries: int  # in the snapshot
    records: int  # in the logs after it
    log_bytes: int


def verify(files: Files) -> Verification:
    """Read everything that counts in a store and check it; it may be in use meanwhile.

    Args:
        files: those of the store; nothing is changed.

    Raises:
        Corruption: something is damaged or missing.
        StoreError: the store changed too often.
        OSError: something could not be read.
    """
    loaded = chain.load_settled(files)
    if loaded is None:
        return Verification(0, 0, 0)
    files.keys.check(files.directory, is_needed=True)
    # The files stay open, even if a compaction deletes them meanwhile.
    entries = 0 if loaded.snapshot is None else loaded.snapshot.verify()
    records = sum(replayed.table.count for replayed in loaded.logs)
    return Verification(entries, records, sum(replayed.table.end for replayed in loaded.logs))


class Salvaged(NamedTuple):
    """The result of :func:`salvage`: how much it kept, and how much it had to leave."""

    kept: int
    #: Readable, but left: a hole follows that may have held their deletion.
    doubtful: int
    #: Places that could not be read, each as path, offset and reason.
    holes: list[Corruption]


def salvage(files: Files) -> tuple[dict[bytes, Entry], Salvaged]:
    """Return every entry of a damaged store that is certain to have been stored last.

    An entry with its last readable record before a hole is left: the hole may have held
    its deletion, and logged out stays logged out.

    Args:
        files: those of the store; nothing is changed, and no process may be using it.

    Raises:
        OSError: something could not be read.
    """
    listing, slot = files.directory.listing(), files.slot()
    found = _Findings()
    base = chain.FIRST_GENERATION
    for generation in listing.snapshots[-1:]:
        base = generation
        _take_in_snapshot(files, generation, found)
    logs = _readable_logs(files, [item for item in listing.wals if item >= base])
    if not logs or not _begins_at(base, logs[0]):
        # Deletions stood there.
        found.add_hole(_missing(files, base))
    for log in logs:
        if isinstance(log, Corruption):
            found.add_hole(log)
        elif found.is_of_store(log.header.store):
            _take_in_log(log, slot, found)
        else:
            found.add_hole(Corruption(log.path, 12, "is of another store"))
    if found.seal is not None:
        found.add_hole(_missing(files, found.seal.generation))
    if slot is not None and slot.generation >= base:
        if logs and not any(_accounts_for(log, slot.generation) for log in logs):
            found.add_hole(_missing(files, slot.generation))
        if not found.is_of_store(slot.store):
            names = files.directory.names
            path = files.directory.path_of(names.presence)
            found.add_hole(Corruption(path, 12, "is of another store"))
    kept = {key: found.entries[key] for key in found.certain}
    return kept, Salvaged(len(kept), len(found.entries) - len(kept), found.holes)


def _begins_at(base: int, log: Log | Corruption) -> bool:
    """Return whether *log* follows a snapshot of generation *base*, or is a hole anyway."""
    return isinstance(log, Corruption) or base in (log.header.generation, log.header.link)


def _accounts_for(log: Log | Corruption, generation: int) -> bool:
    """Return whether *log* is the one of *generation*, or holds its records anew."""
    if isinstance(log, Corruption):
        return False
    header = log.header
    return (header.link or header.generation) <= generation <= header.generation


def _missing(files: Files, generation: int) -> Corruption:
    return Corruption(files.directory.wal_path(generation), 0, "is missing")


class _Findings:
    """The entries that a salvage has read so far."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        #: Keys with their last record after the last hole.
        self.certain: set[bytes] = set()
        self.holes: list[Corruption] = []
        self.sequence = 0
        #: The log that the last SEAL leads to, until that is read.
        self.seal: form.Seal | None = None
        self._store: bytes | None = None

    def is_of_store(self, store: bytes) -> bool:
        """Return whether a file is of the store that those before it are of."""
        if self._store is None:
            self._store = store
        return store == self._store

    def add_hole(self, hole: Corruption) -> None:
        """Note that a place is not readable: every entry before it is doubtful now."""
        self.holes.append(hole)
        self.certain.clear()

    def take_in(self, record: form.Record) -> None:
        """Take in the changes of *record*."""
        self.sequence = record.sequence
        if record.kind == form.SEAL:
            self.seal = form.decode_seal(record.payload)
        for kind, flags, payload in form.members(record):
            key = form.key_of(payload)
            if kind == form.PUT:
                self.entries[key] = form.decode_put(payload, flags, record.sequence)
                self.certain.add(key)
            elif kind == form.TOUCH:
                touch = form.decode_touch(payload)
                entry = self.entries.get(key)
                if entry is not None and entry.version == touch.version:
                    self.entries[key] = entry._replace(expires_at=touch.expires_at)
                    self.certain.add(key)  # it lived then
            elif kind == form.DELETE:
                self.entries.pop(key, None)
                self.certain.discard(key)
            elif kind == form.CLEAR:
                self.entries.clear()
                self.certain.clear()


def _take_in_snapshot(files: Files, generation: int, found: _Findings) -> None:
    try:
        snapshot = files.open_snapshot(generation)
    except (Corruption, DecryptError) as error:
        found.add_hole(_hole(error, files.directory.snapshot_path(generation)))
        return
    for position in range(snapshot.count):
        try:
            key, entry = snapshot.entry(position)
        except (Corruption, DecryptError) as error:
            # Its neighbours are whole, and nothing else is written between them.
            found.holes.append(_hole(error, snapshot.path))
        else:
            found.entries[key] = entry
            found.certain.add(key)
    found.is_of_store(snapshot.store)
    found.sequence = snapshot.sequence


def _take_in_log(log: Log, slot: form.Slot | None, found: _Findings) -> None:
    if found.seal is not None and found.seal.leads_to(log.header):
        found.seal = None
    header = log.header
    end = form.HEADER_BYTES
    durable = slot.length if slot is not None and slot.generation == header.generation else 0
    is_sealed = False
    for record in find_records(log, end):
        if record.sequence <= found.sequence:
            # A copy of one that was taken in already: its changes may have been undone since.
            found.add_hole(Corruption(log.path, record.offset, "an older record lies there"))
            continue
        if record.sequence != found.sequence + 1:
            missing = f"sequence {record.sequence} after {found.sequence}"
            found.add_hole(Corruption(log.path, end, missing))
        try:
            found.take_in(decrypted(log, record))
        except DecryptError as error:
            found.add_hole(_hole(error, log.path))
            found.sequence = record.sequence
        end = record.end
        is_sealed = record.kind == form.SEAL
        durable = max(durable, record.durable)
    if durable > end or not log.is_zero(end):
        # Torn by a crash, or rotten: that can't be told any more.
        found.add_hole(Corruption(log.path, end, "the end is damaged"))
    elif not (is_sealed or chain.ends_with_a_record(slot, header)) and log.was_cut(end, None):
        found.add_hole(chain.cut_short(log, end, durable))


def _readable_logs(files: Files, generations: list[int]) -> list[Log | Corruption]:
    """Return the logs that count, oldest first: without those that a later one replaces.

    In place of a log with an unreadable header stands the reason.
    """
    logs: list[Log | Corruption] = []
    replaced_from = 1 << 64
    for generation in reversed(generations):
        if generation >= replaced_from:
            continue
        try:
            log = files.open_log(generation)
        except (Corruption, DecryptError) as error:
            logs.append(_hole(error, files.directory.wal_path(generation)))
        else:
            logs.append(log)
            replaced_from = log.header.link or replaced_from
    logs.reverse()
    return logs


def _hole(error: Corruption | DecryptError, path: str) -> Corruption:
    return error if isinstance(error, Corruption) else Corruption(path, 0, str(error))
