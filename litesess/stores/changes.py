"""One request's changes to a session, and the rules by which a store merges them into it.

Requests overlap: the session that is stored is seldom the one that a request has read.  So a store
gets changes, and merges them into the session as it is stored by then:

- Values are merged one by one.  A key that the request did not change stays as it is.
- A session that gets another owner begins anew: it is created now.  So does a session whose
  rotation sets an owner, even the same one as before: that is a login.
- A new expiry says that the session was used.  Without one, the last use stays as it is, too.
- If another request has moved the session meanwhile, the new expiry is ignored: it was computed
  from a version that the other request has since replaced.
- Empty cookie settings are none.
- Changes that need a version are refused if another one is stored, and dropped if the session was
  moved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from litesess import codec, ids
from litesess.clocks import LARGEST_JUMP
from litesess.errors import VersionConflict
from litesess.stores.base import KEEP, Owner, Record, StoredOwner
from litesess.stores.times import check_end, shorten


class Changes:
    """The changes of one request.

    Attributes:
        now: the time of the change, in Unix seconds.
        frames: values by top-level key, encoded.
        removed: top-level keys to take out.
        expires_at: the new expiry, in Unix seconds; None: as before.
        owner: the new owner; None: no owner; ``KEEP``: as before.
        settings: the record's attributes ``owner``, ``cookie`` and ``client``, as far as they
            change, with their new values.
        if_version: the version that must be stored; None: any.
        is_login: the session begins anew, even if its owner stays the same.
    """

    __slots__ = (
        "expires_at", "frames", "if_version", "is_login", "now", "owner", "removed", "settings",
    )  # fmt: skip

    def __init__(
        self,
        now: float,
        changes: Mapping[str, Any],
        removed: Collection[str],
        *,
        expires_at: float | None = None,
        cookie: Mapping[str, Any] | None = None,
        owner: Owner = KEEP,
        client: Mapping[str, Any] | None = None,
        if_version: int | None = None,
        is_rotation: bool = False,
    ) -> None:
        """Take the arguments of :meth:`Store.update` or, with *is_rotation*, :meth:`Store.rotate`.

        Raises:
            ConfigTypeError: *owner* is of another type than str, int or None.
            EncodeError: a value, *owner* or *expires_at* can't be stored.
        """
        self.now = now
        if expires_at is not None:
            check_end(expires_at)
        # Encode before taking a lock, and before anything is written.
        self.frames = codec.encode_items(changes)
        self.removed = removed
        self.expires_at = expires_at
        self.if_version = if_version
        self.owner: StoredOwner = owner if owner is None or owner is KEEP else ids.owner_of(owner)
        self.is_login = is_rotation and owner is not KEEP
        self.settings: dict[str, Any] = {}
        if owner is not KEEP:
            self.settings["owner"] = self.owner
        if cookie is not None:
            self.settings["cookie"] = cookie or None
        if client is not None:
            self.settings["client"] = client

    @property
    def follows(self) -> bool:
        """Whether they are made to a session that another request has moved meanwhile."""
        return self.if_version is None

    def check_version(self, stored: int) -> None:
        """Raise :class:`VersionConflict` unless the version *stored* is the one they need."""
        if self.if_version is not None and self.if_version != stored:
            raise VersionConflict(f"version {stored} is stored, not {self.if_version}")

    def merge_into(self, record: Record, *, is_moved: bool = False) -> None:
        """Change *record*, which was just read from the store, in place.

        Args:
            record: the session as it is stored; no caller of the store has seen it.
            is_moved: whether it was found under the key that another request has moved it to.
        """
        frames, former = shorten(record, self.now).frames, record.owner
        for name in self.removed:
            frames.pop(name, None)
        frames.update(self.frames)
        for name, value in self.settings.items():
            setattr(record, name, value)
        is_ahead = record.created_at > self.now + LARGEST_JUMP  # by a clock that was wrong
        if self.is_login or is_ahead or record.owner != former:
            record.created_at = self.now
        if self.expires_at is not None:
            record.last_seen_at = self.now
            if not is_moved:
                record.expires_at = self.expires_at
        record.is_moved = is_moved
        record.replaced_version = record.version
