"""RedisStore where names, firewalls, proxies, passwords and clients are not as in a laboratory."""

from __future__ import annotations

import datetime
import logging
import signal
import socket
import threading
import time

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from litesess import (
    ConfigError,
    Record,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreUnavailable,
    VersionConflict,
)
from litesess.ids import handle_of, key_of
from litesess.stores.redis import RedisStore
from tests.tools.apps import Site, write
from tests.tools.redises import has_tls, needs_redis, redis_server
from tests.tools.relays import relay
from tests.tools.servers import free_port, wait_until

pytestmark = needs_redis

KEY, OTHER, MOVED = key_of("first"), key_of("second"), key_of("third")
PROMPT = ("--repl-diskless-sync-delay", "0", "--notify-keyspace-events", "Ex")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server):
    server.client.flushall()


def put(store, key=KEY, *, life=1000, owner=None, **data):
    now = store.clock()
    assert store.create(key, Record(data, now, now + life, owner=owner))


def in_threads(count, act):
    """Return what *act* does in each of so many threads that have met."""
    outcomes, together = [], threading.Barrier(count)

    def run(number):
        together.wait()
        try:
            outcomes.append(act(number))
        except StoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def pair(tmp_path):
    """A master, its replica, and a relay to the master."""
    with (
        redis_server(tmp_path / "a", *PROMPT) as master,
        redis_server(tmp_path / "b", *PROMPT) as replica,
        relay(master.port) as name,
    ):
        replica.client.replicaof("127.0.0.1", master.port)
        yield master, replica, name


def fail_over(master, replica, name):
    """Make the replica the master, and the other way round; connections stay as they are."""
    offset = master.client.info("replication")["master_repl_offset"]
    wait_until(
        lambda: replica.client.info("replication").get("slave_repl_offset", -1) >= offset,
        "the replica has all",
    )
    replica.client.replicaof("NO", "ONE")
    master.client.replicaof("127.0.0.1", replica.port)
    name.target = replica.port
    wait_until(lambda: master.client.info("replication")["role"] == "slave", "it is demoted")


@pytest.mark.slow
class TestAFailoverBehindOneName:
    """Azure/aspnet-redis-providers#130: every write failed until the worker was restarted."""

    def test_the_next_write_works_also_one_that_needs_a_version(self, pair):
        with RedisStore(f"redis://127.0.0.1:{pair[2].port}") as store:
            put(store, n=0)
            put(store, OTHER, n=0)
            fail_over(*pair)
            version = store.load(KEY).version
            assert store.update(KEY, {"n": 1}, [], if_version=version).data == {"n": 1}
            assert store.rotate(KEY, MOVED, {}, []).data == {"n": 1}
            assert store.delete(OTHER)
            assert pair[1].client.exists(f"litesess:s:{{{MOVED}}}")

    def test_it_works_with_a_client_that_was_given_too(self, pair):
        client = redis.Redis(port=pair[2].port)
        with RedisStore(client) as store:
            put(store, n=0)
            fail_over(*pair)
            assert store.update(KEY, {"n": 1}, []).data == {"n": 1}

    def test_connections_in_use_meanwhile_do_not_come_back(self, pair):
        """Threads went on to read from the server that was demoted."""
        with RedisStore(f"redis://127.0.0.1:{pair[2].port}") as store:
            put(store, n=0)
            in_threads(8, lambda _: store.load(KEY))
            fail_over(*pair)
            outcomes = in_threads(8, lambda number: store.update(KEY, {str(number): 1}, []))
            assert not [each for each in outcomes if isinstance(each, Exception)]
            assert len(store.load(KEY).data) == 9

    def test_expiries_are_heard_of_after_it(self, pair):
        told = []
        with RedisStore(f"redis://127.0.0.1:{pair[2].port}") as store:
            store.listeners.append(lambda event: told.append((event.name, event.handle)))
            put(store, n=0)
            wait_until(lambda: pair[0].client.client_list(_type="pubsub"), "it listens")
            fail_over(*pair)
            store.update(KEY, {"n": 1}, [])
            wait_until(lambda: pair[1].client.client_list(_type="pubsub"), "it listens there")
            put(store, OTHER, life=0.05)
            wait_until(lambda: ("expired", handle_of(OTHER)) in told, "it is told")

    def test_a_worker_that_only_listens_notices_it(self, pair, monkeypatch):
        with RedisStore(f"redis://127.0.0.1:{pair[2].port}") as store:
            store._expiries._renewal = 0.1
            store.listeners.append(lambda event: None)
            store.load(KEY)
            wait_until(lambda: pair[0].client.client_list(_type="pubsub"), "it listens")
            fail_over(*pair)
            wait_until(lambda: pair[1].client.client_list(_type="pubsub"), "it listens there")
            wait_until(lambda: not pair[0].client.client_list(_type="pubsub"), "no more here")

    def test_a_replica_that_has_lost_its_master_is_left(self, pair):
        """MASTERDOWN: it serves nothing, as replica-serve-stale-data says."""
        master, _, name = pair
        with RedisStore(f"redis://127.0.0.1:{name.port}") as store:
            put(store, n=0)
            fail_over(*pair)
            master.client.config_set("replica-serve-stale-data", "no")
            master.client.replicaof("127.0.0.1", 1)
            assert store.load(KEY).data == {"n": 0}


