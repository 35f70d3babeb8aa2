"""From one store to another while both are in use: no session is lost, and none comes back.

A copy is created as a *draft*, which counts only as long as the original is there; when the
original was looked for once more, and is still there, the copy is confirmed: the draft's flag is
removed, if no request has changed the copy.  A request that ends a session ends the original first,
then the copy.  If the original ends during the copy, its draft is never confirmed; drafts without
an original are ignored and then deleted.

A request that writes a session which has an original confirms the copy and deletes the original
first (``settle``): from then on there is one, and an older copy can't undo a new id, another owner
or a shorter life.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from litesess import codec, ids
from litesess.errors import VersionConflict
from litesess.stores.base import Record, Store

#: The key of a draft's flag, beside the session's own values.
DRAFT: Final = "~draft"
#: How many sessions go by one call, where the stores can.
_BATCH: Final = 100

Item: TypeAlias = "tuple[str, Record]"
ItemT = TypeVar("ItemT")
_FLAG: Final = codec.encode(True, DRAFT)


class Copied(enum.Enum):
    """The outcome of copying a session."""

    NOW = "copied"
    BEFORE = "there already"
    GONE = "ended"


@dataclass(frozen=True)
class Report:
    """The outcome of a copying.

    Attributes:
        copied: sessions that were copied.
        existing: sessions that were there already, from an earlier copying or because a request
            used them.
        ended: sessions that ended meanwhile.
        compared: originals that are left, and were compared with their copies.
        different: handles of the originals with a missing or different copy.
    """

    copied: int
    existing: int
    ended: int
    compared: int
    different: tuple[str, ...]


def copy_all(
    source: Store, target: Store, *, threads: int = 8, advance: Callable[[int], object] = int
) -> Report:
    """Copy all sessions that are not there yet, then compare each copy with its original.

    You can stop it at any moment and start it again.

    Args:
        source: where the originals are, and stay.
        target: where the copies go.
        threads: how many work at once; they wait for disks and servers.
        advance: called with the number of sessions that were copied or compared since.

    Raises:
        StoreError: one of them can't work; calling this again goes on.
    """
    counts: Counter[Copied] = Counter()
    pool = ThreadPoolExecutor(threads)
    try:
        for batches in _grouped(_grouped(source.records(), _BATCH), threads):
            for outcome in pool.map(lambda batch: copy_batch(source, target, batch), batches):
                counts.update(outcome)
            advance(sum(map(len, batches)))
        for key, record in target.records():
            if is_draft(record):
                finish(source, target, key)
        compared, different = 0, list[str]()
        for batches in _grouped(_grouped(source.records(), _BATCH), threads):
            for found in pool.map(lambda batch: _different(source, target, batch), batches):
                different += map(ids.handle_of, found)
            compared += sum(map(len, batches))
            advance(sum(map(len, batches)))
    finally:
        pool.shutdown(cancel_futures=True)
    return Report(
        counts[Copied.NOW], counts[Copied.BEFORE], counts[Copied.GONE], compared, (*different,)
    )


def _grouped(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    it = iter(items)
    while group := [*islice(it, size)]:
        yield group


def copy_batch(source: Store, target: Store, originals: Sequence[Item]) -> Counter[Copied]:
    """Copy many sessions as :func:`copy` does, in few calls; return the number of each outcome."""
    drafts = {key: _draft(record) for key, record in originals}
    created = target.create_all(drafts)
    fresh = [item for item, is_new in zip(originals, created, strict=True) if is_new]
    versions: dict[str, int] = {}
    for (key, record), again in zip(fresh, source.load_all([key for key, _ in fresh]), strict=True):
        if again is not None and again.version == record.version:
            versions[key] = drafts[key].version
        else:
            discard(target, key, drafts[key].version)
    confirmed = target.strip_all(versions, [DRAFT])
    done = {key for key, is_done in zip(versions, confirmed, strict=True) if is_done}
    # Copy one by one the sessions that existed already, have changed or have ended.
    rest = Counter(copy(source, target, key) for key in drafts if key not in done)
    return rest + Counter({Copied.NOW: len(done)})


def _different(source: Store, target: Store, originals: Sequence[Item]) -> list[str]:
    """Return the keys of the originals without an equal copy."""
    copies = target.load_all([key for key, _ in originals])
    return [
        key
        for (key, record), found in zip(originals, copies, strict=True)
        if (found is None or not are_same(record, found)) and differs(source, target, key)
    ]


def finish(source: Store, target: Store, key: str) -> None:
    """Confirm a draft, or end it, if its original has ended."""
    while (found := target.load(key)) is not None and is_draft(found):
        if copy(source, target, key) is Copied.GONE:
            discard(target, key, found.version)


def differs(source: Store, target: Store, key: str) -> bool:
    """Return whether an original, if it is still there, has no copy like it."""
    while (original := source.load(key)) is not None:
        found = target.load(key)
        if found is not None and are_same(original, found):
            return False
        again = source.load(key)
        # If they differ, the session was used meanwhile.
        if again is not None and are_same(original, again):
            return True
    return False


def is_draft(record: Record) -> bool:
    """Return whether *record* is a copy that is not confirmed yet."""
    return DRAFT in record.frames


def without_flag(record: Record) -> Record:
    """Return a draft as the session that it is a copy of."""
    frames = {name: frame for name, frame in record.frames.items() if name != DRAFT}
    return _like(record, frames)


def are_same(one: Record, other: Record) -> bool:
    """Return whether two records describe the same session, drafts or not."""
    return _content(one) == _content(other)


def copy(source: Store, target: Store, key: str) -> Copied:
    """Copy a session, if it is not there yet; the original stays.

    Args:
        source: where the original is.
        target: where the copy goes.
        key: of the session, in both.

    Raises:
        StoreError: one of the stores can't work; call this again to finish the copy.
    """
    while True:
        original = source.load(key)
        if original is None:
            return Copied.GONE
        draft = _draft(original)
        if target.create(key, draft):
            version = draft.version
        else:
            found = target.load(key)
            if found is None or not is_draft(found):
                # Not found: it had another id there by the time, or has ended.
                return Copied.BEFORE
            version = found.version
            # Another copying makes it just now, or was stopped and knew an older original.
            if not are_same(original, found):
                discard(target, key, version)
                continue
        again = source.load(key)
        if again is None or again.version != original.version:
            discard(target, key, version)
            continue
        try:
            if target.update(key, {}, [DRAFT], if_version=version) is not None:
                return Copied.NOW
        except VersionConflict:
            pass  # another copying has just confirmed it, or it is another session


def settle(source: Store, target: Store, key: str) -> None:
    """Have a session in the target alone, if it is in the source; raises as :func:`copy` does."""
    if source.load(key) is not None and copy(source, target, key) is not Copied.GONE:
        source.delete(key)


def discard(target: Store, key: str, version: int) -> None:
    """End a draft, if it still has the version *version*.

    Not by ``delete``: that would also end the session under its later key.
    """
    with suppress(VersionConflict):
        target.update(key, {}, [], expires_at=0.0, if_version=version)


def _draft(record: Record) -> Record:
    return _like(record, {**record.frames, DRAFT: _FLAG})


def _like(record: Record, frames: codec.Frames) -> Record:
    return Record(
        codec.Encoded(frames),
        record.created_at,
        record.expires_at,
        record.cookie,
        record.owner,
        client=record.client,
        last_seen_at=record.last_seen_at,
    )


def _content(record: Record) -> tuple[object, ...]:
    frames = without_flag(record).frames
    return (
        frames, record.created_at, record.expires_at, record.cookie or None, record.owner,
        record.client or None,
    )  # fmt: skip
