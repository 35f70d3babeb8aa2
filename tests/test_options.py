"""Options: declared once, checked when they are given."""

from __future__ import annotations

import dataclasses
import inspect
import math
from datetime import timedelta

import pytest

from litesess import ConfigError, CookieSettings, MemoryStore, SessionMiddleware, WALStore, options
from litesess.stores.memory import MemoryOptions
from litesess.stores.wal import WALOptions
from litesess.web import ManagerOptions
from tests.tools.apps import SECRET, hello


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lamp(options.Options):
    """A declaration to try things on."""

    colour: str = options.required("Its colour", check=options.text)
    password: str = options.option("none", "Its secret", check=options.text, secret=True)
    life: float | None = options.option(
        60, "Its life", check=options.optional(options.seconds_or_zero)
    )
    is_lit: bool = options.option(False, "Whether it burns", check=options.boolean)

    def check_agreement(self) -> None:
        if self.is_lit and not self.life:
            raise ConfigError("a lamp without life can't be lit")


def test_what_is_not_given_takes_its_default_through_the_check():
    lamp = options.build(Lamp, {"colour": "red"})
    assert (lamp.life, lamp.is_lit) == (60.0, False)
    assert type(lamp.life) is float


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"unknown lamp option 'color'; did you mean 'colour'\?"):
        options.build(Lamp, {"color": "red"}, "lamp ")


def test_a_name_near_to_none_is_refused_with_all_known_ones():
    with pytest.raises(ConfigError, match="known are colour, password, life, is_lit"):
        options.build(Lamp, {"xyzzy": 1})


def test_an_unknown_name_is_a_type_error_too():
    with pytest.raises(TypeError, match="xyzzy"):
        options.build(Lamp, {"xyzzy": 1})


def test_a_name_that_is_no_str_is_refused():
    with pytest.raises(ConfigError):
        options.build(Lamp, {"colour": "red", 5: 1})


def test_a_missing_required_option_says_what_it_is():
    with pytest.raises(ConfigError, match="option 'colour' is required: Its colour"):
        options.build(Lamp, {})


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="without life"):
        options.build(Lamp, {"colour": "red", "life": None, "is_lit": True})


