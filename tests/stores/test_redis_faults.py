"""RedisStore while servers are killed, stopped, full, or take over from each other."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest
import redis

from litesess import Record, StoreFull, StoreUnavailable
from litesess.ids import key_of
from litesess.stores.redis import RedisStore
from tests.tools.redises import (
    PROGRAM,
    RedisServer,
    cluster_url,
    needs_redis,
    redis_cluster,
    redis_replica,
    redis_server,
)
from tests.tools.servers import (
    PATIENCE,
    SECRET,
    TOOLS,
    Client,
    Server,
    free_port,
    gunicorn,
    wait_until,
)

pytestmark = [pytest.mark.slow, needs_redis]

KEY, OTHER = key_of("first"), key_of("second")
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def put(store, key=KEY, owner=None, **data):
    now = time.time()
    assert store.create(key, Record(data, now, now + 1000, owner=owner))


class Worker:
    """Who writes and ends sessions, and knows what was acknowledged.

    Attributes:
        written: the number that each session is known to have, at least.
        ended: keys of those that are known to have.
    """

    def __init__(self, store: RedisStore, chance: random.Random, name: str) -> None:
        self.written: dict[str, int] = {}
        self.ended: set[str] = set()
        self._store, self._chance, self._name, self._number = store, chance, name, 0

    def step(self) -> None:
        self._number = number = self._number + 1
        key = key_of(f"{self._name} {self._chance.randrange(20)} {number // 200}")
        if key in self.ended:
            return
        data = {"n": number, "m": number}
        if self._chance.random() < 0.1:
            # What was asked and not answered may be so or not.
            was_there = self.written.pop(key, None) is not None
            if self._store.delete(key) or was_there:
                self.ended.add(key)
        elif self._store.update(key, data, []) is not None or self._store.create(
            key, Record(data, time.time(), time.time() + 1000)
        ):
            self.written[key] = number


def test_a_killed_server_has_lost_nothing_it_acknowledged_and_brings_no_logout_back(tmp_path):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    with redis_server(tmp_path / "redis", *DURABLE) as server:
        store = RedisStore(server.url, timeout=0.3)
        workers = [Worker(store, random.Random(seed + each), str(each)) for each in range(4)]
        is_over = threading.Event()

        def work(worker: Worker) -> None:
            while not is_over.is_set():
                with suppress(StoreUnavailable):
                    worker.step()

        threads = [threading.Thread(target=work, args=(each,)) for each in workers]
        for thread in threads:
            thread.start()
        for _ in range(4):
            time.sleep(0.4)
            server.kill()
            server.start()
        is_over.set()
        for thread in threads:
            thread.join()
        assert sum(len(worker.written) for worker in workers) > 20
        assert any(worker.ended for worker in workers)
        for worker in workers:
            for key, number in worker.written.items():
                record = store.load(key)
                assert record is not None, "an acknowledged session is lost"
                assert record.data["n"] == record.data["m"] >= number, "torn, or older than it was"
            for key in worker.ended:
                assert store.load(key) is None, "a session came back"
        store.close()


def test_a_server_that_hangs_is_said_to_be_away_and_used_again_when_it_answers(tmp_path):
    with redis_server(tmp_path) as server, RedisStore(server.url, timeout=0.2) as store:
        put(store, n=1)
        server.signal(signal.SIGSTOP)
        try:
            for operation in (
                lambda: store.load(KEY),
                lambda: store.update(KEY, {"n": 2}, []),
                lambda: store.delete(KEY),
            ):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable, match="can't be reached"):
                    operation()
                assert time.monotonic() - began < PATIENCE
        finally:
            server.signal(signal.SIGCONT)
        wait_until(server.is_up, "it answers")
        found = store.load(KEY)  # what was asked is done, or was not
        assert found is None or found.data["n"] in (1, 2)
        put(store, OTHER, n=3)
        assert store.load(OTHER).data == {"n": 3}


def test_a_server_that_was_restarted_knows_no_scripts_and_is_told_them_again(tmp_path):
    with redis_server(tmp_path, *DURABLE) as server, RedisStore(server.url) as store:
        put(store, owner="7", n=1)
        server.kill()
        server.start()
        assert store.rotate(KEY, OTHER, {"m": 2}, []).data == {"n": 1, "m": 2}
        server.client.script_flush()
        put(store, key_of("third"), owner="7")
        assert store.delete_owner("7") == 2


def test_a_full_server_refuses_what_is_new_and_lets_people_log_out(tmp_path):
    options = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with redis_server(tmp_path, *options) as server, RedisStore(server.url) as store:
        put(store, n=1)
        # In a moment a server sees that it is full.
        with pytest.raises(StoreFull, match="no memory"):
            for number in range(100_000):
                put(store, key_of(str(number)), owner="7", x="y" * 1000)
        assert store.load(KEY).data == {"n": 1}
        assert store.delete(KEY)
        assert store.load(KEY) is None
        assert store.delete_owner("7") > 100


def test_a_full_server_refuses_a_visitor_and_lets_people_read_on(tmp_path):
    """Nobody's sessions were let in without end: a script's first write took no memory."""
    with redis_server(tmp_path) as server, RedisStore(server.url) as store:
        put(store, n=1)
        put(store, OTHER, owner="7", n=2)
        server.client.config_set("maxmemory", 1)
        for owner in None, "7":
            with pytest.raises(StoreFull, match="no memory"):
                put(store, key_of("third"), owner=owner)
        with pytest.raises(StoreFull, match="no memory"):
            store.update(KEY, {"n": 3}, [])
        for key in KEY, OTHER:
            assert store.touch(key, time.time() + 2000)
            assert 1_000_000 < server.client.pttl(f"litesess:s:{{{key}}}") <= 2_000_000
        assert store.load(KEY).data == {"n": 1}
        assert store.delete_owner("7") == 1


def test_a_replica_is_not_written_to(tmp_path):
    with (
        redis_server(tmp_path / "master") as master,
        redis_server(tmp_path / "replica", "--replicaof", "127.0.0.1", str(master.port)) as replica,
        RedisStore(master.url) as store,
        RedisStore(replica.url, timeout=0.2) as other,
    ):
        put(store, n=1)
        wait_until(lambda: replica.client.dbsize() == 2, "it is there, too")
        assert other.load(KEY).data == {"n": 1}
        with pytest.raises(StoreUnavailable, match="replica"):
            other.update(KEY, {"n": 2}, [])


def test_sentinel_leads_to_the_new_master_when_the_old_one_is_gone(tmp_path):
    port = free_port()
    with (
        redis_server(tmp_path / "one") as master,
        redis_server(tmp_path / "two", "--replicaof", "127.0.0.1", str(master.port)) as replica,
    ):
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
            f"sentinel monitor sessions 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds sessions 500\n"
            "sentinel failover-timeout sessions 2000\n"
        )
        with (tmp_path / "log").open("wb") as log:
            sentinel = subprocess.Popen(
                [PROGRAM, str(config), "--sentinel"], stdout=log, stderr=log
            )
        try:
            watched = redis.Redis(port=port)
            wait_until(
                lambda: _answers(lambda: len(watched.sentinel_slaves("sessions")) == 1),
                "Sentinel knows of both",
            )
            wait_until(
                lambda: replica.client.info("replication")["master_link_status"] == "up", "linked"
            )
            with RedisStore(f"redis+sentinel://127.0.0.1:{port}/sessions", timeout=1) as store:
                put(store, n=1)
                wait_until(lambda: replica.client.dbsize() >= 2, "the replica has it")
                master.kill()
                wait_until(lambda: _answers(lambda: store.update(KEY, {"n": 2}, [])), "it goes on")
                assert store.load(KEY).data == {"n": 2}
                assert replica.client.info("replication")["role"] == "master"
        finally:
            sentinel.terminate()
            sentinel.wait(PATIENCE)


def _answers(ask):
    try:
        return ask()
    except (redis.exceptions.RedisError, StoreUnavailable):
        return False


def test_a_node_that_is_gone_is_followed_by_its_replica(tmp_path):
    with (
        redis_cluster(tmp_path / "nodes") as nodes,
        redis_replica(tmp_path / "replica", nodes) as replica,
        RedisStore(cluster_url(nodes)) as store,
    ):
        keys = [key_of(str(number)) for number in range(30)]
        for key in keys:
            put(store, key, owner="7", n=1)
        assert store.delete(keys.pop())
        assert store.rotate(keys[0], OTHER, {}, []) is not None
        keys[0] = OTHER
        sent = nodes[0].client.info("replication")["master_repl_offset"]
        wait_until(
            lambda: replica.client.info("replication")["slave_repl_offset"] >= sent, "it has all"
        )
        nodes[0].kill()
        for key in keys:
            wait_until(lambda key=key: _answers(lambda: store.update(key, {"n": 2}, [])), "it is")
        assert replica.client.info("replication")["role"] == "master"
        assert {key for key, _ in store.find("7")} == set(keys)
        assert [store.load(key).data for key in keys] == [{"n": 2}] * len(keys)
        assert store.delete_owner("7") == len(keys)


@pytest.mark.parametrize("answer", ["503", "anonymous"])
def test_a_site_whose_store_is_away_says_so_and_knows_its_users_when_it_is_back(tmp_path, answer):
    """Two workers, to which the store has been there before."""
    with redis_server(tmp_path / "redis", *DURABLE) as redis_there:
        environment = {
            "EXAMPLE_REDIS": redis_there.url,
            "EXAMPLE_IF_UNAVAILABLE": answer,
            "SESSION_SECRET": SECRET,
        }
        command = gunicorn("worker_app:application", TOOLS, "-w", "2")
        with Server(command, tmp_path, environment) as server, Client(server) as client:
            client.http.headers["Connection"] = "close"
            assert client.request("POST", "/login/ada").json()["data"] == {"user": "ada"}
            cookies = dict(client.http.cookies)
            redis_there.kill()
            for _ in range(4):
                response = client.request("POST", "/set/n/1")
                assert "Set-Cookie" not in response.headers
                if answer == "503":
                    assert response.status_code == 503
                    assert response.headers["Retry-After"]
                else:
                    assert response.json()["data"] == {"n": "1"}
            assert dict(client.http.cookies) == cookies
            redis_there.start()
            for _ in range(4):
                assert client.request("GET", "/").json()["data"] == {"user": "ada"}
        assert redis_there.url not in response.text


def test_slots_that_move_to_another_node_lose_nothing_while_sessions_are_written(tmp_path):
    with redis_cluster(tmp_path) as nodes:
        store = RedisStore(f"redis+cluster://127.0.0.1:{nodes[0].port}", timeout=5)
        keys = [key_of(str(number)) for number in range(60)]
        for key in keys:
            put(store, key, n=0)
        counts = dict.fromkeys(keys, 0)
        failures = []
        is_over = threading.Event()

        def write() -> None:
            try:
                while not is_over.is_set():
                    for key in keys:
                        assert store.update(key, {"n": counts[key] + 1}, []) is not None
                        counts[key] += 1
            except BaseException as failure:
                failures.append(failure)
                raise

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for key in keys[:20]:
                _move_slot(nodes, f"litesess:s:{{{key}}}")
        finally:
            is_over.set()
            writer.join()
        assert not failures
        assert {key: store.load(key).data["n"] for key in keys} == counts
        store.close()


def _move_slot(nodes: list[RedisServer], name: str) -> None:
    """Move the slot of *name* from its node to the next one, as ``redis-cli --cluster`` does."""
    slot = nodes[0].client.cluster("KEYSLOT", name)
    ids = [node.client.cluster("MYID").decode() for node in nodes]
    owner = next(at for at, node in enumerate(nodes) if _owns(node, slot))
    target = (owner + 1) % len(nodes)
    nodes[target].client.cluster("SETSLOT", slot, "IMPORTING", ids[owner])
    nodes[owner].client.cluster("SETSLOT", slot, "MIGRATING", ids[target])
    while names := nodes[owner].client.cluster("GETKEYSINSLOT", slot, 100):
        nodes[owner].client.execute_command(
            "MIGRATE", "127.0.0.1", nodes[target].port, "", 0, 5000, "KEYS", *names
        )
    for node in (nodes[target], nodes[owner], *nodes):
        node.client.cluster("SETSLOT", slot, "NODE", ids[target])


def _owns(node: RedisServer, slot: int) -> bool:
    for each in node.client.cluster("NODES").values():
        if "myself" in each["flags"]:
            return any(int(ends[0]) <= slot <= int(ends[-1]) for ends in each["slots"])
    return False
