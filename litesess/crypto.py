"""Encryption at rest: the keys that are derived from a key, and how bytes are encrypted.

::

    encryption_key --Argon2id--> wrapping key --wraps--> data key --HKDF--> a key for each file

A *data key* is random and never leaves the process unwrapped.  Encrypted bytes are a nonce (12
bytes), the AES-256-GCM ciphertext and its tag (16 bytes); to decrypt them proves that they were
encrypted under that key for that place.  :mod:`litesess.primitives`, and with it the package
cryptography, is imported when a key is first used.  The bytes are drawn in docs/format.rst,
"Encryption".
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, NamedTuple

from litesess.errors import ConfigError, ConfigTypeError, DecryptError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SALT_BYTES: Final = 16
#: The number of bytes that encryption adds.
OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES

SHORTEST_PASSPHRASE: Final = 12  # characters

RAW, ARGON2ID, SCRYPT = range(3)

RandomBytes = Callable[[int], bytes]


class Derivation(NamedTuple):
    """The parameters by which a wrapping key is derived from an encryption key.

    Attributes:
        kind: ``RAW`` (HKDF-SHA256, for 32 random bytes), ``ARGON2ID`` or ``SCRYPT``.
        cost: memory in KiB (Argon2id), or N (scrypt).
        rounds: passes (Argon2id), or r (scrypt).
        lanes: lanes (Argon2id), or p (scrypt).
        salt: 16 random bytes.
    """

    kind: int
    cost: int
    rounds: int
    lanes: int
    salt: bytes

    @property
    def _work(self) -> int:
        return self.cost * (self.lanes if self.kind == SCRYPT else self.rounds)

    def check(self, path: str) -> None:
        """Raise :class:`DecryptError` if this asks for too much work, or too little.

        A tampered file must neither make a passphrase cheap to guess nor keep a worker from
        starting.  So a derivation can cost at most 132 MiB, and twice the time of litesess's own
        parameters, which take 0.2 s of a core.

        Source: OWASP Password Storage Cheat Sheet for the lower bounds.
        """
        found = self.cost, self.rounds, self.lanes
        bounds = _BOUNDS.get(self.kind)
        is_within = bounds is not None and all(map(range.__contains__, bounds, found))
        if not is_within or self._work > _MOST_WORK.get(self.kind, 0):
            raise DecryptError(
                f"{path}: key derivation {self.kind} with cost {self.cost}, rounds {self.rounds}"
                f" and lanes {self.lanes} is out of bounds; the file was tampered with"
            )


# Source: RFC 9106 section 4 (64 MiB, 3 passes, 4 lanes); OWASP for scrypt.
_ARGON2ID: Final = Derivation(ARGON2ID, 65_536, 3, 4, b"")
_SCRYPT: Final = Derivation(SCRYPT, 1 << 17, 8, 1, b"")
_MOST_KIB: Final = 128 * 1024
_BOUNDS: Final = {
    RAW: (range(1), range(1), range(1)),
    ARGON2ID: (range(19_456, _MOST_KIB + 1), range(2, 14), range(1, 17)),
    # One unit of N is 1 KiB, because r is 8.
    SCRYPT: (range(1 << 16, _MOST_KIB + 1), range(8, 9), range(1, 3)),
}
#: The largest work of a derivation, in KiB: memory times passes (Argon2id) or p (scrypt).
_MOST_WORK: Final = {RAW: 0, ARGON2ID: 2 * _MOST_KIB, SCRYPT: _MOST_KIB}


class EncryptionKey:
    """The user's key: a passphrase or 32 random bytes; no repr shows it."""

    __slots__ = ("_bytes", "_derived", "_is_raw")

    def __init__(self, given: str | bytes) -> None:
        """Take a key that :func:`encryption_key` has checked."""
        self._is_raw = isinstance(given, bytes)
        # Source: RFC 8265 section 4.2: one passphrase must not become two by how it was typed.
        self._bytes = given if isinstance(given, bytes) else _normalised(given).encode()
        # Kept, because it takes 0.15 s and the store needs it for each data key that it opens.
        self._derived: tuple[Derivation, bytes] | None = None

    def derivation(self, random_bytes: RandomBytes) -> Derivation:
        """Return new parameters for deriving a wrapping key from this key."""
        salt = random_bytes(SALT_BYTES)
        if self._is_raw:
            return Derivation(RAW, 0, 0, 0, salt)
        derivation = _ARGON2ID._replace(salt=salt)
        try:
            self.derive(derivation, "(new)")
        except DecryptError:  # this build of OpenSSL lacks Argon2id
            return _SCRYPT._replace(salt=salt)
        return derivation

    def derive(self, derivation: Derivation, path: str) -> bytes:
        """Return the wrapping key; *path* names the file of the parameters in errors.

        Raises:
            DecryptError: this key does not fit the parameters, or this machine can't use them.
        """
        derived = self._derived
        if derived is None or derived[0] != derivation:
            derivation.check(path)
            if self._is_raw != (derivation.kind == RAW):
                raise _wrong_key(path)
            derived = self._derived = derivation, self._derive(derivation, path)
        return derived[1]

    def _derive(self, derivation: Derivation, path: str) -> bytes:
        from litesess import primitives

        kind, cost, rounds, lanes, salt = derivation
        if kind == RAW:
            return _hkdf(self._bytes, salt, b"wrapping key")
        try:
            if kind == SCRYPT:
                return primitives.scrypt(self._bytes, salt, KEY_BYTES, n=cost, r=rounds, p=lanes)
            return primitives.argon2id(
                self._bytes, salt, KEY_BYTES, iterations=rounds, lanes=lanes, memory_cost=cost
            )
        except primitives.UnsupportedAlgorithm as error:
            raise DecryptError(
                f"{path}: its key derivation can't be done here; Argon2id needs cryptography 44"
                " built with OpenSSL 3.2 or newer"
            ) from error
        except (ValueError, MemoryError) as error:
            raise DecryptError(
                f"{path}: its key derivation (cost {cost}, rounds {rounds}, lanes {lanes}) can't be"
                " done here; is there enough memory?"
            ) from error

    def __repr__(self) -> str:
        return "<EncryptionKey>"


