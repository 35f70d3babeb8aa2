"""Several processes on one directory, in every order that a seed thinks of (schedules.py)."""

from __future__ import annotations

import os

import pytest

from tests.tools.engines import small_files
from tests.tools.linearizability import NEVER, UNKNOWN, Operation, explains
from tests.tools.schedules import explore, starting_points, step

#: LITESESS_SCHEDULES sets how many are explored (docs/testing.rst).
SCHEDULES = int(os.environ.get("LITESESS_SCHEDULES", "1500"))
PARTS = 10


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_order_of_the_calls_of_three_processes_breaks_a_promise(part, monkeypatch):
    small_files(monkeypatch)
    points = starting_points()
    each = SCHEDULES // PARTS
    steps = operations = 0
    for seed in range(part * each, (part + 1) * each):
        world = explore(seed, points)
        steps += world.steps
        operations += len(world.history)
    print(f"{each} schedules, {steps} steps, {operations} operations, 0 violations")
    assert steps > 100 * each


# The judge itself.


def operation(what, result, began_at, ended_at):
    return Operation("p", what, result, began_at, ended_at)


PUT = operation(("put", "a", b"1"), None, 0, 5)
CUT_OFF = operation(("put", "a", b"1"), UNKNOWN, 0, NEVER)


@pytest.mark.parametrize(
    ("operations", "is_explained"),
    [
        ([PUT, operation(("get", "a"), b"1", 6, 7)], True),
        ([PUT, operation(("get", "a"), None, 6, 7)], False),  # stale
        ([PUT, operation(("get", "a"), None, 1, 2)], True),  # overlapping
        ([PUT, operation(("get", "a"), b"1", 1, 2), operation(("get", "a"), None, 3, 4)], False),
        ([CUT_OFF, operation(("get", "a"), None, 6, 7)], True),
        ([CUT_OFF, operation(("get", "a"), b"1", 6, 7)], True),
        ([CUT_OFF, *(operation(("get", "a"), b, n, n) for n, b in [(6, b"1"), (7, None)])], False),
        ([PUT, *[operation(("delete", "a"), True, 6, 9)] * 2], False),  # done twice
        ([PUT, operation(("move", "a", "b"), True, 6, 9), PUT._replace(began_at=8)], False),
    ],
)
def test_a_history_is_explained_only_by_an_order_that_fits(operations, is_explained):
    final = operation(("get", "b"), None, 20, 21)
    assert explains([*operations, final], (), step) is is_explained
