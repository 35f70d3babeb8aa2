"""A clock that is years off ends no sessions, and begins none that live for years."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from litesess import Record, WALStore
from litesess.ids import key_of
from litesess.stores.times import PROBATION, Credit
from litesess.testing import FakeClock
from tests.tools.apps import Site

DAY = 86_400.0
YEAR = 365 * DAY


class Steady(FakeClock):
    """The seconds that never go back; and they pass for a wall clock, too."""

    def __init__(self, wall: FakeClock) -> None:
        super().__init__(0.0)
        self.wall = wall

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.wall.advance(seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def steady(clock, monkeypatch) -> Steady:
    steady = Steady(clock)
    monkeypatch.setattr(Credit.__init__, "__defaults__", (steady,))
    return steady


def filled(path: Path, clock: FakeClock, count: int = 50) -> None:
    with WALStore(path, clock=clock) as store:
        for number in range(count):
            store.create(key_of(str(number)), Record({}, clock(), clock() + DAY))


def test_a_machine_that_starts_years_ahead_deletes_nothing(tmp_path, clock, steady, caplog):
    filled(tmp_path, clock)
    real = clock()
    clock.now = real + 14 * YEAR
    with WALStore(tmp_path, clock=clock) as store:
        # Another worker, or this one, is quicker than the first pass.
        store.create(key_of("new"), Record({}, clock(), clock() + DAY))
        for _ in range(11):
            steady.advance(300)
            assert store.collect() == 0
        store.compact()
        assert caplog.text.count("is it right?") == 1
        clock.now = real + 4000
        assert store.collect() == 0
        assert len(store) == 51
        # Right for an hour, it is believed again.
        steady.advance(PROBATION)
        clock.now = real + 2 * DAY
        steady.advance(0)
        store.collect()
        steady.advance(PROBATION)
        assert store.collect() == 50


def test_a_store_that_nobody_used_for_years_is_collected_after_an_hour(tmp_path, clock, steady):
    filled(tmp_path, clock)
    clock.advance(3 * YEAR)
    with WALStore(tmp_path, clock=clock) as store:
        assert store.collect() == 0
        steady.advance(PROBATION - 1)
        assert store.collect() == 0
        steady.advance(1)
        assert store.collect() == 50


@pytest.mark.parametrize("away", [2 * 3600.0, DAY * 30, YEAR - 2 * DAY])
def test_a_session_of_the_last_year_vouches_for_the_clock(tmp_path, clock, steady, away, caplog):
    filled(tmp_path, clock)
    clock.advance(DAY + away)
    with caplog.at_level(logging.WARNING), WALStore(tmp_path, clock=clock) as store:
        assert store.collect() == 50
    assert caplog.text == ""


def test_a_session_from_the_future_does_not_vouch_for_the_clock(tmp_path, clock, steady):
    clock.advance(14 * YEAR)
    filled(tmp_path, clock, 1)
    clock.advance(-14 * YEAR)
    with WALStore(tmp_path, clock=clock) as store:
        store.create(key_of("a"), Record({}, clock() - 9, clock() - 1, last_seen_at=clock() - 9))
        assert store.collect() == 0
        steady.advance(PROBATION)
        assert store.collect() == 1


def test_a_clock_that_jumps_by_years_while_the_store_is_open_is_not_believed(
    tmp_path, clock, steady
):
    with WALStore(tmp_path, clock=clock) as store:
        for number in range(50):
            store.create(key_of(str(number)), Record({}, clock(), clock() + DAY))
        steady.advance(2 * 3600)
        assert store.collect() == 0
        clock.advance(14 * YEAR)
        for _ in range(5):
            steady.advance(300)
            assert store.collect() == 0
        clock.advance(-14 * YEAR)
        assert len(store) == 50


def test_a_request_puts_a_session_of_a_wrong_clock_right(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        site = Site(store, clock=clock, cookie={"max_age": 20 * YEAR})
        clock.advance(14 * YEAR)
        site.visit(lambda session: session.update(a=1))
        clock.advance(-14 * YEAR)
        ((key, before),) = store.records()
        assert before.created_at > clock() + YEAR
        site.visit(lambda session: session["a"])
        assert store.load(key).created_at == clock()
        clock.advance(20 * YEAR)
        assert store.load(key) is None
