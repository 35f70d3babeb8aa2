"""Encryption keys, what is derived from them, and sealed bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from litesess import ConfigError, DecryptError
from litesess import primitives as module
from litesess.crypto import (
    ARGON2ID,
    OVERHEAD_BYTES,
    RAW,
    SCRYPT,
    Cipher,
    DataKey,
    Derivation,
    EncryptionKey,
    ValueCiphers,
    encryption_key,
)

RAW_KEY = bytes(range(32))
PASSPHRASE = "correct horse battery staple"
ARGON = Derivation(ARGON2ID, 19_456, 2, 1, b"s" * 16)
SCRYPTED = Derivation(SCRYPT, 1 << 16, 8, 1, b"s" * 16)


def cipher(key: bytes = RAW_KEY, context: bytes = b"here") -> Cipher:
    return DataKey(key, 1).cipher(b"file", b"salt", context, "a file", os.urandom)


# What a user gives.


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("", "0 characters, at least 12"),
        ("short", "5 characters, at least 12"),
        ("e\u0301" * 11, "11 characters"),  # NFC makes one of two
        (b"", "0 bytes, not 32"),
        (b"x" * 31, "31 bytes, not 32; a passphrase is a str"),
        (bytearray(32), "of type bytearray"),
        (7, "of type int"),
        ("a lone surrogate \ud800", "no Unicode text"),
    ],
)
def test_what_is_no_encryption_key_is_refused_and_not_shown(given, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        encryption_key("encryption_key", given)
    assert "encryption_key" in str(caught.value)
    if given and not isinstance(given, int):
        assert repr(given) not in str(caught.value)


def test_a_passphrase_is_the_same_however_its_accents_were_typed():
    composed, decomposed = "caf\u00e9 au lait, two", "cafe\u0301 au lait, two"
    assert encryption_key("k", composed).derive(ARGON, "f") == encryption_key(
        "k", decomposed
    ).derive(ARGON, "f")


def test_no_repr_shows_a_key():
    key = encryption_key("encryption_key", PASSPHRASE)
    shown = f"{key!r} {DataKey(RAW_KEY, 3)!r} {cipher()!r} {cipher().values(b'')!r}"
    assert shown == "<EncryptionKey> <DataKey 3> <Cipher> <ValueCiphers>"


# The wrapping key.


def test_argon2id_is_that_of_its_reference():
    """The bytes of argon2-cffi 25.1, hash_secret_raw, for the same input."""
    key = EncryptionKey("password, password")
    derivation = Derivation(ARGON2ID, 19_456, 2, 1, b"0123456789abcdef")
    assert key.derive(derivation, "f").hex() == ARGON2_REFERENCE


ARGON2_REFERENCE = "124e08c7c91ce699871af85f0b2e1a714651121b3a3861cfa4cc546e5f3d4a82"


def test_scrypt_is_that_of_the_standard_library():
    wanted = hashlib.scrypt(
        PASSPHRASE.encode(), salt=b"s" * 16, n=1 << 16, r=8, p=1, maxmem=1 << 28, dklen=32
    )
    assert EncryptionKey(PASSPHRASE).derive(SCRYPTED, "f") == wanted


def test_a_new_passphrase_is_stretched_by_argon2id_with_64_mib():
    derivation = EncryptionKey(PASSPHRASE).derivation(os.urandom)
    assert derivation[:4] == (ARGON2ID, 65_536, 3, 4)
    assert len(derivation.salt) == 16


def test_where_there_is_no_argon2id_a_new_passphrase_is_stretched_by_scrypt(monkeypatch):
    monkeypatch.setattr(module, "Argon2id", None)
    key = EncryptionKey(PASSPHRASE)
    derivation = key.derivation(os.urandom)
    assert derivation[:4] == (SCRYPT, 1 << 17, 8, 1)
    with pytest.raises(DecryptError, match="Argon2id needs cryptography 44"):
        key.derive(ARGON, "f")


def test_random_bytes_are_not_stretched():
    derivation = EncryptionKey(RAW_KEY).derivation(os.urandom)
    assert derivation[:4] == (RAW, 0, 0, 0)


@pytest.mark.parametrize(
    "derivation",
    [
        ARGON._replace(cost=1 << 32),  # 4 TiB
        ARGON._replace(cost=(1 << 17) + 1, rounds=2),
        ARGON._replace(cost=1 << 17, rounds=3),
        ARGON._replace(cost=19_455),
        ARGON._replace(rounds=1),
        ARGON._replace(cost=19_456, rounds=14),
        ARGON._replace(lanes=17),
        ARGON._replace(lanes=0),
        SCRYPTED._replace(cost=1 << 18),
        SCRYPTED._replace(cost=1 << 17, lanes=2),
        SCRYPTED._replace(cost=1 << 16, lanes=3),
        SCRYPTED._replace(cost=1 << 15),
        SCRYPTED._replace(rounds=1),
        SCRYPTED._replace(lanes=17),
        ARGON._replace(kind=3),
        Derivation(RAW, 1, 0, 0, b"s" * 16),
    ],
)
def test_a_file_cant_ask_for_a_derivation_that_is_cheap_or_endless(derivation):
    for given in (PASSPHRASE, RAW_KEY):
        with pytest.raises(DecryptError, match="out of bounds"):
            EncryptionKey(given).derive(derivation, "sessions.keys")


DERIVE = """
import sys, time
from litesess.crypto import Derivation, EncryptionKey
EncryptionKey(sys.argv[1]).derive(Derivation(*map(int, sys.argv[2:]), b"s" * 16), "f")
with open("/proc/self/status") as status:
    kib = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(kib, time.process_time())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "derivation",
    [
        ARGON._replace(cost=1 << 17, rounds=2),
        ARGON._replace(cost=1 << 17, rounds=2, lanes=4),
        ARGON._replace(cost=20_164, rounds=13, lanes=16),
        SCRYPTED._replace(cost=1 << 17),
        SCRYPTED._replace(cost=1 << 16, lanes=2),
    ],
)
def test_the_most_that_a_file_can_ask_for_takes_neither_2_s_nor_256_mib(derivation):
    """In a process of its own, by the time of its cores: others may use them meanwhile."""
    found = subprocess.run(
        [sys.executable, "-c", DERIVE, PASSPHRASE, *map(str, derivation[:4])],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    kib, seconds = found.stdout.split()
    assert float(seconds) < 2
    assert int(kib) < 256 * 1024


def test_a_derivation_that_scrypt_itself_refuses_is_a_decrypt_error():
    with pytest.raises(DecryptError):
        EncryptionKey(PASSPHRASE).derive(SCRYPTED._replace(cost=(1 << 16) + 1), "f")


def test_a_passphrase_does_not_open_what_random_bytes_did_nor_the_other_way_round():
    raw = Derivation(RAW, 0, 0, 0, b"s" * 16)
    with pytest.raises(DecryptError, match="encryption key is wrong"):
        EncryptionKey(PASSPHRASE).derive(raw, "f")
    with pytest.raises(DecryptError, match="encryption key is wrong"):
        EncryptionKey(RAW_KEY).derive(ARGON, "f")


# Data keys.


def test_a_data_key_is_unwrapped_by_what_it_was_wrapped_with_alone():
    wrapped = DataKey(RAW_KEY, 1).wrap(b"w" * 32, b"there", os.urandom)
    assert RAW_KEY not in wrapped
    found = DataKey.unwrap(wrapped, b"w" * 32, b"there", 1, "f")
    assert found.tag(b"data") == DataKey(RAW_KEY, 1).tag(b"data")
    for wrapping_key, context in (b"x" * 32, b"there"), (b"w" * 32, b"elsewhere"):
        with pytest.raises(DecryptError, match="encryption key is wrong"):
            DataKey.unwrap(wrapped, wrapping_key, context, 1, "f")


def test_a_tag_proves_what_it_was_made_for_alone():
    key = DataKey(RAW_KEY, 1)
    tag = key.tag(b"a header")
    assert key.proves(b"a header", tag)
    assert not key.proves(b"another header", tag)
    assert not DataKey(bytes(32), 1).proves(b"a header", tag)


# Sealed bytes.


@pytest.mark.parametrize("plain", [b"", b"x", os.urandom(65_536)], ids=len)
def test_what_is_sealed_is_opened_where_it_was_sealed(plain):
    sealed = cipher().encrypt(plain, b"head")
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert cipher().decrypt(sealed, b"head") == plain


def test_what_was_sealed_last_is_opened_there_alone():
    one = cipher()
    sealed = one.encrypt(b"plain", b"head")
    assert one.decrypt(sealed, b"head") == b"plain"
    with pytest.raises(DecryptError):
        one.decrypt(sealed, b"another head")


@pytest.mark.parametrize("other", [cipher(bytes(32)), cipher(context=b"there")])
def test_what_is_sealed_is_opened_nowhere_else(other):
    sealed = cipher().encrypt(b"plain", b"head")
    with pytest.raises(DecryptError, match="a file was tampered with"):
        other.decrypt(sealed, b"head")
    with pytest.raises(DecryptError):
        cipher().decrypt(sealed, b"another head")


def test_a_flipped_bit_or_a_missing_byte_is_noticed():
    sealed = cipher().encrypt(b"plain", b"head")
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptError):
            cipher().decrypt(bytes(damaged), b"head")
    for size in range(len(sealed)):
        with pytest.raises(DecryptError):
            cipher().decrypt(sealed[:size], b"head")


