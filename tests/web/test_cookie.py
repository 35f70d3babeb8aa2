"""The session cookie: settings, signature, what it takes and what it sends."""

from __future__ import annotations

import logging
import math
import os
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litesess import ConfigError, CookieSettings, MemoryStore, SessionMiddleware
from litesess.web.cookie import CookieSigner, check_secrets, in_scope
from litesess.web.cookie import signer as cookies
from litesess.web.cookie.signer import LONGEST_HEADER, LONGEST_VALUE
from tests.tools.apps import COOKIE, OLD_SECRET, SECRET, Browser, Site, hello, look, write

searched = settings(derandomize=True, deadline=None, max_examples=200, database=None)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY = 86_400


def instant(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc)


# Settings.


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("max_age", None),
        ("expires", None),
        ("path", "/"),
        ("domain", None),
        ("secure", "auto"),
        ("httponly", True),
        ("samesite", "lax"),
        ("partitioned", False),
        ("priority", None),
    ],
)
def test_the_defaults(name, default):
    assert getattr(CookieSettings(), name) == default


@pytest.mark.parametrize("given", [None, {}, CookieSettings(), lambda _environ: {}])
def test_no_settings_are_the_defaults(given):
    attributes = Site(cookie=given).visit(write(a=1)).attributes
    assert attributes == {"path": "/", "httponly": "", "samesite": "Lax"}


@pytest.mark.parametrize("given", [42, "x", True, [], object(), CookieSettings])
def test_what_is_no_settings_is_a_type_error(given):
    with pytest.raises(TypeError, match="cookie is") as error_info:
        Site(cookie=given)
    assert isinstance(error_info.value, ConfigError)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("max_age", 60, 60.0),
        ("max_age", timedelta(days=1), 86_400.0),
        ("expires", EPOCH, 0.0),
        ("expires", 5, 5.0),
        ("path", "/foo", "/foo"),
        ("path", "/caf\xc3\xa9", "/caf\xc3\xa9"),
        ("domain", ".example.com", ".example.com"),
        ("secure", True, True),
        ("secure", False, False),
        ("httponly", False, False),
        ("samesite", True, "strict"),
        ("samesite", "Strict", "strict"),
        ("samesite", "none", "none"),
        ("samesite", "auto", "auto"),
        ("samesite", False, None),
        ("samesite", None, None),
        ("partitioned", True, True),
        ("priority", "High", "high"),
    ],
)
def test_a_setting_is_kept_in_one_form(name, given, kept):
    assert getattr(CookieSettings(**{name: given}), name) == kept


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("max_age", "42", TypeError),
        ("max_age", True, TypeError),
        ("max_age", EPOCH, TypeError),
        ("max_age", lambda: 5, TypeError),
        ("max_age", 0, ConfigError),
        ("max_age", timedelta(0), ConfigError),
        ("max_age", -1, ConfigError),
        ("max_age", math.nan, ConfigError),
        ("max_age", math.inf, ConfigError),
        ("expires", "tomorrow", TypeError),
        ("expires", False, TypeError),
        ("expires", math.nan, ConfigError),
        ("expires", datetime.fromisoformat("2026-01-01"), ConfigError),  # of no zone
        ("path", "foo", ConfigError),
        ("path", "", ConfigError),
        ("path", "/a;b", ConfigError),
        ("path", "/a\r\nSet-Cookie: x", ConfigError),
        ("path", None, TypeError),
        ("domain", "", ConfigError),
        ("domain", "a b", ConfigError),
        ("domain", "a.com; Path=/", ConfigError),
        ("domain", "a.com\n", ConfigError),
        ("domain", b"a.com", TypeError),
        ("secure", "yes", TypeError),
        ("secure", 1, TypeError),
        ("secure", None, TypeError),
        ("httponly", "no", TypeError),
        ("samesite", "bogus", ConfigError),
        ("samesite", 1, ConfigError),
        ("partitioned", 1, TypeError),
        ("priority", "urgent", ConfigError),
    ],
)
def test_a_wrong_setting_is_named(name, value, error):
    with pytest.raises(error, match=name) as error_info:
        CookieSettings(**{name: value})
    assert isinstance(error_info.value, ConfigError)


