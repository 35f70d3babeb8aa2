"""Sessions and forwarding records as bytes."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litesess import EncodeError, Record, codec
from litesess.engine import Entry
from litesess.stores.packed import Forward, is_forward, pack, pack_forward, splice, unpack
from tests.test_codec import searched, texts, values

PACKED = (
    struct.pack("<ddHHH", 1.5, 9.0, 2, 15, 13)
    + b'+7{"max_age":5.0}{"address":1}'
    + (b"\x01\x00\x01\x00\x00\x00" + b"a1")
    + (b"\x02\x00\x04\x00\x00\x00" + b"\xc3\xa9null")
)


def unpacked(packed, expires_at=20.0):
    """Return the content of an entry."""
    return unpack(b"k" * 32, Entry(packed, expires_at, 3))


def session_in(packed, expires_at=20.0):
    """Return the session that is unpacked."""
    found = unpacked(packed, expires_at)
    assert isinstance(found, Record)
    return found


def parts(record):
    """Return all that a record says."""
    return (
        record.created_at, record.last_seen_at, record.expires_at, record.version,
        record.owner, record.cookie, record.client, record.frames,
    )  # fmt: skip


def test_a_packed_session_is_these_bytes():
    frames = {"a": b"1", "\u00e9": b"null"}
    assert pack(1.5, 9.0, "7", {"max_age": 5.0}, {"address": 1}, frames) == PACKED


def test_a_packed_session_is_unpacked_as_it_was():
    frames = {"a": b"1", "\u00e9": b"null"}
    cookie, client = {"max_age": 5.0}, {"address": 1}
    assert parts(session_in(PACKED)) == (1.5, 11.0, 20.0, 3, "7", cookie, client, frames)


FRAMES = st.dictionaries(
    st.sampled_from(["", "a", "b", "\u00e9", "n"]), st.sampled_from([b"", b"1", b"12"])
)


@given(
    FRAMES,
    FRAMES,
    st.sets(st.sampled_from(["a", "b", "n", "absent"])),
    st.sampled_from([None, "7"]),
    st.sampled_from([None, {"max_age": 5.0}]),
)
def test_spliced_changes_are_packed_as_the_merged_session_is(
    stored, changed, removed, owner, cookie
):
    merged = {key: frame for key, frame in stored.items() if key not in removed} | changed
    packed = pack(1.0, 2.0, owner, cookie, None, stored)
    assert splice(packed, 3.0, 4.0, changed, removed) == pack(3.0, 4.0, owner, cookie, None, merged)


def test_a_change_of_one_value_looks_at_no_other_one():
    packed = pack(1.0, 2.0, None, None, None, {f"k{number}": b"1" for number in range(1000)})
    unpacked(packed)
    calls = []
    sys.setprofile(lambda _frame, event, _arg: calls.append(event))
    try:
        splice(packed, 1.0, 2.0, {"k500": b"2"}, ())
    finally:
        sys.setprofile(None)
    assert len(calls) < 50


def test_the_last_use_is_never_before_the_beginning():
    assert session_in(PACKED, expires_at=10.0).last_seen_at == 1.5


@pytest.mark.parametrize(
    ("takes_changes", "packed"),
    [
        (True, struct.pack("<ddHHH", 1.5, 0, 65, 0, 0) + b">" + b"ab" * 32),
        (False, struct.pack("<ddHHH", 1.5, 0, 65, 0, 0) + b"|" + b"ab" * 32),
    ],
)
def test_a_forwarding_record_is_these_bytes(takes_changes, packed):
    forward = Forward("ab" * 32, takes_changes, 1.5)
    assert pack_forward(forward) == packed
    assert unpacked(packed) == forward


@pytest.mark.parametrize("takes_changes", [False, True])
def test_a_forwarding_record_is_known_without_being_unpacked(takes_changes):
    assert is_forward(pack_forward(Forward("ab" * 32, takes_changes, 1.5)))


@pytest.mark.parametrize("first", b">|")
def test_a_session_whose_first_key_has_the_length_of_a_forwarding_sign_is_a_session(first):
    assert not is_forward(pack(0.0, 0.0, None, None, None, {"k" * first: b"1"}))


@pytest.mark.parametrize("junk", [b"", PACKED[:22], bytes(40)])
def test_junk_is_no_forwarding_record(junk):
    assert not is_forward(junk)


@pytest.mark.parametrize("owner", [None, "", "ada", "\u00e9", "+", ">ab"])
def test_an_owner_is_told_apart_from_none(owner):
    assert session_in(pack(0.0, 0.0, owner, None, None, {})).owner == owner


# Cut between two keys it is a shorter session; the engine's checksum tells that apart.
WHOLE = {0, len(PACKED), len(PACKED) - 12, len(PACKED) - 20}


@pytest.mark.parametrize("size", sorted({*range(len(PACKED))} - WHOLE))
def test_a_packed_session_cut_short_counts_for_none_and_is_logged(size, caplog):
    assert unpacked(PACKED[:size]) is None
    (logged,) = caplog.messages
    assert logged == f"session {'6b' * 8} can't be decoded, treated as absent"


@searched
@given(st.binary(max_size=64))
def test_junk_is_unpacked_or_counts_for_none(junk):
    assert unpacked(junk) is None or isinstance(unpacked(junk), Record | Forward)


@pytest.mark.parametrize(
    ("owner", "cookie", "client", "path"),
    [
        pytest.param("x" * 65_536, None, None, "owner", id="owner"),
        pytest.param(None, {"path": "/" + "x" * 65_536}, None, "cookie", id="cookie"),
        pytest.param(None, None, {"user_agent": "x" * 65_536}, "client", id="client"),
    ],
)
def test_parts_that_are_too_long_are_refused(owner, cookie, client, path):
    with pytest.raises(EncodeError) as error_info:
        pack(0.0, 0.0, owner, cookie, client, {})
    assert error_info.value.key_path == path


@searched
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | texts,
    st.none() | st.dictionaries(texts, st.integers(), min_size=1, max_size=3),
    st.none() | st.dictionaries(texts, texts, min_size=1, max_size=3),
    st.dictionaries(texts, values, max_size=4),
)
def test_any_session_is_unpacked_as_it_was_packed(created_at, life, owner, cookie, client, data):
    frames = codec.encode_items(data)
    packed = pack(created_at, life, owner, cookie, client, frames)
    last_seen_at = max(20.0 - life, created_at)
    assert parts(session_in(packed)) == (
        created_at, last_seen_at, 20.0, 3, owner, cookie, client, frames,
    )  # fmt: skip
    assert not is_forward(packed)


def test_what_is_unpacked_again_shows_nothing_of_what_the_first_one_became():
    first = session_in(PACKED)
    first.frames["a"] = b"2"
    del first.frames["\u00e9"]
    again = session_in(PACKED)
    again.frames["b"] = b"3"
    assert session_in(PACKED).frames == {"a": b"1", "\u00e9": b"null"}


def test_a_session_that_is_unpacked_again_shares_its_values():
    first, again = session_in(PACKED), session_in(PACKED)
    assert first.frames["\u00e9"] is again.frames["\u00e9"]
    copied = session_in(bytes(bytearray(PACKED)))
    assert copied.frames == first.frames
    assert copied.frames["\u00e9"] is not first.frames["\u00e9"]
