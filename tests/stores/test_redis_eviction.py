"""RedisStore where Redis has evicted an index, a generation, the key file or a session.

What Redis evicts under pressure is what it likes; here the same keys are deleted by hand.
"""

from __future__ import annotations

import logging

import pytest

from litesess import DecryptError, Record
from litesess.ids import handle_of, key_of
from litesess.stores.redis import RedisStore
from litesess.stores.redis.upkeep import Upkeep
from tests.tools.redises import needs_redis, redis_server

pytestmark = needs_redis

A, B, C, D = map(key_of, "abcd")
PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server):
    server.client.flushall()


@pytest.fixture(params=["server", pytest.param("cluster", marks=pytest.mark.slow)])
def place(request, server, tmp_path):
    """Return a client that sees the keys of one prefix, and what makes stores of that."""
    if request.param == "server":
        return Place(server.url, f"{tmp_path}:")
    return Place(request.getfixturevalue("redis_cluster_url"), f"{tmp_path}:")


class Place:
    def __init__(self, url: str, prefix: str) -> None:
        self._url, self._prefix = url, prefix

    def store(self, clock, **options):
        return RedisStore(self._url, prefix=self._prefix, clock=clock, **options)

    def evict(self, store, kind):
        """Let Redis lose all keys of a kind, and return how many."""
        client = store._link.client
        names = [*client.scan_iter(f"{self._prefix}{kind}*")]
        for name in names:
            client.delete(name)
        return len(names)

    def names(self, store, kind):
        return [*store._link.client.scan_iter(f"{self._prefix}{kind}*")]


def begin(store, key, owner="ada", life=100):
    now = store.clock()
    assert store.create(key, Record({"n": 1}, now, now + life, owner=owner))


class TestAnEvictedIndex:
    def test_all_sessions_of_the_owner_end(self, place, clock):
        with place.store(clock) as store:
            for key in A, B:
                begin(store, key)
            begin(store, C, "bob")
            assert place.evict(store, "o:") == 2
            assert store.delete_owner("ada") == 0
            assert store.load(A) is None
            assert store.update(A, {"n": 2}, ()) is None
            assert not store.touch(B, clock() + 200)
            assert store.rotate(B, D, {}, (), owner="bob") is None
            assert store.load_all([A, B, C])[:2] == [None, None]
            assert [key for key, _ in store.records()] == [C]
            assert len(store) == 1
            assert store.load(C).owner == "bob"

    @pytest.mark.parametrize("name", [str, handle_of], ids=["key", "handle"])
    def test_one_to_keep_is_kept(self, place, clock, name):
        with place.store(clock) as store:
            for key in A, B:
                begin(store, key)
            place.evict(store, "o:")
            store.delete_owner("ada", keep=[name(A)])
            assert store.load(A) is not None
            assert store.load(B) is None
            # It is part of the next generation alone.
            assert store.delete_owner("ada") in {0, 1}
            assert store.load(A) is None

    def test_one_to_keep_that_was_rotated_is_kept(self, place, clock):
        with place.store(clock) as store:
            for key in A, B:
                begin(store, key)
            place.evict(store, "o:")
            store.rotate(A, C, {}, ())
            store.delete_owner("ada", keep=[A])
            assert store.load(C) is not None
            assert store.load(B) is None

    def test_a_login_afterwards_is_not_ended(self, place, clock):
        with place.store(clock) as store:
            begin(store, A)
            place.evict(store, "o:")
            store.delete_owner("ada")
            begin(store, B)
            assert store.load(A) is None
            assert [key for key, _ in store.find("ada")] == [B]

    @pytest.mark.parametrize(
        "change",
        [
            lambda store: store.touch(A, store.clock() + 150),
            lambda store: store.update(A, {"n": 2}, (), expires_at=store.clock() + 150),
        ],
        ids=["touch", "update"],
    )
    def test_the_next_touch_puts_the_session_back(self, place, clock, change):
        with place.store(clock) as store:
            begin(store, A)
            place.evict(store, "o:")
            assert change(store)
            assert [key for key, _ in store.find("ada")] == [A]
            assert store.delete_owner("ada") == 1

    def test_what_has_ended_is_deleted_and_told_of_where_it_is_seen(self, place, clock):
        with place.store(clock) as store:
            told = []
            begin(store, A)
            place.evict(store, "o:")
            store.delete_owner("ada")
            store.listeners.append(lambda event: told.append((event.name, event.handle)))
            for _ in range(2):
                assert store.load(A) is None
            assert told == [("destroyed", handle_of(A))]
            assert place.names(store, "s:") == []


