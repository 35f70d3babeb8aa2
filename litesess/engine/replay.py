"""Reading a log: on as it grows, or from end to end, to open a store, to copy or salvage it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from litesess.engine import format as form
from litesess.engine.log import CHUNK_BYTES, Log
from litesess.engine.runs import Run, decode_run
from litesess.errors import Corruption

_MAGIC: Final = form.RECORD_MAGIC.to_bytes(2, "little")
_FIRST_LOOK_BYTES: Final = 1 << 12


def follow(log: Log, start: int) -> Iterator[form.Record | Run | form.Bad]:
    """Yield the records from *start* on, and at last the bad one that stops them, if any does.

    A bad record may be being written: that is the end for now.  Runs are looked for only where
    much is to be read.
    """
    base, at, wanted = start, 0, _FIRST_LOOK_BYTES
    data = log.look(wanted, base)
    while True:
        if at == len(data):
            base, at = base + at, 0
            data = log.look(wanted, base)
        if not data or not data[at]:
            return
        if wanted > _FIRST_LOOK_BYTES and log.cipher is None:
            run = decode_run(data, at, base, log.salt_crc)
            if run is not None:
                yield run
                at = run.end - base
                continue
        found = form.decode_record(data, at, base, log.salt_crc, log.cipher)
        if isinstance(found, form.Record):
            yield found
            at = found.end - base
            continue
        more = b""
        if found.short:
            # All of it at once, and a look behind it.
            more = log.look(found.missing + wanted, base + len(data))
        if not more:
            yield found
            return
        base, data, at = base + at, data[at:] + more, 0
        wanted = min(4 * wanted, CHUNK_BYTES)


def replay(log: Log) -> Iterator[form.Record | Run | form.Bad]:
    """Yield the records of *log*, and at last the reason why there is no other one, if any.

    Zeros up to the end of the file are the reserved part, and no reason.
    """
    base, data = form.HEADER_BYTES, b""
    at = looked_again_at = 0
    decode, salt_crc, cipher = form.decode_record, log.salt_crc, log.cipher
    while True:
        found = decode(data, at, base, salt_crc, cipher)
        if isinstance(found, form.Record):
            yield found
            at = found.end - base
            # Few touches come alone.
            while found.kind == form.TOUCH and cipher is None:
                run = decode_run(data, at, base, salt_crc)
                if run is None:
                    break
                yield run
                at = run.end - base
            continue
        if found.short:
            more = log.pread(CHUNK_BYTES, base + len(data))
            if more:
                base, data, at = base + at, data[at:] + more, 0
                continue
        if log.is_zero(found.offset):
            return
        if looked_again_at == found.offset:
            yield found
            return
        # Another process may have been writing there when it was read.
        looked_again_at = base = found.offset
        data, at = b"", 0


def records(log: Log, end: int) -> Iterator[form.Record | Run]:
    """Yield the records of *log* up to the offset *end*, all of which must be good.

    Raises:
        Corruption: one is not.
    """
    start = base = form.HEADER_BYTES
    at = 0
    data = log.pread(min(end - start, CHUNK_BYTES), start)
    while base + at < end:
        run = None if log.cipher is not None else decode_run(data, at, base, log.salt_crc)
        if run is not None:
            yield run
            at = run.end - base
            continue
        found = form.decode_record(data, at, base, log.salt_crc, log.cipher)
        if isinstance(found, form.Record):
            yield found
            at = found.end - base
            continue
        # In pieces: after a crash a log of any length is copied, in little memory.
        left = end - base - len(data)
        more = b""
        if found.short and left > 0:
            more = log.pread(min(left, CHUNK_BYTES), end - left)
        if not more:
            raise Corruption(log.path, found.offset, found.reason)
        base, data, at = base + at, data[at:] + more, 0


def find_records(log: Log, start: int = form.HEADER_BYTES) -> Iterator[form.Record]:
    """Yield each readable record from *start* on, with any bytes between them.

    Their payloads are as they are stored; see :func:`decrypted`.
    """
    data = log.pread(log.size - start, start)
    at = data.find(_MAGIC)
    while at >= 0:
        found = form.decode_record(data, at, start, log.salt_crc, None)
        if isinstance(found, form.Record):
            yield found
            at = found.end - start - 1
        at = data.find(_MAGIC, at + 1)


def decrypted(log: Log, record: form.Record) -> form.Record:
    """Return a record that :func:`find_records` found, with its payload decrypted.

    Raises:
        DecryptError: it was not written there.
    """
    if log.cipher is None:
        return record
    return record._replace(payload=log.cipher.decrypt(record.payload, record.head))
