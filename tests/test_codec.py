"""Session data as bytes."""

from __future__ import annotations

import enum
import math
import sys
import traceback
from collections import OrderedDict, namedtuple
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litesess import EncodeError, codec

searched = settings(derandomize=True, deadline=None, max_examples=100, database=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    # ISO 8601 has no fold, and Python calls datetimes equal that differ in it alone.
    | st.datetimes(timezones=st.none() | st.just(timezone.utc)).map(lambda at: at.replace(fold=0)),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    hashables | st.sets(hashables, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=8,
)


def typed(value):
    """Return what tells apart values that Python calls equal, such as 1, 1.0 and True."""
    if isinstance(value, dict):
        items = sorted(repr((typed(key), typed(item))) for key, item in value.items())
        return ["dict", items]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [typed(item) for item in value]]
    if isinstance(value, (set, frozenset)):
        return [type(value).__name__, sorted(repr(typed(item)) for item in value)]
    return [type(value).__name__, repr(value)]


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


# Frames.

FRAMES = [
    (None, b"null"),
    (True, b"true"),
    (5, b"5"),
    (1.5, b"1.5"),
    ("\u00e9\0", b'"\xc3\xa9\\u0000"'),
    ([1, "a"], b'[1,"a"]'),
    ({"b": 1, "a": [None]}, b'{"b":1,"a":[null]}'),
    ((1, (2,)), b'{"~tuple":[1,{"~tuple":[2]}]}'),
    ({2, 10, 1}, b'{"~set":[1,10,2]}'),
    (frozenset("ba"), b'{"~frozenset":["a","b"]}'),
    (b"\x00\xff", b'{"~bytes":"AP8="}'),
    (date(2026, 1, 31), b'{"~date":"2026-01-31"}'),
    (
        datetime(2026, 1, 31, 10, tzinfo=timezone(timedelta(hours=1))),
        b'{"~datetime":"2026-01-31T10:00:00+01:00"}',
    ),
    (Decimal("1.50"), b'{"~decimal":"1.50"}'),
    (UUID(int=7), b'{"~uuid":"00000000-0000-0000-0000-000000000007"}'),
    ({1: "a"}, b'{"~dict":[[1,"a"]]}'),
    ({"~set": [1]}, b'{"~dict":[["~set",[1]]]}'),
    ({"~set": [1], "x": 1}, b'{"~set":[1],"x":1}'),
    ('{"~set":[1]}', b'"{\\"~set\\":[1]}"'),
]


@pytest.mark.parametrize(("value", "frame"), FRAMES)
def test_a_frame_is_this_json(value, frame):
    assert codec.encode(value, "x") == frame


@pytest.mark.parametrize(("value", "frame"), FRAMES)
def test_a_frame_read_back_is_the_value(value, frame):
    assert typed(codec.decode(frame)) == typed(value)


@searched
@given(values)
def test_any_value_comes_back_equal_and_of_its_types(value):
    assert typed(codec.decode(codec.encode(value, "x"))) == typed(value)


@searched
@given(values)
def test_a_value_that_came_back_has_the_same_frame(value):
    frame = codec.encode(value, "x")
    assert codec.encode(codec.decode(frame), "x") == frame


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (OrderedDict(a=1), {"a": 1}),
        (namedtuple("Point", "x y")(1, 2), (1, 2)),
        (bytearray(b"x"), b"x"),
        (type("Real", (float,), {})(1.5), 1.5),
    ],
)
def test_a_subclass_comes_back_as_what_it_equals(value, plain):
    decoded = codec.decode(codec.encode(value, "x"))
    assert decoded == value
    assert typed(decoded) == typed(plain)


def test_what_is_decoded_is_new_each_time():
    frame = codec.encode({"cart": [1]}, "x")
    codec.decode(frame)["cart"].append(2)
    assert codec.decode(frame) == {"cart": [1]}


cycle: list = []
cycle.append(cycle)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (object(), "x"),
        ([1, object()], "x[1]"),
        ({"cart": [{"price": object()}]}, "x.cart[0].price"),
        ({1: object()}, "x[1]"),
        ((1, [object()]), "x[1][0]"),
        ({object()}, "x item"),
        ({object(): 1}, "x key"),
        (timedelta(1), "x"),
        (1j, "x"),
        (range(3), "x"),
        (math.nan, "x"),
        ([math.inf], "x[0]"),
        pytest.param("\ud800", "x", id="surrogate"),
        pytest.param({"a": ["\udfff"]}, "x", id="surrogate within"),
    ],
)
def test_what_cant_be_stored_is_named_by_its_path(value, path):
    with pytest.raises(EncodeError) as error_info:
        codec.encode(value, "x")
    assert error_info.value.key_path == path
    assert path in str(error_info.value)


@pytest.mark.skipif(sys.version_info < (3, 10, 7), reason="before, Python reads them back")
def test_a_number_that_could_not_be_read_back_is_refused():
    with pytest.raises(EncodeError, match="x can't be encoded"):
        codec.encode([10**5000], "x")


def steps_of(work):
    """Return how many calls *work* makes, and what it raised."""
    steps, raised = [], None
    sys.setprofile(lambda *event: steps.append(event[1]))
    try:
        work()
    except EncodeError as error:
        raised = error
    finally:
        sys.setprofile(None)
    return len(steps), raised


@pytest.mark.parametrize("marker", [{"~x": 1}, (1,), {1}, {1: 2}, b"x"], ids=repr)
@pytest.mark.parametrize("limit", [None, 65_536])
def test_the_work_for_a_value_is_linear_in_its_size_and_builds_no_paths(marker, limit):
    """CWE-407: each item of a list under a long key cost as much as the key is long."""

    class Key(str):
        formatted = 0

        def __format__(self, spec):
            Key.formatted += 1
            return super().__format__(spec)

    def work(size):
        value = {Key("k" * size): [[0] * size], "z": marker}
        return steps_of(lambda: codec.encode(value, "x", limit))[0]

    small, large = work(2_000), work(8_000)
    assert Key.formatted == 0
    assert large <= 4.5 * small + 100


