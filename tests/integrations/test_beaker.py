"""Coming from Beaker: its options mean here what they meant there, and its clients stay."""

from __future__ import annotations

import ast
import hashlib
import hmac
import logging
import re
import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import beaker
import pytest
from webtest import TestApp as Browser

from litesess import ConfigError, CookieSettings, Record, SessionMiddleware, WALStore
from litesess.beaker import BeakerTransition, from_beaker
from litesess.ids import key_of
from litesess.testing import FakeClock
from litesess.web.cookie import LONGEST_MAX_AGE
from tests.site.test_docs import literal_blocks, table_after
from tests.tools.apps import SECRET, environ_of, serve
from tests.tools.beakers import BEAKER_SECRET, NAME, BeakerSite, id_of
from tests.tools.servers import ROOT

DAY = 86_400


def made(config, path, **options):
    """Return the options of a middleware, and the store, that Beaker's options make."""
    with SessionMiddleware(lambda *_: [], **from_beaker(config, path, **options)) as app:
        return app.manager.options, app.store


@pytest.fixture
def taken(tmp_path):
    """What takes Beaker's options, by name, beside a secret."""

    def take(options=None, **more):
        config = {"session.secret": BEAKER_SECRET}
        config |= {f"session.{name}": value for name, value in (options or {}).items()}
        return made(config, tmp_path / "data", **more)

    return take


