"""Pickles are read, and never run."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pickle
import struct
import sys
import time
from collections import OrderedDict
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from litesess import codec
from litesess.codec import MAX_DEPTH
from litesess.moving import plain
from litesess.moving.pickled import read
from litesess.moving.plain import NotPlain
from tests.web.test_cves import Bomb

PROTOCOLS = pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(dt.timezone.utc))
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
KEYS = ATOMS | st.tuples(ATOMS, ATOMS)
VALUES = st.recursive(
    ATOMS | st.sets(KEYS) | st.frozensets(KEYS),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(KEYS, inner)
        | st.tuples(inner)
        | st.tuples(inner, inner, inner, inner)
    ),
)


@settings(max_examples=30)
@given(VALUES, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_as_pickle_reads_them(value, protocol):
    found = read(pickle.dumps(value, protocol))
    assert repr(found) == repr(value) or found == value


@PROTOCOLS
def test_what_is_large_or_far_from_zero_is_read_too(protocol):
    value = {
        "text": "ä" * 70_000,
        "bytes": b"\xff" * 70_000,
        "numbers": [255, 256, 65_536, -1, 2**31, -(2**2100), 1e300],
        "many": list(range(2000)),
        "zone": dt.datetime(2026, 1, 31, tzinfo=dt.timezone(dt.timedelta(hours=-5), "EST")),
    }
    assert read(pickle.dumps(value, protocol)) == value


@PROTOCOLS
def test_one_value_in_several_places_is_in_each(protocol):
    uuid, inner = uuid4(), [1]
    found = read(pickle.dumps({"a": [uuid, uuid], "b": inner, "c": inner}, protocol))
    assert found == {"a": [uuid, uuid], "b": [1], "c": [1]}
    assert found["b"] is not found["c"]


@PROTOCOLS
@pytest.mark.parametrize(
    "what",
    [
        os.mkdir, Bomb, Bomb(None), object(), range(3), 1j, slice(1), OrderedDict(a=1), UUID,
        dt.timedelta(1), dt.time(1), dt.datetime, {"a": OSError()}, [NotPlain], (Bomb(None),),
        {Bomb(None)}, {Bomb(None): 1},
    ],
    ids=lambda what: type(what).__name__,  # the text of an object differs in each process
)  # fmt: skip
def test_what_is_not_plain_is_refused(what, protocol):
    with pytest.raises(NotPlain):
        read(pickle.dumps(what, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bomb_is_never_run(tmp_path, protocol):
    bomb = pickle.dumps({"user": "ada", "bomb": Bomb(tmp_path / "ran")}, protocol)
    reason = "is no pickle" if protocol < 2 else "holds posix.mkdir"
    with pytest.raises(NotPlain, match=reason):
        read(bomb)
    assert not (tmp_path / "ran").exists()
    pickle.loads(bomb)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02(cos\nmkdir\nV/nowhere\no.",  # OBJ
        b"\x80\x02(V/nowhere\nios\nmkdir\n.",  # INST
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02Pid\n.",  # PERSID
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93)\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93)}\x92.",  # NEWOBJ_EX
        b"\x80\x02}}X\x09\x00\x00\x00__class__Nsb.",  # BUILD
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"\x80\x02c__builtin__\nset\nK\x01\x85R.",
        b"\x80\x02c__builtin__\nset\ncos\nmkdir\n\x85R.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x02c_codecs\nencode\n.",
        b"\x80\x02cdatetime\ndatetime\n(K\x01tR.",
        b"\x80\x02cdecimal\nDecimal\nX\x01\x00\x00\x00x\x85R.",
        b"\x80\x02cuuid\nUUID\n)\x81.",
        b"\x80\x02cuuid\nUUID\n)\x81}b.",
        b"\x80\x02cuuid\nUUID\n)\x81}X\x03\x00\x00\x00intX\x01\x00\x00\x00xsb.",
        b"\x80\x02cuuid\nUUID\nK\x01\x85\x81.",
        b"\x80\x02]K\x00K\x01s.",
        b"\x80\x02}K\x01a.",
        b"\x80\x02(K\x01u.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02K\x01K\x01R.",
        b"\x80\x02h\x05.",
        b"\x80\x02.",
        b"\x80\x02e.",
        b"\x80\x02}]Ns.",
        b"\x80\x06N.",
        b"\x80\x02\x8b\xff\xff\xff\xff.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"",
    ],
)  # fmt: skip
def test_no_program_is_more_than_refused(code):
    with pytest.raises(NotPlain):
        read(code)


@given(st.binary(max_size=60))
def test_no_bytes_are_more_than_refused(noise):
    for head in b"", b"\x80\x02", b"\x80\x04}":
        with contextlib.suppress(NotPlain):
            read(head + noise)


def test_no_change_to_a_byte_is_more_than_refused():
    value = {
        "d": dt.datetime(2026, 1, 31, tzinfo=dt.timezone.utc),
        "u": uuid4(),
        "s": {1, (2, 3)},
        "l": [b"\0", 1.5, -1],
    }
    for protocol in 2, 4:
        whole = pickle.dumps(value, protocol)
        for at in range(len(whole)):
            for other in 0, 1, 0x80, 0xFF, *b"(.0R}b)":
                with contextlib.suppress(NotPlain):
                    read(whole[:at] + bytes([other]) + whole[at + 1 :])
            with pytest.raises(NotPlain):
                read(whole[:at])


@PROTOCOLS
def test_html_stays_html(protocol):
    (found,) = read(pickle.dumps([Markup("<b>é</b>")], protocol))
    assert codec.decode(codec.encode(found, "x")) == Markup("<b>é</b>")
    assert type(codec.decode(codec.encode(found, "x"))) is Markup


def test_html_of_something_else_than_text_is_refused():
    for arguments in b")", b"K\x01\x85", b"Ua", b"N", b"]", b"X\1\0\0\0aX\1\0\0\0b\x86":
        with pytest.raises(NotPlain):
            read(b"\x80\x02cmarkupsafe\nMarkup\n" + arguments + b"\x81.")


def test_what_contains_itself_is_refused():
    loop = []
    loop.append({"again": loop})
    with pytest.raises(NotPlain, match=f"nested deeper than {MAX_DEPTH}"):
        read(pickle.dumps(loop))


def test_a_hundred_bytes_that_stand_for_a_galaxy_are_refused(monkeypatch):
    monkeypatch.setattr(plain, "MOST", 100_000)  # all of which is gone through
    many = []
    for _ in range(30):
        many = [many] * 10
    with pytest.raises(NotPlain, match="larger than any session"):
        read(pickle.dumps(many))
    with pytest.raises(NotPlain, match="larger than any session"):
        read(pickle.dumps(["x" * 100_000] * 1000))


def test_a_key_that_takes_an_age_to_hash_is_refused():
    doubled = b")" + b"".join(b"\x94h%c\x86" % at for at in range(60))
    for code in b"}" + doubled + b"Ns.", b"\x8f(" + doubled + b"\x90.", b"(" + doubled + b"\x91.":
        with pytest.raises(NotPlain, match="nested deeper than a tuple"):
            read(b"\x80\x04" + code)


def again(prefix, mentioned, suffix):
    """Return a pickle of 300 KB that mentions what it keeps again and again."""
    head = b"\x80\x04" + prefix
    return head + mentioned * ((300_000 - len(head) - len(suffix)) // len(mentioned)) + suffix


def text(size):
    return b"X" + struct.pack("<I", size) + b"7" * size


def integer(number):
    size = number.bit_length() // 8 + 1
    return b"\x8b" + struct.pack("<I", size) + number.to_bytes(size, "little", signed=True)


#: Their hashes are equal.  Source: sys.hash_info.modulus.
ALIKE = [5 + at * sys.hash_info.modulus for at in range(20_000)]
MAKE, DECIMAL = b"h\x00h\x01R", b"cdecimal\nDecimal\n"

HOSTILE = {
    "a wide tuple in a set": again(b"(" + b"K\x01" * 75_000 + b"tq\x000\x8f(", b"h\x00", b"\x90."),
    "a long number in a set": again(integer(1 << 1_000_000) + b"q\x000\x8f(", b"h\x00", b"\x90."),
    "a long number as key": again(integer(1 << 14_000) + b"q\x000\x8f(", b"h\x00", b"\x90."),
    "long equal texts as keys": again(
        text(90_000) + b"q\x000" + text(90_000) + b"q\x010}(", b"h\x00Nh\x01N", b"u."
    ),
    "a Decimal of a long number": b"\x80\x04" + DECIMAL + integer(1 << 2_000_000) + b"\x85R.",
    "a long Decimal, made again": again(
        DECIMAL + b"q\x000" + text(100_000) + b"\x85q\x010](", MAKE, b"e."
    ),
    "a long Decimal in a set": again(
        DECIMAL + text(100_000) + b"\x85Rq\x000\x8f(", b"h\x00", b"\x90."
    ),
    "HTML, made again": again(
        b"cmarkupsafe\nMarkup\nq\x000" + text(100_000) + b"\x85q\x010](", b"h\x00h\x01\x81", b"e."
    ),
    "bytes, encoded again": again(
        b"c_codecs\nencode\nq\x000" + text(100_000) + b"\x8c\x06latin1\x86q\x010](", MAKE, b"e."
    ),
    "a list made a set again": again(
        b"cbuiltins\nset\nq\x000](" + b"K\x01" * 50_000 + b"e\x85q\x010](", MAKE, b"e."
    ),
    "numbers of one hash": b"\x80\x04\x8f(" + b"".join(map(integer, ALIKE)) + b"\x90.",
    "keys of one hash": b"\x80\x04}(" + b"".join(integer(each) + b"N" for each in ALIKE) + b"u.",
    "UUIDs of one hash": b"\x80\x04cuuid\nUUID\nq\x000\x8c\x03intq\x010\x8f("
    + b"".join(b"h\x00)\x81}h\x01" + integer(each) + b"sb" for each in ALIKE)
    + b"\x90.",
    "a million marks": b"\x80\x04" + b"(" * 2_000_000,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.slow
def test_no_pickle_takes_more_than_seconds(hostile):
    """The time of each went with the square of its size; at 4 MB one took a day."""
    began = time.process_time()
    with pytest.raises(NotPlain, match=r"larger than|one hash|number of|damaged"):
        read(hostile)
    assert time.process_time() - began < 4


def test_honest_keys_are_read_whatever_their_hashes():
    value = {-1: "a", -2: "b", 1: "c", sys.hash_info.modulus + 1: "d", Decimal("2.5"): "e"}
    assert read(pickle.dumps(value)) == value
    assert read(pickle.dumps({*value})) == {*value}


@pytest.mark.long
@PROTOCOLS
def test_the_largest_session_is_read(protocol):
    for value in (
        {"numbers": list(range(140_000)), "named": [{"a": 1, "b": 2}] * 1000},
        {"empty": [[] for _ in range(300_000)]},
        {f"{at:x}": at for at in range(70_000)},
    ):
        assert read(pickle.dumps(value, protocol)) == value


def test_the_message_shows_no_value():
    with pytest.raises(NotPlain) as caught:
        read(pickle.dumps({"hunter2": Decimal("1"), "key": Bomb("hunter2")}))
    assert "hunter2" not in str(caught.value)
