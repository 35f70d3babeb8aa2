"""Settings as configuration files have them: flat, and all text."""

from __future__ import annotations

import time

import pytest

from litesess import (
    ConfigError,
    CookieSettings,
    MemoryStore,
    SessionMiddleware,
    StoreUnavailable,
    WALStore,
)
from litesess.ids import key_of
from litesess.integrations.settings import from_settings
from litesess.options import build, parsed, rows
from litesess.stores.redis import RedisStore
from litesess.stores.wal import WALOptions
from litesess.web import ManagerOptions
from tests.tools.apps import SECRET

OTHER = SECRET[::-1]


def made(store, options):
    return SessionMiddleware(lambda *_: [], store=store, **options).manager.options


def test_a_secret_may_have_spaces():
    phrase = "seven wooden boats left the harbour at dawn"
    store, options = from_settings({"store": "memory", "secret": f" {phrase}\n{OTHER}"})
    assert made(store, options).secret == (phrase.encode(), OTHER.encode())


def test_a_store_and_a_middleware_are_made_of_text(tmp_path):
    store, options = from_settings(
        {
            "litesess.path": str(tmp_path / "data"),
            "litesess.secret": SECRET,
            "litesess.durable": "off",
            "litesess.ttl": "600",
            "litesess.gc_interval": "none",
            "litesess.max_per_owner": "3",
            "litesess.touch_interval": "auto",
            "litesess.rolling": "True",
            "litesess.absolute_timeout": "1.5",
            "litesess.cookie_name": "on",
            "litesess.cookie.max_age": "1209600",
            "litesess.cookie.secure": "auto",
            "litesess.cookie.samesite": "none",
            "litesess.cookie.httponly": "yes",
            "somebody.else": "true",
        },
        "litesess.",
    )
    assert isinstance(store, WALStore)
    assert (store.ttl, store.gc_interval) == (600, None)
    found = made(store, options)
    assert (found.rolling, found.absolute_timeout, found.cookie_name) == (True, 1.5, "on")
    assert found.cookie == CookieSettings(
        max_age=1_209_600, secure="auto", samesite="none", httponly=True
    )


def test_several_secrets_stand_on_a_line_each_newest_first():
    store, options = from_settings({"store": "memory", "secret": f"\n  {SECRET}\n  {OTHER}\n"})
    assert made(store, options).secret == (SECRET.encode(), OTHER.encode())


def test_what_is_no_text_is_taken_as_it_is(clock):
    store = MemoryStore(clock=clock)
    given, options = from_settings({"store": store, "secret": SECRET, "clock": clock})
    assert given is store
    assert made(store, options).clock is clock
    given, _ = from_settings({"store": "memory", "secret": SECRET, "clock": clock, "ttl": 5})
    assert (given.clock, given.ttl) == (clock, 5)