@pytest.mark.parametrize(
    "contradictory",
    [
        {"max_age": 5, "expires": EPOCH},
        {"secure": False, "samesite": "none"},
        {"secure": False, "samesite": "auto"},
        {"secure": False, "partitioned": True},
    ],
)
def test_settings_that_contradict_each_other_are_refused(contradictory):
    with pytest.raises(ConfigError):
        CookieSettings(**contradictory)


def test_a_fixed_end_of_all_sessions_is_warned_of(caplog):
    Site(cookie={"expires": EPOCH})
    assert "expires is a point in time" in caplog.text


# The name.

TOKEN = "!#%&'*+-.^_`|~09azAZ"


@pytest.mark.parametrize("character", TOKEN)
def test_any_character_of_a_token_may_be_in_the_name(character):
    name = f"s{character}"
    site = Site(cookie_name=name)
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}


@pytest.mark.parametrize(
    "name",
    ["a b", "a=b", "a;b", "a,b", "a\n", "caf\u00e9", "$x", '"x"', "path", "Secure", "HttpOnly"],
)
def test_a_name_that_is_no_token_or_an_attributes_is_refused(name):
    with pytest.raises(ConfigError, match="cookie_name"):
        Site(cookie_name=name)


@pytest.mark.parametrize(
    ("name", "cookie"),
    [
        ("__Host-sid", {"secure": False}),
        ("__host-sid", {"domain": "example.com"}),
        ("__Host-sid", {"path": "/app"}),
        ("__Secure-sid", {"secure": False}),
    ],
)
def test_a_prefix_whose_rules_the_settings_break_is_refused(name, cookie):
    with pytest.raises(ConfigError, match="__"):
        Site(cookie_name=name, cookie=cookie)


@pytest.mark.parametrize("name", ["__Host-sid", "__Secure-sid"])
def test_a_prefixed_cookie_is_secure_over_https_and_not_sent_over_http(name):
    site = Site(cookie_name=name)
    assert site.visit(write(a=1)).all("Set-Cookie") == []
    (cookie,) = site.visit(write(a=1), https=True).all("Set-Cookie")
    assert cookie.startswith(f"{name}=")
    assert "; secure" in cookie.lower()


@pytest.mark.parametrize(
    ("name", "value"), [("secure", False), ("path", "/app"), ("domain", "example.com")]
)
def test_a_session_cant_break_the_rules_of_the_prefix_either(name, value):
    site = Site(cookie_name="__Host-sid")

    def set_attribute(session):
        session["a"] = 1
        with pytest.raises(ConfigError):
            setattr(session.cookie, name, value)

    site.visit(set_attribute, https=True)


# Secrets.


@pytest.mark.parametrize("nothing", [[], (), "", b"", [""], [b""], [SECRET, ""]])
def test_no_secret_is_refused(nothing):
    with pytest.raises(ConfigError, match="secret"):
        Site(secret=nothing)


@pytest.mark.parametrize("secret", [None, 5, [5], [SECRET, None], {SECRET}])
def test_what_is_no_secret_is_a_type_error(secret):
    with pytest.raises(TypeError, match="secret"):
        Site(secret=secret)


@pytest.mark.parametrize(
    "secret",
    [
        "keyboard cat",
        "keyboard cat keyboard cat",
        "changeme-changeme-1",
        "your-secret-your-secret",
        "not-secret-not-secret",
        "SECRET_KEY_secret_key",
        "passwordpassword",
        "development-secret",
        "x" * 32,
        "abcabcabcabcabcabc",
    ],
)
def test_a_well_known_secret_is_refused(secret):
    """CVE-2020-17526 (Airflow): one default secret signed the sessions of all sites."""
    with pytest.raises(ConfigError, match="litesess secret"):
        check_secrets("secret", secret)


@pytest.mark.parametrize("secret", ["d41f8cd98f00b20", b"\x8f\x01\xfe", [SECRET, SECRET[:15]]])
def test_a_secret_of_less_than_16_bytes_is_refused(secret):
    with pytest.raises(ConfigError, match="bytes, needs 16, better 32"):
        check_secrets("secret", secret)


def test_a_short_secret_is_warned_of_and_not_shown(caplog):
    check_secrets("secret", "d41f8cd98f00b204")
    assert "secret has 16 bytes, better 32" in caplog.text
    assert "d41f" not in caplog.text


