"""Storing a request's session: all its changes become one call of the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from litesess import codec, ids
from litesess.errors import EncodeError, LimitReached, SessionGone, StoreError, VersionConflict
from litesess.stores.base import KEEP, Record
from litesess.stores.times import is_ahead
from litesess.web import announcing, ending, lists
from litesess.web.cookie import ROTATION_DUE
from litesess.web.loaded import Move
from litesess.web.rules import ID_TRIES, ids_are_taken
from litesess.web.state import State

logger = logging.getLogger("litesess")

ResultT = TypeVar("ResultT")

#: The reason why a write is dropped: a session that was logged out stays so.
_GONE_MEANWHILE: Final = "a session was gone when a late write to it came"
#: Lives of a session that differ by less, in seconds, are one.
_SAME_LIFE: Final = 1.0
#: The most top-level keys of a session.
MAX_KEYS: Final = 1000


def is_due(state: State) -> bool:
    """Return whether a new session is to be stored when the request ends."""
    return (
        state.rules.options.save_uninitialized
        or state.is_announced
        or state.is_login()
        or state.has_content()
    )


def create(state: State) -> None:
    """Store a new session, unless the store has too many already: then it stays a new one."""
    changed, removed = state.contents.changes()
    _check_size(state, changed, removed)
    ending.end_strays(state)
    record = _record(state, changed)
    try:
        for _ in range(ID_TRIES):
            if state.rules.store.create(ids.key_of(state.current_id()), record):
                state.stored_as(record, changed)
                return
            state.drop_id()
    except LimitReached:  # which the store counts and logs; the page is served all the same
        return
    raise ids_are_taken()


def begin_anew(state: State) -> None:
    """Store a separate session for a late request that is a login, or a fresh start.

    A fresh start ends the session that this request is late for.  A login leaves it alone: each
    request that has proved the user's identity has a session, whichever answer comes last.
    """
    changed, removed = state.contents.changes()
    _check_size(state, changed, removed)
    ending.end_strays(state)
    if state.move is Move.REGENERATE and not state.is_login():
        record = _replace(state, changed)
    else:
        record = _begin_own(state, changed)
    state.is_content_written = True
    state.stored_as(record, changed)


def write(state: State, *, is_forced: bool = False) -> bool:
    """Write a stored session if it was changed; it is lost, and False returned, if gone."""
    changed, removed = state.contents.changes()
    is_content = bool(changed or removed or state.move or state.new_owner is not KEEP)
    cookie = state.changed_cookie()
    is_cookie = cookie is not None
    if not (is_content or is_cookie or is_forced):
        return True
    _check_size(state, changed, removed)
    key, before = state.stored()
    if state.move is not None:
        is_begun = state.move is Move.REGENERATE or state.is_login()
        if is_begun and not announcing.is_possible(state):
            ending.delete(state)
            state.lose()
            return False
        ending.end_strays(state)
    try:
        record = _store_changes(state, key, before, cookie, changed, removed)
    except LimitReached:  # the session has ended, and there is no room for the one in its place
        record = None
    if record is None and state.is_login() and not state.is_late:
        record = _begin_own(state, changed)
        state.is_content_written = True
        state.stored_as(record, changed)
        return True
    if record is None:
        ending.discard(state, _GONE_MEANWHILE)
        state.lose()
        return False
    if record.replaced_version not in (0, before.version):
        state.rules.store.tally.add_merge()
    if record.is_moved:
        # Stored under the id that another request has given the session, perhaps at a login.  A
        # client with the old id sees nothing of its present content.
        state.lose()
        return True
    if is_cookie and state.new_owner is KEEP and record.owner != before.owner:
        record = _with_rotation_due(state, record)
    is_changed = record.created_at != before.created_at or (
        not is_cookie and record.cookie != before.cookie
    )
    if is_changed and state.move is not Move.REGENERATE:
        record = _count_life_anew(state, record)
    state.is_content_written |= is_content
    state.is_cookie_written |= is_cookie
    state.stored_as(record, changed)
    return True


def write_if_current(state: State) -> bool:
    """Write the changed data of a stored session, unless another request has written it."""
    changed, removed = state.contents.changes()
    if not (changed or removed or state.is_cleared or state.new_owner is not KEEP):
        return True
    key, record = state.stored()
    if state.is_login():
        # Should this be killed before it gets another id.
        state.current_cookie().note_rotation(is_due=True)
    rules, cookie = state.rules, state.changed_cookie()
    _check_size(state, changed, removed)
    now = state.written_at = rules.clock()
    try:
        saved = rules.store.update(
            key,
            codec.Encoded(changed),
            removed,
            expires_at=state.expiry(record.created_at, now),
            cookie=cookie,
            owner=None if state.is_cleared else state.new_owner,
            if_version=record.version,
        )
    except VersionConflict:
        return False
    if saved is None:
        ending.discard(state, _GONE_MEANWHILE)
        state.lose()
        raise SessionGone("the session was destroyed or has expired meanwhile")
    state.is_content_written = True
    state.is_cookie_written |= cookie is not None
    is_cleared, owner = state.is_cleared, state.new_owner  # its id has to change still
    state.stored_as(saved, changed)
    state.is_cleared, state.new_owner = is_cleared, owner
    return True


def prolong(state: State) -> None:
    """Let a session that was used and not changed live longer."""
    record, rules = state.record, state.rules
    assert record is not None
    now = rules.clock()
    expires_at = state.expiry(record.created_at, now)
    if rules.options.resave:
        _rewrite(state, expires_at, now)
        return
    life = expires_at - now
    is_due = state.is_touched or rules.store.worth_touching(record.expires_at, expires_at, life)
    if not (is_due or is_ahead(record, now)):
        return
    key, _ = state.stored()
    try:
        if not _has_life(record, life):
            _rewrite(state, expires_at, now)
        elif rules.store.touch(key, expires_at, version=record.version):
            state.prolonged(expires_at, now)
        elif rules.store.load(key) is None:
            state.lose()
    except StoreError:
        # Nothing of the app's is lost, so the page is served.
        logger.exception("a session's life was not prolonged")


def _has_life(record: Record, life: float) -> bool:
    """Return whether a stored session lives for *life*, in seconds, after each use.

    If not, a touch is not enough: stores know the last use by the expiry and the life, and a touch
    changes the expiry alone.
    """
    seen_at = record.last_seen_at
    return seen_at is None or abs(record.expires_at - seen_at - life) < _SAME_LIFE


def _rewrite(state: State, expires_at: float, now: float) -> None:
    """Store a session again that was not changed, unless another request has written it."""
    key, record = state.stored()
    try:
        saved = state.rules.store.update(
            key, {}, (), expires_at=expires_at, if_version=record.version
        )
    except VersionConflict:  # which has prolonged it, too
        return
    if saved is None:
        state.lose()
    else:
        state.stored_as(saved, {})
        state.written_at = now


def _begin_own(state: State, changed: codec.Frames) -> Record:
    """Store a login as a separate session, because the request's own session is gone.

    It holds only the values that this request has set.  A login does not depend on the session that
    the client came with, which a login or logout in another tab may have ended meanwhile.
    """
    base, prefixes = state.contents.frames, state.rules.list_keys
    own = {
        key: lists.merged(key, base.get(key), frame, None) if key.startswith(prefixes) else frame
        for key, frame in changed.items()
    }
    fresh = _record(state, {key: frame for key, frame in own.items() if frame is not None})

    def create(new: str) -> None:
        if not state.rules.store.create(new, fresh):
            raise VersionConflict("the new key is taken")

    _move(state, create)
    return fresh


def _replace(state: State, changed: codec.Frames) -> Record:
    """Store a new session in the place of the one that the request came with."""
    assert state.id is not None
    old, fresh = ids.key_of(state.id), _record(state, changed)
    _move(state, lambda new: state.rules.store.replace(old, new, fresh))
    return fresh


def _store_changes(
    state: State,
    old: str,
    before: Record,
    cookie: Mapping[str, Any] | None,
    changed: codec.Frames,
    removed: list[str],
) -> Record | None:
    """Make the store's call for the changes; return None if the session is gone."""
    if state.move is Move.REGENERATE:
        return _replace(state, changed)
    rules, owner = state.rules, state.new_owner
    store = rules.store
    now = state.written_at = rules.clock()
    expires_at = state.expiry(before.created_at if owner is KEEP else now, now)
    changes = codec.Encoded(changed)
    listed = [key for key in (*changed, *removed) if key.startswith(rules.list_keys)]
    if state.move is None:
        if listed:
            return lists.update(
                state, listed, changed, removed, expires_at=expires_at, cookie=cookie, owner=owner
            )
        return store.update(
            old, changes, removed, expires_at=expires_at, cookie=cookie, owner=owner
        )
    if listed:
        # Alone and first: a rotation follows any change that was stored, and merges no lists.
        of_lists = {key: changed[key] for key in listed if key in changed}
        without = [key for key in listed if key in removed]
        if lists.update(state, listed, of_lists, without) is not None:
            changes = codec.Encoded({key: changed[key] for key in changed if key not in of_lists})
            removed = [key for key in removed if key not in without]
    # Without client_info, pass no client: another project's store may not take it.
    client = {"client": rules.client(state.environ)} if rules.options.client_info else {}

    def rotate(new: str) -> Record | None:
        return store.rotate(
            old,
            new,
            changes,
            removed,
            expires_at=expires_at,
            cookie=cookie,
            owner=owner,
            **client,
        )

    record = _move(state, rotate)
    if record is None and state.move is Move.OVERDUE:
        # Another request was faster with it.
        return store.update(old, changes, removed, expires_at=expires_at, cookie=cookie)
    return record


