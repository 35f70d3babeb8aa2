"""RedisStore: what the contract does not say of it, on real servers."""

from __future__ import annotations

import os
import re
import threading
import time

import pytest
import redis
from redis.cluster import LoadBalancingStrategy

from litesess import ConfigError, DecryptError, Record, StoreClosed, StoreUnavailable
from litesess.ids import handle_of, key_of
from litesess.stores.address import URL_OPTIONS
from litesess.stores.base import MOVED_FOR
from litesess.stores.redis import RedisStore
from tests.tools.apps import Site, look, write
from tests.tools.redises import needs_redis, redis_server
from tests.tools.servers import ROOT, wait_until

pytestmark = needs_redis

KEY, OTHER, MOVED = key_of("first"), key_of("second"), key_of("third")
FAR = 1e10
PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    options = ("--notify-keyspace-events", "Ex")
    with redis_server(tmp_path_factory.mktemp("redis"), *options) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server):
    server.client.flushall()


@pytest.fixture
def store(server):
    with RedisStore(server.url) as store:
        yield store


def put(store, key=KEY, *, life=100, owner=None, **data):
    now = store.clock()
    assert store.create(key, Record(data, now, now + life, owner=owner))


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "options", "words"),
        [
            ("http://host/", {}, "no such scheme; known are redis://"),
            ("redis://host:port/", {}, "can't be read"),
            ("redis+sentinel://host:1/", {}, "SERVICE"),
            (7, {}, "neither a URL nor a redis client"),
            ("redis://:hunter2/x@host", {}, "can't be read"),
            ("redis://:hunter2@host?timeout=hunter2", {}, "timeout in the URL .* is not a number"),
            ("redis://host?timout=2", {}, "did you mean 'timeout'"),
            ("redis://host?socket_timeout=2", {}, "own 'timeout' decides"),
            ("redis://host?prefix=a:", {"prefix": "b:"}, "with two values"),
            ("redis://host?ssl=1", {}, "rediss:// is TLS"),
            ("redis://host?ssl_ca_certs=/etc", {}, "needs TLS"),
            ("rediss://host?ssl_ca_certs=/no/file", {}, "is not a file that exists"),
            ("rediss://host?ssl_cert_reqs=maybe", {}, "is not required, optional or none"),
            ("redis://host?max_connections=0", {}, "is not a number above zero"),
            ("redis://one,two", {}, "several servers"),
            ("redis://:hunter2@host?decode_responses=1", {}, "leave decode_responses out"),
            ("redis+sentinel://:hunter2@host/it?ssl=maybe", {}, "ssl in the URL .* true or false"),
            ("redis+cluster://:hunter2@host:1/3", {}, "no other database than 0"),
            ("redis://host", {"prefix": ""}, "prefix"),
            ("redis://host", {"prefix": "a*"}, "prefix"),
            ("redis://host", {"prefix": "a{"}, "leave it out"),
            ("redis://host", {"prefix": "{}:"}, "leave it out"),
            ("redis://host", {"timout": 3}, "did you mean 'timeout'"),
            ("redis://host", {"encryption_key": "short"}, "encryption_key"),
        ],
    )
    def test_a_wrong_one_is_named_with_the_cure(self, given, options, words):
        with pytest.raises(ConfigError, match=words) as failure:
            RedisStore(given, **options)
        assert "hunter2" not in str(failure.value)

    def test_the_options_of_a_url_are_those_that_the_docs_list(self):
        text = (ROOT / "docs" / "redis.rst").read_text("utf-8")
        table = text.split("with the nearest name:")[1].split("For other settings")[0]
        rows = [line for line in table.splitlines() if line.startswith("``")]
        listed = {name for row in rows for name in re.findall(r"``(\w+)``", row[:38])}
        assert listed == {*URL_OPTIONS}

    def test_a_client_that_decodes_is_refused(self):
        with pytest.raises(ConfigError, match="decodes"):
            RedisStore(redis.Redis(decode_responses=True))

    @pytest.mark.slow
    def test_a_client_that_reads_from_replicas_is_refused(self, redis_cluster_url):
        """What was just ended may be there yet."""
        _, _, port = redis_cluster_url.rpartition(":")
        strategy = LoadBalancingStrategy.ROUND_ROBIN
        client = redis.RedisCluster("127.0.0.1", int(port), load_balancing_strategy=strategy)
        with client, pytest.raises(ConfigError, match="reads from replicas"):
            RedisStore(client)

    def test_nothing_is_connected_before_the_first_operation(self):
        store = RedisStore("redis://:hunter2@127.0.0.1:1/0", timeout=0.05)
        with pytest.raises(StoreUnavailable) as failure:
            store.load(KEY)
        for text in (str(failure.value), repr(store)):
            assert "hunter2" not in text
            assert "127.0.0.1:1" in text

    def test_a_client_of_ones_own_is_used_and_left_open(self, server):
        client = server.client
        with RedisStore(client) as store:
            put(store)
        assert client.ping()
        with pytest.raises(StoreClosed):
            store.load(KEY)

    def test_two_prefixes_are_two_stores(self, server, store):
        put(store)
        other = RedisStore(server.url, prefix="other:")
        assert other.load(KEY) is None
        assert len(other) == 0
        other.clear()
        assert store.load(KEY) is not None

    def test_a_store_does_not_take_those_of_a_longer_prefix_for_its_own(self, server, store):
        other = RedisStore(server.url, prefix="litesess:s:{x}")
        put(other)
        assert [*store.records()] == []
        store.collect()
        store.clear()
        assert other.load(KEY) is not None