def options_of_beaker():
    """Return the names of all options that Beaker's source has for sessions."""
    found = set()
    for path in Path(beaker.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found |= options_in(node)
    return sorted(found - {"self", "namespace", "request"})


def options_in(node):
    """Return those that a class or a function of Beaker's has."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    if node.name in ("Session", "CookieSession") or node.name.endswith("NamespaceManager"):
        makers = [it for it in node.body if getattr(it, "name", "") == "__init__"]
        return {argument.arg for maker in makers for argument in maker.args.args}
    if node.name == "coerce_session_params":  # rules = [("data_dir", ...), ...]
        return {rule.elts[0].value for rule in node.body[0].value.elts}
    if node.name == "SessionMiddleware":  # self.options = dict(invalidate_corrupt=True, ...)
        return {
            item.arg for call in calls if ast.unparse(call.func) == "dict" for item in call.keywords
        }
    if node.name == "SessionObject":  # params.get("auto")
        asked = [call for call in calls if re.search(r"params\W*\.get$", ast.unparse(call.func))]
        return {call.args[0].value for call in asked}
    return set()


OPTIONS = options_of_beaker()


def test_beaker_s_options_were_found():
    assert {"auto", "lock_dir", "samesite", "session_class", "url", "webtest_varname"} < {*OPTIONS}
    assert len(OPTIONS) > 30


class TestEachOption:
    @pytest.mark.parametrize("name", OPTIONS)
    def test_is_known(self, name, tmp_path):
        config = {"secret": BEAKER_SECRET, name: None} if name != "secret" else {name: SECRET}
        from_beaker({f"session.{key}": value for key, value in config.items()}, tmp_path / "data")

    def test_is_in_the_table_of_the_page(self, tmp_path):
        table = table_after("The table has each option", ROOT / "docs" / "beaker.rst")
        named = [name for row in table for name in row[0].split(", ")]
        assert {*OPTIONS} <= {*named}
        assert len({*named}) == len(named)
        # Those of other versions of Beaker among them.
        from_beaker({**dict.fromkeys(named), "secret": SECRET}, tmp_path / "data")

    @pytest.mark.parametrize("prefix", ["session.", "beaker.session.", "session_", ""])
    def test_may_have_either_prefix_or_none(self, prefix, tmp_path):
        config = {f"{prefix}secret": SECRET, f"{prefix}key": "sid", "cache.type": "memory"}
        config |= {"beaker.cache.type": "file"} | ({"debug": "true"} if prefix else {})
        options, _ = made(config, tmp_path / "data")
        assert (options.cookie_name, options.secret) == ("sid", (SECRET.encode(),))

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("session.timeuot", "unknown setting session.timeuot; did you mean 'session.timeout'"),
            ("beaker.session.secrt", "beaker.session.secrt; did you mean 'beaker.session.secret'"),
        ],
    )
    def test_that_beaker_does_not_have_is_refused(self, name, hint, tmp_path):
        prefix = name.rpartition(".")[0]
        with pytest.raises(ConfigError, match=hint):
            from_beaker({name: 1, f"{prefix}.key": "a"}, tmp_path)


class TestLife:
    @pytest.mark.parametrize("value", [1800, "1800", 1800.0, timedelta(minutes=30)])
    def test_the_timeout_is_the_life_without_a_request(self, value, taken):
        options, store = taken({"timeout": value})
        assert (store.ttl, options.cookie) == (1800, CookieSettings())
        assert (options.absolute_timeout, options.rolling) == (None, False)

    def test_without_one_it_is_as_long_as_browsers_keep_a_cookie(self, taken, caplog):
        assert taken()[1].ttl == LONGEST_MAX_AGE
        assert "session.timeout is not set: a session ends when it was not used for 400 days" in (
            caplog.text
        )

    @pytest.mark.parametrize("value", [True, "true", "on", "1", "Y", None])
    def test_a_cookie_that_ends_with_the_browser_does(self, value, taken):
        options, _ = taken({"cookie_expires": value, "timeout": 60})
        assert options.cookie.max_age is options.cookie.expires is None

    @pytest.mark.parametrize("value", [False, "false", "0"])
    def test_a_cookie_that_never_ends_moves_on_with_the_session(self, value, taken):
        options, store = taken({"cookie_expires": value, "timeout": 60})
        assert (options.cookie.max_age, store.ttl, options.rolling) == (60, 60, True)
        options, store = taken({"cookie_expires": value})
        assert (options.cookie.max_age, options.rolling) == (LONGEST_MAX_AGE, False)

    @pytest.mark.parametrize("value", [DAY, "86400", timedelta(days=1)])
    def test_a_cookie_that_ends_so_long_after_its_login_ends_it(self, value, taken):
        options, store = taken({"cookie_expires": value})
        assert (options.cookie.max_age, options.absolute_timeout, store.ttl) == (DAY, DAY, DAY)
        assert options.rolling is False

    def test_the_shorter_of_both_counts(self, taken):
        options, store = taken({"cookie_expires": DAY, "timeout": 60})
        assert (options.cookie.max_age, store.ttl) == (60, 60)
        assert (options.absolute_timeout, options.rolling) == (DAY, True)
        options, store = taken({"cookie_expires": 60, "timeout": DAY})
        assert (options.cookie.max_age, store.ttl) == (60, 60)
        assert (options.absolute_timeout, options.rolling) == (60, False)

    def test_a_point_in_time_is_one_in_utc(self, taken):
        options, _ = taken({"cookie_expires": datetime(2030, 1, 1)})  # noqa: DTZ001  # as Beaker's are
        assert options.cookie.expires == datetime(2030, 1, 1, tzinfo=timezone.utc).timestamp()
        with pytest.raises(ConfigError, match=r"session.cookie_expires is a point in time"):
            taken({"cookie_expires": datetime(2030, 1, 1, tzinfo=timezone.utc), "timeout": 60})

    @pytest.mark.parametrize("name", ["timeout", "cookie_expires"])
    @pytest.mark.parametrize("value", ["an hour", 0, -5, float("inf"), []])
    def test_what_is_no_duration_is_refused_by_its_name(self, name, value, taken):
        with pytest.raises(ConfigError, match=f"session.{name}"):
            taken({name: value})


def attributes_of(set_cookie):
    """Return a cookie's name and attributes; its end in Unix seconds."""
    pair, *parts = set_cookie.strip().split("; ")
    found = {name.lower(): value for name, _, value in (part.partition("=") for part in parts)}
    found.pop("max-age", None)
    if "expires" in found:
        found["expires"] = parsedate_to_datetime(found["expires"]).timestamp()
    return {"name": pair.partition("=")[0], **{key: found[key] for key in sorted(found)}}


class TestCookie:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"key": "sid"},
            {"secure": True},
            {"secure": "yes", "samesite": "None"},
            {"httponly": "true"},
            {"samesite": "Strict"},
            {"samesite": None},
            {"samesite": ""},
            {"cookie_domain": "example.org", "cookie_path": "/app"},
            {"cookie_domain": ".example.org"},
            {"cookie_expires": "true", "timeout": "60"},
            {"cookie_expires": DAY},
            {"cookie_expires": "86400", "timeout": 2 * DAY},
            {"cookie_expires": timedelta(hours=5)},
            {
                "cookie_expires": datetime.now(timezone.utc).replace(tzinfo=None)
                + timedelta(days=30)
            },
        ],
        ids=lambda options: " ".join(options) or "none",
    )
    def test_has_the_attributes_that_beaker_s_had(self, options, tmp_path):
        options = {"httponly": False, **options}
        site = BeakerSite(tmp_path / "beaker", **options)
        answers = []

        def app(environ, start_response):
            session = environ.get("beaker.session") or environ["litesess.session"]
            session["user"] = "ada"
            session.save()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b""]

        https = bool(options.get("secure"))
        with SessionMiddleware(app, **from_beaker(site.config, tmp_path / "data")) as ours:
            for each in beaker.middleware.SessionMiddleware(app, site.config), ours:
                (set_cookie,) = serve(each, environ_of("/app", https=https)).all("Set-Cookie")
                answers.append(attributes_of(set_cookie))
        theirs, ours = answers
        if "domain" in theirs:
            theirs["domain"] = theirs["domain"].lstrip(".")
            ours["domain"] = ours["domain"].lstrip(".")
        assert ours.pop("expires", 0.0) == pytest.approx(theirs.pop("expires", 0.0), abs=5)
        assert ours.pop("samesite", "").lower() == theirs.pop("samesite", "").lower()
        assert ours == theirs

    def test_is_safer_where_nothing_was_said(self, taken):
        options, _ = taken()
        assert options.cookie == CookieSettings(secure="auto", httponly=True, samesite="lax")
        assert options.cookie_name == NAME

    def test_is_as_it_was_where_something_was(self, taken):
        options, _ = taken({"secure": "off", "httponly": False, "samesite": "Strict"})
        assert options.cookie == CookieSettings(secure=False, httponly=False, samesite="strict")

    @pytest.mark.parametrize("name", ["secure", "httponly", "auto", "use_cookies"])
    def test_what_is_neither_on_nor_off_is_refused_by_its_name(self, name, taken):
        for value in "perhaps", 5:
            with pytest.raises(ConfigError, match=f"session.{name} .* is not True or False"):
                taken({name: value})


