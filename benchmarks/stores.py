"""WALStore and RedisStore side by side, and copying from one to the other.

``python -m benchmarks.stores`` starts a redis-server on a free port of this machine.  Rounds of the
stores alternate, so that a slow phase of the machine meets them all.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import redis

from litesess import MemoryStore, Record, Store, WALStore
from litesess.ids import key_of
from litesess.stores.copying import copy_all
from litesess.stores.fallback import FallbackStore
from litesess.stores.redis import RedisStore

SESSIONS = 1000
DATA = {"user": "ada", "cart": [1, 2, 3], "seen": {"news": "2026-01-31", "terms": 7}}


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[str]:
    """Start a server; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    with subprocess.Popen([*command, "--save", "", *options], stdout=subprocess.DEVNULL) as process:
        try:
            client = redis.Redis(port=port)
            while True:
                try:
                    client.ping()
                    break
                except redis.exceptions.ConnectionError:
                    time.sleep(0.01)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()


def fill(store: Store, number: int) -> list[str]:
    """Create so many sessions; return their keys."""
    keys = [key_of(str(each)) for each in range(number)]
    now = time.time()
    for at, key in enumerate(keys):
        store.create(key, Record({**DATA, "n": at}, now, now + 86_400, owner=str(at // 5)))
    return keys


def rate(work: Callable[[int], object], threads: int, seconds: float) -> float:
    """Return how often a second *work* is done by so many threads."""
    counts = [0] * threads
    start, stop = threading.Barrier(threads + 1), threading.Event()

    def run(mine: int) -> None:
        start.wait()
        while not stop.is_set():
            work(counts[mine])
            counts[mine] += 1

    workers = [threading.Thread(target=run, args=(each,)) for each in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def rates(stores: dict[str, Store], rounds: int, seconds: float) -> None:
    """Print the median rate of each store at each kind of work."""
    keys = {name: fill(store, SESSIONS) for name, store in stores.items()}
    print(f"{'operations/s, median of ' + str(rounds):32}", *(f"{name:>22}" for name in stores))
    for threads in 1, 16:
        for kind in "load", "update":
            found: dict[str, list[float]] = {name: [] for name in stores}
            for _ in range(rounds):
                for name, store in stores.items():

                    def work(
                        at: int, name: str = name, store: Store = store, kind: str = kind
                    ) -> object:
                        key = random.choice(keys[name])  # which is nobody's secret
                        return (
                            store.load(key) if kind == "load" else store.update(key, {"n": at}, ())
                        )

                    found[name].append(rate(work, threads, seconds))
            print(
                f"{kind + ', ' + str(threads) + (' thread' if threads == 1 else ' threads'):32}",
                *(f"{median(each):22,.0f}" for each in found.values()),
            )


def copying(source: Store, target: Store, number: int) -> None:
    """Print how long it takes to copy so many sessions while they are written."""
    keys = fill(source, number)
    both = FallbackStore(target, source)
    expected: dict[str, float] = {}
    stop = threading.Event()
    lost = []

    def write() -> None:
        while not stop.is_set():
            key = random.choice(keys)
            value = random.random()
            if both.update(key, {"x": value}, ()) is None:
                lost.append(key)
            expected[key] = value
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    began = time.perf_counter()
    report = copy_all(source, target)
    seconds = time.perf_counter() - began
    stop.set()
    writer.join()
    found = {key: record.data for key, record in target.records()}
    changed = sum(
        found.get(key) != {**DATA, "n": at, **({"x": expected[key]} if key in expected else {})}
        for at, key in enumerate(keys)
    )
    print(
        f"{number:,} sessions copied and compared in {seconds:.1f} s, {len(expected)} written"
        f" meanwhile: {len(lost)} lost, {changed} changed, {len(report.different)} different"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", help="on the disk to measure (a temporary one)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round of each case")
    parser.add_argument("--copy", type=int, default=100_000, help="sessions to copy")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(dir=options.directory))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, base)
        always = stack.enter_context(
            redis_server(base / "always", "--appendonly", "yes", "--appendfsync", "always")
        )
        everysec = stack.enter_context(
            redis_server(base / "everysec", "--appendonly", "yes", "--appendfsync", "everysec")
        )
        stores: dict[str, Store] = {
            "WALStore": stack.enter_context(WALStore(base / "wal")),
            "WALStore, not durable": stack.enter_context(WALStore(base / "fast", durable=False)),
            "Redis always": stack.enter_context(RedisStore(always)),
            "Redis everysec": stack.enter_context(RedisStore(everysec)),
            "MemoryStore": stack.enter_context(MemoryStore()),
        }
        rates(stores, options.rounds, options.seconds)
        for name, url in (("everysec", everysec), ("always", always)):
            print(f"WALStore to Redis {name}:", end=" ", flush=True)
            with (
                WALStore(base / f"from {name}", durable=False) as source,
                RedisStore(url, prefix="copy:") as target,
            ):
                copying(source, target, options.copy)
        print("Redis everysec to WALStore:", end=" ", flush=True)
        with RedisStore(everysec, prefix="back:") as source_store, WALStore(base / "back") as back:
            copying(source_store, back, options.copy)


if __name__ == "__main__":
    main()
