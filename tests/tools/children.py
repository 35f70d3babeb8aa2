"""Forked children of a test."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable


def in_child(work: Callable[[], int]) -> int:
    """Run *work* in a forked child; return its exit status, 99 for an exception."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def do_in_child(work: Callable[[], object]) -> None:
    """Do *work* in a forked child, without an exception."""

    def quiet() -> int:
        work()
        return 0

    assert in_child(quiet) == 0