class TestSecret:
    def test_is_beaker_s(self, taken):
        assert taken()[0].secret == (BEAKER_SECRET.encode(),)

    def test_may_have_spaces(self, taken):
        spaced = "correct horse battery staple"
        assert taken({"secret": spaced})[0].secret == (spaced.encode(),)
        assert taken(secret=spaced)[0].secret == (spaced.encode(),)

    @pytest.mark.parametrize("value", ["short", "changeme-changeme", None, ""])
    def test_that_is_none_is_refused_with_the_cure(self, value, taken):
        with pytest.raises(ConfigError, match=r"session.secret .*from_beaker\(\.\.\., secret=\.\."):
            taken({"secret": value})
        assert taken({"secret": value}, secret=SECRET)[0].secret == (SECRET.encode(),)

    def test_of_another_type_is_refused(self, taken):
        with pytest.raises(ConfigError, match=r"session.secret is of type int, not str"):
            taken({"secret": 5})


class TestStore:
    def test_is_encrypted_if_beaker_s_was(self, taken, tmp_path):
        taken({"encrypt_key": "correct horse battery", "validate_key": "x"})
        with WALStore(tmp_path / "data", encryption_key="correct horse battery") as store:
            store.create(key_of("a"), Record({"a": 1}, 0.0, 4e9))
        with pytest.raises(ConfigError, match=r"session.encrypt_key has"):
            taken({"encrypt_key": "short"})

    @pytest.mark.parametrize("name", ["data_dir", "lock_dir", "file_dir", "dbm_dir"])
    def test_is_in_no_directory_of_beaker_s(self, name, taken, tmp_path):
        with pytest.raises(
            ConfigError, match=rf"path .* is session.{name}, .*, such as .*litesess'"
        ):
            taken({name: f"{tmp_path}/x/../data"})
        assert taken({name: str(tmp_path)})[1].path == str(tmp_path / "data")

    def test_and_middleware_take_further_options_which_go_before(self, taken, clock):
        options, store = taken(
            {"timeout": 60, "key": "theirs"},
            ttl=5,
            durable=False,
            clock=clock,
            cookie_name="ours",
            cookie={"partitioned": True, "secure": True},
            environ_key="beaker.session",
        )
        assert (store.ttl, store.clock, options.clock) == (5, clock, clock)
        assert (options.cookie_name, options.environ_key) == ("ours", "beaker.session")
        assert options.cookie.partitioned
        with pytest.raises(ConfigError, match="unknown setting durabel; did you mean 'durable'"):
            taken(durabel=True)