def test_a_read_is_one_round_trip_and_a_write_is_one(server, store):
    site = Site(store, clock=store.clock)
    for number in range(2):  # the scripts are known then
        site.visit(write(n=number))
    client = store._link.client
    sent = []
    make = client.connection_pool.get_connection

    def counting(*arguments, **options):
        sent.append(1)
        return make(*arguments, **options)

    client.connection_pool.get_connection = counting
    site.visit(look)
    assert len(sent) == 1
    sent.clear()
    site.visit(write(n=7))
    assert len(sent) == 2  # it was looked at, then written
    sent.clear()
    site.visit()
    assert sent == []


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.touch(KEY, store.clock() + 150),
        lambda store: store.update(KEY, {"a": 1}, [], expires_at=store.clock() + 150),
    ],
)
def test_the_first_change_after_a_login_is_one_call(server, store, change):
    put(store, owner="7")
    server.client.config_resetstat()
    assert change(store)
    calls = server.client.info("commandstats")
    assert sum(calls[name]["calls"] for name in calls if "eval" in name) <= 2  # unknown, then told
    assert "cmdstat_zadd" not in calls


class TestWhatIsLeft:
    def test_every_key_ends_by_itself_but_the_key_file(self, server, store):
        put(store, owner="7")
        store.rotate(KEY, OTHER, {"a": 1}, [], owner="8")
        lives = {name: server.client.pttl(name) for name in server.client.scan_iter()}
        assert lives.pop(b"litesess:keys") == -1
        assert len(lives) >= 3
        assert all(0 < life <= 3_600_000 for life in lives.values()), lives

    def test_redis_removes_what_has_expired(self, server, store):
        put(store, life=0.05)
        wait_until(lambda: not [*server.client.scan_iter("litesess:s:*")], "it is removed")

    def test_an_owners_index_forgets_what_has_ended(self, server, store):
        for number in range(20):
            put(store, key_of(str(number)), owner="7")
            store.delete(key_of(str(number)))
        assert [*server.client.scan_iter("litesess:o:*")] == []

    def test_a_session_that_is_touched_over_and_over_is_found_all_the_time(self, clock, server):
        store = RedisStore(server.url, clock=clock)
        put(store, owner="7")
        for _ in range(50):
            clock.advance(90)
            assert store.touch(KEY, clock() + 100)
            assert [key for key, _ in store.find("7")] == [KEY]
        assert store.delete_owner("7") == 1