@pytest.mark.parametrize(
    "secret",
    [SECRET, os.urandom(32), [SECRET, OLD_SECRET], "caf\u00e9" * 8],
    ids=["text", "bytes", "several", "not ASCII"],
)
def test_a_good_secret_gives_no_warning(secret, caplog):
    assert all(isinstance(item, bytes) for item in check_secrets("secret", secret))
    assert caplog.records == []


def test_the_callers_list_of_secrets_is_left_as_it_was():
    secrets = [SECRET, OLD_SECRET]
    site = Site(secret=secrets)
    secrets.clear()
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}


def test_secrets_that_are_no_text_can_sign():
    site = Site(secret=bytes(range(128, 160)))
    site.visit(write(a=1))
    assert site.visit(look).value == {"a": 1}


def with_secret(secret, site):
    """Return the same site after a restart with other secrets."""
    restarted = Site(site.store, secret=secret, clock=site.clock)
    restarted.browser.cookies = dict(site.browser.cookies)
    return restarted


def test_the_first_secret_signs():
    site = Site(secret=[SECRET, OLD_SECRET])
    site.visit(write(a=1))
    assert with_secret(OLD_SECRET, site).visit(look).value == {}
    assert with_secret(SECRET, site).visit(look).value == {"a": 1}


def test_every_secret_verifies():
    site = Site(secret=OLD_SECRET)
    site.visit(write(a=1))
    assert with_secret([SECRET, OLD_SECRET], site).visit(look).value == {"a": 1}


def test_a_cookie_signed_by_an_older_secret_is_signed_again_once():
    site = Site(secret=OLD_SECRET)
    site.visit(write(a=1))
    rotated = with_secret([SECRET, OLD_SECRET], site)
    assert rotated.visit(look).said == "set"
    assert rotated.visit(look).said == ""
    assert with_secret(SECRET, rotated).visit(look).value == {"a": 1}


def test_a_cookie_is_not_signed_again_for_a_request_that_does_not_look():
    site = Site(secret=OLD_SECRET)
    site.visit(write(a=1))
    assert with_secret([SECRET, OLD_SECRET], site).visit().said == ""


def test_the_cookies_of_a_dropped_secret_start_a_new_session():
    site = Site(secret=OLD_SECRET)
    site.visit(write(a=1))
    assert with_secret(SECRET, site).visit(look).value == {}


# The signature.

ID = "apple" * 4
SIGNED = "0rb_KF_ynWMhmV5b7LKM9mDavrSdkGPuJaIExxOn4qJhcHBsZWFwcGxlYXBwbGVhcHBsZQ"


def signer(name=COOKIE, *secrets):
    return CookieSigner(name, [secret.encode() for secret in secrets or (SECRET,)])


def read(value, name=COOKIE):
    return [found.session_id for found in signer(name).verified(f"{name}={value}")]


def test_a_value_is_the_hmac_of_the_id_and_the_id_in_base64url():
    assert signer().sign(ID) == SIGNED
    assert urlsafe_b64decode(SIGNED + "==")[32:] == ID.encode()


@searched
@given(st.text("ABCxyz019_-", min_size=1, max_size=128))
def test_any_id_is_read_back(session_id):
    assert read(signer().sign(session_id)) == [session_id]


@searched
@given(st.data())
def test_a_value_changed_anywhere_is_not_ours(data):
    at = data.draw(st.integers(0, len(SIGNED) - 1))
    other = data.draw(st.sampled_from("ABCxyz019_-=.\x80"))
    changed = SIGNED[:at] + other + SIGNED[at + 1 :]
    assert read(changed) == ([ID] if changed == SIGNED else [])


@searched
@given(st.text(st.characters(max_codepoint=255, exclude_characters=";"), max_size=600))
def test_junk_is_not_ours_and_no_error(junk):
    assert read(junk) == []