class TestWithoutCounterpart:
    @pytest.mark.parametrize(
        ("options", "cure"),
        [
            ({"type": "cookie"}, "session.type 'cookie' keeps the data in the cookie"),
            ({"use_cookies": "false"}, "session.use_cookies is off"),
            ({"id": "5"}, "session.id gives all clients one session"),
            ({"session_class": object}, "session.session_class has no counterpart"),
            ({"data_serializer": object()}, "session.data_serializer is one of your own"),
        ],
    )
    def test_what_contradicts_is_refused_with_the_cure(self, options, cure, taken):
        with pytest.raises(ConfigError, match=f"{cure}.*take it out"):
            taken(options)

    @pytest.mark.parametrize(
        ("options", "instead"),
        [
            ({"type": "ext:redis"}, "session.type .*in files below .*data, on this machine alone"),
            ({"type": "memory"}, "session.type .*in files below"),
            ({"url": "redis://:hunter2@x"}, "session.url .*in files below the path"),
            ({"invalidate_corrupt": True}, "session.invalidate_corrupt .*litesess salvage"),
            ({"validate_key": "hunter2"}, "session.validate_key .*secret signs the cookie"),
            ({"crypto_type": "cryptography"}, "session.crypto_type .*AES-256-GCM"),
            ({"data_serializer": "pickle"}, "session.data_serializer .*raises EncodeError"),
            ({"save_accessed_time": "no"}, "session.save_accessed_time .*lives on"),
            ({"auto": False}, "session.auto .*with or without save"),
            ({"webtest_varname": "s"}, "session.webtest_varname .*edit_session"),
        ],
        ids=str,
    )
    def test_what_is_harmless_is_warned_of_once(self, options, instead, taken, caplog):
        taken({"timeout": 60, **options})
        ((_, level, message),) = caplog.record_tuples
        assert level == logging.WARNING
        assert message.startswith(f"session.{next(iter(options))} has no effect any more: ")
        assert re.search(instead, message)
        assert "hunter2" not in message

    def test_what_is_the_same_is_not_warned_of(self, taken, caplog, tmp_path):
        taken(
            {
                "type": "file",
                "data_dir": str(tmp_path / "b"),
                "lock_dir": str(tmp_path / "l"),
                "auto": "true",
                "use_cookies": "true",
                "save_accessed_time": True,
                "data_serializer": "json",
                "timeout": "60",
            }
        )
        assert caplog.record_tuples == []


def count(session):
    """Count the visits, and return all that the session has."""
    session["visits"] = session.get("visits", 0) + 1
    return dict(session)


