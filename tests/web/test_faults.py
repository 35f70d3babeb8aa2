"""What clients, apps, clocks and crowds do wrong harms no session."""

from __future__ import annotations

import itertools
import time
from base64 import urlsafe_b64decode
from collections import Counter
from contextlib import suppress
from types import MemberDescriptorType

import pytest

from litesess import EncodeError, Session, SessionGone
from litesess.engine.fs import FileSystem
from litesess.ids import key_of, new_id
from litesess.stores import LATE_FOR
from litesess.testing import FakeClock
from litesess.web.cookie import CookieSigner
from tests.tools.apps import (
    COOKIE,
    OLD_SECRET,
    SECRET,
    Site,
    WatchedWALStore,
    environ_of,
    look,
    serve,
    write,
)

# Responses.

#: Each public name, and each way that Python has, to ask a session something.
LOOKS = {
    "[]": lambda s: s["user"],
    "[] of a key that is not there": lambda s: s["nobody"],
    "[] =": lambda s: s.__setitem__("a", 1),
    "del": lambda s: s.__delitem__("user"),
    "in": lambda s: "user" in s,
    "not in": lambda s: "nobody" not in s,
    "len": len,
    "bool": bool,
    "iter": iter,
    "list": list,
    "dict": dict,
    "**": lambda s: {**s},
    "==": lambda s: s == {},
    "!=": lambda s: s != {},
    "|=": lambda s: s.__ior__({"a": 1}),
    "get": lambda s: s.get("user"),
    "keys": lambda s: len(s.keys()),
    "values": lambda s: list(s.values()),
    "items": lambda s: ("user", "ada") in s.items(),
    "pop": lambda s: s.pop("nobody", None),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault("user", "eve"),
    "update": lambda s: s.update(a=1),
    "clear": lambda s: s.clear(),
    "id": lambda s: s.id,
    "handle": lambda s: s.handle,
    "cookie": lambda s: s.cookie,
    "is_new": lambda s: s.is_new,
    "created_at": lambda s: s.created_at,
    "last_seen_at": lambda s: s.last_seen_at,
    "expires_at": lambda s: s.expires_at,
    "modified": lambda s: s.modified,
    "owner": lambda s: s.owner,
    "owner =": lambda s: setattr(s, "owner", "7"),
    "login": lambda s: s.login("7"),
    "logout": lambda s: s.logout(),
    "save": lambda s: s.save(),
    "reload": lambda s: s.reload(),
    "atomic": lambda s: s.atomic(lambda _session: None),
    "touch": lambda s: s.touch(),
    "destroy": lambda s: s.destroy(),
    "regenerate": lambda s: s.regenerate(),
    "rotate": lambda s: s.rotate(),
    "flash": lambda s: s.flash("hello"),
    "pop_flash": lambda s: s.pop_flash(),
    "peek_flash": lambda s: s.peek_flash(),
    "new_csrf_token": lambda s: s.new_csrf_token(),
    "get_csrf_token": lambda s: s.get_csrf_token(),
    "check_csrf_token": lambda s: s.check_csrf_token("a"),
    "copy": lambda s: s.copy(),
}

#: Says whether it was looked at, which is no look.
NO_LOOKS = {"accessed"}


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "stranger"])
@pytest.mark.parametrize("ask", LOOKS.values(), ids=LOOKS)
def test_whatever_is_asked_of_a_session_makes_the_response_vary_by_cookie(ask, is_known):
    """CVE-2026-27205 (Flask): some ways to ask did not."""

    def act(session):
        with suppress(KeyError, SessionGone):
            ask(session)

    site = Site()
    if is_known:
        site.visit(write(user="ada"))
    response = site.visit(act)
    assert response.all("Vary") == ["Cookie"]
    assert bool(response.all("Cache-Control")) is bool(response.set_cookies)


def test_no_way_to_ask_a_session_something_was_left_out():
    public = {
        name
        for name in dir(Session)
        if not name.startswith("_") and not isinstance(getattr(Session, name), MemberDescriptorType)
    }
    assert public - NO_LOOKS == public & LOOKS.keys()


@pytest.mark.parametrize(
    "action",
    [None, repr, str, lambda s: s is None, type, lambda s: isinstance(s, dict)],
    ids=["nothing", "repr", "str", "is", "type", "isinstance"],
)
def test_what_asks_nothing_of_a_session_leaves_no_trace(action):
    site = Site()
    site.visit(write(user="ada"))
    site.clock.advance(3600)
    site.store.calls.clear()
    response = site.visit(action)
    assert [name for name, _ in response.headers] == ["Content-Type", "Content-Length"]
    assert site.store.calls == {}


