"""What a signal handler raises in the thread that leads a commit, at every point of it."""

from __future__ import annotations

import ast
import linecache
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import litesess
from litesess import StoreFailed, VersionConflict
from litesess.engine import Clear, Engine, Put
from litesess.engine.batch import Ticket
from tests.tools.engines import (
    FAR,
    abandon,
    change,
    content,
    key,
    make_engine,
    put,
    small_files,
    touch,
)
from tests.tools.simdisk import SimDisk

OTHERS = 3


class Impatient(Exception):
    """What a handler of SIGALRM raises."""


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    small_files(monkeypatch)


class Interrupted:
    """Raises an error at a given point of the engine's code, in a block; counts the points.

    The points are lines: the interpreter looks for signals behind calls and at the ends of loops.
    A second error is raised so many points after the first, in what is done because of that.
    """

    def __init__(self, error: type[BaseException], first: int, second: int | None = None) -> None:
        self.error = error
        self.points = [first] if second is None else [first, second]
        self.count = 0
        self.raised = 0

    def __enter__(self) -> None:
        self._tracer_before = sys.gettrace()  # that of coverage, say
        sys.settrace(self._enter)

    def __exit__(self, *_exception: object) -> None:
        sys.settrace(self._tracer_before)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        if code.co_filename.endswith("/descriptors.py"):  # as files go, an error is only printed
            return None
        is_ours = "/litesess/engine/" in code.co_filename or code.co_name == "plan"
        return self._step if is_ours else None

    def _step(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and not _is_with(frame.f_code.co_filename, frame.f_lineno):
            self.count += 1
            if self.count == self.points[0]:
                self.raised += 1
                raise self.error  # this ends the tracing
        return self._step

    def again(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function*, so that a second error may be raised in it."""

        def wrapped(*arguments: Any) -> Any:
            if self.raised and len(self.points) > 1:
                del self.points[0]
                self.count = 0
            if self.raised:
                sys.settrace(self._enter)
            return function(*arguments)

        return wrapped


@cache
def _is_with(file: str, line: int) -> bool:
    """Return whether a block of a context manager begins there.

    It ends there, too, and between its end and ``__exit__`` the interpreter looks for no signal.
    """
    return linecache.getline(file, line).lstrip().startswith("with ")


def increment(stored):
    entry = stored.get(key("count"))
    return [Put(key("count"), str(int(entry.value) + 1).encode(), FAR)], int(entry.value)


def plan_of(engine: Engine) -> Callable[..., Any]:
    def plan(stored):
        return increment(stored)

    return plan


def see_through(engine: Engine, ticket: Ticket) -> bool:
    """Do what the thread of *ticket* does when it goes on; return whether it was committed."""
    engine._open.committer._see_through(ticket)
    assert ticket.done
    if ticket.error is not None:
        assert isinstance(ticket.error, StoreFailed)
        return False
    return ticket.is_committed


def _transact(engine: Engine, points: Interrupted) -> bool:
    try:
        with points:
            engine.transact(plan_of(engine), sync=True)
    except (points.error, StoreFailed):
        return False
    return True


def interrupted_commit(points: Interrupted) -> tuple[int, int, int]:
    """Interrupt a thread that leads itself and others, then let those go on.

    Returns:
        How far it was counted, how many of the others were told that they are committed, and
        whether the leader was.
    """
    disk = SimDisk()
    engine = make_engine(disk)
    put(engine, "count", b"0")
    committer = engine._open.committer
    others = [Ticket(plan_of(engine), sync=True) for _ in range(OTHERS)]
    committer._waiting.extend(others)
    appender = committer._appender
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in [
            (committer._writer, "_look_what_is_written"),
            (appender, "_release_end"),
            (appender, "_take_back"),
        ]:
            patch.setattr(owner, name, points.again(getattr(owner, name)))
        is_told = _transact(engine, points)
    told = sum(see_through(engine, ticket) for ticket in others)
    counted = int(engine.get(key("count")).value)
    assert len({ticket.result for ticket in others if ticket.is_committed}) == told
    put(engine, "later", b"x")
    abandon(engine)
    # What was acknowledged is durable.
    for image in disk.crash_images(random.Random(1), samples=1):
        assert int(content(make_engine(SimDisk(image)))[key("count")][0]) == counted
    return counted, told, is_told


def interrupt_everywhere(error: type[BaseException], first: int, step: int) -> int:
    """Interrupt a commit at one point after the other; return the last."""
    number = first
    while True:
        points = Interrupted(error, number)
        counted, told, is_told = interrupted_commit(points)
        assert told == OTHERS, number
        # Each once; the leader's, whose thread was told of the error, once or not at all.
        assert counted - told in ({1} if is_told else {0, 1}), number
        if points.count < number:
            return number
        number += step


def test_an_interrupted_leader_fails_no_other_commit():
    assert interrupt_everywhere(Impatient, random.randrange(1, 20), 19) > 200


def test_no_list_is_made_where_a_lock_is_taken():
    """Python 3.12 and later then keep the lock for ever, if a signal handler raises just then."""
    found = []
    for path in sorted(Path(litesess.__file__).parent.rglob("*.py")):
        withs = [node for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.With]
        found += [
            f"{path.name}:{made.lineno}"
            for block in withs
            if any("_lock" in ast.unparse(item) for item in block.items)
            for made in ast.walk(block)
            if isinstance(made, ast.ListComp | ast.SetComp | ast.DictComp)
        ]
    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_wherever_a_leader_is_interrupted_no_other_commit_fails(error):
    assert interrupt_everywhere(error, random.randrange(1, 3), 2) > 200


@pytest.mark.slow
def test_a_second_signal_does_nothing_twice():
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    twice = unknown = 0
    for first in range(1, 400):
        second = rng.randrange(1, 80)
        points = Interrupted(Impatient, first, second)
        counted, told, _ = interrupted_commit(points)
        twice += points.raised == 2
        unknown += told < OTHERS
        assert told <= counted <= OTHERS + 1, (first, second)
    print(f"{twice} interrupted twice, {unknown} of unknown outcome")
    assert twice > 50


# As files go, an error is only printed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_wherever_who_learns_of_a_compaction_is_interrupted_he_sees_all_that_comes_after():
    disk = SimDisk()
    one, other = make_engine(disk), make_engine(disk)
    number, points = 0, Interrupted(Impatient, 0)
    while points.count >= number:
        number += 1
        put(other, "touched", b"1")
        assert one.count() == 1
        other.compact()
        points = Interrupted(Impatient, number)
        with suppress(Impatient), points:
            one.get(key("touched"))
        put(other, number, b"2")
        touch(other, "touched", float(number))
        assert content(one) == content(other), number
        assert one.get(key("touched")).expires_at == float(number)
        change(other, Clear())
        assert (one.count(), content(one)) == (0, {}), number
    assert number > 100


def test_an_error_of_another_thread_s_plan_is_raised_in_that_thread():
    engine = make_engine(SimDisk())
    put(engine, "count", b"0")
    ran = []

    def conflict(_stored):
        ran.append("conflict")
        raise VersionConflict("another version is stored")

    def broken(_stored):
        ran.append("broken")
        raise ZeroDivisionError

    committer = engine._open.committer
    others = [Ticket(plan, sync=True) for plan in (conflict, broken)]
    committer._waiting.extend(others)
    engine.transact(increment, sync=True)
    assert [ticket.done for ticket in others] == [True, False]
    assert isinstance(others[0].error, VersionConflict)
    committer._see_through(others[1])
    assert isinstance(others[1].error, ZeroDivisionError)
    assert ran == ["conflict", "broken", "broken"]
    assert engine.get(key("count")).value == b"1"
