"""Compaction: seal the log, merge it with the snapshot into a new one, drop both.

At any step the process may die or the disk may fail: a published file is whole, any other is
temporary, and no file is deleted before its replacement is durable under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final

from litesess.engine import format as form
from litesess.engine.commit import Committer
from litesess.engine.files import Files
from litesess.engine.follow import CurrentLog, Follower
from litesess.engine.fs import is_full
from litesess.engine.snapshot import Snapshot
from litesess.engine.snapshot_walk import copy
from litesess.engine.snapshot_writer import SnapshotWriter, check
from litesess.engine.view import View, paused
from litesess.errors import StoreError, StoreFull

_PAUSE_EVERY: Final = 1024  # keys that are only looked at


def compact(
    files: Files, follower: Follower, committer: Committer, pause: Callable[[], None]
) -> form.Slot | None:
    """Put everything that is stored now into one snapshot.

    Args:
        files: those of the store; the caller holds its maintenance lock.
        follower: the part of it that this process has read.
        committer: its writing side; threads and processes go on using it meanwhile.
        pause: called often, to let other threads run; its exception ends the compaction.

    Returns:
        The new content of the slot.

    Raises:
        OSError: the disk failed or is full; the store is as good as before.
        StoreError: the log can't be written, or was damaged.
    """
    try:
        return _compact(files, follower, committer, pause)
    except (OSError, StoreFull) as error:
        if not (is_full(error) and follower.current.view.is_empty()):
            raise
    # The store has filled the disk, and was emptied: its snapshot is small, and more room
    # than that is reserved for its log.  Not above: the traceback would keep files open.
    committer.at_end(_give_back)
    try:
        return _compact(files, follower, committer, pause, has_room=False)
    finally:
        with suppress(StoreError):  # it has none; the next opening tries again
            committer.at_end(lambda live: live.log.fill(live.table.end))


def _give_back(current: CurrentLog) -> None:
    for table in current.view.tables:
        table.log.give_back(table.end)


def _compact(
    files: Files,
    follower: Follower,
    committer: Committer,
    pause: Callable[[], None],
    *,
    has_room: bool = True,
) -> form.Slot | None:
    committer.at_end(lambda _live: None)
    current = follower.adopt()
    # Left by a compaction that failed or was killed: no SEAL leads to a log that is newer.
    directory, names = files.directory, files.directory.names
    listing = directory.listing()
    generation = current.log.header.generation
    directory.unlink(
        [*listing.temporary, *(names.wal(it) for it in listing.wals if it > generation)]
    )
    # After a compaction that failed after its SEAL, the sealed log waits for this one.
    is_empty = not has_room and len(current.view.tables) > 1
    if len(current.view.tables) == 1:
        # Order: the next log is durable before the SEAL that names it.
        generation = max(listing.newest, generation) + 1
        head = files.new_head(form.WAL_MAGIC, current.log.header.store, generation, 0)
        following = files.create_log(head, has_room=has_room)
        current = committer.seal(following.header.generation, following.header.salt)
    generation = current.log.header.generation
    if is_empty:
        # Order: sync the log first, because its changes are not in the snapshot.
        committer.sync()
    follower.adopt(_publish(files, current, pause, is_empty=is_empty))
    slot = committer.mark(always=True)
    listing = directory.listing()
    directory.unlink(names.wal(old) for old in listing.wals if old < generation)
    directory.unlink(names.snapshot(old) for old in listing.snapshots if old < generation)
    snapshot = current.view.snapshot
    if snapshot is not None and all(
        map(files.keys.is_newest, (current.log.cipher, snapshot.cipher))
    ):
        # Order: the files that were made under another data key are gone, durably, before it is.
        directory.sync()
        files.keys.drop_old(directory)
    return slot


def _publish(
    files: Files, current: CurrentLog, pause: Callable[[], None], *, is_empty: bool
) -> Snapshot:
    """Write all that the logs and the snapshot before the current log hold as one snapshot.

    If *is_empty*, the current log has deleted or put all of that anew: nothing is left to write.
    """
    snapshot, tables = current.view.snapshot, current.view.tables[1:]
    if is_empty:
        tables = current.table.shadow(), *tables
    view = View(None if snapshot is None else snapshot.private(), tables)
    header = current.log.header
    head = files.new_head(
        form.SNAPSHOT_MAGIC, header.store, header.generation, current.table.before
    )
    fs, name = files.directory.fs, files.directory.names.snapshot(header.generation)
    # Order: read back and checked before it takes the name that everything relies on.
    read_back = partial(check, fs, path=files.directory.path_of(name))
    with files.directory.publish(name, read_back) as file:
        writer = SnapshotWriter(fs, file.fd, head, pause)
        _merge(view, writer, pause)
        writer.finish()
        return files.adopt_snapshot(file, header.generation)


def _merge(view: View, writer: SnapshotWriter, pause: Callable[[], None]) -> None:
    """Write all that *view* shows, in the order of keys.

    What was not put anew is copied as bytes; of an entry that was touched only the expiry changes,
    which stands in the index.
    """
    snapshot = None if any(table.cleared for table in view.tables) else view.snapshot
    at = 0
    for key in paused(_changed_keys(view, pause), pause):
        if snapshot is not None:
            found = snapshot.range_of(key)
            copy(snapshot, at, found.start, writer, view.touched)
            at = found.stop
        entry = view.get(key)
        if entry is not None:
            writer.add(key, entry)
    if snapshot is not None:
        copy(snapshot, at, snapshot.count, writer, view.touched)


def _changed_keys(view: View, pause: Callable[[], None]) -> Iterator[bytes]:
    """Yield in ascending order each key that a table of *view* changed."""
    # One call that sorts them all would keep every other thread waiting.
    slices: list[set[bytes]] = [set() for _ in range(256)]
    for table in view.tables:
        for key in paused(chain(table.puts, table.touches), pause, _PAUSE_EVERY):
            slices[key[0]].add(key)
    for part in slices:
        yield from sorted(part)
