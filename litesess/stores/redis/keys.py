"""The key file of a store in Redis: read once in each process, put back if Redis loses it.

Each script gets the file's last bytes, and does nothing if Redis has another file or none: a
process that starts later could not read a session stored then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Final

from litesess import ids
from litesess.crypto import KEY_BYTES, DataKey, EncryptionKey, ValueCiphers
from litesess.errors import (
    Corruption,
    DecryptError,
    StoreClosed,
    StoreError,
    StoreUnavailable,
)
from litesess.keyfile import KeyFile
from litesess.stores.redis.link import Link
from litesess.stores.redis.records import Records

logger = logging.getLogger("litesess.store")

#: The file of a store that has no encryption key.
IN_THE_CLEAR: Final = b"in the clear"
#: Bytes of the mark; a key file ends with its checksum.
_MARK_BYTES: Final = 4


class Keys:
    """The key file of one store."""

    def __init__(
        self,
        link: Link,
        prefix: str,
        encryption_key: EncryptionKey | None,
        store_name: str,
        is_empty: Callable[[], bool],
    ) -> None:
        """Read nothing yet.

        Args:
            link: the way to Redis.
            prefix: of the store's names.
            encryption_key: the user's, or None.
            store_name: the name of the store, for errors.
            is_empty: returns whether the store holds no session.
        """
        self._link = link
        self._name = f"{prefix}keys"
        self._encryption_key = encryption_key
        self._store_name = store_name
        self._is_empty = is_empty
        self._lock = Lock()  # Guards: the making of _opened.
        self._opened: tuple[Records, bytes] | None = None

    @property
    def records(self) -> Records:
        """The converter between hashes and sessions; the key file is read at the first use.

        Raises:
            DecryptError: the encryption key does not fit the key file.
            StoreError: as :meth:`Link.do` says.
        """
        return (self._opened or self._open())[0]

    @property
    def mark(self) -> bytes:
        """The mark by which scripts recognise the key file; raises as :attr:`records` does."""
        return (self._opened or self._open())[1][-_MARK_BYTES:]

    def stored(self) -> bytes | None:
        """Return the key file that Redis has; None: it has none."""
        file: bytes | None = self._link.ask("get", self._name)
        return file

    def put_back(self) -> None:
        """Store the key file that this process knows, if Redis has lost it.

        Raises:
            StoreUnavailable: another process has begun the store anew; it is opened again by the
                next operation.
            StoreError: as :meth:`Link.do` says.
        """
        opened = self._opened
        if opened is None:
            return
        _, file = opened
        if not self._put(file):
            found = self._found(file)
            if found == file:
                return
            with self._lock:
                if self._opened is opened:
                    self._opened = None
            raise StoreUnavailable(
                f"{self._store_name} has lost its key file, and another process has begun it anew"
            )
        logger.error(
            "%s had lost its key file, which was put back; set maxmemory-policy noeviction",
            self._store_name,
        )

    def _put(self, file: bytes) -> bool:
        return bool(self._link.ask("set", self._name, file, nx=True))

    def _found(self, file: bytes) -> bytes | None:
        try:
            return self.stored()
        except (StoreUnavailable, StoreClosed):
            raise
        except StoreError:
            logger.exception("%s has a value of another type, which was replaced", self._name)
            self._link.ask("set", self._name, file)
            return file

    def _open(self) -> tuple[Records, bytes]:
        # Not under the lock: Redis may not answer, and each of many threads would wait for all
        # those before it.
        file = self._read()
        with self._lock:
            if self._opened is None:
                self._opened = self._records_of(file), file
            return self._opened

    def _read(self) -> bytes:
        """Return the key file, which is made if the store is new.

        Raises:
            DecryptError: it is missing, or is not of the kind that the encryption key wants.
        """
        key, name = self._encryption_key, self._store_name
        stored = self.stored()
        if stored is None:
            if key is not None and not self._is_empty():
                raise DecryptError(
                    f"{name} holds sessions, but its key file is missing; a worker that has the"
                    " store open puts it back with its next request"
                )
            self._put(IN_THE_CLEAR if key is None else _new_key_file(key))
            stored = self.stored()  # another process may have been first
        if stored is None or (stored == IN_THE_CLEAR) != (key is None):
            raise DecryptError(
                f"{name} is encrypted, and no encryption_key was given"
                if key is None
                else f"{name} is not encrypted, but an encryption_key was given; leave that out,"
                " or begin anew under another prefix"
            )
        return stored

    def _records_of(self, stored: bytes) -> Records:
        key, name = self._encryption_key, self._store_name
        if key is None:
            return Records(None)
        try:
            file = KeyFile.decode(stored, name)
        except Corruption as error:
            raise DecryptError(f"{name}: its key file is damaged ({error.reason})") from None
        data_key = file.unwrap(max(file.wrapped), key, name)
        return Records(ValueCiphers(data_key, b"redis" + file.store, name, ids.random_bytes))


def _new_key_file(encryption_key: EncryptionKey) -> bytes:
    derivation = encryption_key.derivation(ids.random_bytes)
    return KeyFile.wrap(
        ids.random_bytes(16),
        derivation,
        encryption_key.derive(derivation, "(new)"),
        {1: DataKey(ids.random_bytes(KEY_BYTES), 1)},
        ids.random_bytes,
    ).encode()
