"""Random work on a simulated disk, and the power cuts and kills that interrupt it.

The oracle: after the restart the store holds a state that it had after some number of operations,
and at least as many as had been acknowledged; and the store continues to work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from litesess import StoreError
from litesess.engine import Clear, Delete, Engine, Put
from tests.tools import engines
from tests.tools.engines import FAR, abandon, change, content, delete, key, make_engine, put, touch
from tests.tools.simdisk import SimDisk

NAMES = range(6)
#: The kinds of operations, and how often each is done.
KINDS = {
    "put": 12, "put twice": 3, "touch": 3, "delete": 4, "move": 3, "clear": 1, "compact": 2,
    "mark": 2, "reopen": 2,
}  # fmt: skip


class Lost(AssertionError):
    """The oracle was contradicted."""


class Workload:
    """Random operations, with the expected state of the store after each."""

    def __init__(self, seed: int, steps: int, disk: SimDisk | None = None) -> None:
        self.rng = random.Random(seed)
        self.steps = steps
        self.disk = disk or SimDisk()
        self.engine = make_engine(self.disk, random_bytes=self.rng.randbytes)
        self.states: list[dict[bytes, tuple[bytes, float]]] = [{}]
        self.acknowledged = 0
        self.maybe: list[dict[bytes, tuple[bytes, float]]] = []
        self.is_encrypted = engines.encryption_key is not None

    def run(self) -> None:
        for _ in range(self.steps):
            self.step()
        self.engine.close()

    def step(self) -> None:
        rng, now = self.rng, dict(self.states[-1])
        name = rng.choice(NAMES)
        kind = rng.choices([*KINDS], [*KINDS.values()])[0]
        value = rng.randbytes(rng.choice([0, 20, 300, 1500]))
        if kind == "put":
            now[key(name)] = value, FAR
            self.do(now, lambda engine: put(engine, name, value))
        elif kind == "put twice":
            other = rng.choice(NAMES)
            now |= {key(name): (value, FAR), key(other): (b"!", FAR + 1)}
            changes = Put(key(name), value, FAR), Put(key(other), b"!", FAR + 1)
            self.do(now, lambda engine: change(engine, *changes))
        elif kind == "touch" and key(name) in now:
            now[key(name)] = now[key(name)][0], FAR + self.rng.randrange(100)
            self.do(now, lambda engine: touch(engine, name, now[key(name)][1]), is_synced=False)
        elif kind == "delete" and key(name) in now:
            del now[key(name)]
            self.do(now, lambda engine: delete(engine, name))
        elif kind == "move" and key(name) in now:
            other = rng.choice(NAMES)
            moved = now.pop(key(name))
            now[key(other)] = moved
            changes = Delete(key(name)), Put(key(other), *moved)
            self.do(now, lambda engine: change(engine, *changes))
        elif kind == "clear":
            self.do({}, lambda engine: change(engine, Clear()))
        elif kind == "compact":
            self.compact(self.engine.rekey if self.is_encrypted and rng.random() < 0.5 else None)
        elif kind == "mark":
            self.engine.mark()
        elif kind == "reopen":
            if rng.random() < 0.5:
                self.engine.close()
            else:
                abandon(self.engine)
            self.engine = make_engine(self.disk, random_bytes=self.rng.randbytes)
            if self.maybe:
                self.learn()

    def compact(self, compact: Callable[[], object] | None = None) -> None:
        """Call *compact*, or the engine's own; put a value while the snapshot is written."""
        name, value = self.rng.choice(NAMES), self.rng.randbytes(30)
        opened = self.engine._open or self.engine._opened()
        is_due = True

        def pause() -> None:
            nonlocal is_due
            if is_due:
                is_due = False
                state = self.states[-1] | {key(name): (value, FAR)}
                self.do(state, lambda engine: put(engine, name, value))

        opened.maintenance.pause = pause
        (compact or self.engine.compact)()

    def forgive(self) -> None:
        """Settle a refused step: find out, if possible, whether its change is stored."""
        if self.acknowledged < len(self.states) - 1:
            self.maybe.append(self.states.pop())
        try:
            delete(self.engine, "nobody")  # settles the outcome that an error left open
            self.learn()
        except StoreError:  # not before it is opened anew
            return

    def learn(self) -> None:
        """Take the stored state as acknowledged, if it is a possible one."""
        found = content(self.engine)
        if found not in self.possible():
            raise Lost("the store holds a state that was never stored")
        self.states.append(found)
        self.acknowledged = len(self.states) - 1
        self.maybe.clear()

    def possible(self) -> list[dict[bytes, tuple[bytes, float]]]:
        """Return the states that may be found."""
        return [*self.states[self.acknowledged :], *self.maybe]

    def do(self, state: Any, operation: Any, *, is_synced: bool = True) -> None:
        self.states.append(state)
        operation(self.engine)
        if is_synced:
            self.acknowledged = len(self.states) - 1


