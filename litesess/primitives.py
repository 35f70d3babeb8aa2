"""The functions of the package cryptography that :mod:`litesess.crypto` builds on.

:mod:`litesess.crypto` imports this module when a key is first used.  An app without encryption
must not need the package: its core can't be loaded in a sub-interpreter, as mod_wsgi makes them.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

try:
    from cryptography.hazmat.primitives.kdf import argon2
except ImportError:  # before cryptography 44
    Argon2id: type[argon2.Argon2id] | None = None
else:
    Argon2id = argon2.Argon2id

__all__ = [
    "AESGCM", "InvalidTag", "UnsupportedAlgorithm", "argon2id", "gcm_tag", "hkdf", "is_gcm_tag",
    "scrypt",
]  # fmt: skip


def hkdf(key: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """Return *size* bytes derived from a random key by HKDF-SHA256.

    Source: RFC 5869.
    """
    return HKDF(SHA256(), size, salt or None, info).derive(key)


def scrypt(passphrase: bytes, salt: bytes, size: int, *, n: int, r: int, p: int) -> bytes:
    """Return *size* bytes derived from a passphrase by scrypt.

    Raises:
        UnsupportedAlgorithm: OpenSSL has none.
        ValueError: a cost is wrong.
        MemoryError: it needs more memory than there is.
    """
    return Scrypt(salt=salt, length=size, n=n, r=r, p=p).derive(passphrase)


def argon2id(
    passphrase: bytes, salt: bytes, size: int, *, iterations: int, lanes: int, memory_cost: int
) -> bytes:
    """Return *size* bytes derived from a passphrase by Argon2id; raises as :func:`scrypt`."""
    if Argon2id is None:
        raise UnsupportedAlgorithm("Argon2id")
    return Argon2id(
        salt=salt, length=size, iterations=iterations, lanes=lanes, memory_cost=memory_cost
    ).derive(passphrase)


def gcm_tag(key: bytes, nonce: bytes, parts: Iterable[bytes]) -> bytes:
    """Return the AES-GCM tag of *parts*, none of which is encrypted."""
    encryptor = ciphers.Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    for part in parts:
        encryptor.authenticate_additional_data(part)
    encryptor.finalize()
    return encryptor.tag


def is_gcm_tag(key: bytes, nonce: bytes, parts: Iterable[bytes], tag: bytes) -> bool:
    """Return whether :func:`gcm_tag` has returned *tag*."""
    decryptor = ciphers.Cipher(algorithms.AES(key), modes.GCM(nonce, tag)).decryptor()
    for part in parts:
        decryptor.authenticate_additional_data(part)
    try:
        decryptor.finalize()
    except InvalidTag:
        return False
    return True
