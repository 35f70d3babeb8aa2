"""The names of a store's files (docs/format.rst, "Files")."""

from __future__ import annotations

import re
from typing import NamedTuple

WAL = "wal"
SNAPSHOT = "snapshot"
TORN = "torn"
TEMPORARY_SUFFIX = ".tmp"

COLLECTION = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_GENERATION_FILE = re.compile(
    r"(?P<generation>[0-9a-f]{16})\.(?P<kind>wal|snapshot|torn)(\.tmp)?\Z"
)


class Names(NamedTuple):
    """The names of one collection's files."""

    collection: str

    @property
    def live(self) -> str:
        """Presence lock and slot."""
        return f"{self.collection}.live"

    @property
    def compact(self) -> str:
        """Maintenance lock."""
        return f"{self.collection}.compact"

    @property
    def keys(self) -> str:
        """Key file, of an encrypted store."""
        return f"{self.collection}.keys"

    def wal(self, generation: int) -> str:
        """The log of *generation*."""
        return f"{self.collection}.{generation:016x}.{WAL}"

    def snapshot(self, generation: int) -> str:
        """The snapshot of *generation*."""
        return f"{self.collection}.{generation:016x}.{SNAPSHOT}"

    def torn(self, generation: int) -> str:
        """What a crash left behind the last good record of the log of *generation*."""
        return f"{self.collection}.{generation:016x}.{TORN}"

    def sort_out(self, listing: list[str]) -> Listing:
        """Return which of a directory's names are this collection's files."""
        found = Listing([], [], [], [])
        prefix = f"{self.collection}."
        for name in listing:
            match = name.startswith(prefix) and _GENERATION_FILE.match(name, len(prefix))
            if not match:
                if name == self.keys + TEMPORARY_SUFFIX:
                    found.temporary.append(name)
                continue
            if name.endswith(TEMPORARY_SUFFIX):
                found.temporary.append(name)
            elif match["kind"] == TORN:
                found.torn.append(name)
            else:
                kind = found.wals if match["kind"] == WAL else found.snapshots
                kind.append(int(match["generation"], 16))
        found.wals.sort()
        found.snapshots.sort()
        return found


class Listing(NamedTuple):
    """A collection's files: generations in ascending order, and other names."""

    wals: list[int]
    snapshots: list[int]
    torn: list[str]
    temporary: list[str]

    @property
    def newest(self) -> int:
        """The highest generation of any file; 0 if there is none."""
        return max([0, *self.wals[-1:], *self.snapshots[-1:]])
