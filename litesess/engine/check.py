"""Verifying a whole store without changing it, and salvaging the good part of a damaged one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from litesess.engine import format as form
from litesess.engine.chain import load_settled
from litesess.engine.changes import Entry
from litesess.engine.files import Files
from litesess.engine.log import Log
from litesess.engine.replay import decrypted, find_records
from litesess.errors import Corruption, DecryptError


class Verification(NamedTuple):
    """The numbers of good entries, records and bytes."""

    entries: int  # in the snapshot
    records: int  # in the logs behind it
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
    chain = load_settled(files)
    if chain is None:
        return Verification(0, 0, 0)
    files.keys.check(files.directory, is_needed=True)
    # The files stay open, even if a compaction deletes them meanwhile.
    entries = 0 if chain.snapshot is None else chain.snapshot.verify()
    records = sum(replayed.table.count for replayed in chain.logs)
    return Verification(entries, records, sum(replayed.table.end for replayed in chain.logs))


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
    directory = files.directory
    listing, slot = directory.listing(), files.slot()
    found = _Findings()
    base = 0
    for generation in listing.snapshots[-1:]:
        base = generation
        _take_in_snapshot(files, generation, found)
    for log in _readable_logs(files, [item for item in listing.wals if item >= base]):
        if isinstance(log, Corruption):
            found.add_hole(log)
        else:
            _take_in_log(log, slot, found)
    if found.last_kind == form.SEAL:
        missing = directory.wal_path(listing.newest + 1)
        found.add_hole(Corruption(missing, 0, "is missing"))
    kept = {key: found.entries[key] for key in found.certain}
    return kept, Salvaged(len(kept), len(found.entries) - len(kept), found.holes)


class _Findings:
    """The entries that a salvage has read so far."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        #: Keys with their last record after the last hole.
        self.certain: set[bytes] = set()
        self.holes: list[Corruption] = []
        self.sequence = 0
        self.last_kind = 0

    def add_hole(self, hole: Corruption) -> None:
        """Note that a place is not readable: every entry before it is doubtful now."""
        self.holes.append(hole)
        self.certain.clear()

    def take_in(self, record: form.Record) -> None:
        """Take in the changes of *record*."""
        self.sequence, self.last_kind = record.sequence, record.kind
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
    found.sequence = snapshot.sequence


def _take_in_log(log: Log, slot: form.Slot | None, found: _Findings) -> None:
    end = form.HEADER_BYTES
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
            found.sequence, found.last_kind = record.sequence, record.kind
        end = record.end
    is_short = slot is not None and slot.generation == log.header.generation and slot.length > end
    if is_short or not log.is_zero(end):
        # Torn by a crash, or rotten: that can't be told any more.
        found.add_hole(Corruption(log.path, end, "the end is damaged"))


def _readable_logs(files: Files, generations: list[int]) -> Iterator[Log | Corruption]:
    """Yield the logs that count, oldest first: without those that a later one replaces.

    In place of a log with an unreadable header, yield the reason.
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
    yield from reversed(logs)


def _hole(error: Corruption | DecryptError, path: str) -> Corruption:
    return error if isinstance(error, Corruption) else Corruption(path, 0, str(error))
