"""The engine against a dict, over random operations, crashes, clock jumps and reopenings."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from litesess.engine import Clear, Delete, Put, log
from tests.tools.engines import abandon, content, delete, key, make_engine, put, seeded_bytes, touch
from tests.tools.simdisk import SimDisk

#: LITESESS_EXAMPLES and LITESESS_STEPS set how much is tried (docs/testing.rst).
EXAMPLES = int(os.environ.get("LITESESS_EXAMPLES", "60"))
STEPS = int(os.environ.get("LITESESS_STEPS", "50"))

NAMES = st.integers(0, 5)
VALUES = st.binary(max_size=400)
TIMES = st.floats(0, 1000, allow_nan=False)


class EngineMachine(RuleBasedStateMachine):
    """One engine on a simulated disk; the model is a dict."""

    def __init__(self) -> None:
        super().__init__()
        log.RESERVE_STEP, self.step = 2048, log.RESERVE_STEP
        self.disk = SimDisk()
        self.random_bytes = seeded_bytes(1)
        self.engine = make_engine(self.disk, random_bytes=self.random_bytes)
        self.model: dict[bytes, tuple[bytes, float]] = {}

    def teardown(self) -> None:
        log.RESERVE_STEP = self.step

    @rule(name=NAMES, value=VALUES, expires_at=TIMES)
    def put(self, name, value, expires_at):
        put(self.engine, name, value, expires_at)
        self.model[key(name)] = value, expires_at

    @rule(name=NAMES, expires_at=TIMES)
    def touch(self, name, expires_at):
        touch(self.engine, name, expires_at)
        if key(name) in self.model:
            self.model[key(name)] = self.model[key(name)][0], expires_at

    @rule(name=NAMES)
    def delete(self, name):
        delete(self.engine, name)
        self.model.pop(key(name), None)

    @rule(old=NAMES, new=NAMES, value=VALUES)
    def rotate(self, old, new, value):
        changes = [Delete(key(old)), Put(key(new), value, 5.0)]
        self.engine.transact(lambda _stored: (changes, None), sync=True)
        self.model.pop(key(old), None)
        self.model[key(new)] = value, 5.0

    @rule()
    def clear(self):
        self.engine.transact(lambda _stored: ([Clear()], None), sync=True)
        self.model.clear()

    @rule(now=TIMES)
    def collect(self, now):
        doomed = [found for found, (_, expires_at) in self.model.items() if expires_at <= now]
        assert sorted(self.engine.expired(now)) == sorted(doomed)
        for found in doomed:
            self.engine.transact(lambda _s, found=found: ([Delete(found, True)], None), sync=True)
            del self.model[found]

    @rule()
    def compact(self):
        self.engine.compact()

    @rule()
    def close_and_reopen(self):
        self.engine.close()
        self.engine = make_engine(self.disk, random_bytes=self.random_bytes)

    @rule()
    def kill_and_reopen(self):
        abandon(self.engine)
        self.engine = make_engine(self.disk, random_bytes=self.random_bytes)

    @rule(seed=st.integers(0, 1000))
    def cut_the_power_and_reopen(self, seed):
        # What was acknowledged without a sync is synced first, so that the model is exact.
        delete(self.engine, "nobody")
        images = list(self.disk.crash_images(random.Random(seed), samples=1))
        self.disk = SimDisk(images[seed % len(images)])
        self.engine = make_engine(self.disk, random_bytes=self.random_bytes)

    @rule()
    def tear_the_tail(self):
        self.engine.get(key(0))
        end = self.engine._open.compactor.log_bytes
        abandon(self.engine)
        files = self.disk.files()
        (name,) = [name for name in sorted(files) if name.endswith(".wal")][-1:]
        files[name] = files[name][:end] + b"\xa1\x5c\x01\x00torn" + files[name][end + 8 :]
        self.disk = SimDisk(files)
        self.engine = make_engine(self.disk, random_bytes=self.random_bytes)

    @invariant()
    def it_is_the_dict(self):
        assert content(self.engine) == self.model

    @invariant()
    def the_files_are_few(self):
        # Two locks, a log, a snapshot, a torn end.
        assert len(self.disk.files()) <= 5


class TestEngine(EngineMachine.TestCase):
    settings = settings(
        max_examples=40,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.slow
class TestEngineAtLength(TestEngine):
    settings = settings(TestEngine.settings, max_examples=EXAMPLES)
