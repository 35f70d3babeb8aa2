"""RedisStore where a key is not what litesess has written: of another type, or damaged.

Also what an expiry may be: of now, long ago, or never.
"""

from __future__ import annotations

import math
from itertools import count

import pytest

from litesess import Record
from litesess.ids import handle_of, key_of
from litesess.stores.redis import RedisStore
from tests.tools.redises import needs_redis, redis_server

pytestmark = needs_redis

BAD, GOOD, NEW, MOVED = map(key_of, ("bad", "good", "new", "moved"))
_numbers = count()

#: What may lie under a name of ours.
FOREIGN = {
    "string": lambda client, name: client.set(name, "foreign"),
    "list": lambda client, name: client.rpush(name, "foreign"),
    "set": lambda client, name: client.sadd(name, "foreign"),
    "zset": lambda client, name: client.zadd(name, {"foreign": 1}),
    "stream": lambda client, name: client.xadd(name, {"foreign": 1}),
    "hash": lambda client, name: client.hset(name, "foreign", 1),
}
DAMAGES = [
    *((field, value) for field in "ecvl" for value in (None, "", "never", "nan", b"\xff\0")),
    # Without "h" it is a session of no owner, as far as can be seen.
    *((field, value) for field in "hg" for value in ("never", b"\xff\0")), ("g", None), ("g", ""),
    ("v", "1.5"), ("v", "9" * 30), ("v", "-3"), ("v", "inf"), ("e", "-nan"), ("e", "1_0_0"),
    ("o", "{"), ("o", b"\xff"), ("o", "[1]"), ("k", "7"), ("k", "{"), ("a", "[]"), ("a", b"\xff"),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["server", pytest.param("cluster", marks=pytest.mark.slow)])
def make(request, server, clock):
    url = server.url
    if request.param == "cluster":
        url = request.getfixturevalue("redis_cluster_url")
    prefix, made = f"damage{next(_numbers)}:", []

    def make(**options):
        made.append(RedisStore(url, prefix=prefix, clock=clock, **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


def begin(store, key, owner="ada", life=100.0):
    now = store.clock()
    client = {"user_agent": "Lynx", "address": "::1"}
    record = Record({"n": 1}, now, now + life, {"path": "/"}, owner, client=client)
    assert store.create(key, record)


def spoil(store, kind, name, key=BAD):
    """Put something foreign where a session's hash, or another key of the store, is."""
    place = store._sessions.name(kind, key)
    store._link.client.delete(place)
    FOREIGN[name](store._link.client, place)


def assert_the_others_go_on(store, caplog, *, is_named=True):
    """Nothing raises, and the other session of the owner is found and ended."""
    assert [key for key, _ in store.records()] == [GOOD]
    if is_named:
        assert handle_of(BAD) in caplog.text
        assert "passed over when sessions were listed: 1" in caplog.text
    assert BAD not in caplog.text
    assert len(store) == 1
    assert store.collect() == 0
    assert store.stats().live >= 1
    assert [key for key, _ in store.find("ada")] == [GOOD]
    assert store.locate(handle_of(GOOD)) == GOOD
    assert store.load_all([BAD, GOOD])[0] is None
    assert store.delete_owner("ada") == 1
    assert store.load(GOOD) is None
    begin(store, GOOD)
    store.clear()
    assert list(store.records()) == []


def assert_it_is_absent(store):
    now = store.clock()
    assert store.load(BAD) is None
    assert store.update(BAD, {"n": 2}, ()) is None
    assert store.rotate(BAD, MOVED, {}, ()) is None
    assert store.load(MOVED) is None
    store.replace(BAD, NEW, Record({"n": 3}, now, now + 10))
    assert store.load(NEW).data == {"n": 3}
    assert store.delete(NEW)


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("kind", "smp")
class TestAValueOfAnotherType:
    def test_stops_no_operation_on_the_others(self, make, caplog, kind, name):
        store = make()
        begin(store, GOOD)
        begin(store, BAD)
        store.delete(BAD)
        spoil(store, kind, name)
        assert_the_others_go_on(store, caplog, is_named=kind == "s")

    def test_counts_as_absent(self, make, kind, name):
        store = make()
        begin(store, GOOD)
        spoil(store, kind, name)
        assert not store.touch(BAD, store.clock() + 200)
        assert store.moved_at(BAD) is None
        assert_it_is_absent(store)
        assert not store.delete(BAD)


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "encrypted"])
@pytest.mark.parametrize(("field", "value"), DAMAGES)
class TestADamagedField:
    @pytest.fixture
    def store(self, make, key, field, value):
        store = make(encryption_key=key)
        begin(store, GOOD)
        begin(store, BAD)
        name, client = store._sessions.name("s", BAD), store._link.client
        if value is None:
            client.hdel(name, field)
        else:
            client.hset(name, field, value)
        return store

    def test_stops_no_operation_on_the_others(self, store, caplog, field):
        assert_the_others_go_on(store, caplog, is_named=field not in "hg")

    def test_counts_as_absent(self, store):
        assert_it_is_absent(store)