def test_equal_bytes_are_sealed_differently_each_time():
    """CVE-2012-3458 (Beaker): AES-ECB showed what is equal."""
    one = cipher()
    sealed = {one.encrypt(b"the same 16 bytes" * 100, b"head") for _ in range(100)}
    assert len(sealed) == 100
    blocks = sealed.pop()[12:-16]
    assert len({blocks[at : at + 16] for at in range(0, len(blocks) - 15, 16)}) == len(blocks) // 16


def test_a_proof_is_for_its_parts_alone():
    one = cipher()
    proof = one.vouch([b"in", b"dex"])
    assert cipher().proves([b"index"], proof)
    assert not cipher().proves([b"idnex"], proof)
    assert not cipher().proves([b"index", b"!"], proof)
    assert not cipher(context=b"there").proves([b"index"], proof)
    assert not cipher().proves([b"index"], bytes(OVERHEAD_BYTES))


# Values that stay in no file, such as those of another store.


def values(context: bytes = b"store") -> ValueCiphers:
    return ValueCiphers(DataKey(RAW_KEY, 1), context, "a store", os.urandom)


def test_a_value_is_opened_under_the_key_and_name_it_was_sealed_under_alone():
    key, other = bytes([7]) * 32, bytes([8]) * 32
    sealed = values()[key[0]].encrypt(b'"ada"', key + b"user")
    assert values()[key[0]].decrypt(sealed, key + b"user") == b'"ada"'
    for ciphers, first, head in (
        (values(), key[0], key + b"admin"),
        (values(), other[0], key + b"user"),
        (values(b"another store"), key[0], key + b"user"),
    ):
        with pytest.raises(DecryptError, match="a store was tampered with"):
            ciphers[first].decrypt(sealed, head)


def test_values_are_spread_over_256_keys_each_derived_once():
    ciphers = values()
    assert ciphers[3] is ciphers[3]
    sealed = [ciphers[first].encrypt(b"plain", b"") for first in range(256)]
    for first in range(255):
        with pytest.raises(DecryptError):
            ciphers[first + 1].decrypt(sealed[first], b"")
