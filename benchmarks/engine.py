"""The engine against the disk it runs on and against SQLite, each as a ratio within one run.

    python -m benchmarks.engine [--directory DIR] [--only PART ...] [--sessions N]

SQLite is the standard library's, in WAL mode with ``synchronous=FULL`` and one connection for
each thread; "by hand" is ``pwrite`` and ``fdatasync`` of as many bytes into a file reserved
ahead.  The candidates take turns, round by round: if the machine becomes slower, it slows all of
them.  The output is the median of the rounds, and the median of their ratios.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.disk import by_hand
from litesess import Record, WALStore
from litesess.crypto import EncryptionKey
from litesess.engine import Engine, FileSystem, Limits, Means, Put
from litesess.engine import format as form

VALUE_BYTES = 380
RECORD_BYTES = form.RECORD_BYTES + form.KEY_BYTES + 8 + VALUE_BYTES
THREADS = 16
EXPIRES_AT = 1e10


class Unshared(FileSystem):
    """Files that no other process can use: nothing is followed, nothing locked for each write."""

    @staticmethod
    def type_of(path: str) -> str:  # noqa: ARG004  # as it is called
        """Pretend that *path* lies on a file system that nothing is known of."""
        return "pretended"


def make_engine(
    path: str,
    wal_limit: int = 1 << 20,
    fs: FileSystem | None = None,
    key: EncryptionKey | None = None,
) -> Engine:
    """Return an engine on the directory *path*."""
    return Engine(
        path,
        "sessions",
        Limits(wal_limit=wal_limit, lock_timeout=10),
        Means(random_bytes=os.urandom, fs=fs or FileSystem()),
        encryption_key=key,
    )


def key_of(number: int) -> bytes:
    """Return the key of session *number*."""
    return sha256(b"%d" % number).digest()


def put(engine: Engine, key: bytes, value: bytes, *, sync: bool = True) -> None:
    """Store *value* under *key*."""
    changes = (Put(key, value, EXPIRES_AT),)
    engine.transact(lambda _stored: (changes, None), sync=sync)


def fill(engine: Engine, count: int) -> None:
    """Put *count* sessions into one snapshot."""
    for number in range(count):
        put(engine, key_of(number), random.randbytes(VALUE_BYTES), sync=False)
    engine.compact()


class SQLite:
    """The same operations on SQLite, a connection for each thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()
        self._connection().execute(
            "CREATE TABLE IF NOT EXISTS s (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"
        )

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, isolation_level=None, timeout=60)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute("PRAGMA synchronous=FULL")
            self._local.connection = found
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Store *value* under *key*, durably."""
        self._connection().execute("INSERT OR REPLACE INTO s VALUES (?, ?)", (key, value))

    def get(self, key: bytes) -> bytes:
        """Return the value stored under *key*."""
        row = self._connection().execute("SELECT v FROM s WHERE k = ?", (key,)).fetchone()
        return bytes(row[0])

    def fill(self, count: int) -> None:
        """Store *count* sessions."""
        connection = self._connection()
        connection.execute("BEGIN")
        rows = ((key_of(number), random.randbytes(VALUE_BYTES)) for number in range(count))
        connection.executemany("INSERT OR REPLACE INTO s VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def timed(work: Callable[[int], object], count: int) -> list[float]:
    """Return how long each of *count* calls took, in microseconds."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - began) * 1e6)
    return times


