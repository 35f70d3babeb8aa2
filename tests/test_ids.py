"""Ids, keys, handles and other randomness."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from litesess import ids


def test_an_id_carries_256_bits_in_a_cookies_alphabet():
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", ids.new_id())


def test_ten_thousand_ids_are_different():
    assert len({ids.new_id() for _ in range(10_000)}) == 10_000


def test_every_position_of_an_id_varies():
    drawn = [ids.new_id() for _ in range(500)]
    # The last of 43 characters carries 4 bits, the others 6.
    assert all(len(set(column)) >= 12 for column in zip(*drawn, strict=True))


def test_the_key_of_an_id_is_its_sha256_in_hex():
    assert ids.key_of("apple") == "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b"


def test_ids_that_differ_in_one_bit_have_unrelated_keys():
    first, second = ids.key_of("apple"), ids.key_of("applf")
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 32


def test_a_handle_is_the_first_16_digits_of_the_key():
    assert ids.handle_of(ids.key_of("apple")) == "3a7bd3e2360a3d29"


def test_the_handle_of_a_handle_is_itself():
    handle = ids.handle_of(ids.key_of("apple"))
    assert ids.handle_of(handle) == handle


@pytest.mark.parametrize("size", [0, 1, 16, 4096])
def test_random_bytes_are_as_many_as_asked_for(size):
    assert len(ids.random_bytes(size)) == size


def test_random_bytes_differ_each_time():
    assert ids.random_bytes(16) != ids.random_bytes(16)


def test_a_new_secret_carries_256_bits_in_hex():
    assert re.fullmatch(r"[0-9a-f]{64}", ids.new_secret())


def test_new_secrets_differ():
    assert ids.new_secret() != ids.new_secret()


def test_nothing_of_an_id_shows_in_its_handle():
    session_id = ids.new_id()
    handle = ids.handle_of(ids.key_of(session_id))
    assert handle not in session_id
    assert handle == sha256(session_id.encode()).hexdigest()[:16]
