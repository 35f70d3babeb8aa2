"""Power cuts and kills at every call that changes the disk, on a simulated one."""

from __future__ import annotations

import os

import pytest

from tests.tools.crashes import HUNTS, Workload, cut_power
from tests.tools.engines import small_files

#: LITESESS_CRASH_SEEDS sets how many random workloads are run (docs/testing.rst).
COUNT = int(os.environ.get("LITESESS_CRASH_SEEDS", "2"))
#: The first of the cheapest hunt is quick.
RUNS = [
    pytest.param(hunt, seed, marks=[pytest.mark.slow] if seed or hunt is not cut_power else [])
    for hunt in HUNTS
    for seed in range(COUNT)
]


@pytest.mark.parametrize(("hunt", "seed"), RUNS)
def test_no_crash_loses_what_was_acknowledged_or_shown(hunt, seed, monkeypatch):
    small_files(monkeypatch)
    counts = hunt(Workload(1000 * HUNTS.index(hunt) + seed, steps=60))
    print(f"{hunt.__name__} seed {seed}: {counts}")
    assert counts["points"] > 50
    assert counts["images"] > 50
