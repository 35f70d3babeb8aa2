"""Several simulated processes on one simulated disk, in every order that a seed can think of.

Each process has its own engine, and pauses at every call of the system, at every look at shared
memory, and in the middle of its writes; which one goes on is a matter of chance.  A killed one
leaves its locks free and its last write half done.
"""

from __future__ import annotations

import errno
import random
from contextlib import suppress
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from litesess import StoreFull
from litesess.engine import Change, Delete, Engine, Put
from tests.tools.crashes import Lost
from tests.tools.engines import FAR, content, key, make_engine
from tests.tools.linearizability import NEVER, UNKNOWN, Operation, explains
from tests.tools.simdisk import Inode, SimDisk, SimLock

NAMES = ("a", "b", "c")
#: So often a process looks whether a lock is free, before it gives up.
_PATIENCE = 3000


class World:
    """A disk, the processes that use it, and the history of their calls."""

    def __init__(self, seed: int, files: dict[str, bytes] | None = None) -> None:
        self.rng = random.Random(seed)
        self.disk = SharedDisk(self, files)
        self.alive: list[Process] = []
        self.dead: list[Process] = []
        self.history: list[Operation] = []
        self.steps = 0
        self.repairs = 0
        self.is_over = False
        #: How likely the one that ran goes on.
        self.inertia = self.rng.choice([0.0, 0.3, 0.7, 0.95])
        #: How likely a write finds the disk full.
        self.fullness = self.rng.choice([0.0, 0.0, 0.0, 0.05])

    def pause(self) -> None:
        """Let other processes run, if a process calls this."""
        if self.is_over:
            raise GreenletExit
        process = getcurrent()
        if isinstance(process, Process):
            process.parent.switch()

    def start(self, program: list[Any]) -> Process:
        process = Process(self, f"p{len(self.alive) + len(self.dead)}", program)
        self.alive.append(process)
        return process

    def run(self, steps: int | None = None) -> None:
        """Let the processes run until all have ended, or for so many steps."""
        process: Process | None = None
        while self.alive and steps != 0:
            if process is None or process.dead or self.rng.random() >= self.inertia:
                process = self.rng.choice(self.alive)
            self.steps += 1
            steps = None if steps is None else steps - 1
            process.switch()
            if process.dead:
                self.alive.remove(process)
                self.dead.append(process)

    def kill(self, process: Process) -> None:
        """End a process where it stands: nothing of it is run any more."""
        self.alive.remove(process)
        self.dead.append(process)  # kept: a greenlet that is dropped would run its finally clauses
        for fd in [fd for fd, owner in self.disk.owners.items() if owner is process]:
            self.disk.close(fd)
        process.is_killed = True
        if process.doing is not None:
            what, began_at = process.doing
            self.history.append(Operation(process.name, what, UNKNOWN, began_at, NEVER))

    def end(self) -> None:
        """End the killed processes, and those that a failure left unfinished."""
        self.is_over = True
        for process in [*self.dead, *self.alive]:
            if not process.dead:
                process.throw(GreenletExit)


class Process(greenlet):
    """A process with its own engine; *program* is its list of calls, in order."""

    def __init__(self, world: World, name: str, program: list[Any]) -> None:
        super().__init__(self.work, getcurrent())
        self.world = world
        self.name = name
        self.program = program
        self.doing: tuple[Any, int] | None = None
        self.is_killed = False
        self.engine = self.open()

    def open(self) -> Engine:
        return make_engine(
            self.world.disk,
            lock=ContendedLock(self.world),
            random_bytes=self.world.rng.randbytes,
            lock_timeout=1.0,
        )

    def work(self) -> None:
        for what in self.program:
            self.world.pause()
            # A write that a full disk refuses has not happened.
            with suppress(StoreFull):
                self.do(what)
        self.engine.close()

    def do(self, what: tuple[Any, ...]) -> None:
        if what[0] == "compact":
            self.engine.compact()
        elif what[0] == "mark":
            self.engine.mark()
        elif what[0] == "reopen":
            self.engine.close()
            self.engine = self.open()
        else:
            began_at = self.world.steps
            self.doing = what, began_at
            try:
                result = perform(self.engine, what)
            finally:
                self.doing = None
            done = Operation(self.name, what, result, began_at, self.world.steps)
            self.world.history.append(done)