class TestAFirewallThatForgets:
    """PowerDNS/weakforced#313: each pooled connection cost a request its session."""

    @pytest.mark.slow
    def test_no_request_fails(self, server):
        with (
            relay(server.port) as firewall,
            RedisStore(f"redis://127.0.0.1:{firewall.port}", timeout=1) as store,
        ):
            for number in range(8):
                put(store, key_of(str(number)), n=0)
            in_threads(8, lambda number: store.load(key_of(str(number))))
            firewall.forget()
            began = time.monotonic()
            outcomes = in_threads(8, lambda number: store.load(key_of(str(number))).data)
            assert outcomes == [{"n": 0}] * 8
            assert time.monotonic() - began < 1
            # One timeout is enough for all that were idle.
            firewall.forget()
            assert store.update(key_of("0"), {"n": 1}, []).data == {"n": 1}
            began = time.monotonic()
            outcomes = [store.update(key_of(str(n)), {"n": 1}, []) for n in range(1, 8)]
            assert None not in outcomes
            assert time.monotonic() - began < 0.25

    def test_a_write_that_needs_a_version_is_tried_again(self, server):
        with (
            relay(server.port) as firewall,
            RedisStore(f"redis://127.0.0.1:{firewall.port}", timeout=0.5) as store,
        ):
            put(store, n=0)
            version = store.load(KEY).version
            firewall.forget()
            assert store.update(KEY, {"n": 1}, [], if_version=version).version == version + 1
            firewall.forget()
            assert store.strip_all({KEY: version + 1}, ["n"]) == [True]

    @pytest.mark.parametrize("writes", [3, 9])
    def test_a_write_that_was_done_though_its_answer_was_lost_is_done_once(
        self, server, writes, monkeypatch
    ):
        with RedisStore(server.url) as store, RedisStore(server.url) as other:
            put(store, n=0)
            version = store.load(KEY).version
            run, lost = store._link._calling.run, []

            def lose_the_first(client, call):
                answer = run(client, call)
                if not lost:
                    lost.append(answer)
                    for number in range(writes):
                        other.update(KEY, {"other": number}, [])
                    raise redis.exceptions.TimeoutError
                return answer

            monkeypatch.setattr(store._link._calling, "run", lose_the_first)
            if writes < 8:
                assert store.update(KEY, {"n": 1}, [], if_version=version).data["n"] == 1
            else:
                with pytest.raises(StoreUnavailable, match="unknown"):
                    store.update(KEY, {"n": 1}, [], if_version=version)
            assert store.load(KEY).version == version + 1 + writes

    def test_a_conflict_is_still_a_conflict(self, server):
        with RedisStore(server.url) as store:
            put(store, n=0)
            version = store.load(KEY).version
            store.update(KEY, {"n": 1}, [])
            with pytest.raises(VersionConflict):
                store.update(KEY, {"n": 2}, [], if_version=version)


SMALL = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3, "retry": Retry(NoBackoff(), 0)}