def test_a_logout_takes_the_cookie_back_with_the_attributes_it_was_set_with():
    settings = {"path": "/app", "domain": "example.com", "samesite": "none", "partitioned": True}
    site = Site(cookie={**settings, "secure": True, "priority": "high", "max_age": 100})
    site.visit(write(user="ada"), "/app", https=True)
    told = site.visit(write(user="bob"), "/app", https=True).attributes
    response = site.visit(lambda session: session.destroy(), "/app", https=True)
    assert response.set_cookies[0].startswith(f"{COOKIE}=;")
    assert response.attributes == {
        **told,
        "max-age": "0",
        "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    }
    assert response.all("Cache-Control") == ["no-store"]
    assert site.data == []


# Cookies and ids.


def test_no_bit_of_an_id_is_likelier_set_than_not():
    count = 20_000
    drawn = [urlsafe_b64decode(new_id() + "=") for _ in range(count)]
    assert len(set(drawn)) == count
    for column in zip(*drawn, strict=True):
        values = Counter(column)
        for bit in range(8):
            share = sum(values[value] for value in values if value >> bit & 1) / count
            # Seven standard deviations.
            assert abs(share - 0.5) < 0.025


@pytest.mark.parametrize("size", [43, 44, 45])
def test_a_cookie_is_known_to_the_letter(size):
    signer = CookieSigner(COOKIE, [SECRET.encode(), OLD_SECRET.encode()])
    value = signer.sign("x" * (size - 43) + new_id())
    letters = [chr(code) for code in range(0x21, 0x100) if chr(code) not in ';,"']
    assert signer.verified(f"{COOKIE}={value}")
    changed = {
        value[:at] + letter + value[at + 1 :] for at in range(len(value)) for letter in letters
    }
    inserted = {
        value[:at] + letter + value[at:] for at in (0, 1, 43, len(value)) for letter in letters
    }
    cut = {value[at:end] for at in (0, 1) for end in range(len(value))}
    others = {value.upper(), value.lower(), value.swapcase(), value + "=", value + "==", value * 2}
    for wrong in (changed | inserted | cut | others) - {value}:
        assert not signer.verified(f"{COOKIE}={wrong}"), wrong


def test_secrets_may_be_text_and_bytes_side_by_side():
    site = Site(secret=OLD_SECRET)
    site.visit(write(a=1))
    mixed = Site(site.store, secret=[SECRET.encode(), OLD_SECRET], clock=site.clock)
    assert mixed.visit(look, cookie=site.header).value == {"a": 1}


@pytest.mark.parametrize(
    "around",
    [
        '{0}; x="a; {1}; y=b"',
        '$Version=1; x="a; {1}; y=b"; {0}',
        'x="; {0}; y="',
        'x="a\\"; {0}',
        "x='; {0}; y='",
        "x={{; {0}; y=}}",
    ],
)
def test_a_quoted_neighbour_swallows_no_cookie(around):
    site = Site()
    site.visit(write(user="ada"))
    header = around.format(site.header, f"{COOKIE}=forged")
    assert site.visit(look, cookie=header).value == {"user": "ada"}


@pytest.mark.parametrize("prefix", ["", "__Host-", "__Secure-"])
def test_the_longest_cookie_is_within_what_browsers_take(prefix):
    """Source: RFC 6265bis section 5.6: 4096 octets of name and value, 1024 of an attribute."""
    name = prefix + COOKIE
    cookie = {"max_age": 1e300, "samesite": "none", "partitioned": True, "priority": "medium"}
    site = Site(genid=lambda _environ: "x" * 128, cookie_name=name, cookie=cookie)
    (told,) = site.visit(write(a=1), https=True).all("Set-Cookie")
    pair, *attributes = told.split("; ")
    assert len(pair) <= 4096
    assert max(map(len, attributes)) <= 1024
    assert len(told) < 512
    assert site.visit(look, https=True).value == {"a": 1}


@pytest.mark.parametrize(
    "log_in",
    [
        lambda s: (s.regenerate(), s.update(user="ada")),
        lambda s: (s.rotate(), s.update(user="ada")),
        lambda s: (s.update(user="ada"), setattr(s, "owner", "ada")),
    ],
    ids=["regenerate", "rotate", "owner"],
)
def test_an_id_planted_before_the_login_is_worth_nothing_after_it(log_in):
    """CVE-2022-38054 (Airflow)."""
    site = Site()
    thief, victim = site.new_browser(), site.new_browser()
    site.visit(write(cart=1), by=thief)
    victim.cookies = dict(thief.cookies)
    planted = f"{COOKIE}={thief.cookies[COOKIE]}"
    assert site.visit(log_in, by=victim).said == "set"
    assert site.visit(look, by=thief).value == {}
    assert site.visit(write(user="eve"), by=thief, cookie=planted).said == ""
    site.clock.advance(LATE_FOR)
    assert site.visit(write(user="eve"), by=thief, cookie=planted).said == "set"
    assert site.visit(look, by=victim).value["user"] == "ada"


def test_an_id_anywhere_but_in_the_cookie_selects_nothing():
    site = Site()
    session_id = site.visit(lambda s: s.update(user="ada") or s.id).value
    stranger = site.new_browser()
    for value in session_id, site.cookie, site.header, key_of(session_id):
        places = {
            "QUERY_STRING": f"{COOKIE}={value}&sid={value}&session_id={value}",
            "HTTP_AUTHORIZATION": f"Bearer {value}",
            "HTTP_X_SESSION_ID": value,
            "HTTP_SET_COOKIE": f"{COOKIE}={value}",
            "HTTP_COOKIE2": f"{COOKIE}={value}",
            "HTTP_LITESESS_SID": value,
            "REMOTE_USER": value,
            COOKIE: value,
        }
        for name, said in places.items():
            assert site.visit(look, by=stranger, **{name: said}).value == {}, name
        assert site.visit(look, f"/;{COOKIE}={value}", by=stranger).value == {}
    assert site.data == [{"user": "ada"}]


# The clock.


@pytest.fixture
def site(each_store, clock):
    site = Site(each_store, clock=clock, cookie={"max_age": 100})
    yield site
    site.middleware.close()


def test_a_clock_that_is_set_back_revives_only_what_has_time_left_by_it(site, clock):
    site.visit(write(user="ada"))
    header = site.header
    for gone, back in ((160, 60), (130, 20)):
        clock.advance(gone)
        assert site.visit(look, cookie=header).value == {}
        # What a stranger does with the dead id does not bring it nearer to life.
        site.visit(lambda s: (s.touch(), s.update(user="eve")), cookie=header)
        clock.advance(-back)
        assert site.visit(look, cookie=header).value == {}
        clock.now = 1_700_000_000.0
    clock.advance(99)
    assert site.visit(look, cookie=header).value == {"user": "ada"}


def test_another_life_in_the_configuration_moves_no_end_that_is_stored(site, clock):
    site.visit(write(user="ada"))
    for life in 10_000, 10, None:
        restarted = Site(site.store, clock=clock, cookie={"max_age": life})
        clock.advance(99)
        assert site.store.load(key_of(_id_in(site))) is not None
        clock.advance(1)
        assert restarted.visit(look, cookie=site.header).value == {}
        clock.advance(-100)


def _id_in(site: Site) -> str:
    (found,) = site.manager.signer.verified(site.header)
    return found.session_id


# Crowds and large things.


def test_ten_thousand_strangers_cost_the_disk_nothing(tmp_path, monkeypatch):
    clock = FakeClock()
    store = WatchedWALStore(tmp_path / "data", clock=clock)
    site = Site(store, clock=clock)
    site.visit(write(user="ada"))
    signer = CookieSigner(COOKIE, [SECRET.encode()])
    junk = ["", "x", "A" * 300, signer.sign("invented"), site.cookie[:-1]]
    files = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    touched: Counter[str] = Counter()

    def counting(name):
        real = getattr(FileSystem, name)

        def call(*arguments):
            touched[name] += 1
            return real(*arguments)

        return staticmethod(call)

    for name in ("sync", "sync_directory", "pwrite", "allocate"):
        monkeypatch.setattr(FileSystem, name, counting(name))
    store.calls.clear()
    actions = [look, None, lambda s: s.get("user"), lambda s: s.touch(), lambda s: s.clear()]
    for number, (action, value) in zip(
        range(10_000), itertools.cycle(itertools.product(actions, junk)), strict=False
    ):
        environ = environ_of(f"/{number}", HTTP_COOKIE=f"{COOKIE}={value}" if value else "")
        response = serve(
            site.middleware,
            environ | {"test.action": action, "test.shape": None, "test.result": []},
        )
        assert response.said == ""
    assert (store.writes, touched) == ({}, {})
    assert {path: path.read_bytes() for path in (tmp_path / "data").iterdir()} == files
    # These counters would have seen it.
    site.visit(write(a=1), by=site.new_browser())
    assert touched["pwrite"]
    assert touched["sync"]
    store.close()


def test_keys_that_collide_cost_little():
    """Python's integers that are multiples of 2**61 - 1 have one hash, 0."""
    site = Site()
    colliding = {number * (2**61 - 1): 1 for number in range(1, 1500)}
    began = time.process_time()
    site.visit(write(a=colliding))
    assert site.visit(lambda s: len(s["a"])).value == 1499
    site.visit(lambda s: s["a"].pop(2**61 - 1))
    assert time.process_time() - began < 5
    site.store.calls.clear()
    with pytest.raises(EncodeError, match="limit 65536"):
        site.visit(write(a={number * (2**61 - 1): 1 for number in range(1, 5000)}))
    assert site.store.writes == {}