class TestAnEvictedGeneration:
    def test_the_owners_sessions_end(self, place, clock):
        with place.store(clock) as store:
            begin(store, A)
            begin(store, B, None)
            assert place.evict(store, "g:") == 1
            assert store.load(A) is None
            assert store.load(B) is not None

    def test_the_next_login_brings_none_back(self, place, clock):
        with place.store(clock) as store:
            begin(store, A)
            place.evict(store, "g:")
            begin(store, B)
            assert [key for key, _ in store.find("ada")] == [B]
            assert store.load(A) is None
            store.delete_owner("ada")
            assert len(store) == 0

    def test_it_lives_as_long_as_the_sessions(self, place, clock):
        with place.store(clock) as store:
            begin(store, A)
            for _ in range(30):
                clock.advance(90)
                assert store.touch(A, clock() + 100)
            (name,) = place.names(store, "g:")
            assert store._link.client.pttl(name) >= 100_000


def test_an_evicted_session_is_gone_and_its_owner_logs_in_again(place, clock):
    with place.store(clock) as store:
        begin(store, A)
        assert place.evict(store, "s:") == 1
        assert store.load(A) is None
        assert store.find("ada") == []
        assert store.update(A, {"n": 2}, ()) is None
        begin(store, A)
        assert store.delete_owner("ada") == 1


def test_without_its_forwarding_record_a_rotation_is_complete(place, clock):
    with place.store(clock) as store:
        begin(store, A)
        store.rotate(A, B, {"n": 2}, ())
        assert place.evict(store, "m:") == 1
        assert store.update(A, {"late": 1}, ()) is None
        assert store.load(B).data == {"n": 2}
        assert store.delete_owner("ada") == 1


OPERATIONS = {
    "load": lambda store: store.load(A),
    "create": lambda store: begin(store, B),
    "update": lambda store: store.update(A, {"n": 2}, ()),
    "touch": lambda store: store.touch(A, store.clock() + 150),
    "rotate": lambda store: store.rotate(A, B, {}, ()),
    "replace": lambda store: store.replace(A, B, Record({}, store.clock(), store.clock() + 9)),
    "delete": lambda store: store.delete(B),
    "collect": lambda store: store.collect(),
    "list": lambda store: list(store.records()),
}