@pytest.mark.parametrize("declaration", [ManagerOptions, WALOptions, CookieSettings])
def test_every_default_is_read_back_from_its_text(declaration):
    """But for functions, which have none."""
    needed = {"secret": SECRET, "store": MemoryStore()} if declaration is ManagerOptions else {}
    texts = {
        name: "" if default in ("None", "()") else default.strip("'")
        for name, default, _ in rows(declaration)
        if default not in ("required", time.time.__qualname__, "time.time")
    }
    texts.pop("cookie", None)
    assert build(declaration, needed | parsed(declaration, texts)) == build(declaration, needed)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"secert": SECRET}, "unknown setting litesess.secert; did you mean 'litesess.secret'"),
        ({"cookie.maxage": "5"}, "unknown setting litesess.cookie.maxage; did you mean 'litesess"),
        ({"cookie": "x"}, "unknown setting litesess.cookie"),
        ({"ttl": "a day"}, "ttl is of type str, not seconds"),
        ({"rolling": "perhaps"}, "rolling 'perhaps' is not True or False"),
        ({"max_sessions": "0"}, "max_sessions 0 is not at least 1"),
        ({"genid": "package:function"}, "genid is of type str, which can't be called"),
        ({"path": ""}, "path is empty"),
        ({"store": "memory"}, "give either litesess.path, a directory, or litesess.store"),
        ({"store": "redis", "path": None}, "'redis' is no address: write redis://HOST"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(tmp_path, settings, complaint):
    given = {"path": str(tmp_path / "data"), "secret": SECRET} | settings
    given = {f"litesess.{name}": value for name, value in given.items() if value is not None}
    with pytest.raises(ConfigError, match=complaint) as caught:
        made(*from_settings(given, "litesess."))
    assert SECRET not in str(caught.value)


class TestAnAddress:
    @pytest.mark.parametrize(
        "address",
        [
            "redis://127.0.0.1:1/3?prefix=shop:&timeout=0.5",
            "redis+sentinel://127.0.0.1:1/main?prefix=shop:&timeout=0.5",
            "unix:///run/redis.sock?prefix=shop:&timeout=0.5&db=3",
        ],
    )
    def test_one_of_redis_makes_a_store_there(self, address):
        store, options = from_settings(
            {
                "litesess.store": address,
                "litesess.secret": SECRET,
                "litesess.ttl": "600",
                "litesess.max_per_owner": "3",
            },
            "litesess.",
        )
        assert isinstance(store, RedisStore)
        assert "'shop:'" in repr(store)
        assert store.ttl == 600
        assert made(store, options).secret == (SECRET.encode(),)
        with pytest.raises(StoreUnavailable):
            store.load(key_of("x"))

    def test_one_of_a_directory_may_name_a_collection(self, tmp_path):
        store, _ = from_settings(
            {"store": f"wal:{tmp_path / 'data'}?collection=carts", "secret": SECRET}
        )
        assert isinstance(store, WALStore)
        assert len(store) == 0
        store.close()
        with WALStore(tmp_path / "data", collection="carts", read_only=True) as found:
            assert len(found) == 0

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"store": "redis://host", "durable": "off"}, "'durable' is an option of WALStore"),
            ({"store": "redis://host", "prefx": "a:"}, "did you mean 'litesess.prefix'"),
            ({"store": "redis://host?prefx=a:"}, "did you mean 'prefix'"),
            ({"store": "redis://host?prefix=a:", "prefix": "b:"}, "and in the URL, with two"),
            ({"store": "redis://:hunter2@ho st"}, "litesess.store: the URL of the Redis server"),
            ({"store": "wal:data?collection=a", "collection": "b"}, "are different"),
            ({"path": "data", "prefix": "a:"}, "'prefix' is an option of RedisStore"),
            ({"store": "redis://host", "path": "data"}, "give either"),
        ],
    )
    def test_what_does_not_go_with_it_is_refused(self, settings, complaint):
        given = {"secret": SECRET} | settings
        with pytest.raises(ConfigError, match=complaint) as caught:
            from_settings({f"litesess.{name}": each for name, each in given.items()}, "litesess.")
        assert "hunter2" not in str(caught.value)

    def test_the_password_may_be_in_the_environment(self, monkeypatch):
        monkeypatch.setenv("LITESESS_REDIS_PASSWORD", "hunter2/@")
        store, _ = from_settings({"store": "redis://ada@127.0.0.1:1", "secret": SECRET})
        settings = store._link.client.get_connection_kwargs()
        assert (settings["username"], settings["password"]) == ("ada", "hunter2/@")
        assert "hunter2" not in repr(store)


def test_a_missing_path_is_asked_for():
    with pytest.raises(ConfigError, match=r"give either path, a directory, or store, an address"):
        from_settings({"secret": SECRET})


def test_a_missing_secret_is_asked_for(tmp_path):
    store, options = from_settings({"path": str(tmp_path)})
    with pytest.raises(ConfigError, match="secret"):
        made(store, options)


def test_a_passphrase_stays_text_whatever_it_looks_like(tmp_path):
    store, _ = from_settings({"path": str(tmp_path / "d"), "encryption_key": "123456789012"})
    assert len(store) == 0
    store.close()
    WALStore(tmp_path / "d", encryption_key="123456789012")
