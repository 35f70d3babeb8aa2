"""Going through a snapshot in the order of keys: to copy its entries, or to see which expire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from litesess.engine.snapshot import Snapshot
from litesess.engine.snapshot_format import version_of
from litesess.engine.snapshot_writer import SnapshotWriter
from litesess.engine.touches import Touches

_SCAN_ENTRIES: Final = 4096
_ENCRYPTED_ENTRIES: Final = 16  # some 0.1 ms of work, if they are decrypted and encrypted


def expired_positions(
    snapshot: Snapshot, now: float, touched: tuple[Touches, ...], pause: Callable[[], None]
) -> Iterator[int]:
    """Yield the positions of the entries that expire at *now* or before.

    Args:
        snapshot: that has the entries.
        now: in Unix seconds.
        touched: which of them were since, newest first.
        pause: called often, to let other threads run.
    """
    for start in range(0, snapshot.count, _SCAN_ENTRIES):
        pause()
        stop = min(start + _SCAN_ENTRIES, snapshot.count)
        expiries = [*snapshot.index.expiries[start:stop]]
        for touches in reversed(touched):
            for position, _, expires_at in touches.items(start, stop):
                expiries[position - start] = expires_at
        if min(expiries) <= now:
            for position, expires_at in enumerate(expiries, start):
                if expires_at <= now:
                    yield position


def copy(
    snapshot: Snapshot,
    start: int,
    stop: int,
    writer: SnapshotWriter,
    touched: tuple[Touches, ...] = (),
) -> None:
    """Write the entries from position *start* up to *stop*.

    Args:
        snapshot: that has them.
        start: the first one.
        stop: where they end.
        writer: of another snapshot.
        touched: which of them were since, newest first.
    """
    if writer.takes_from(snapshot.cipher):
        while start < stop:
            start = _copy_bytes(snapshot, start, stop, writer, touched)
    else:
        _encrypt_anew(snapshot, start, stop, writer, touched)


def _encrypt_anew(
    snapshot: Snapshot,
    start: int,
    stop: int,
    writer: SnapshotWriter,
    touched: tuple[Touches, ...],
) -> None:
    """Write entries that were encrypted under another data key."""
    for position in range(start, stop):
        if position % _ENCRYPTED_ENTRIES == 0:
            writer.index.pause()
        writer.add(*snapshot.entry(position, touched))


def _copy_bytes(
    snapshot: Snapshot,
    start: int,
    stop: int,
    writer: SnapshotWriter,
    touched: tuple[Touches, ...],
) -> int:
    """Write entries as they are, so many as make a piece; return where they end."""
    index, offsets = snapshot.index, snapshot.index.offsets
    first, shift = offsets[start], writer.offset - offsets[start]
    stop, data = snapshot.piece(start, stop)
    expiries = [*index.expiries[start:stop]]
    for touches in reversed(touched):
        for position, version, expires_at in touches.items(start, stop):
            # A touch counts for the version that it saw.
            there = (
                version_of(data, offsets[position] - first)
                if snapshot.cipher is None
                else index.versions[position]
            )
            if there == version:
                expiries[position - start] = expires_at
    writer.add_bytes(data)
    writer.index.copy(index, start, stop, shift, expiries)
    return stop
