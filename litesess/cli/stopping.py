"""Ctrl-C, SIGTERM and SIGHUP as one exception, which a clean-up is not interrupted by."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants the command to end; like ``KeyboardInterrupt``, nothing may swallow it.

    Attributes:
        code: the exit status that says so.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class _State:
    """What the handlers know; of the process, as they are."""

    holds = 0
    waiting: int | None = None
    is_too_late = False
    is_stopped = False


@contextmanager
def signals() -> Iterator[None]:
    """Raise :class:`Stopped` in the block for each such signal that is not ignored already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Ignored ones stay so: nohup, and a shell's jobs in the background.
    former = {number: signal.getsignal(number) for number in _NUMBERS}
    caught = [number for number in _NUMBERS if former[number] is not signal.SIG_IGN]
    _State.waiting, _State.is_too_late, _State.is_stopped = None, False, False
    # What is done is done, also while the interpreter ends.
    atexit.register(_ignore, caught)
    try:
        for number in caught:
            signal.signal(number, _stop)
        yield
    finally:
        for number in caught:
            signal.signal(number, former[number])


def too_late() -> None:
    """Let nothing stop the command any more: what it was to make is made."""
    _State.is_too_late = True


@contextmanager
def held() -> Iterator[None]:
    """Do what is in the block to its end, and be stopped then."""
    _State.holds += 1
    try:
        yield
    finally:
        _State.holds -= 1
    if _State.waiting is not None and not _State.holds and not _State.is_too_late:
        number, _State.waiting = _State.waiting, None
        _State.is_stopped = True
        raise Stopped(number)


def is_stopped() -> bool:
    """Say whether the command is being stopped: what its threads complain of is for nobody."""
    return _State.is_stopped


def _stop(number: int, _frame: FrameType | None) -> None:
    if _State.holds:
        _State.waiting = number
    elif not _State.is_too_late:
        _State.is_stopped = True
        raise Stopped(number)


def _ignore(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
