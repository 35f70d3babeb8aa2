"""SIGKILL at random moments on the real disk; what was acknowledged on a pipe must be there."""

from __future__ import annotations

import os
import random
import signal
import struct
import time

import pytest
from engines import content, key, make_engine

from litesess.engine import format as form

#: LITESESS_KILLS sets how many processes are killed in each profile (docs/design.rst).
KILLS = int(os.environ.get("LITESESS_KILLS", "50"))
ACKNOWLEDGEMENT = struct.Struct("<IQ")  # which counter, its value
COUNTERS = 8


def write_until_killed(path: str, acknowledge: int, sizes: tuple[int, int], seed: int) -> None:
    """Count up, and say so on a pipe after each commit."""
    rng = random.Random(seed)
    engine = make_engine(path=path, wal_limit=1 << 16 if sizes[1] < 4096 else 1 << 20)
    while True:
        name = rng.randrange(COUNTERS)

        def plan(stored, name=name):
            entry = stored.get(key(name))
            value = 1 + (struct.unpack_from("<Q", entry.value)[0] if entry else 0)
            padding = bytes(rng.randrange(*sizes))
            return [form.Put(key(name), struct.pack("<Q", value) + padding, 1e10)], value

        value, _ = engine.transact(plan, sync=True)
        os.write(acknowledge, ACKNOWLEDGEMENT.pack(name, value))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(0, 300), (9_000, 250_000)], ids=["small", "large"])
def test_no_acknowledged_write_is_lost_to_a_kill(tmp_path, sizes):
    path = str(tmp_path / "data")
    rng = random.Random(sum(sizes))
    acknowledged = [0] * COUNTERS
    for number in range(KILLS):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                write_until_killed(path, writing, sizes, number)
            finally:
                os._exit(1)
        os.close(writing)
        time.sleep(rng.uniform(0.002, 0.05))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), f"kill {number}: the writer failed by itself"
        said = b""
        while data := os.read(reading, 1 << 16):
            said += data
        os.close(reading)
        for at in range(0, len(said) - ACKNOWLEDGEMENT.size + 1, ACKNOWLEDGEMENT.size):
            name, value = ACKNOWLEDGEMENT.unpack_from(said, at)
            acknowledged[name] = value
        if number % 5 == 0 or number == KILLS - 1:
            engine = make_engine(path=path)
            found = content(engine)
            engine.close()
            for name, value in enumerate(acknowledged):
                stored = struct.unpack_from("<Q", found[key(name)][0])[0] if value else 0
                # One more may have been committed and not been said.
                assert value <= stored or not value, f"kill {number}: counter {name}"
    print(f"{KILLS} kills, {sum(acknowledged)} acknowledged writes, 0 lost")
    assert sum(acknowledged) > KILLS
