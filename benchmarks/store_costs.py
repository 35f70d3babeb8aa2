"""The other costs of stores: memory, opening, bytes written, and writes that wait."""

from __future__ import annotations

import gc
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, TypeAlias

from benchmarks import peers, store_latency
from benchmarks.disk import by_hand
from benchmarks.peers import RECORD_BYTES, VALUE_BYTES, Data, Item, Peer, decode, encode, items, key
from benchmarks.rates import in_new_process
from benchmarks.redis_server import missing, redis_server
from benchmarks.rounds import Table
from benchmarks.settings import Settings
from benchmarks.store_candidates import has
from benchmarks.store_peers import LMDB, Redis, SQLite, WriteOnly
from litesess import MemoryStore

#: Opens a peer in a directory.
Make: TypeAlias = "Callable[[Path], Peer]"

OURS: Final = "litesess"
ENCRYPTED: Final = "litesess, encrypted"
SQLITE: Final = "SQLite, FULL"
LIGHTNING: Final = "LMDB, sync"
DICT: Final = "dict of JSON bytes"
LOG: Final = "read, check, put all into a dict"
MEMORY: Final = "litesess, MemoryStore"
REDIS: Final = "Redis, everysec"

#: The number of sessions that are read before the memory of a store is measured.
_READ: Final = 1_000
#: The number of sessions that are rewritten, and how often each is on average.
_REWRITTEN: Final = 100_000
_REWRITES: Final = 3
_SIZES: Final = (100_000, 1_000_000)


class FramedLog(WriteOnly):
    """A file of records, each with its length and CRC, that is read into a dict."""

    _FRAME = struct.Struct("<II32s")  # length u32, CRC-32 u32, key

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[bytes, bytes] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        with self._path.open("rb", buffering=1 << 20) as file:
            while frame := file.read(self._FRAME.size):
                length, checksum, raw = self._FRAME.unpack(frame)
                value = file.read(length)
                if zlib.crc32(value, zlib.crc32(raw)) != checksum:
                    raise RuntimeError(f"{self._path} is damaged")
                self._found[raw] = value

    def set(self, key: str, data: Data) -> None:
        """Not here."""
        raise NotImplementedError(key, data)

    def get(self, key: str) -> Data:
        """Return the values of a session that is there."""
        return decode(self._found[bytes.fromhex(key)])

    def fill(self, new: Iterable[Item]) -> None:
        """Write a record for each."""
        with self._path.open("wb") as file:
            for name, data in new:
                raw, value = bytes.fromhex(name), encode(data)
                checksum = zlib.crc32(value, zlib.crc32(raw))
                file.write(self._FRAME.pack(len(value), checksum, raw) + value)


#: The stores that are opened with all their sessions on the disk.
_ON_DISK: Final[dict[str, Make]] = {
    OURS: peers.ours,
    ENCRYPTED: peers.ours_encrypted,
    SQLITE: partial(SQLite, synchronous="FULL"),
    LIGHTNING: partial(LMDB, sync=True),
    LOG: FramedLog,
}
_NEEDS: Final = {LIGHTNING: "lmdb"}
#: Each writes the same bytes as if it were durable, but does not sync them, to be quick.
_UNSYNCED: Final[dict[str, Make]] = {
    OURS: peers.ours_not_durable,
    SQLITE: partial(SQLite, synchronous="OFF"),
    LIGHTNING: partial(LMDB, sync=False),
}


def measure(settings: Settings) -> Iterator[Table]:
    """Yield each table when it is finished."""
    memory = Table("memory", "private bytes per session", more_is_better=False)
    memory.notes = {
        OURS: "The store is opened, and 1 000 sessions are read.",
        ENCRYPTED: "The same, encrypted.",
        SQLITE: "The same.  Its page cache has a limit.",
        LIGHTNING: "The same.  The pages of its map that were read count, but the kernel can drop"
        " them.",
        DICT: "All sessions are in this process's memory.",
        MEMORY: "All sessions are in this process's memory.",
        REDIS: "used_memory of the server.",
    }
    opening = Table("open", "seconds", more_is_better=False)
    opening.notes = {
        OURS: "Closed before.  The files of all candidates are in the page cache.",
        SQLITE: "Closed before.",
        LIGHTNING: "Closed before.",
        LOG: "The work of a log without a snapshot or an index.",
    }
    for count in sorted({min(size, settings.sessions) for size in _SIZES}):
        stores = {
            name: (make, _filled(settings, f"{name} {count}", make, count))
            for name, make in _ON_DISK.items()
            if has(name, _NEEDS.get(name))
        }
        _measure_memory(settings, memory, count, stores)
        _measure_opening(settings, opening, count, stores)
    yield memory
    yield opening
    yield _written(settings)
    yield from store_latency.measure(settings)


