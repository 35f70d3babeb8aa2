"""Changes to a session as it is stored, repeated until no other request was faster.

Optimistic concurrency control: a write is refused if the session's version differs from the version
that was read.  Source: H. T. Kung and J. T. Robinson, "On Optimistic Methods for Concurrency
Control", 1981.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from litesess.clocks import pauses
from litesess.errors import VersionConflict
from litesess.stores.base import KEEP
from litesess.web import saving
from litesess.web.actions import Actions
from litesess.web.loaded import UNSTORED, Move, Status

ResultT = TypeVar("ResultT")

#: Upper bound of the first pause after a write conflict, and of every pause, in seconds.
_FIRST_WAIT: Final = 5e-4
_LONGEST_WAIT: Final = 5e-2


def apply(visit: Actions, work: Callable[[], ResultT]) -> ResultT:
    """Store the changes of *work* to the session, if no other request has written it meanwhile.

    Returns:
        The result of the last call of *work*.

    Raises:
        VersionConflict: other requests were faster for as long as the store's ``lock_timeout``.
        SessionGone: the session was destroyed, has expired or was given another id.
        Exception: an error of *work*; none of its changes is stored.
    """
    visit.check_not_atomic()
    if visit.status is Status.STORED and visit.is_changed():
        visit.save()
    is_touched, login, is_cleared = visit.is_touched, visit.new_owner, visit.is_cleared
    before = visit.contents.changes()[0] if visit.status in UNSTORED else {}
    visit.is_atomic = True
    try:
        result = work() if visit.status in UNSTORED else _repeat(visit, work)
    except BaseException:
        # Undo it in memory: the store may have failed.  Otherwise the changes would be stored when
        # the request ends, over the changes of other requests.
        if visit.status in UNSTORED:
            visit.contents.revert(before)
            visit.new_owner, visit.is_cleared = login, is_cleared
        elif visit.status is Status.STORED:
            key, record = visit.stored()
            visit.load(visit.id, record, key)
            visit.is_touched = is_touched
        raise
    finally:
        visit.is_atomic = False
    if visit.status is Status.STORED and visit.is_cleared:
        _finish_clear(visit)
    elif visit.status is Status.STORED and visit.new_owner is not KEEP:
        visit.finish_change_of_owner()
    return result


def _repeat(visit: Actions, work: Callable[[], ResultT]) -> ResultT:
    rules = visit.rules
    timeout = rules.store.lock_timeout
    deadline = rules.monotonic() + timeout
    waits = pauses(_FIRST_WAIT, _LONGEST_WAIT)
    while True:
        visit.reload()
        result = work()
        visit.ask_owner()
        if visit.status is not Status.STORED or saving.write_if_current(visit):
            return result
        if rules.monotonic() >= deadline:
            raise VersionConflict(
                f"atomic() gave up after {timeout:g} s: other requests wrote the session each time"
            )
        rules.sleep(next(waits))


def _finish_clear(visit: Actions) -> None:
    """End a session that was cleared, or continue it under another id."""
    if visit.is_late or visit.is_blank():
        visit.end_cleared()
    else:
        visit.contents.forget_stored()
        visit.forget_cookie()
        visit.renew_id(Move.REGENERATE)