def encryption_key(name: str, value: object) -> EncryptionKey:
    """Check an option that holds an encryption key.

    Raises:
        ConfigError: it is neither a passphrase nor 32 bytes.
    """
    if isinstance(value, EncryptionKey):
        return value
    if isinstance(value, bytes):
        if len(value) != KEY_BYTES:
            raise ConfigError(
                f"{name} has {len(value)} bytes, not {KEY_BYTES}; a passphrase is a str, and"
                " `litesess secret --key` prints a key"
            )
        return EncryptionKey(value)
    if not isinstance(value, str):
        raise ConfigTypeError(
            f"{name} is of type {type(value).__name__}, neither a passphrase (str) nor"
            f" {KEY_BYTES} bytes"
        )
    # Checked before encoding: the exception of an attempt would hold the passphrase.
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"{name} has a lone surrogate, which is no Unicode text")
    size = len(_normalised(value))
    if size < SHORTEST_PASSPHRASE:
        raise ConfigError(
            f"{name} has {size} characters, at least {SHORTEST_PASSPHRASE} are needed;"
            " `litesess secret --passphrase` prints a passphrase"
        )
    return EncryptionKey(value)


class DataKey:
    """A random key, from which the keys of all ciphers are derived."""

    __slots__ = ("_header_key", "_key", "_name_key", "number")

    def __init__(self, key: bytes, number: int) -> None:
        """Take the 32 bytes of the store's key of that *number*."""
        self._key = key
        self.number = number
        self._header_key = _hkdf(key, b"", b"headers")
        self._name_key = _hkdf(key, b"", b"owners")

    def tag(self, data: bytes) -> bytes:
        """Return the tag that proves that unencrypted *data* was written with this key."""
        return hmac.digest(self._header_key, data, "sha256")[:TAG_BYTES]

    def blinded(self, name: bytes) -> bytes:
        """Return bytes that stand for *name* and don't reveal it without this key."""
        return hmac.digest(self._name_key, name, "sha256")

    def proves(self, data: bytes, tag: bytes) -> bool:
        """Return whether :meth:`tag` has returned *tag* for *data*."""
        return hmac.compare_digest(self.tag(data), tag)

    def cipher(
        self, purpose: bytes, salt: bytes, context: bytes, path: str, random_bytes: RandomBytes
    ) -> Cipher:
        """Return the cipher for one place.

        Args:
            purpose: the kind of place: "file", or "values" and the first byte of their keys.
            salt: a salt that no other place has.
            context: names the place; no other place has the same context.
            path: its name for errors.
            random_bytes: returns the given number of random bytes.
        """
        return Cipher(_hkdf(self._key, salt, purpose), context, path, random_bytes, self)

    def wrap(self, wrapping_key: bytes, context: bytes, random_bytes: RandomBytes) -> bytes:
        """Return this key encrypted under another one, for a place that *context* names."""
        from litesess.primitives import AESGCM

        nonce = random_bytes(NONCE_BYTES)
        return nonce + AESGCM(wrapping_key).encrypt(nonce, self._key, context)

    @classmethod
    def unwrap(
        cls, wrapped: bytes, wrapping_key: bytes, context: bytes, number: int, path: str
    ) -> DataKey:
        """Return the key that :meth:`wrap` has encrypted.

        Raises:
            DecryptError: *wrapping_key* is wrong, or the file at *path* was changed.
        """
        from litesess.primitives import AESGCM, InvalidTag

        try:
            nonce, encrypted = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
            return cls(AESGCM(wrapping_key).decrypt(nonce, encrypted, context), number)
        except InvalidTag:
            raise _wrong_key(path) from None

    def __repr__(self) -> str:
        return f"<DataKey {self.number}>"


