"""The entry under a key, and the changes to it that a plan may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

#: The owner of entries that no count counts, and that no search for an owner finds.
UNCOUNTED: Final = b"\xff" * 16

ResultT = TypeVar("ResultT")


class Entry(NamedTuple):
    """The value stored under a key.

    Attributes:
        value: at most ``format.MAX_VALUE_BYTES``.
        expires_at: in Unix seconds.
        version: the sequence number of the record that stored it.
        owner: ``format.OWNER_BYTES`` by which it is found, a hash; empty if it has no owner.
    """

    value: bytes
    expires_at: float
    version: int
    owner: bytes = b""


class Put(NamedTuple):
    """Store *value* under *key*, for *owner*: ``format.OWNER_BYTES``, or none."""

    key: bytes
    value: bytes
    expires_at: float
    owner: bytes = b""


class Touch(NamedTuple):
    """Let that *version* of *key* expire at another time; a newer version keeps its own."""

    key: bytes
    version: int
    expires_at: float


class Delete(NamedTuple):
    """Delete *key*; *expired* if that is the reason."""

    key: bytes
    expired: bool = False


class Clear(NamedTuple):
    """Delete every key."""


Change: TypeAlias = "Put | Touch | Delete | Clear"


class Lookup(Protocol):
    """The questions that a plan may ask about the stored entries."""

    def get(self, key: bytes) -> Entry | None:
        """Return the entry under *key*, or None."""

    def candidates(self, owner: bytes) -> Iterator[bytes]:
        """Yield the keys that were put for *owner*; some may have gone since.

        No entry is read for that.
        """

    def find(self, owner: bytes) -> Iterable[tuple[bytes, Entry]]:
        """Return the keys of *owner*, each with its entry."""


#: A transaction: a pure function of the stored entries that returns changes to make and a result.
Plan: TypeAlias = "Callable[[Lookup], tuple[Sequence[Change], ResultT]]"
