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
from litesess.engine.follow import Follower, Live
from litesess.engine.fs import OpenFile
from litesess.engine.log import create_anew, forget
from litesess.engine.names import TEMPORARY_SUFFIX
from litesess.engine.snapshot import Snapshot, SnapshotWriter, check
from litesess.engine.view import View, paused

_PAUSE_EVERY: Final = 1024  # keys that are only looked at


def compact(
    place: Place, follower: Follower, committer: Committer, pause: Callable[[], None]
) -> None:
    """Put everything that is stored now into one snapshot.

    Args:
        place: where the store lies; the caller holds its maintenance lock.
        follower: what this process has read of it.
        committer: its writing side; threads and processes go on using it meanwhile.
        pause: called often, to let other threads run; what it raises ends the compaction.

    Raises:
        OSError: the disk failed or is full; the store is as good as before.
        StoreError: the log can't be written or does not hold what was written.
    """
    committer.reach_end()
    live = follower.adopt()
    # What one that failed or was killed has left: no SEAL leads to a log that is newer.
    listing, names = place.listing(), place.names
    current = live.log.header.generation
    place.unlink([*listing.temporary, *(names.wal(it) for it in listing.wals if it > current)])
    # After a compaction that failed behind its seal, the sealed log waits for this one.
    if len(live.view.tables) == 1:
        # Order: the next log is durable before the SEAL that names it.
        generation = max(listing.newest, current) + 1
        head = place.new_head(form.WAL_MAGIC, live.log.header.store, generation, 0)
        following = place.create_log(head)
        live = committer.seal(following.header.generation, following.header.salt)
    generation = live.log.header.generation
    follower.adopt(_publish(place, live, pause))
    committer.mark(always=True)
    listing = place.listing()
    place.unlink(names.wal(old) for old in listing.wals if old < generation)
    place.unlink(names.snapshot(old) for old in listing.snapshots if old < generation)
    snapshot = live.view.snapshot
    if snapshot is not None and all(map(place.keys.is_newest, (live.log.sealer, snapshot.sealer))):
        # Order: what was made under another data key is gone, durably, before that is.
        place.fs.sync_directory(place.directory)
        place.keys.drop_old(place.key_place)


def _publish(place: Place, live: Live, pause: Callable[[], None]) -> Snapshot:
    """Write all that the logs and the snapshot before the live log hold as one snapshot."""
    snapshot = live.view.snapshot
    view = View(None if snapshot is None else snapshot.private(), live.view.tables[1:])
    name = place.names.snapshot(live.log.header.generation)
    temporary = name + TEMPORARY_SUFFIX
    header = live.log.header
    head = place.new_head(form.SNAPSHOT_MAGIC, header.store, header.generation, live.table.before)
    file = OpenFile(create_anew(place.fs, place.directory, temporary), place.fs.close)
    try:
        writer = SnapshotWriter(place.fs, file.fd, head, pause)
        _merge(view, writer, pause)
        writer.finish()
        # Order: read back and checked before it takes the name that everything relies on; the
        # directory after that, because what it replaces is deleted next.
        check(place.fs, file.fd, place.path_of(temporary))
        path = place.path_of(name)
        published = Snapshot(place.fs, file, path, place.read_snapshot_head(path))
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
    return published


def _merge(view: View, writer: SnapshotWriter, pause: Callable[[], None]) -> None:
    """Write all that *view* shows, in the order of keys; unchanged runs are copied as bytes."""
    snapshot = None if any(table.cleared for table in view.tables) else view.snapshot
    at = 0
    for key in paused(_changed_keys(view, pause), pause):
        if snapshot is not None:
            place = snapshot.place_of(key)
            snapshot.copy(at, place.start, writer)
            at = place.stop
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
        for key in paused(chain(table.puts, table.touches), pause, _PAUSE_EVERY):
            slices[key[0]].add(key)
    for part in slices:
        yield from sorted(part)
