"""Opening a store for writing: making it, going on with it, putting it right after a crash.

Only a process that has the presence lock alone may call :func:`open_store`.  After a clean close
the logs are followed as they are.  After any other stop their records are copied into one new
log: a page that once failed to reach the disk is never built upon (docs/design.rst, "Opening").
All other processes join.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final
from zlib import crc32

from litesess.engine import format as form
from litesess.engine.chain import (
    FIRST_GENERATION,
    Chain,
    Replayed,
    check_sequence,
    is_nothing,
    load_chain,
    load_settled,
)
from litesess.engine.directory import TEMPORARY_SUFFIX, Directory, Listing
from litesess.engine.files import Files
from litesess.engine.fs import is_full, write_all
from litesess.engine.log import Log
from litesess.engine.replay import records
from litesess.engine.runs import Run
from litesess.engine.table import Table
from litesess.engine.touches import Touches
from litesess.errors import StoreError

logger = logging.getLogger("litesess.engine")

#: So much of a torn tail is kept aside.
LARGEST_TORN: Final = 1 << 20


def open_store(
    files: Files, write_slot: Callable[[form.Slot], None], lock: Callable[[int], None]
) -> Chain:
    """Open the store: make it if it is missing, recover it after a crash.

    Args:
        files: those of the store; the caller holds the presence lock alone.
        write_slot: makes another slot durable.
        lock: locks an open file, until that is closed.

    Returns:
        The store's files, all durable.

    Raises:
        Corruption: a file is damaged or missing; no byte was changed.
        OSError: a file could not be read or written.
    """
    listing, slot = files.directory.listing(), files.slot()
    if is_nothing(listing, slot):
        files.directory.unlink(listing.temporary)
        chain = _create(files)
        # Order: after the log, or that would be missing.
        write_slot(chain.slot._replace(is_in_use=True))
        return chain
    chain = load_chain(files, listing, slot)
    if not chain.was_closed(slot):
        return _begin_anew(files, chain, listing, slot, write_slot, lock)
    _drop_garbage(files, chain)
    log = chain.current.log
    try:
        if _is_in_place(files, log):
            log.fill(chain.current.table.end)
            _go_on(chain, write_slot)
            return chain
        listing = files.directory.listing()
        return _begin_anew(files, chain, listing, slot, write_slot, lock)
    except OSError as error:
        if not is_full(error) or files.directory.listing() != listing:
            raise
        logger.warning(
            "%s has no room for logouts if the disk stays full; it gets some when it is opened"
            " or compacted with %d bytes free",
            log.path,
            log.size,
        )
    log.close()  # it may have been locked
    return load_chain(files, listing, slot)


def _is_in_place(files: Files, log: Log) -> bool:
    """Return whether *log* is overwritten in place; True where none can be."""
    if log.is_in_place():
        return True
    directory = files.directory
    name = log.path.rpartition("/")[2] + TEMPORARY_SUFFIX
    empty = directory.create(name)
    try:
        return not directory.fs.keep_in_place(empty.fd)
    finally:
        empty.close()
        directory.discard(name)


def _begin_anew(
    files: Files,
    chain: Chain,
    listing: Listing,
    slot: form.Slot | None,
    write_slot: Callable[[form.Slot], None],
    lock: Callable[[int], None],
) -> Chain:
    """Copy the content of the logs of *chain* into a new one; see :func:`open_store`."""
    # Guards: if the presence lock was deleted, other processes may still be writing and
    # compacting.  Kept until there is another log, these locks send them there.
    maintenance = files.directory.open_lock(files.directory.names.maintenance)
    try:
        lock(maintenance.fd)
        if files.directory.listing() != listing:
            chain = load_chain(files, files.directory.listing(), slot)
        current = chain.current.log
        lock(current.file.fd)
        if current.goes_on(chain.current.table.end):
            chain = load_chain(files, files.directory.listing(), slot)
        # Order: the snapshot's name before a log that replaces the logs after it.
        files.directory.sync()
        chain = _recover(files, chain)
        write_slot(chain.slot._replace(is_in_use=True))
        _drop_garbage(files, chain)
        current.close()
    finally:
        maintenance.close()
    return chain


def _go_on(chain: Chain, write_slot: Callable[[form.Slot], None]) -> None:
    """Prepare a store that was closed, or is a backup, to be written to."""
    log, slot = chain.current.log, chain.slot
    size = log.grow(slot.length)  # a backup ends with its last record
    if size > log.reserved:
        log.sync()
        log.reserved = size
    # Order: that is durable before, as the slot says from now on that the file was not cut.
    write_slot(slot._replace(is_in_use=True))


def _drop_garbage(files: Files, chain: Chain) -> None:
    """Delete the files that *chain* does not need."""
    # Order: the files that the deletions rely on must be durable first, their names included.
    files.directory.sync()
    listing, names = files.directory.listing(), files.directory.names
    used = {replayed.log.header.generation for replayed in chain.logs}
    files.directory.unlink(listing.temporary)
    files.directory.unlink(names.wal(old) for old in listing.wals if old not in used)
    files.directory.unlink(names.snapshot(old) for old in listing.snapshots[:-1])


def load_existing(files: Files) -> Chain:
    """Load a store that must be there, and may be written to meanwhile.

    Raises:
        Corruption: a file is damaged or missing.
        StoreError: there is no store.
        OSError: a file could not be read.
    """
    chain = load_settled(files)
    if chain is None:
        raise StoreError(f"{files.directory.path}: there is no store yet")
    return chain


def _recover(files: Files, chain: Chain) -> Chain:
    """Publish one log in place of all in *chain*."""
    torn = chain.current.torn
    if torn is not None:
        keep_aside(files.directory, chain.current.log, torn)
        warn_of_torn(chain.current.log, torn, chain.current.durable)
    return Chain(chain.listing, chain.snapshot, [_copy(files, chain)])


def warn_of_torn(log: Log, torn: form.Bad, durable: int) -> None:
    """Log that the bytes after the last record were dropped, with the length known as synced."""
    logger.warning(
        "%s offset %d: what stands there is no record (%s), and was dropped; a write that a crash"
        " cut short looks so, and was not acknowledged as durable, but damage looks so, too: only"
        " what stands before offset %d is known to have been synced",
        log.path,
        torn.offset,
        torn.reason,
        durable,
    )


def keep_aside(directory: Directory, log: Log, torn: form.Bad) -> None:
    """Keep the bytes of a torn tail, for a look at them, and delete older ones."""
    name = directory.names.torn(log.header.generation)
    try:
        directory.unlink(directory.listing().torn)
        file = directory.create(name)
        try:
            write_all(directory.fs, file.fd, log.tail(torn.offset, LARGEST_TORN), 0)
        finally:
            file.close()
    except OSError:  # they are of no use to the store; a full disk must not keep it from opening
        return


def _create(files: Files) -> Chain:
    # Order: the key before the log that is encrypted under it.
    store = files.random_bytes(form.STORE_BYTES)
    files.keys.create(files.directory, store)
    log = files.create_log(files.new_head(form.WAL_MAGIC, store, FIRST_GENERATION, 0))
    return Chain(files.directory.listing(), None, [Replayed(Table(log, 0))])


def _copy(files: Files, chain: Chain) -> Replayed:
    """Publish one new log that holds the records of all logs of *chain*, and then a MARK."""
    first, current = chain.logs[0], chain.current
    # The touches are had already, by position.
    touched = first.table.touched
    copied = Replayed(Table(current.log, first.table.before, Touches(None, touched.sequence)))
    head = files.new_head(
        form.WAL_MAGIC, current.log.header.store, chain.listing.newest + 1, chain.base
    )
    log = files.create_log(head, _copied_records(chain, head, copied))
    copied.table.log = log  # not the old one: the table holds offsets in the new one
    for replayed in chain.logs[1:]:
        touched.add(replayed.table.touched)
    copied.table.touched = touched
    return copied


def _copied_records(chain: Chain, head: form.Head, copied: Replayed) -> Iterator[bytes]:
    """Yield the new log's records, and take them into the table of *copied*."""
    table, salt_crc = copied.table, crc32(head.header.salt)

    def encoded(kind: int, flags: int, payload: bytes, sequence: int, durable: int) -> bytes:
        start = table.end
        data = form.encode_record(
            salt_crc, head.cipher, kind, flags, payload, sequence, durable, start
        )
        end = start + len(data)
        table.apply(form.Record(start, end, kind, flags, sequence, durable, payload))
        return data

    for replayed in chain.logs:
        for record in records(replayed.log, replayed.table.end):
            check_sequence(table, record, replayed.log)  # it is read for the second time
            if isinstance(record, Run):
                start, size = table.end, record.end - record.offset
                table.apply_run(record._replace(offset=start, end=start + size))
                yield record.copied(salt_crc)
                continue
            # The next log is the only one, so a SEAL has no meaning there; its number has.
            kind, payload = (
                (record.kind, record.payload)
                if record.kind not in (form.SEAL, form.POISON)
                else (form.MARK, b"")
            )
            yield encoded(kind, record.flags, payload, record.sequence, 0)
    if chain.current.table.last_kind != form.MARK:
        # The log is not published before all of it is synced, so it may say so of itself.
        yield encoded(form.MARK, 0, b"", table.sequence + 1, table.end)
