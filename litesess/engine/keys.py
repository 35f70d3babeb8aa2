"""The data keys of a store: read from its key file, published there, and used.

Files are made under the newest data key, and the tag in their header says under which one they
were made.
"""

from __future__ import annotations

from litesess.crypto import (
    KEY_BYTES,
    Cipher,
    DataKey,
    Derivation,
    EncryptionKey,
    RandomBytes,
)
from litesess.engine import format as form
from litesess.engine.directory import Directory
from litesess.engine.fs import write_all
from litesess.errors import DecryptError
from litesess.keyfile import LARGEST_BYTES, DataKeys, KeyFile


def read_key_file(directory: Directory) -> KeyFile | None:
    """Return the key file in *directory*, or None if it is missing.

    Raises:
        Corruption: it is damaged.
        StoreError: it was not made by litesess.
        OSError: it could not be read.
    """
    name = directory.names.keys
    while (data := directory.read(name, LARGEST_BYTES)) is None:
        # It may have been replaced in the very moment.
        if not directory.exists(name):
            return None
    return KeyFile.decode(data, directory.path_of(name))


class Keys:
    """The keys of one store, as a process knows them; any thread may use this."""

    def __init__(self, encryption_key: EncryptionKey | None, random_bytes: RandomBytes) -> None:
        """Begin with the user's encryption key; None: the store is not encrypted."""
        self._encryption_key = encryption_key
        self._random_bytes = random_bytes
        self._known: DataKeys = {}  # replaced whole, never changed

    @property
    def is_encrypted(self) -> bool:
        """Whether there is an encryption key."""
        return self._encryption_key is not None

    def check(self, directory: Directory, *, is_needed: bool = False) -> None:
        """Raise :class:`DecryptError` if the key file does not go with the encryption key.

        Args:
            directory: of the store.
            is_needed: there is a store, so that an encryption key needs its key file.
        """
        found = (
            self._read(directory) if is_needed and self.is_encrypted else read_key_file(directory)
        )
        if found is not None:
            self._unwrap(found, directory)

    def create(self, directory: Directory, store: bytes) -> None:
        """Make a data key for the store *store*, which holds nothing yet.

        Not the one in a key file that is there: the process that made it may have been killed, or
        its store may have been deleted, and no two stores are encrypted under one key.

        Raises:
            DecryptError: there is a key file that was made under another encryption key.
            OSError: it could not be made.
        """
        self.check(directory)
        key = self._encryption_key
        if key is not None:
            number = max(self._known, default=0) + 1
            data_keys = {number: DataKey(self._random_bytes(KEY_BYTES), number)}
            derivation = key.derivation(self._random_bytes)
            self._publish(directory, store, key, derivation, data_keys)
            self._known = data_keys

    def sign(self, header: form.Header, path: str, directory: Directory) -> form.Head:
        """Return the head of a new file.

        Args:
            header: the file's.
            path: of the file.
            directory: of the store.

        Raises:
            DecryptError: another process has taken to a data key that can't be unwrapped here.
            OSError: the key file could not be read.
        """
        if self._encryption_key is None:
            return form.Head(header, header.encode(), None)
        header = header._replace(is_encrypted=True)
        # Read anew: another process may have put a key in the place of the one known here.
        data_key = self._newest(self._read(directory), directory)
        # Order: the key file's name, which a killed process may have left unsynced, before
        # that of a file that can't be read without.
        directory.sync()
        return form.Head(header, header.encode(data_key.tag), self._cipher(header, data_key, path))

    def verify(self, data: bytes, path: str, magic: bytes, directory: Directory) -> form.Head:
        """Return the head of a file that was read.

        Args:
            data: its first bytes.
            path: of the file.
            magic: the bytes that it must begin with.
            directory: of the store.

        Raises:
            Corruption: the header is damaged.
            DecryptError: it was not made under these keys, or was changed since.
            OSError: the key file could not be read.
        """
        header, signed, tag = form.decode_header(data, path, magic)
        if header.is_encrypted and self._encryption_key is None:
            raise DecryptError(f"{path} is encrypted, and no encryption_key was given")
        if not header.is_encrypted and self._encryption_key is not None:
            raise DecryptError(
                f"{path} is not encrypted, but an encryption_key was given; leave that out, or"
                " begin anew in another directory"
            )
        if not header.is_encrypted:
            return form.Head(header, data, None)
        data_key = self._find(signed, tag, directory)
        if data_key is None:
            raise DecryptError(f"{path} is of another store, or was tampered with")
        return form.Head(header, data, self._cipher(header, data_key, path))

    def sign_slot(self, slot: form.Slot) -> bytes:
        """Return a slot's bytes."""
        if self._encryption_key is None:
            return slot.encode()
        return slot.encode(self._known[max(self._known)].tag)

    def verify_slot(self, data: bytes, directory: Directory) -> form.Slot | None:
        """Return the slot; None if it is missing, damaged, or written without the keys.

        That is no error: an attacker who can forge one can as well erase it.
        """
        decoded = form.decode_slot(data)
        if decoded is None:
            return None
        slot, signed, tag = decoded
        if signed is None:
            return slot if self._encryption_key is None else None
        if self._encryption_key is None or self._find(signed, tag, directory) is None:
            return None
        return slot

    def is_newest(self, cipher: Cipher | None) -> bool:
        """Return whether a file was made under the newest data key that is known here."""
        return cipher is None or cipher.data_key.number == max(self._known)

    def add(self, directory: Directory) -> None:
        """Publish a new data key beside the one in use; new files are made under it.

        Raises:
            DecryptError: the key file can't be unwrapped.
            OSError: it could not be written.
        """
        found, key = self._read(directory), self._given(directory)
        data_keys = self._unwrap(found, directory)
        number = max(data_keys) + 1
        data_keys[number] = DataKey(self._random_bytes(KEY_BYTES), number)
        self._publish(directory, found.store, key, found.derivation, data_keys)

    def drop_old(self, directory: Directory) -> None:
        """Publish the newest data key alone, if there are older ones; no file needs them any more.

        Raises:
            DecryptError: the key file can't be unwrapped.
            OSError: it could not be written.
        """
        if len(self._known) > 1:
            found, key = self._read(directory), self._given(directory)
            number = max(self._known)
            only = {number: self._known[number]}
            if [*found.wrapped] != [number]:
                try:
                    # Guards: the encryption key may have been changed meanwhile; a file published
                    # under another one than the file's would lock everybody out.
                    self._unwrap(found, directory)
                except DecryptError:  # a process with the present one will do it
                    return
                self._publish(directory, found.store, key, found.derivation, only)
            self._known = only

    def change(self, directory: Directory, new: EncryptionKey) -> None:
        """Wrap the data keys anew, so that *new* opens the store, and no other key does.

        Raises:
            DecryptError: the key file can't be unwrapped, or the store is not encrypted.
            OSError: it could not be written.
        """
        found = self._read(directory)
        data_keys = self._unwrap(found, directory)
        derivation = new.derivation(self._random_bytes)
        try:
            self._publish(directory, found.store, new, derivation, data_keys)
        finally:
            # Also after an error: it may have come when the new file had its name already.
            if (
                current := read_key_file(directory)
            ) is not None and current.derivation == derivation:
                self._encryption_key = new

    def _read(self, directory: Directory) -> KeyFile:
        """Return the key file, which must be there, and not an older one.

        Raises:
            DecryptError: it is neither.
        """
        self._given(directory)
        found = read_key_file(directory)
        if found is None:
            raise DecryptError(
                f"{directory.key_path} is missing; put it back from a backup, nothing can be read"
                " without"
            )
        # Guards: a thief of the key that a rekey has replaced must not bring it back.
        if max(found.wrapped) < max(self._known, default=0):
            raise DecryptError(
                f"{directory.key_path} is an older one than there was; put the newer back"
            )
        return found

    def _given(self, directory: Directory) -> EncryptionKey:
        if self._encryption_key is None:
            raise DecryptError(
                f"{directory.key_path} says that the store is encrypted, and no encryption_key was"
                " given"
                if directory.exists(directory.names.keys)
                else f"the store is not encrypted: there is no {directory.key_path}"
            )
        return self._encryption_key

    def _newest(self, found: KeyFile, directory: Directory) -> DataKey:
        number = max(found.wrapped)
        # Known, it need not be unwrapped: the encryption key may have been changed meanwhile.
        return self._known.get(number) or self._unwrap(found, directory)[number]

    def _find(self, signed: bytes, tag: bytes, directory: Directory) -> DataKey | None:
        """Return the data key under which *tag* was made for *signed*; only one that is in use.

        One that is known here and not the newest may have been dropped since, and stolen before.
        """
        newest = max(self._known, default=0)
        if newest and self._known[newest].proves(signed, tag):
            return self._known[newest]
        data_keys = self._unwrap(self._read(directory), directory)
        return next((key for key in data_keys.values() if key.proves(signed, tag)), None)

    def _unwrap(self, found: KeyFile, directory: Directory) -> DataKeys:
        """Return all data keys of a key file, and know them from now on."""
        key = self._given(directory)
        data_keys = {
            number: found.unwrap(number, key, directory.key_path) for number in found.wrapped
        }
        self._known = data_keys
        return data_keys

    def _publish(
        self,
        directory: Directory,
        store: bytes,
        key: EncryptionKey,
        derivation: Derivation,
        data_keys: DataKeys,
    ) -> None:
        wrapping_key = key.derive(derivation, directory.key_path)
        file = KeyFile.wrap(store, derivation, wrapping_key, data_keys, self._random_bytes)
        with directory.publish(directory.names.keys) as published:
            write_all(directory.fs, published.fd, file.encode(), 0)
        published.close()
        self._known = self._known | data_keys

    def _cipher(self, header: form.Header, data_key: DataKey, path: str) -> Cipher:
        return data_key.cipher(b"file", header.salt, header.context, path, self._random_bytes)