FORGED = {
    "the bare id": ID,
    "nothing": "",
    "another secret's": signer(COOKIE, OLD_SECRET).sign(ID),
    "another cookie's": signer("other.sid").sign(ID),
    "truncated": SIGNED[:-1],
    "only the signature": SIGNED[:43],
    "extended": f"{SIGNED}A",
    "twice": SIGNED * 2,
    "in another case": SIGNED.swapcase(),
    "padded": f"{SIGNED}==",
    "quoted and padded": f'"{SIGNED}=="',
    "not canonical": SIGNED[:-1] + chr(ord(SIGNED[-1]) + 1),
    "in the other alphabet": SIGNED.replace("-", "+").replace("_", "/") + "+",
    "with a line break": f"{SIGNED}\n",
    "with junk that base64 skips": f"{SIGNED[:20]}.{SIGNED[20:]}",
    "in a quote that is not closed": f'"{SIGNED}',
    "in two pairs of quotes": f'""{SIGNED}""',
    "with junk behind a space": f"{SIGNED} x",
    "with a byte that is no text": f"{SIGNED}\xff",
    "a signed id that is none": urlsafe_b64encode(b"\0" * 40).decode(),
    "too long": "A" * 100_000,
}


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_a_forged_value_is_not_ours(value):
    assert read(value) == []


@pytest.mark.parametrize(
    "header",
    ["{}", "theme=dark,{}", "theme=dark, {}", "{},theme=dark", "{} , theme=dark", "a=1;{}, b=2"],
)
def test_headers_that_a_server_joins_by_a_comma_are_taken_apart(header):
    found = signer().verified(header.format(f"{COOKIE}={SIGNED}"))
    assert [each.session_id for each in found] == [ID]


def many(count):
    return "; ".join(f"{COOKIE}={signer().sign(f'id{at}')}" for at in range(count))