def recovered(disk: SimDisk) -> tuple[Engine, dict[bytes, tuple[bytes, float]]]:
    engine = make_engine(disk)
    return engine, content(engine)


def check_goes_on(engine: Engine, found: dict[bytes, tuple[bytes, float]]) -> None:
    """Check that a write acknowledged by a restarted store survives the next power cut."""
    disk = engine._opener.means.fs
    assert isinstance(disk, SimDisk)
    put(engine, "after", b"restart")
    abandon(engine)
    left = SimDisk({name: inode.durable for name, inode in disk.durable_names.items()})
    _, again = recovered(left)
    assert again == found | {key("after"): (b"restart", FAR)}


def check(work: Workload, image: dict[str, bytes], counts: dict[str, int]) -> None:
    """Open the files after a power cut, and ask the oracle."""
    counts["images"] += 1
    engine, found = recovered(SimDisk(image))
    if found not in work.states[work.acknowledged :]:
        raise Lost(str(counts))
    if counts["images"] % 10 == 0:
        check_goes_on(engine, found)


def unseen(images: Iterable[dict[str, bytes]], seen: set[int]) -> Iterator[dict[str, bytes]]:
    """Yield each image once: equal ones are judged alike, as long as the work stands still."""
    for image in images:
        digest = hash(tuple(sorted(image.items())))
        if digest not in seen:
            seen.add(digest)
            yield image


def cut_power(work: Workload) -> dict[str, int]:
    """Run *work* and cut the power after every call that changes something."""
    counts = {"points": 0, "images": 0}

    def cut() -> None:
        counts["points"] += 1
        images = work.disk.crash_images(random.Random(counts["points"]), samples=2)
        for image in unseen(images, set()):
            check(work, image, counts)

    work.disk.watch = cut
    work.run()
    return counts


def cut_power_in_recovery(work: Workload) -> dict[str, int]:
    """Kill every process now and then, and cut the power while the next one recovers."""
    counts = {"points": 0, "images": 0}

    def kill() -> None:
        counts["points"] += 1
        if counts["points"] % 5:
            return
        disk = work.disk.twin()
        seen: set[int] = set()

        def cut() -> None:
            images = disk.crash_images(random.Random(counts["images"]), samples=1)
            for image in unseen(images, seen):
                check(work, image, counts)

        disk.watch = cut
        recovered(disk)

    work.disk.watch = kill
    work.run()
    return counts


def kill_restart_and_cut_power(work: Workload) -> dict[str, int]:
    """Kill every process, let the next one read the store, then cut the power."""
    counts = {"points": 0, "images": 0}

    def kill() -> None:
        counts["points"] += 1
        disk = work.disk.twin()
        _, shown = recovered(disk)
        images = disk.crash_images(random.Random(counts["points"]), samples=1)
        for image in unseen(images, set()):
            counts["images"] += 1
            _, found = recovered(SimDisk(image))
            if found != shown:
                raise Lost(f"{counts}: a value that was shown has gone")

    work.disk.watch = kill
    work.run()
    return counts


HUNTS = (cut_power, cut_power_in_recovery, kill_restart_and_cut_power)