def case_of(count: int) -> str:
    """Return a number with its groups of digits apart."""
    return f"{count:,}".replace(",", " ")


def _filled(settings: Settings, name: str, make: Make, count: int) -> Path:
    """Return where so many sessions are."""
    path = settings.directory / f"costs {name}"
    peer = make(path)
    peer.fill(items(count))
    peer.close()
    return path


def _measure_memory(
    settings: Settings, table: Table, count: int, stores: dict[str, tuple[Make, Path]]
) -> None:
    works: dict[str, Callable[[], float]] = {
        DICT if name == LOG else name: partial(
            in_new_process, opened_bytes, make, path, count, settings.seed
        )
        for name, (make, path) in stores.items()
    }
    works[MEMORY] = partial(in_new_process, memory_store_bytes, count)
    if missing() is None:
        works[REDIS] = partial(_redis_bytes, settings.directory / f"redis-costs-{count}", count)
    # One round, because the memory is the same each time.
    table.measure(case_of(count), works, 1, _probe(settings))


def _measure_opening(
    settings: Settings, table: Table, count: int, stores: dict[str, tuple[Make, Path]]
) -> None:
    works = {
        name: partial(in_new_process, opening_seconds, make, path, count)
        for name, (make, path) in stores.items()
        if name != ENCRYPTED
    }
    table.measure(case_of(count), works, settings.rounds, _probe(settings))


def opened_bytes(make: Make, path: Path, count: int, seed: int) -> float:
    """Return how many private bytes for each of so many sessions it takes to open a store."""
    _warm(make, path)
    rng = random.Random(seed)
    before = private_bytes()
    peer = make(path)
    for _ in range(_READ):
        peer.get(key(rng.randrange(count)))
    found = (private_bytes() - before) / count
    peer.close()
    return found


def memory_store_bytes(count: int) -> float:
    """Return how many private bytes for each of so many sessions a MemoryStore takes."""
    before = private_bytes()
    peer = peers.OurStore(MemoryStore())
    peer.fill(items(count))
    return (private_bytes() - before) / count


def opening_seconds(make: Make, path: Path, count: int) -> float:
    """Return the seconds until a store has answered for the first time."""
    _warm(make, path)
    wanted = key(count // 2)
    began = perf_counter()
    peer = make(path)
    peer.get(wanted)
    seconds = perf_counter() - began
    peer.close()
    return seconds


def _warm(make: Make, path: Path) -> None:
    """Use a small store, so that all its modules are imported."""
    peer = make(path.with_name(f"{path.name} small {os.getpid()}"))
    peer.fill(items(10))
    if not isinstance(peer, FramedLog):
        peer.get(key(1))
    peer.close()


def private_bytes() -> int:
    """Return the private memory of this process in bytes; source: proc_pid_smaps(5)."""
    gc.collect()
    with Path("/proc/self/smaps_rollup").open() as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) << 10


def _redis_bytes(directory: Path, count: int) -> float:
    with redis_server(directory, "everysec") as url:
        peer = Redis(url)
        before = peer.used_memory()
        peer.fill(items(count))
        found = (peer.used_memory() - before) / count
        peer.close()
    return found


def _written(settings: Settings) -> Table:
    table = Table("bytes written", "bytes written per byte", more_is_better=False)
    count = min(_REWRITTEN, settings.sessions)
    what = (
        f"{case_of(count)} sessions, in random order, each rewritten {_REWRITES} times on average."
    )
    table.notes = {
        OURS: f"{what}  With the compactions.  Not synced, which changes no byte.",
        SQLITE: f"{what}  With the checkpoints.  Not synced, which changes no byte.",
        LIGHTNING: f"{what}  It writes whole pages, with writemap=False.  Not synced.",
    }
    works = {
        name: partial(
            in_new_process,
            written_per_byte,
            make,
            settings.directory / f"written {name}",
            count,
            settings.seed,
        )
        for name, make in _UNSYNCED.items()
        if has(name, _NEEDS.get(name))
    }
    table.measure(case_of(count), works, 1, _probe(settings))
    return table


def written_per_byte(make: Make, path: Path, count: int, seed: int) -> float:
    """Return how many bytes are written for each byte of sessions that are set."""
    peer = make(path)
    peer.fill(items(count))
    rng = random.Random(seed)
    before = written_bytes()
    for _ in range(_REWRITES * count):
        peer.set(key(rng.randrange(count)), peers.session(rng.getrandbits(16)))
    peer.close()
    return (written_bytes() - before) / (_REWRITES * count * VALUE_BYTES)


def written_bytes() -> int:
    """Return how many bytes this process has handed to the kernel; source: proc_pid_io(5)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def _probe(settings: Settings) -> Callable[[], None]:
    return by_hand(str(settings.directory), RECORD_BYTES)