class SharedDisk(SimDisk):
    """A simulated disk that several processes use."""

    def __init__(self, world: World, files: dict[str, bytes] | None) -> None:
        super().__init__(files)
        self._world = world
        self.owners: dict[int, object] = {}
        self.fault = lambda _call: world.pause()
        self.look = world.pause

    def _open(self, inode: Inode) -> int:
        fd = super()._open(inode)
        self.owners[fd] = getcurrent()
        return fd

    def close(self, fd: int) -> None:
        if fd in self.open_files:
            self.owners.pop(fd, None)
            super().close(fd)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        rng, inode = self._world.rng, self.open_files[fd]
        self.fault("pwrite")
        cut = rng.randrange(1, len(data)) if len(data) > 1 and rng.random() < 0.5 else 0
        if cut:
            # Other processes can see a part of the write, and a kill can leave a part.
            inode.write(bytes(data[:cut]), offset)
            self.fault("pwrite")
        if rng.random() < self._world.fullness:
            raise OSError(errno.ENOSPC, "No space left on device")
        inode.write(bytes(data[cut:]), offset + cut)
        return len(data)

    def exists(self, directory: int, name: str) -> bool:
        self.fault("exists")
        return super().exists(directory, name)


class ContendedLock(SimLock):
    """flock(2) among processes that run side by side."""

    def __init__(self, world: World) -> None:
        super().__init__(world.disk)
        self._world = world

    def take(self, fd: int, *, shared: bool = False) -> bool:
        self._world.pause()
        if self._disk.holders(fd).pop(fd, None) is not None:
            self._world.pause()  # exchanged for the other kind, in two steps
        return super().take(fd, shared=shared)

    def acquire(self, fd: int, _timeout: float, **_how: Any) -> bool:
        return any(self.take(fd) for _ in range(_PATIENCE))

    def release(self, fd: int) -> None:
        self._world.pause()
        super().release(fd)


# The calls of the processes, and the same calls on a dict.


def perform(engine: Engine, what: tuple[Any, ...]) -> Any:
    """Make one call on the store; return its result."""
    kind, name, *rest = what

    def put(value: bytes) -> Put:
        return Put(key(name), value, FAR)

    if kind == "get":
        entry = engine.get(key(name))
        return entry.value if entry else None

    def plan(stored: Any) -> tuple[list[Change], Any]:
        entry = stored.get(key(name))
        value = entry.value if entry else None
        if kind == "put":
            return [put(rest[0])], None
        if kind == "append":  # like a merge: a deleted value stays deleted
            return ([put(value + rest[0])], True) if value is not None else ([], False)
        if kind == "delete":
            return ([Delete(key(name))], True) if value is not None else ([], False)
        # move
        if value is None:
            return [], False
        return [Delete(key(name)), Put(key(rest[0]), value, FAR)], True

    return engine.transact(plan, sync=True)[0]


def step(state: Any, what: tuple[Any, ...]) -> tuple[Any, Any]:
    """Make one call on a dict, given as a sorted tuple of its items."""
    stored = dict(state)
    kind, name, *rest = what
    value = stored.get(name)
    result: Any = value is not None
    if kind == "get":
        return state, value
    if kind == "put":
        stored[name], result = rest[0], None
    elif kind == "append" and result:
        stored[name] = value + rest[0]
    elif kind == "delete" and result:
        del stored[name]
    elif kind == "move" and result:
        del stored[name]
        stored[rest[0]] = value
    return tuple(sorted(stored.items())), result