class TestAClientThatIsGiven:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"socket_timeout": None, "socket_connect_timeout": 2.0}, "socket_connect_timeout=2"),
            ({"socket_timeout": 58}, "socket_timeout=58"),
            ({"socket_timeout": 0.5, "retry": Retry(NoBackoff(), 5)}, "retry with 5"),
        ],
    )
    def test_one_that_may_wait_for_longer_is_refused_with_what_to_set(self, settings, words):
        with pytest.raises(ConfigError, match=words) as failure:
            RedisStore(redis.Redis(**settings), timeout=1)
        assert "make it with socket_timeout=0.3" in str(failure.value)

    def test_so_is_one_whose_pool_waits_for_a_free_connection(self):
        pool = redis.BlockingConnectionPool(timeout=20, **SMALL)
        with pytest.raises(ConfigError, match=r"BlockingConnectionPool; make that with 0\.3"):
            RedisStore(redis.Redis(connection_pool=pool))
        pool = redis.BlockingConnectionPool(timeout=1, **SMALL)
        RedisStore(redis.Redis(connection_pool=pool))

    def test_so_is_one_of_sentinels_that_may_hang(self):
        sentinel = Sentinel([("127.0.0.1", 1)], sentinel_kwargs={"socket_timeout": 60}, **SMALL)
        with pytest.raises(ConfigError, match="sentinel_kwargs of the redis client may wait"):
            RedisStore(sentinel.master_for("it"))
        sentinel = Sentinel([("127.0.0.1", 1)], sentinel_kwargs=SMALL, **SMALL)
        RedisStore(sentinel.master_for("it"))

    def test_one_that_caches_what_it_reads_is_refused(self):
        caching = pytest.importorskip("redis.cache")
        client = redis.Redis(protocol=3, cache_config=caching.CacheConfig())
        with pytest.raises(ConfigError, match="caches its reads"):
            RedisStore(client)

    @pytest.mark.slow
    def test_one_that_sets_nothing_keeps_the_timeout(self, tmp_path):
        """It took 58 s with the client's own settings."""
        with redis_server(tmp_path) as server:
            for client in server.client, redis.Redis.from_url(server.url):
                with RedisStore(client, timeout=0.3) as store:
                    store.load(KEY)
                    server.signal(signal.SIGSTOP)
                    try:
                        began = time.monotonic()
                        with pytest.raises(StoreUnavailable, match="does not answer"):
                            store.load(KEY)
                        assert time.monotonic() - began < 2
                    finally:
                        server.signal(signal.SIGCONT)

    @pytest.mark.parametrize("timeout", [1e10, 1e300])
    def test_a_timeout_of_any_size_is_taken(self, server, timeout):
        for given in server.url, server.client:
            with RedisStore(given, timeout=timeout) as store:
                put(store, key_of(str(given)))


class TestScripts:
    def test_a_cache_that_is_flushed_between_two_calls_loses_no_login(self, server):
        """Effect-TS/effect-smol#2328: each login behind such a proxy failed."""
        with RedisStore(server.url) as store:
            for number in range(20):
                server.client.script_flush()
                put(store, key_of(str(number)), owner="7")
                server.client.script_flush()
                assert store.rotate(key_of(str(number)), key_of(f"n{number}"), {}, [], owner="8")
            assert store.delete_owner("8") == 20

    @pytest.mark.parametrize("refused", ["-evalsha", "-script", "-evalsha -script"])
    def test_a_user_needs_no_right_to_call_or_load_them_by_hash(self, server, refused):
        server.client.execute_command(
            "ACL", "SETUSER", "web", "reset", "on", ">pw", "~litesess:*", "+@all", *refused.split()
        )
        with RedisStore(f"redis://web:pw@127.0.0.1:{server.port}") as store:
            for number in range(3):
                put(store, key_of(str(number)), owner="7")
            assert store.update(key_of("0"), {"n": 1}, []).data == {"n": 1}
            assert store.delete_owner("7") == 3

    def test_what_was_done_before_a_forgotten_script_is_not_done_again(self, server):
        """A deletion that was repeated would say that nothing was there."""
        keys = [key_of(str(number)) for number in range(4)]
        with RedisStore(server.url) as store:
            for key in keys:
                put(store, key)
            store.delete_all(["0" * 64, "1" * 64])
            server.client.script_flush()
            assert store.delete_all(keys) == 4


def misconf(server):
    server.client.config_set("save", "1 1")
    (server.directory / "dump.rdb").mkdir()
    server.client.set("x", 1)
    server.client.bgsave()
    wait_until(
        lambda: server.client.info("persistence")["rdb_last_bgsave_status"] == "err", "it fails"
    )


def few_replicas(server):
    server.client.config_set("min-replicas-to-write", 1)


def full(server):
    server.client.config_set("maxmemory", 1)


def another_password(server):
    server.client.execute_command("ACL", "SETUSER", "web", "resetpass", ">another")
    server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def no_user(server):
    server.client.execute_command("ACL", "DELUSER", "web")


def fewer_rights(server):
    server.client.execute_command("ACL", "SETUSER", "web", "-@scripting")


