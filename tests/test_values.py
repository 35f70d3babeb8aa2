"""What apps put into sessions that only looks like a value: proxies, lazy texts, subclasses."""

from __future__ import annotations

import collections
import weakref
from datetime import date, datetime, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from webob.multidict import MultiDict as WebObMultiDict
from werkzeug.datastructures import CombinedMultiDict, ImmutableMultiDict, MultiDict
from werkzeug.local import LocalProxy

from litesess import EncodeError, codec
from tests.test_codec import typed


class Lazy:
    """A proxy as Django's: it has the class of its value, and passes on attributes."""

    def __init__(self, value):
        self._wrapped = value

    @property
    def __class__(self):
        return type(self._wrapped)

    def __getattr__(self, name):
        return getattr(self._wrapped, name)

    def __hash__(self):
        return hash(self._wrapped)

    def __eq__(self, other):
        return self._wrapped == other

    def __len__(self):
        return len(self._wrapped)


class LazyText:
    """A translation that is made when it is used, as Flask-Babel's."""

    def __init__(self, text):
        self._text = text

    def __getattr__(self, name):
        return getattr(self._text, name)

    def __str__(self):
        return self._text


def lazily(value):
    return LocalProxy(lambda: value)


class Money(Decimal):
    def __str__(self):
        return f"{Decimal.__str__(self)} EUR"


VALUES = [
    "text", "", 5, True, False, 1.5, None, [1, "a"], {"a": [1]}, {1: 2}, (1, (2,)), {1, 2},
    frozenset({1}), b"\xff", datetime(2026, 1, 31, 10, tzinfo=timezone.utc), date(2026, 1, 31),
    Decimal("1.50"), UUID(int=7),
]  # fmt: skip


@pytest.mark.parametrize("proxied", [lazily, Lazy, lambda value: lazily(Lazy(value))])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_proxy_is_stored_as_the_value_that_it_stands_for(proxied, value):
    assert codec.encode(proxied(value), "x") == codec.encode(value, "x")
    within = {"list": [proxied(value)], "tuple": (proxied(value),)}
    assert typed(codec.decode(codec.encode(within, "x"))) == typed(
        {"list": [value], "tuple": (value,)}
    )


@pytest.mark.parametrize("proxied", [lazily, Lazy])
def test_a_proxy_of_a_subclass_is_stored_as_the_subclass_is(proxied):
    for value in collections.OrderedDict(b=1, a=2), collections.Counter("aab"), Money("2"):
        assert codec.encode(proxied(value), "x") == codec.encode(value, "x")


def test_a_weak_proxy_is_stored_as_its_value():
    kept = collections.OrderedDict(a=1)
    assert codec.encode(weakref.proxy(kept), "x") == b'{"a":1}'


@pytest.mark.parametrize("proxied", [lazily, Lazy])
def test_a_proxy_can_be_a_key_and_a_member_of_a_set(proxied):
    assert codec.encode({proxied("a"): 1}, "x") == b'{"a":1}'
    assert codec.encode({proxied(5): 1}, "x") == b'{"~dict":[[5,1]]}'
    assert codec.encode({proxied("~set"): 1}, "x") == b'{"~dict":[["~set",1]]}'
    assert codec.encode({proxied("a")}, "x") == b'{"~set":["a"]}'
    assert type(codec.check_key(proxied("a"))) is str
    assert list(codec.encode_items({proxied("a"): 1})) == ["a"]
    with pytest.raises(EncodeError, match="of type int, not str"):
        codec.check_key(proxied(5))


@pytest.mark.parametrize("made", [LazyText, collections.UserString])
def test_lazy_text_is_stored_as_text(made):
    assert codec.encode(
        made("Saved \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")), "x"
    )
    assert codec.encode(made("Saved"), "x") == b'"Saved"'
    assert codec.encode([("info", made("Saved"))], "x") == b'[{"~tuple":["info","Saved"]}]'


class Impostor:
    """Has every attribute there is."""

    def __getattr__(self, name):
        return lambda *_: self