def _move(state: State, work: Callable[[str], ResultT]) -> ResultT:
    """Do *work* with the key of the session's next id; with another one if that is taken."""
    for _ in range(ID_TRIES):
        try:
            return work(ids.key_of(state.current_id()))
        except VersionConflict:
            state.drop_id()
    raise ids_are_taken()


def _record(state: State, frames: codec.Frames) -> Record:
    """Return the record of a session that begins now."""
    rules = state.rules
    now = state.written_at = rules.clock()
    state.is_cookie_written = state.changed_cookie() is not None
    return Record(
        codec.Encoded(frames),
        now,
        state.expiry(now, now),
        state.own_cookie(),
        state.owner(),
        client=rules.client(state.environ),
    )


def _with_rotation_due(state: State, record: Record) -> Record:
    """Note a login's due rotation again, which this request's cookie settings may have replaced."""
    key, _ = state.stored()
    cookie = {**(record.cookie or {}), ROTATION_DUE: True}
    again = state.rules.store.update(key, {}, (), cookie=cookie)
    return record if again is None else again


def _count_life_anew(state: State, record: Record) -> Record:
    """Let *record* expire as other requests have changed it meanwhile, not as it was loaded."""
    rules, now = state.rules, state.written_at
    assert now is not None  # just now
    expires_at = rules.expiry(state.settings(), record.cookie, record.owner, record.created_at, now)
    key = ids.key_of(state.current_id())
    again = None
    if expires_at != record.expires_at:
        with suppress(VersionConflict):
            again = rules.store.update(
                key, {}, (), expires_at=expires_at, if_version=record.version
            )
    return record if again is None else again


def _check_size(state: State, changed: codec.Frames, removed: list[str]) -> None:
    frames, limit = state.contents.frames, state.rules.options.max_session_bytes
    most = sum(map(len, (*frames, *frames.values(), *changed, *changed.values())))
    if len(frames) + len(changed) <= MAX_KEYS and most <= limit:
        return  # even without counting the values that it replaces
    sizes = {key: len(key) + len(frame) for key, frame in (frames | changed).items()}
    for key in removed:
        del sizes[key]
    if len(sizes) > MAX_KEYS:
        raise EncodeError("(all)", f"has {len(sizes)} keys, limit {MAX_KEYS}")
    total = sum(sizes.values())
    if total > limit:
        largest = max(sizes, key=sizes.__getitem__)
        raise EncodeError(
            largest,
            f"has {sizes[largest]} of the session's {total} bytes, limit {limit}",
        )