def no_connection_left(server):
    server.held = redis.Redis(port=server.port, single_connection_client=True)
    server.held.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    server.held.config_set("maxclients", 1)


OUTAGES = {
    "MISCONF": (misconf, "can't save its data"),
    "NOREPLICAS": (few_replicas, "min-replicas-to-write"),
    "OOM": (full, "no memory left"),
    "WRONGPASS": (another_password, "refuses the user or password"),
    "NOAUTH": (no_user, "refuses the user or password"),
    "NOPERM": (fewer_rights, "(EVAL of litesess:s:{|(EVALSHA of litesess:s:{"),
    "maxclients": (no_connection_left, "maxclients"),
}


@pytest.mark.slow
@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_of_any_kind_is_one_and_if_unavailable_says_what_a_request_gets(tmp_path, outage):
    """A refusal to write was an exception, so a page of error 500."""
    bring_about, words = OUTAGES[outage]
    with redis_server(tmp_path) as server:
        server.client.execute_command(
            "ACL", "SETUSER", "web", "reset", "on", ">pw", "~*", "&*", "+@all"
        )
        url = f"redis://web:pw@127.0.0.1:{server.port}"
        with RedisStore(url, timeout=0.2) as store:
            put(store, n=0)
            bring_about(server)
            with pytest.raises(StoreUnavailable) as failure:
                store.update(KEY, {"n": 1}, [])
            assert any(each in str(failure.value) for each in words.split("|"))
            assert KEY not in str(failure.value)
            if outage == "OOM":
                assert isinstance(failure.value, StoreFull)
            for mode, status in ("503", "503 Service Unavailable"), ("anonymous", "200 OK"):
                site = Site(store, clock=store.clock, if_unavailable=mode)
                assert site.visit(write(n=1)).status == status
        server.kill()  # some don't end by themselves


@pytest.mark.slow
def test_a_server_that_loads_its_data_is_waited_for(tmp_path):
    slow = ("--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024",
            "--rdbcompression", "no")  # fmt: skip
    with redis_server(tmp_path, *slow) as server, RedisStore(server.url, timeout=10) as store:
        put(store, n=1)
        for number in range(300):
            server.client.set(str(number), "x" * 2000)
        server.client.save()
        server.kill()
        starting = threading.Thread(target=server.start)
        starting.start()
        wait_until(lambda: _is_loading(server.port), "it is loading")
        assert store.load(KEY).data == {"n": 1}
        starting.join()


def _is_loading(port):
    try:
        redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).get("x")
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.exceptions.RedisError:
        pass
    return False


def test_an_error_names_the_command_and_the_key_as_far_as_the_handle(server):
    server.client.execute_command(
        "ACL", "SETUSER", "web", "reset", "on", ">pw", "~litesess:k*", "+@all"
    )
    with RedisStore(f"redis://web:pw@127.0.0.1:{server.port}") as store:
        with pytest.raises(StoreUnavailable) as failure:
            store.load(KEY)
        shown = f"(LOAD of litesess:s:{{{handle_of(KEY)}...}})"
        assert shown in str(failure.value)
        assert "docs/redis.rst" in str(failure.value)
        with pytest.raises(StoreUnavailable, match=r"CREATE of litesess:s:{[0-9a-f]{16}\.\.\.}"):
            put(store, owner="7")


