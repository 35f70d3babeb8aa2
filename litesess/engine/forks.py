"""The engines of a process when it forks.

No append may be under way, or the child would keep files open of which it knows nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import ExitStack
from typing import Final, Protocol

#: A fork waits for so long, in seconds, for each lock or thread; not for ever, as a signal handler
#: may fork in the very thread that has one.
PATIENCE: Final = 1.0


class Forked(Protocol):
    """Something that must know of forks."""

    def lock_for_fork(self, locks: ExitStack) -> None:
        """Before a fork: let nothing change until *locks* is closed."""

    def forget(self) -> None:
        """After a fork, in the child: close the parent's files."""


_known: weakref.WeakSet[Forked] = weakref.WeakSet()


def register(engine: Forked) -> None:
    """Tell *engine* of every fork from now on, as long as it lives."""
    _known.add(engine)


class _Forks:
    """The locks of all engines while the process forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Guards: _locks; one fork at a time.
        self._locks = ExitStack()

    def before(self) -> None:
        """Lock every engine."""
        self._lock.acquire()
        for engine in list(_known):
            engine.lock_for_fork(self._locks)

    def after_in_parent(self) -> None:
        """Release them."""
        self._locks.close()
        self._lock.release()

    def after_in_child(self) -> None:
        """Begin anew: the locks are the parent's."""
        self._lock = threading.Lock()
        self._locks = ExitStack()
        # All of them, locked or not: a server written in C may fork without the first hook.
        for engine in list(_known):
            engine.forget()


_forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before,
        after_in_parent=_forks.after_in_parent,
        after_in_child=_forks.after_in_child,
    )
