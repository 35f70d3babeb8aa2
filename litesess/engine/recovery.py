"""Opening a store for writing: making it, going on with it, putting it right after a crash.

Only the one who holds the presence lock may call :func:`open_store`.  After a clean close the
logs are followed as they are.  After any other stop their records are copied into one new log:
a page that once failed to reach the disk is never built upon (docs/design.rst, "Opening").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from litesess.engine import format as form
from litesess.engine.chain import FIRST_GENERATION, Chain, Place, Replayed, load_chain
from litesess.engine.fs import write_all
from litesess.engine.view import Table, View

logger = logging.getLogger("litesess.engine")

#: So much of a torn tail is kept aside.
LARGEST_TORN: Final = 1 << 20


@dataclass(frozen=True)
class Opened:
    """A store as it was found or put right: everything in it is durable."""

    view: View
    #: Where the live log's records end.
    end: int
    #: The highest generation in use.
    newest: int


def open_store(
    place: Place, slot: form.Slot | None, write_slot: Callable[[form.Slot], None]
) -> Opened:
    """Open the store at *place*, make it anew if nothing is there, put it right after a crash.

    Args:
        place: where it lies; the caller holds the presence lock.
        slot: what the last one to close it wrote.
        write_slot: makes another slot durable.

    Raises:
        Corruption: a file is damaged or missing; no byte was changed.
        OSError: a file could not be read or written.
    """
    listing = place.listing()
    if not listing.wals and not listing.snapshots and slot is None:
        place.unlink(listing.temporary)
        return _create(place)
    chain = load_chain(place, listing, slot)
    # Order: what the coming deletions rely on must be durable first, the names included.
    place.fs.sync_directory(place.directory)
    place.unlink(listing.temporary)
    if not _was_closed(chain, slot):
        chain = _recover(place, chain)
        write_slot(_slot_at(chain.live))
    used = {replayed.log.header.generation for replayed in chain.logs}
    place.unlink(place.names.wal(old) for old in listing.wals if old not in used)
    place.unlink(place.names.snapshot(old) for old in listing.snapshots[:-1])
    return as_opened(chain)


def open_for_reading(place: Place, slot: form.Slot | None) -> Opened:
    """Open the store at *place* as it is, and change nothing.

    Raises:
        Corruption: a file is damaged or missing.
        OSError: a file could not be read.
    """
    return as_opened(load_chain(place, place.listing(), slot))


def as_opened(chain: Chain) -> Opened:
    """Return a chain as what an open store begins with."""
    live = chain.live
    return Opened(
        view=chain.view,
        end=live.end,
        newest=max(chain.listing.newest, live.log.header.generation),
    )


def _slot_at(live: Replayed) -> form.Slot:
    return form.Slot(live.log.header.store, live.log.header.generation, live.end)


def _was_closed(chain: Chain, slot: form.Slot | None) -> bool:
    return slot == _slot_at(chain.live) and chain.live.torn is None


def _recover(place: Place, chain: Chain) -> Chain:
    """Publish one log in place of all in *chain*."""
    torn = chain.live.torn
    if torn is not None:
        _keep_aside(place, chain.live)
        logger.warning(
            "%s offset %d: the last write was cut short (%s); it was never acknowledged",
            chain.live.log.path,
            torn.offset,
            torn.reason,
        )
    return Chain(chain.listing, chain.snapshot, [_copy(place, chain)])


def _keep_aside(place: Place, live: Replayed) -> None:
    """Keep the bytes of a torn tail, for whoever wants to look at them, and no older ones."""
    name = place.names.torn(live.log.header.generation)
    try:
        place.unlink(place.listing().torn)
        fd = place.fs.create(place.directory, name)
        try:
            write_all(place.fs, fd, live.log.tail(live.end, LARGEST_TORN), 0)
        finally:
            place.fs.close(fd)
    except OSError:
        # They are of no use to the store; a full disk must not keep it from opening.
        logger.warning("%s could not be written", place.path_of(name), exc_info=True)


def _create(place: Place) -> Opened:
    store = place.random_bytes(form.STORE_BYTES)
    log = place.create_log(store, FIRST_GENERATION)
    return Opened(View(None, (Table(log, 0),)), form.HEADER_BYTES, FIRST_GENERATION)


def _copy(place: Place, chain: Chain) -> Replayed:
    """Publish one new log that holds the records of all logs of *chain*, and then a MARK."""
    salt = place.random_bytes(form.SALT_BYTES)
    first, live = chain.logs[0], chain.live
    copied = Replayed(Table(live.log, first.table.before), form.HEADER_BYTES)
    log = place.create_log(
        live.log.header.store,
        chain.listing.newest + 1,
        replaces=chain.base,
        salt=salt,
        records=_copied_records(chain, crc32(salt), copied),
    )
    copied.table.log = log  # not the old one: the table holds places in what was just published
    return copied


def _copied_records(chain: Chain, salt_crc: int, copied: Replayed) -> Iterator[bytes]:
    """Yield the new log's records, and note in *copied* what they change and where they stand."""
    table = copied.table
    for replayed in chain.logs:
        for record in replayed.log.records(form.HEADER_BYTES, replayed.end):
            # The next log is the only one, so a SEAL has no meaning there; its number has.
            kind, payload = (
                (record.kind, record.payload)
                if record.kind not in (form.SEAL, form.POISON)
                else (form.MARK, b"")
            )
            start = copied.end
            copied.end += form.RECORD_BYTES + len(payload)
            table.apply(record._replace(offset=start, end=copied.end, kind=kind, payload=payload))
            yield form.encode_record(salt_crc, kind, record.flags, payload, record.sequence, 0)
    if chain.live.table.last_kind != form.MARK:
        # The log is not published before all of it is synced, so it may say so of itself.
        start = copied.end
        mark = form.encode_record(salt_crc, form.MARK, 0, b"", table.sequence + 1, start)
        copied.end += len(mark)
        table.apply(form.Record(start, copied.end, form.MARK, 0, table.sequence + 1, start, b""))
        yield mark