def random_program(rng: random.Random, name: str, length: int) -> list[Any]:
    program: list[Any] = []
    for number in range(length):
        kind = rng.choices(
            ["get", "put", "append", "delete", "move", "compact", "mark", "reopen"],
            [8, 5, 5, 2, 2, 2, 1, 2],
        )[0]
        what: list[Any] = [kind, rng.choice(NAMES)]
        if kind in ("put", "append"):
            what.append(f"{name}{number} ".encode() * rng.choice([1, 1, 30]))
        elif kind == "move":
            what.append(rng.choice([other for other in NAMES if other != what[1]]))
        program.append(tuple(what))
    return program


def starting_points() -> list[tuple[dict[str, bytes], Any]]:
    """Return disks to start from, each with its stored values."""
    points: list[tuple[dict[str, bytes], Any]] = [({}, ())]
    for is_closed in (True, False):
        disk = SimDisk()
        engine = make_engine(disk)
        for name, value in ("a", b"old "), ("b", b"old "):
            perform(engine, ("put", name, value))
            engine.compact()
        perform(engine, ("append", "a", b"older "))
        if is_closed:
            engine.close()
        points.append((disk.files(), (("a", b"old older "), ("b", b"old "))))
    return points


def explore(seed: int, points: list[tuple[dict[str, bytes], Any]]) -> World:
    """Run three processes in the order of *seed*, perhaps kill some, and ask the oracle."""
    rng = random.Random(f"program {seed}")
    files, initial = rng.choice(points)
    world = World(seed, files)
    for number in range(3):
        world.start(random_program(rng, f"p{number}-", rng.randrange(2, 6)))
    try:
        for number in range(rng.choice([0, 0, 1, 2, 3])):
            world.run(rng.randrange(20, 400))
            if world.alive:
                world.kill(rng.choice(world.alive))
                world.start(random_program(rng, f"n{number}-", rng.randrange(1, 4)))
        if rng.random() < 0.25:
            world.run(rng.randrange(20, 400))
            check_power_cut(world, initial)
        world.run()
        check_history(world, initial)
    except Exception as error:
        raise Lost(f"schedule {seed}: {error!r}") from error
    finally:
        world.end()
    return world


def check_history(world: World, initial: Any) -> None:
    """Check that one order explains all results and the final state."""
    disk = world.disk.twin()
    found = content(make_engine(disk))
    later = world.steps + 1
    final = [
        Operation("end", ("get", name), found.get(key(name), (None,))[0], later, later)
        for name in NAMES
    ]
    if not explains([*world.history, *final], initial, step):
        raise Lost(describe(world.history, found))
    # Two locks, a snapshot, two logs, a torn end; the first compaction drops the rest.
    if len(disk.names) > 7:
        raise Lost(f"files are left over: {sorted(disk.names)}")


def check_power_cut(world: World, initial: Any) -> None:
    """Check that acknowledged writes survive a power cut; reads prove nothing."""
    written = [done for done in world.history if done.what[0] != "get"]
    for process in world.alive:
        if process.doing is not None:
            what, began_at = process.doing
            written.append(Operation(process.name, what, UNKNOWN, began_at, NEVER))
    later = world.steps + 1
    images = list(world.disk.crash_images(random.Random(world.steps), samples=1))
    for image in random.Random(world.steps).sample(images, min(len(images), 6)):
        found = content(make_engine(SimDisk(image)))
        final = [
            Operation("end", ("get", name), found.get(key(name), (None,))[0], later, later)
            for name in NAMES
        ]
        if not explains([*written, *final], initial, step):
            raise Lost("after a power cut: " + describe(written, found))


def describe(history: list[Operation], found: Any) -> str:
    lines = [
        f"{done.began_at}-{done.ended_at} {done.who} {done.what} -> {done.result}"
        for done in sorted(history, key=lambda done: done.began_at)
    ]
    return "\n".join([*lines, f"in the end: {found}"])