def listeners(server):
    return len(server.client.client_list(_type="pubsub"))


class TestEvents:
    def test_an_expiry_is_told_once_though_two_listen(self, server):
        told = []
        stores = [RedisStore(server.url) for _ in range(2)]
        for store in stores:
            store.listeners.append(lambda event: told.append((event.name, event.handle)))
            store.load(KEY)
        wait_until(lambda: listeners(server) == 2, "both listen")
        put(stores[0], life=0.05)
        put(stores[0], OTHER, life=0.1)
        # In any order: Redis removes them, and each of the two hears of them, as it comes.
        expected = [("expired", handle_of(key)) for key in (KEY, OTHER)]
        wait_until(lambda: {*expected} <= {*told}, "both are told")
        for store in stores:
            store.close()
        wait_until(lambda: listeners(server) == 0, "neither listens")
        assert [told.count(event) for event in expected] == [1, 1]
        assert told.count(("created", handle_of(KEY))) == 1

    @pytest.mark.parametrize("prefix", ["litesess:", "my app:", "{tag}:"])
    def test_an_expiry_is_told_to_the_store_whose_it_is(self, server, prefix):
        """One in another database was told to all; under a prefix with a space, none was."""
        stores = [RedisStore(f"{server.url}/{number}", prefix=prefix) for number in range(2)]
        told = [[], []]
        for store, its in zip(stores, told, strict=True):
            store.listeners.append(lambda event, its=its: its.append(event.handle))
            store.load(KEY)
        wait_until(lambda: listeners(server) == 2, "both listen")
        keys = [key_of(str(number)) for number in range(2)]
        for store, key in zip(stores, keys, strict=True):
            put(store, key, life=0.05)
        # That it began, and that it has expired.
        wait_until(lambda: all(len(its) >= 2 for its in told), "both are told")
        for store in stores:
            store.close()
        assert told == [[handle_of(key)] * 2 for key in keys]

    def test_nobody_connects_for_events_that_nobody_hears(self, server, store):
        wait_until(lambda: listeners(server) == 0, "those of other tests have gone")
        put(store)
        assert listeners(server) == 0


def test_two_logins_at_once_leave_the_later_one_where_one_is_allowed(server, clock):
    """They ended each other."""
    one, two = (RedisStore(server.url, clock=clock, max_per_owner=1) for _ in range(2))
    find = one._owners.find

    def find_late(owner, now):
        one._owners.find = find
        clock.advance(1)
        put(two, OTHER, owner=owner)
        return find(owner, now)

    one._owners.find = find_late
    put(one, owner="7")
    assert [key for key, _ in one.find("7")] == [OTHER]


def test_a_session_that_goes_on_puts_nobody_out(server, clock):
    store = RedisStore(server.url, clock=clock)
    for number in range(3):
        put(store, key_of(str(number)), owner="7")
        clock.advance(1)
    limited = RedisStore(server.url, clock=clock, max_per_owner=2)
    limited.update(key_of("0"), {"a": 1}, [], owner="7")
    assert len(limited.find("7")) == 3


def test_a_login_just_before_its_former_session_is_put_out_stays(server, clock):
    """The oldest session of the owner's becomes the newest between the look and the deletion."""
    with (
        RedisStore(server.url, clock=clock) as other,
        RedisStore(server.url, clock=clock, max_per_owner=2) as store,
    ):
        for name in "ab":
            put(other, key_of(name), owner="ada")
            clock.advance(1)
        delete = store._deletion.delete

        def late(*arguments, **options):
            store._deletion.delete = delete
            assert other.rotate(key_of("a"), key_of("again"), {}, [], owner="ada")
            return delete(*arguments, **options)

        store._deletion.delete = late
        put(store, key_of("c"), owner="ada")
        assert other.load(key_of("again")) is not None
        assert {key for key, _ in other.find("ada")} == {key_of("again"), key_of("c")}