@pytest.mark.parametrize(
    ("scheme", "words"), [("redis", "Connection refused"), ("rediss", "is that a port for TLS")]
)
def test_the_cause_of_a_connection_that_fails_is_logged_once(server, caplog, scheme, words):
    port = {"redis": 1, "rediss": server.port}[scheme]
    store = RedisStore(f"{scheme}://127.0.0.1:{port}", timeout=0.2)
    with caplog.at_level(logging.ERROR, "litesess.store.connection"), store:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=words):
                store.load(KEY)
    (record,) = caplog.records
    assert words in record.getMessage()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_the_threads_of_a_worker_that_starts_wait_side_by_side_for_a_server_that_hangs(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        with RedisStore(url, timeout=0.4) as store:
            began = time.monotonic()
            failures = in_threads(10, lambda _: store.load(KEY))
            took = time.monotonic() - began
    assert [type(each) for each in failures] == [StoreUnavailable] * 10
    assert took < 2, "one after the other they wait for 3 s and more"


def test_a_cluster_without_a_node_that_answers_is_away_and_waited_for(redis_cluster_url):
    _, _, port = redis_cluster_url.rpartition(":")
    with (
        RedisStore(f"redis+cluster://127.0.0.1:{free_port()}", timeout=0.2) as store,
        pytest.raises(StoreUnavailable, match="Connection refused"),
    ):
        store.load(KEY)
    with (
        relay(1) as name,
        RedisStore(f"redis+cluster://127.0.0.1:{name.port}", timeout=20) as store,
    ):
        opened = threading.Thread(target=wait_until, args=(lambda: name.opened > 0, "a try"))
        opened.start()
        outcome = []
        loading = threading.Thread(target=lambda: outcome.append(store.load(KEY)))
        loading.start()
        opened.join()
        name.target = int(port)
        loading.join()
    assert outcome == [None]


def test_an_error_about_sentinels_does_not_show_how_they_are_asked(caplog):
    patience = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1}
    patience |= {"retry": Retry(NoBackoff(), 0)}
    asked = {"password": "hunter2", "client_name": "asker", **patience}
    sentinel = Sentinel([("127.0.0.1", free_port())], sentinel_kwargs=asked, **patience)
    words = "No master found for 'main'; no Sentinel answers"
    with (
        RedisStore(sentinel.master_for("main"), timeout=0.3) as store,
        pytest.raises(StoreUnavailable, match=words) as failure,
    ):
        store.load(KEY)
    for text in str(failure.value), caplog.text:
        assert "No master found" in text
        assert not any(part in text for part in ("password", "hunter2", "asker", "<redis"))


def test_a_store_that_was_closed_while_its_client_was_made_stays_closed(redis_cluster_url):
    with RedisStore(redis_cluster_url) as store:
        link = store._link
        make, made = link._make_client, []

        def make_late():
            made.append(make())
            store.close()
            return made[-1]

        link._make_client = make_late
        with pytest.raises(StoreClosed):
            store.load(KEY)
        with pytest.raises(StoreClosed):
            store.load(KEY)
    assert len(made) == 1


def test_the_middleware_takes_an_address(server):
    site = Site(f"{server.url}/5?prefix=shop:", clock=time.time)
    assert site.visit(write(n=1)).status == "200 OK"
    assert redis.Redis(port=server.port, db=5).exists("shop:keys")


def test_a_pool_that_has_lent_all_its_connections_is_waited_for(server):
    with RedisStore(f"{server.url}?max_connections=1", timeout=5) as store:
        put(store, n=0)
        assert in_threads(8, lambda _: store.load(KEY).data) == [{"n": 0}] * 8
    with RedisStore(f"{server.url}?max_connections=1", timeout=0.1) as store:
        store.load(KEY)
        pool = store._link.client.connection_pool
        held = pool.get_connection()
        with pytest.raises(StoreUnavailable, match="max_connections allows are in use"):
            store.load(KEY)
        pool.release(held)
        assert store.load(KEY).data == {"n": 0}


def certificate(directory, host):
    """Write a certificate for *host* that nobody has signed but itself; return its options."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "cert.pem").write_bytes(made.public_bytes(pem))
    (directory / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return (
        "--tls-cert-file", str(directory / "cert.pem"), "--tls-key-file",
        str(directory / "key.pem"), "--tls-ca-cert-file", str(directory / "cert.pem"),
        "--tls-auth-clients", "no",
    )  # fmt: skip


@pytest.mark.slow
def test_a_connection_by_tls_works_or_its_cause_is_said_at_once(tmp_path, caplog):
    """Whatever was wrong, it said "can't be reached (ConnectionError)" after a second."""
    if not has_tls():
        pytest.skip("needs a redis-server that was built with TLS")
    port = free_port()
    options = ("--tls-port", str(port), *certificate(tmp_path, "localhost"))
    with redis_server(tmp_path, *options):
        trusted = f"ssl_ca_certs={tmp_path / 'cert.pem'}"
        with RedisStore(f"rediss://localhost:{port}?{trusted}") as store:
            put(store, n=1)
            assert store.load(KEY).data == {"n": 1}
        for url, words in {
            f"rediss://localhost:{port}": "certificate: self-signed certificate",
            f"rediss://127.0.0.1:{port}?{trusted}": "IP address mismatch",
            f"redis://localhost:{port}": "begins with rediss://",
        }.items():
            caplog.clear()
            with RedisStore(url, timeout=5 if "rediss" in url else 0.2) as store:
                for _ in range(2):
                    began = time.monotonic()
                    with pytest.raises(StoreUnavailable, match=words):
                        store.load(KEY)
                    assert time.monotonic() - began < 3
            (record,) = caplog.records
            assert words in record.getMessage()