def rate(work: Callable[[int], object], count: int, threads: int) -> float:
    """Return how many calls a second *threads* make, each of them *count*."""
    start = threading.Barrier(threads + 1)

    def run(first: int) -> None:
        start.wait()
        for number in range(first, first + count):
            work(number)

    workers = [threading.Thread(target=run, args=(n * count,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return threads * count / (time.perf_counter() - began)


#: The goal for a ratio, by its denominator and by the measurement.
WANTED: dict[str, dict[str, str]] = {
    "one without following and locks": {"get": "<= 1.25", "durable put": "<= 1.25"},
    "plain": {"get": "<= 1.3", "durable put": "<= 1.05", "not durable put": "<= 1.25"},
}


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the ratios of rounds."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def report(what: str, value: str, wanted: str = "") -> None:
    """Print one line."""
    print(f"{what:58} {value:>22}   {wanted}", flush=True)


def measure_puts(directory: str, options: argparse.Namespace) -> None:
    """Durable puts, by one thread and by many."""
    engine = make_engine(f"{directory}/puts")
    sqlite = SQLite(f"{directory}/puts.sqlite")
    write_by_hand = by_hand(directory, RECORD_BYTES)
    value = random.randbytes(VALUE_BYTES)
    works: dict[str, Callable[[int], object]] = {
        "hand": lambda _number: write_by_hand(),
        "ours": lambda number: put(engine, key_of(number), value),
        "sqlite": lambda number: sqlite.put(key_of(number), value),
    }
    p50: dict[str, list[float]] = {name: [] for name in works}
    single: dict[str, list[float]] = {name: [] for name in works}
    many: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            times = timed(work, 500)
            p50[name].append(statistics.median(times))
            single[name].append(1e6 / statistics.fmean(times))
        for name in ("ours", "sqlite"):
            many[name].append(rate(works[name], 60, THREADS))
    engine.close()
    report("durable put, 1 thread, p50 us", f"{statistics.median(p50['ours']):.0f}")
    report(
        "  over the same bytes by hand", f"{median_ratio(p50['ours'], p50['hand']):.2f}", "<= 1.2"
    )
    report(
        "  throughput over SQLite", f"{median_ratio(single['ours'], single['sqlite']):.2f}", ">= 1"
    )
    report(f"durable put, {THREADS} threads, per second", f"{statistics.median(many['ours']):.0f}")
    report("  over SQLite", f"{median_ratio(many['ours'], many['sqlite']):.2f}", ">= 3")
    report(
        "  over our own single thread",
        f"{median_ratio(many['ours'], single['ours']):.2f}",
        ">= 2.5",
    )


def measure_gets(directory: str, options: argparse.Namespace) -> None:
    """Reads from 200 000 sessions, by one thread and by many."""
    count = 200_000
    engine = make_engine(f"{directory}/gets", wal_limit=1 << 30)
    fill(engine, count)
    sqlite = SQLite(f"{directory}/gets.sqlite")
    sqlite.fill(count)
    keys = [key_of(random.randrange(count)) for _ in range(1 << 15)]
    works: dict[str, Callable[[bytes], object]] = {"ours": engine.get, "sqlite": sqlite.get}
    single: dict[str, list[float]] = {name: [] for name in works}
    many: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, get in works.items():

            def work(number: int, get: Callable[[bytes], object] = get) -> object:
                return get(keys[number % len(keys)])

            single[name].append(rate(work, 20_000, 1))
            many[name].append(rate(work, 2_000, THREADS))
    engine.close()
    report("get of 200 000, 1 thread, us", f"{1e6 / statistics.median(single['ours']):.1f}")
    report("  over SQLite", f"{median_ratio(single['ours'], single['sqlite']):.2f}", ">= 1.2")
    report(
        f"get of 200 000, {THREADS} threads, per second", f"{statistics.median(many['ours']):.0f}"
    )
    report(
        "  over our own single thread",
        f"{median_ratio(many['ours'], single['ours']):.2f}",
        ">= 0.8",
    )
    report("  over SQLite", f"{median_ratio(many['ours'], many['sqlite']):.2f}", ">= 1.5")


def compare(engines: dict[str, Engine], rounds: int, *, over: str) -> None:
    """Report the times of gets and puts in one engine, and their ratio to another engine's.

    Args:
        engines: two engines, by name.
        rounds: how many times each is measured, in turn.
        over: the name of the one that the other is compared with.
    """
    count = 20_000
    for engine in engines.values():
        fill(engine, count)
    value = random.randbytes(VALUE_BYTES)
    keys = [key_of(random.randrange(count)) for _ in range(4000)]
    works: dict[str, tuple[Callable[[Engine, int], object], int]] = {
        "get": (lambda engine, number: engine.get(keys[number]), 4000),
        "durable put": (lambda engine, number: put(engine, keys[number], value), 500),
        "not durable put": (
            lambda engine, number: put(engine, keys[number], value, sync=False),
            2000,
        ),
        "get of what was just put": (lambda engine, number: engine.get(keys[number]), 2000),
    }
    times: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in engines} for what in works
    }
    for _ in range(rounds):
        for what, (work, calls) in works.items():
            for name, engine in engines.items():
                found = timed(partial(work, engine), calls)
                times[what][name].append(statistics.median(found))
    for engine in engines.values():
        engine.close()
    (other,) = engines.keys() - {over}
    for what, found_times in times.items():
        report(f"{what}, {other}, us", f"{statistics.median(found_times[other]):.1f}")
        ratio = median_ratio(found_times[other], found_times[over])
        report(f"  over {over}", f"{ratio:.3f}", WANTED[over].get(what, ""))


def measure_sharing(directory: str, options: argparse.Namespace) -> None:
    """Measure the cost, for one process, of expecting other processes."""
    engines = {
        "shareable": make_engine(f"{directory}/shared", 1 << 26),
        "one without following and locks": make_engine(f"{directory}/alone", 1 << 26, Unshared()),
    }
    compare(engines, options.rounds, over="one without following and locks")


def measure_encryption(directory: str, options: argparse.Namespace) -> None:
    """Measure the cost of encryption."""
    key = EncryptionKey(os.urandom(32))
    engines = {
        "encrypted": make_engine(f"{directory}/encrypted", 1 << 26, key=key),
        "plain": make_engine(f"{directory}/plain", 1 << 26),
    }
    compare(engines, options.rounds, over="plain")
    count = options.sessions
    for name, encryption_key in ("plain", None), ("encrypted", key):
        path = f"{directory}/large {name}"
        engine = make_engine(path, wal_limit=1 << 30, key=encryption_key)
        fill(engine, count)
        put(engine, key_of(1), b"first")
        began = time.perf_counter()
        engine.compact()
        report(f"compacting {count} sessions, {name}, s", f"{time.perf_counter() - began:.1f}")
        engine.close()
        opened = []
        for _ in range(options.rounds):
            engine = make_engine(path, wal_limit=1 << 30, key=encryption_key)
            began = time.perf_counter()
            engine.get(key_of(1))
            opened.append(time.perf_counter() - began)
            engine.close()
        report(f"opening {count} sessions, {name}, s", f"{statistics.median(opened):.3f}")


def processes_rate(make_put: Callable[[], Callable[[int], object]], count: int, each: int) -> float:
    """Return how many puts a second *count* processes make, each of them *each*."""
    forking = multiprocessing.get_context("fork")
    start, end = forking.Barrier(count + 1), forking.Barrier(count + 1)

    def work(first: int) -> None:
        put_one = make_put()
        put_one(first)
        start.wait()
        for number in range(first, first + each):
            put_one(number)
        end.wait()

    processes = [forking.Process(target=work, args=(n * each,)) for n in range(count)]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    end.wait()
    took = time.perf_counter() - began
    for process in processes:
        process.join()
    return count * each / took


def measure_processes(directory: str, options: argparse.Namespace) -> None:
    """Durable puts by several processes on one directory."""
    value = random.randbytes(VALUE_BYTES)

    def put_ours() -> Callable[[int], object]:
        engine = make_engine(f"{directory}/processes")
        return lambda number: put(engine, key_of(number), value)

    def put_theirs() -> Callable[[int], object]:
        sqlite = SQLite(f"{directory}/processes.sqlite")
        return lambda number: sqlite.put(key_of(number), value)

    for count in 1, 2, 4:
        rates: dict[str, list[float]] = {"ours": [], "sqlite": []}
        for _ in range(options.rounds):
            rates["ours"].append(processes_rate(put_ours, count, 1500))
            rates["sqlite"].append(processes_rate(put_theirs, count, 1500))
        wanted = ">= 1.5" if count == 4 else ""
        report(f"durable puts, {count} processes, /s", f"{statistics.median(rates['ours']):.0f}")
        report("  over SQLite", f"{median_ratio(rates['ours'], rates['sqlite']):.2f}", wanted)


#: Run in a process of its own: the time and private memory of opening.
_OPENING = """
import sys, time
from benchmarks.engine import key_of, make_engine, put
def private():
    with open("/proc/self/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) / 1024
before = private()
began = time.perf_counter()
engine = make_engine(sys.argv[1], wal_limit=1 << 30)
assert engine.get(key_of(1)) is not None
print(time.perf_counter() - began, private() - before)
put(engine, key_of(1), b"so that the next one finds a store that was not closed")
"""


def opening(path: str) -> tuple[float, float]:
    """Return the seconds that opening took in a new process, and its MiB; it leaves unclosed."""
    out = subprocess.run(  # this file and this interpreter
        [sys.executable, "-c", _OPENING, path], check=True, capture_output=True, text=True
    )
    seconds, memory = map(float, out.stdout.split())
    return seconds, memory


def measure_opening(directory: str, options: argparse.Namespace) -> None:
    """Opening a large store: closed cleanly, with a long log, and after a kill."""
    path = f"{directory}/large"
    count = options.sessions
    engine = make_engine(path, wal_limit=1 << 30)
    fill(engine, count)
    for number in range(1000):
        put(engine, key_of(number), random.randbytes(VALUE_BYTES), sync=False)
    engine.close()
    seconds, memory = opening(path)
    what = f"open {count} sessions"
    report(f"{what}, clean, short log, s", f"{seconds:.3f}", "< 0.5")
    report("  private MiB", f"{memory:.1f}", "< 40")
    engine = make_engine(path, wal_limit=1 << 30)
    limit = min(1 << 26, engine_snapshot_bytes(path) // 2)
    for number in range(limit // RECORD_BYTES):
        put(engine, key_of(number % count), random.randbytes(VALUE_BYTES), sync=False)
    engine.close()
    seconds, memory = opening(path)
    report(f"{what}, clean, log of {limit >> 20} MiB, s", f"{seconds:.3f}", "< 2")
    report("  private MiB", f"{memory:.1f}", "< 40")
    seconds, memory = opening(path)  # the one before was not closed
    report(f"{what}, after a kill, log of {limit >> 20} MiB, s", f"{seconds:.3f}")
    report("  private MiB", f"{memory:.1f}")


def engine_snapshot_bytes(path: str) -> int:
    """Return how large the store's snapshot is."""
    return sum(item.stat().st_size for item in Path(path).glob("*.snapshot"))


def measure_compaction(directory: str, options: argparse.Namespace) -> None:
    """Durable puts while a large store is compacted."""
    path = f"{directory}/large"
    engine = make_engine(path, wal_limit=1 << 30)
    if engine.get(key_of(1)) is None:
        fill(engine, options.sessions)
    value = random.randbytes(VALUE_BYTES)

    def one(number: int) -> None:
        put(engine, key_of(number), value)

    quiet = sorted(timed(one, 5000))
    done = threading.Event()

    def compact() -> None:
        engine.compact()
        done.set()

    def until_done() -> Iterator[float]:
        number = 0
        while not done.is_set():
            began = time.perf_counter()
            one(number)
            yield (time.perf_counter() - began) * 1e6
            number += 1

    thread = threading.Thread(target=compact)
    began = time.perf_counter()
    thread.start()
    busy = sorted(until_done())
    thread.join()
    took = time.perf_counter() - began
    engine.close()
    p99 = [part[len(part) * 99 // 100] for part in (quiet, busy)]
    report(f"compacting {options.sessions} sessions, s", f"{took:.1f}")
    report("  p99 of durable puts, quiet us", f"{p99[0]:.0f}")
    report("  p99 of durable puts meanwhile, ratio", f"{p99[1] / p99[0]:.1f}", "<= 3")
    report(
        "  longest put quiet / meanwhile, ms",
        f"{quiet[-1] / 1e3:.1f} / {busy[-1] / 1e3:.1f}",
        "<= 50",
    )


def measure_owners(directory: str, options: argparse.Namespace) -> None:
    """Finding and ending the sessions of one owner among all."""
    count, owners = options.sessions, max(options.sessions // 5, 1)
    store = WALStore(f"{directory}/owners", durable=False, wal_limit=1 << 26, gc_interval=None)
    for number in range(count):
        owner = str(number % owners)
        record = Record({"user": owner}, EXPIRES_AT - 100, EXPIRES_AT, owner=owner)
        store.create(f"{number:064x}"[::-1], record)
    began = time.perf_counter()
    store.compact()
    took = time.perf_counter() - began
    report(f"compacting {count} sessions of {owners} owners, much new, s", f"{took:.1f}")
    found = timed(lambda number: store.find(str(number * 37 % owners)), 300)
    report("find of one owner, p50 ms", f"{statistics.median(found) / 1e3:.3f}", "<= 5")
    gone = timed(lambda number: store.delete_owner(str(number * 37 % owners)), 300)
    report("delete_owner of one owner, p50 ms", f"{statistics.median(gone) / 1e3:.3f}", "<= 5")
    store.close()
    limited = WALStore(f"{directory}/owners", durable=False, max_per_owner=5, gc_interval=None)
    numbers = itertools.count(count)

    def log_in(number: int) -> None:
        owner = str((number * 37 + 11) % owners)
        record = Record({}, EXPIRES_AT - 1, EXPIRES_AT, owner=owner)
        limited.create(f"{next(numbers):064x}"[::-1], record)

    report("create with max_per_owner, p50 us", f"{statistics.median(timed(log_in, 1000)):.0f}")
    limited.close()


def bytes_written() -> int:
    """Return how many bytes this process has handed to the kernel; source: proc_pid_io(5)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def measure_amplification(directory: str, options: argparse.Namespace) -> None:
    """How many bytes reach the disk for each byte that is put."""
    count = min(options.sessions, 100_000)
    engine = make_engine(f"{directory}/amplified")
    for number in range(count):
        put(engine, key_of(number), random.randbytes(VALUE_BYTES), sync=False)
    engine.compact()
    before = bytes_written()
    puts = 3 * count
    for _ in range(puts):
        put(engine, key_of(random.randrange(count)), random.randbytes(VALUE_BYTES), sync=False)
    engine.close()
    report(
        f"bytes written for each byte put, {count} sessions",
        f"{(bytes_written() - before) / (puts * VALUE_BYTES):.2f}",
        "<= 4",
    )


PARTS: dict[str, Callable[[str, Any], None]] = {
    "puts": measure_puts,
    "gets": measure_gets,
    "sharing": measure_sharing,
    "encryption": measure_encryption,
    "processes": measure_processes,
    "opening": measure_opening,
    "compaction": measure_compaction,
    "owners": measure_owners,
    "amplification": measure_amplification,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", help="on the disk to measure (a temporary one)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sessions", type=int, default=1_000_000, help="in the large store")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"seed {options.seed}, SQLite {sqlite3.sqlite_version}")
    directory = tempfile.mkdtemp(dir=options.directory)
    try:
        for part in options.only:
            PARTS[part](directory, options)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
