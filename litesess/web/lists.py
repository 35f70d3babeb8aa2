"""Lists that several requests append to and take from at once: merged item by item.

A store merges changes key by key, so of two lists under one key the later would replace the other.
For messages to the next page, which each request appends to, that loses some of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, TypeAlias

from litesess import codec
from litesess.errors import VersionConflict
from litesess.stores.base import Record
from litesess.web.state import State


def update(
    state: State,
    keys: Collection[str],
    changed: codec.Frames,
    removed: Collection[str],
    **settings: Any,
) -> Record | None:
    """Update a stored session, the lists under *keys* merged into those that are stored by then.

    The update is refused if another request was faster, and tried again with that request's result.
    Each refusal is another request's success, so this ends.  If other requests write the session
    for as long as the store's ``lock_timeout``, this request's lists are stored as they are.

    Args:
        state: of the request.
        keys: of the lists.
        changed: values by key, encoded.
        removed: keys to take out.
        **settings: as for :meth:`litesess.Store.update`.

    Returns:
        The session as it is stored; None: it is gone.
    """
    rules, base = state.rules, state.contents.frames
    store = rules.store
    key, stored = state.stored()
    deadline = rules.monotonic() + store.lock_timeout

    def merged_with(stored: Record) -> tuple[codec.Frames, set[str]]:
        frames, gone = {**changed}, {*removed}
        for each in keys:
            frame = merged(each, base.get(each), changed.get(each), stored.frames.get(each))
            if frame is None:
                frames.pop(each, None)
                gone.add(each)
            else:
                frames[each] = frame
                gone.discard(each)
        return frames, gone

    while True:
        frames, gone = merged_with(stored)
        try:
            record = store.update(
                key, codec.Encoded(frames), gone, if_version=stored.version, **settings
            )
        except VersionConflict:
            again = store.load(key) if rules.monotonic() < deadline else None
        else:
            if record is not None:
                return record
            again = None
        if again is None:
            # Moved by another request, perhaps: changes that need no version follow.
            moved = store.update(key, {}, ())
            if moved is None:
                return None
            frames, gone = merged_with(moved)
            return store.update(key, codec.Encoded(frames), gone, **settings)
        stored = again


def merged(key: str, base: bytes | None, own: bytes | None, stored: bytes | None) -> bytes | None:
    """Return a list, encoded, after the changes of two requests; None: the list is removed.

    The items that this request removed from its loaded list are removed from the stored one.  The
    items that it appended follow the end of the loaded list, before the items of other requests.

    Args:
        key: the session key of the list.
        base: the list that this request had loaded; None: there was none.
        own: the list after this request's changes.
        stored: the list after the changes of other requests.

    If one of them is no list, *own* replaces the stored value.
    """
    if stored == base:
        return own
    before, mine, theirs = (_items(key, frame) for frame in (base, own, stored))
    if before is None or mine is None or theirs is None:
        return own
    common = _count(mine) & _count(before)
    taken = _count(before) - common
    appended, _ = _parted(mine, common)
    theirs, _ = _parted(theirs, taken)
    since, earlier = _parted(theirs, _count(before))
    found = [value for _, value in (*earlier, *appended, *since)]
    return codec.encode(found, key) if found else None


#: An item, and its encoding, by which items are compared.
_Item: TypeAlias = "tuple[bytes, Any]"


def _items(key: str, frame: bytes | None) -> list[_Item] | None:
    """Return the items of an encoded list; None: it is no list, or can't be decoded."""
    try:
        value = [] if frame is None else codec.decode(frame)
    except ValueError:  # as another release has written it
        return None
    if type(value) is not list:
        return None
    return [(codec.encode(item, key), item) for item in value]


def _count(items: list[_Item]) -> Counter[bytes]:
    return Counter(frame for frame, _ in items)


def _parted(items: list[_Item], counted: Counter[bytes]) -> tuple[list[_Item], list[_Item]]:
    """Return *items* without as many of each as are counted, and those."""
    left, without, those = counted.copy(), [], []
    for item in items:
        if left[item[0]] > 0:
            left[item[0]] -= 1
            those.append(item)
        else:
            without.append(item)
    return without, those