def test_options_cant_be_changed():
    lamp = options.build(Lamp, {"colour": "red"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        lamp.colour = "blue"


def test_a_secret_option_is_left_out_of_the_repr():
    lamp = options.build(Lamp, {"colour": "red", "password": "sesame"})
    assert "sesame" not in repr(lamp)
    assert "red" in repr(lamp)


def test_the_signature_shows_leading_names_then_keywords_with_defaults():
    assert str(options.signature(Lamp, "app")) == (
        "(app, *, colour, password='none', life=60, is_lit=False)"
    )


def test_rows_give_names_defaults_and_meanings():
    assert list(options.rows(Lamp)) == [
        ("colour", "required", "Its colour"),
        ("password", "'none'", "Its secret"),
        ("life", "60", "Its life"),
        ("is_lit", "False", "Whether it burns"),
    ]


def test_rows_give_a_function_by_its_name():
    (clock,) = [default for name, default, _ in options.rows(WALOptions) if name == "clock"]
    assert clock == "time.time"


# The checks.


@pytest.mark.parametrize("value", [True, False])
def test_boolean_takes_true_and_false(value):
    assert options.boolean("x", value) is value


@pytest.mark.parametrize("value", [0, 1, "no", "True", None])
def test_boolean_takes_nothing_else(value):
    with pytest.raises(ConfigError, match="x"):
        options.boolean("x", value)


@pytest.mark.parametrize(
    ("value", "expected"), [(5, 5.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)]
)
def test_seconds_takes_numbers_and_timedeltas(value, expected):
    assert options.seconds("x", value) == expected


@pytest.mark.parametrize("value", ["42", True, None, lambda: 5, [5], 5j])
def test_seconds_refuses_other_types_as_type_errors(value):
    with pytest.raises(TypeError, match="x"):
        options.seconds("x", value)


@pytest.mark.parametrize("value", [0, -1, -0.1, math.nan, math.inf, timedelta(seconds=-1)])
def test_seconds_refuses_what_is_no_duration_above_zero(value):
    with pytest.raises(ConfigError, match="x"):
        options.seconds("x", value)


def test_seconds_refuses_a_number_too_large_for_a_float():
    with pytest.raises(ConfigError, match="x"):
        options.seconds("x", 10**400)


def test_zero_seconds_are_taken_where_they_make_sense():
    assert options.seconds_or_zero("x", 0) == 0.0


@pytest.mark.parametrize("value", [10, 15, 20])
def test_size_takes_a_number_within_its_limits(value):
    assert options.size(10, 20)("x", value) == value


@pytest.mark.parametrize("value", [9, 21])
def test_size_names_its_limits(value):
    with pytest.raises(ConfigError, match=f"x {value} bytes is not within 10 to 20"):
        options.size(10, 20)("x", value)


@pytest.mark.parametrize("value", [True, 15.0, "15", None])
def test_size_refuses_other_types(value):
    with pytest.raises(TypeError, match="x"):
        options.size(10, 20)("x", value)


@pytest.mark.parametrize("value", ["keep", "destroy"])
def test_choice_takes_what_is_among_its_values(value):
    assert options.choice("keep", "destroy")("x", value) == value


@pytest.mark.parametrize("value", ["bogus", "KEEP", 1, None, ["keep"]])
def test_choice_names_its_values(value):
    with pytest.raises(ConfigError, match="'keep', 'destroy'"):
        options.choice("keep", "destroy")("x", value)


def test_choice_does_not_take_true_for_one():
    with pytest.raises(ConfigError):
        options.choice(1, 2)("x", True)


@pytest.mark.parametrize(("value", "error"), [("", ConfigError), (b"x", TypeError), (5, TypeError)])
def test_text_is_a_str_that_is_not_empty(value, error):
    with pytest.raises(error, match="x"):
        options.text("x", value)


def test_function_refuses_what_cant_be_called():
    with pytest.raises(TypeError, match="x"):
        options.function("x", "bogus")


# What the public callables make of it.

WRONG = [
    ("secret", None),
    ("secret", 12345678901234567890123456789012),
    ("store", 5),
    ("store", None),
    ("cookie_name", ""),
    ("cookie_name", b"sid"),
    ("cookie", 42),
    ("cookie", "x"),
    ("cookie", True),
    ("save_uninitialized", "no"),
    ("resave", 1),
    ("rolling", "no"),
    ("unset", "bogus"),
    ("genid", "bogus"),
    ("trust_proxy", "yes"),
    ("absolute_timeout", 0),
    ("absolute_timeout", "1h"),
    ("max_session_bytes", 10),
    ("cache_headers", None),
    ("environ_key", ""),
    ("clock", 5),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_option_of_the_middleware_is_named(name, value):
    good = {"secret": SECRET, "store": MemoryStore()}
    with pytest.raises(ConfigError, match=name):
        SessionMiddleware(hello, **(good | {name: value}))


@pytest.mark.parametrize("name", ["secret", "store"])
def test_secret_and_store_are_required(name):
    given = {"secret": SECRET, "store": MemoryStore()}
    del given[name]
    with pytest.raises(ConfigError, match=f"'{name}' is required"):
        SessionMiddleware(hello, **given)


def test_a_misspelt_option_of_the_middleware_is_refused():
    with pytest.raises(TypeError, match="did you mean 'absolute_timeout'"):
        SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), absolute_timout=5)


def test_the_key_alias_of_the_cookies_name_is_refused():
    with pytest.raises(TypeError, match="'key'"):
        SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), key="sid")


def test_a_misspelt_cookie_setting_is_refused():
    with pytest.raises(
        TypeError, match="unknown cookie option 'httpOnly'; did you mean 'httponly'"
    ):
        SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), cookie={"httpOnly": True})


def test_unset_none_means_keep():
    middleware = SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), unset=None)
    assert middleware.manager.options.unset == "keep"


def test_the_sessions_place_in_the_environ_cant_be_the_stores():
    with pytest.raises(ConfigError, match="environ_key"):
        SessionMiddleware(hello, secret=SECRET, store=MemoryStore(), environ_key="litesess.store")


def test_what_is_no_wsgi_app_is_refused():
    with pytest.raises(TypeError, match="app is of type str"):
        SessionMiddleware("hello", secret=SECRET, store=MemoryStore())


DEFAULTS = {
    "cookie_name": None,
    "save_uninitialized": False,
    "resave": False,
    "rolling": False,
    "unset": "keep",
    "genid": None,
    "trust_proxy": None,
    "absolute_timeout": None,
    "max_session_bytes": 65_536,
    "cache_headers": True,
    "environ_key": "litesess.session",
}


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_the_middlewares_defaults(name, default):
    assert inspect.signature(SessionMiddleware).parameters[name].default == default


@pytest.mark.parametrize(
    ("public", "declaration"),
    [
        (SessionMiddleware, ManagerOptions),
        (WALStore, WALOptions),
        (MemoryStore, MemoryOptions),
        (CookieSettings, CookieSettings),
    ],
)
def test_every_declared_option_is_in_the_signature_and_has_a_meaning(public, declaration):
    parameters = inspect.signature(public).parameters
    for name, _, doc in options.rows(declaration):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert doc
