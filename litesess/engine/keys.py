"""The data keys of a store: read from its key file, published there, and used.

Files are made under the newest data key, and the tag in their header says under which one they
were made.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from litesess.crypto import (
    KEY_BYTES,
    DataKey,
    Derivation,
    EncryptionKey,
    RandomBytes,
    Sealer,
)
from litesess.engine import format as form
from litesess.engine.fs import FileSystem, write_all
from litesess.engine.names import TEMPORARY_SUFFIX
from litesess.errors import DecryptError
from litesess.keyfile import LARGEST_BYTES, DataKeys, KeyFile


class KeyPlace(NamedTuple):
    """Where a key file lies."""

    fs: FileSystem
    directory: int
    name: str
    path: str

    def read(self) -> KeyFile | None:
        """Return what it says, or None if it is not there.

        Raises:
            Corruption: it is damaged.
            OSError: it could not be read.
        """
        while True:
            try:
                fd = self.fs.open(self.directory, self.name, self.path, write=False)
            except FileNotFoundError:
                # It may have been replaced in the very moment.
                if self.fs.exists(self.directory, self.name):
                    continue
                return None
            try:
                return KeyFile.decode(self.fs.pread(fd, LARGEST_BYTES, 0), self.path)
            finally:
                self.fs.close(fd)

    def publish(self, data: bytes) -> None:
        """Put *data* in its place, durably; it holds the old bytes or the new ones, never others.

        Raises:
            OSError: it holds the old ones, or maybe the new ones.
        """
        temporary = self.name + TEMPORARY_SUFFIX
        with suppress(FileNotFoundError):
            self.fs.unlink(self.directory, temporary)
        fd = self.fs.create(self.directory, temporary)
        try:
            write_all(self.fs, fd, data, 0)
            # Order: the bytes before the name: what stands under it is all that opens the store.
            self.fs.sync(fd)
        except BaseException:
            with suppress(OSError):  # the next one to publish, or to open, deletes it
                self.fs.unlink(self.directory, temporary)
            raise
        finally:
            self.fs.close(fd)
        self.fs.rename(self.directory, temporary, self.name)
        self.fs.sync_directory(self.directory)


class Keys:
    """What a process knows of the keys of one store; any thread may use it."""

    def __init__(self, encryption_key: EncryptionKey | None, random_bytes: RandomBytes) -> None:
        """Begin with what the user gave; None: the store is not encrypted."""
        self._encryption_key = encryption_key
        self._random_bytes = random_bytes
        self._known: DataKeys = {}  # replaced whole, never changed

    @property
    def is_encrypted(self) -> bool:
        """Whether there is an encryption key."""
        return self._encryption_key is not None

    def check(self, place: KeyPlace, *, is_needed: bool = False) -> None:
        """Raise :class:`DecryptError` if the key file does not go with the encryption key.

        Args:
            place: of the key file.
            is_needed: there is a store, so that an encryption key needs its key file.
        """
        found = self._read(place) if is_needed and self.is_encrypted else place.read()
        if found is not None:
            self._unwrap(found, place)

    def create(self, place: KeyPlace, store: bytes) -> None:
        """Make a data key for the store *store*, which holds nothing yet.

        Another one than in a key file that is there: whoever made that may have been killed, or
        its store may have been deleted, and no two stores are sealed under one key.

        Raises:
            DecryptError: there is a key file that was made under another encryption key.
            OSError: it could not be made.
        """
        self.check(place)
        key = self._encryption_key
        if key is not None:
            number = max(self._known, default=0) + 1
            data_keys = {number: DataKey(self._random_bytes(KEY_BYTES), number)}
            derivation = key.derivation(self._random_bytes)
            self._publish(place, store, key, derivation, data_keys)
            self._known = data_keys

    def sign(self, header: form.Header, path: str, place: KeyPlace) -> form.Head:
        """Return what a new file begins with, and what seals in it.

        Args:
            header: the file's.
            path: of the file.
            place: of the key file.

        Raises:
            DecryptError: another process has taken to a data key that can't be unwrapped here.
            OSError: the key file could not be read.
        """
        if self._encryption_key is None:
            return form.Head(header, header.encode(), None)
        header = header._replace(is_encrypted=True)
        # Read anew: another process may have put a key in the place of the one known here.
        data_key = self._newest(self._read(place), place)
        # Order: the key file's name, which one who was killed may have left unsynced, before
        # that of a file that can't be read without.
        place.fs.sync_directory(place.directory)
        return form.Head(header, header.encode(data_key.tag), self._sealer(header, data_key, path))

    def verify(self, data: bytes, path: str, magic: bytes, place: KeyPlace) -> form.Head:
        """Return what a file begins with, and what opens what is sealed in it.

        Args:
            data: its first bytes.
            path: of the file.
            magic: what it must begin with.
            place: of the key file.

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
        data_key = self._find(signed, tag, place)
        if data_key is None:
            raise DecryptError(f"{path} is of another store, or was tampered with")
        return form.Head(header, data, self._sealer(header, data_key, path))

    def sign_slot(self, slot: form.Slot) -> bytes:
        """Return a slot's bytes."""
        if self._encryption_key is None:
            return slot.encode()
        return slot.encode(self._known[max(self._known)].tag)

    def verify_slot(self, data: bytes, place: KeyPlace) -> form.Slot | None:
        """Return the slot; None if there is none, if it is damaged, or not by who has the keys.

        Whoever could forge one could as well erase it, so that is no error.
        """
        decoded = form.decode_slot(data)
        if decoded is None:
            return None
        slot, signed, tag = decoded
        if signed is None:
            return slot if self._encryption_key is None else None
        if self._encryption_key is None or self._find(signed, tag, place) is None:
            return None
        return slot

    def is_newest(self, sealer: Sealer | None) -> bool:
        """Say whether a file was made under the newest data key that is known here."""
        return sealer is None or sealer.data_key.number == max(self._known)

    def add(self, place: KeyPlace) -> None:
        """Publish a new data key beside the one in use; new files are made under it.

        Raises:
            DecryptError: the key file can't be unwrapped.
            OSError: it could not be written.
        """
        found, key = self._read(place), self._given(place)
        data_keys = self._unwrap(found, place)
        number = max(data_keys) + 1
        data_keys[number] = DataKey(self._random_bytes(KEY_BYTES), number)
        self._publish(place, found.store, key, found.derivation, data_keys)

    def drop_old(self, place: KeyPlace) -> None:
        """Publish the newest data key alone, if there are others; no file needs them any more.

        Raises:
            DecryptError: the key file can't be unwrapped.
            OSError: it could not be written.
        """
        if len(self._known) > 1:
            found, key = self._read(place), self._given(place)
            number = max(self._known)
            only = {number: self._known[number]}
            if [*found.wrapped] != [number]:
                try:
                    # Guards: the encryption key may have been changed meanwhile; what is published
                    # under another one than the file's would lock everybody out.
                    self._unwrap(found, place)
                except DecryptError:  # whoever has the present one will do it
                    return
                self._publish(place, found.store, key, found.derivation, only)
            self._known = only

    def change(self, place: KeyPlace, new: EncryptionKey) -> None:
        """Wrap the data keys anew, so that *new* opens the store, and no other key does.

        Raises:
            DecryptError: the key file can't be unwrapped, or the store is not encrypted.
            OSError: it could not be written.
        """
        found = self._read(place)
        data_keys = self._unwrap(found, place)
        derivation = new.derivation(self._random_bytes)
        try:
            self._publish(place, found.store, new, derivation, data_keys)
        finally:
            # Also after an error: it may have come when the new file had its name already.
            if (current := place.read()) is not None and current.derivation == derivation:
                self._encryption_key = new

    def _read(self, place: KeyPlace) -> KeyFile:
        """Return the key file, which must be there, and not an older one.

        Raises:
            DecryptError: it is neither.
        """
        self._given(place)
        found = place.read()
        if found is None:
            raise DecryptError(
                f"{place.path} is missing; put it back from a backup, nothing can be read without"
            )
        # Guards: who has stolen the key that a rekey has replaced must not bring it back.
        if max(found.wrapped) < max(self._known, default=0):
            raise DecryptError(f"{place.path} is an older one than there was; put the newer back")
        return found

    def _given(self, place: KeyPlace) -> EncryptionKey:
        if self._encryption_key is None:
            raise DecryptError(
                f"{place.path} says that the store is encrypted, and no encryption_key was given"
                if place.fs.exists(place.directory, place.name)
                else f"the store is not encrypted: there is no {place.path}"
            )
        return self._encryption_key

    def _newest(self, found: KeyFile, place: KeyPlace) -> DataKey:
        number = max(found.wrapped)
        # Known, it need not be unwrapped: the encryption key may have been changed meanwhile.
        return self._known.get(number) or self._unwrap(found, place)[number]

    def _find(self, signed: bytes, tag: bytes, place: KeyPlace) -> DataKey | None:
        """Return the data key under which *tag* was made for *signed*; only one that is in use.

        One that is known here and not the newest may have been dropped since, and stolen before.
        """
        newest = max(self._known, default=0)
        if newest and self._known[newest].proves(signed, tag):
            return self._known[newest]
        data_keys = self._unwrap(self._read(place), place)
        return next((key for key in data_keys.values() if key.proves(signed, tag)), None)

    def _unwrap(self, found: KeyFile, place: KeyPlace) -> DataKeys:
        """Return all data keys of a key file, and know them from now on."""
        key = self._given(place)
        data_keys = {number: found.unwrap(number, key, place.path) for number in found.wrapped}
        self._known = data_keys
        return data_keys

    def _publish(
        self,
        place: KeyPlace,
        store: bytes,
        key: EncryptionKey,
        derivation: Derivation,
        data_keys: DataKeys,
    ) -> None:
        wrapping_key = key.derive(derivation, place.path)
        file = KeyFile.wrap(store, derivation, wrapping_key, data_keys, self._random_bytes)
        place.publish(file.encode())
        self._known = self._known | data_keys

    def _sealer(self, header: form.Header, data_key: DataKey, path: str) -> Sealer:
        return data_key.sealer(b"file", header.salt, header.context, path, self._random_bytes)
