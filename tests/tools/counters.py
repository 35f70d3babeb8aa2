"""A writer that counts up until it is killed, and a reader that keeps its acknowledgements."""

from __future__ import annotations

import os
import random
import struct
import time

from litesess.engine import Entry, Put
from tests.tools.engines import content, key, make_engine
from tests.tools.servers import wait_until

COUNTERS = 8
_ACKNOWLEDGEMENT = struct.Struct("<IQ")  # which counter, its value
_VALUE = struct.Struct("<Q")


def count_until_killed(
    path: str, acknowledge: int, sizes: tuple[int, int], seed: int, *, sync: bool = True
) -> None:
    """Count up, and say so on a pipe after each commit."""
    rng = random.Random(seed)
    wal_limit = 1 << 16 if sizes[1] < 4096 else 1 << 20
    engine = make_engine(path=path, wal_limit=wal_limit, lock_timeout=30, sleep=time.sleep)
    while True:
        name = rng.randrange(COUNTERS)

        def plan(stored, name=name):
            entry = stored.get(key(name))
            value = 1 + (_VALUE.unpack_from(entry.value)[0] if entry else 0)
            # Not zeros: a cut record would be whole in reserved space, which is zeros.
            padding = rng.randbytes(rng.randrange(*sizes))
            return [Put(key(name), _VALUE.pack(value) + padding, 1e10)], value

        value, _ = engine.transact(plan, sync=sync)
        os.write(acknowledge, _ACKNOWLEDGEMENT.pack(name, value))


class Writer:
    """A process that counts; its acknowledgements are read without waiting for more."""

    def __init__(self, path: str, sizes: tuple[int, int], seed: int, *, sync: bool = True) -> None:
        self._said, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._said)
            try:
                count_until_killed(path, writing, sizes, seed, sync=sync)
            finally:
                os._exit(1)
        os.close(writing)
        os.set_blocking(self._said, False)
        self._rest = b""
        self.acknowledged = [0] * COUNTERS

    def listen(self) -> None:
        """Take in all that was acknowledged by now."""
        try:
            while data := os.read(self._said, 1 << 16):
                self._rest += data
        except BlockingIOError:
            pass
        whole = len(self._rest) - len(self._rest) % _ACKNOWLEDGEMENT.size
        for name, value in _ACKNOWLEDGEMENT.iter_unpack(self._rest[:whole]):
            self.acknowledged[name] = value
        self._rest = self._rest[whole:]

    def wait(self) -> None:
        """Return as soon as it has acknowledged one more write than was heard of."""
        before = list(self.acknowledged)

        def has_written() -> bool:
            self.listen()
            return self.acknowledged != before

        wait_until(has_written, "a write is acknowledged")

    def kill(self, number: int) -> int:
        """End it by signal *number*, hear all it said; return how it ended."""
        os.kill(self.pid, number)
        _, status = os.waitpid(self.pid, 0)
        self.listen()
        os.close(self._said)
        return status


def stored_counters(path: str) -> list[int]:
    """Open the store, and return how far each counter got."""
    engine = make_engine(path=path)
    found = content(engine)
    engine.close()
    return [
        _VALUE.unpack_from(found[key(name)][0])[0] if key(name) in found else 0
        for name in range(COUNTERS)
    ]


def counter_in(entry: Entry | None) -> int:
    """Return how far a counter got."""
    return _VALUE.unpack_from(entry.value)[0] if entry is not None else 0
