"""SIGKILL at random moments on the real disk; what was acknowledged on a pipe must be there."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.tools.counters import COUNTERS, Writer, stored_counters

#: LITESESS_KILLS sets how many processes are killed in each profile (docs/testing.rst).
KILLS = int(os.environ.get("LITESESS_KILLS", "50"))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(0, 300), (9_000, 250_000)], ids=["small", "large"])
def test_no_acknowledged_write_is_lost_to_a_kill(tmp_path, sizes):
    path = str(tmp_path / "data")
    rng = random.Random(sum(sizes))
    acknowledged = [0] * COUNTERS
    for number in range(KILLS):
        writer = Writer(path, sizes, number)
        if number % 2:  # the others are killed while they open the store, on a slow disk
            writer.wait()
        time.sleep(rng.uniform(0.002, 0.05))
        status = writer.kill(signal.SIGKILL)
        assert os.WIFSIGNALED(status), f"kill {number}: the writer failed by itself"
        acknowledged = list(map(max, acknowledged, writer.acknowledged))
        if number % 5 == 0 or number == KILLS - 1:
            # One more may have been committed and not been said.
            found = stored_counters(path)
            assert all(map(int.__le__, acknowledged, found)), f"kill {number}: {found}"
    print(f"{KILLS} kills, {sum(acknowledged)} acknowledged writes, 0 lost")
    assert sum(acknowledged) >= KILLS // 2
