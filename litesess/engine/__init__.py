"""A crash-safe key-value engine: append-only log, hash-indexed snapshot, group commit.

An :class:`Engine` stores bytes by 32-byte keys in one directory, for many threads and processes.
It knows no session, cookie or option.  The names below are its face; no other part of litesess
imports past it.
"""

from typing import TYPE_CHECKING

from litesess.engine.changes import (
    UNCOUNTED,
    Change,
    Clear,
    Delete,
    Entry,
    Lookup,
    Plan,
    Put,
    ResultT,
    Touch,
)
from litesess.lazy import names

if TYPE_CHECKING:
    from litesess.engine.check import Salvaged, Verification
    from litesess.engine.engine import Engine
    from litesess.engine.fs import DIRECTORY_MODE, FileSystem
    from litesess.engine.lock import preload
    from litesess.engine.means import Hooks, Limits, Means
    from litesess.engine.probe import (
        closed,
        collections_in,
        is_collection,
        key_file,
        new_snapshot_bytes,
    )

__all__ = [
    "DIRECTORY_MODE",
    "UNCOUNTED",
    "Change",
    "Clear",
    "Delete",
    "Engine",
    "Entry",
    "FileSystem",
    "Hooks",
    "Limits",
    "Lookup",
    "Means",
    "Plan",
    "Put",
    "ResultT",
    "Salvaged",
    "Touch",
    "Verification",
    "closed",
    "collections_in",
    "is_collection",
    "key_file",
    "new_snapshot_bytes",
    "preload",
]

_HOMES = {
    "check": ("Salvaged", "Verification"),
    "engine": ("Engine",),
    "fs": ("DIRECTORY_MODE", "FileSystem"),
    "lock": ("preload",),
    "means": ("Hooks", "Limits", "Means"),
    "probe": ("closed", "collections_in", "is_collection", "key_file", "new_snapshot_bytes"),
}
# A store in memory needs the changes, too, and it also exists on Windows.
__getattr__ = names(
    __name__, {name: f"{__name__}.{home}" for home, given in _HOMES.items() for name in given}
)