@pytest.mark.parametrize("size", [100_000, 400_000])
@pytest.mark.parametrize(
    "value_of",
    [
        lambda size: [0] * size,
        lambda size: [[0]] * size,
        lambda size: [(0,)] * size,
        lambda size: {str(at): {"a": at} for at in range(size)},
        lambda size: {at: {"a": at} for at in range(size)},
        lambda size: {(at,) for at in range(size)},
        lambda size: ["x" * 1000] * size,
        lambda size: [b"x" * 1000] * size,
    ],
    ids=["ints", "lists", "tuples", "dicts", "dicts of ints", "set", "texts", "bytes"],
)
def test_a_value_that_is_too_large_is_given_up_soon(value_of, size):
    value = value_of(size)
    steps, raised = steps_of(lambda: codec.encode(value, "x", 1000))
    assert "limit 1000" in str(raised)
    assert steps < 12_000


def test_lists_that_hold_one_another_many_times_are_given_up_soon():
    value = [0]
    for _ in range(25):
        value = [value] * 10
    steps, raised = steps_of(lambda: codec.encode(value, "x", 65_536))
    assert "limit 65536" in str(raised)
    assert steps < 500_000


def test_a_frame_may_be_as_large_as_the_limit():
    assert len(codec.encode("x" * 998, "x", 1000)) == 1000
    with pytest.raises(EncodeError, match="has 1001 bytes, limit 1000"):
        codec.encode("x" * 999, "x", 1000)
    # What JSON escapes counts as it is written.
    with pytest.raises(EncodeError, match="limit 1000"):
        codec.encode("\n" * 600, "x", 1000)


@pytest.mark.parametrize(
    "key", ["\n2026-01-01 root logged in\x1b[2K" + "x" * 500_000, "\u202e" * 300, "\U0001f600" * 90]
)
def test_an_error_shows_a_client_s_key_escaped_and_cut(key):
    """CWE-117: a line break in a key made a line of its own in the log."""
    with pytest.raises(EncodeError) as error_info:
        codec.encode({key: nested(40, 1)}, key)
    text = str(error_info.value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 200
    assert error_info.value.__context__ is error_info.value.__cause__ is None


@pytest.mark.parametrize(
    "frame",
    [
        b'{"~datetime":"secret"}', b'{"~decimal":"secret"}', b'{"~uuid":"secret"}', b"secret",
        b'{"~bytes":"secret!"}', b'{"~secret":1}', b'"secret', b"\xff secret",
    ],
)  # fmt: skip
def test_a_value_that_cant_be_read_is_not_in_the_error(frame):
    with pytest.raises(ValueError, match="frame") as error_info:
        codec.decode(frame)
    assert "secret" not in "".join(traceback.format_exception(error_info.value))
    assert error_info.value.__context__ is None


def test_a_cycle_is_refused():
    with pytest.raises(EncodeError, match="nested deeper than 32 levels"):
        codec.encode(cycle, "x")


def nested(depth, leaf):
    for _ in range(depth):
        leaf = [leaf]
    return leaf


@pytest.mark.parametrize("leaf", [1, "a", 1.5, None, b"x"])
def test_the_same_depth_is_refused_whatever_lies_there(leaf):
    codec.encode(nested(31, leaf), "x")
    with pytest.raises(EncodeError):
        codec.encode(nested(33, leaf), "x")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff",
        b"{",
        b"5 5",
        b"'a'",
        b'{"~bogus":1}',
        b'{"~set":[[1]]}',
        b'{"~set":5}',
        b'{"~datetime":5}',
        b'{"~datetime":"now"}',
        b'{"~date":"x"}',
        b'{"~decimal":"x"}',
        b'{"~decimal":[1]}',
        b'{"~uuid":5}',
        b'{"~uuid":"x"}',
        b'{"~bytes":5}',
        b'{"~bytes":"\xc3\xa9"}',
        b'{"~dict":[1]}',
        b'{"~dict":[[[],1]]}',
        b'[{"~bogus":1}]',
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_frame_is_a_value_error(frame):
    with pytest.raises(ValueError):  # JSON's own words differ
        codec.decode(frame)


# Keys.


@pytest.mark.parametrize(
    "key", ["", "cookie", "save", "~set", "\u00e9", pytest.param("x" * 65_535, id="long")]
)
def test_any_text_can_be_a_key(key):
    assert codec.check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        5,
        None,
        b"x",
        ("a",),
        pytest.param("\ud800", id="surrogate"),
        pytest.param("x" * 65_536, id="long"),
        pytest.param("\u00e9" * 32_768, id="long in UTF-8"),
    ],
)
def test_what_cant_be_a_key_is_refused(key):
    with pytest.raises(EncodeError):
        codec.check_key(key)


def test_the_error_of_a_long_key_is_short():
    with pytest.raises(EncodeError) as error_info:
        codec.check_key("x" * 100_000)
    assert len(str(error_info.value)) < 200


# Encoded items.


def test_encoded_items_decode_when_asked():
    items = codec.Encoded({"a": b"[1]", "b": b"broken"})
    assert (list(items), len(items), items["a"]) == (["a", "b"], 2, [1])


def test_encoded_items_are_not_encoded_again():
    frames = {"a": b"[1]"}
    assert codec.encode_items(codec.Encoded(frames)) is frames


def test_encoded_items_dont_show_their_values():
    assert repr(codec.Encoded({"password": b'"sesame"'})) == "<Encoded 1 items>"
