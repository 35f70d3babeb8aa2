"""Sweeps over everything that can be damaged or can fail in a small store."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterable, Iterator
from itertools import chain, combinations, product
from typing import NamedTuple

from litesess import StoreError
from litesess.crypto import OVERHEAD_BYTES
from litesess.engine import Delete, Put
from litesess.engine import format as form
from litesess.engine.replay import replay
from tests.tools import engines
from tests.tools.crashes import Workload
from tests.tools.engines import (
    FAR,
    abandon,
    change,
    content,
    delete,
    key,
    make_engine,
    put,
    seeded_bytes,
    touch,
)
from tests.tools.simdisk import SimDisk

ERRNOS = [
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.EACCES, errno.EROFS, errno.EINTR, errno.ESTALE,
]  # fmt: skip


class SmallStore(NamedTuple):
    """A store with a snapshot and a log, and its content after each step."""

    files: dict[str, bytes]
    states: list[dict[bytes, tuple[bytes, float]]]
    #: How many of the states the slot vouches for; all of them after a clean close.
    vouched: int
    #: The log as it was in each state.
    logs: list[bytes]


def small_store(*, closed: bool, seed: int = 1) -> SmallStore:
    """Return the files of a store with a snapshot and a log."""
    disk = SimDisk()
    rng = random.Random(seed)
    engine = make_engine(disk, random_bytes=seeded_bytes(seed))
    for name in "abc":
        put(engine, name, rng.randbytes(rng.randrange(10)))
    engine.compact()
    states, logs = [content(engine)], [log_of(disk.files())]
    for step in (
        lambda: put(engine, "d", rng.randbytes(rng.randrange(10))),
        lambda: delete(engine, "a"),
        engine.mark,
        lambda: touch(engine, "b", FAR + 1),
        lambda: change(engine, Put(key("e"), b"e", FAR), Delete(key("c"))),
        lambda: put(engine, "f", b"ffff"),
        lambda: delete(engine, "d"),
    ):
        step()
        states.append(content(engine))
        logs.append(log_of(disk.files()))
    if closed:
        engine.close()
    else:
        abandon(engine)
    return SmallStore(disk.files(), states, len(states) if closed else 4, logs)


def log_of(files: dict[str, bytes]) -> bytes:
    """Return the bytes of the only log."""
    (name,) = [name for name in files if name.endswith(".wal")]
    return files[name]


def used(data: bytes) -> int:
    return len(data.rstrip(b"\0"))


def look(files: dict[str, bytes]) -> dict[bytes, tuple[bytes, float]] | None:
    """Return the content of a store, all values read; None if it refuses."""
    try:
        return content(make_engine(SimDisk(files)))
    except StoreError:
        return None


def flips(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name, data in files.items():
        for bit in range(8 * used(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            yield name, bytes(damaged)


def truncations(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name, data in files.items():
        for length in range(used(data)):
            yield name, data[:length]


def pages(files: dict[str, bytes], rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Pages of zeros and of noise at every 64 bytes."""
    for name, data in files.items():
        for at in range(0, used(data), 64):
            for page in bytes(512), rng.randbytes(512):
                yield name, data[:at] + page + data[at + 512 :]


def damages(store: SmallStore, rng: random.Random) -> Iterator[dict[str, bytes]]:
    """Yield the files with one of them damaged, in every way."""
    files = store.files
    for source in flips(files), truncations(files), pages(files, rng):
        for name, damaged in source:
            yield files | {name: damaged}


def losses(store: SmallStore) -> Iterator[dict[str, bytes]]:
    """Yield the files without each set of them."""
    names = sorted(store.files)
    for count in range(1, len(names) + 1):
        for lost in combinations(names, count):
            yield {name: data for name, data in store.files.items() if name not in lost}


def every_flip(seeds: Iterable[int] = (1,), *, share: float = 1.0) -> dict[str, int]:
    """Damage small stores in every way; check that no damage is shown or silently ignored."""
    counts = {"tried": 0, "refused": 0, "harmless": 0, "last batch lost": 0}
    for seed, closed in product(seeds, (True, False)):
        rng = random.Random(seed)
        store = small_store(closed=closed, seed=seed)
        assert look(store.files) == store.states[-1]
        for damaged in damages(store, rng):
            if rng.random() >= share:
                continue
            counts["tried"] += 1
            found = look(damaged)
            if found is None:
                counts["refused"] += 1
            elif found == store.states[-1]:
                counts["harmless"] += 1
            else:
                # After a crash, the last batch could have been torn: no later record
                # vouches for it.
                assert not closed, f"seed {seed} rolled back silently"
                assert_prefix(found, store, damaged)
                counts["last batch lost"] += 1
    return counts


def assert_prefix(found: object, store: SmallStore, files: dict[str, bytes]) -> None:
    """A roll-back is excused only where a power cut would look like the damage.

    Such damage hits the last record, which vouches for all earlier ones, and leaves the log as
    long as it was; and everything that the slot vouches for is there.
    """
    whole, damaged = log_of(store.files), log_of(files)
    assert len(damaged) == len(whole), "the log was cut, and nobody noticed"
    last_damaged = max((at for at, byte in enumerate(whole) if damaged[at] != byte), default=0)
    sealing = OVERHEAD_BYTES if engines.encryption_key is not None else 0
    last_record = form.RECORD_BYTES + form.KEY_BYTES + sealing
    assert last_damaged >= used(whole) - last_record, "what later records vouch for went"
    assert found in store.states[store.vouched - 1 :], "what the slot vouches for went"


