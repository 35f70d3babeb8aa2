"""Threads that work in the background, where an interpreter may have them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def begin(name: str, work: Callable[..., object], *arguments: Any) -> threading.Thread | None:
    """Begin a thread that does not keep the process alive, and return it.

    None: there can be none.  The interpreter is about to exit, or is an isolated one of a process
    with several, where no such threads are allowed.

    Args:
        name: of the thread, for people.
        work: what it does.
        *arguments: of *work*.

    Source: PEP 684 (isolated interpreters); CPython, ``threading.Thread``: either the constructor
    or ``start()`` raises RuntimeError.
    """
    try:
        thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        thread.start()
    except RuntimeError:
        return None
    return thread
