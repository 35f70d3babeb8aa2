"""From one store to another while both are in use: no session is lost, and none comes back.

A copy is created as a *draft*, which counts only as long as the original is there; when the
original was looked for once more, and is, it is vouched for: the draft's mark is taken off, if
nobody has changed the copy.  Who ends a session ends the original first, then the copy.  So a copy
of a session that ends meanwhile stays a draft without an original, which is nobody's, and goes.

Whoever writes a session that has an original takes that away first (``settle``), once the copy is
vouched for: from then on there is one, and a new id, another owner or a shorter life are not undone
by what an older copy says.
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

#: The key of the mark of a draft, beside the session's own values.
DRAFT: Final = "~draft"
#: How many sessions go by one call, where the stores can.
_BATCH: Final = 100

Item: TypeAlias = "tuple[str, Record]"
ItemT = TypeVar("ItemT")
_MARK: Final = codec.encode(True, DRAFT)


class Copied(enum.Enum):
    """What has become of a session that was to be copied."""

    NOW = "copied"
    BEFORE = "there already"
    GONE = "ended"


@dataclass(frozen=True)
class Report:
    """What a copying has done.

    Attributes:
        copied: sessions that were.
        existing: those that were there already, from an earlier copying or because they were used.
        ended: those that ended meanwhile.
        compared: originals that are left, and were compared with their copies.
        different: handles of those whose copies are missing or say something else.
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

    To be stopped at any moment, and begun again.

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
    """Do as :func:`copy` does to many sessions, with few calls; return how many became what."""
    drafts = {key: _draft(record) for key, record in originals}
    created = target.create_all(drafts)
    fresh = [item for item, is_new in zip(originals, created, strict=True) if is_new]
    versions: dict[str, int] = {}
    for (key, record), again in zip(fresh, source.load_all([key for key, _ in fresh]), strict=True):
        if again is not None and again.version == record.version:
            versions[key] = drafts[key].version
        else:
            discard(target, key, drafts[key].version)
    vouched = target.strip_all(versions, [DRAFT])
    done = {key for key, is_done in zip(versions, vouched, strict=True) if is_done}
    # Each by itself: what was there, has changed or has ended.
    rest = Counter(copy(source, target, key) for key in drafts if key not in done)
    return rest + Counter({Copied.NOW: len(done)})


def _different(source: Store, target: Store, originals: Sequence[Item]) -> list[str]:
    """Return the keys of those that have no copy like them."""
    copies = target.load_all([key for key, _ in originals])
    return [
        key
        for (key, record), found in zip(originals, copies, strict=True)
        if (found is None or not are_same(record, found)) and differs(source, target, key)
    ]


def finish(source: Store, target: Store, key: str) -> None:
    """Vouch for a draft, or end it, if its original has ended."""
    while (found := target.load(key)) is not None and is_draft(found):
        if copy(source, target, key) is Copied.GONE:
            discard(target, key, found.version)


def differs(source: Store, target: Store, key: str) -> bool:
    """Say whether an original, if it is there still, has no copy like it."""
    while (original := source.load(key)) is not None:
        found = target.load(key)
        if found is not None and are_same(original, found):
            return False
        again = source.load(key)
        # Else it was used meanwhile.
        if again is not None and are_same(original, again):
            return True
    return False


def is_draft(record: Record) -> bool:
    """Say whether it is a copy that nobody has vouched for yet."""
    return DRAFT in record.frames


def without_mark(record: Record) -> Record:
    """Return a draft as the session that it is a copy of."""
    frames = {name: frame for name, frame in record.frames.items() if name != DRAFT}
    return _like(record, frames)


def are_same(one: Record, other: Record) -> bool:
    """Say whether two records say the same of a session, drafts or not."""
    return _content(one) == _content(other)


def copy(source: Store, target: Store, key: str) -> Copied:
    """Copy a session, if it is not there yet; the original stays.

    Args:
        source: where the original is.
        target: where the copy goes.
        key: of the session, in both.

    Raises:
        StoreError: one of them can't work; calling this again finishes what was begun.
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
            # Somebody is at it just now, or was stopped and knew an older original.
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
            pass  # somebody has just vouched for it, or it is another one


def settle(source: Store, target: Store, key: str) -> None:
    """Have a session in the target alone, if it is in the source; raises as :func:`copy` does."""
    if source.load(key) is not None and copy(source, target, key) is not Copied.GONE:
        source.delete(key)


def discard(target: Store, key: str, version: int) -> None:
    """End a draft, if it is still what it was at *version*.

    Not by ``delete``: that would also end what the session was moved to since.
    """
    with suppress(VersionConflict):
        target.update(key, {}, [], expires_at=0.0, if_version=version)


def _draft(record: Record) -> Record:
    return _like(record, {**record.frames, DRAFT: _MARK})


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
    frames = without_mark(record).frames
    return (
        frames, record.created_at, record.expires_at, record.cookie or None, record.owner,
        record.client or None,
    )  # fmt: skip
