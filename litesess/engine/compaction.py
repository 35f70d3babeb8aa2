"""Compaction: seal the log, merge it with the snapshot into a new one, drop both.

At any step the process may die or the disk may fail: what is published is whole, what is not is
a temporary file, and nothing is deleted before what replaces it is durable under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from litesess.engine import format as form
from litesess.engine.chain import Place
from litesess.engine.commit import Committer
from litesess.engine.fs import OpenFile
from litesess.engine.log import create_anew, forget
from litesess.engine.names import TEMPORARY_SUFFIX
from litesess.engine.snapshot import Snapshot, SnapshotWriter, check
from litesess.engine.view import View
from litesess.errors import StoreError

_PAUSE_EVERY: Final = 64  # entries


def compact(
    place: Place,
    committer: Committer,
    next_generation: Callable[[], int],
    pause: Callable[[], None],
) -> None:
    """Put everything that is stored now into one snapshot.

    Args:
        place: where the store lies.
        committer: its writing side; other threads go on using it meanwhile.
        next_generation: returns a number that was never used.
        pause: called often, to let other threads run; what it raises ends the compaction.

    Raises:
        OSError: the disk failed or is full; the store is as good as before.
        StoreError: the log can't be written or does not hold what was written.
    """
    committer.check_writable()
    view = committer.view
    # After a compaction that failed behind its seal, the sealed log waits for this one.
    if len(view.tables) == 1:
        view = _seal(place, committer, next_generation())
    live, *sealed = view.tables
    before = View(view.snapshot, tuple(sealed))
    committer.adopt(_publish(place, before, live.log.header.generation, pause))
    committer.mark()
    names = place.names
    place.unlink(names.wal(table.log.header.generation) for table in sealed)
    if before.snapshot is not None:
        place.unlink([names.snapshot(before.snapshot.generation)])


def _seal(place: Place, committer: Committer, generation: int) -> View:
    # Order: the next log is durable before the SEAL that names it.
    following = place.create_log(committer.view.tables[0].log.header.store, generation)
    try:
        return committer.seal(following)
    except StoreError:
        if not committer.may_lead_to(following):
            place.unlink([place.names.wal(generation)])
        raise


def _publish(place: Place, view: View, generation: int, pause: Callable[[], None]) -> Snapshot:
    """Write all that *view* shows as the snapshot of *generation*."""
    name = place.names.snapshot(generation)
    temporary = name + TEMPORARY_SUFFIX
    newest = view.tables[0]
    header = form.Header(
        form.SNAPSHOT_MAGIC,
        newest.log.header.store,
        generation,
        place.random_bytes(form.SALT_BYTES),
        newest.sequence,
    )
    file = OpenFile(create_anew(place.fs, place.directory, temporary), place.fs.close)
    try:
        writer = SnapshotWriter(place.fs, file.fd, header, pause)
        _merge(view, writer, pause)
        writer.finish()
        # Order: read back and checked before it takes the name that everything relies on; the
        # directory after that, because what it replaces is deleted next.
        check(place.fs, file.fd, place.path_of(temporary))
        snapshot = Snapshot(place.fs, file, place.path_of(name))
    except BaseException:
        file.close()
        forget(place.fs, place.directory, temporary)
        raise
    try:
        place.fs.rename(place.directory, temporary, name)
    except BaseException:
        forget(place.fs, place.directory, temporary)
        raise
    place.fs.sync_directory(place.directory)
    return snapshot


def _merge(view: View, writer: SnapshotWriter, pause: Callable[[], None]) -> None:
    """Write all that *view* shows, in the order of keys; unchanged runs are copied as bytes."""
    snapshot = None if any(table.cleared for table in view.tables) else view.snapshot
    at = 0
    for count, key in enumerate(_changed_keys(view, pause)):
        if count % _PAUSE_EVERY == 0:
            pause()
        if snapshot is not None:
            position = snapshot.position(key)
            snapshot.copy(at, position, writer)
            at = position
            if position < snapshot.count and snapshot.key(position) == key:
                at = position + 1
        entry = view.get(key)
        if entry is not None:
            writer.add(key, entry)
    if snapshot is not None:
        snapshot.copy(at, snapshot.count, writer)


def _changed_keys(view: View, pause: Callable[[], None]) -> Iterator[bytes]:
    """Yield in ascending order each key that a table of *view* changed."""
    # One call that sorts them all would keep every other thread waiting.
    slices: list[set[bytes]] = [set() for _ in range(256)]
    for table in view.tables:
        for count, key in enumerate(chain(table.puts, table.touches)):
            slices[key[0]].add(key)
            if count % (16 * _PAUSE_EVERY) == 0:
                pause()
    for part in slices:
        yield from sorted(part)