class TestAnEvictedKeyFile:
    @pytest.mark.parametrize("key", [None, PASSPHRASE])
    @pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
    def test_a_worker_that_knows_it_puts_it_back(self, server, clock, caplog, key, operation):
        with RedisStore(server.url, clock=clock, encryption_key=key) as old:
            begin(old, A)
            file = old.key_file()
            server.client.delete("litesess:keys")
            operation(old)
            assert server.client.get("litesess:keys") == file
            assert "lost its key file" in caplog.text
            begin(old, C)
        with RedisStore(server.url, clock=clock, encryption_key=key) as new:
            assert new.load(C).data == {"n": 1}

    @pytest.mark.slow
    def test_on_a_cluster_that_takes_a_minute(self, redis_cluster_url, clock, tmp_path):
        options = {"prefix": f"{tmp_path}:", "clock": clock, "encryption_key": PASSPHRASE}
        with RedisStore(redis_cluster_url, **options) as old:
            begin(old, A)
            passed = [0.0]
            old._upkeep = Upkeep(
                old._link, old._sessions.key_file, "it", monotonic=lambda: passed[0]
            )
            old.load(A)
            assert old._link.client.delete(f"{tmp_path}:keys")
            passed[0] = 61.0
            old.load(A)
        with RedisStore(redis_cluster_url, **options) as new:
            assert new.load(A).data == {"n": 1}

    def test_until_then_a_new_worker_says_what_to_do(self, server, clock):
        with RedisStore(server.url, clock=clock, encryption_key=PASSPHRASE) as old:
            begin(old, A)
        server.client.delete("litesess:keys")
        with (
            RedisStore(server.url, clock=clock, encryption_key=PASSPHRASE) as new,
            pytest.raises(DecryptError, match="a worker that has the store open puts it back"),
        ):
            new.load(A)

    def test_where_all_was_lost_and_begun_anew_a_worker_follows(self, server, clock):
        """It went on to write what the others could not read."""
        stores = [RedisStore(server.url, clock=clock, encryption_key=PASSPHRASE) for _ in range(2)]
        begin(stores[0], A)
        server.client.flushall()
        begin(stores[1], B)
        with pytest.raises(Exception, match="begun it anew"):
            stores[0].load(B)
        assert stores[0].load(B).data == {"n": 1}
        begin(stores[0], C)
        assert stores[1].load(C).data == {"n": 1}
        for store in stores:
            store.close()

    def test_a_value_of_another_type_is_replaced_by_a_worker_that_knows_it(self, server, clock):
        with RedisStore(server.url, clock=clock, encryption_key=PASSPHRASE) as store:
            begin(store, A)
            server.client.delete("litesess:keys")
            server.client.lpush("litesess:keys", "foreign")
            assert store.load(A).data == {"n": 1}
            assert server.client.type("litesess:keys") == b"string"


class TestThePolicy:
    @pytest.fixture
    def set_policy(self, server):
        def set_policy(policy, maxmemory="100mb"):
            server.client.config_set("maxmemory-policy", policy)
            server.client.config_set("maxmemory", maxmemory)

        yield set_policy
        set_policy("noeviction", "0")

    @pytest.mark.parametrize(
        "policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-ttl"]
    )
    def test_one_that_may_evict_is_an_error_with_the_cure(self, server, set_policy, caplog, policy):
        set_policy(policy)
        with RedisStore(server.url) as store:
            store.load(A)
            (error,) = [each for each in caplog.records if each.levelno == logging.ERROR]
            assert f"maxmemory-policy {policy}" in error.getMessage()
            assert "set maxmemory-policy noeviction" in error.getMessage()
            assert store.stats().maxmemory_policy == policy

    def test_without_a_limit_it_is_a_warning(self, server, set_policy, caplog):
        set_policy("allkeys-lru", "0")
        with RedisStore(server.url) as store:
            store.load(A)
        assert {each.levelno for each in caplog.records} == {logging.WARNING}

    def test_the_one_that_is_wanted_is_not_mentioned(self, server, set_policy, caplog):
        set_policy("noeviction")
        with RedisStore(server.url) as store:
            store.load(A)
            assert store.stats().maxmemory_policy == "noeviction"
        assert caplog.text == ""

    def test_it_is_looked_at_each_hour(self, server, set_policy, caplog):
        passed = [0.0]
        with RedisStore(server.url) as store:
            store._upkeep = Upkeep(
                store._link, store._sessions.key_file, "it", monotonic=lambda: passed[0]
            )
            store.load(A)
            set_policy("allkeys-lru")
            passed[0] = 3599.0
            store.load(A)
            assert caplog.text == ""
            passed[0] = 3600.0
            for _ in range(2):
                store.load(A)
        assert caplog.text.count("maxmemory-policy allkeys-lru") == 1

    def test_a_user_that_may_not_ask_is_told_once(self, server, caplog):
        server.client.acl_setuser(
            "few", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-info"]
        )
        url = server.url.replace("redis://", "redis://few:any@")
        with RedisStore(url) as store:
            begin(store, A)
            for _ in range(2):
                assert store.stats().maxmemory_policy is None
            assert store.load(A) is not None
        assert caplog.text.count("whether") == 1