def test_no_more_sessions_than_allowed_are_left_to_an_owner(server):
    store = RedisStore(server.url, max_per_owner=3)
    put(store, OTHER, owner="8")

    def log_in(first):
        for number in range(5):
            put(store, key_of(f"{first} {number}"), owner="7")

    threads = [threading.Thread(target=log_in, args=(each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(store.find("7")) <= 3
    assert len(store.find("8")) == 1


REPLACED = lambda store: store.replace(KEY, MOVED, Record({}, store.clock(), FAR))  # noqa: E731
RENEWALS = {
    "rotated": lambda store: store.rotate(KEY, MOVED, {}, ()),
    "logged in as the same": lambda store: store.rotate(KEY, MOVED, {}, (), owner="7"),
    "logged in as another": lambda store: store.rotate(KEY, MOVED, {}, (), owner="8"),
    "replaced": REPLACED,
}


@pytest.mark.parametrize("renewal", RENEWALS.values(), ids=RENEWALS)
class TestTheEndOfAnOwnersSessions:
    @pytest.fixture
    def at_first(self, store, monkeypatch):
        """Let something happen when the sessions are listed, and none is deleted."""

        def put_in_between(act):
            deletion = store._deletion
            end, todo = deletion.delete, [act]

            def act_first(*arguments, **options):
                if todo:
                    todo.pop()()
                return end(*arguments, **options)

            monkeypatch.setattr(deletion, "delete", act_first)

        for key in KEY, OTHER:
            put(store, key, owner="7")
        put(store, key_of("8's"), owner="8")
        return put_in_between

    def test_no_new_id_carries_one_past_it(self, store, at_first, renewal):
        at_first(lambda: renewal(store))
        assert store.delete_owner("7") == 2
        # What is begun in the place of one that has ended already is another one, of no owner.
        expected = {key_of("8's"), MOVED} if renewal is REPLACED else {key_of("8's")}
        assert {key for key, _ in store.records()} == expected
        assert store.find("7") == []

    @pytest.mark.parametrize("name", [KEY, handle_of(KEY)], ids=["key", "handle"])
    @pytest.mark.parametrize("is_before", [False, True])
    def test_one_to_keep_is_kept_under_its_new_id(self, store, at_first, renewal, name, is_before):
        if is_before:
            renewal(store)
        else:
            at_first(lambda: renewal(store))
        assert store.delete_owner("7", keep=[name]) == 1
        assert {key for key, _ in store.records()} == {MOVED, key_of("8's")}


def test_what_became_anothers_before_the_end_of_its_owners_sessions_stays(store):
    put(store, KEY, owner="7")
    store.rotate(KEY, MOVED, {}, (), owner="8")
    assert store.delete_owner("7") == 0
    assert store.load(MOVED).owner == "8"


def test_what_was_rotated_so_long_ago_that_nothing_leads_there_is_deleted(server, clock):
    store = RedisStore(server.url, clock=clock)
    for key in KEY, OTHER:
        put(store, key, owner="7", life=2 * MOVED_FOR)
    clock.advance(1)
    deletion = store._deletion
    end = deletion.delete

    def end_late(*arguments, **options):
        deletion.delete = end
        store.rotate(KEY, MOVED, {}, ())
        clock.advance(MOVED_FOR + 1)
        return end(*arguments, **options)

    deletion.delete = end_late
    assert store.delete_owner("7") == 2
    assert list(store.records()) == []


def test_sessions_that_begin_while_their_owners_end_do_not_keep_that_busy(store):
    for key in KEY, OTHER:
        put(store, key, owner="7")
    store.listeners.append(
        lambda event: event.name == "destroyed" and put(store, key_of(event.handle), owner="7")
    )
    assert store.delete_owner("7") == 2
    assert len(store.find("7")) == 2


@pytest.mark.parametrize("spoil", ["string", "time", "value"])
def test_a_session_that_somebody_has_spoilt_stops_no_deletion(server, caplog, spoil):
    store = RedisStore(server.url, encryption_key=PASSPHRASE)
    for key in sorted([KEY, OTHER, MOVED]):
        put(store, key, owner="7", n=1)
    name = f"litesess:s:{{{sorted([KEY, OTHER, MOVED])[0]}}}"
    if spoil == "string":
        server.client.set(name, "foreign")
    elif spoil == "time":
        server.client.hset(name, "e", "never")
    else:
        server.client.hset(name, "=n", b"x" * 40)
    assert store.delete_owner("7") == 2
    assert list(store.find("7")) == [] if spoil != "string" else server.client.get(name)
    assert ("no session of ours" if spoil == "string" else "is damaged") in caplog.text


@pytest.mark.parametrize("kind", "smp")
def test_something_foreign_under_a_key_like_ours_stops_nothing(server, clock, kind):
    """An operator could not end all sessions in an emergency."""
    store = RedisStore(server.url, clock=clock)
    server.client.set(f"litesess:{kind}:{{{key_of('foreign')}}}", "foreign")
    put(store, KEY, owner="7")
    assert [key for key, _ in store.records()] == [KEY]
    put(store, OTHER, life=5)
    clock.advance(6)
    assert store.collect() == 1
    store.clear()
    assert list(store.records()) == []
    assert store.load(KEY) is None


def test_the_end_of_many_sessions_asks_redis_a_few_times_for_each(store):
    for count in 300, 600:
        for number in range(count):
            put(store, key_of(str(number)), owner="7")
        asked, do = [], store._link.do
        store._link.do = lambda ask, do=do, asked=asked, **options: (
            asked.append(1) or do(ask, **options)
        )
        assert store.delete_owner("7") == count
        store._link.do = do
        assert len(asked) <= 2 * count + 10


def test_several_sessions_are_deleted_in_as_many_round_trips_as_one(store):
    """A logout of several sessions took two for each."""
    asked, do = [], store._link.do
    store._link.do = lambda ask, **options: asked.append(1) or do(ask, **options)
    counts = []
    for count in 1, 30:
        keys = [key_of(str(number)) for number in range(count)]
        for key in keys:
            put(store, key, owner="7")
        asked.clear()
        assert store.delete_all(keys) == count
        counts.append(len(asked))
    assert counts == [1, 1]
    assert store.find("7") == []


def test_beside_a_session_that_was_tampered_with_the_others_are_deleted_and_told_of(server, clock):
    store = RedisStore(server.url, clock=clock, encryption_key=b"k" * 32)
    told = []
    store.listeners.append(told.append)
    for key in KEY, OTHER:
        put(store, key)
    told.clear()
    server.client.hset(f"litesess:s:{{{KEY}}}", "=a", b"x" * 40)
    assert store.delete_all([KEY, OTHER]) == 1
    assert not server.client.exists(*(f"litesess:s:{{{key}}}" for key in (KEY, OTHER)))
    assert [(event.name, event.handle) for event in told] == [("destroyed", handle_of(OTHER))]


def test_the_session_of_a_request_that_has_not_read_it_is_kept(server, clock):
    store = RedisStore(server.url, clock=clock)
    site = Site(store, clock=clock)
    browsers = [site.new_browser() for _ in range(2)]
    for browser in browsers:
        site.visit(lambda s: setattr(s, "owner", 7), by=browser)
    assert site.visit(lambda s: store.delete_owner(7, keep=[s]), by=browsers[1]).value == 1
    seen = [site.visit(lambda s: s.owner, by=browser).value for browser in browsers]
    assert seen == [None, "7"]


class TestEncryption:
    @pytest.fixture
    def sealed(self, server):
        with RedisStore(server.url, encryption_key=PASSPHRASE) as store:
            yield store

    def test_redis_sees_no_value_owner_or_browser(self, server, sealed):
        now = time.time()
        # Longer than what random hexadecimal digits and bytes spell by chance.
        client = {"user_agent": "Lynx/9"}
        record = Record(
            {"card": "four ones, twice"},
            now,
            now + 100,
            {"domain": "shop.example"},
            "the-owner",
            client=client,
        )
        assert sealed.create(KEY, record)
        sealed.update(KEY, {"pin": "nine to six"}, [])
        dump = b"".join(server.client.dump(name) for name in server.client.scan_iter())
        for text in (
            b"four ones",
            b"nine to six",
            b"the-owner",
            b"Lynx/9",
            b"shop.ex",
            PASSPHRASE.encode(),
        ):
            assert text not in dump
        assert sealed.load(KEY).data == {"card": "four ones, twice", "pin": "nine to six"}
        assert [key for key, _ in sealed.find("the-owner")] == [KEY]

    @pytest.mark.parametrize("key", [None, "another passphrase", bytes(32)])
    def test_another_key_or_none_is_refused_and_nothing_changes(self, server, sealed, key):
        put(sealed, n=1)
        before = {name: server.client.dump(name) for name in server.client.scan_iter()}
        with RedisStore(server.url, encryption_key=key) as other, pytest.raises(DecryptError):
            other.clear()
        assert {name: server.client.dump(name) for name in server.client.scan_iter()} == before

    def test_a_key_for_what_is_in_the_clear_is_refused(self, server, store):
        put(store)
        other = RedisStore(server.url, encryption_key=PASSPHRASE)
        with other, pytest.raises(DecryptError, match="not encrypted"):
            other.load(KEY)
        server.client.delete("litesess:keys")
        other = RedisStore(server.url, encryption_key=PASSPHRASE)
        with other, pytest.raises(DecryptError, match="key file is missing"):
            other.load(KEY)

    @pytest.mark.parametrize(("key", "field"), [(OTHER, "=role"), (KEY, "=name")])
    def test_a_session_with_a_value_from_elsewhere_is_none(
        self, server, sealed, caplog, key, field
    ):
        put(sealed, KEY, role="admin", name="ada")
        put(sealed, OTHER, role="guest", name="eve")
        value = server.client.hget(f"litesess:s:{{{KEY}}}", "=role")
        server.client.hset(f"litesess:s:{{{key}}}", field, value)
        assert sealed.load(key) is None
        assert f"{handle_of(key)} is damaged" in caplog.text
        assert "tampered" in caplog.text

    def test_a_rotation_seals_for_the_new_key(self, sealed):
        put(sealed, owner="7", n=1)
        assert sealed.rotate(KEY, OTHER, {"m": 2}, []).data == {"n": 1, "m": 2}
        assert sealed.load(OTHER).data == {"n": 1, "m": 2}
        assert sealed.update(KEY, {"late": 3}, []).data == {"n": 1, "m": 2, "late": 3}


def test_names_and_values_of_any_letters_come_back(store):
    data = {"": 1, "=": 2, "e": 3, "\0\n{}": "\u20ac", "\U0001f600": [b"\0\xff"], "~draft ": None}
    put(store, **data)
    assert store.load(KEY).data == data
    del data["e"]
    assert store.update(KEY, {"v": 9}, ["e"]).data == {**data, "v": 9}


def test_a_large_session_is_kept(store):
    data = {str(number): "x" * 60 for number in range(1000)}
    put(store, **data)
    assert store.update(KEY, dict.fromkeys(data, "y"), []).data == dict.fromkeys(data, "y")


def test_a_process_that_was_forked_goes_on_by_itself(store):
    put(store, n=1)
    child = os.fork()
    if child == 0:
        try:
            assert store.load(KEY).data["n"] == 1  # the parent may have been faster
            assert store.update(KEY, {"child": 1}, [])
            os._exit(0)
        finally:
            os._exit(1)
    assert store.update(KEY, {"parent": 1}, [])
    assert os.waitpid(child, 0)[1] == 0
    assert store.load(KEY).data == {"n": 1, "child": 1, "parent": 1}
