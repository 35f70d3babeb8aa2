"""Every bit, every length, every failing call: nothing wrong is shown, nothing kept is lost.

LITESESS_SWEEP_STORES and LITESESS_SWEEP_SEEDS set how much is tried (docs/testing.rst).
"""

from __future__ import annotations

import logging
import os

import pytest

from tests.tools.engines import small_files
from tests.tools.sweeps import (
    every_errno,
    every_flip,
    every_lost_record,
    every_salvage,
    every_sync,
)

STORES = int(os.environ.get("LITESESS_SWEEP_STORES", "1"))
SEEDS = int(os.environ.get("LITESESS_SWEEP_SEEDS", "4"))


@pytest.fixture(autouse=True)
def _small_and_quiet(monkeypatch):
    small_files(monkeypatch)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
def test_no_damage_goes_unnoticed():
    counts = every_flip(range(1, STORES + 1))
    print(counts)
    assert counts["refused"] > counts["harmless"]


@pytest.mark.slow
def test_no_damage_lets_salvage_bring_back_what_was_deleted():
    counts = every_salvage(range(1, STORES + 1))
    print(counts)
    assert counts["kept"] > counts["tried"]


def test_a_record_dropped_doubled_or_swapped_is_refused():
    assert every_lost_record() > 15


@pytest.mark.slow
def test_any_call_may_fail_with_any_error_and_nothing_is_lost():
    tried = every_errno(range(SEEDS))
    print(f"{tried} runs")
    assert tried > 100 * SEEDS


@pytest.mark.slow
def test_any_sync_may_fail_and_the_power_go_and_nothing_is_lost():
    tried = every_sync(range(SEEDS))
    print(f"{tried} runs")
    assert tried > 40 * SEEDS