class NewSite:
    """The site after the switch: it does what each request asks for."""

    def __init__(self, old, path, *, kind=BeakerTransition, **options):
        self.clock = FakeClock(time.time())
        options = {"clock": self.clock, **options}
        if kind is BeakerTransition:
            self.app = BeakerTransition(self._serve, old.config, path, **options)
        else:
            self.app = kind(self._serve, **from_beaker(old.config, path, **options))
        self.store = self.app.store
        self._action = None

    def _serve(self, environ, start_response):
        action = self._action
        self.value = action(environ["litesess.session"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    def visit(self, browser, action=count):
        """Do something with the session of a browser; return what that returned."""
        self._action = action
        Browser(self.app, cookiejar=browser.cookiejar).get("/")
        return self.value

    def ask(self, cookie, action=count, **environ):
        """Do something with the session of a Cookie header; return the response."""
        self._action = action
        return serve(self.app, environ_of(HTTP_COOKIE=cookie, **environ))


@pytest.fixture
def old(tmp_path):
    return BeakerSite(tmp_path / "beaker", timeout=3600)


@pytest.fixture
def switch(cli, tmp_path):
    """What stops Beaker, imports, and begins anew."""
    sites = []

    def switch(old, **options):
        arguments = ["--create", "--timeout", 3600, tmp_path / "data", old.directory]
        assert cli("import-beaker", *arguments).code == 0
        sites.append(NewSite(old, tmp_path / "data", **options))
        return sites[-1]

    yield switch
    for site in sites:
        site.app.close()


class TestTransition:
    @pytest.mark.parametrize("serializer", ["json", "pickle"])
    def test_nobody_is_logged_out(self, serializer, tmp_path, switch):
        old = BeakerSite(tmp_path / "beaker", timeout=3600, data_serializer=serializer)
        browsers = {name: old.log_in(user=name) for name in ("ada", "eve")}
        site = switch(old)
        for visits in 1, 2, 3:
            for name, browser in browsers.items():
                assert site.visit(browser) == {"user": name, "visits": visits}
        assert len(site.store) == 2

    def test_one_cookie_takes_the_place_of_the_other(self, old, switch):
        browser = old.log_in(user="ada")
        before = browser.cookies[NAME]
        site = switch(old)
        response = site.ask(f"{NAME}={before}")
        (set_cookie,) = response.all("Set-Cookie")
        assert set_cookie.startswith(f"{NAME}=")
        assert "Path=/" in set_cookie
        ours = set_cookie.partition(";")[0]
        assert before not in ours
        assert site.ask(ours).all("Set-Cookie") == []
        assert site.value == {"user": "ada", "visits": 2}

    def test_the_id_that_beaker_s_file_is_named_after_opens_nothing(self, old, switch):
        browser = old.log_in(user="ada")
        beaker_id = id_of(browser)
        site = switch(old)
        ids = [site.visit(browser, lambda session: session.id) for _ in range(2)]
        assert len({*ids}) == 1
        assert ids[0] != beaker_id
        assert site.store.load(key_of(beaker_id)) is None
        assert [key for key, _ in site.store.records()] == [key_of(ids[0])]

    def test_without_it_everybody_is_a_stranger(self, old, switch):
        browser = old.log_in(user="ada")
        site = switch(old, kind=SessionMiddleware)
        assert site.visit(browser) == {"visits": 1}

    def test_when_it_is_taken_out_those_who_came_stay(self, old, switch, tmp_path):
        browser = old.log_in(user="ada")
        site = switch(old)
        site.visit(browser)
        site.app.close()
        assert switch(old, kind=SessionMiddleware).visit(browser) == {"user": "ada", "visits": 2}

    def test_an_empty_session_is_true_as_beaker_s_is(self, old, switch):
        def truth(session):
            return bool(session), len(session)

        seen = []
        old.visit(lambda session: seen.append(bool(session)))
        old.log_in(user="ada")
        site = switch(old)
        site.ask("", truth)
        assert (seen, site.value) == ([True], (True, 0))

    def test_requests_that_come_at_once_find_one_session(self, old, switch):
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)

        def among_others(session):
            session["outer"] = 1
            site.ask(header, lambda other: other.update(inner=dict(other)))

        site.ask(header, among_others)
        site.ask(header, dict)
        assert site.value == {"user": "ada", "outer": 1, "inner": {"user": "ada"}}
        assert len(site.store) == 1

    def test_a_request_that_was_slower_finds_it_too(self, old, switch):
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        rotate = site.store.rotate

        def be_slow(*arguments, **options):
            site.store.rotate = rotate
            site.ask(header, dict)
            return rotate(*arguments, **options)

        site.store.rotate = be_slow
        site.ask(header)
        assert site.value == {"user": "ada", "visits": 1}
        assert len(site.store) == 1

    def test_one_that_is_logged_out_just_then_is_a_stranger(self, old, switch):
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        rotate = site.store.rotate

        def be_slow(*arguments, **options):
            site.store.rotate = rotate
            site.store.clear()
            return rotate(*arguments, **options)

        site.store.rotate = be_slow
        site.ask(header)
        assert site.value == {"visits": 1}

    def test_a_response_that_never_came_costs_nothing(self, old, switch):
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        for visits in 1, 2:
            site.ask(header)
            site.clock.advance(600)
            assert site.value == {"user": "ada", "visits": visits}

    def test_a_logout_ends_beaker_s_cookie_too(self, old, switch, cli, tmp_path):
        browser = old.log_in(user="ada")
        header = f"{NAME}={browser.cookies[NAME]}"
        site = switch(old)
        response = site.ask(header, lambda session: session.destroy())
        assert "Max-Age=0" in response.all("Set-Cookie")[0]
        assert len(site.store) == 0
        arguments = ["--timeout", 3600, tmp_path / "data", old.directory]
        assert cli("import-beaker", *arguments, "--json").json["created"] == 0
        site.ask(header, dict)
        assert site.value == {}

    def test_a_login_gives_another_id_that_beaker_s_cookie_does_not_find(self, old, switch):
        header = f"{NAME}={old.log_in(cart=[1]).cookies[NAME]}"
        site = switch(old)
        site.ask(header, lambda session: setattr(session, "owner", "ada"))
        site.ask(header, dict)
        assert site.value == {}
        ((_, record),) = site.store.records()
        assert (record.owner, record.data) == ("ada", {"cart": [1]})

    def test_beaker_s_end_of_a_session_holds(self, old, switch):
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        site.clock.advance(3601)
        site.ask(header, dict)
        assert site.value == {}

    def test_a_life_since_the_login_counts_from_beaker_s(self, tmp_path, switch):
        old = BeakerSite(tmp_path / "beaker", cookie_expires=600)
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        site.ask(header)
        site.clock.advance(601)
        site.ask(header, dict)
        assert site.value == {}

    def test_a_forged_cookie_is_nobody_s(self, old, switch):
        browser = old.log_in(user="ada")
        beaker_id, value = id_of(browser), browser.cookies[NAME]
        site = switch(old)
        other = hmac.new(SECRET.encode(), beaker_id.encode(), hashlib.sha1).hexdigest()
        for forged in (
            beaker_id, other + beaker_id, value[:-1], value.upper(), value[::-1], f"{value}0", "",
            "0" * 40 + beaker_id, value[:39] + "x" + value[40:], f"{value}\n",
        ):  # fmt: skip
            site.ask(f"{NAME}={forged}", dict)
            assert site.value == {}
        site.ask(f"other={value}; {NAME}x={value}; {NAME}=", dict)
        assert site.value == {}
        site.ask(f"{NAME}={value}; padding={'x' * 20_000}", dict)
        assert site.value == {}
        site.ask(f'a=b; {NAME}=junk; {NAME}="{value}"; c=d', dict)
        assert site.value == {"user": "ada"}

    def test_a_cookie_of_ours_goes_before(self, old, switch):
        theirs = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        (set_cookie,) = site.ask("", lambda session: session.update(user="eve")).all("Set-Cookie")
        site.ask(f"{theirs}; {set_cookie.partition(';')[0]}", dict)
        assert site.value == {"user": "eve"}

    def test_two_of_beaker_s_are_none(self, old, switch):
        values = [old.log_in(user=name).cookies[NAME] for name in ("ada", "mallory")]
        site = switch(old)
        response = site.ask("; ".join(f"{NAME}={value}" for value in values), dict)
        assert site.value == {}
        assert response.all("Set-Cookie") == []  # the user's own may be in the scope of ours
        site.ask(f"{NAME}={values[0]}; {NAME}={values[0]}", dict)
        assert site.value == {"user": "ada"}

    def test_a_first_look_behind_the_headers_loses_nothing(self, old, switch):
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        site = switch(old)
        seen = []

        def stream(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"a"
            seen.append(dict(environ["litesess.session"]))

        site.app._app = stream
        assert serve(site.app, environ_of(HTTP_COOKIE=header)).all("Set-Cookie") == []
        assert seen == [{"user": "ada"}]
        site.app._app = site._serve
        assert site.ask(header).all("Set-Cookie") != []
        assert site.value == {"user": "ada", "visits": 1}

    def test_where_no_cookie_can_be_sent_beaker_s_holds(self, tmp_path, switch):
        old = BeakerSite(tmp_path / "beaker", timeout=3600)
        header = f"{NAME}={old.log_in(user='ada').cookies[NAME]}"
        old.config["session.secure"] = "true"
        site = switch(old)
        for visits in 1, 2:  # a TLS proxy that nobody trusts
            assert site.ask(header).all("Set-Cookie") == []
            assert site.value == {"user": "ada", "visits": visits}
        assert "; Secure;" in site.ask(header, https=True).all("Set-Cookie")[0]
        assert site.value == {"user": "ada", "visits": 3}

    def test_a_secret_that_is_too_short_for_us_still_verifies(self, tmp_path, switch):
        old = BeakerSite(tmp_path / "beaker", timeout=3600, secret="short")
        browser = old.log_in(user="ada")
        site = switch(old, secret=SECRET)
        assert site.visit(browser) == {"user": "ada", "visits": 1}
        assert site.visit(browser) == {"user": "ada", "visits": 2}

    def test_another_cookie_name_is_no_hindrance(self, old, switch):
        browser = old.log_in(user="ada")
        site = switch(old, cookie_name="sid")
        assert [site.visit(browser)["visits"] for _ in range(2)] == [1, 2]
        assert len(site.store) == 1

    def test_cookies_that_nobody_signed_are_refused(self, tmp_path):
        config = {"session.type": "file", "session.data_dir": str(tmp_path / "beaker")}
        with pytest.raises(ConfigError, match=r"session.secret is missing: unsigned cookies"):
            BeakerTransition(lambda *_: [], config, tmp_path / "data", secret=SECRET)

    def test_nothing_of_it_shows_ids_or_secrets(self, old, switch, caplog):
        caplog.set_level(logging.DEBUG)
        browser = old.log_in(user="ada")
        beaker_id = id_of(browser)
        site = switch(old)
        site.visit(browser)
        shown = f"{caplog.text} {site.app!r} {site.app.manager!r} {vars(site.app)!r}"
        assert beaker_id not in shown
        assert BEAKER_SECRET not in shown

    def test_the_page_s_way_is_one(self, tmp_path, monkeypatch, cli):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SESSION_SECRET", BEAKER_SECRET)
        page = (ROOT / "docs" / "beaker.rst").read_text()
        (block,) = literal_blocks(page, "python")
        namespace = {}
        exec(compile(block, "beaker.rst", "exec"), namespace)
        (command,) = re.findall(r"``litesess (import-beaker [^`]*)``, with", page)
        with namespace["app"] as app:
            before = beaker.middleware.SessionMiddleware(app._app, namespace["config"], auto=True)
            browser = Browser(before, lint=False)
            assert browser.get("/").text == "visit 1\n"
            assert cli(*command.split()).out.startswith("1 session imported")
            after = Browser(app, cookiejar=browser.cookiejar)
            assert [after.get("/").text for _ in range(2)] == ["visit 2\n", "visit 3\n"]
