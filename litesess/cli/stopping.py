"""Ctrl-C, SIGTERM and SIGHUP as one exception, which does not interrupt a clean-up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks the command to end; like ``KeyboardInterrupt``, nothing may swallow it.

    Attributes:
        code: the exit status for that signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class _State:
    """The state of the handlers; one for the process, as the handlers are."""

    #: How many blocks that must not be interrupted are being run.
    depth = 0
    waiting: int | None = None
    is_too_late = False
    is_stopped = False


@contextmanager
def signals(*, is_last: bool) -> Iterator[None]:
    """Raise :class:`Stopped` in the block for each such signal that is not ignored already.

    Args:
        is_last: the process ends after the block, by an exit status that no signal may change.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # An ignored signal stays ignored: nohup, and a shell's jobs in the background.
    former = {number: signal.getsignal(number) for number in _NUMBERS}
    caught = [number for number in _NUMBERS if former[number] is not signal.SIG_IGN]
    _State.waiting, _State.is_too_late, _State.is_stopped = None, False, False
    try:
        for number in caught:
            signal.signal(number, _stop)
        yield
    finally:
        too_late()
        for number in caught:
            signal.signal(number, signal.SIG_IGN if is_last else former[number])


def too_late() -> None:
    """Ignore signals from now on: the command has done its work."""
    _State.is_too_late = True


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal wait until the block has ended."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if _State.waiting is not None and not _State.depth and not _State.is_too_late:
        number, _State.waiting = _State.waiting, None
        _State.is_stopped = True
        raise Stopped(number)


def is_stopped() -> bool:
    """Return whether the command is being stopped, so that its threads need not warn."""
    return _State.is_stopped


def _stop(number: int, _frame: FrameType | None) -> None:
    if _State.depth:
        _State.waiting = number
    elif not _State.is_too_late:
        _State.is_stopped = True
        raise Stopped(number)
