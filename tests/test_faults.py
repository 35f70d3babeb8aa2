"""What clients, apps, clocks and crowds do wrong, and which tests hold what happens then."""

from __future__ import annotations

import itertools
import time
from base64 import urlsafe_b64decode
from collections import Counter
from contextlib import suppress
from types import MemberDescriptorType

import pytest
from apps import (
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
from catalogues import Row, missing, rows_with_tests

from litesess import EncodeError, Session, SessionGone
from litesess.cookie import CookieSigner
from litesess.engine import FileSystem
from litesess.ids import key_of, new_id
from litesess.testing import FakeClock

ROWS: dict[str, Row] = {
    # Responses
    "HT-01": (
        "test_faults::test_whatever_is_asked_of_a_session_makes_the_response_vary_by_cookie",
        "test_faults::test_no_way_to_ask_a_session_something_was_left_out",
        "test_faults::test_what_asks_nothing_of_a_session_leaves_no_trace",
        "test_promises::test_a_request_that_does_not_look_at_its_session_costs_nothing",
    ),
    "HT-02": (
        "test_middleware::test_a_response_that_sets_the_cookie_is_private",
        "test_middleware::test_a_public_response_that_sets_the_cookie_is_warned_of",
    ),
    "HT-03": "test_middleware::test_a_response_varies_by_cookie_once",
    "HT-04": (
        "test_promises::test_a_commit_that_fails_raises_and_nothing_is_sent",
        (
            "test_middleware::test_a_commit_that_fails_at_the_first_chunk_is_raised_once_and_the"
            "_body_closed_once"
        ),
        "test_middleware::test_a_server_turns_a_failed_commit_into_an_error_page",
        "test_manager::test_after_a_failure_the_session_is_as_it_was",
    ),
    "HT-05": (
        "test_wsgi::test_every_shape_of_response_is_committed_and_announced_once",
        "test_wsgi::test_an_empty_body_still_commits",
        "test_wsgi::test_the_apps_iterable_is_closed_once",
        "test_wsgi::test_these_tests_see_bad_manners",
        "test_middleware::test_several_error_pages_before_the_first_chunk_set_one_cookie",
        "test_middleware::test_an_error_page_behind_what_was_sent_is_raised",
    ),
    "HT-06": (
        "test_promises::test_what_is_changed_while_the_body_streams_is_committed_at_its_end",
        "test_promises::test_what_cant_be_announced_any_more_is_refused",
        (
            "test_middleware::test_what_cant_be_stored_behind_the_headers_is_logged_and_the_page_is"
            "_served"
        ),
        (
            "test_middleware::test_a_store_that_fails_behind_the_headers_is_logged_and_the_page_is"
            "_served"
        ),
    ),
    "HT-07": (
        "test_wsgi::test_the_method_makes_no_difference",
        "test_wsgi::test_a_response_without_a_body_carries_the_cookie",
        "test_middleware::test_an_exception_that_escapes_commits_nothing",
    ),
    "HT-08": (
        "test_faults::test_a_logout_takes_the_cookie_back_with_the_attributes_it_was_set_with",
        "test_middleware::test_a_response_that_expires_the_cookie_is_not_stored",
    ),
    "HT-09": (
        "test_promises::test_no_id_cookie_or_secret_is_in_any_log_repr_or_error",
        "test_manager::test_no_id_cookie_or_secret_is_in_a_log_a_repr_or_an_error",
        "test_wal_store::test_debug_logs_what_the_store_does_without_ids",
    ),
    # Cookies and ids
    "CK-01": (
        "test_ids::test_an_id_carries_256_bits_in_a_cookies_alphabet",
        "test_ids::test_ten_thousand_ids_are_different",
        "test_faults::test_no_bit_of_an_id_is_likelier_set_than_not",
    ),
    "CK-02": (
        "test_faults::test_a_cookie_is_known_to_the_letter",
        "test_cookie::test_a_forged_value_is_not_ours",
    ),
    "CK-03": (
        "test_promises::test_invented_and_forged_cookies_leave_the_store_empty",
        "test_manager::test_an_id_that_is_not_stored_is_never_adopted",
        "test_cookie::test_a_forged_value_is_not_ours",
        "test_cookie::test_the_cookies_of_a_dropped_secret_start_a_new_session",
    ),
    "CK-04": (
        "test_cookie::test_every_secret_verifies",
        "test_cookie::test_the_first_secret_signs",
        "test_cookie::test_a_cookie_signed_by_an_older_secret_is_signed_again_once",
    ),
    "CK-05": (
        "test_cookie::test_no_secret_is_refused",
        "test_cookie::test_what_is_no_secret_is_a_type_error",
        "test_cookie::test_a_well_known_secret_is_refused",
        "test_cookie::test_a_secret_of_less_than_16_bytes_is_refused",
        "test_cookie::test_a_short_secret_is_warned_of_and_not_shown",
        "test_faults::test_secrets_may_be_text_and_bytes_side_by_side",
    ),
    "CK-06": (
        "test_cookie::test_our_cookie_is_found_whatever_stands_beside_it",
        "test_cookie::test_a_header_without_our_cookie_carries_no_id",
        "test_cookie::test_all_valid_ones_of_several_are_found",
        "test_faults::test_a_quoted_neighbour_swallows_no_cookie",
        "test_loading::test_two_live_sessions_at_once_are_none_and_the_client_forgets_them",
        "test_loading::test_one_live_session_among_dead_and_forged_ones_wins",
    ),
    "CK-07": (
        "test_cookie::test_a_prefix_whose_rules_the_settings_break_is_refused",
        "test_cookie::test_a_session_cant_break_the_rules_of_the_prefix_either",
        "test_cookie::test_settings_that_contradict_each_other_are_refused",
        "test_cookie::test_a_name_that_is_no_token_or_an_attributes_is_refused",
        "test_cves::test_nothing_can_be_injected_through_a_cookie_setting",
    ),
    "CK-08": (
        "test_faults::test_the_longest_cookie_is_within_what_browsers_take",
        "test_cookie::test_a_life_beyond_what_browsers_take_is_cut_to_400_days",
    ),
    "CK-09": (
        "test_faults::test_an_id_planted_before_the_login_is_worth_nothing_after_it",
        "test_promises::test_a_rotation_that_overlaps_another_gets_nothing",
        "test_servers::test_the_id_from_before_the_login_is_dead",
    ),
    "CK-10": (
        "test_cves::test_a_hostile_cookie_header_costs_little",
        "test_cookie::test_a_header_without_our_cookie_carries_no_id",
    ),
    "CK-11": "test_faults::test_an_id_anywhere_but_in_the_cookie_selects_nothing",
    # Encryption
    "CY-01": (
        "test_encryption::test_what_is_not_the_key_is_refused_and_no_byte_is_changed",
        "test_encryption::test_a_store_made_since_the_construction_is_refused_at_the_first_operation",
    ),
    "CY-02": (
        "test_encryption::test_every_record_has_a_nonce_of_its_own",
        "test_encryption::test_a_tail_that_is_torn_and_written_anew_gets_other_nonces",
        "test_encryption::test_two_copies_of_a_directory_that_both_go_on_use_no_nonce_twice",
    ),
    "CY-03": (
        "test_encryption::test_a_record_with_a_flipped_bit_and_a_good_checksum_is_refused",
        "test_encryption::test_a_header_that_was_changed_is_refused",
        "test_encryption::test_an_index_that_was_changed_is_refused",
        "test_encryption::test_a_footer_that_was_changed_is_refused",
    ),
    "CY-04": (
        "test_encryption::test_a_record_that_was_moved_is_refused",
        "test_encryption::test_a_record_of_another_file_is_refused",
        "test_encryption::test_an_entry_that_was_changed_or_moved_is_refused",
        "test_encryption::test_an_older_file_in_the_place_of_a_newer_one_is_refused",
    ),
    "CY-05": (
        "test_encryption::test_no_file_holds_a_value_an_owner_an_id_or_a_cookie_setting",
        "test_servers::test_no_file_holds_a_session_id_or_a_cookie",
    ),
    "CY-06": (
        "test_encryption::test_no_crash_loses_what_was_acknowledged_or_shown",
        "test_encryption::test_two_that_have_the_store_open_go_on_through_a_rekey",
        "test_encryption::test_after_a_rekey_nothing_is_left_under_the_old_data_key",
        (
            "test_encryption::test_no_acknowledged_write_is_lost_to_kills_while_the_data_key_is"
            "_changed"
        ),
    ),
    "CY-07": "test_crypto::test_a_file_cant_ask_for_a_derivation_that_is_cheap_or_endless",
    "CY-08": (
        "test_engine_keys::test_the_documented_encrypted_log_is_read_as_the_page_says",
        "test_engine_keys::test_the_engine_writes_the_documented_encrypted_files",
    ),
    "CY-09": "none: a benchmark; 'encryption' of benchmarks/engine.py measures it",
    # The clock
    "TI-01": "testing::test_what_was_collected_stays_dead_if_the_clock_is_set_back",
    "TI-02": "test_faults::test_a_clock_that_is_set_back_revives_only_what_has_time_left_by_it",
    "TI-03": (
        "test_collector::test_a_clock_that_jumps_ends_no_session",
        "test_collector::test_an_automatic_compaction_after_a_jump_ends_no_session",
    ),
    "TI-04": (
        "testing::test_a_session_expires_exactly_then",
        "test_manager::test_an_absolute_timeout_is_never_extended",
        "test_manager::test_touches_are_throttled_to_one_a_minute",
    ),
    "TI-05": (
        "test_promises::test_a_session_expires_exactly_at_its_end",
        "test_manager::test_an_expired_session_gets_another_id",
    ),
    "TI-06": (
        "test_faults::test_another_life_in_the_configuration_moves_no_end_that_is_stored",
        "test_manager::test_an_absolute_timeout_set_later_ends_sessions_that_are_there",
    ),
    # Crowds and large things
    "RS-01": (
        "test_faults::test_ten_thousand_strangers_cost_the_disk_nothing",
        "test_promises::test_invented_and_forged_cookies_leave_the_store_empty",
    ),
    "RS-02": "none: a benchmark; 'opening' of benchmarks/engine.py measures a million sessions",
    "RS-03": (
        "test_manager::test_a_session_too_large_is_refused_naming_its_largest_key",
        "test_manager::test_a_value_that_cant_be_stored_stops_all_that_comes_with_it",
        "test_codec::test_what_cant_be_stored_is_named_by_its_path",
        "test_codec::test_the_same_depth_is_refused_whatever_lies_there",
        "test_codec::test_a_cycle_is_refused",
    ),
    "RS-04": (
        "test_limits::test_beyond_max_sessions_no_anonymous_session_is_begun_and_nobody_is_put_out",
        "test_limits::test_who_logs_in_is_let_in",
    ),
    "RS-05": "none: a day is no test; test_processes holds disk and descriptors bounded a while",
    "RS-06": "none: a benchmark; 'compaction' of benchmarks/engine.py measures what readers notice",
    "RS-07": (
        "test_limits::test_a_session_of_too_many_keys_is_refused",
        "test_faults::test_keys_that_collide_cost_little",
    ),
}


def test_every_row_of_the_groups_is_there():
    counts = {"HT": 9, "CK": 11, "CY": 9, "TI": 6, "RS": 7}
    assert list(ROWS) == [
        f"{group}-{number:02}" for group, last in counts.items() for number in range(1, last + 1)
    ]


@pytest.mark.parametrize("row", rows_with_tests(ROWS))
def test_the_tests_of_each_row_exist(row):
    assert missing(ROWS[row]) == []


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
}

#: What is public for the manager, which looks for the app.
MANAGERS = {"accessed"}


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "stranger"])
@pytest.mark.parametrize("ask", LOOKS.values(), ids=LOOKS)
def test_whatever_is_asked_of_a_session_makes_the_response_vary_by_cookie(ask, is_known):
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
    assert public - MANAGERS == public & LOOKS.keys()


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
    site = Site()
    thief, victim = site.new_browser(), site.new_browser()
    site.visit(write(cart=1), by=thief)
    victim.cookies = dict(thief.cookies)
    planted = f"{COOKIE}={thief.cookies[COOKIE]}"
    assert site.visit(log_in, by=victim).said == "set"
    assert site.visit(look, by=thief).value == {}
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