def test_a_value_that_was_tampered_with_makes_its_session_absent(make, caplog):
    store = make(encryption_key=b"k" * 32)
    begin(store, GOOD)
    begin(store, BAD)
    store._link.client.hset(store._sessions.name("s", BAD), "=n", b"x" * 40)
    assert_the_others_go_on(store, caplog)


@pytest.mark.parametrize("name", FOREIGN)
class TestAnOwnersKeys:
    def test_an_index_of_another_type_is_replaced(self, make, name):
        store = make()
        begin(store, BAD)
        spoil(store, "o", name, store._owners.hash_of("ada"))
        assert store.find("ada") == []
        assert store.touch(BAD, store.clock() + 150)
        assert [key for key, _ in store.find("ada")] == [BAD]
        begin(store, GOOD)
        assert {key for key, _ in store.find("ada")} == {BAD, GOOD}
        assert store.delete_owner("ada") == 2

    def test_a_generation_of_another_type_is_none(self, make, name):
        store = make()
        begin(store, BAD)
        spoil(store, "g", name, store._owners.hash_of("ada"))
        assert store.load(BAD) is None
        begin(store, GOOD)
        assert store.load(GOOD) is not None
        store.delete_owner("ada")
        assert store.load(GOOD) is None


def test_a_forwarding_record_that_leads_nowhere_or_around_keeps_nothing_busy(make):
    store = make()
    begin(store, GOOD)
    client, end = store._link.client, repr(store.clock() + 100)
    for here, there in ((BAD, NEW), (NEW, BAD), (MOVED, "nowhere")):
        client.hset(store._sessions.name("m", here), mapping={"m": there, "t": end, "e": end})
    for key in BAD, NEW, MOVED:
        assert store.update(key, {"n": 2}, ()) is None
        assert not store.delete(key)
        assert store.load(key) is None
        store.delete_owner("ada", keep=[key])
    store.clear()


ENDS = {
    "the epoch": lambda now: 0.0,
    "before it": lambda now: -1e308,
    "long ago": lambda now: now - 1e6,
    "within the last ms": lambda now: now - 0.0005,
    "the last float before": lambda now: (
        math.nextafter(now, 0) if hasattr(math, "nextafter") else 0
    ),
    "now": lambda now: now,
    "never before": lambda now: -math.inf,
}
NEVER = {"never": math.inf, "the largest": 1e308, "far": 1e18}


@pytest.mark.parametrize("owner", [None, "ada"])
class TestTheEnd:
    @pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
    def test_one_that_has_passed_ends_the_session_without_an_error(self, make, owner, end):
        store = make()
        now = store.clock()
        assert store.create(GOOD, Record({}, now, end(now), owner=owner))
        assert store.load(GOOD) is None
        for change in (
            lambda: store.update(BAD, {"a": 1}, (), expires_at=end(now)),
            lambda: store.touch(BAD, end(now)),
            lambda: store.rotate(BAD, MOVED, {}, (), expires_at=end(now)),
            lambda: store.rotate(BAD, MOVED, {}, (), expires_at=end(now), owner="bob"),
            lambda: store.replace(BAD, MOVED, Record({}, now, end(now), owner=owner)),
        ):
            begin(store, BAD, owner)
            change()
            assert store.load(BAD) is store.load(MOVED) is None
            assert len(store) == 0
            assert store.find("ada") == []
            store.clear()
        lives = [store._link.client.pttl(name) for name in names(store, "smp")]
        assert all(life > 0 for life in lives)

    @pytest.mark.parametrize("end", NEVER.values(), ids=NEVER)
    def test_one_that_never_comes_is_kept(self, make, owner, end):
        store = make()
        now = store.clock()
        assert store.create(GOOD, Record({}, now, end, owner=owner))
        begin(store, BAD, owner)
        assert store.update(BAD, {"a": 1}, (), expires_at=end).expires_at == end
        assert store.touch(BAD, end)
        assert store.rotate(BAD, MOVED, {}, (), expires_at=end) is not None
        assert {record.expires_at for _, record in store.records()} == {end}
        assert all(now - 1 <= record.last_seen_at <= end for _, record in store.records())
        if owner:
            assert len(store.find(owner)) == 2
            assert store.delete_owner(owner) == 2


def names(store, kinds):
    """Return the names of these kinds in Redis."""
    client = store._link.client
    return [name for kind in kinds for name in client.scan_iter(f"{store._prefix}{kind}:*")]