HOSTILE = {
    "an unclosed quote": lambda size: f'{COOKIE}="' + "a" * size,
    "unclosed quotes": lambda size: f'{COOKIE}="a;' * (size // 20),
    "commas": lambda size: f"{COOKIE}=" + "," * size,
    "letters behind commas": lambda size: f"{COOKIE}=" + ",aaa" * (size // 4),
    "letters behind brackets": lambda size: f"{COOKIE}=" + "[aaa" * (size // 4),
    "brackets": lambda size: f"{COOKIE}=" + "[" * size,
    "spaces": lambda size: f"{COOKIE}=" + " " * size + "a",
    "semicolons": lambda size: f"{COOKIE}=;" + ";" * size,
    "equals signs": lambda size: f"{COOKIE}=" + "=" * size,
    "backslashes": lambda size: f'{COOKIE}="' + "\\" * size + '"',
    "names": lambda size: f"{COOKIE}=a;" * (size // 15),
    "forged values": lambda size: f"{COOKIE}={SIGNED[:-1]}A;" * (size // 90),
    "good values": lambda size: many(size // 90),
}
SIGNED_FORM = cookies._SIGNED


@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE)
def test_the_work_for_a_header_is_linear_in_its_length(made, monkeypatch):
    """CWE-1333: an unclosed quote of 16 KB held the interpreter for five seconds."""

    def work(size):
        reader, steps, texts = signer(), [], []
        header = made(size)
        assert len(header) <= LONGEST_HEADER

        def match(text):
            texts.append(len(text))
            return SIGNED_FORM.match(text)

        monkeypatch.setattr(cookies, "_SIGNED", SimpleNamespace(match=match))
        sys.setprofile(lambda *event: steps.append(event[1]))
        try:
            reader.verified(header)
        finally:
            sys.setprofile(None)
        # No expression sees more than one value, of bounded length, and each value once.
        assert max(texts, default=0) <= LONGEST_VALUE
        assert sum(texts) <= len(header)
        return len(steps)

    small, large = work(4_000), work(16_000)
    assert large <= 4.5 * small + 100


def test_no_parser_of_others_reads_what_a_client_sends():
    assert not hasattr(cookies, "parse_cookie")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webob.cookies.parse_cookie", None)
        assert read(f'"{SIGNED}"') == [ID]


@pytest.mark.parametrize("session_id", ["", "a b", "a" * 129, "\u00e9", "a\n"])
def test_a_signed_id_out_of_the_alphabet_is_not_ours(session_id):
    # Signed by ourselves: an older version may have allowed more.
    value = CookieSigner(COOKIE, [SECRET.encode()])
    signed = value._serializers[0][0]
    signed.serializer = type("Latin", (), {"dumps": lambda text: text.encode("latin-1")})
    assert read(signed.dumps(session_id).decode()) == []


OURS = f"{COOKIE}={SIGNED}"


@pytest.mark.parametrize(
    "header",
    [
        OURS,
        f'{COOKIE}="{SIGNED}"',
        f" {COOKIE} = {SIGNED} ",
        f"other=1; {OURS}; junk",
        f"other=1;{OURS}",
        f"x[0]=1; {OURS}",
        f'j={{"a":1}}; {OURS}',
        f"a=1,2; {OURS}",
        f'x="\\377"; {OURS}',
        f"caf\xc3\xa9=\xff; {OURS}",
        f"=nameless; {OURS}",
        f"; ;; {OURS};",
        f"{COOKIE}; {OURS}",
        f"{COOKIE}=; {OURS}",
        f"{COOKIE}=forged; {OURS}",
        f"{OURS}; {COOKIE}=forged",
        f"{OURS}; {OURS}",
        f"x{COOKIE}=1; {OURS}",
        f"{COOKIE}x=1; {OURS}",
        f"$Version=1; {OURS}; $Path=/",
    ],
)
def test_our_cookie_is_found_whatever_stands_beside_it(header):
    assert [found.session_id for found in signer().verified(header)] == [ID]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "other=1",
        COOKIE,
        f"x{OURS}",
        f"{COOKIE.upper()}={SIGNED}",
        f"other={OURS}",
        f"other={COOKIE}",
        f"={OURS}",
        f'other="{OURS}"',
        f"{OURS}; x={'y' * 20_000}",
    ],
)
def test_a_header_without_our_cookie_carries_no_id(header):
    assert signer().verified(header) == []


def test_all_valid_ones_of_several_are_found():
    other = signer().sign("pear")
    found = signer().verified(f"{OURS}; {COOKIE}={other}; {COOKIE}=forged")
    assert [item.session_id for item in found] == [ID, "pear"]


def test_secrets_that_were_checked_are_neither_checked_again_nor_shown(caplog):
    secrets = check_secrets("secret", "d41f8cd98f00b204")
    caplog.clear()
    assert check_secrets("other", secrets) is secrets
    assert not caplog.records
    assert repr(secrets) == "<1 secrets>"


def test_an_id_and_its_cookie_are_not_in_a_repr():
    (found,) = signer().verified(OURS)
    assert ID not in repr(found)
    assert SECRET not in repr(signer())


# On the wire.


def test_by_default_it_is_httponly_lax_and_ends_with_the_browser():
    assert Site().visit(write(a=1)).attributes == {"path": "/", "httponly": "", "samesite": "Lax"}


def test_over_https_it_is_secure_by_default():
    assert "secure" in Site().visit(write(a=1), https=True).attributes


def test_all_that_is_configured_is_sent():
    cookie = {
        "max_age": 60,
        "path": "/foo",
        "domain": ".example.com",
        "secure": True,
        "httponly": False,
        "samesite": "strict",
        "partitioned": True,
        "priority": "high",
    }
    response = Site(cookie=cookie).visit(write(a=1), "/foo", https=True)
    assert response.attributes == {
        "path": "/foo",
        "domain": ".example.com",
        "secure": "",
        "samesite": "Strict",
        "max-age": "60",
        "expires": "Tue, 14 Nov 2023 22:14:20 GMT",
        "partitioned": "",
        "priority": "High",
    }


@pytest.mark.parametrize(
    ("samesite", "sent"),
    [(True, "Strict"), ("strict", "Strict"), ("lax", "Lax"), ("none", "None"), (False, None)],
)
def test_samesite_on_the_wire(samesite, sent):
    attributes = Site(cookie={"samesite": samesite}).visit(write(a=1), https=True).attributes
    assert attributes.get("samesite") == sent


@pytest.mark.parametrize(
    ("priority", "sent"), [("low", "Low"), ("medium", "Medium"), ("high", "High"), (None, None)]
)
def test_priority_on_the_wire(priority, sent):
    attributes = Site(cookie={"priority": priority}).visit(write(a=1)).attributes
    assert attributes.get("priority") == sent


@pytest.mark.parametrize(
    ("cookie", "is_sent"),
    [({}, False), ({"partitioned": False}, False), ({"partitioned": True}, True)],
)
def test_partitioned_on_the_wire(cookie, is_sent):
    attributes = Site(cookie=cookie).visit(write(a=1), https=True).attributes
    assert ("partitioned" in attributes) is is_sent


@pytest.mark.parametrize(
    ("name", "value", "https", "sent"),
    [
        ("httponly", False, True, {"path": "/", "secure": "", "samesite": "Lax"}),
        ("secure", True, True, {"path": "/", "httponly": "", "secure": "", "samesite": "Lax"}),
        ("secure", False, True, {"path": "/", "httponly": "", "samesite": "Lax"}),
        ("secure", False, False, {"path": "/", "httponly": "", "samesite": "Lax"}),
    ],
)
@pytest.mark.parametrize("secure", ["auto", True])
def test_what_the_app_sets_on_the_session_is_in_that_response(secure, name, value, https, sent):
    site = Site(cookie={"secure": secure})
    response = site.visit(lambda s: (s.update(a=1), setattr(s.cookie, name, value)), https=https)
    assert response.attributes == sent


@pytest.mark.parametrize(
    ("path", "wire"),
    [
        ("/caf\xc3\xa9", "/caf%C3%A9"),
        ("/a b", "/a%20b"),
        ("/a,b", "/a,b"),
        ("/~user/x.y-z", "/~user/x.y-z"),
    ],
)
def test_the_path_is_sent_as_browsers_will_compare_it(path, wire):
    response = Site(cookie={"path": path}).visit(write(a=1), path)
    assert response.attributes["path"] == wire


@pytest.mark.parametrize("max_age", [60, timedelta(minutes=1)])
def test_max_age_and_expires_say_the_same(max_age):
    site = Site(cookie={"max_age": max_age})
    attributes = site.visit(write(a=1)).attributes
    assert attributes["max-age"] == "60"
    expires = parsedate_to_datetime(attributes["expires"])
    assert expires == instant(site.clock() + 60)


def test_a_part_of_a_second_is_not_rounded_up():
    response = Site(cookie={"max_age": 59.9}).visit(write(a=1))
    assert response.attributes["max-age"] == "59"


@pytest.mark.parametrize("max_age", [401 * DAY, 3_000_000_000, 1e300])
def test_a_life_beyond_what_browsers_take_is_cut_to_400_days(max_age):
    site = Site(cookie={"max_age": max_age})
    attributes = site.visit(write(a=1)).attributes
    assert attributes["max-age"] == str(400 * DAY)
    assert parsedate_to_datetime(attributes["expires"]) == instant(site.clock() + 400 * DAY)
    site.clock.advance(400 * DAY)
    assert site.visit(look).value == {"a": 1}


def test_attributes_follow_the_configuration_for_sessions_that_are_there():
    site = Site(cookie={"path": "/"})
    site.visit(write(a=1))
    restarted = Site(site.store, cookie={"httponly": False, "samesite": "strict"}, rolling=True)
    restarted.browser.cookies = site.browser.cookies
    assert restarted.visit(look).attributes == {"path": "/", "samesite": "Strict"}


def test_a_cookie_of_the_apps_own_stays_first_and_apart():
    def shape(environ, start_response):
        environ["litesess.session"]["a"] = 1
        headers = [("Set-Cookie", "previous=value"), ("Set-Cookie", "other=1")]
        start_response("200 OK", [("Content-Type", "text/plain"), *headers])
        return [b""]

    cookies = Site().visit(shape=shape).all("Set-Cookie")
    assert cookies[:2] == ["previous=value", "other=1"]
    assert len(cookies) == 3


def test_a_cookie_of_our_name_that_the_app_set_is_warned_of(caplog):
    def shape(environ, start_response):
        environ["litesess.session"]["a"] = 1
        headers = [("Set-Cookie", f"{COOKIE}=mine"), ("Content-Type", "text/plain")]
        start_response("200 OK", headers)
        return [b""]

    Site().visit(shape=shape)
    assert any(COOKIE in record.getMessage() for record in caplog.records)


# Secure, and who says that a request came by https.

FORWARDED = {"HTTP_X_FORWARDED_PROTO": "https"}


@pytest.mark.parametrize(
    ("trust_proxy", "environ", "is_https"),
    [
        (None, {}, False),
        (None, {"https": True}, True),
        (None, {"HTTPS": "on"}, True),
        (None, {"HTTPS": "1"}, True),
        (None, {"HTTPS": "off"}, False),
        (None, FORWARDED, False),
        (True, {}, False),
        (True, {"https": True}, True),
        (True, FORWARDED, True),
        (True, {"HTTP_X_FORWARDED_PROTO": "https,http"}, False),
        (True, {"HTTP_X_FORWARDED_PROTO": " http , HTTPS "}, True),
        (True, {"HTTP_X_FORWARDED_PROTO": "https,"}, False),
        (1, {"HTTP_X_FORWARDED_PROTO": "https,http"}, False),
        (1, {"HTTP_X_FORWARDED_PROTO": "http,https"}, True),
        (2, {"HTTP_X_FORWARDED_PROTO": "http,https,http"}, True),
        (2, {"HTTP_X_FORWARDED_PROTO": "https,http,https"}, False),
        (2, FORWARDED, True),
        (10**30, {"HTTP_X_FORWARDED_PROTO": "https,http"}, True),
        (True, {"HTTP_X_FORWARDED_PROTO": "http", "https": True}, False),
        (True, {"HTTP_X_FORWARDED_PROTO": "bogus"}, False),
        (False, {}, False),
        (False, {"https": True}, True),
        (False, {"HTTPS": "on"}, False),
        (False, FORWARDED, False),
        (False, {"HTTP_FORWARDED": "proto=https"}, False),
    ],
)
class TestByHttps:
    def test_auto_makes_it_secure(self, trust_proxy, environ, is_https):
        attributes = Site(trust_proxy=trust_proxy).visit(write(a=1), **environ).attributes
        assert ("secure" in attributes) is is_https

    def test_a_secure_one_is_sent(self, trust_proxy, environ, is_https):
        site = Site(trust_proxy=trust_proxy, cookie={"secure": True})
        assert site.visit(write(a=1), **environ).said == ("set" if is_https else "")

    def test_samesite_auto_is_none(self, trust_proxy, environ, is_https):
        site = Site(trust_proxy=trust_proxy, cookie={"samesite": "auto"})
        attributes = site.visit(write(a=1), **environ).attributes
        assert attributes["samesite"] == ("None" if is_https else "Lax")

    def test_a_secure_one_with_samesite_auto_is_none_or_not_sent(
        self, trust_proxy, environ, is_https
    ):
        site = Site(trust_proxy=trust_proxy, cookie={"secure": True, "samesite": "auto"})
        response = site.visit(write(a=1), **environ)
        assert response.said == ("set" if is_https else "")
        for cookie in response.set_cookies:
            assert "; Secure" in cookie
            assert "; SameSite=None" in cookie

    def test_both_auto_from_a_function_agree(self, trust_proxy, environ, is_https):
        cookie = {"samesite": "auto", "secure": "auto"}
        site = Site(trust_proxy=trust_proxy, cookie=lambda _environ: cookie)
        attributes = site.visit(write(a=1), **environ).attributes
        assert ("secure" in attributes) is is_https
        assert attributes["samesite"] == ("None" if is_https else "Lax")

    def test_partitioned_is_sent(self, trust_proxy, environ, is_https):
        site = Site(trust_proxy=trust_proxy, cookie={"partitioned": True})
        assert ("partitioned" in site.visit(write(a=1), **environ).attributes) is is_https


def test_auto_is_resolved_each_time_the_cookie_is_sent():
    site = Site(rolling=True)
    assert "secure" not in site.visit(write(a=1)).attributes
    assert "secure" in site.visit(look, https=True).attributes


def test_a_proxy_that_is_not_trusted_is_warned_of_once(caplog):
    site = Site()
    for _ in range(3):
        site.visit(write(a=1), **FORWARDED)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "trust_proxy" in record.getMessage()
    assert "forwarded_allow_ips" in record.getMessage()


# Where it is valid.


@pytest.mark.parametrize(
    ("cookie_path", "path", "is_in"),
    [
        ("/", "/", True),
        ("/", "/foo", True),
        ("/", "/foo/bar/baz", True),
        ("/admin", "/admin", True),
        ("/admin", "/admin/", True),
        ("/admin", "/admin/users", True),
        ("/admin", "/administrator", False),
        ("/admin", "/", False),
        ("/admin", "/ADMIN", False),
        ("/admin/", "/admin/x", True),
        ("/admin/", "/admin/", True),
        ("/admin/", "/admin", False),
        ("/admin/", "/administrator", False),
        ("/foo/bar", "/foo/bar/baz", True),
        ("/foo/bar", "/foo/barista", False),
        ("/foo/bar", "/foo", False),
        ("/caf\xc3\xa9", "/caf\xc3\xa9/x", True),
    ],
)
def test_a_path_is_in_scope_by_whole_segments(cookie_path, path, is_in):
    assert in_scope(path, cookie_path) is is_in


@pytest.mark.parametrize(
    ("script_name", "path_info", "is_in"),
    [
        ("", "/foo/bar", True),
        ("", "/foo/bar/baz", True),
        ("/foo", "/bar", True),
        ("/foo/bar", "", True),
        ("/foo", "/foo/bar", False),
        ("", "/", False),
        ("", "/foo/barista", False),
    ],
)
def test_below_a_mount_the_original_path_counts(script_name, path_info, is_in):
    site = Site(cookie={"path": "/foo/bar"})

    def shape(environ, start_response):
        assert ("litesess.session" in environ) is is_in
        return hello(environ, start_response)

    assert site.visit(shape=shape, path=path_info, SCRIPT_NAME=script_name).body == b"hello"


def test_a_host_header_with_a_path_in_it_moves_nothing():
    site = Site(cookie={"path": "/foo/bar"})

    def shape(environ, start_response):
        assert "litesess.session" not in environ
        return hello(environ, start_response)

    response = site.visit(shape=shape, path="/", HTTP_HOST="http://foo/bar")
    assert response.all("Set-Cookie") == response.all("Vary") == []


def test_an_empty_path_is_the_root():
    site = Site()
    response = site.visit(write(a=1), "")
    assert response.attributes["path"] == "/"
    assert site.visit(look, "").value == {"a": 1}


# Settings that depend on the request.


def test_a_function_gets_the_environ():
    site = Site(cookie=lambda environ: {"path": environ["PATH_INFO"], "httponly": False})
    assert site.visit(write(a=1), "/test").attributes == {"path": "/test", "samesite": "Lax"}


def test_a_function_is_called_once_per_request():
    called = []
    site = Site(cookie=lambda environ: called.append(environ) or {"max_age": 60}, rolling=True)
    site.visit(write(a=1))
    site.visit(write(a=2))
    assert len(called) == 2


def test_a_functions_settings_hold_for_sessions_that_are_there():
    site = Site(cookie=lambda environ: {"samesite": environ.get("test.samesite", "lax")})
    site.visit(write(a=1))
    response = site.visit(lambda session: session.rotate(), **{"test.samesite": "strict"})
    assert response.attributes["samesite"] == "Strict"


def test_a_functions_error_leaves_before_the_app_runs():
    def broken(_environ):
        raise LookupError("no such host")

    ran = []
    app = SessionMiddleware(
        lambda *arguments: ran.append(arguments) or hello(*arguments),
        secret=SECRET,
        store=MemoryStore(),
        cookie=broken,
    )
    with pytest.raises(LookupError):
        Browser(app).get()
    assert ran == []


@pytest.mark.parametrize(
    "returned", [5, {"max_age": "42"}, {"bogus": 1}, {"path": "/x", "domain": "a b"}]
)
def test_what_a_function_returns_is_checked(returned):
    with pytest.raises(ConfigError):
        Site(cookie=lambda _environ: returned).visit(look)


def test_a_function_may_return_settings_or_none():
    site = Site(cookie=lambda environ: environ.get("test.settings"))
    assert "max-age" not in site.visit(write(a=1)).attributes
    settings = {"test.settings": CookieSettings(max_age=5)}
    assert site.visit(lambda s: s.rotate(), **settings).attributes["max-age"] == "5"


def test_a_functions_settings_must_fit_the_name():
    with pytest.raises(ConfigError, match="__Host-"):
        Site(cookie_name="__Host-sid", cookie=lambda _environ: {"path": "/app"}).visit(None, "/app")


def test_no_more_than_a_thousand_verified_values_are_remembered():
    signer = CookieSigner("sid", (b"k" * 32,))
    for number in range(2500):
        value = signer.sign(f"id{number}")
        for _ in range(2):
            assert [item.session_id for item in signer.verified(f"sid={value}")] == [f"id{number}"]
        assert signer.verified(f"sid={value[:-1]}") == []
        assert len(signer._known) <= 1024


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("n" * 1025, {}),
        ("sid", {"path": "/" + "p" * 1024}),
        ("sid", {"domain": "d" * 1025}),
    ],
)
def test_what_browsers_would_ignore_for_its_length_is_refused(name, settings):
    with pytest.raises(ConfigError, match="limit 1024"):
        Site(cookie_name=name, cookie=settings)
