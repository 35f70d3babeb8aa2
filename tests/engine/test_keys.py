"""The key file, and the documented bytes of an encrypted store."""

from __future__ import annotations

from zlib import crc32

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from litesess import Corruption, DecryptError
from litesess.crypto import RAW, Derivation, EncryptionKey
from litesess.engine import Entry
from litesess.engine import format as form
from litesess.engine.directory import Directory, Names
from litesess.engine.keys import Keys, read_key_file
from litesess.keyfile import KeyFile
from litesess.stores import packed
from tests.engine.test_format import EXAMPLE, FORMAT_PAGE, WAL, counting_bytes, documented_files
from tests.tools.engines import make_engine, put, small_files
from tests.tools.simdisk import SimDisk

KEY = EncryptionKey(bytes(range(0xE0, 0x100)))
VALUE = packed.pack(1767225600.0, 86400.0, None, None, None, {"user": b'"ada"'})


@pytest.fixture
def directory() -> Directory:
    return directory_on(SimDisk())


def directory_on(disk: SimDisk) -> Directory:
    return Directory.open(disk, "/store", Names("sessions"))


# The documented bytes.


def documented_keys() -> dict[str, bytes]:
    """Return the keys that the page's table names."""
    page = FORMAT_PAGE.read_text()
    table = page[page.rindex("wrapping key") :].splitlines()[:3]
    return {line[:15].strip(): bytes.fromhex(line[15:]) for line in table}


def test_the_documented_encrypted_log_is_read_as_the_page_says():
    """By the page alone: AES-GCM, and the keys that it names."""
    _, key_file, log = documented_files()
    found = KeyFile.decode(key_file, "f")
    assert found.store == bytes(range(0x10, 0x20))
    assert found.derivation == Derivation(RAW, 0, 0, 0, bytes(range(0x30, 0x40)))
    keys = documented_keys()
    assert KEY.derive(found.derivation, "f") == keys["wrapping key"]
    nonce, wrapped = found.wrapped[1][:12], found.wrapped[1][12:]
    head = key_file[:60] + (1).to_bytes(8, "little")
    data_key = AESGCM(keys["wrapping key"]).decrypt(nonce, wrapped, head)
    assert data_key == bytes(range(0x20, 0x40))
    header = log[: form.HEADER_BYTES]
    context = header[:8] + header[12:28] + header[28:36]
    record_head, sealed = log[80 : 80 + 24], log[80 + 28 :]
    bound = context + record_head + (80).to_bytes(8, "little")
    plain = AESGCM(keys["the log's key"]).decrypt(sealed[:12], sealed[12:], bound)
    assert form.key_of(plain) == EXAMPLE
    assert form.decode_put(plain, 0, 1) == Entry(VALUE, 1767312000.0, 1)


def test_the_engine_writes_the_documented_encrypted_files(monkeypatch):
    small_files(monkeypatch)
    disk = SimDisk()
    engine = make_engine(disk, random_bytes=counting_bytes(), encrypted_by=KEY)
    put(engine, "example", VALUE, 1767312000.0)
    _, key_file, log = documented_files()
    assert disk.files()["sessions.keys"] == key_file
    assert disk.files()[WAL].rstrip(b"\0") == log


def test_an_engine_reads_the_documented_encrypted_files(monkeypatch):
    small_files(monkeypatch)
    _, key_file, log = documented_files()
    disk = SimDisk({"sessions.keys": key_file, WAL: log.ljust(2048, b"\0")})
    engine = make_engine(disk, encrypted_by=KEY)
    assert engine.get(EXAMPLE) == Entry(VALUE, 1767312000.0, 1)


# The key file.


def made(directory: Directory, keys: Keys) -> bytes:
    keys.create(directory, b"s" * 16)
    return bytes(directory.fs.files()["sessions.keys"])


def test_every_cut_and_every_flipped_bit_of_a_key_file_is_refused(directory):
    data = made(directory, Keys(KEY, counting_bytes()))
    for size in range(len(data)):
        with pytest.raises(Corruption):
            KeyFile.decode(data[:size], "f")
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corruption):
            KeyFile.decode(bytes(damaged), "f")


def test_a_key_file_of_another_version_is_refused_and_names_it(directory):
    data = made(directory, Keys(KEY, counting_bytes()))
    unknown = data[:8] + b"\2\0" + data[10:-4]
    with pytest.raises(Corruption, match="format version 2"):
        KeyFile.decode(unknown + crc32(unknown).to_bytes(4, "little"), "f")


def test_a_key_file_holds_no_key_in_the_clear(directory):
    keys = Keys(KEY, counting_bytes())
    data = made(directory, keys)
    assert bytes(range(0x20, 0x40)) not in data
    assert bytes(range(0xE0, 0x100)) not in data


def test_a_store_that_is_not_encrypted_has_no_key_file(directory):
    Keys(None, counting_bytes()).create(directory, b"s" * 16)
    assert read_key_file(directory) is None


def test_what_one_that_was_killed_has_left_of_a_publication_is_in_nobodys_way(directory):
    directory.fs.create(directory.fd, "sessions.keys.tmp")
    made(directory, Keys(KEY, counting_bytes()))
    assert list(directory.fs.files()) == ["sessions.keys"]


@pytest.mark.parametrize("call", ["create", "pwrite", "sync", "rename", "sync_directory"])
def test_a_publication_that_fails_leaves_what_was_there_or_all_that_is_new(directory, call):
    keys = Keys(KEY, counting_bytes())
    made(directory, keys)

    def fail(name: str) -> None:
        if name == call:
            raise OSError(5, "Input/output error")

    directory.fs.fault = fail
    with pytest.raises(OSError, match="Input/output"):
        keys.add(directory)
    directory.fs.fault = lambda name: None
    found = read_key_file(directory)
    assert [*found.wrapped] == ([1, 2] if call == "sync_directory" else [1])
    assert Keys(KEY, counting_bytes()).check(directory) is None
    assert not [name for name in directory.fs.files() if "tmp" in name and call != "rename"]


def test_who_was_opened_by_a_key_that_is_no_more_can_publish_nothing(directory):
    """It would lock everybody out, the operator who changed the key first of all."""
    stale, current = Keys(KEY, counting_bytes()), Keys(KEY, counting_bytes())
    made(directory, stale)
    current.check(directory)
    current.change(directory, EncryptionKey(bytes(32)))
    current.add(directory)
    before = directory.fs.files()
    stale._known = {**stale._known, 2: current._known[2]}
    for operation in stale.add, lambda it: stale.change(it, KEY):
        with pytest.raises(DecryptError):
            operation(directory)
    stale.drop_old(directory)  # whoever has the present key will do it
    assert directory.fs.files() == before
