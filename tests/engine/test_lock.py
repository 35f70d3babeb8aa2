"""Locks between processes: how a thread waits for one."""

from __future__ import annotations

import os

import pytest

from litesess.engine.lock import FileLock


class Clock:
    """Seconds that pass while a thread sleeps, and a little with each look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.looks: list[float] = []

    def monotonic(self) -> float:
        self.now += 5e-6
        self.looks.append(self.now - 100)
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def files(tmp_path):
    """Return the descriptors of two openings of one file."""
    path = tmp_path / "lock"
    path.touch()
    found = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    yield found
    for fd in found:
        os.close(fd)


def wait(fd, clock, timeout):
    """Wait for a lock by that clock; return whether it was had."""
    return FileLock().acquire(fd, timeout, sleep=clock.sleep, monotonic=clock.monotonic)


def test_a_lock_that_is_not_released_is_not_had_in_time(files):
    clock = Clock()
    assert FileLock.take(files[0])
    assert not wait(files[1], clock, 10.0)
    assert 10.0 <= clock.looks[-1] < 10.01


def test_no_look_comes_much_later_than_the_last_where_locks_are_short(files):
    """Else the processes that look more often take the lock again each time."""
    clock = Clock()
    FileLock.take(files[0])
    wait(files[1], clock, 0.01)
    gaps = [(later - at, at) for at, later in zip(clock.looks, clock.looks[1:], strict=False)]
    assert all(gap < 50e-6 + at / 16 for gap, at in gaps)


def test_a_long_wait_costs_few_looks(files):
    clock = Clock()
    FileLock.take(files[0])
    wait(files[1], clock, 10.0)
    assert len(clock.looks) < 6000


def test_a_lock_that_is_released_meanwhile_is_had_at_the_next_look(files):
    clock = Clock()
    FileLock.take(files[0])
    sleep = clock.sleep

    def release_after(seconds):
        sleep(seconds)
        if clock.now > 101:
            FileLock.release(files[0])

    clock.sleep = release_after
    assert wait(files[1], clock, 10.0)
    assert clock.looks[-1] < 1.01