WRAPPED_BYTES: Final = KEY_BYTES + OVERHEAD_BYTES


class Cipher:
    """Encrypts the content of one place, such as a file, each time under a new nonce.

    A nonce is random: an offset would be used twice if a torn tail is overwritten.  Two of 2^20
    records under the key of a file have the same nonce with a chance of 2^-57.

    Source: NIST SP 800-38D section 8.3 (at most 2^32 random nonces under one key).
    """

    __slots__ = (
        "_aead", "_context", "_key", "_last", "_path", "_primitives", "_random_bytes", "data_key",
    )  # fmt: skip

    def __init__(
        self,
        key: bytes,
        context: bytes,
        path: str,
        random_bytes: RandomBytes,
        data_key: DataKey,
    ) -> None:
        from litesess import primitives

        self._key = key
        self._aead = primitives.AESGCM(key)
        self._primitives = primitives
        self._context = context
        self._path = path
        self._random_bytes = random_bytes
        self.data_key = data_key
        self._last = b"", b"", b""  # the last encrypted bytes, their head, and the plain ones

    def encrypt(self, plain: bytes, head: bytes) -> bytes:
        """Return *plain* encrypted, bound to the unencrypted *head* that precedes it."""
        nonce = self._random_bytes(NONCE_BYTES)
        encrypted = nonce + self._aead.encrypt(nonce, plain, self._context + head)
        self._last = encrypted, head, plain
        return encrypted

    def decrypt(self, encrypted: bytes, head: bytes) -> bytes:
        """Return the plain bytes.

        Raises:
            DecryptError: they were not encrypted by this cipher for *head*, or were changed since.
        """
        last = self._last
        # A process that writes a record reads it back at once.
        if encrypted == last[0] and head == last[1]:
            return last[2]
        try:
            return self._aead.decrypt(
                encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], self._context + head
            )
        except (self._primitives.InvalidTag, ValueError):  # ValueError: it is shorter than a nonce
            raise self.tampered() from None

    def tampered(self) -> DecryptError:
        """Return the error for intact data that was not encrypted with this key."""
        return DecryptError(f"{self._path} was tampered with")

    def values(self, context: bytes) -> ValueCiphers:
        """Return the ciphers of values that move from file to file, under the same data key."""
        return ValueCiphers(self.data_key, context, self._path, self._random_bytes)

    def vouch(self, parts: Iterable[bytes]) -> bytes:
        """Return a nonce and a tag that prove the unencrypted *parts*."""
        nonce = self._random_bytes(NONCE_BYTES)
        tag: bytes = self._primitives.gcm_tag(self._key, nonce, chain([self._context], parts))
        return nonce + tag

    def proves(self, parts: Iterable[bytes], proof: bytes) -> bool:
        """Return whether :meth:`vouch` has returned *proof* for *parts*."""
        nonce, tag = proof[:NONCE_BYTES], proof[NONCE_BYTES:]
        all_parts = chain([self._context], parts)
        is_tag: bool = self._primitives.is_gcm_tag(self._key, nonce, all_parts, tag)
        return is_tag

    def __repr__(self) -> str:
        return "<Cipher>"


class ValueCiphers(dict[int, Cipher]):
    """The ciphers of values that move from file to file, by the first byte of their keys (hashes).

    256 keys can encrypt 2^40 values before the data key has to be changed: 1 000 a second for 34
    years.  The caller must know which version of a value belongs to which session.
    """

    __slots__ = ("_context", "_data_key", "_path", "_random_bytes")

    def __init__(
        self, data_key: DataKey, context: bytes, path: str, random_bytes: RandomBytes
    ) -> None:
        """Start without ciphers; each one is made at its first use.

        Args:
            data_key: the key from which the ciphers' keys are derived.
            context: names the store; no other store has the same context.
            path: the file or server that has the values, for errors.
            random_bytes: returns the given number of random bytes.
        """
        super().__init__()
        self._data_key = data_key
        self._context = context
        self._path = path
        self._random_bytes = random_bytes

    def blinded(self, owner: bytes) -> bytes:
        """Return bytes that stand for *owner* and don't reveal the name without the key."""
        return self._data_key.blinded(owner)

    def __missing__(self, first: int) -> Cipher:
        cipher = self[first] = self._data_key.cipher(
            b"values" + bytes([first]), b"", self._context, self._path, self._random_bytes
        )
        return cipher

    def __repr__(self) -> str:
        return "<ValueCiphers>"


def _wrong_key(path: str) -> DecryptError:
    return DecryptError(f"{path}: the encryption key is wrong, or the file was changed")


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    from litesess import primitives

    return primitives.hkdf(key, salt, b"litesess/1/" + info, KEY_BYTES)


def _normalised(passphrase: str) -> str:
    return unicodedata.normalize("NFC", passphrase)


def preload() -> None:
    """Import all that encryption needs, for a process that gives up the right to read it."""
    from litesess import primitives

    assert primitives.AESGCM is not None
