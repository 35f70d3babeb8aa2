"""The end of a session by a request: it is deleted, or a late change to it is dropped."""

from __future__ import annotations

import logging

from litesess import ids
from litesess.events import Event, Name
from litesess.stores.base import MOVED_FOR, Record
from litesess.web.loaded import Status
from litesess.web.state import State

logger = logging.getLogger("litesess")


def delete(state: State) -> None:
    """Delete the session, wherever it is now, and the strays, in one step."""
    has_own = state.status in (Status.STORED, Status.LOST, Status.OVERTAKEN)
    own = state.id if has_own else None
    doomed = [*state.strays, *state.ignored, *([] if own is None else [own])]
    keys, store = [ids.key_of(each) for each in doomed], state.rules.store
    count = store.delete_all(keys) if len(keys) > 1 else sum(map(store.delete, keys))
    # A session that is lost is known to have ended.
    if own is not None and count == 0 and state.status is not Status.LOST:
        logger.info(
            "a logout has found no session: it had ended before, or its id was changed more than"
            " %d s ago",
            MOVED_FOR,
        )
        _tell(state, own, "missed")
    state.has_ended = True
    state.lose(Status.DESTROYED)


def end_strays(state: State) -> None:
    """Delete the strays: a login, or a new session, is all that the client is to have.

    Order: before the session is stored, so that none of them outlives a login that is acknowledged.
    """
    doomed = [*state.strays]
    if state.is_login():
        doomed += state.ignored
    if doomed:
        state.rules.store.delete_all([ids.key_of(each) for each in doomed])
        state.has_ended = bool(state.strays) or state.has_ended


def drop(state: State) -> None:
    """Drop the changes of a late request: the session has another id by now."""
    if state.has_content():
        discard(state, "a request was late for its session, which has another id by now")


def discard(state: State, reason: str) -> None:
    """Count, log and tell a write that is dropped."""
    state.rules.store.tally.add_discarded()
    logger.info("%s; the write was dropped", reason)
    assert state.id is not None
    _tell(state, state.id, "discarded")


def _tell(state: State, session_id: str, name: Name) -> None:
    """Send an event about the session of the request, with its known values."""
    record = Record({}, 0.0, 0.0) if state.record is None else state.record
    state.rules.store.tell(Event(name, ids.handle_of(ids.key_of(session_id)), record))
