"""RedisStore against the suite of every store, on real servers."""

from __future__ import annotations

import re
from itertools import count

import pytest
import redis

from litesess import Store
from litesess.ids import key_of
from litesess.stores.redis import RedisStore
from litesess.testing import FakeClock, StoreContract
from tests.tools.redises import PROGRAMS, needs_redis, redis_cluster, redis_server
from tests.tools.servers import ROOT, wait_until

pytestmark = [pytest.mark.slow, needs_redis]

#: A prefix for each test: they share the servers.
_numbers = count()


def acl_rules():
    """Return the words of the commands in docs/redis.rst: of a server, and of a cluster."""
    text = (ROOT / "docs" / "redis.rst").read_text("utf-8")
    rules = re.findall(r"    (ACL SETUSER litesess.*?)\n\n", text, re.DOTALL)
    server, cluster = (rule.replace("\\", " ").split() for rule in rules)
    assert server[:4] == ["ACL", "SETUSER", "litesess", "reset"]
    return ["~test*" if word == "~litesess:*" else word for word in server], cluster


@pytest.fixture(scope="module", params=[*PROGRAMS])
def url(request, tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis"), program=PROGRAMS[request.param]) as server:
        yield server.url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory):
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        ports = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        yield f"redis+cluster://{ports}"


class InRedis(StoreContract):
    options: dict[str, object] = {}

    @pytest.fixture(autouse=True)
    def _server(self, url):
        self.store.close()
        self.server = url
        self.store = self.make_store(self.clock)

    server = "redis://127.0.0.1:1"  # until there is one

    def make_store(self, clock: FakeClock) -> Store:
        return RedisStore(self.server, prefix=f"test{next(_numbers)}:", clock=clock, **self.options)


class TestRedisStore(InRedis):
    pass


class TestRedisStoreThatIsEncrypted(InRedis):
    options = {"encryption_key": bytes(range(32))}


class TestRedisStoreByAUserWithoutOtherRights(InRedis):
    """The rights are those that docs/redis.rst names."""

    @pytest.fixture(autouse=True)
    def _server(self, url):
        _, _, port = url.rpartition(":")
        with redis.Redis(port=int(port)) as client:
            client.execute_command(*acl_rules()[0])
        self.store.close()
        self.server = f"redis://litesess:PASSWORD@127.0.0.1:{port}"
        self.store = self.make_store(self.clock)

    def test_expiries_may_be_heard_of(self):
        self.store.listeners.append(lambda event: None)
        self.store.load(key_of("x"))
        with redis.Redis(port=int(self.server.rpartition(":")[2])) as client:
            wait_until(lambda: client.client_list(_type="pubsub"), "it listens")


class TestRedisStoreOnACluster(InRedis):
    @pytest.fixture(autouse=True)
    def _server(self, cluster_url):
        self.store.close()
        self.server = cluster_url
        self.store = self.make_store(self.clock)


class TestRedisStoreOnOneNodeOfACluster(TestRedisStoreOnACluster):
    """Braces in the prefix keep all sessions on one node, so that each step is one script."""

    def make_store(self, clock: FakeClock) -> Store:
        prefix = f"{{test{next(_numbers)}}}:"
        return RedisStore(self.server, prefix=prefix, clock=clock, **self.options)


class TestRedisStoreOnAClusterByAUserWithoutOtherRights(TestRedisStoreOnACluster):
    @pytest.fixture(autouse=True)
    def _server(self, cluster_url):
        places = cluster_url.removeprefix("redis+cluster://")
        for place in places.split(","):
            with redis.Redis(port=int(place.rpartition(":")[2])) as client:
                for rule in acl_rules():
                    client.execute_command(*rule)
        self.store.close()
        self.server = f"redis+cluster://litesess:PASSWORD@{places}"
        self.store = self.make_store(self.clock)