def every_salvage(seeds: Iterable[int] = (1,), *, share: float = 1.0) -> dict[str, int]:
    """Salvage small stores after every damage: deleted or replaced values stay so."""
    counts = {"tried": 0, "kept": 0, "as it was before": 0}
    for seed, closed in product(seeds, (True, False)):
        rng = random.Random(seed)
        store = small_store(closed=closed, seed=seed)
        for damaged in chain(losses(store), damages(store, rng)):
            if rng.random() >= share:
                continue
            counts["tried"] += 1
            entries, _ = make_engine(SimDisk(damaged)).salvage()
            kept = {at: (entry.value, entry.expires_at) for at, entry in entries.items()}
            counts["kept"] += len(kept)
            if kept.items() <= store.states[-1].items():
                continue
            # The store can't be told from the store after an earlier step: the same length, and
            # zeros after a record, where nothing vouches for more.
            logs = zip(store.logs, store.states, strict=True)
            states = [state for log, state in logs if log in damaged.values()]
            assert not closed, f"seed {seed}: salvage brought something back"
            assert any(kept.items() <= state.items() for state in states), f"seed {seed}"
            counts["as it was before"] += 1
    return counts


def every_lost_record() -> int:
    """Drop, double and swap the records of a log; each must be refused or change nothing."""
    files = small_store(closed=True).files
    (name,) = [name for name in files if name.endswith(".wal")]
    data = files[name][: used(files[name])]
    fd_log = SimDisk(files)
    engine = make_engine(fd_log)
    log = (engine._open or engine._opened()).follower.current.log
    records = [data[r.offset : r.end] for r in replay(log) if r.end <= len(data)]
    head = data[: form.HEADER_BYTES]
    tried = 0
    for at in range(len(records) - 1):
        dropped = [*records[:at], *records[at + 1 :]]
        doubled = [*records[: at + 1], *records[at:]]
        swapped = [*records[:at], records[at + 1], records[at], *records[at + 2 :]]
        for changed in dropped, doubled, swapped:
            tried += 1
            found = look(files | {name: (head + b"".join(changed)).ljust(len(files[name]), b"\0")})
            assert found is None, f"record {at}"
    return tried


def failing_runs(numbers: list[int], seeds: range, steps: int) -> Iterator[tuple[Workload, int]]:
    """Run work in which one call fails, for every call and errno; yield it when it has ended."""
    for seed in seeds:
        count = SimDisk()
        Workload(seed, steps, count).run()
        for at in range(1, count.calls + 1):
            number = numbers[at % len(numbers)]
            disk = SimDisk()

            def fault(_call: str, disk: SimDisk = disk, at: int = at, number: int = number) -> None:
                if disk.calls == at:
                    raise OSError(number, os.strerror(number))

            disk.fault = fault
            work = Workload(seed, steps, disk)
            yield work, at


def every_errno(seeds: range, steps: int = 25) -> int:
    """Let each call of some work fail once; only documented errors, and the oracle holds."""
    tried = 0
    for work, at in failing_runs(ERRNOS, seeds, steps):
        tried += 1
        go_on_through_errors(work)
        opened = len(work.disk.open_files)
        assert opened <= 8, f"{opened} descriptors after call {at} failed"
        found = content(make_engine(work.disk.twin()))
        assert found in work.possible(), f"call {at}"
    return tried


def every_sync(seeds: range = range(3), steps: int = 25) -> int:
    """Let each sync fail once, as Linux does it, and cut the power some time later."""
    tried = 0
    for seed in seeds:
        count = SimDisk()
        syncs = 0

        def counting(call: str) -> None:
            nonlocal syncs
            syncs += call == "sync"

        count.fault = counting
        Workload(seed, steps, count).run()
        for at in range(1, syncs + 1):
            for restart in False, True:
                tried += 1
                disk = SimDisk()
                seen = 0

                def fault(call: str, at: int = at) -> None:
                    nonlocal seen
                    seen += call == "sync"
                    if call == "sync" and seen == at:
                        raise OSError(errno.EIO, "Input/output error")

                disk.fault = fault
                work = Workload(seed, steps, disk)
                go_on_through_errors(work)
                left = work.disk
                if restart:
                    engine = make_engine(left)
                    shown = content(engine)
                    assert shown in work.possible()
                    engine.close()
                durable = {name: inode.durable for name, inode in left.durable_names.items()}
                found = content(make_engine(SimDisk(durable)))
                assert found in work.possible(), f"seed {seed} sync {at}"
    return tried


def go_on_through_errors(work: Workload) -> None:
    """Run work to its end; the change of a refused step is not acknowledged."""
    for _ in range(work.steps):
        try:
            work.step()
        except StoreError:
            work.forgive()
    try:
        work.engine.close()
    finally:
        work.disk.fault = lambda call: None