class Liar(Impostor):
    def __init__(self, kind):
        self._kind = kind

    @property
    def __class__(self):
        return self._kind


@pytest.mark.parametrize("kind", [str, int, dict, list, set, bytes, datetime, Decimal])
def test_an_object_that_only_pretends_is_refused(kind):
    with pytest.raises(EncodeError):
        codec.encode(Liar(kind), "x")
    with pytest.raises(EncodeError):
        codec.encode(Impostor(), "x")


def test_a_proxy_without_a_value_is_refused_by_its_name():
    with pytest.raises(EncodeError, match=r"x has type test_values\.Cart, which"):
        codec.encode(lazily(type("Cart", (), {"__module__": "test_values"})()), "x")


def test_the_budget_holds_for_a_proxy_too():
    for value in "x" * 2000, ["x"] * 2000:
        with pytest.raises(EncodeError, match="limit 1000"):
            codec.encode(lazily(value), "x", 1000)


# What would not come back.


class Timestamp(datetime):
    """An instant with nanoseconds, as pandas' is."""

    def isoformat(self, *given):
        return super().isoformat(*given) + ".123456789"


class NaT(datetime):
    """No instant at all, as pandas' NaT."""

    def isoformat(self, *_):
        return "NaT"


class Frozen(dict):
    def __hash__(self):
        return 1


class Folded(str):
    """A text that hashes by itself alone."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


@pytest.mark.parametrize(
    "value",
    [
        Timestamp(2026, 1, 2, 3, 4, 5),
        NaT(2026, 1, 1),
        type("NaD", (date,), {"isoformat": NaT.isoformat})(2026, 1, 1),
        Decimal("sNaN"),
        {Frozen(a=1)},
        frozenset({(1, Frozen())}),
        {Frozen(): 1},
        {Folded("a"): 1, Folded("a"): 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_not_come_back_is_refused(value):
    with pytest.raises(EncodeError, match=r"^session value cart\[0\]"):
        codec.encode([value], "cart")


def test_a_subclass_that_is_written_otherwise_comes_back_as_what_it_equals():
    class Id(UUID):
        def __str__(self):
            return "#7"

    assert codec.decode(codec.encode([Money("1.50"), Id(int=7)], "x")) == [
        Decimal("1.50"),
        UUID(int=7),
    ]


PAIRS = [("a", "1"), ("a", "2")]


@pytest.mark.parametrize(
    "form",
    [
        MultiDict(PAIRS),
        ImmutableMultiDict(PAIRS),
        CombinedMultiDict([MultiDict(PAIRS)]),
        WebObMultiDict(PAIRS),
        lazily(MultiDict(PAIRS)),
    ],
    ids=lambda form: type(form).__name__,
)
def test_a_multi_dict_is_refused_and_not_cut_to_its_first_values(form):
    with pytest.raises(
        EncodeError, match=r"form\.post has type (werk|webob).*store a dict of its lists"
    ):
        codec.encode({"post": form}, "form")


def test_an_error_names_the_module_of_a_type():
    """numpy#18994: its bool was refused as if bool could not be stored."""
    lookalike = type("bool", (), {"__module__": "numpy"})
    with pytest.raises(EncodeError, match=r"x has type numpy\.bool, which can't be stored"):
        codec.encode(lookalike(), "x")
    with pytest.raises(EncodeError, match="x has type complex, which"):
        codec.encode(1j, "x")


# Order.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([{"a": {"c": 1, "d": 2}}], [{"a": {"d": 2, "c": 1}}]),
        ({1: "a", 2: "b"}, {2: "b", 1: "a"}),
    ],
)
def test_another_order_of_a_dict_is_another_frame(first, second):
    assert codec.encode(first, "x") != codec.encode(second, "x")
    assert list(codec.decode(codec.encode(second, "x"))) == list(second)


def test_another_order_of_a_set_is_the_same_frame():
    assert codec.encode({8, 0, "a"}, "x") == codec.encode({"a", 0, 8}, "x")
    assert codec.encode({frozenset({8, 0})}, "x") == codec.encode({frozenset({0, 8})}, "x")
