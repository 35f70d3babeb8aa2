"""RedisStore: what the contract does not say of it, on real servers."""

from __future__ import annotations

import os
import threading
import time

import pytest
import redis
from apps import Site, look, write
from redis.cluster import LoadBalancingStrategy
from redises import needs_redis, redis_server
from servers import wait_until

from litesess import ConfigError, DecryptError, Record, StoreClosed, StoreUnavailable
from litesess.ids import handle_of, key_of
from litesess.stores.redis import RedisStore

pytestmark = needs_redis

KEY, OTHER = key_of("first"), key_of("second")
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
            ("redis://:hunter2@host?timeout=hunter2", {}, "URL of the Redis server is wrong"),
            ("redis://:hunter2@host?decode_responses=1", {}, "leave decode_responses out"),
            ("redis+sentinel://:hunter2@host/it?ssl=1", {}, "takes no options; give a redis"),
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
        assert all(0 < life <= 1_200_000 for life in lives.values()), lives

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
    find = one.find

    def find_late(owner):
        del one.find
        clock.advance(1)
        put(two, OTHER, owner=owner)
        return find(owner)

    one.find = find_late
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


class TestEncryption:
    @pytest.fixture
    def sealed(self, server):
        with RedisStore(server.url, encryption_key=PASSPHRASE) as store:
            yield store

    def test_redis_sees_no_value_owner_or_browser(self, server, sealed):
        now = time.time()
        client = {"user_agent": "Lynx/9"}
        record = Record(
            {"card": "4111 1111"}, now, now + 100, {"domain": "shop"}, "ada", client=client
        )
        assert sealed.create(KEY, record)
        sealed.update(KEY, {"pin": "9876"}, [])
        dump = b"".join(server.client.dump(name) for name in server.client.scan_iter())
        for text in (b"4111", b"9876", b"ada", b"Lynx", b"shop", PASSPHRASE.encode()):
            assert text not in dump
        assert sealed.load(KEY).data == {"card": "4111 1111", "pin": "9876"}
        assert [key for key, _ in sealed.find("ada")] == [KEY]

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
    def test_a_value_that_was_moved_elsewhere_is_refused(self, server, sealed, key, field):
        put(sealed, KEY, role="admin", name="ada")
        put(sealed, OTHER, role="guest", name="eve")
        value = server.client.hget(f"litesess:s:{{{KEY}}}", "=role")
        server.client.hset(f"litesess:s:{{{key}}}", field, value)
        with pytest.raises(DecryptError, match="tampered"):
            sealed.load(key)

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
